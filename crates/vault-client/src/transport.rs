//! How sealed bytes reach a vault.

use std::time::Duration;

use keyhaven_secrets::Remedy;

/// Carries sealed bytes to a vault's front door and its answer back.
///
/// A transport is not trusted: it may lose, repeat, delay or bend whatever it carries. Lost answers
/// cost no guess, because the same bytes are sent again; bent ones do not open.
pub trait Transport: Send + Sync {
    /// The validation bundle, as the vault serves it.
    ///
    /// # Errors
    ///
    /// When there is no answer, or one that is not a bundle.
    fn bundle(&self) -> Result<String, TransportError>;

    /// One sealed request, and the sealed reply to it.
    ///
    /// # Errors
    ///
    /// When there is no reply. Whether the vault has seen the request is then unknown.
    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError>;

    /// Waits so long before it is asked again.
    ///
    /// # Errors
    ///
    /// When the caller has called the work off.
    fn pause(&self, time: Duration) -> Result<(), TransportError> {
        std::thread::sleep(time);
        Ok(())
    }
}

impl<T: Transport + ?Sized> Transport for &T {
    fn bundle(&self) -> Result<String, TransportError> {
        (**self).bundle()
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        (**self).exchange(sealed)
    }

    fn pause(&self, time: Duration) -> Result<(), TransportError> {
        (**self).pause(time)
    }
}

impl<T: Transport + ?Sized> Transport for std::sync::Arc<T> {
    fn bundle(&self) -> Result<String, TransportError> {
        (**self).bundle()
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        (**self).exchange(sealed)
    }

    fn pause(&self, time: Duration) -> Result<(), TransportError> {
        (**self).pause(time)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn bundle(&self) -> Result<String, TransportError> {
        (**self).bundle()
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        (**self).exchange(sealed)
    }

    fn pause(&self, time: Duration) -> Result<(), TransportError> {
        (**self).pause(time)
    }
}

/// Why there is no answer. Nothing in it is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection, or it broke: no network, no such host, nobody listens, cut off.
    #[error("the vault cannot be reached")]
    Unreachable,
    /// The connection stood, and no answer came in time.
    #[error("the vault did not answer in time")]
    TimedOut,
    /// The front door does not know the account's token.
    #[error("the vault refused the account's login (its token is wrong or has expired)")]
    Denied,
    /// Too many requests.
    #[error("the vault is busy or asks for a pause between guesses")]
    Busy {
        /// How long to wait, if the vault said so.
        retry_after: Option<Duration>,
    },
    /// The core could not open the request.
    #[error(
        "the vault could not open the request: the account's name is not the one that the login belongs to, or the vault's keys have changed"
    )]
    Unreadable,
    /// The vault answers that it cannot serve now.
    #[error("the vault is not in service at the moment")]
    Unavailable,
    /// The vault has lost or damaged what it keeps for this account.
    #[error("the vault's own store is damaged where this account's record stands")]
    Damaged,
    /// The answer is none that a vault gives: perhaps something else listens there.
    #[error("what answers at this address does not behave like a vault (HTTP status {status})")]
    NotAVault {
        /// The status.
        status: u16,
    },
    /// The answer is longer than any that a vault gives.
    #[error("the answer is longer than any that a vault gives")]
    TooLong,
    /// The address would send the account's token over an unprotected network.
    #[error(
        "the vault's address is plain http:// to another machine, which would show the account's login to the network; use https://"
    )]
    Unprotected,
    /// Whoever waits for the answer has called the work off.
    #[error("it was called off before the vault had answered")]
    CalledOff,
    /// This device could not set up its side: no TLS roots, no thread.
    #[error("this device could not set up a connection")]
    Setup,
}

impl TransportError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable
            | Self::TimedOut
            | Self::Busy { .. }
            | Self::Unavailable
            | Self::CalledOff => Remedy::RetryLater,
            Self::Denied
            | Self::Unreadable
            | Self::NotAVault { .. }
            | Self::TooLong
            | Self::Unprotected => Remedy::AskUser,
            Self::Damaged | Self::Setup => Remedy::Stop,
        }
    }
}
