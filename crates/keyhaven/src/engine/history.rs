//! The snapshots of a store: all that open with the key, and what they say together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::HEADER_BYTES;
use keyhaven_repo::marker::{Marker, MarkerError};
use keyhaven_repo::names::{
    Epoch, MARKER_PATH, SNAPSHOTS_DIR, SnapshotDigest, SnapshotName, StoreId,
};
use keyhaven_repo::object::Header;
use keyhaven_repo::snapshot::{Completeness, History, OpenSnapshot, Snapshot, SnapshotError};
use keyhaven_secrets::{BackupKey, Remedy};

use super::entropy::OsEntropy;
use super::lost::{ends_the_run, told};
use super::outbox::path_of;
use crate::files::{self, Mode};
use crate::progress::Notice;
use crate::store::{Body, CalledOff, ObjectFolder, Store, StoreError};

/// Why a snapshot that is there does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// The store does not give it.
    #[error(transparent)]
    Store(StoreError),
    /// What the store gives is not what was sealed, or was sealed under another key.
    #[error(transparent)]
    Sealed(SnapshotError),
}

/// The backup's history cannot be read or continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What stands there is no store of ours.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// It is another store than the one that was set up.
    #[error("the store at {place} is another one than the one that was set up (id {found})")]
    OtherStore {
        /// Where it is.
        place: String,
        /// Its id.
        found: StoreId,
    },
    /// There are snapshots, and none opens with this key.
    #[error(
        "none of the {count} backups in this store opens with this key: it is another key, or what the store \
         has of all of them is damaged"
    )]
    WrongKey {
        /// How many there are.
        count: usize,
    },
    /// There are snapshots, and every one of them is damaged.
    #[error("all {count} backups in this store are damaged: {cause}")]
    AllDamaged {
        /// How many there are.
        count: usize,
        /// What is wrong with one of them.
        cause: SnapshotFault,
    },
    /// The store has no snapshot at all.
    #[error("this store holds no backup")]
    Empty,
    /// A snapshot that was just written reads back as something else.
    #[error("the store does not give back what was written to it; nothing was committed")]
    NotReadBack,
    /// A snapshot could not be sealed.
    #[error("the snapshot could not be made: {0}")]
    Seal(SnapshotError),
}

impl HistoryError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Store(cause) => cause.remedy(),
            Self::Marker(cause) => cause.remedy(),
            Self::OtherStore { .. } | Self::WrongKey { .. } | Self::Empty => Remedy::AskUser,
            Self::NotReadBack => Remedy::RetryLater,
            Self::AllDamaged { .. } | Self::Seal(_) => Remedy::Stop,
        }
    }

    /// Whether it is the marker that is damaged or gone. One of a later format is neither.
    fn is_of_the_marker(&self) -> bool {
        match self {
            Self::Store(StoreError::NotAStore { .. }) => true,
            Self::Store(cause) => cause.object().is_some(),
            Self::Marker(cause) => !matches!(cause, MarkerError::UnknownVersion { .. }),
            Self::OtherStore { .. }
            | Self::WrongKey { .. }
            | Self::AllDamaged { .. }
            | Self::Empty
            | Self::NotReadBack
            | Self::Seal(_) => false,
        }
    }
}

/// A store, the key that opens it, and where its index may be kept on this device.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) id: StoreId,
    pub(crate) key: Arc<BackupKey>,
    /// A folder for what a remote store need not be asked again.
    pub(crate) cache: Option<PathBuf>,
    /// Whether the caller still wants it.
    pub(crate) called_off: CalledOff,
    /// What is wrong with the store's marker, if anything is.
    pub(crate) marker_fault: Option<String>,
}

/// Every snapshot that opened.
pub(crate) struct Loaded {
    pub(crate) history: History,
    pub(crate) open: BTreeMap<SnapshotDigest, OpenSnapshot>,
    /// Snapshots that are there and do not open.
    pub(crate) damaged: Vec<(SnapshotName, SnapshotFault)>,
}

impl Loaded {
    /// Why a snapshot that is there does not open.
    pub(crate) fn fault(&self, name: &SnapshotName) -> Option<String> {
        let (_, cause) = self.damaged.iter().find(|(damaged, _)| damaged == name)?;
        Some(format!("its snapshot does not open: {cause}"))
    }

    /// What a person is told of snapshots that do not open, if there are any.
    pub(crate) fn damage(&self) -> Option<Notice> {
        let names: Vec<String> = self
            .damaged
            .iter()
            .map(|(name, _)| name.to_string())
            .collect();
        (!names.is_empty()).then_some(Notice::DamagedSnapshots { names })
    }

    /// What a person is told of a snapshot that does not hold all of its source.
    pub(crate) fn incompleteness(&self, digest: &SnapshotDigest) -> Option<Notice> {
        let snapshot = &self.open.get(digest)?.snapshot;
        let Completeness::Partial { pending_files, .. } = snapshot.completeness else {
            return None;
        };
        let newest_first = self.history.newest_first();
        let mut others = newest_first
            .iter()
            .filter_map(|link| self.open.get(&link.digest));
        // The snapshot that a setup makes is complete, and empty.
        let complete = others.find(|other| {
            other.snapshot.root.is_some() && other.snapshot.completeness == Completeness::Complete
        });
        Some(Notice::NotComplete {
            sequence: snapshot.sequence,
            pending_files,
            complete: complete.map(|other| (other.name, other.snapshot.sequence)),
        })
    }
}

