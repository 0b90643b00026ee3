//! What an operator decides.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use keyhaven_vault_host::tail::TailLimits;

use crate::rate::Rate;

/// The port on which a vault listens unless told otherwise.
pub const PORT: u16 = 7420;

/// How a vault is served.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Listens elsewhere than on this machine itself although nothing encrypts the connection: login
    /// tokens can then be read on the way. Requests stay sealed to the core.
    pub dangerous_plain_http: bool,
    /// What anybody may make grow.
    pub limits: Limits,
}

impl Config {
    /// Serves this folder on loopback with the default limits.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            dangerous_plain_http: false,
            limits: Limits::default(),
        }
    }
}

/// VAULT-10: the bounds on what strangers and accounts can make grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. When they are all taken, the longest idle one makes room.
    pub connections: usize,
    /// Requests that wait for the core at once; one more is answered 503.
    pub queue: usize,
    /// Requests of one account; one more is answered 429.
    pub account: Rate,
    /// Requests of all accounts together; one more is answered 429.
    pub everybody: Rate,
    /// Bytes of the tail, which grows from one backup of the store to the next; one that would be longer is given up.
    pub tail_bytes: u64,
    /// How long a connection may be idle or take to send a request's head.
    pub head_time: Duration,
    /// How long a request's body may take.
    pub body_time: Duration,
    /// How long connections may take to finish when the server stops.
    pub patience: Duration,
}

impl Limits {
    /// What a vault on one machine gets unless told otherwise.
    pub const DEFAULT: Self = Self {
        // Below the 1,024 file handles that many systems give a process.
        connections: 768,
        queue: 1024,
        // A recovery is two requests; a device that backs up often asks a few times an hour. Ten a
        // second is a hundredth of what one core answers.
        account: Rate {
            per_second: 10,
            burst: 200,
        },
        everybody: Rate {
            per_second: 2_000,
            burst: 4_000,
        },
        tail_bytes: TailLimits::DEFAULT.tail_bytes,
        head_time: Duration::from_secs(20),
        body_time: Duration::from_secs(10),
        patience: Duration::from_secs(10),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
