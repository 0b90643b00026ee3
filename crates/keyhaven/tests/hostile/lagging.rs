//! A cloud whose list lags: what was put last is not shown yet. And what this device knows of the newest backup.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keyhaven::store::{Listed, ObjectFolder, ObjectPath, Store, StoreError};
use keyhaven::{
    BackupError, BackupOptions, Fresh, Keyhaven, Observer, Outcome, Progress, RestoreError,
};
use keyhaven_hostile_store::{MemoryStore, Over, Through};

use crate::world::{Reach, World, backup, place};

/// Hides the newest snapshot from so many lists.
#[derive(Debug)]
struct Lagging {
    store: MemoryStore,
    hidden: ObjectPath,
    lists: AtomicU32,
}

impl Over for Lagging {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let left = self.lists.load(Ordering::SeqCst);
        let hides = folder.holds(&self.hidden) && left > 0;
        if hides {
            self.lists.store(left - 1, Ordering::SeqCst);
        }
        self.store.visit(folder, &mut |listed| {
            if hides && listed.path == self.hidden {
                ControlFlow::Continue(())
            } else {
                each(listed)
            }
        })
    }
}

/// BACKUP-4: a list that lags once is no store that went back; one that hides the newest backup
/// for good is, and nothing is written to it.
#[test]
fn a_list_that_lags_is_looked_at_again_and_one_that_went_back_is_told() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let before: Vec<ObjectPath> = snapshots(&world.store);
    world.a_day_passes();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let state = world.state();
    let newest = snapshots(&world.store)
        .into_iter()
        .find(|path| !before.contains(path))
        .unwrap();
    let lagging = |lists| {
        Arc::new(Through(Lagging {
            store: world.store.copy(),
            hidden: newest.clone(),
            lists: AtomicU32::new(lists),
        }))
    };

    let report = Reach::Far.backup(&world.home(), lagging(1)).unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert!(Reach::Far.restored(&world.home(), lagging(1)).unwrap() == state);

    let gone_back = lagging(u32::MAX);
    let objects = gone_back.store.objects();
    let error = Reach::Far
        .backup(&world.home(), gone_back.clone())
        .unwrap_err();
    assert!(matches!(error, BackupError::RolledBack { .. }), "{error}");
    assert_eq!(gone_back.store.objects(), objects);
    let (there, result) = Reach::Far.restore(&world.home(), gone_back);
    assert!(there.is_empty());
    assert!(matches!(result, Err(RestoreError::NotFresh { .. })));

    // A folder's list does not lag: one look is enough.
    let error = Reach::Near.backup(&world.home(), lagging(1)).unwrap_err();
    assert!(matches!(error, BackupError::RolledBack { .. }), "{error}");
}

/// Restores each time that work has moved on.
struct Restoring<'a> {
    world: &'a World,
    fresh: Vec<Fresh>,
}

impl Observer for Restoring<'_> {
    fn progress(&mut self, _: &Progress) {
        let store = Arc::new(self.world.store.clone());
        let (_, restored) = Reach::Near.restore(&self.world.home(), store);
        self.fresh.push(restored.unwrap().fresh);
    }
}

/// BACKUP-4: a restore while a backup is at work, which has the local state open, knows the newest backup all the same.
#[test]
fn a_restore_beside_a_backup_knows_what_this_device_made_last() {
    let world = World::new();
    let store = Arc::new(world.store.clone());
    backup(&world.home(), store.clone()).unwrap();
    world.a_day_passes();
    let mut beside = Restoring {
        world: &world,
        fresh: Vec::new(),
    };
    let haven = Keyhaven::open_at(&world.home(), place(store)).unwrap();
    haven.backup(BackupOptions::default(), &mut beside).unwrap();
    assert!(!beside.fresh.is_empty());
    for fresh in beside.fresh {
        assert!(matches!(fresh, Fresh::AtLeast { .. }), "{fresh:?}");
    }
}

/// BACKUP-4: local state that is damaged is made anew, and what it said of the newest backup still counts.
#[test]
fn a_store_that_went_back_is_told_also_where_local_state_is_damaged() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let older = world.store.copy();
    world.a_day_passes();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    std::fs::write(world.home().join("state/contents"), vec![7; 8192]).unwrap();
    let error = backup(&world.home(), Arc::new(older.copy())).unwrap_err();
    assert!(matches!(error, BackupError::RolledBack { .. }), "{error}");
    let (there, result) = Reach::Near.restore(&world.home(), Arc::new(older));
    assert!(there.is_empty());
    assert!(matches!(result, Err(RestoreError::NotFresh { .. })));
    let report = backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
}

fn snapshots(store: &MemoryStore) -> Vec<ObjectPath> {
    let folder = ObjectFolder::parse("snapshots").unwrap();
    let listed = store.list(&folder).unwrap();
    listed.into_iter().map(|listed| listed.path).collect()
}
