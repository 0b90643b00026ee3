//! What a client writes down before it speaks, so that a crash costs no second guess.
//!
//! | slot | holds | so that after a crash |
//! |---|---|---|
//! | guess | a random seed, from which KE1 is derived together with the password | the same password typed again makes the same KE1: the same guess, at no further cost (VAULT-1) |
//! | registration | the conversation, its ticket and the second message | the same bytes are sent again; the same password is never registered a second time (VAULT-7) |
//! | change | the change and its authority | the same change is sent again, under the same number |
//!
//! A seed alone tells nothing about a password: what is derived from it leaves the device only
//! inside the seal to the core. It is nevertheless a secret, as all that stands here is, and belongs
//! in a file of mode 0600 or the operating system's key store.

use keyhaven_secrets::Remedy;
use zeroize::Zeroizing;

/// What an entry of the journal is about. There is at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// A recovery that has begun.
    Guess,
    /// A registration whose second message may have been sent.
    Registration,
    /// A change of the record that may have been sent.
    Change,
}

impl Slot {
    /// Every slot.
    pub const ALL: [Self; 3] = [Self::Guess, Self::Registration, Self::Change];

    /// A name for files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Guess => "guess",
            Self::Registration => "registration",
            Self::Change => "change",
        }
    }
}

/// Where a client writes down what it is about to send. One journal serves one account at one
/// vault on one device.
pub trait Journal {
    /// What was last put in a slot.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    fn load(&self, slot: Slot) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError>;

    /// Puts an entry in a slot, in place of what was there. When it returns, the entry survives a
    /// crash and a loss of power.
    ///
    /// # Errors
    ///
    /// When the entry is not safely written. Nothing is sent then.
    fn store(&mut self, slot: Slot, entry: &[u8]) -> Result<(), JournalError>;

    /// Empties a slot.
    ///
    /// # Errors
    ///
    /// When the entry may still be there. It does no harm: it is sent again, and answered again.
    fn clear(&mut self, slot: Slot) -> Result<(), JournalError>;
}

impl<J: Journal + ?Sized> Journal for &mut J {
    fn load(&self, slot: Slot) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError> {
        (**self).load(slot)
    }

    fn store(&mut self, slot: Slot, entry: &[u8]) -> Result<(), JournalError> {
        (**self).store(slot, entry)
    }

    fn clear(&mut self, slot: Slot) -> Result<(), JournalError> {
        (**self).clear(slot)
    }
}

/// Why the journal failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The place where the journal is kept cannot be read or written.
    #[error("the vault journal of this device cannot be {did} ({kind})")]
    Io {
        /// What failed.
        did: &'static str,
        /// The operating system's reason.
        kind: std::io::ErrorKind,
    },
}

impl JournalError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Io { .. } => Remedy::AskUser,
        }
    }
}

/// A journal in memory, for a client that need not survive a crash: a test, or a recovery on a
/// machine that keeps nothing.
#[derive(Default)]
pub struct MemoryJournal {
    entries: std::collections::BTreeMap<Slot, Zeroizing<Vec<u8>>>,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Journal for MemoryJournal {
    fn load(&self, slot: Slot) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError> {
        Ok(self.entries.get(&slot).cloned())
    }

    fn store(&mut self, slot: Slot, entry: &[u8]) -> Result<(), JournalError> {
        self.entries.insert(slot, Zeroizing::new(entry.to_vec()));
        Ok(())
    }

    fn clear(&mut self, slot: Slot) -> Result<(), JournalError> {
        self.entries.remove(&slot);
        Ok(())
    }
}

impl std::fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}
