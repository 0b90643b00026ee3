//! What can go wrong between a backup and its store, and what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use keyhaven_secrets::Remedy;
use thiserror::Error;

use super::path::ObjectPath;

/// What was being done when a store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Opening the store.
    Open,
    /// Writing an object.
    Put,
    /// Reading an object.
    Get,
    /// Listing objects.
    List,
    /// Deleting an object.
    Delete,
    /// Making earlier writes durable.
    Flush,
    /// Asking how much room there is.
    Measure,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open the store",
            Self::Put => "write to the store",
            Self::Get => "read from the store",
            Self::List => "list the store",
            Self::Delete => "delete from the store",
            Self::Flush => "make the store's objects durable",
            Self::Measure => "measure the store's free space",
        })
    }
}

/// How a store could not be reached. Each of these may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outage {
    /// No connection: wrong host, no network, server down.
    Connection,
    /// No answer in time.
    TimedOut,
    /// The server asked for fewer requests (429, 503 "slow down").
    Throttled,
    /// The server reported a fault of its own (5xx).
    ServerFault,
    /// The answer's body ended early, or was longer than it said.
    CutBody,
    /// The answer is not one that such a store gives: a login page in its place, as networks in hotels have it.
    Foreign,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "no connection",
            Self::TimedOut => "no answer in time",
            Self::Throttled => "the server asks for fewer requests",
            Self::ServerFault => "the server reports a fault of its own",
            Self::CutBody => "the answer was cut off",
            Self::Foreign => {
                "what answers there is no store: this network may want you to log in first, or the address may be wrong"
            }
        })
    }
}

/// Why a server's certificate is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mistrust {
    /// Nobody whom this system trusts has signed it.
    UnknownIssuer,
    /// Its time is over, or has not begun.
    OutOfDate,
    /// It names another host.
    OtherName,
    /// It is an authority's, which signs those of others (RFC 5280, section 4.2.1.9). `openssl req -x509` makes such ones where
    /// nothing else is said.
    Authority,
    /// Anything else.
    Unfit,
}

impl fmt::Display for Mistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => {
                "nobody whom this system trusts has signed its certificate. If it is a certificate of your own, have the system \
                 trust it, or name its file in SSL_CERT_FILE"
            }
            Self::OutOfDate => {
                "its certificate has expired or is not valid yet, or the clock of this device is wrong"
            }
            Self::OtherName => "its certificate is of another name than the address has",
            Self::Authority => {
                "its certificate is an authority's (CA:TRUE), which signs those of others; a server needs one with CA:FALSE"
            }
            Self::Unfit => "its certificate is not valid",
        })
    }
}

