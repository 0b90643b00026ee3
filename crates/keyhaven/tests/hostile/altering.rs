//! A store that keeps something else than what was put.

use std::sync::Arc;

use keyhaven::BackupError;
use keyhaven::store::{Body, ObjectFolder, ObjectPath, Store, StoreError};
use keyhaven_hostile_store::{MemoryStore, Over, Through};
use keyhaven_secrets::Remedy;

use crate::world::{World, backup, restored};

/// Keeps every snapshot with its last byte altered.
#[derive(Debug)]
struct Altering(MemoryStore);

impl Over for Altering {
    fn behind(&self) -> &dyn Store {
        &self.0
    }

    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        if !ObjectFolder::parse("snapshots").unwrap().holds(path) {
            return self.0.put(path, body);
        }
        self.0.put(path, body)?;
        let mut bytes = self.0.get(path, None)?;
        *bytes.last_mut().unwrap() ^= 1;
        self.0.put(path, Body::Bytes(&bytes))
    }
}

/// BACKUP-2, BACKUP-4: a snapshot that does not read back as it was written is no backup. The one before
/// stays the newest, and the next run makes a whole one.
#[test]
fn a_snapshot_that_does_not_read_back_is_no_backup() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let before = world.state();
    world.a_day_passes();

    let altering = Through(Altering(world.store.clone()));
    let error = backup(&world.home(), Arc::new(altering)).unwrap_err();
    assert!(matches!(error, BackupError::History(_)), "{error}");
    assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
    assert!(error.to_string().contains("does not give back"), "{error}");
    let store = Arc::new(world.store.clone());
    assert!(restored(&world.home(), store.clone()).unwrap() == before);

    backup(&world.home(), store).unwrap();
    assert!(world.state() != before);
}
