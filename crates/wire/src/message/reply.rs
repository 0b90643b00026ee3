//! What a core answers.

use minicbor::{Decode, Encode};

use super::ids::{AttemptNumber, ChangeNumber, Generation, HostTime, Ticket};
use super::standing::Standing;
use crate::opaque::{Cost, Ke2, RegistrationResponse};
use crate::release::Released;

/// One reply: what came of the request, and how the account stands after it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reply {
    /// What came of it.
    #[n(0)]
    pub outcome: Outcome,
    /// How the account stands.
    #[n(1)]
    pub standing: Standing,
}

/// What came of a request.
#[expect(
    clippy::large_enum_variant,
    reason = "one reply is alive at a time, and it is padded to 2 KiB anyway"
)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// Refused, and why.
    #[n(0)]
    Denied(#[n(0)] Denial),
    /// To [`Request::Status`](super::Request::Status).
    #[n(1)]
    Standing,
    /// To [`Request::RegisterStart`](super::Request::RegisterStart).
    #[n(2)]
    RegisterStarted {
        /// OPAQUE's answer.
        #[n(0)]
        response: RegistrationResponse,
        /// Goes back with the second message.
        #[n(1)]
        ticket: Ticket,
    },
    /// The new generation is armed, now or by the same bytes before.
    #[n(3)]
    Registered {
        /// Its number.
        #[n(0)]
        generation: Generation,
    },
    /// To [`Request::RecoverStart`](super::Request::RecoverStart): the guess is spent.
    #[n(4)]
    RecoverStarted {
        /// OPAQUE's answer.
        #[n(0)]
        ke2: Ke2,
        /// How the password must be stretched. Bound into OPAQUE's transcript.
        #[n(1)]
        cost: Cost,
        /// The guess's number.
        #[n(2)]
        attempt: AttemptNumber,
        /// Goes back with the second message.
        #[n(3)]
        ticket: Ticket,
    },
    /// The password was right: the wrapped backup key, sealed under OPAQUE's session key.
    #[n(5)]
    Recovered(#[n(0)] Released),
    /// The password was wrong, and the attempt is ended.
    #[n(6)]
    WrongPassword,
    /// The change is made, now or by the same bytes before.
    #[n(7)]
    Changed {
        /// The record's change number now.
        #[n(0)]
        number: ChangeNumber,
    },
    /// The wait runs.
    #[n(8)]
    WaitBegun {
        /// When it is over, as the host says the time.
        #[n(0)]
        until: HostTime,
    },
}

impl Outcome {
    /// Why it was refused, if it was.
    #[must_use]
    pub const fn denial(&self) -> Option<Denial> {
        if let Self::Denied(denial) = self {
            Some(*denial)
        } else {
            None
        }
    }
}

/// Why a request was refused. The host never learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Denial {
    /// The request's plaintext is not a message, or a group element in it is not valid.
    #[n(0)]
    Malformed,
    /// Nothing is registered.
    #[n(1)]
    NoRecord,
    /// The record was destroyed, by this request or before: the guesses are spent.
    #[n(2)]
    Destroyed,
    /// A record stands already: only a listed device, the password or a fresh start changes it.
    #[n(3)]
    AlreadyRegistered,
    /// The ticket is of a generation that the record has left behind.
    #[n(4)]
    Stale,
    /// Other bytes were armed under this registration id.
    #[n(5)]
    IdReused,
    /// The ticket is not one of this core's for this account and step.
    #[n(6)]
    UnknownTicket,
    /// The device's key is not listed.
    #[n(7)]
    DeviceNotListed,
    /// The device's signature does not verify.
    #[n(8)]
    BadSignature,
    /// The session proof is not the newest one, or not of this generation.
    #[n(9)]
    SessionOver,
    /// The change number is not the next one.
    #[n(10)]
    WrongChangeNumber,
    /// Only a listed device may do this.
    #[n(11)]
    DeviceOnly,
    /// The list of devices is full.
    #[n(12)]
    TooManyDevices,
    /// The last guesses need a listed device's signature, or a wait that has not run out.
    #[n(13)]
    LastGuessesReserved {
        /// When a wait that was begun is over.
        #[n(0)]
        until: Option<HostTime>,
    },
    /// The lifetime cap on wrong guesses is reached.
    #[n(14)]
    CapReached,
    /// No wait has been begun, or it has not run out yet.
    #[n(15)]
    WaitNotOver {
        /// When it is over, if it was begun.
        #[n(0)]
        until: Option<HostTime>,
    },
    /// There is no wait to cancel.
    #[n(16)]
    NoWait,
    /// The wait has been cancelled as often as it may be.
    #[n(17)]
    CancelsSpent,
    /// A registration that may be of the same password would have no guess left.
    #[n(18)]
    NoGuessesLeft,
}
