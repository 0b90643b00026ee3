//! A store that does one thing otherwise, and all else as the one behind it.

use std::fmt;
use std::ops::{ControlFlow, Deref, Range};

use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Store, StoreError};

/// What a store does otherwise than the one behind it: every call that is not written goes on to that one.
/// [`Through`] makes a store of it.
#[expect(
    clippy::missing_errors_doc,
    reason = "each call has the errors of the store's"
)]
pub trait Over: Send + Sync {
    /// The store behind it.
    fn behind(&self) -> &dyn Store;

    /// As [`Store::put`].
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        self.behind().put(path, body)
    }

    /// As [`Store::get`].
    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.behind().get(path, range)
    }

    /// As [`Store::get_into`].
    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.behind().get_into(path, offset, out)
    }

    /// As [`Store::length`].
    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.behind().length(path)
    }

    /// As [`Store::visit`].
    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.behind().visit(folder, each)
    }

    /// As [`Store::delete`].
    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.behind().delete(path)
    }

    /// As [`Store::flush`].
    fn flush(&self) -> Result<(), StoreError> {
        self.behind().flush()
    }

    /// As [`Store::adopt`].
    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.behind().adopt(path)
    }

    /// As [`Store::free_space`].
    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.behind().free_space()
    }

    /// As [`Store::describe`].
    fn describe(&self) -> String {
        self.behind().describe()
    }

    /// As [`Store::list`]: what [`Over::visit`] hands over, in order, if nothing else is written.
    fn list(&self, folder: &ObjectFolder) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        self.visit(folder, &mut |listed| {
            all.push(listed);
            ControlFlow::Continue(())
        })?;
        all.sort_unstable();
        all.dedup_by(|one, other| one.path == other.path);
        Ok(all)
    }
}

/// A store of what [`Over`] says.
pub struct Through<T>(pub T);

impl<T> Deref for Through<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Over> fmt::Debug for Through<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Through({})", self.0.describe())
    }
}

impl<T: Over> Store for Through<T> {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        self.0.put(path, body)
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.0.get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.0.get_into(path, offset, out)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.0.length(path)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.visit(folder, each)
    }

    fn list(&self, folder: &ObjectFolder) -> Result<Vec<Listed>, StoreError> {
        self.0.list(folder)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.0.delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.0.adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.0.free_space()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}
