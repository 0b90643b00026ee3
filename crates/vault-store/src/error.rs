//! What can go wrong with a store, by what a host can do about it.

use std::path::PathBuf;

use keyhaven_secrets::Remedy;

use crate::{Index, LogEntry, Step};

/// Why a store cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("the store {} is open in another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a store of this program, or of a newer version of it.
    #[error("{} is not a vault store that this version reads", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged: what it holds cannot be read as it was written.
    #[error("the store is damaged: {reason}")]
    Damaged {
        /// What the engine found.
        reason: String,
    },
    /// The medium is full.
    #[error("there is no space left for the store")]
    Full,
    /// The operating system failed a read, a write or a flush. A store that has failed once is not
    /// used again until it is opened anew: what a flush that failed has left behind is not known.
    #[error("the store failed: {reason}")]
    Failed {
        /// What the engine said.
        reason: String,
    },
}

impl StoreError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::InUse { .. } | Self::Failed { .. } => Remedy::RetryLater,
            Self::NotAStore { .. } | Self::Full => Remedy::AskUser,
            Self::Damaged { .. } => Remedy::Stop,
        }
    }
}

/// Why a step was not, or perhaps not, taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log's newest entry is another than the caller expected. Nothing was written.
    #[error(
        "the log has moved: its newest entry is {head:?}, and not the {expected:?} that was seen"
    )]
    Raced {
        /// What the caller expected.
        expected: Option<Index>,
        /// What stands there.
        head: Option<Index>,
    },
    /// The entry's index does not follow the expected one. Nothing was written.
    #[error("entry {index} does not follow {expected:?}")]
    NotNext {
        /// What the caller expected.
        expected: Option<Index>,
        /// The entry's index.
        index: Index,
    },
    /// The entry, a node or the number of nodes is above the limits. Nothing was written.
    #[error("the step is larger than any that a core makes")]
    TooLarge,
    /// The store failed before it began to write. Nothing was written.
    #[error("nothing was written: {0}")]
    Refused(#[source] StoreError),
    /// The store failed while it was writing or flushing: the step may stand, or not. Read it back.
    #[error("it is not known whether the step was written: {0}")]
    Unknown(#[source] StoreError),
}

impl AppendError {
    pub(crate) fn raced(step: &Step<'_>, head: Option<LogEntry>) -> Self {
        Self::Raced {
            expected: step.expected.map(|entry| entry.index),
            head: head.map(|entry| entry.index),
        }
    }

    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Raced { .. } => Remedy::RetryLater,
            Self::NotNext { .. } | Self::TooLarge => Remedy::Stop,
            Self::Refused(error) | Self::Unknown(error) => error.remedy(),
        }
    }
}
