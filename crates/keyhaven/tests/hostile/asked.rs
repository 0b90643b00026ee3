//! What a store is asked: each request to one far away costs a person time, and perhaps money.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyhaven::store::{ObjectPath, Store, StoreError};
use keyhaven::{Cancel, Depth, Keyhaven, RestoreError, RestoreOptions};
use keyhaven_hostile_store::{MemoryStore, Over, Through};

use crate::world::{Reach, World, noise, read_folder, scratch, settle};

/// Counts what is read of it.
struct Counting {
    store: MemoryStore,
    reads: AtomicUsize,
    /// Bytes of the longest.
    longest: AtomicUsize,
    /// Called off at this one.
    until: usize,
    cancel: Cancel,
}

impl Counting {
    fn of(store: &MemoryStore, until: usize) -> Arc<Through<Self>> {
        Arc::new(Through(Self {
            store: store.clone(),
            reads: AtomicUsize::new(0),
            longest: AtomicUsize::new(0),
            until,
            cancel: Cancel::new(),
        }))
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn count(&self) {
        if self.reads.fetch_add(1, Ordering::Relaxed) + 1 == self.until {
            self.cancel.cancel();
        }
    }
}

impl Over for Counting {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.count();
        self.store.get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.count();
        self.longest.fetch_max(out.len(), Ordering::Relaxed);
        self.store.get_into(path, offset, out)
    }
}

/// A world with a database of some 60 frames and 600 more files, backed up.
fn large(reach: Reach) -> World {
    let world = World::new();
    world
        .app()
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 32)
             INSERT INTO message SELECT 10000 + i, hex(randomblob(250000)) FROM n;",
        )
        .unwrap();
    let media = world.folder.path().join("chats/media");
    for number in 0..600 {
        std::fs::write(media.join(format!("{number}.txt")), noise(number, 1_000)).unwrap();
    }
    settle();
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    world
}

#[test]
fn what_lies_side_by_side_is_asked_for_at_once() {
    for reach in [Reach::Near, Reach::ByRows] {
        let world = large(reach);
        if reach == Reach::ByRows {
            world.a_day_passes();
            reach
                .backup(&world.home(), Arc::new(world.store.clone()))
                .unwrap();
        }
        let asked = Counting::of(&world.store, usize::MAX);
        let state = reach
            .restored(&world.home(), Arc::<Through<Counting>>::clone(&asked))
            .unwrap();
        assert!(state.len() > 600);
        assert_eq!(state, world.state_by(reach));
        let restored = asked.reads();

        let asked = Counting::of(&world.store, usize::MAX);
        let place = reach.place(Arc::<Through<Counting>>::clone(&asked));
        let haven = Keyhaven::open_at(&world.home(), place).unwrap();
        let verified = haven
            .verify(Depth::All, None, &Cancel::new(), &mut ())
            .unwrap();
        assert!(verified.is_good());
        println!(
            "{reach:?}: {restored} to restore, {} to verify",
            asked.reads()
        );
        assert!(restored < 50, "{restored} requests to restore");
        assert!(asked.reads() < 50, "{} requests to verify", asked.reads());
    }
}

/// What changed on one day lies all over a database, and in one pack.
#[test]
fn a_database_of_many_days_is_asked_for_pack_by_pack() {
    const DAYS: u32 = 20;
    let world = World::new();
    let store = || Arc::new(world.store.clone());
    world
        .app()
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
             INSERT INTO message SELECT 10000 + i, hex(randomblob(300)) FROM n;",
        )
        .unwrap();
    Reach::Near.backup(&world.home(), store()).unwrap();
    for day in 0..DAYS {
        let update = "UPDATE message SET text = hex(randomblob(300)) WHERE id % 400 = ?1";
        world.app().execute(update, [day]).unwrap();
        Reach::Near.backup(&world.home(), store()).unwrap();
    }
    let asked = Counting::of(&world.store, usize::MAX);
    let state = Reach::Near
        .restored(&world.home(), Arc::<Through<Counting>>::clone(&asked))
        .unwrap();
    assert!(state[Path::new("chats.db")].len() > 36_000_000);
    let reads = asked.reads();
    println!("{reads} requests");
    // The start of each pack, what is in it, and all else.
    assert!(reads < 120, "{reads} requests");
}

