//! The guess budget: what is left, and which attempts may refill it.
//!
//! The rules of VAULT-1 and VAULT-3, as types. A [`Budget`] only falls. A full one is made only
//! with a [`Refill`], and a [`Refill`] only from evidence: a KE3 that verified, or an authority that
//! the client gave over a new generation.

use alloc::vec::Vec;

use keyhaven_wire::device::Verified;
use keyhaven_wire::message::{AttemptNumber, DigestBytes, PasswordClaim};
use keyhaven_wire::opaque::server::Proven;
use minicbor::{Decode, Encode};

use super::waits::WaitOver;
use crate::policy::Policy;

/// Guesses left in a row. It has no method that makes it rise.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
struct Budget(#[n(0)] u8);

/// No guess is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Evidence that the budget may begin full (VAULT-3).
pub(crate) struct Refill {
    _private: (),
}

/// An attempt that was answered since the last refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Outstanding {
    #[n(0)]
    number: AttemptNumber,
    /// The digest of its KE1: the same KE1 again is the same guess.
    #[n(1)]
    ke1: DigestBytes,
    /// Whether its KE3 may still refill the budget. Never becomes true again.
    #[n(2)]
    may_refill: bool,
}

/// The budget and the attempts that it was spent on. At most ten of them: each one cost a guess.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Guesses {
    #[n(0)]
    budget: Budget,
    #[n(1)]
    outstanding: Vec<Outstanding>,
}

impl Budget {
    fn full(policy: &Policy, _evidence: &Refill) -> Self {
        Self(policy.guesses)
    }

    /// One guess fewer.
    fn spend(self) -> Result<Self, Exhausted> {
        self.0.checked_sub(1).map(Self).ok_or(Exhausted)
    }
}

impl Refill {
    /// The password was proven.
    pub(crate) const fn by_password(_proven: &Proven) -> Self {
        Self { _private: () }
    }

    /// A listed device signed a new generation. Only "a different password" refills: otherwise a
    /// host that swallows answers could have the same password registered again and again, with
    /// ten guesses each time (VAULT-7).
    pub(crate) const fn by_device(_signed: &Verified, claim: PasswordClaim) -> Option<Self> {
        match claim {
            PasswordClaim::Different => Some(Self { _private: () }),
            PasswordClaim::MayBeSame => None,
        }
    }

    /// A session that proved the password arms a new generation.
    pub(crate) const fn by_session(_session: &crate::apply::Session) -> Self {
        Self { _private: () }
    }

    /// The wait for a fresh start is over: a new line.
    pub(crate) const fn by_fresh_start(_over: &WaitOver) -> Self {
        Self { _private: () }
    }
}

impl Guesses {
    /// Of an account on which no guess was ever spent.
    pub(crate) const fn none_spent(policy: &Policy) -> Self {
        Self {
            budget: Budget(policy.guesses),
            outstanding: Vec::new(),
        }
    }

    /// A full budget.
    pub(crate) fn refilled(policy: &Policy, evidence: &Refill) -> Self {
        Self {
            budget: Budget::full(policy, evidence),
            outstanding: Vec::new(),
        }
    }

    /// VAULT-1, VAULT-7: what a new generation takes over when nothing refills it. The attempts of
    /// the old generation can no longer refill; what they cost stays spent.
    pub(crate) fn inherit(&mut self) {
        self.outstanding.clear();
    }

    /// Guesses left in a row.
    pub(crate) const fn left(&self) -> u8 {
        self.budget.0
    }

    /// The number of the attempt that this KE1 was answered as, if it was.
    pub(crate) fn answered_as(&self, ke1: &DigestBytes) -> Option<AttemptNumber> {
        self.outstanding
            .iter()
            .find(|attempt| attempt.ke1 == *ke1)
            .map(|attempt| attempt.number)
    }

    /// Spends a guess on a new KE1.
    pub(crate) fn spend(
        &mut self,
        number: AttemptNumber,
        ke1: DigestBytes,
    ) -> Result<(), Exhausted> {
        // An exhausted budget stays at the zero that is left in its place.
        self.budget = core::mem::replace(&mut self.budget, Budget(0)).spend()?;
        self.outstanding.push(Outstanding {
            number,
            ke1,
            may_refill: true,
        });
        Ok(())
    }

    /// A KE3 of this attempt verified: refills the budget if it may, and says whether it did.
    ///
    /// It forgives the attempts up to its own. Later ones stay spent, and none of them can refill
    /// any more: a host that swallowed five right KE3s has one refill, not five (VAULT-1).
    pub(crate) fn forgive(
        &mut self,
        policy: &Policy,
        number: AttemptNumber,
        ke1: &DigestBytes,
        proven: &Proven,
    ) -> bool {
        let at = self.outstanding.iter().position(|attempt| {
            attempt.number == number && attempt.ke1 == *ke1 && attempt.may_refill
        });
        let Some(at) = at else {
            return false;
        };
        let later: Vec<Outstanding> = self
            .outstanding
            .iter()
            .skip(at)
            .skip(1)
            .map(|attempt| Outstanding {
                may_refill: false,
                ..*attempt
            })
            .collect();
        let mut budget = Budget::full(policy, &Refill::by_password(proven));
        for _ in &later {
            budget = budget.spend().unwrap_or(Budget(0));
        }
        self.budget = budget;
        self.outstanding = later;
        true
    }

    /// A KE3 of this attempt was wrong: it can no longer refill. Whether it was the last guess.
    pub(crate) fn close(&mut self, number: AttemptNumber) -> bool {
        for attempt in &mut self.outstanding {
            if attempt.number == number {
                attempt.may_refill = false;
            }
        }
        let last = self.outstanding.last().map(|attempt| attempt.number);
        self.budget.0 == 0 && last == Some(number)
    }
}
