//! Where a vault's host keeps what its core gives it: sealed leaves, tree nodes and log entries.
//!
//! A store is the untrusted half of a vault's memory. It holds bytes under keys and does not know
//! what they mean: the core seals and authenticates them, and checks every one that it is shown. So
//! a store that lies can only stop the vault. What the *honest* host needs of it is small and exact:
//!
//! - [`Store::append`] takes a log entry together with all the nodes that it changes, only if the
//!   newest entry is still the very one that the caller has seen (a compare-and-set on its bytes:
//!   two leaders may each have made one of the same index); all of it or nothing; **durable when it
//!   returns**.
//! - [`Snapshot::changes`] names the nodes that an entry changed, so that a leader can hand on what
//!   an earlier one appended and nobody captured.
//! - [`Store::snapshot`] reads one state: never half of an append, however long the reader takes.
//! - A result that is not known (the connection broke, the disk failed while it was flushing) is
//!   said to be unknown, and [`append_or_read_back`] reads it back. It is never assumed.
//!
//! ```text
//!   core ──► entry i+1, changed nodes ──► append(expected = i) ──┬─► nodes  key  -> sealed bytes
//!                                             all or nothing     └─► log    i+1  -> entry
//! ```
//!
//! What it refuses to do: overwrite an index, leave a gap, write half a step, acknowledge before
//! the bytes are on the medium, or remove a node.
//!
//! Engines: [`MemoryStore`] for tests and [`RedbStore`] for one machine. [`conformance`] is the one
//! suite that every engine passes, also one that is written elsewhere.
//!
//! ```
//! use keyhaven_vault_store::{Index, LogEntry, MemoryStore, Step, Store};
//!
//! let store = MemoryStore::new();
//! let first = LogEntry { index: Index::new(1), bytes: b"entry".to_vec() };
//! let nodes = vec![(b"leaf".to_vec(), b"sealed".to_vec())];
//! store.append(&Step::one(None, &first, &nodes))?;
//!
//! let seen = store.snapshot()?;
//! assert_eq!(seen.head()?, Some(first));
//! assert_eq!(seen.get(b"leaf")?, Some(b"sealed".to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod certain;
pub mod conformance;
mod error;
mod limits;
mod memory;
mod redb_engine;
mod settle;

use std::ops::ControlFlow;

pub use error::{AppendError, StoreError};
pub use limits::{
    ENTRIES_PER_STEP_MAX, ENTRY_BYTES_MAX, KEY_BYTES_MAX, LOG_ENTRIES_KEPT, NODES_PER_STEP_MAX,
    VALUE_BYTES_MAX,
};
pub use memory::MemoryStore;
pub use redb_engine::RedbStore;
pub use settle::{Settled, append_or_read_back};

/// The place of an entry in its group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(u64);

impl Index {
    /// The index with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The index after this one; none after the last that 64 bits can say.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl std::fmt::Display for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One entry of the log, as the core encoded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place.
    pub index: Index,
    /// Its bytes, which the store does not read.
    pub bytes: Vec<u8>,
}

/// One move of the log: an entry and every node that it changes.
///
/// It is one entry, but where a host brings a store that has lost commits back to where it was: then
/// several entries whose changes are known only together are appended together.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The newest entry that the caller has seen; `None` for the first of all.
    pub expected: Option<&'a LogEntry>,
    /// The entries, at least one; the first follows `expected`, each other the one before it.
    pub entries: &'a [LogEntry],
    /// The oldest entry of which the last one's leader did not know that it is committed.
    pub first: Index,
    /// Keys and their new bytes. Of two under one key the last stands.
    pub nodes: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Step<'a> {
    /// One entry, on top of one that is known to be committed.
    #[must_use]
    pub const fn one(
        expected: Option<&'a LogEntry>,
        entry: &'a LogEntry,
        nodes: &'a [(Vec<u8>, Vec<u8>)],
    ) -> Self {
        Self {
            expected,
            entries: std::slice::from_ref(entry),
            first: entry.index,
            nodes,
        }
    }
}

/// What an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// As in its [`Step`].
    pub first: Index,
    /// The keys of the nodes, in order. Of entries that were appended together, the last has all.
    pub keys: Vec<Vec<u8>>,
}

/// Sealed leaves, tree nodes and log entries of one group.
///
/// Calls block until they are done; a host calls them from a thread of its own.
pub trait Store: Send + Sync {
    /// One state of the store, as it was when this was called.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;

    /// Appends the step if the newest entry is still `step.expected`: all of it or nothing, and
    /// durable when it returns.
    ///
    /// # Errors
    /// [`AppendError::Raced`] when the log has moved; [`AppendError::Unknown`] when the step may or
    /// may not have been taken; any other variant when it certainly was not.
    fn append(&self, step: &Step<'_>) -> Result<(), AppendError>;
}

/// Takes a node's key and its bytes, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// One state of a store. It does not change while it is held.
pub trait Snapshot {
    /// The bytes under this key.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The newest entry.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn head(&self) -> Result<Option<LogEntry>, StoreError>;

    /// At most `most` entries, oldest first, beginning with the oldest kept that is not before
    /// `from`.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    fn entries(&self, from: Index, most: usize) -> Result<Vec<LogEntry>, StoreError>;

    /// What a kept entry changed; `None` for one that is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn changes(&self, index: Index) -> Result<Option<Changes>, StoreError>;

    /// Shows every node in the order of its key until told to stop. For checks and copies.
    ///
    /// # Errors
    /// [`StoreError`] when one cannot be read.
    fn for_each_node(&self, visit: &mut Visit<'_>) -> Result<(), StoreError>;
}
