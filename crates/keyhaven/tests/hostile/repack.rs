//! `backup --repack`: what is needed of many short packs is gathered in few. Nothing that was backed up may be lost by it, of
//! the newest backup or of an older one, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Store, StoreError};
use keyhaven::{
    BackupError, BackupOptions, BackupReport, Budget, Cancel, Depth, Keyhaven, Outcome,
    RepackBudget, RestoreOptions, Usage,
};
use keyhaven_hostile_store::MemoryStore;

use crate::crash::kill_everywhere;
use crate::world::{Reach, State, World, copy_folder, noise, read_folder, scratch, settle};

const MIB: u64 = 1 << 20;

/// A backup that repacks.
fn repack(
    reach: Reach,
    home: &Path,
    store: Arc<dyn Store>,
    bytes: u64,
) -> Result<BackupReport, BackupError> {
    let options = BackupOptions {
        tier: reach.tier(),
        repack: Some(RepackBudget::of_bytes(bytes)),
        ..BackupOptions::default()
    };
    haven(reach, home, store).backup(options, &mut ())
}

fn haven(reach: Reach, home: &Path, store: Arc<dyn Store>) -> Keyhaven {
    Keyhaven::open_at(home, reach.place(store)).unwrap()
}

struct Grown {
    world: World,
    reach: Reach,
}

impl Grown {
    /// So many small files in folders, and so many daily backups: each has a photo, a note that was changed, and a row that was
    /// edited in a page of its own.
    fn new(reach: Reach, notes: u64, days: u64) -> Self {
        let world = World::new();
        let grown = Self { world, reach };
        for note in 0..notes {
            let path = grown.note(note);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, noise(note, 100)).unwrap();
        }
        settle();
        grown.backup();
        for day in 1..=days {
            grown.day(day, notes * day / (days + 2));
            grown.backup();
        }
        grown
    }

    fn at(&self, path: &str) -> PathBuf {
        self.world.folder.path().join("chats").join(path)
    }

    fn note(&self, note: u64) -> PathBuf {
        let name = "a name that is as long as names often are";
        self.at(&format!("notes/{:02}/{note:05}, {name}.txt", note / 100))
    }

    fn day(&self, day: u64, note: u64) {
        self.world
            .app()
            .execute(
                "UPDATE message SET text = printf('edited on day %d', ?1) WHERE id = ?1 * 83",
                [day.cast_signed()],
            )
            .unwrap();
        if note > 0 {
            std::fs::write(self.note(note), noise(day, 120)).unwrap();
        }
        self.world.another_day_passes(day);
    }

    fn store(&self) -> Arc<MemoryStore> {
        Arc::new(self.world.store.clone())
    }

    fn backup(&self) -> BackupReport {
        let home = self.world.home();
        let report = self.reach.backup(&home, self.store()).unwrap();
        assert_eq!(report.outcome, Outcome::Complete);
        report
    }

    fn repack(&self, bytes: u64) -> BackupReport {
        repack(self.reach, &self.world.home(), self.store(), bytes).unwrap()
    }

    fn haven(&self) -> Keyhaven {
        haven(self.reach, &self.world.home(), self.store())
    }

    fn usage(&self) -> Usage {
        self.haven().usage().unwrap()
    }

    /// What every snapshot gives back, by its name.
    fn all(&self) -> BTreeMap<String, State> {
        let haven = self.haven();
        let snapshots = haven.snapshots().unwrap();
        let each = snapshots.iter().map(|one| {
            let to = scratch();
            let options = RestoreOptions {
                snapshot: Some(one.name.to_string()),
                ..RestoreOptions::default()
            };
            let restored = haven.restore(to.path(), &options, &mut ()).unwrap();
            assert_eq!(restored.report.lost, []);
            (one.name.to_string(), read_folder(to.path()))
        });
        each.collect()
    }

    /// Every byte of the newest backup reads back, and no object of the store is damaged.
    fn is_sound(&self) {
        let report = self
            .haven()
            .verify(Depth::All, None, &Cancel::new(), &mut ());
        assert!(report.unwrap().is_good());
        self.world.state_by(self.reach);
    }
}

/// BACKUP-1: thirty days, then `--repack`: the newest backup needs a few objects, and every older one gives back what it gave.
/// Once more, and nothing is moved.
#[test]
fn after_thirty_days_a_repacked_backup_needs_few_objects_and_every_older_one_is_as_it_was() {
    repacked_after(30, Reach::Near, (40, 6));
}

