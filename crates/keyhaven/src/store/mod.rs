//! Stores: where a backup lives, and the one way in which the engine talks to them.
//!
//! # What it is for
//!
//! A store keeps named, immutable, sealed objects. The engine needs seven things of it, and
//! [`Store`] is those seven: put, get, list, delete, length, flush and free space. Everything that
//! differs between a folder, an S3 bucket and a WebDAV server is behind it.
//!
//! ```text
//!   engine ──put──▶ Uploader ──▶ FolderStore   spool file ─fsync─▶ rename ─▶ flush: fsync folders
//!           (buffers, bounded)
//!                            └─▶ CloudStore    OpenDAL (S3, WebDAV), bounded retries, time-outs
//! ```
//!
//! # What it promises
//!
//! - **A name means a whole object.** An object that can be got or listed has all its bytes, also
//!   after a crash or a loss of power at any moment (BACKUP-2). A put that fails leaves nothing.
//! - **`flush` means durable.** When it returns, every put before it survives a loss of power.
//! - **Nothing leans on conditional writes.** Putting a name again replaces the object; names are
//!   random, so the only writer of a name is the one that retries the same bytes.
//! - **A store is not trusted.** What it returns is bounded in size and count; links, pipes and
//!   devices in a folder are refused, never followed or waited for.
//! - **No credential** is ever part of an address, an error, a log line or `Debug` (BACKUP-3).

pub mod address;
pub mod body;
pub mod buffers;
pub mod cloud;
pub mod credentials;
pub mod error;
pub mod folder;
pub mod path;
pub mod patience;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

pub use address::{AddressError, StoreAddress};
pub use body::Body;
pub use buffers::{BufferPool, PooledBuffer};
pub use cloud::CloudStore;
pub use credentials::{Credentials, CredentialsError};
pub use error::{Action, Mistrust, Outage, StoreError};
pub use folder::FolderStore;
pub use path::{ObjectFolder, ObjectPath, PathError};
pub use patience::{CalledOff, Patience, Patient};

/// The largest object that is read or written whole. A full pack has 8 MiB and nothing that the
/// format writes is larger; a store that offers more is wrong or hostile.
pub const OBJECT_BYTES_MAX: u64 = 16 << 20;

/// The most objects that a listing accepts: at 8 MiB a pack, 32 TiB.
pub const LISTED_OBJECTS_MAX: u64 = 4 << 20;

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub path: ObjectPath,
    /// Its size in bytes, as the store says.
    pub len: u64,
}

/// A place for sealed objects. Calls block; a store may be used from many threads at once.
pub trait Store: Send + Sync {
    /// Writes an object, replacing one of the same name.
    ///
    /// When it returns, `get`, `length` and `list` of this store see the object; whether it
    /// survives a loss of power is decided by [`Store::flush`].
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; nothing partial stands under the name.
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError>;

    /// Reads a whole object (`None`) of at most [`OBJECT_BYTES_MAX`], or exactly `range` of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::WrongLength`] if the object does not have all of
    /// `range`, [`StoreError::TooLarge`], and any other [`StoreError`].
    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError>;

    /// Fills `out` with the object's bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`Store::get`]. What `out` holds after an error means nothing.
    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError>;

    /// The object's size in bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] and any other [`StoreError`].
    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError>;

    /// Hands every object in and below `folder` to `each`, in no particular order, until it
    /// breaks. An object may be handed over more than once where a listing had to be begun
    /// again. Names that no [`ObjectPath`] has are foreign and passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError::ListTooLong`] beyond [`LISTED_OBJECTS_MAX`], and any other [`StoreError`].
    /// A folder that does not exist is empty.
    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Deletes an object. One that does not exist is deleted already.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError>;

    /// Makes every earlier put and delete durable.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. After one, no earlier put may be taken to be durable.
    fn flush(&self) -> Result<(), StoreError>;

    /// Counts an object that an earlier run put among those that the next flush makes durable.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError>;

    /// The bytes that are free, where the store can tell.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    fn free_space(&self) -> Result<Option<u64>, StoreError>;

    /// Where the store is, for people: its address, without credentials.
    fn describe(&self) -> String;

    /// Lists every object in and below `folder`, sorted by name.
    ///
    /// # Errors
    ///
    /// As [`Store::visit`].
    fn list(&self, folder: &ObjectFolder) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        self.visit(folder, &mut |listed| {
            all.push(listed);
            ControlFlow::Continue(())
        })?;
        all.sort_unstable();
        // A server that changes while its list is read page by page may name an object twice.
        all.dedup_by(|a, b| a.path == b.path);
        Ok(all)
    }

    /// Asks whether `needed` bytes fit, before anything is written. A store that cannot tell
    /// passes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`], and any other [`StoreError`].
    fn ensure_room(&self, needed: u64) -> Result<(), StoreError> {
        match self.free_space()? {
            Some(free) if free < needed => Err(StoreError::Full {
                needed,
                free: Some(free),
            }),
            _ => Ok(()),
        }
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        (**self).put(path, body)
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        (**self).get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        (**self).get_into(path, offset, out)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        (**self).length(path)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (**self).visit(folder, each)
    }

    fn list(&self, folder: &ObjectFolder) -> Result<Vec<Listed>, StoreError> {
        (**self).list(folder)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        (**self).delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        (**self).adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        (**self).free_space()
    }

    fn ensure_room(&self, needed: u64) -> Result<(), StoreError> {
        (**self).ensure_room(needed)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// Checks a range against an object's length, and gives the range's length.
fn check_range(path: &ObjectPath, range: &Range<u64>, len: u64) -> Result<usize, StoreError> {
    if range.end > len || range.start > range.end {
        return Err(StoreError::WrongLength {
            path: path.clone(),
            expected: range.end,
            got: len,
        });
    }
    let bytes = range.end.saturating_sub(range.start);
    match usize::try_from(bytes) {
        Ok(fits) if bytes <= OBJECT_BYTES_MAX => Ok(fits),
        _ => Err(StoreError::TooLarge {
            path: path.clone(),
            bytes,
            bytes_max: OBJECT_BYTES_MAX,
        }),
    }
}
