//! VAULT-10: what strangers and accounts can make grow is bounded.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use keyhaven_vault_client::AccountName;
use keyhaven_vault_node::{Config, Limits, Rate, Running, add_account, init, serve};

const REQUEST_BYTES: usize = keyhaven_wire::channel::SEALED_REQUEST_BYTES;

/// A vault in this process, whose limits are low enough to reach.
struct Low {
    _folder: tempfile::TempDir,
    running: Running,
    token: String,
}

fn low(limits: Limits) -> Low {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("vault");
    init(&data).unwrap();
    let token = add_account(&data, &AccountName::parse("ada").unwrap()).unwrap();
    let mut config = Config::new(&data);
    config.listen.set_port(0);
    config.limits = limits;
    let running = serve(&config).unwrap();
    Low {
        _folder: folder,
        running,
        token: token.expose().to_owned(),
    }
}

impl Low {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.running.bound()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn head(&self, length: &str) -> String {
        let token = &self.token;
        format!(
            "POST /v1/vault HTTP/1.1\r\nhost: v\r\nauthorization: Bearer {token}\r\n{length}\r\n\r\n"
        )
    }

    /// Sends these bytes on a connection of their own and reads until the server is done.
    fn say(&self, head: &str, body: &[u8]) -> String {
        let mut stream = self.connect();
        let head = head.replacen("host: v", "host: v\r\nconnection: close", 1);
        stream.write_all(head.as_bytes()).unwrap();
        // A server that has heard enough may hang up on the rest.
        let _ = stream.write_all(body);
        all(&mut stream)
    }

    fn post(&self, length: usize) -> String {
        self.say(
            &self.head(&format!("content-length: {length}")),
            &vec![7; length],
        )
    }
}

fn all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer, no end"),
        Ok(_) | Err(_) => {}
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn get(origin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(origin).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: v\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    all(&mut stream)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn only_one_length_is_taken_and_too_much_is_refused_unread() {
    let low = low(Limits::default());
    assert_eq!(status(&low.post(REQUEST_BYTES)), "400", "sealed to nobody");
    assert_eq!(status(&low.post(REQUEST_BYTES - 1)), "400");
    assert_eq!(status(&low.post(0)), "400");
    assert_eq!(status(&low.post(REQUEST_BYTES + 1)), "413");
    // A length that is told is refused before a byte of it is sent.
    assert_eq!(
        status(&low.say(&low.head("content-length: 1000000000000"), b"")),
        "413"
    );
    // A length that is not told ends where a request would.
    let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(
        status(&low.say(&low.head("transfer-encoding: chunked"), &chunk)),
        "413"
    );
}

#[test]
fn a_stranger_is_refused_before_a_byte_of_the_body_is_read() {
    let low = low(Limits::default());
    for token in [
        "",
        "Bearer ",
        "Bearer kht_0",
        "Basic YTpi",
        &format!("Bearer {}", "a".repeat(600)),
    ] {
        let head = format!(
            "POST /v1/vault HTTP/1.1\r\nhost: v\r\nauthorization: {token}\r\n\
             content-length: {REQUEST_BYTES}\r\n\r\n"
        );
        let answer = low.say(&head, b"");
        assert_eq!(status(&answer), "401", "{token}");
    }
    let none =
        format!("POST /v1/vault HTTP/1.1\r\nhost: v\r\ncontent-length: {REQUEST_BYTES}\r\n\r\n");
    assert_eq!(status(&low.say(&none, b"")), "401");
}

#[test]
fn an_endless_head_is_cut_off() {
    let low = low(Limits::default());
    let mut stream = low.connect();
    let line = format!("x-filler: {}\r\n", "a".repeat(1000));
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let sent = (0..200)
        .take_while(|_| stream.write_all(line.as_bytes()).is_ok())
        .count();
    let answer = all(&mut stream);
    assert!(
        sent < 200 || status(&answer) == "431",
        "{sent} lines, {answer}"
    );
    assert!(get(&low.running.bound().to_string(), "/healthz").ends_with("ok\n"));
}

#[test]
fn slow_senders_are_cut_off() {
    let brief = Duration::from_millis(300);
    let low = low(Limits {
        head_time: brief,
        body_time: brief,
        ..Limits::default()
    });
    // A head that never ends.
    let mut head = low.connect();
    head.write_all(b"POST /v1/vault HTTP/1.1\r\nhost:").unwrap();
    // A body that never ends.
    let mut body = low.connect();
    let told = low.head(&format!("content-length: {REQUEST_BYTES}"));
    body.write_all(told.as_bytes()).unwrap();
    body.write_all(&[7; 100]).unwrap();
    // A connection on which nothing is ever said.
    let mut idle = low.connect();
    let began = Instant::now();
    assert_eq!(status(&all(&mut body)), "408");
    let _ = all(&mut head);
    let _ = all(&mut idle);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_flood_of_idle_connections_does_not_keep_others_out() {
    let low = low(Limits {
        connections: 16,
        ..Limits::default()
    });
    let mut flood: Vec<_> = (0..200).map(|_| low.connect()).collect();
    let began = Instant::now();
    for _ in 0..20 {
        assert!(get(&low.running.bound().to_string(), "/healthz").ends_with("ok\n"));
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    // The longest idle ones were closed to make room.
    assert_eq!(flood[0].read(&mut [0; 1]).unwrap_or(0), 0);
    let answer = get(&low.running.bound().to_string(), "/metrics");
    let open = answer
        .lines()
        .find_map(|line| line.strip_prefix("keyhaven_vault_connections "));
    assert!(open.unwrap().parse::<u32>().unwrap() <= 16, "{answer}");
}

#[test]
fn an_account_that_asks_too_often_is_told_when_to_come_again() {
    let rate = Rate {
        per_second: 1,
        burst: 3,
    };
    let low = low(Limits {
        account: rate,
        ..Limits::default()
    });
    let answers: Vec<_> = (0..6).map(|_| low.post(REQUEST_BYTES)).collect();
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| status(answer) == "429")
        .collect();
    assert!((2..=3).contains(&refused.len()), "{answers:?}");
    assert!(
        refused
            .iter()
            .all(|answer| answer.contains("retry-after: 1\r\n")),
        "{refused:?}"
    );
}

#[test]
fn everybody_together_meets_the_global_rate() {
    let rate = Rate {
        per_second: 1,
        burst: 2,
    };
    let low = low(Limits {
        everybody: rate,
        ..Limits::default()
    });
    let refused = (0..6)
        .filter(|_| status(&low.post(REQUEST_BYTES)) == "429")
        .count();
    assert!((3..=4).contains(&refused), "{refused} of 6");
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let low = low(Limits::default());
    let bound = low.running.bound().to_string();
    assert_eq!(status(&get(&bound, "/")), "404");
    assert_eq!(status(&get(&bound, "/v1/vault")), "405");
    assert_eq!(status(&get(&bound, "/readyz")), "200");
    assert_eq!(status(&get(&bound, "/v1/fleet")), "200");
}

#[test]
fn a_vault_that_is_dropped_has_stopped() {
    let low = low(Limits::default());
    let bound = low.running.bound();
    let idle = low.connect();
    drop(low.running);
    assert!(TcpStream::connect(bound).is_err());
    drop(idle);
}