/// A store failed. Fields are safe to log: addresses without credentials, object names, numbers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The object does not exist.
    #[error("the store has no object {path}")]
    NotFound {
        /// The object.
        path: ObjectPath,
    },
    /// Nothing stands where the store should be.
    #[error("there is no store at {place}: it does not exist, or its disk is not connected")]
    Missing {
        /// The store's address.
        place: String,
    },
    /// Something else than a folder stands where the store should be.
    #[error("{place} is not a folder")]
    NotAFolder {
        /// The store's address.
        place: String,
    },
    /// The place exists and is not a Keyhaven store.
    #[error("{place} is not a Keyhaven store")]
    NotAStore {
        /// The store's address.
        place: String,
    },
    /// A new store was asked for where there is one already.
    #[error("there is a Keyhaven store at {place} already")]
    AlreadyAStore {
        /// The store's address.
        place: String,
    },
    /// A new store was asked for in a folder that holds other things.
    #[error("{place} holds other files: a new store needs an empty folder")]
    NotEmpty {
        /// The store's address.
        place: String,
    },
    /// Permission or credentials were refused.
    #[error("not allowed to {action} at {place}: {}", permission_words(.place))]
    Denied {
        /// What was refused.
        action: Action,
        /// The store's address.
        place: String,
    },
    /// Credentials that are good for some hours, and were good until now.
    #[error(
        "the credentials for {place} have expired: get new ones (for S3 all three, the session token too), put \
         them where the old ones stood, and run this again"
    )]
    Expired {
        /// The store's address.
        place: String,
    },
    /// The server does not take what was signed at another time.
    #[error(
        "the clock of this device and that of {place} differ by too much: set this device's clock, and run \
         this again"
    )]
    ClockDiffers {
        /// The store's address.
        place: String,
    },
    /// The server does not prove that it is the one that the address names: its certificate is
    /// not trusted here, is out of date, or names another host. Nothing was sent to it.
    #[error("the server at {place} cannot prove that it is the one you mean: {why}")]
    Untrusted {
        /// The store's address.
        place: String,
        /// Why its certificate is not accepted.
        why: Mistrust,
    },
    /// The store cannot be written to.
    #[error("the store at {place} is read-only")]
    ReadOnly {
        /// The store's address.
        place: String,
    },
    /// There is not enough room. Nothing partial was left behind.
    #[error("the store is full: {needed} bytes are needed{}", free_words(*.free))]
    Full {
        /// The bytes that were to be written.
        needed: u64,
        /// The bytes that are free, if the store tells.
        free: Option<u64>,
    },
    /// The disk of this device on which objects wait for their upload has not enough room.
    #[error(
        "the disk that holds the spool has no room: {needed} bytes are needed, {free} may be used"
    )]
    SpoolFull {
        /// The bytes that were to be spooled.
        needed: u64,
        /// The bytes that the spool may still use.
        free: u64,
    },
    /// The store could not be reached, also after bounded retries.
    #[error("the store cannot be reached ({outage}; tried {attempts} times)")]
    Unreachable {
        /// How.
        outage: Outage,
        /// How often it was tried.
        attempts: u32,
        /// How long the server asked to wait before the next try, if it said so.
        pause: Option<Duration>,
    },
    /// An object is shorter than the range that was asked for, or than the store said.
    #[error("the object {path} is damaged: {expected} bytes were due, {got} are there")]
    WrongLength {
        /// The object.
        path: ObjectPath,
        /// The bytes that were due.
        expected: u64,
        /// The bytes that the store has.
        got: u64,
    },
    /// What stands under an object's name is a link, a pipe, a folder or a device.
    #[error("the object {path} cannot be used: a folder or something else stands under its name")]
    NotAnObject {
        /// The object.
        path: ObjectPath,
    },
    /// The disk does not give an object, also at a second try, though it gives others.
    #[error("the object {path} cannot be read: the disk reports a fault there (error {code})")]
    Unreadable {
        /// The object.
        path: ObjectPath,
        /// The operating system's number of the fault.
        code: i32,
    },
    /// A server does not give an object, also after bounded retries, though it gives others.
    #[error(
        "the server does not give the object {path}, though it gives others ({outage}; tried {attempts} \
         times): it may give it later"
    )]
    Withheld {
        /// The object.
        path: ObjectPath,
        /// What it said last.
        outage: Outage,
        /// How often it was tried.
        attempts: u32,
    },
    /// The disk gives no object any more.
    #[error(
        "the disk that holds the store at {place} gives nothing any more: it was disconnected, or it \
         failed as a whole"
    )]
    DiskGone {
        /// The store's address.
        place: String,
    },
    /// The disk does not give a folder of the store, so that nobody can tell what is in it.
    #[error(
        "cannot {action} at {place}: its disk reports a fault (error {code}). Check how it is connected, then \
         let its file system be checked and repaired; what that leaves, `keyhaven verify` looks through"
    )]
    FolderUnreadable {
        /// What was being done.
        action: Action,
        /// The store's address.
        place: String,
        /// The operating system's number of the fault.
        code: i32,
    },
    /// An object is larger than any that Keyhaven writes.
    #[error(
        "the object {path} has {bytes} bytes, more than the {bytes_max} that Keyhaven writes at most"
    )]
    TooLarge {
        /// The object.
        path: ObjectPath,
        /// Its size.
        bytes: u64,
        /// The largest that is accepted.
        bytes_max: u64,
    },
    /// The store lists more objects than are accepted.
    #[error("the store lists more than {objects_max} objects")]
    ListTooLong {
        /// The most that are accepted.
        objects_max: u64,
    },
    /// The operation was called off by its caller.
    #[error("called off")]
    Cancelled,
    /// A write could not be made durable; the store object makes no claims any more.
    ///
    /// After a failed flush, an operating system may have dropped the unwritten bytes and report
    /// success the next time: only opening the store anew and writing again is sound.
    #[error("a write did not reach the disk ({kind}): open the store again and repeat the backup")]
    FlushFailed {
        /// The operating system's kind of failure.
        kind: io::ErrorKind,
    },
    /// The operating system reported something else.
    #[error("cannot {action}: {kind}")]
    Disk {
        /// What was being done.
        action: Action,
        /// The operating system's kind of failure.
        kind: io::ErrorKind,
        /// Its number, if it gave one.
        code: Option<i32>,
    },
    /// The server answered with something that is neither success nor any failure above.
    #[error("cannot {action}: the server refused it{}", status_words(*.status))]
    Refused {
        /// What was being done.
        action: Action,
        /// The HTTP status, where it is known.
        status: Option<u16>,
    },
    /// The address needs credentials, and none were given.
    #[error("the store at {place} needs credentials: {hint}")]
    NoCredentials {
        /// The store's address.
        place: String,
        /// Where they can be put.
        hint: &'static str,
    },
    /// The operating system gave no thread, runtime or connection pool to work with.
    #[error("cannot start the machinery that talks to the store")]
    NoMachinery,
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable { .. }
            | Self::Withheld { .. }
            | Self::FlushFailed { .. }
            | Self::Cancelled
            | Self::NoMachinery => Remedy::RetryLater,
            Self::Missing { .. }
            | Self::DiskGone { .. }
            | Self::FolderUnreadable { .. }
            | Self::NotAFolder { .. }
            | Self::NotAStore { .. }
            | Self::AlreadyAStore { .. }
            | Self::NotEmpty { .. }
            | Self::Denied { .. }
            | Self::Expired { .. }
            | Self::ClockDiffers { .. }
            | Self::Untrusted { .. }
            | Self::ReadOnly { .. }
            | Self::Full { .. }
            | Self::SpoolFull { .. }
            | Self::NoCredentials { .. } => Remedy::AskUser,
            Self::NotFound { .. }
            | Self::Unreadable { .. }
            | Self::WrongLength { .. }
            | Self::NotAnObject { .. }
            | Self::TooLarge { .. }
            | Self::ListTooLong { .. }
            | Self::Disk { .. }
            | Self::Refused { .. } => Remedy::Stop,
        }
    }

    /// The object that is missing or damaged, if the store says that of one.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectPath> {
        match self {
            Self::NotFound { path }
            | Self::Unreadable { path, .. }
            | Self::WrongLength { path, .. }
            | Self::NotAnObject { path }
            | Self::TooLarge { path, .. } => Some(path),
            Self::Missing { .. }
            | Self::DiskGone { .. }
            | Self::FolderUnreadable { .. }
            | Self::NotAFolder { .. }
            | Self::NotAStore { .. }
            | Self::AlreadyAStore { .. }
            | Self::NotEmpty { .. }
            | Self::Denied { .. }
            | Self::Expired { .. }
            | Self::ClockDiffers { .. }
            | Self::Untrusted { .. }
            | Self::ReadOnly { .. }
            | Self::Full { .. }
            | Self::SpoolFull { .. }
            | Self::Unreachable { .. }
            | Self::Withheld { .. }
            | Self::ListTooLong { .. }
            | Self::Cancelled
            | Self::FlushFailed { .. }
            | Self::Disk { .. }
            | Self::Refused { .. }
            | Self::NoCredentials { .. }
            | Self::NoMachinery => None,
        }
    }

    /// Whether the same call may succeed when it is made again at once.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// What helps: a cloud is told by its address.
fn permission_words(place: &str) -> &'static str {
    if place.contains("://") {
        "its credentials do not permit it, or are no longer good"
    } else {
        "see to it that you may read and change this folder and all that is in it"
    }
}

fn free_words(free: Option<u64>) -> String {
    free.map_or_else(String::new, |free| format!(", {free} are free"))
}

fn status_words(status: Option<u16>) -> String {
    status.map_or_else(String::new, |status| format!(" (HTTP {status})"))
}
