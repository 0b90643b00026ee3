//! What a core's refusal means to a person.

use keyhaven_wire::message::{Denial, Outcome, RecordState, Standing};

use crate::error::VaultError;

/// What an outcome means that is not the one a request asks for: a refusal, or a broken protocol.
pub(crate) fn instead(outcome: &Outcome, standing: &Standing, what: &'static str) -> VaultError {
    if let Outcome::Denied(denial) = outcome {
        error(*denial, standing)
    } else {
        VaultError::Misbehaved { what }
    }
}

/// Translates a refusal.
pub(crate) fn error(denial: Denial, standing: &Standing) -> VaultError {
    match denial {
        Denial::NoRecord => VaultError::NoRecord {
            state: standing.state,
        },
        Denial::Destroyed => VaultError::Exhausted,
        Denial::AlreadyRegistered => VaultError::AlreadyRegistered,
        Denial::Stale | Denial::IdReused | Denial::UnknownTicket => VaultError::RegistrationLost,
        Denial::DeviceNotListed => match standing.state {
            // A record that is gone lists nobody: say what matters.
            RecordState::Vacant | RecordState::Deleted => VaultError::NoRecord {
                state: standing.state,
            },
            RecordState::Destroyed => VaultError::Exhausted,
            RecordState::Live => VaultError::DeviceNotListed,
        },
        Denial::SessionOver => VaultError::SessionOver,
        Denial::WrongChangeNumber => VaultError::Overtaken,
        Denial::DeviceOnly => VaultError::DeviceOnly,
        Denial::TooManyDevices => VaultError::TooManyDevices,
        Denial::LastGuessesReserved { until } => VaultError::LastGuessesHeld { until },
        Denial::CapReached => VaultError::CapReached,
        Denial::WaitNotOver { until } => VaultError::WaitNotOver { until },
        Denial::NoWait => VaultError::NoWait,
        Denial::CancelsSpent => VaultError::CancelsSpent,
        Denial::NoGuessesLeft => VaultError::NoGuessesLeft,
        Denial::Malformed => VaultError::Misbehaved {
            what: "a sound request was called malformed",
        },
        Denial::BadSignature => VaultError::Misbehaved {
            what: "a good signature was called bad",
        },
    }
}
