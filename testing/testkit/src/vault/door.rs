//! A vault in memory behind real HTTP: for tests of what stands on the real client.
//!
//! The core is the one that ships, the bundle is signed, and the client's bytes go over a socket.
//! Only the host is small: one machine, a clock that a test moves, and a line that it can cut.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyhaven_vault_core::{Answer, Policy};
use keyhaven_wire::bundle::{
    Bundle, Group, Measurement, OperatorSecret, UnixSeconds, VaultAddress,
};
use keyhaven_wire::device::DeviceSecret;
use keyhaven_wire::message::{AccountName, Outcome};

use super::{Person, VaultWorld};

/// Longer than any sealed request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
const DAY_SECONDS: u64 = 86_400;

/// How many more requests are answered before the line fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Nothing fails.
    Whole,
    /// After so many the vault still does what it is asked, and nobody hears the answer.
    DeafAfter(u32),
    /// After so many nothing reaches the vault.
    CutAfter(u32),
    /// After so many nothing reaches the vault, and the line stays open.
    SilentAfter(u32),
}

/// What becomes of a request.
enum Answered {
    With(&'static str, Vec<u8>),
    /// The line is cut.
    Cut,
    /// Whoever asked waits.
    Not,
}

/// Longer than anybody waits in a test.
const SILENCE: Duration = Duration::from_secs(300);

/// A vault that listens on loopback until the process ends.
#[derive(Debug, Clone)]
pub struct Door {
    inside: Arc<Mutex<Inside>>,
    address: VaultAddress,
}

#[derive(Debug)]
struct Inside {
    world: VaultWorld,
    note: String,
    line: Line,
    exchanges: u64,
}

#[expect(
    clippy::expect_used,
    reason = "a door that cannot be opened fails the test"
)]
impl Door {
    /// A new vault with the default rules.
    #[must_use]
    pub fn open(seed: u64) -> Self {
        Self::with_policy(seed, Policy::DEFAULT)
    }

    /// A new vault with these rules.
    #[must_use]
    pub fn with_policy(seed: u64, policy: Policy) -> Self {
        let world = VaultWorld::with_policy(seed, policy);
        let operator = OperatorSecret::from_bytes([7; 32]);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let bundle = Bundle {
            fleet: world.core().fleet(),
            serial: 1,
            issued: UnixSeconds(now.saturating_sub(DAY_SECONDS)),
            expires: UnixSeconds(now.saturating_add(DAY_SECONDS)),
            operator: operator.public(),
            channel_key: *world.core().channel_key(),
            log_key: None,
            group: Group {
                members: 1,
                quorum: 1,
                rollbacks: 0,
            },
            guesses: policy.guesses,
            lifetime_guesses: policy.lifetime_guesses,
            measurement: Measurement::None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let inside = Arc::new(Mutex::new(Inside {
            note: bundle.sign(&operator).expect("a bundle"),
            world,
            line: Line::Whole,
            exchanges: 0,
        }));
        let served = Arc::clone(&inside);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                // A client that leaves early is no concern of the next one.
                thread::spawn(move || serve(stream, &served));
            }
        });
        Self {
            inside,
            address: VaultAddress::new(&origin, operator.public().pin()).expect("an address"),
        }
    }

    /// Where it listens, with its pin.
    #[must_use]
    pub const fn address(&self) -> &VaultAddress {
        &self.address
    }

    /// The login token of an account. Every name is an account here.
    #[must_use]
    pub fn token(account: &str) -> String {
        format!("login-of-{account}")
    }

    /// Sets how the line fails from now on.
    pub fn set_line(&self, line: Line) {
        self.lock().line = line;
    }

    /// Moves the vault's clock.
    pub fn pass(&self, time: Duration) {
        self.lock().world.pass(time.as_secs());
    }

    /// How many sealed requests it has carried out.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        self.lock().exchanges
    }

    /// Wrong guesses of a listed device, until so many are left in a row.
    pub fn waste(&self, account: &str, device: [u8; 32], left: u8) {
        let world = &mut self.lock().world;
        let mut person = Person::new(world, account);
        person.device = DeviceSecret::new(device);
        while person.standing(world).guesses_left > left {
            let refused = person.guess_wrong(world).outcome;
            assert_eq!(refused, Outcome::WrongPassword, "a wrong guess");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request of HTTP/1.1, one answer; nothing is answered where the line fails.
fn serve(stream: TcpStream, inside: &Mutex<Inside>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let (mut length, mut account) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => {
                let name = value.trim().strip_prefix("Bearer login-of-")?;
                account = Some(AccountName::parse(name).ok()?);
            }
            _ => {}
        }
    }
    let mut body = vec![0; Some(length).filter(|bytes| *bytes <= REQUEST_BYTES_MAX)?];
    reader.read_exact(&mut body).ok()?;
    let answered = if first.starts_with("GET /v1/fleet ") {
        Answered::With("200 OK", lock(inside).note.clone().into_bytes())
    } else {
        match account {
            Some(account) => lock(inside).exchange(&account, &body),
            None => Answered::With("401 Unauthorized", Vec::new()),
        }
    };
    let (status, answer) = match answered {
        Answered::With(status, answer) => (status, answer),
        Answered::Cut => return None,
        Answered::Not => {
            thread::sleep(SILENCE);
            return None;
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all(&[head.as_bytes(), &answer].concat()).ok()
}

impl Inside {
    fn exchange(&mut self, account: &AccountName, sealed: &[u8]) -> Answered {
        let heard = match &mut self.line {
            Line::Whole => true,
            Line::CutAfter(0) => return Answered::Cut,
            Line::SilentAfter(0) => return Answered::Not,
            Line::DeafAfter(0) => false,
            Line::CutAfter(more) | Line::DeafAfter(more) | Line::SilentAfter(more) => {
                *more = more.saturating_sub(1);
                true
            }
        };
        self.exchanges = self.exchanges.saturating_add(1);
        let (status, answer) = match self.world.exchange(account, sealed) {
            Answer::Sealed(reply) => ("200 OK", reply),
            Answer::Unreadable => ("400 Bad Request", Vec::new()),
            Answer::Elsewhere | Answer::Range(_) => ("421 Misdirected Request", Vec::new()),
        };
        match heard {
            true => Answered::With(status, answer),
            false => Answered::Cut,
        }
    }
}
