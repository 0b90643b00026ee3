//! A store whose n-th call fails, for every n.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Store, StoreError};

/// Whether the failing call took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The call failed and nothing happened.
    Before,
    /// The call took effect, and its answer was lost.
    After,
}

/// How long the failing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// One call fails; the next ones work.
    Once,
    /// Every later call fails before it takes effect: what a client that was killed at that
    /// moment leaves in the store.
    ForEver,
}

/// The calls that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    All,
    Changes,
    PutsBelow(&'static str),
}

/// A store whose call number `at` (from 0) fails with an error of your choice.
pub struct FailAt {
    store: Arc<dyn Store>,
    at: u64,
    moment: Moment,
    span: Span,
    error: StoreError,
    counted: Counted,
    calls: AtomicU64,
}

impl FailAt {
    /// Wraps `store`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        at: u64,
        moment: Moment,
        span: Span,
        error: StoreError,
    ) -> Self {
        Self {
            store,
            at,
            moment,
            span,
            error,
            counted: Counted::All,
            calls: AtomicU64::new(0),
        }
    }

    /// Counts only the calls that change something or make it durable.
    #[must_use]
    pub fn counting_changes(self) -> Self {
        Self {
            counted: Counted::Changes,
            ..self
        }
    }

    /// Counts only the puts of objects whose path begins so.
    #[must_use]
    pub fn counting_puts_below(self, folder: &'static str) -> Self {
        Self {
            counted: Counted::PutsBelow(folder),
            ..self
        }
    }

    /// How many calls were counted, the failed ones included. A run that makes fewer than `at` calls
    /// never met the failure.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn look<T>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.counted {
            Counted::All => self.pass(call),
            Counted::Changes | Counted::PutsBelow(_) => self.uncounted(call),
        }
    }

    fn change<T>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.counted {
            Counted::All | Counted::Changes => self.pass(call),
            Counted::PutsBelow(_) => self.uncounted(call),
        }
    }

    fn uncounted<T>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.calls() > self.at && self.span == Span::ForEver {
            true => Err(self.error.clone()),
            false => call(&*self.store),
        }
    }

    fn pass<T>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if number == self.at {
            if self.moment == Moment::After {
                // The effect counts; its answer is what is lost.
                let _ = call(&*self.store);
            }
            return Err(self.error.clone());
        }
        if number > self.at && self.span == Span::ForEver {
            return Err(self.error.clone());
        }
        call(&*self.store)
    }
}

impl Store for FailAt {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        match self.counted {
            Counted::PutsBelow(folder) if path.as_str().starts_with(folder) => {
                self.pass(|store| store.put(path, body))
            }
            Counted::All | Counted::Changes | Counted::PutsBelow(_) => {
                self.change(|store| store.put(path, body))
            }
        }
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.look(|store| store.get(path, range))
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.look(|store| store.get_into(path, offset, out))
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.look(|store| store.length(path))
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.look(|store| store.visit(folder, each))
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.change(|store| store.delete(path))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.change(|store| store.flush())
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.change(|store| store.adopt(path))
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.look(|store| store.free_space())
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

impl fmt::Debug for FailAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailAt")
            .field("at", &self.at)
            .field("moment", &self.moment)
            .field("span", &self.span)
            .finish_non_exhaustive()
    }
}
