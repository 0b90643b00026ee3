//! A store that remembers what was asked of it.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Store, StoreError};

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Store::put`].
    Put,
    /// [`Store::get`] and [`Store::get_into`].
    Get,
    /// [`Store::length`].
    Length,
    /// [`Store::visit`] and [`Store::list`].
    List,
    /// [`Store::delete`].
    Delete,
    /// [`Store::flush`].
    Flush,
    /// [`Store::free_space`].
    FreeSpace,
}

impl Operation {
    /// Whether the operation changes what the store holds or what it promises.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Delete | Self::Flush)
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// Of which object or folder; empty for the whole store.
    pub on: String,
    /// The bytes of the object that was put, or that were got.
    pub bytes: u64,
    /// Whether it succeeded.
    pub done: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.done { "done" } else { "failed" };
        write!(
            f,
            "{:?} {} ({} bytes, {outcome})",
            self.operation, self.on, self.bytes
        )
    }
}

/// A store that passes every call on and remembers it.
pub struct Recording {
    store: Arc<dyn Store>,
    calls: Mutex<Vec<Call>>,
}

impl Recording {
    /// Records the calls to `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            calls: Mutex::default(),
        }
    }

    /// Every call so far, in order of completion.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// How often `operation` was called.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.lock()
            .iter()
            .filter(|call| call.operation == operation)
            .count()
    }

    /// The bytes of the objects that were put, or got.
    #[must_use]
    pub fn bytes(&self, operation: Operation) -> u64 {
        self.lock()
            .iter()
            .filter(|call| call.operation == operation && call.done)
            .map(|call| call.bytes)
            .sum()
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(
        &self,
        operation: Operation,
        on: &str,
        bytes: u64,
        outcome: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.lock().push(Call {
            operation,
            on: on.to_owned(),
            bytes,
            done: outcome.is_ok(),
        });
        outcome
    }
}

impl Store for Recording {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        let bytes = body.len();
        let outcome = self.store.put(path, body);
        self.note(Operation::Put, path.as_str(), bytes, outcome)
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        let outcome = self.store.get(path, range);
        let bytes = outcome.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.note(Operation::Get, path.as_str(), bytes, outcome)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let outcome = self.store.get_into(path, offset, out);
        self.note(Operation::Get, path.as_str(), out.len() as u64, outcome)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        let outcome = self.store.length(path);
        self.note(Operation::Length, path.as_str(), 0, outcome)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let outcome = self.store.visit(folder, each);
        self.note(Operation::List, folder.as_str(), 0, outcome)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let outcome = self.store.delete(path);
        self.note(Operation::Delete, path.as_str(), 0, outcome)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let outcome = self.store.flush();
        self.note(Operation::Flush, "", 0, outcome)
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.store.adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        let outcome = self.store.free_space();
        self.note(Operation::FreeSpace, "", 0, outcome)
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("calls", &self.lock().len())
            .finish_non_exhaustive()
    }
}