/// BACKUP-1: the same where the store is far.
#[test]
fn after_thirty_days_a_far_backup_is_repacked_and_every_older_one_is_as_it_was() {
    repacked_after(30, Reach::Far, (40, 6));
}

/// BACKUP-1: the same by rows, where pages and patches stay where they are.
#[test]
fn after_twenty_days_a_backup_by_rows_is_repacked_and_every_older_one_is_as_it_was() {
    repacked_after(20, Reach::ByRows, (20, 26));
}

/// So many objects at least are needed no more, and so many at most are.
fn repacked_after(days: u64, reach: Reach, (moved, left): (u64, u64)) {
    let grown = Grown::new(reach, 1200, days);
    let before = grown.all();
    grown.day(days + 1, 0);
    let many = grown.usage();
    let report = grown.repack(32 * MIB);
    let few = grown.usage();
    println!(
        "{reach:?}: {} objects needed before, {} after; {} objects and {} bytes moved, {} bytes sent",
        many.live_objects,
        few.live_objects,
        report.repacked.objects,
        report.repacked.bytes,
        report.sent_bytes
    );
    grown.is_sound();
    assert!(report.repacked.objects >= moved, "{report:?}");
    assert!(few.live_objects <= left, "{few:?}, {many:?}");
    let after = grown.all();
    assert!(after.len() == before.len() + 1);
    for (name, state) in &before {
        assert!(&after[name] == state, "{reach:?}: {name}");
    }
    // Nothing more.
    let again = grown.repack(32 * MIB);
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!((again.sent_objects, again.repacked.objects), (0, 0));
    grown.day(days + 2, 7);
    let next = grown.repack(32 * MIB);
    assert_eq!(
        (next.outcome, next.repacked.objects),
        (Outcome::Complete, 0)
    );
    grown.is_sound();
}

/// A source that has not changed is repacked all the same, where that was asked for, and else not looked at.
#[test]
fn an_unchanged_source_is_repacked_only_where_that_is_asked_for() {
    let grown = Grown::new(Reach::Near, 0, 9);
    let home = grown.world.home();
    let report = grown.reach.backup(&home, grown.store()).unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
    let before = grown.world.state();
    let report = grown.repack(MIB);
    assert_eq!(report.outcome, Outcome::Complete);
    // A database that is not read stays where it is.
    assert!((9..=12).contains(&report.repacked.objects), "{report:?}");
    assert_eq!(report.repacked.bytes, 9 * 3_000);
    assert_eq!(report.changed, 0);
    assert!(grown.world.state() == before);
    grown.is_sound();
}

/// The budget is kept to the byte, and what is said to be moved was.
#[test]
fn no_more_is_moved_than_the_budget_allows() {
    let (mut some, mut none) = (0, 0);
    let grown = Grown::new(Reach::Near, 0, 14);
    for budget in [0, 100, 23_999, 24_000, 30_000, 41_999, 42_000, MIB] {
        let (store, home) = (grown.world.store.copy(), scratch());
        copy_folder(&grown.world.home(), home.path());
        let needed = |store: &MemoryStore| {
            let haven = haven(Reach::Near, home.path(), Arc::new(store.clone()));
            haven.usage().unwrap().live_objects
        };
        let before = needed(&store);
        let report = repack(Reach::Near, home.path(), Arc::new(store.clone()), budget).unwrap();
        // Photos of 3,000 bytes, of which eight at least are moved together.
        let photos = (budget / 3_000).min(14);
        let expected = if photos >= 8 { photos } else { 0 };
        assert_eq!(report.repacked.objects, expected, "{budget}");
        assert_eq!(report.repacked.bytes, expected * 3_000, "{budget}");
        assert!(report.repacked.bytes <= budget);
        // One pack of media and one of the index more, and all of those less.
        let after = needed(&store);
        assert_eq!(before - after, expected.saturating_sub(2), "{budget}");
        some += u32::from(expected > 0);
        none += u32::from(expected == 0);
    }
    assert!(some > 3 && none > 2);
}

