//! The embedded engine: one file, copy-on-write, every append flushed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{
    AccessGuard, Builder, Database, DatabaseError, Durability, ReadOnlyTable,
    ReadableDatabase as _, ReadableTable as _, StorageBackend, StorageError, TableDefinition,
    TableError, WriteTransaction,
};

use crate::certain;
use crate::limits::{self, LOG_ENTRIES_KEPT};
use crate::{AppendError, Changes, Index, LogEntry, Snapshot, Step, Store, StoreError, Visit};

const NODES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("nodes");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// What each entry of the log changed: its `first`, and then each key after a byte that says how long
/// it is. A store that was made before has none of its older entries here.
const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
const FORMAT: TableDefinition<'_, &str, u64> = TableDefinition::new("keyhaven vault store");
const FORMAT_VERSION: u64 = 1;
/// The engine's cache; its own default of 1 GiB is more than a small machine has (VAULT-10).
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Entries dropped by one append at most: two, so that a log that is too long shrinks and no append
/// pays for it all.
const DROPPED_PER_APPEND: usize = 2;

/// A store in one file on one machine, by `redb`.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    log_kept: u64,
    /// A commit failed: what the file holds is known only when it is opened anew.
    failed: AtomicBool,
}

impl RedbStore {
    /// Opens the store in this file, or makes an empty one in its place.
    ///
    /// The file is checked from end to end as it is opened, so that one altered behind the
    /// engine's back is refused here and cannot surprise it later.
    ///
    /// What it shows is on the medium: a file that nobody has closed is written again first, for a flush of it
    /// may have failed (VAULT-5).
    ///
    /// A process that is killed while it makes one may leave a file that is no store yet: make it in a
    /// folder that is delivered whole.
    ///
    /// # Errors
    /// [`StoreError`] when it is in use, is not a store, is damaged, or cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_failed)?;
        // Before any of it is written again: it may be another process's.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse {
                    path: path.to_owned(),
                });
            }
            // The engine goes on without locks where there are none.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(io_failed(error)),
        }
        let medium = FileBackend::new(file).map_err(|error| opening(error, path))?;
        let store = Self::over(medium, path)?;
        // A new file's name must be on the medium before anything in it is acknowledged.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(io_failed)?;
        Ok(store)
    }

    /// Opens a store over a medium of the caller's, for tests that fail it or cut its power.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_on(medium: impl StorageBackend) -> Result<Self, StoreError> {
        Self::over(medium, &PathBuf::from("(a medium)"))
    }

    fn over(medium: impl StorageBackend, path: &Path) -> Result<Self, StoreError> {
        certain::make_certain(&medium).map_err(io_failed)?;
        let database = builder()
            .create_with_backend(medium)
            .map_err(|error| opening(error, path))?;
        Self::prepare(database, path)
    }

    /// Makes the tables of an empty file, and refuses a file whose tables are another program's.
    fn prepare(database: Database, path: &Path) -> Result<Self, StoreError> {
        let store = Self {
            database,
            log_kept: LOG_ENTRIES_KEPT,
            failed: AtomicBool::new(false),
        };
        let not_a_store = || StoreError::NotAStore {
            path: path.to_owned(),
        };
        let txn = store.begin()?;
        let empty = txn.list_tables().map_err(failed)?.next().is_none();
        {
            let mut format = txn.open_table(FORMAT).map_err(|error| table(error, path))?;
            if empty {
                format.insert("version", FORMAT_VERSION).map_err(failed)?;
            }
            let version = format
                .get("version")
                .map_err(failed)?
                .map(|version| version.value());
            if version != Some(FORMAT_VERSION) {
                return Err(not_a_store());
            }
        }
        if empty {
            txn.open_table(NODES).map_err(|error| table(error, path))?;
            txn.open_table(LOG).map_err(|error| table(error, path))?;
            txn.open_table(CHANGES)
                .map_err(|error| table(error, path))?;
            txn.commit().map_err(failed)?;
        }
        Ok(store)
    }

    /// Keeps this many of the newest entries instead of [`LOG_ENTRIES_KEPT`].
    #[must_use]
    pub fn keeping_log(mut self, entries: u64) -> Self {
        self.log_kept = entries;
        self
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut txn = self.database.begin_write().map_err(failed)?;
        // VAULT-2, VAULT-5: `append` returns after the flush. This is the engine's default; it is
        // said here so that no default decides it.
        txn.set_durability(Durability::Immediate).map_err(failed)?;
        Ok(txn)
    }

    /// Writes the step into `txn`; nothing of it stands before the commit.
    fn write(&self, txn: &WriteTransaction, step: &Step<'_>) -> Result<(), AppendError> {
        let refused = |error: StorageError| AppendError::Refused(failed(error));
        let mut log = txn
            .open_table(LOG)
            .map_err(|e| AppendError::Refused(failed(e)))?;
        let mut changes = txn
            .open_table(CHANGES)
            .map_err(|e| AppendError::Refused(failed(e)))?;
        let head = log.last().map_err(refused)?.map(newest);
        if head.as_ref() != step.expected {
            return Err(AppendError::raced(step, head));
        }
        for (entry, changed) in step.entries.iter().zip(limits::changes(step)) {
            let index = entry.index.number();
            log.insert(index, entry.bytes.as_slice()).map_err(refused)?;
            changes
                .insert(index, encode(&changed).as_slice())
                .map_err(refused)?;
            // The entries up to this one are no longer kept, if there are so many at all.
            let dropped_to = index.checked_sub(self.log_kept.max(1));
            for _ in 0..DROPPED_PER_APPEND {
                let oldest = log
                    .first()
                    .map_err(refused)?
                    .map(|(index, _)| index.value());
                match (oldest, dropped_to) {
                    (Some(oldest), Some(dropped_to)) if oldest <= dropped_to => {
                        log.remove(oldest).map_err(refused)?;
                        changes.remove(oldest).map_err(refused)?;
                    }
                    _ => break,
                }
            }
        }
        let mut nodes = txn
            .open_table(NODES)
            .map_err(|e| AppendError::Refused(failed(e)))?;
        for (key, value) in step.nodes {
            nodes
                .insert(key.as_slice(), value.as_slice())
                .map_err(refused)?;
        }
        Ok(())
    }
}

