//! Making a new store, or taking up the one that a set-up of this home made and was cut off at.

use std::sync::Arc;

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::marker::Marker;
use keyhaven_repo::names::{MARKER_PATH, StoreId, WriterId};
use keyhaven_repo::snapshot::{Completeness, Snapshot, Totals};
use keyhaven_secrets::BackupKey;

use super::SetupError;
use crate::engine::backup::now_s;
use crate::engine::entropy::OsEntropy;
use crate::engine::history::{Access, HistoryError, identify};
use crate::engine::outbox::{packs_folder, path_of};
use crate::place::Place;
use crate::store::patience::CalledOff;
use crate::store::{Body, Store, StoreError};

/// A store that holds its first, empty snapshot.
pub(super) struct Made {
    pub(super) id: StoreId,
    pub(super) writer: WriterId,
}

/// Makes a store at a place: the marker, which says that it is one, and its first snapshot, which is
/// empty and carries the keyring. What an earlier set-up of this home left of both is taken up; a
/// store that holds anything else is refused.
pub(super) fn make(place: &Place, key: &Arc<BackupKey>, profile: &str) -> Result<Made, SetupError> {
    match place.create() {
        Ok(store) => {
            let id = StoreId::generate(&mut OsEntropy);
            let marker = Marker::new(id).encode();
            store.put(&path_of(MARKER_PATH), Body::Bytes(&marker))?;
            // Before anything else has a name: a folder that holds objects and no marker is nobody's
            // store, and a set-up that is cut off there could not be gone on with.
            store.flush()?;
            first_snapshot(access(store, id, key), profile)
        }
        Err(taken @ StoreError::AlreadyAStore { .. }) => {
            take_up(place, key, profile)?.ok_or_else(|| taken.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn access(store: Arc<dyn Store>, id: StoreId, key: &Arc<BackupKey>) -> Access {
    Access {
        store,
        id,
        key: Arc::clone(key),
        cache: None,
        called_off: CalledOff::never(),
        marker_fault: None,
    }
}

fn first_snapshot(access: Access, profile: &str) -> Result<Made, SetupError> {
    let writer = WriterId::generate(&mut OsEntropy);
    let keyring = Keyring::generate(access.id, &mut OsEntropy);
    let snapshot = Snapshot {
        sequence: 1,
        writer,
        predecessors: Vec::new(),
        device_time_s: now_s(),
        completeness: Completeness::Complete,
        root: None,
        totals: Totals::default(),
        profile: profile.to_owned(),
        pinned: false,
    };
    access.commit(&snapshot, &keyring)?;
    let id = access.id;
    Ok(Made { id, writer })
}

/// Takes up a store that holds nothing, or nothing but a first, empty snapshot under this very key.
/// None for every other: somebody's backups stand there, or may.
fn take_up(place: &Place, key: &Arc<BackupKey>, profile: &str) -> Result<Option<Made>, SetupError> {
    let store = place.open(CalledOff::never())?;
    let Ok(found) = identify(store.as_ref()) else {
        return Ok(None);
    };
    let id = found.store;
    if !store.list(&packs_folder())?.is_empty() {
        return Ok(None);
    }
    let access = access(store, id, key);
    match access.load() {
        Err(HistoryError::Empty) => first_snapshot(access, profile).map(Some),
        Err(HistoryError::Store(error)) => Err(error.into()),
        Err(_) => Ok(None),
        Ok(loaded) => {
            let mut open = loaded.open.values();
            let first = open
                .next()
                .filter(|first| first.snapshot.sequence == 1 && first.snapshot.root.is_none());
            let alone = open.next().is_none() && loaded.damaged.is_empty();
            // BACKUP-2: whoever was cut off there may have flushed nothing of it.
            access.store.flush()?;
            Ok(first.filter(|_| alone).map(|first| Made {
                id,
                writer: first.snapshot.writer,
            }))
        }
    }
}
