//! The vault's front door over HTTP.

use std::fmt;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use keyhaven_wire::bundle::{NOTE_BYTES_MAX, VaultAddress};
use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::transport::{Transport, TransportError};

/// How long a connection may take to stand.
pub const CONNECT_SECONDS_MAX: u64 = 10;

/// How long one exchange may take in all. A core answers in milliseconds; a host may hold a guess
/// back for a while.
pub const EXCHANGE_SECONDS_MAX: u64 = 30;

/// How long an answer is still waited for when the work is called off: a vault that is well answers in that.
const CALLED_OFF_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// No reply of a vault is longer; real ones are about 2 KiB, all of one length.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The longest pause that is believed.
const RETRY_AFTER_SECONDS_MAX: u64 = 24 * 60 * 60;

/// The account's login at the vault's front door. Wiped on drop, never printed.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token as the identity provider, or the operator of a vault with fixed accounts,
    /// gave it.
    ///
    /// # Errors
    ///
    /// When it is empty, longer than 8 KiB, or holds what a header cannot.
    pub fn parse(token: &str) -> Result<Self, TokenError> {
        let token = token.trim();
        let sound = !token.is_empty() && token.len() <= 8192;
        if sound && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(Zeroizing::new(token.to_owned())))
        } else {
            Err(TokenError)
        }
    }
}

impl ZeroizeOnDrop for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// A text that cannot be an account's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the account's token is empty, too long, or holds spaces or other characters that no token has"
)]
pub struct TokenError;

/// A [`Transport`] over HTTP/1.1, with time-outs and bounded answers.
///
/// It is blocking. It may be used from any thread, also from one that runs an asynchronous
/// runtime: each exchange runs on a thread of its own, so that it never meets the caller's runtime.
/// The caller's thread waits meanwhile, so an asynchronous program should call it where it may
/// block.
pub struct HttpTransport {
    client: Client,
    origin: String,
    token: Token,
    called_off: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl HttpTransport {
    /// Prepares connections to a vault. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the address is `http://` to another machine, or this device cannot do TLS.
    pub fn new(address: &VaultAddress, token: Token) -> Result<Self, TransportError> {
        if !is_protected(address.origin()) {
            return Err(TransportError::Unprotected);
        }
        Self::dangerous_unprotected(address, token)
    }

    /// As [`HttpTransport::new`], and also over `http://` to another machine. What is said to the
    /// core stays sealed; the account's token, and that somebody recovers, is seen by the network.
    ///
    /// # Errors
    ///
    /// When this device cannot do TLS.
    pub fn dangerous_unprotected(
        address: &VaultAddress,
        token: Token,
    ) -> Result<Self, TransportError> {
        let mut builder = Client::builder()
            .user_agent(concat!("keyhaven/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .timeout(Duration::from_secs(EXCHANGE_SECONDS_MAX));
        if address.origin().starts_with("http://") {
            // A machine without any TLS roots still reaches its own vault.
            builder = builder.tls_certs_only([]);
        }
        let client = apart(|| builder.build().map_err(|_| TransportError::Setup))?;
        Ok(Self {
            client,
            origin: address.origin().to_owned(),
            token,
            called_off: Arc::new(|| false),
        })
    }

    /// Gives an exchange up when `asked` says so and no answer has come within a second of that. It is asked
    /// often.
    #[must_use]
    pub fn called_off_when(mut self, asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.called_off = Arc::new(asked);
        self
    }

    /// Sends a request from a thread of its own, which is left alone with it if the work is called off.
    fn send(&self, request: RequestBuilder, bytes_max: usize) -> Result<Vec<u8>, TransportError> {
        let (answer, answered) = mpsc::channel();
        let thread = thread::Builder::new().name("keyhaven-vault".to_owned());
        thread
            .spawn(move || answer.send(send(request, bytes_max)))
            .map_err(|_| TransportError::Setup)?;
        let mut since = None;
        loop {
            match answered.recv_timeout(LOOK_UP_EVERY) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(TransportError::Setup),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if (self.called_off)()
                && since.get_or_insert_with(Instant::now).elapsed() >= CALLED_OFF_PATIENCE
            {
                return Err(TransportError::CalledOff);
            }
        }
    }
}

fn send(request: RequestBuilder, bytes_max: usize) -> Result<Vec<u8>, TransportError> {
    let response = request.send().map_err(|error| failure(&error))?;
    check(&response)?;
    let limit = u64::try_from(bytes_max).map_or(u64::MAX, |max| max.saturating_add(1));
    let mut body = Vec::with_capacity(4096);
    response
        .take(limit)
        .read_to_end(&mut body)
        .map_err(|error| cut_off(&error))?;
    if body.len() > bytes_max {
        Err(TransportError::TooLong)
    } else {
        Ok(body)
    }
}

impl Transport for HttpTransport {
    fn bundle(&self) -> Result<String, TransportError> {
        let request = self.client.get(format!("{}/v1/fleet", self.origin));
        let note = self.send(request, NOTE_BYTES_MAX)?;
        String::from_utf8(note).map_err(|_| TransportError::NotAVault { status: 200 })
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        let request = self
            .client
            .post(format!("{}/v1/vault", self.origin))
            // Marked as sensitive by the HTTP library: BACKUP-3, it is in no log.
            .bearer_auth(self.token.0.as_str())
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(sealed.to_vec());
        self.send(request, REPLY_BYTES_MAX)
    }

    fn pause(&self, mut left: Duration) -> Result<(), TransportError> {
        while !left.is_zero() {
            if (self.called_off)() {
                return Err(TransportError::CalledOff);
            }
            let nap = left.min(LOOK_UP_EVERY);
            thread::sleep(nap);
            left = left.saturating_sub(nap);
        }
        Ok(())
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Runs blocking work on a thread of its own. The HTTP library drives its connections with a
/// runtime that must not be entered from inside another; the caller's thread may well be inside one.
fn apart<T: Send>(
    work: impl FnOnce() -> Result<T, TransportError> + Send,
) -> Result<T, TransportError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("keyhaven-vault".to_owned());
        let thread = thread
            .spawn_scoped(scope, work)
            .map_err(|_| TransportError::Setup)?;
        thread.join().unwrap_or(Err(TransportError::Setup))
    })
}

/// TLS, or this machine itself.
fn is_protected(origin: &str) -> bool {
    let Some(host) = origin.strip_prefix("http://") else {
        return origin.starts_with("https://");
    };
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    }
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn check(response: &Response) -> Result<(), TransportError> {
    let status = response.status();
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(TransportError::Denied),
        StatusCode::BAD_REQUEST => Err(TransportError::Unreadable),
        StatusCode::REQUEST_TIMEOUT => Err(TransportError::TimedOut),
        StatusCode::INTERNAL_SERVER_ERROR => Err(TransportError::Damaged),
        StatusCode::TOO_MANY_REQUESTS => Err(TransportError::Busy {
            retry_after: retry_after(response),
        }),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Err(TransportError::Unavailable)
        }
        status => Err(TransportError::NotAVault {
            status: status.as_u16(),
        }),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}

fn failure(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() {
        TransportError::TimedOut
    } else {
        TransportError::Unreachable
    }
}

fn cut_off(error: &std::io::Error) -> TransportError {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    inner.map_or(TransportError::Unreachable, failure)
}
