//! Why a vault cannot be made, cannot go on, or stops.

use std::path::PathBuf;

use keyhaven_secrets::Remedy;
use keyhaven_vault_core::CoreError;
use keyhaven_vault_store::{AppendError, StoreError};

use crate::desk::AskError;
use crate::folder::FolderError;
use crate::operator::OperatorError;
use crate::tail_folder::TailFault;

/// Why a vault could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is one already.
    #[error("there is a vault in {} already; it is left as it is", path.display())]
    Exists {
        /// The data folder.
        path: PathBuf,
    },
    /// The core refused.
    #[error("the core could not be made: {0}")]
    Core(#[from] CoreError),
    /// The store refused.
    #[error("the store could not be made: {0}")]
    Store(#[from] StoreError),
    /// The first entry could not be stored.
    #[error("the first entry could not be stored: {0}")]
    Append(#[from] AppendError),
    /// A file could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The operator's key or bundle could not be made.
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

/// Why a vault cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The store is older than what the core remembers, or another history. It is never served:
    /// every guess spent since would be free again.
    #[error(
        "this vault is GONE: its store stands at {store}, but its core remembers entry {memory}. \
         An older store was put in place of a newer one, and no tail leads on from it. Put the newest \
         back, or the last that `keyhaven-vault backup` made; if both are lost, every record is, and \
         people register anew at a new vault"
    )]
    Gone {
        /// Where the store stands, in words.
        store: String,
        /// What the core remembers.
        memory: u64,
    },
    /// A file does not hold what the vault wrote into it.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Which one.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The core could not be elected: a bug of ours.
    #[error("the core refused to go on: {0}")]
    Core(#[from] CoreError),
    /// The store could not be brought to where the core is.
    #[error(transparent)]
    CatchUp(CommitError),
    /// A file could not be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store could not be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a batch ended the machine. Those who waited were not answered; what was appended stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] AskError),
    /// The core refused what can only be refused through a bug of ours.
    #[error("the core refused: {0}")]
    Core(#[from] CoreError),
    /// Another entry stands in the store: something else writes to it.
    #[error("another entry was appended to the store behind this vault's back")]
    Raced,
    /// The memory could not be written.
    #[error("the core's memory could not be written: {0}")]
    Memory(#[from] FolderError),
    /// The tail could not be written or read.
    #[error("the tail: {0}")]
    Tail(#[from] TailFault),
}

/// What stops a start is told as what it is, wherever on the way it was met.
impl From<CommitError> for ResumeError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(AskError::Read(error)) => Self::Store(error),
            CommitError::Store(AskError::Damaged(error)) => Self::Damaged {
                file: "store.redb",
                reason: error.to_string(),
            },
            CommitError::Core(error) => Self::Core(error),
            CommitError::Memory(error) => Self::Folder(error),
            CommitError::Tail(error) => error.into(),
            CommitError::Store(AskError::Append(_)) | CommitError::Raced => Self::CatchUp(error),
        }
    }
}

impl From<TailFault> for ResumeError {
    fn from(fault: TailFault) -> Self {
        match fault {
            TailFault::Tail(error) => Self::Damaged {
                file: "tail",
                reason: error.to_string(),
            },
            TailFault::Folder(error) => Self::Folder(error),
        }
    }
}

impl CreateError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Exists { .. } => Remedy::AskUser,
            Self::Core(_) => Remedy::Stop,
            Self::Store(error) => error.remedy(),
            Self::Append(error) => error.remedy(),
            Self::Folder(error) => error.remedy(),
            Self::Operator(error) => error.remedy(),
        }
    }
}

impl ResumeError {
    pub(super) fn gone(store: Option<u64>, memory: u64) -> Self {
        let store = match store {
            None => "no entry at all".to_owned(),
            Some(index) if index < memory => format!("entry {index}"),
            Some(_) => format!("another entry {memory}"),
        };
        Self::Gone { store, memory }
    }

    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Gone { .. } | Self::Damaged { .. } | Self::Core(_) => Remedy::Stop,
            Self::Folder(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
            Self::CatchUp(error) => error.remedy(),
        }
    }
}

impl CommitError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Store(error) => error.remedy(),
            Self::Memory(error) => error.remedy(),
            Self::Tail(error) => error.remedy(),
            Self::Core(_) | Self::Raced => Remedy::Stop,
        }
    }
}
