//! Why no committed state of a database could be read.

use std::io;

use keyhaven_secrets::Remedy;

use crate::item::SkipReason;

/// Why no committed state of a database could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// This program was built without SQLite's page access. A fault of the build, not of the data.
    #[error("this program was built without SQLite's page access (SQLITE_ENABLE_DBPAGE_VTAB)")]
    PageAccessMissing,
    /// Another program kept the database locked for longer than we wait.
    #[error("the database stayed locked by another program: close that program, or back up later")]
    Locked,
    /// The caller's own connection is in a transaction, whose changes are not committed.
    #[error("the connection is in a transaction of its own")]
    InTransaction,
    /// A program died in the middle of a change, and only a program that may write can undo it.
    #[error("the database holds a half-made change that its own program must undo first")]
    HotJournal,
    /// The database file is empty although its log is not: what the log holds belongs to no
    /// committed state of this file.
    #[error("the database file is empty but its log is not")]
    EmptyWithLog,
    /// The file is no SQLite database, or is encrypted.
    #[error("the file is not a database that SQLite can read: its own app must mend it")]
    NotADatabase,
    /// It was an SQLite database when it was backed up last.
    #[error(
        "this was a database and is none any more: its own app must mend it; the last good backup of it stays. If it is meant to be \
         another file now, give it another name"
    )]
    NoLonger,
    /// SQLite, or the header, says that the database is damaged.
    #[error("the database is damaged: its own app must mend it; the last good backup of it stays")]
    Corrupt,
    /// Other programs came in the way of every attempt.
    #[error("the database changed during every attempt to read it")]
    Changed,
    /// It is not there any more, or something else stands in its place.
    #[error("the database vanished or was replaced")]
    Vanished,
    /// We may not read it.
    #[error("the database may not be read")]
    Denied,
    /// Memory is short.
    #[error("not enough memory to read the database")]
    OutOfMemory,
    /// The disk or the file system failed.
    #[error("the database could not be read ({0})")]
    Io(io::ErrorKind),
    /// SQLite answered with an extended result code that has no name here.
    #[error("SQLite could not read the database (result code {0})")]
    Sqlite(i32),
    /// The source did not keep to its contract: pages missing, of another size or out of order.
    #[error("the source of pages gave pages that do not make an image")]
    BadSource,
    /// The sink asked to stop.
    #[error("reading was stopped")]
    Stopped,
}

impl DatabaseError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Locked | Self::Changed | Self::Vanished | Self::OutOfMemory | Self::Stopped => {
                Remedy::RetryLater
            }
            Self::HotJournal | Self::NoLonger | Self::Denied | Self::Io(_) => Remedy::AskUser,
            Self::PageAccessMissing
            | Self::InTransaction
            | Self::EmptyWithLog
            | Self::NotADatabase
            | Self::Corrupt
            | Self::Sqlite(_)
            | Self::BadSource => Remedy::Stop,
        }
    }

    /// Names an error of the file system.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        Self::from_skip(SkipReason::from_io(error))
    }

    /// Names a refusal to open a listed file.
    pub(crate) fn from_skip(reason: SkipReason) -> Self {
        match reason {
            SkipReason::Denied => Self::Denied,
            SkipReason::Io(io::ErrorKind::OutOfMemory) => Self::OutOfMemory,
            SkipReason::Io(kind) | SkipReason::CutOff(kind) => Self::Io(kind),
            SkipReason::Vanished
            | SkipReason::Replaced
            | SkipReason::Pipe
            | SkipReason::Socket
            | SkipReason::Device
            | SkipReason::UnknownType
            | SkipReason::TooDeep
            | SkipReason::OtherDevice
            | SkipReason::InUse
            | SkipReason::Excluded => Self::Vanished,
        }
    }

    /// Names an error of SQLite.
    pub(crate) fn from_sqlite(error: &rusqlite::Error) -> Self {
        let Some(failure) = error.sqlite_error() else {
            return Self::BadSource;
        };
        match failure.extended_code {
            rusqlite::ffi::SQLITE_READONLY_ROLLBACK => return Self::HotJournal,
            rusqlite::ffi::SQLITE_READONLY_RECOVERY | rusqlite::ffi::SQLITE_READONLY_CANTINIT => {
                return Self::Changed;
            }
            _ => {}
        }
        // The wildcard is SQLite's enum, which grows; ours stays exhaustive.
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign, non-exhaustive enum"
        )]
        match failure.code {
            rusqlite::ErrorCode::DatabaseBusy
            | rusqlite::ErrorCode::DatabaseLocked
            | rusqlite::ErrorCode::FileLockingProtocolFailed => Self::Locked,
            rusqlite::ErrorCode::DatabaseCorrupt => Self::Corrupt,
            rusqlite::ErrorCode::NotADatabase => Self::NotADatabase,
            rusqlite::ErrorCode::PermissionDenied | rusqlite::ErrorCode::CannotOpen => Self::Denied,
            rusqlite::ErrorCode::OutOfMemory => Self::OutOfMemory,
            rusqlite::ErrorCode::SystemIoFailure => Self::Io(io::ErrorKind::Other),
            _ => Self::Sqlite(failure.extended_code),
        }
    }
}