/// A snapshot that is in the store, durably, and was read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    pub(crate) name: SnapshotName,
    pub(crate) digest: SnapshotDigest,
    pub(crate) bytes: u64,
}

/// A snapshot's bytes, to try keys on.
pub(crate) struct Sample {
    name: SnapshotName,
    bytes: Vec<u8>,
}

/// Snapshots that a key is tried on.
const SAMPLES_MAX: usize = 3;

impl Sample {
    /// Whether the key opens it.
    pub(crate) fn opens_with(&self, id: StoreId, key: &BackupKey) -> bool {
        OpenSnapshot::open(self.name, id, key, Epoch::FIRST, &self.bytes).is_ok()
    }
}

/// A snapshot has at most a keyring of 64 KiB and a body of the same.
const SNAPSHOT_BYTES_MAX: u64 = 256 * 1024;

/// Which store stands at a place.
pub(crate) struct Identity {
    pub(crate) store: StoreId,
    /// What is wrong with its marker, if anything is.
    pub(crate) marker_fault: Option<String>,
}

/// Snapshots that are asked which store they belong to, where the marker does not say it.
const ASKED_MAX: usize = 16;

/// Reads which store stands at a place. The marker says it; where that is damaged or gone, the snapshots do. Neither is
/// believed: an object opens under the id that was found, or not at all.
pub(crate) fn identify(store: &dyn Store) -> Result<Identity, HistoryError> {
    let fault = match read_marker(store) {
        Ok(marker) => {
            return Ok(Identity {
                store: marker.store(),
                marker_fault: None,
            });
        }
        Err(fault) if fault.is_of_the_marker() => fault,
        Err(error) => return Err(error),
    };
    match told_by_snapshots(store)? {
        Some(id) => Ok(Identity {
            store: id,
            marker_fault: Some(told(&fault)),
        }),
        None => Err(fault),
    }
}

/// The store that most of a few snapshots say they belong to.
fn told_by_snapshots(store: &dyn Store) -> Result<Option<StoreId>, HistoryError> {
    let mut said: BTreeMap<StoreId, usize> = BTreeMap::new();
    let listed = store.list(&snapshots_folder())?.into_iter();
    let snapshots = listed.filter(|one| SnapshotName::parse_path(one.path.as_str()).is_ok());
    for snapshot in snapshots.take(ASKED_MAX) {
        match store.get(&snapshot.path, Some(0..HEADER_BYTES.into())) {
            Ok(start) => {
                if let Ok(header) = Header::parse(&start) {
                    let count = said.entry(header.store()).or_default();
                    *count = count.saturating_add(1);
                }
            }
            Err(error) if ends_the_run(&error) => return Err(error.into()),
            Err(_) => {}
        }
    }
    let most = said.into_iter().max_by_key(|(_, count)| *count);
    Ok(most.map(|(id, _)| id))
}

fn read_marker(store: &dyn Store) -> Result<Marker, HistoryError> {
    let marker = match store.get(&path_of(MARKER_PATH), None) {
        Err(StoreError::NotFound { .. }) => {
            return Err(StoreError::NotAStore {
                place: store.describe(),
            }
            .into());
        }
        marker => marker?,
    };
    Ok(Marker::parse(&marker)?)
}

impl Access {
    /// Whether the store is remote: then a spool stands before it in a backup.
    pub(crate) fn is_remote(&self) -> bool {
        self.cache.is_some()
    }

    /// Opens the store `id` at a place: another one that stands there is refused.
    pub(crate) fn to(
        store: Arc<dyn Store>,
        id: StoreId,
        key: Arc<BackupKey>,
        cache: Option<PathBuf>,
        called_off: CalledOff,
    ) -> Result<Self, HistoryError> {
        let found = identify(store.as_ref())?;
        if found.store != id {
            return Err(HistoryError::OtherStore {
                place: store.describe(),
                found: found.store,
            });
        }
        Ok(Self {
            store,
            id,
            key,
            cache,
            called_off,
            marker_fault: found.marker_fault,
        })
    }

    /// Writes the marker again, where it is damaged or gone. Some snapshot has opened: it is that store.
    pub(crate) fn mend_marker(&self) -> Result<Option<Notice>, StoreError> {
        let Some(fault) = &self.marker_fault else {
            return Ok(None);
        };
        let marker = Marker::new(self.id).encode();
        match self.store.put(&path_of(MARKER_PATH), Body::Bytes(&marker)) {
            Err(StoreError::NotAnObject { .. }) => return Ok(Some(Notice::MarkerBlocked)),
            put => put?,
        }
        self.store.flush()?;
        let reason = fault.clone();
        Ok(Some(Notice::MarkerMended { reason }))
    }

