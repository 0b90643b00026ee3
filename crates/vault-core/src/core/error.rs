//! Why a core refuses.

use super::BATCH_MAX;
use crate::log::LogError;
use crate::membership::MembershipError;
use crate::ranges::RangeError;
use crate::secrets::SecretsError;
use crate::tree::ProofError;

/// Why a core refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The batch is empty or longer than [`BATCH_MAX`].
    #[error("a batch holds 1 to {BATCH_MAX} requests")]
    BatchSize,
    /// This core does not lead its group: only a leader executes.
    #[error("this core does not lead its group")]
    NotLeading,
    /// Not a quorum of the group has promised itself to this core's call, itself among them.
    #[error("not enough cores have promised themselves to this one's call")]
    NotElected,
    /// An earlier batch is not committed yet: capture and release it, or step down.
    #[error("an earlier batch is not committed yet")]
    Pending,
    /// There is nothing to release.
    #[error("there is no batch to release")]
    NothingPending,
    /// Not enough cores have captured the entry. The answers stay inside (VAULT-2).
    #[error("the entry is not captured by a quorum")]
    NotCommitted,
    /// The proof does not lead to this core's root. Nothing was applied.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// An entry, a statement or a memory was refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The group's members cannot be changed so.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A step of a range was refused.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The secrets were refused.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A leaf within the root does not open: sealed by other secrets, or a bug of ours.
    #[error("a record within the root does not open")]
    RecordDamaged,
    /// The log is as long as it can be, or a value does not fit: a bug of ours.
    #[error("an inner bound was reached")]
    Bound,
}

impl CoreError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> keyhaven_secrets::Remedy {
        use keyhaven_secrets::Remedy;
        match self {
            Self::BatchSize
            | Self::NotLeading
            | Self::NotElected
            | Self::Pending
            | Self::NothingPending
            | Self::NotCommitted
            | Self::Membership(MembershipError::Underway)
            | Self::Log(LogError::OldTerm { .. } | LogError::NotKept(_)) => Remedy::RetryLater,
            Self::Proof(_)
            | Self::Log(_)
            | Self::Membership(_)
            | Self::Range(_)
            | Self::Secrets(_)
            | Self::RecordDamaged
            | Self::Bound => Remedy::Stop,
        }
    }
}
