//! What the vault keeps for one account.
//!
//! A record is a [`Life`] with what outlives it: generation, line, guesses, history. A dead record
//! has no key to leak, because `Destroyed` and `Deleted` have no field for one (VAULT-4).

mod guesses;
mod history;
#[cfg(test)]
mod tests;
mod waits;

use alloc::boxed::Box;
use alloc::vec::Vec;

use keyhaven_wire::message::{
    AttemptNumber, ChangeNumber, ChangedBy, DEVICES_MAX, DeviceKey, DigestBytes, Freshness,
    Generation, Line, Owner, RecordState, RegistrationId, Standing, WrappedKey,
};
use keyhaven_wire::opaque::server::GenerationKeys;
use keyhaven_wire::opaque::{Cost, RegistrationUpload};
use minicbor::{Decode, Encode};

pub(crate) use self::guesses::{Exhausted, Guesses, Refill};
pub(crate) use self::history::History;
pub(crate) use self::waits::{CancelError, Waits};
use crate::policy::Policy;

/// An account's record.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) life: Life,
    /// Never falls, also over a delete: what was sealed for an older one is stale for ever.
    #[n(1)]
    pub(crate) generation: Generation,
    #[n(2)]
    pub(crate) line: Line,
    #[n(3)]
    pub(crate) change: ChangeNumber,
    /// The digest of the last change as it was sent, to acknowledge the same bytes again.
    #[n(4)]
    pub(crate) last_change: Option<DigestBytes>,
    #[n(5)]
    pub(crate) changed_by: ChangedBy,
    /// The last registration: its id and what it armed.
    #[n(6)]
    pub(crate) armed: Option<Armed>,
    #[n(7)]
    pub(crate) devices: Devices,
    #[n(8)]
    pub(crate) guesses: Guesses,
    #[n(9)]
    pub(crate) history: History,
    #[n(10)]
    pub(crate) waits: Waits,
    #[n(11)]
    pub(crate) freshness: Option<Freshness>,
}

/// Whether there is something to recover.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Life {
    /// Nothing was ever registered.
    #[n(0)]
    Vacant,
    /// A password opens it.
    #[n(1)]
    Live(#[n(0)] Box<Live>),
    /// The guesses are spent.
    #[n(2)]
    Destroyed,
    /// The owner deleted it.
    #[n(3)]
    Deleted,
}

/// An armed generation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Live {
    #[n(0)]
    pub(crate) keys: GenerationKeys,
    #[n(1)]
    pub(crate) upload: RegistrationUpload,
    #[n(2)]
    pub(crate) wrapped: WrappedKey,
    #[n(3)]
    pub(crate) cost: Cost,
    /// The attempt that refilled the budget last: only its session may change the record.
    #[n(4)]
    pub(crate) proven: Option<AttemptNumber>,
}

/// A registration that was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Armed {
    #[n(0)]
    pub(crate) id: RegistrationId,
    #[n(1)]
    pub(crate) digest: DigestBytes,
}

/// The listed devices: each once, at most eight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Devices(#[n(0)] Vec<DeviceKey>);

/// The list is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Devices {
    pub(crate) fn contains(&self, key: &DeviceKey) -> bool {
        self.0.contains(key)
    }

    /// Lists a key; one that is listed stays where it is.
    pub(crate) fn add(&mut self, key: DeviceKey) -> Result<(), Full> {
        if self.contains(&key) {
            return Ok(());
        }
        if self.0.len() >= DEVICES_MAX {
            return Err(Full);
        }
        self.0.push(key);
        Ok(())
    }

    /// Strikes a key off; whether it was listed.
    pub(crate) fn remove(&mut self, key: &DeviceKey) -> bool {
        let before = self.0.len();
        self.0.retain(|listed| listed != key);
        self.0.len() < before
    }
}

/// Who looks at a record's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Whoever has the account's token.
    Account,
    /// A listed device, or a session that proved the password.
    Owner,
}

impl Record {
    /// The record of an account that never registered.
    pub(crate) fn vacant(policy: &Policy) -> Self {
        Self {
            life: Life::Vacant,
            generation: Generation::default(),
            line: Line::default(),
            change: ChangeNumber::default(),
            last_change: None,
            changed_by: ChangedBy::Nobody,
            armed: None,
            devices: Devices::default(),
            guesses: Guesses::none_spent(policy),
            history: History::default(),
            waits: Waits::default(),
            freshness: None,
        }
    }

    /// What a password opens, if there is something.
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.life {
            Life::Live(live) => Some(live),
            Life::Vacant | Life::Destroyed | Life::Deleted => None,
        }
    }

    /// VAULT-4: the generation's keys and the wrapped key are gone with the `Live` that held them.
    pub(crate) fn destroy(&mut self) {
        self.life = Life::Destroyed;
    }

    /// How the account stands, for a reply.
    pub(crate) fn standing(&self, policy: &Policy, view: View) -> Standing {
        Standing {
            state: match self.life {
                Life::Vacant => RecordState::Vacant,
                Life::Live(_) => RecordState::Live,
                Life::Destroyed => RecordState::Destroyed,
                Life::Deleted => RecordState::Deleted,
            },
            guesses_left: self.guesses.left(),
            generation: self.generation,
            line: self.line,
            change: self.change,
            wrong_since_lift: self.history.since_lift(),
            cap: policy.lifetime_guesses,
            totals: self.history.totals(),
            attempts: self.history.recent(),
            last_guesses_at: self.waits.last_guesses,
            fresh_start_at: self.waits.fresh_start,
            owner: match view {
                View::Account => None,
                View::Owner => Some(Owner {
                    devices: self.devices.0.clone(),
                    freshness: self.freshness,
                    changed_by: self.changed_by,
                }),
            },
        }
    }
}
