//! Why a sealed object does not open.

use keyhaven_secrets::Remedy;

use super::ObjectKind;
use crate::names::Epoch;

/// Why a sealed object does not open. No variant carries plaintext or keys, so all may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The bytes do not start as one of our objects does.
    #[error("this is not an object that Keyhaven wrote")]
    NotKeyhaven,
    /// A later Keyhaven wrote it.
    #[error("this was written in format version {found}; this program reads up to version 1")]
    UnknownVersion {
        /// The version in the header.
        found: u16,
    },
    /// A cipher suite that this version does not have.
    #[error("this was sealed with cipher suite {found}, which this program does not have")]
    UnknownSuite {
        /// The suite in the header.
        found: u8,
    },
    /// A header field holds what no writer puts there.
    #[error("the object's header holds a value that no writer puts there")]
    BadHeader,
    /// The object is shorter than its header says.
    #[error("the object has been cut short: {found} bytes of {expected}")]
    Truncated {
        /// Length in the header (or the least length of any object).
        expected: u64,
        /// Length found.
        found: u64,
    },
    /// The object is longer than its header says.
    #[error("the object has been extended: {found} bytes instead of {expected}")]
    Extended {
        /// Length in the header.
        expected: u64,
        /// Length found.
        found: u64,
    },
    /// The object belongs to another store.
    #[error("the object belongs to another store")]
    WrongStore,
    /// The object lies under a name that is not its own.
    #[error("the object lies under a name that is not its own")]
    Renamed,
    /// The object is of another kind than the place that refers to it says.
    #[error("the object is of kind {found:?} where {expected:?} belongs")]
    WrongKind {
        /// What the caller asked for.
        expected: ObjectKind,
        /// What it was sealed as.
        found: ObjectKind,
    },
    /// The keyring has no data key of the object's epoch.
    #[error("the object is sealed under epoch {found}, of which the keyring has no key")]
    UnknownEpoch {
        /// The epoch in the header.
        found: Epoch,
    },
    /// The key commitment differs: another key, or an altered header.
    #[error("the key does not open this object, or the object's header was altered")]
    WrongKey,
    /// A frame does not authenticate.
    #[error("frame {frame} of the object was altered")]
    FrameAltered {
        /// Its number, from 0.
        frame: u32,
    },
    /// The object ends in a frame that was not sealed as its last.
    #[error("the object ends in frame {frame}, which was not sealed as its last")]
    LastMarkMissing {
        /// Its number, from 0.
        frame: u32,
    },
    /// The cipher refused to work at all. No input that this crate makes causes it.
    #[error("the cipher refused to work")]
    Cipher,
}

impl ObjectError {
    /// What helps. Bytes that a store altered do not mend by reading them again, except that a
    /// short read may be the store's hiccup.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Truncated { .. } => Remedy::RetryLater,
            Self::UnknownVersion { .. } | Self::UnknownSuite { .. } | Self::WrongKey => {
                Remedy::AskUser
            }
            Self::NotKeyhaven
            | Self::BadHeader
            | Self::Extended { .. }
            | Self::WrongStore
            | Self::Renamed
            | Self::WrongKind { .. }
            | Self::UnknownEpoch { .. }
            | Self::FrameAltered { .. }
            | Self::LastMarkMissing { .. }
            | Self::Cipher => Remedy::Stop,
        }
    }

    /// The outcome's name in the test vectors and in machine-readable reports.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::NotKeyhaven => "not-keyhaven",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::UnknownSuite { .. } => "unknown-suite",
            Self::BadHeader => "bad-header",
            Self::Truncated { .. } => "truncated",
            Self::Extended { .. } => "extended",
            Self::WrongStore => "wrong-store",
            Self::Renamed => "renamed",
            Self::WrongKind { .. } => "wrong-kind",
            Self::UnknownEpoch { .. } => "unknown-epoch",
            Self::WrongKey => "wrong-key",
            Self::FrameAltered { .. } => "frame-altered",
            Self::LastMarkMissing { .. } => "last-mark-missing",
            Self::Cipher => "cipher-failed",
        }
    }
}