/// Of a file that lies in several packs only what lies in a short one is sent again.
#[test]
fn of_a_long_file_only_its_end_is_moved() {
    let grown = Grown::new(Reach::Near, 0, 9);
    std::fs::write(grown.at("media/long.mp4"), noise(1, 8_386_464 + 4_000)).unwrap();
    // The same content comes once more, in the very run that moves it.
    let twin = || std::fs::copy(grown.at("media/long.mp4"), grown.at("a twin.mp4")).unwrap();
    settle();
    grown.backup();
    let before = grown.all();
    twin();
    settle();
    let live = grown.usage().live_bytes;
    let report = grown.repack(MIB);
    assert!(report.repacked.objects >= 10, "{report:?}");
    assert!(report.sent_bytes < MIB, "{report:?}");
    assert!(
        grown.usage().live_bytes < live + 4_096,
        "{:?}",
        grown.usage()
    );
    grown.is_sound();
    let after = grown.all();
    assert!(before.iter().all(|(name, state)| &after[name] == state));
}

/// A database that has changed and cannot be read stays where it was. All else is moved.
#[test]
fn a_database_that_cannot_be_read_stays_where_it_was() {
    let grown = Grown::new(Reach::Near, 0, 9);
    let app = grown.world.app();
    app.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(app);
    settle();
    grown.backup();
    let before = grown.all();
    let was = Reach::Near.restored(&grown.world.home(), grown.store());
    let database = grown.at("chats.db");
    let good = std::fs::read(&database).unwrap();
    std::fs::write(&database, &good[..4096]).unwrap();
    settle();
    let report = grown.repack(MIB);
    assert_eq!(report.outcome, Outcome::Partial { pending_files: 1 });
    assert_eq!(report.repacked.bytes, 9 * 3_000, "{report:?}");
    assert!(grown.usage().live_objects > 9, "its pages lie in as many");
    let there = Reach::Near.restored(&grown.world.home(), grown.store());
    assert!(there.unwrap() == was.unwrap());
    let after = grown.all();
    assert!(before.iter().all(|(name, state)| &after[name] == state));
}

/// BACKUP-1, BACKUP-2, BACKUP-5: killed before and after every call to the store.
#[test]
fn a_repacking_client_killed_at_any_call_leaves_a_store_that_restores_and_goes_on() {
    for reach in [Reach::Near, Reach::Far, Reach::ByRows] {
        let grown = Grown::new(reach, 0, 9);
        let one = grown.world.state_by(reach);
        grown.day(10, 0);
        let run = |home: &Path, store: Arc<dyn Store>| repack(reach, home, store, MIB);
        let two = {
            let (store, home) = (grown.world.store.copy(), scratch());
            copy_folder(&grown.world.home(), home.path());
            let report = run(home.path(), Arc::new(store.clone())).unwrap();
            assert!(report.repacked.objects >= 9, "{report:?}");
            reach.restored(home.path(), Arc::new(store)).unwrap()
        };
        assert!(one != two, "a day changes something");
        let kills = kill_everywhere(reach, &run, &grown.world, &one, &two);
        println!("{reach:?}: kills: {kills} in a repacking backup");
    }
}

/// BACKUP-2: cancelled, or out of its budget of bytes or time, it is a good backup or none, and goes on.
#[test]
fn a_repacking_that_is_stopped_leaves_a_backup_that_goes_on() {
    let grown = Grown::new(Reach::Near, 0, 9);
    let home = grown.world.home();
    let before = grown.world.state();
    let run = |cancel: Cancel, budget: Budget| {
        let options = BackupOptions {
            cancel,
            budget,
            repack: Some(RepackBudget::of_mib(1)),
            ..BackupOptions::default()
        };
        haven(Reach::Near, &home, grown.store()).backup(options, &mut ())
    };
    let cancel = Cancel::new();
    cancel.cancel();
    let cancelled = run(cancel, Budget::default()).unwrap_err();
    assert!(matches!(cancelled, BackupError::Cancelled), "{cancelled:?}");
    let none = Budget {
        time: None,
        bytes: Some(0),
    };
    let report = run(Cancel::new(), none).unwrap();
    assert_eq!(
        (report.outcome, report.repacked.objects),
        (Outcome::Unchanged, 0)
    );
    assert!(grown.world.state() == before);
    let report = run(Cancel::new(), Budget::default()).unwrap();
    assert!(report.repacked.objects >= 9);
    assert!(grown.world.state() == before);
}