    /// Opens every snapshot of the store.
    pub(crate) fn load(&self) -> Result<Loaded, HistoryError> {
        let folder = snapshots_folder();
        let mut open = BTreeMap::new();
        let mut damaged = Vec::new();
        let mut other_key = 0_usize;
        for listed in self.store.list(&folder)? {
            let Ok(name) = SnapshotName::parse_path(listed.path.as_str()) else {
                continue;
            };
            match self.open(name)? {
                Ok(snapshot) => {
                    open.insert(snapshot.digest, snapshot);
                }
                Err(cause) => {
                    other_key = other_key.saturating_add(usize::from(is_wrong_key(&cause)));
                    damaged.push((name, cause));
                }
            }
        }
        if open.is_empty() {
            return Err(match damaged.pop() {
                None => HistoryError::Empty,
                Some((_, cause)) => {
                    let count = damaged.len().saturating_add(1);
                    if other_key == count {
                        HistoryError::WrongKey { count }
                    } else {
                        HistoryError::AllDamaged { count, cause }
                    }
                }
            });
        }
        let history = open.values().map(OpenSnapshot::link).collect();
        Ok(Loaded {
            history,
            open,
            damaged,
        })
    }

    fn open(
        &self,
        name: SnapshotName,
    ) -> Result<Result<OpenSnapshot, SnapshotFault>, HistoryError> {
        let parse = |bytes: &[u8]| {
            OpenSnapshot::open(name, self.id, &self.key, Epoch::FIRST, bytes)
                .map_err(SnapshotFault::Sealed)
        };
        let kept = self.kept(name);
        if let Some(path) = &kept
            && let Ok(bytes) = files::read_small(path, SNAPSHOT_BYTES_MAX)
            && let Ok(snapshot) = parse(&bytes)
        {
            return Ok(Ok(snapshot));
        }
        let path = path_of(&name.path());
        let bytes = match self.store.get(&path, None) {
            Ok(bytes) => bytes,
            Err(error) if ends_the_run(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(SnapshotFault::Store(error))),
        };
        let opened = parse(&bytes);
        if opened.is_ok()
            && let Some(path) = &kept
        {
            keep(path, &bytes);
        }
        Ok(opened)
    }

    /// Writes a snapshot, makes it durable and reads it back.
    ///
    /// BACKUP-2: this is the step that commits. Everything that the snapshot names must have been
    /// flushed before.
    pub(crate) fn commit(
        &self,
        snapshot: &Snapshot,
        keyring: &Keyring,
    ) -> Result<Committed, HistoryError> {
        let sealed = snapshot
            .seal(keyring, &self.key, &mut OsEntropy)
            .map_err(HistoryError::Seal)?;
        let path = path_of(&sealed.name.path());
        self.store.put(&path, Body::Bytes(&sealed.bytes))?;
        self.store.flush()?;
        let back = self.store.get(&path, None)?;
        if SnapshotDigest::of(&back) != sealed.digest {
            return Err(HistoryError::NotReadBack);
        }
        if let Some(path) = self.kept(sealed.name) {
            keep(&path, &sealed.bytes);
        }
        let bytes = u64::try_from(sealed.bytes.len()).unwrap_or(u64::MAX);
        Ok(Committed {
            name: sealed.name,
            digest: sealed.digest,
            bytes,
        })
    }

    fn kept(&self, name: SnapshotName) -> Option<PathBuf> {
        Some(
            self.cache
                .as_ref()?
                .join(SNAPSHOTS_DIR)
                .join(name.to_string()),
        )
    }
}

/// A cache that cannot be written costs a later run a download, nothing else.
fn keep(path: &std::path::Path, bytes: &[u8]) {
    if let Some(folder) = path.parent() {
        let _ = files::create_private_folder(folder)
            .and_then(|()| files::replace(path, bytes, Mode::Private));
    }
}

/// A few snapshots to try keys on. One would do, were it not for a store that damages it.
pub(crate) fn samples(store: &Arc<dyn Store>) -> Result<Vec<Sample>, HistoryError> {
    let mut samples = Vec::new();
    for listed in store.list(&snapshots_folder())? {
        let Ok(name) = SnapshotName::parse_path(listed.path.as_str()) else {
            continue;
        };
        match store.get(&listed.path, None) {
            Ok(bytes) => samples.push(Sample { name, bytes }),
            Err(error) if ends_the_run(&error) => return Err(error.into()),
            // It does not open with any key.
            Err(_) => {}
        }
        if samples.len() >= SAMPLES_MAX {
            break;
        }
    }
    if samples.is_empty() {
        Err(HistoryError::Empty)
    } else {
        Ok(samples)
    }
}

fn is_wrong_key(cause: &SnapshotFault) -> bool {
    matches!(cause, SnapshotFault::Sealed(cause) if cause.outcome() == "wrong-key")
}

#[expect(clippy::expect_used, reason = "a constant that a test parses")]
pub(crate) fn snapshots_folder() -> ObjectFolder {
    ObjectFolder::parse(SNAPSHOTS_DIR).expect("the folder of snapshots is a folder")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_folder_of_snapshots_is_a_folder() {
        super::snapshots_folder();
    }
}
