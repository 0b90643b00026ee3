//! From the cloud driver's errors to errors that a person can act on.
//!
//! The driver's own texts quote the server and the request; none of that is kept (BACKUP-3).

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use opendal::{Error, ErrorKind};

use crate::store::error::{Action, Mistrust, Outage, StoreError};
use crate::store::path::ObjectPath;

/// What the transport saw. It travels through the driver as an error's source.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// It may pass.
    Outage {
        outage: Outage,
        pause: Option<Duration>,
    },
    /// The credentials are not accepted.
    Denied,
    /// The credentials were good, and are no longer.
    Expired,
    /// What was signed is of another time than the server's.
    ClockDiffers,
    /// The server's certificate is not accepted.
    Untrusted(Mistrust),
    /// The server has no room left.
    Full,
    /// The answer is longer than any that is due.
    Endless,
    /// Anything else.
    Status(Option<StatusCode>),
}

impl Fault {
    pub(super) fn outage(outage: Outage) -> Self {
        Self::Outage {
            outage,
            pause: None,
        }
    }

    /// What the codes of S3 mean that say more than the status they come with: a session ends after some hours, and a signature
    /// holds for a quarter of an hour.
    pub(super) fn of_code(said: &[u8]) -> Option<Self> {
        let said = String::from_utf8_lossy(said);
        let (_, code) = said.split_once("<Code>")?;
        let (code, _) = code.split_once("</Code>")?;
        match code.trim() {
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => Some(Self::Expired),
            "RequestTimeTooSkewed" | "RequestExpired" => Some(Self::ClockDiffers),
            "SlowDown" => Some(Self::outage(Outage::Throttled)),
            _ => None,
        }
    }

    pub(super) fn into_error(self) -> Error {
        Error::new(ErrorKind::Unexpected, "fault").set_source(self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transport failed")
    }
}

impl std::error::Error for Fault {}

/// What was being done to which object of which store.
#[derive(Debug, Clone)]
pub(super) struct Doing {
    pub(super) action: Action,
    pub(super) place: String,
    pub(super) path: Option<ObjectPath>,
    /// The bytes that were to be written.
    pub(super) bytes: u64,
}

impl Doing {
    /// The store's error for the driver's.
    pub(super) fn fault(&self, error: &Error) -> StoreError {
        if let Some(fault) = find_fault(error) {
            return self.fault_seen(fault);
        }
        match error.kind() {
            ErrorKind::NotFound => self.not_found(),
            ErrorKind::PermissionDenied => StoreError::Denied {
                action: self.action,
                place: self.place.clone(),
            },
            // The driver says this of a bucket that does not exist.
            ErrorKind::ConfigInvalid => StoreError::Missing {
                place: self.place.clone(),
            },
            ErrorKind::RateLimited => unreachable(Outage::Throttled),
            ErrorKind::IsADirectory | ErrorKind::NotADirectory => match &self.path {
                Some(path) => StoreError::NotAnObject { path: path.clone() },
                None => self.refused(),
            },
            // The driver found the body's length wrong, or the server said "again".
            _ if error.is_temporary() => unreachable(match self.action {
                Action::Get | Action::List => Outage::CutBody,
                Action::Open | Action::Put | Action::Delete | Action::Flush | Action::Measure => {
                    Outage::ServerFault
                }
            }),
            ErrorKind::Unexpected
            | ErrorKind::Unsupported
            | ErrorKind::AlreadyExists
            | ErrorKind::IsSameFile
            | ErrorKind::ConditionNotMatch
            | ErrorKind::RangeNotSatisfied
            | ErrorKind::Conflict
            | _ => self.refused(),
        }
    }

    fn fault_seen(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Outage { outage, pause } => StoreError::Unreachable {
                outage,
                attempts: 1,
                pause,
            },
            Fault::Denied => StoreError::Denied {
                action: self.action,
                place: self.place.clone(),
            },
            Fault::Expired => StoreError::Expired {
                place: self.place.clone(),
            },
            Fault::ClockDiffers => StoreError::ClockDiffers {
                place: self.place.clone(),
            },
            Fault::Untrusted(why) => StoreError::Untrusted {
                place: self.place.clone(),
                why,
            },
            Fault::Full => StoreError::Full {
                needed: self.bytes,
                free: None,
            },
            Fault::Endless => match &self.path {
                Some(path) => StoreError::TooLarge {
                    path: path.clone(),
                    bytes: crate::store::OBJECT_BYTES_MAX.saturating_add(1),
                    bytes_max: crate::store::OBJECT_BYTES_MAX,
                },
                None => StoreError::ListTooLong {
                    objects_max: crate::store::LISTED_OBJECTS_MAX,
                },
            },
            Fault::Status(status) => StoreError::Refused {
                action: self.action,
                status: status.map(|status| status.as_u16()),
            },
        }
    }

    fn not_found(&self) -> StoreError {
        match &self.path {
            // A write that does not find its folder does not find the store.
            Some(path) if self.action != Action::Put => StoreError::NotFound { path: path.clone() },
            _ => StoreError::Missing {
                place: self.place.clone(),
            },
        }
    }

    /// The driver gave up without a reason that we know, or fell over an answer.
    pub(super) fn refused(&self) -> StoreError {
        StoreError::Refused {
            action: self.action,
            status: None,
        }
    }
}

pub(super) fn unreachable(outage: Outage) -> StoreError {
    StoreError::Unreachable {
        outage,
        attempts: 1,
        pause: None,
    }
}

fn find_fault(error: &Error) -> Option<Fault> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return Some(*fault);
        }
        source = error.source();
    }
    None
}
