//! What can go wrong between a device and its vault, and what helps.

use keyhaven_secrets::Remedy;
use keyhaven_wire::bundle::BundleError;
use keyhaven_wire::channel::ChannelError;
use keyhaven_wire::message::{HostTime, RecordState};
use keyhaven_wire::opaque::Cost;

use crate::journal::JournalError;
use crate::memory::MemoryError;
use crate::time;
use crate::transport::TransportError;

/// Why an operation at the vault did not succeed. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// No answer came, or none of a vault's.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The vault is not the one that was asked for, goes back, or is weaker than accepted.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The answer does not open: something between device and core bent it.
    #[error("the vault's answer was changed on its way: {0}")]
    Channel(#[from] ChannelError),
    /// This device cannot write down what it is about to send, so it does not send it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// This device cannot remember which vault it has seen.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The password is wrong; a guess is spent.
    #[error("the password is wrong; {}", left_text(*left))]
    WrongPassword {
        /// Guesses left in a row.
        left: u8,
    },
    /// The guesses are spent: what the record held is destroyed.
    #[error(
        "all guesses are spent, and the vault has destroyed the backup key for good; only the 64-digit key or another device opens the backup now"
    )]
    Exhausted,
    /// The vault keeps nothing for this account.
    #[error("the vault keeps no backup key for this account")]
    NoRecord {
        /// Whether there was one.
        state: RecordState,
    },
    /// The account has a record, and a token alone does not replace it.
    #[error(
        "this account has a password at the vault already; it is changed with the old password or from one of your devices"
    )]
    AlreadyRegistered,
    /// The last guesses are kept for the owner's devices, or for who waits.
    #[error(
        "the last guesses are kept for the owner: use one of your devices, or ask for the wait and come back{}",
        until_text(*until)
    )]
    LastGuessesHeld {
        /// When the wait that was begun is over, as the vault's host says.
        until: Option<HostTime>,
    },
    /// The lifetime cap on wrong guesses is reached.
    #[error(
        "too many wrong guesses were made over the years; one of your devices must allow more before the next one"
    )]
    CapReached,
    /// The wait has not been begun, or is not over.
    #[error("the wait is not over{}", until_text(*until))]
    WaitNotOver {
        /// When it is over.
        until: Option<HostTime>,
    },
    /// There is no wait to cancel.
    #[error("no wait is running")]
    NoWait,
    /// The wait has been cancelled as often as it may be.
    #[error("the wait has been cancelled twice and cannot be cancelled again")]
    CancelsSpent,
    /// A registration that may be of the old password would begin without a guess.
    #[error(
        "no guesses are left, and a new password does not bring them back unless it is proven to be a different one"
    )]
    NoGuessesLeft,
    /// The device's key is not on the record's list.
    #[error("this device is not on the account's list of devices at the vault")]
    DeviceNotListed,
    /// The record's list of devices is full.
    #[error("the account has eight devices at the vault already; remove one first")]
    TooManyDevices,
    /// Only a listed device may do this.
    #[error("only one of the account's devices may do this, not the password")]
    DeviceOnly,
    /// The session's proof of the password no longer counts.
    #[error("the password must be given again: something else was changed or proven since")]
    SessionOver,
    /// Something else changed the record at the same moment.
    #[error("another device changed the record at the same moment; look again before repeating")]
    Overtaken,
    /// A registration was begun and may have been made: finish it before another one.
    #[error("an earlier change of the password was interrupted and must be finished first")]
    Unfinished,
    /// The record moved on while a registration was interrupted; it was not made.
    #[error(
        "the interrupted change of the password was not made, because the record changed meanwhile"
    )]
    RegistrationLost,
    /// What the journal holds is of a version that this program does not know, or is damaged.
    #[error("what this device wrote down about its last step at the vault is damaged")]
    DamagedJournal,
    /// The vault asks for less stretching of the password than this client does.
    #[error(
        "the vault asks for too little stretching of the password ({} KiB, {} passes): it is broken or hostile",
        cost.memory_kib(),
        cost.passes()
    )]
    CostBelowFloor {
        /// What it asks for.
        cost: Cost,
    },
    /// Not enough memory to stretch the password.
    #[error("there is not enough memory to stretch the password")]
    Stretching,
    /// The password was proven, and what the vault keeps is not what was sealed under it.
    #[error("the vault returned a sealed key that the right password does not open")]
    SealedKeyDamaged,
    /// The core says what no core says.
    #[error("the vault broke its own protocol ({what})")]
    Misbehaved {
        /// What was unexpected.
        what: &'static str,
    },
}

impl VaultError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Transport(error) => error.remedy(),
            Self::Channel(error) => error.remedy(),
            Self::Journal(error) => error.remedy(),
            Self::Memory(error) => error.remedy(),
            Self::Bundle(error) => error.remedy(),
            Self::Overtaken | Self::Stretching => Remedy::RetryLater,
            Self::WrongPassword { .. }
            | Self::AlreadyRegistered
            | Self::LastGuessesHeld { .. }
            | Self::CapReached
            | Self::WaitNotOver { .. }
            | Self::NoWait
            | Self::CancelsSpent
            | Self::NoGuessesLeft
            | Self::DeviceNotListed
            | Self::TooManyDevices
            | Self::DeviceOnly
            | Self::SessionOver
            | Self::Unfinished
            | Self::RegistrationLost
            | Self::NoRecord { .. } => Remedy::AskUser,
            Self::Exhausted
            | Self::DamagedJournal
            | Self::CostBelowFloor { .. }
            | Self::SealedKeyDamaged
            | Self::Misbehaved { .. } => Remedy::Stop,
        }
    }
}

fn left_text(left: u8) -> String {
    match left {
        0 => "no guess is left, and the next attempt destroys the backup key".to_owned(),
        1 => "1 guess is left, and if it is wrong the backup key is destroyed for good".to_owned(),
        left => format!(
            "{left} guesses are left, and after the last wrong one the backup key is destroyed for good"
        ),
    }
}

fn until_text(until: Option<HostTime>) -> String {
    until.map_or_else(String::new, |until| {
        format!(
            " (it is over on {}, by the vault's clock)",
            time::utc(until)
        )
    })
}
