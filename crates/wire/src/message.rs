//! What a client and a core say to each other.
//!
//! A conversation is one [`Request`] and its [`Reply`], or, where two steps are needed
//! (registering, recovering), also one [`Followup`] and its reply. Everything here travels inside
//! the seal of [`channel`](crate::channel).
//!
//! ```text
//!   Request::RegisterStart ─▶ Outcome::RegisterStarted{ticket} ─▶ Followup::RegisterFinish ─▶ Registered
//!   Request::RecoverStart  ─▶ Outcome::RecoverStarted{ticket}  ─▶ Followup::RecoverFinish  ─▶ Recovered | WrongPassword
//!   Request::Status | Change | BeginWait ─▶ Outcome::Standing | Changed | WaitBegun
//!   anything ─▶ Outcome::Denied(Denial)
//! ```
//!
//! Every reply carries the account's [`Standing`], so that a person always learns how many guesses
//! are left.

mod ids;
mod reply;
mod request;
mod standing;
#[cfg(test)]
mod tests;

pub use ids::{
    AccountError, AccountName, AttemptNumber, ChangeNumber, DEVICES_MAX, DeviceKey, DigestBytes,
    FleetId, Generation, HostTime, LeafIndex, Line, RegistrationId, SessionProof, Signature,
    StatusNonce, Ticket, WrappedKey,
};
pub use reply::{Denial, Outcome, Reply};
pub use request::{
    Action, Authority, Change, DeviceSigned, Followup, Freshness, PasswordClaim, RegisterAuthority,
    RegisterFinish, Request, Wait,
};
pub use standing::{
    AttemptSeen, ChangedBy, Owner, RING_MAX, RecordState, Standing, Totals, Verdict,
};
