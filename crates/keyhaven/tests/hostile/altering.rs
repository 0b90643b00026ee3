//! A store that keeps something else than what was put.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use keyhaven::BackupError;
use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Store, StoreError};
use keyhaven_hostile_store::MemoryStore;
use keyhaven_secrets::Remedy;

use crate::world::{World, backup, restored};

/// Keeps every snapshot with its last byte altered.
#[derive(Debug)]
struct Altering(MemoryStore);

impl Store for Altering {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        if !ObjectFolder::parse("snapshots").unwrap().holds(path) {
            return self.0.put(path, body);
        }
        self.0.put(path, body)?;
        let mut bytes = self.0.get(path, None)?;
        *bytes.last_mut().unwrap() ^= 1;
        self.0.put(path, Body::Bytes(&bytes))
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.0.get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.0.get_into(path, offset, out)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.0.visit(folder, each)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.0.length(path)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.0.delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.0.free_space()
    }

    fn describe(&self) -> String {
        self.0.describe()
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

    let error = backup(&world.home(), Arc::new(Altering(world.store.clone()))).unwrap_err();
    assert!(matches!(error, BackupError::History(_)), "{error}");
    assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
    assert!(error.to_string().contains("does not give back"), "{error}");
    let store = Arc::new(world.store.clone());
    assert!(restored(&world.home(), store.clone()).unwrap() == before);

    backup(&world.home(), store).unwrap();
    assert!(world.state() != before);
}
