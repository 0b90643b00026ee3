//! A store in memory, for tests: what is dropped is lost, unless a clone still holds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{self, LOG_ENTRIES_KEPT};
use crate::{AppendError, Changes, Index, LogEntry, Snapshot, Step, Store, StoreError, Visit};

/// A store in memory. Clones share one state, as handles to one database would.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    // A snapshot holds the state that it began with; an append makes a new one beside it.
    state: Arc<Mutex<Arc<State>>>,
    log_kept: u64,
}

#[derive(Clone, Debug, Default)]
struct State {
    nodes: BTreeMap<Vec<u8>, Vec<u8>>,
    log: BTreeMap<Index, (Vec<u8>, Changes)>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            log_kept: LOG_ENTRIES_KEPT,
        }
    }

    /// A copy that goes its own way: what a backup of the store holds.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            state: Arc::new(Mutex::new(Arc::clone(&state))),
            log_kept: self.log_kept,
        }
    }

    /// Puts the state of another store in place of this one's: what putting back a backup does.
    pub fn put_back(&self, other: &Self) {
        let other = {
            let state = other.state.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&state)
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }

    /// Keeps this many of the newest entries instead of [`LOG_ENTRIES_KEPT`].
    #[must_use]
    pub fn keeping_log(mut self, entries: u64) -> Self {
        self.log_kept = entries;
        self
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn head(&self) -> Option<LogEntry> {
        self.log.iter().next_back().map(entry)
    }
}

fn entry((index, (bytes, _)): (&Index, &(Vec<u8>, Changes))) -> LogEntry {
    LogEntry {
        index: *index,
        bytes: bytes.clone(),
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(Arc::clone(&state)))
    }

    fn append(&self, step: &Step<'_>) -> Result<(), AppendError> {
        limits::check(step)?;
        let mut shared = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let head = State::head(&shared);
        if head.as_ref() != step.expected {
            return Err(AppendError::raced(step, head));
        }
        let state = Arc::make_mut(&mut shared);
        for (key, value) in step.nodes {
            state.nodes.insert(key.clone(), value.clone());
        }
        for (entry, changes) in step.entries.iter().zip(limits::changes(step)) {
            state
                .log
                .insert(entry.index, (entry.bytes.clone(), changes));
            // The entries up to this one are no longer kept, if there are so many at all.
            if let Some(dropped_to) = entry.index.number().checked_sub(self.log_kept.max(1)) {
                state.log.retain(|index, _| index.number() > dropped_to);
            }
        }
        Ok(())
    }
}

impl Snapshot for Arc<State> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.nodes.get(key).cloned())
    }

    fn head(&self) -> Result<Option<LogEntry>, StoreError> {
        Ok(State::head(self))
    }

    fn entries(&self, from: Index, most: usize) -> Result<Vec<LogEntry>, StoreError> {
        let entries = self.log.range(from..).take(most);
        Ok(entries.map(entry).collect())
    }

    fn changes(&self, index: Index) -> Result<Option<Changes>, StoreError> {
        Ok(self.log.get(&index).map(|(_, changes)| changes.clone()))
    }

    fn for_each_node(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for (key, value) in &self.nodes {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