/// BACKUP-4: a clone of the device repacks its own line of backups. The other line is as it was, and goes on.
#[test]
fn a_second_head_is_left_alone() {
    let grown = Grown::new(Reach::Near, 0, 9);
    let (clone, other) = (scratch(), grown.world.store.copy());
    copy_folder(&grown.world.home(), clone.path());
    grown.day(10, 0);
    grown.backup();
    let before = grown.all();
    // Neither has seen the other's; then both are in the store.
    let report = repack(Reach::Near, clone.path(), Arc::new(other.clone()), MIB).unwrap();
    assert!(report.repacked.objects >= 9, "{report:?}");
    for (path, bytes) in other.objects() {
        grown.world.store.plant(path, bytes);
    }
    let heads = || {
        let all = grown.haven().snapshots().unwrap();
        all.iter().filter(|one| one.head).count()
    };
    assert_eq!(heads(), 2);
    let report = grown.repack(MIB);
    assert!(report.repacked.objects >= 9, "{report:?}");
    assert_eq!(heads(), 2);
    let after = grown.all();
    assert!(
        before
            .iter()
            .all(|(name, state)| after.get(name) == Some(state))
    );
    let ours = grown.world.state();
    assert!(Reach::Near.restored(clone.path(), grown.store()).unwrap() == ours);
}

/// Does something at its n-th call.
struct Meanwhile {
    store: MemoryStore,
    at: u64,
    calls: AtomicU64,
    act: Box<dyn Fn() + Send + Sync>,
}

impl Meanwhile {
    fn store(&self) -> &MemoryStore {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.act)();
        }
        &self.store
    }
}

impl Store for Meanwhile {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        self.store().put(path, body)
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.store().get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.store().get_into(path, offset, out)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store().visit(folder, each)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.store().length(path)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.store().delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store().flush()
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.store().adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.store().free_space()
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

/// BACKUP-1: a file that changes or vanishes at any moment of the run that moves it comes back as it was or as it is, and the
/// next backup has it as it is.
#[test]
fn a_file_that_changes_while_it_is_moved_comes_back_as_it_was_or_as_it_is() {
    let days = 24;
    let grown = Grown::new(Reach::Near, 0, days);
    let run = |at, act: Box<dyn Fn() + Send + Sync>| {
        let (store, home) = (grown.world.store.copy(), scratch());
        copy_folder(&grown.world.home(), home.path());
        let meanwhile = Arc::new(Meanwhile {
            store: store.clone(),
            at,
            calls: AtomicU64::new(0),
            act,
        });
        let report = repack(Reach::Near, home.path(), meanwhile.clone(), MIB).unwrap();
        let calls = meanwhile.calls.load(Ordering::SeqCst);
        (store, home, report, calls)
    };
    let restored = |home: &Path, store: &MemoryStore| {
        let state = Reach::Near.restored(home, Arc::new(store.clone()));
        state.unwrap()
    };
    let (mut left, mut moved) = (0, 0);
    // Each day's photo in its turn, at one of the last calls.
    for day in 1..=days {
        let (_, _, report, calls) = run(u64::MAX, Box::new(|| {}));
        let all = report.repacked.objects;
        assert!(all >= 8, "{report:?}");
        let photo = format!("media/day{day:03}.jpg");
        let (path, new) = (grown.at(&photo), noise(day, 3_000));
        let was = std::fs::read(&path).unwrap();
        let is = (day % 2 == 0).then(|| new.clone());
        let act = move || match day % 2 {
            0 => std::fs::write(&path, &new).unwrap(),
            _ => std::fs::remove_file(&path).unwrap(),
        };
        let (store, home, report, _) = run(calls - day.min(calls), Box::new(act));
        let what = format!("{photo}, {report:?}");
        let there = restored(home.path(), &store);
        let there = there.get(Path::new(&photo));
        assert!(there == Some(&was) || there == is.as_ref(), "{what}");
        if there == Some(&was) {
            // Others are moved without it.
            assert!(report.repacked.objects + 1 >= all, "{what}");
            left += u32::from(report.repacked.objects < all);
            moved += u32::from(report.repacked.objects >= all);
        }
        settle();
        Reach::Near
            .backup(home.path(), Arc::new(store.clone()))
            .unwrap();
        let there = restored(home.path(), &store);
        assert!(there.get(Path::new(&photo)) == is.as_ref(), "{what}");
        // What was done is a change like any other; the next photo is as it was backed up.
        grown.backup();
    }
    println!("left where it was: {left}, moved before it changed: {moved}");
    assert!(left > 0 && moved > 0, "{left} {moved}");
}
