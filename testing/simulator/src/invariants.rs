//! What must hold, one file each. They see what leaves the cores, and nothing of what is inside.

mod answers;
mod chain;
mod election;
mod guesses;
mod holders;
mod memory;
mod spend;

use keyhaven_vault_core::{Member, Range};
use keyhaven_wire::message::Standing;

use crate::chronicle::Lineage;
use crate::model::{Expected, Model};

/// Something that a host or a client got to see.
#[derive(Clone, Debug)]
pub enum Event {
    /// The rules of the fleet.
    Began {
        /// Captures that commit.
        quorum: usize,
        /// Guesses in a row.
        guesses: u32,
    },
    /// A core was elected, and its next entry will stand on this one.
    Led {
        /// Its term.
        term: u64,
        /// What it stands on.
        base: usize,
    },
    /// A core released the answers of an entry.
    Released {
        /// Its term.
        term: u64,
        /// The entry.
        page: usize,
        /// How many different cores had said by then that they captured it.
        captured_by: usize,
        /// The ranges that its group holds after it.
        held: Vec<Range>,
    },
    /// An answer to a KE1 left.
    Ke2(Ke2),
    /// The owner made something that may refill the budget: a right KE3, a session's or a device's
    /// word for a new password, a fresh start.
    Authorised {
        /// Whose.
        account: usize,
    },
    /// An answer left, and what the model says of it.
    Answer(Box<Answer>),
    /// A core's memory after a call.
    Kept {
        /// Whose.
        core: Member,
        /// The promise, and the term and index of what it captured last.
        reach: (u64, Option<(u64, u64)>),
        /// What it captured last.
        page: Option<usize>,
    },
    /// A core's memory was put back.
    RolledBack {
        /// Whose.
        core: Member,
    },
}

/// An answer to a KE1.
#[derive(Clone, Copy, Debug)]
pub struct Ke2 {
    /// Whose record.
    pub account: usize,
    /// Which generation.
    pub generation: u64,
    /// Which attempt.
    pub attempt: u64,
    /// Which KE1.
    pub ke1: u64,
    /// Its bytes, as a digest.
    pub digest: [u8; 32],
}

/// An answer beside what it should be.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the model says.
    pub expected: Expected,
    /// What came.
    pub came: Expected,
    /// The record, as the model has it.
    pub model: Model,
    /// How the account stands, as the core says it.
    pub standing: Standing,
}

/// One promise, watched from outside.
pub trait Invariant {
    /// Takes note of an event, and says what it breaks.
    ///
    /// # Errors
    /// A sentence that begins with the promise's number.
    fn observe(&mut self, event: &Event, lineage: &Lineage) -> Result<(), String>;
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(guesses::Meter::default()),
        Box::new(holders::Holders::default()),
        Box::new(spend::Spend::default()),
        Box::new(answers::Answers),
        Box::new(chain::Chain::default()),
        Box::new(election::Elections::default()),
        Box::new(memory::Memories::default()),
    ]
}

#[cfg(test)]
pub(crate) fn lineage(parents: &[Option<usize>]) -> Lineage {
    let mut lineage = Lineage::default();
    for parent in parents {
        lineage.push(*parent);
    }
    lineage
}