/// What is fetched is held by each thread.
#[test]
fn a_long_file_is_fetched_in_pieces() {
    let world = World::new();
    let long = noise(1, 20_000_000);
    let path = world.folder.path().join("chats/media/long.mp4");
    std::fs::write(path, &long).unwrap();
    settle();
    let store = Arc::new(world.store.clone());
    Reach::Near.backup(&world.home(), store).unwrap();

    let asked = Counting::of(&world.store, usize::MAX);
    let place = Reach::Near.place(Arc::<Through<Counting>>::clone(&asked));
    let haven = Keyhaven::open_at(&world.home(), place).unwrap();
    let mut read = Vec::new();
    haven
        .cat(None, Path::new("media/long.mp4"), &mut read)
        .unwrap();
    assert!(read == long);
    let verified = haven.verify(Depth::All, None, &Cancel::new(), &mut ());
    assert!(verified.unwrap().is_good());
    let to = scratch();
    haven
        .restore(to.path(), &RestoreOptions::default(), &mut ())
        .unwrap();
    assert!(std::fs::read(to.path().join("media/long.mp4")).unwrap() == long);
    let longest = asked.longest.load(Ordering::Relaxed);
    assert!(
        (1 << 20..=(2 << 20) + (64 << 10)).contains(&longest),
        "{longest} bytes"
    );
}

/// Snapshots and the index, to know what there is: of a store of one's own, they are not called off.
const BEFORE: usize = 10;
/// Each may have asked already. A verification reads files and a database side by side, and for either one thread reads the index.
const THREADS: usize = 4;
const VERIFYING: usize = 2 * (THREADS + 1);

/// BACKUP-1: of a restore that is called off within a database nothing stands under its name.
#[test]
fn one_large_database_can_be_called_off_within() {
    for reach in [Reach::Near, Reach::ByRows] {
        let world = large(reach);
        let whole = Counting::of(&world.store, usize::MAX);
        reach
            .restored(&world.home(), Arc::<Through<Counting>>::clone(&whole))
            .unwrap();
        let (mut restores, mut verifies) = (0, 0);
        for until in 1..=whole.reads() {
            let asked = Counting::of(&world.store, until);
            let place = reach.place(Arc::<Through<Counting>>::clone(&asked));
            let haven = Keyhaven::open_at(&world.home(), place).unwrap();
            let cancel = asked.cancel.clone();
            let options = RestoreOptions {
                cancel: cancel.clone(),
                ..RestoreOptions::default()
            };
            let to = scratch();
            match haven.restore(to.path(), &options, &mut ()) {
                Err(RestoreError::Cancelled) => restores += 1,
                done => assert_eq!(done.unwrap().report.lost, []),
            }
            let most = until.max(BEFORE);
            assert!(asked.reads() <= most + THREADS, "{} {until}", asked.reads());
            let state = read_folder(to.path());
            assert!(
                state
                    .keys()
                    .all(|path| !path.to_string_lossy().contains("keyhaven")),
                "{:?}",
                state.keys()
            );

            let asked = Counting::of(&world.store, until);
            let place = reach.place(Arc::<Through<Counting>>::clone(&asked));
            let haven = Keyhaven::open_at(&world.home(), place).unwrap();
            match haven.verify(Depth::All, None, &asked.cancel, &mut ()) {
                Err(RestoreError::Cancelled) => verifies += 1,
                done => assert!(done.unwrap().is_good()),
            }
            assert!(
                asked.reads() <= most + VERIFYING,
                "{} {until}",
                asked.reads()
            );
        }
        assert!(restores > 10 && verifies > 10, "{restores} {verifies}");
    }
}
