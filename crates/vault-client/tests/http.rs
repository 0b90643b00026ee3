//! The HTTP transport against a front door that misbehaves in every way.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use keyhaven_secrets::Remedy;
use keyhaven_vault_client::{
    HttpTransport, Pin, REPLY_BYTES_MAX, Token, Transport, TransportError, VaultAddress,
};

/// Answers each connection with these bytes, and hands over what it was sent.
fn door(answer: impl Into<Vec<u8>>) -> (VaultAddress, mpsc::Receiver<String>) {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = address(&format!("http://{}", listener.local_addr().unwrap()));
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let _ = sender.send(serve(stream, &answer));
        }
    });
    (address, heard)
}

fn serve(mut stream: TcpStream, answer: &[u8]) -> String {
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut request = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if text.contains("\r\n\r\n") && (text.starts_with("GET") || text.ends_with("sealed")) {
            break;
        }
    }
    let _ = stream.write_all(answer);
    String::from_utf8_lossy(&request).into_owned()
}

fn address(origin: &str) -> VaultAddress {
    VaultAddress::new(origin, Pin::from_bytes([1; 32])).unwrap()
}

fn token() -> Token {
    Token::parse("t0ps3cret-login").unwrap()
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn exchange(answer: impl Into<Vec<u8>>) -> Result<Vec<u8>, TransportError> {
    let (address, _heard) = door(answer);
    HttpTransport::new(&address, token())
        .unwrap()
        .exchange(b"sealed")
}

#[test]
fn a_sealed_request_is_posted_with_the_accounts_token() {
    let (address, heard) = door(ok(b"reply"));
    let transport = HttpTransport::new(&address, token()).unwrap();
    assert_eq!(transport.exchange(b"sealed").unwrap(), b"reply");
    let request = heard.recv().unwrap().to_lowercase();
    assert!(
        request.starts_with("post /v1/vault http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("authorization: bearer t0ps3cret-login\r\n"));
    assert!(request.contains("content-type: application/octet-stream\r\n"));
    assert!(request.ends_with("\r\n\r\nsealed"));
}

/// The bundle is public: asking for it shows nobody the account's login.
#[test]
fn the_bundle_is_fetched_without_the_token() {
    let (address, heard) = door(ok("keyhaven vault bundle v1\n\u{2014} sig\n".as_bytes()));
    let transport = HttpTransport::new(&address, token()).unwrap();
    assert!(
        transport
            .bundle()
            .unwrap()
            .starts_with("keyhaven vault bundle")
    );
    let request = heard.recv().unwrap().to_lowercase();
    assert!(
        request.starts_with("get /v1/fleet http/1.1\r\n"),
        "{request}"
    );
    assert!(!request.contains("authorization") && !request.contains(&address.pin().to_string()));
}

#[test]
fn each_refusal_of_the_front_door_has_its_own_error() {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    let refused = |line: &str| exchange(status(line)).unwrap_err();
    assert_eq!(refused("401 Unauthorized"), TransportError::Denied);
    assert_eq!(refused("400 Bad Request"), TransportError::Unreadable);
    assert_eq!(
        refused("503 Service Unavailable"),
        TransportError::Unavailable
    );
    assert_eq!(refused("408 Request Timeout"), TransportError::TimedOut);
    assert_eq!(
        refused("500 Internal Server Error"),
        TransportError::Damaged
    );
    assert_eq!(
        refused("404 Not Found"),
        TransportError::NotAVault { status: 404 }
    );
    assert_eq!(
        refused("302 Found\r\nLocation: http://127.0.0.1:1/"),
        TransportError::NotAVault { status: 302 }
    );
    assert_eq!(
        refused("429 Too Many Requests"),
        TransportError::Busy { retry_after: None }
    );
    assert_eq!(
        refused("429 Too Many Requests\r\nRetry-After: 17"),
        TransportError::Busy {
            retry_after: Some(Duration::from_secs(17))
        }
    );
    // A pause longer than a day is not believed.
    assert_eq!(
        refused("429 Too Many Requests\r\nRetry-After: 99999999999"),
        TransportError::Busy {
            retry_after: Some(Duration::from_secs(86_400))
        }
    );
    assert_eq!(TransportError::Denied.remedy(), Remedy::AskUser);
    assert_eq!(TransportError::Unavailable.remedy(), Remedy::RetryLater);
}

/// VAULT-10: a hostile host cannot make a client hold more than a bounded answer.
#[test]
fn an_answer_without_end_is_cut_at_its_bound() {
    let endless = vec![b'x'; REPLY_BYTES_MAX + 100_000];
    assert_eq!(exchange(ok(&endless)).unwrap_err(), TransportError::TooLong);
    let most = vec![b'x'; REPLY_BYTES_MAX];
    assert_eq!(exchange(ok(&most)).unwrap(), most);
}

#[test]
fn a_connection_that_breaks_is_unreachable() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        address(&format!("http://{}", listener.local_addr().unwrap()))
    };
    let transport = HttpTransport::new(&closed, token()).unwrap();
    assert_eq!(
        transport.exchange(b"sealed").unwrap_err(),
        TransportError::Unreachable
    );
    assert_eq!(transport.bundle().unwrap_err(), TransportError::Unreachable);
    // Cut in the middle of the head, and in the middle of the body.
    assert_eq!(
        exchange("HTTP/1.1 200 O").unwrap_err(),
        TransportError::Unreachable
    );
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 2089\r\n\r\nhalf";
    assert_eq!(exchange(cut).unwrap_err(), TransportError::Unreachable);
    assert_eq!(exchange("").unwrap_err(), TransportError::Unreachable);
}

#[test]
fn a_login_is_never_sent_unprotected_to_another_machine() {
    for origin in [
        "http://vault.example",
        "http://10.0.0.1:7420",
        "http://127.0.0.1.evil:80",
    ] {
        let refused = HttpTransport::new(&address(origin), token()).unwrap_err();
        assert_eq!(refused, TransportError::Unprotected, "{origin}");
    }
    for origin in [
        "http://127.0.0.1:7420",
        "http://[::1]:7420",
        "http://localhost:1",
    ] {
        assert!(
            HttpTransport::new(&address(origin), token()).is_ok(),
            "{origin}"
        );
    }
    assert!(HttpTransport::dangerous_unprotected(&address("http://10.0.0.1:1"), token()).is_ok());
}

/// BACKUP-3: the login is in no debug output.
#[test]
fn the_token_is_never_shown() {
    let transport = HttpTransport::new(&address("http://127.0.0.1:1"), token()).unwrap();
    let shown = format!("{transport:?} {:?}", token());
    assert!(!shown.contains("t0ps3cret"), "{shown}");
    assert!(Token::parse(" \n").is_err());
    assert!(Token::parse("two words").is_err());
    assert!(Token::parse(&"x".repeat(8193)).is_err());
}

/// The blocking client may be used, made and dropped inside an asynchronous program, on any kind
/// of its threads.
#[test]
fn it_works_inside_an_asynchronous_program() {
    let (address, _heard) = door(ok(b"reply"));
    let work = || {
        let transport = HttpTransport::new(&address, token()).unwrap();
        assert_eq!(transport.exchange(b"sealed").unwrap(), b"reply");
    };
    let single = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    single.block_on(async { work() });
    let many = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    many.block_on(async { work() });
    let address = address.clone();
    let task = many.spawn_blocking(move || {
        HttpTransport::new(&address, token())
            .unwrap()
            .exchange(b"sealed")
            .unwrap()
    });
    assert_eq!(many.block_on(task).unwrap(), b"reply");
}