impl Store for RedbStore {
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        // VAULT-2: the engine would show the step before, and the next start may find the one that failed.
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed {
                reason: "a write or a flush of it failed before".to_owned(),
            });
        }
        let txn = self.database.begin_read().map_err(failed)?;
        Ok(Box::new(RedbSnapshot {
            nodes: txn.open_table(NODES).map_err(failed)?,
            log: txn.open_table(LOG).map_err(failed)?,
            changes: match txn.open_table(CHANGES) {
                Ok(changes) => Some(changes),
                Err(TableError::TableDoesNotExist(_)) => None,
                Err(error) => return Err(failed(error)),
            },
        }))
    }

    fn append(&self, step: &Step<'_>) -> Result<(), AppendError> {
        limits::check(step)?;
        let txn = self.begin().map_err(AppendError::Refused)?;
        match self.write(&txn, step) {
            Ok(()) => txn.commit().map_err(|error| {
                self.failed.store(true, Ordering::Release);
                AppendError::Unknown(failed(error))
            }),
            Err(error) => {
                txn.abort()
                    .map_err(|error| AppendError::Refused(failed(error)))?;
                Err(error)
            }
        }
    }
}

struct RedbSnapshot {
    nodes: ReadOnlyTable<&'static [u8], &'static [u8]>,
    log: ReadOnlyTable<u64, &'static [u8]>,
    changes: Option<ReadOnlyTable<u64, &'static [u8]>>,
}

impl Snapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.nodes.get(key).map_err(failed)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn head(&self) -> Result<Option<LogEntry>, StoreError> {
        Ok(self.log.last().map_err(failed)?.map(newest))
    }

    fn entries(&self, from: Index, most: usize) -> Result<Vec<LogEntry>, StoreError> {
        let range = self.log.range(from.number()..).map_err(failed)?;
        range
            .take(most)
            .map(|entry| entry.map(newest).map_err(failed))
            .collect()
    }

    fn changes(&self, index: Index) -> Result<Option<Changes>, StoreError> {
        if self.log.get(index.number()).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let unknown = Changes {
            first: index,
            keys: Vec::new(),
        };
        let Some(changes) = &self.changes else {
            return Ok(Some(unknown));
        };
        match changes.get(index.number()).map_err(failed)? {
            Some(bytes) => match decode(bytes.value()) {
                Some(changes) => Ok(Some(changes)),
                None => Err(StoreError::Damaged {
                    reason: format!("what entry {index} changed cannot be read"),
                }),
            },
            None => Ok(Some(unknown)),
        }
    }

    fn for_each_node(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for node in self.nodes.iter().map_err(failed)? {
            let (key, value) = node.map_err(failed)?;
            if visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn newest((index, bytes): (AccessGuard<'_, u64>, AccessGuard<'_, &[u8]>)) -> LogEntry {
    LogEntry {
        index: Index::new(index.value()),
        bytes: bytes.value().to_vec(),
    }
}

fn encode(changes: &Changes) -> Vec<u8> {
    let mut bytes = changes.first.number().to_be_bytes().to_vec();
    for key in &changes.keys {
        // A key has at most 64 bytes: `KEY_BYTES_MAX`.
        bytes.push(u8::try_from(key.len()).unwrap_or(0));
        bytes.extend_from_slice(key);
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Changes> {
    let (first, mut bytes) = bytes.split_first_chunk()?;
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (key, rest) = rest.split_at_checked(usize::from(*length))?;
        keys.push(key.to_vec());
        bytes = rest;
    }
    Some(Changes {
        first: Index::new(u64::from_be_bytes(*first)),
        keys,
    })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    builder
}

fn opening(error: DatabaseError, path: &Path) -> StoreError {
    let path = path.to_owned();
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        return StoreError::InUse { path };
    }
    if matches!(error, DatabaseError::UpgradeRequired(_)) {
        return StoreError::NotAStore { path };
    }
    let error = redb::Error::from(error);
    if let redb::Error::Io(error) = &error
        && error.kind() == ErrorKind::InvalidData
    {
        return StoreError::NotAStore { path };
    }
    failed(error)
}

fn table(error: TableError, path: &Path) -> StoreError {
    if let TableError::Storage(error) = error {
        return failed(error);
    }
    // A table of this name with other types, or of another kind: another program's file.
    StoreError::NotAStore {
        path: path.to_owned(),
    }
}

fn io_failed(error: io::Error) -> StoreError {
    failed(StorageError::Io(error))
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    if let redb::Error::Io(error) = &error
        && error.kind() == ErrorKind::StorageFull
    {
        return StoreError::Full;
    }
    let reason = error.to_string();
    if matches!(error, redb::Error::Corrupted(_)) {
        return StoreError::Damaged { reason };
    }
    StoreError::Failed { reason }
}
