//! Waits: what somebody without device and password can begin, and the owner can cancel.
//!
//! They bind strangers, not hosts: the time is the host's. No guess is gained by a clock, because
//! a wait never refills a line's budget; it only lets what is left of it be spent.

use keyhaven_wire::message::{HostTime, Wait};
use minicbor::{Decode, Encode};

use crate::policy::Policy;

/// The waits that run, as the time when each is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Waits {
    #[n(0)]
    pub(crate) last_guesses: Option<HostTime>,
    #[n(1)]
    pub(crate) fresh_start: Option<HostTime>,
    /// How often listed devices have cancelled since a password was last proven.
    #[n(2)]
    cancels: u8,
}

/// Evidence that a wait is over.
pub(crate) struct WaitOver {
    _private: (),
}

/// Why a wait was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelError {
    NoWait,
    Spent,
}

impl Waits {
    /// Begins a wait; one that runs goes on.
    pub(crate) fn begin(&mut self, wait: Wait, policy: &Policy, now: HostTime) -> HostTime {
        *self.slot(wait).get_or_insert(HostTime::new(
            now.number().saturating_add(policy.wait_seconds),
        ))
    }

    /// The evidence, if the wait was begun and is over.
    pub(crate) fn over(&self, wait: Wait, now: HostTime) -> Option<WaitOver> {
        let until = match wait {
            Wait::LastGuesses => self.last_guesses,
            Wait::FreshStart => self.fresh_start,
        };
        until
            .is_some_and(|until| until <= now)
            .then_some(WaitOver { _private: () })
    }

    /// Cancels a wait. Twice at most, so that a stolen device cannot lock its owner out for ever.
    pub(crate) fn cancel(&mut self, wait: Wait, policy: &Policy) -> Result<(), CancelError> {
        if self.slot(wait).is_none() {
            return Err(CancelError::NoWait);
        }
        if self.cancels >= policy.cancels {
            return Err(CancelError::Spent);
        }
        self.cancels = self.cancels.saturating_add(1);
        *self.slot(wait) = None;
        Ok(())
    }

    fn slot(&mut self, wait: Wait) -> &mut Option<HostTime> {
        match wait {
            Wait::LastGuesses => &mut self.last_guesses,
            Wait::FreshStart => &mut self.fresh_start,
        }
    }
}
