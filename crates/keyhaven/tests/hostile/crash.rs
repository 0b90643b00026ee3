//! F1 and F17: a client that is killed before or after any call to its store, one whose local state
//! is lost, and one that was copied.
//!
//! A store whose calls all fail from the n-th on leaves exactly what a client leaves that was killed
//! there: nothing after it reaches the store, and nothing that depends on its answer is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use keyhaven::store::{ObjectPath, Outage, Store, StoreError};
use keyhaven::{BackupError, BackupReport, Cancel, Depth, Keyhaven, Outcome};
use keyhaven_hostile_store::{FailAt, MemoryStore, Moment, Operation, Recording, Span};
use keyhaven_secrets::Remedy;

use crate::world::{
    Reach, State, World, backup, copy_folder, noise, read_folder, restored, scratch, settle,
};

fn killed_at(store: &MemoryStore, at: u64, moment: Moment, span: Span) -> Arc<FailAt> {
    let error = StoreError::Unreachable {
        outage: Outage::TimedOut,
        attempts: 1,
        pause: None,
    };
    let store: Arc<dyn Store> = Arc::new(store.clone());
    Arc::new(FailAt::new(store, at, moment, span, error))
}

fn paths(store: &MemoryStore) -> BTreeSet<ObjectPath> {
    let all = store.objects().into_iter().map(|(path, _)| path);
    all.collect()
}

/// A run that nothing disturbs.
struct Clean {
    puts: usize,
    bytes: u64,
    /// The call that makes the contents durable; what it covers is remembered after it.
    first_flush: u64,
}

/// A backup of a home into a store.
pub(crate) type Run<'a> = dyn Fn(&Path, Arc<dyn Store>) -> Result<BackupReport, BackupError> + 'a;

/// Kills a run on the world at every call, and looks at what is left each time. Returns how
/// many kills there were.
pub(crate) fn kill_everywhere(
    reach: Reach,
    run: &Run<'_>,
    world: &World,
    before: &State,
    after: &State,
) -> u64 {
    let home = world.home();
    let honest = {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&home, copy.path());
        let recording = Arc::new(Recording::new(Arc::new(store)));
        run(copy.path(), recording.clone()).unwrap();
        Clean {
            puts: recording.count(Operation::Put),
            bytes: recording.bytes(Operation::Put),
            first_flush: recording
                .calls()
                .iter()
                .position(|call| call.operation == Operation::Flush)
                .unwrap() as u64,
        }
    };
    let mut kills = 0;
    for (moment, span) in [
        (Moment::Before, Span::ForEver),
        (Moment::After, Span::ForEver),
        (Moment::After, Span::Once),
    ] {
        for at in 0_u64.. {
            let what = format!("call {at}, {moment:?}, {span:?}");
            let (store, copy) = (world.store.copy(), scratch());
            copy_folder(&home, copy.path());
            let failing = killed_at(&store, at, moment, span);
            let result = run(copy.path(), failing.clone());
            if failing.calls() <= at {
                result.unwrap();
                assert!(at > 5, "the run makes calls");
                break;
            }
            kills += 1;
            match &result {
                // A fault that the run does not depend on, such as the look for free space.
                Ok(_) => assert_eq!(span, Span::Once, "{what}: it cannot have ended well"),
                Err(error) => {
                    assert_eq!(error.remedy(), Remedy::RetryLater, "{what}: {error}");
                    // The store as a whole is away: nothing is wrong with a part of it.
                    let told = error.to_string();
                    assert!(told.contains("no answer in time"), "{what}: {told}");
                    assert!(!told.contains("index"), "{what}: {told}");
                }
            }

            // BACKUP-2: whatever was cut off, the newest backup is whole: the old or the new one.
            let there = reach
                .restored(copy.path(), Arc::new(store.clone()))
                .unwrap();
            let is_new = there == *after;
            assert!(is_new || there == *before, "{what}: other bytes");

            if !is_new {
                // BACKUP-1: a store that went back to before that run does not have what it sent, and nothing is missed there.
                let (store, home) = (world.store.copy(), scratch());
                copy_folder(copy.path(), home.path());
                run(home.path(), Arc::new(store.clone()))
                    .unwrap_or_else(|error| panic!("{what}, on the store as it was: {error}"));
                let there = reach.restored(home.path(), Arc::new(store));
                assert!(
                    there.is_ok_and(|there| there == *after),
                    "{what}: a backup to the store as it was builds on what it does not have"
                );
            }

            // The next run completes, and overwrites nothing: no name, which is the salt of an
            // object's key, is ever used again (BACKUP-5).
            let found: BTreeMap<_, _> = store.objects().into_iter().collect();
            let recording = Arc::new(Recording::new(Arc::new(store.clone())));
            let report = run(copy.path(), recording.clone())
                .unwrap_or_else(|error| panic!("{what}, the next run: {error}"));
            assert!(
                matches!(report.outcome, Outcome::Complete | Outcome::Unchanged),
                "{what}: {report:?}"
            );
            let now: BTreeMap<_, _> = store.objects().into_iter().collect();
            for (path, bytes) in &found {
                assert_eq!(
                    now.get(path),
                    Some(bytes),
                    "{what}: {path} was written again"
                );
            }
            let (puts, bytes) = (
                recording.count(Operation::Put),
                recording.bytes(Operation::Put),
            );
            assert!(
                puts <= honest.puts && bytes <= honest.bytes,
                "{what}: {puts}, {bytes}"
            );
            if at > honest.first_flush && span == Span::ForEver {
                // Contents that were flushed are not sent again: only index and snapshot are.
                assert!(puts < honest.puts, "{what}: {puts} puts");
                assert!(bytes < honest.bytes, "{what}: {bytes} bytes");
            }
            if is_new {
                assert_eq!(puts, 0, "{what}: what was committed is sent again");
                // BACKUP-4: and though the run that was killed may not have remembered it, it is missed from now on.
                let older = store.copy();
                for snapshot in paths(&store).difference(&paths(&world.store)) {
                    if snapshot.as_str().starts_with("snapshots/") {
                        older.take(snapshot);
                    }
                }
                let refused = run(copy.path(), Arc::new(older));
                assert!(
                    matches!(refused, Err(BackupError::RolledBack { .. })),
                    "{what}: the newest backup is gone, and the next run says {refused:?}"
                );
            }
            assert!(
                reach.restored(copy.path(), Arc::new(store)).unwrap() == *after,
                "{what}: other bytes after the next run"
            );
        }
    }
    kills
}

/// BACKUP-1, BACKUP-2, BACKUP-5: the first backup and the second, killed before and after every
/// call to the store.
#[test]
fn a_client_killed_at_any_call_leaves_a_store_that_restores_and_goes_on() {
    killed_at_any_call(Reach::Near);
}

/// BACKUP-1, BACKUP-2, BACKUP-5: the same where the store is far, behind a spool and several uploads.
#[test]
fn a_client_killed_at_any_call_to_a_far_store_leaves_one_that_restores_and_goes_on() {
    killed_at_any_call(Reach::Far);
}

/// BACKUP-1, BACKUP-2, BACKUP-5: the same by rows, where a shadow on the device is ahead of the store for a moment.
#[test]
fn a_client_killed_at_any_call_by_rows_leaves_a_store_that_restores_and_goes_on() {
    killed_at_any_call(Reach::ByRows);
}

fn killed_at_any_call(reach: Reach) {
    let mut world = World::new();
    let first = scratch();
    copy_folder(&world.home(), first.path());
    let empty = world.store.copy();
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    let one = world.state_by(reach);
    // Back to before it.
    std::fs::remove_dir_all(world.home()).unwrap();
    copy_folder(first.path(), &world.home());
    world.store = empty;
    let run = |home: &Path, store: Arc<dyn Store>| reach.backup(home, store);
    let kills = kill_everywhere(reach, &run, &world, &State::new(), &one);
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    world.a_day_passes();
    let two = {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&world.home(), copy.path());
        let report = reach.backup(copy.path(), Arc::new(store.clone())).unwrap();
        let by_rows = report.ways.iter().any(|way| way.by_rows);
        assert_eq!(by_rows, reach == Reach::ByRows, "{:?}", report.ways);
        reach.restored(copy.path(), Arc::new(store)).unwrap()
    };
    assert!(one != two, "a day changes something");
    let more = kill_everywhere(reach, &run, &world, &one, &two);
    println!("{reach:?}: kills: {kills} in the first backup, {more} in the second");
}

/// BACKUP-2: a store that loses power keeps of what was not flushed any subset; the snapshot that
/// was committed before stands in all of them.
#[test]
fn a_loss_of_power_at_any_call_costs_at_most_the_run_under_way() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let one = world.state();
    world.a_day_passes();
    let two = {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&world.home(), copy.path());
        backup(copy.path(), Arc::new(store.clone())).unwrap();
        restored(copy.path(), Arc::new(store)).unwrap()
    };
    let mut cuts = 0;
    for at in 0_u64.. {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&world.home(), copy.path());
        let failing = killed_at(&store, at, Moment::Before, Span::ForEver);
        let _ = backup(copy.path(), failing.clone());
        if failing.calls() <= at {
            break;
        }
        let unflushed = store.unflushed();
        for mask in 0_u32..1 << unflushed.len().min(4) {
            let left = store.after_power_loss(|path| {
                let place = unflushed.iter().position(|one| one == path);
                place.is_some_and(|place| place < 4 && mask >> place & 1 == 1)
            });
            cuts += 1;
            let home = scratch();
            copy_folder(copy.path(), home.path());
            let what = format!("call {at}, survivors {mask:b}");
            let there = restored(home.path(), Arc::new(left.clone())).unwrap();
            assert!(there == one || there == two, "{what}: other bytes");
            let report = backup(home.path(), Arc::new(left.clone()));
            let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(matches!(
                report.outcome,
                Outcome::Complete | Outcome::Unchanged
            ));
            let there = restored(home.path(), Arc::new(left)).unwrap();
            assert!(there == two, "{what}: other bytes after the next run");
        }
    }
    println!("power cuts: {cuts}");
    assert!(cuts > 10, "power was cut");
}

/// BACKUP-2: contents that are remembered on the way are durable by then: what a loss of power takes before is sent again.
#[test]
fn contents_are_remembered_once_they_are_durable() {
    let world = World::new();
    // More than a run keeps in memory.
    let small = world.folder.path().join("chats/small");
    std::fs::create_dir(&small).unwrap();
    for number in 0..8_300 {
        std::fs::write(
            small.join(format!("{number}.txt")),
            format!("note {number}"),
        )
        .unwrap();
    }
    settle();
    let flush = {
        let copy = scratch();
        copy_folder(&world.home(), copy.path());
        let recording = Arc::new(Recording::new(Arc::new(world.store.copy())));
        backup(copy.path(), recording.clone()).unwrap();
        let calls = recording.calls();
        let mut flushes = calls.iter().map(|call| call.operation == Operation::Flush);
        flushes.position(|is_flush| is_flush).unwrap() as u64
    };
    let (store, home) = (world.store.copy(), world.home());
    backup(
        &home,
        killed_at(&store, flush, Moment::Before, Span::ForEver),
    )
    .unwrap_err();
    assert!(!store.unflushed().is_empty());
    let left = Arc::new(store.after_power_loss(|_| false));
    backup(&home, left.clone()).unwrap();
    let there = restored(&home, left).unwrap();
    for (path, bytes) in read_folder(&small) {
        assert!(
            there.get(&Path::new("small").join(&path)) == Some(&bytes),
            "{path:?}"
        );
    }
}

/// Wherever a run is killed, in a large database or in large media, what it had sent is not sent again but for a pack, a part
/// of a file that began in it, and the index.
#[test]
fn what_a_killed_run_had_sent_is_not_sent_again() {
    const LOST_MAX: u64 = (8 << 20) + (3 << 20) + (1 << 20);
    for reach in [Reach::Near, Reach::Far, Reach::ByRows] {
        let world = World::new();
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
                    INSERT INTO message SELECT 10000 + i, hex(randomblob(500000)) FROM n;";
        world.app().execute_batch(rows).unwrap();
        for film in 0..7 {
            let path = format!("chats/media/{film}.mp4");
            std::fs::write(world.folder.path().join(path), noise(film, 3_000_000)).unwrap();
        }
        settle();
        let home = world.home();
        let sent = |copy: &Path, store: Arc<dyn Store>| {
            let recording = Arc::new(Recording::new(store));
            let done = reach.backup(copy, recording.clone());
            (done.map(drop), recording)
        };
        let copy = scratch();
        copy_folder(&home, copy.path());
        let store = Arc::new(world.store.copy());
        let (done, honest) = sent(copy.path(), store.clone());
        done.unwrap();
        let state = reach.restored(copy.path(), store).unwrap();
        let honest_bytes = honest.bytes(Operation::Put);
        assert!(honest_bytes > 36_000_000, "{honest_bytes}");
        for at in 0..u64::try_from(honest.calls().len()).unwrap() {
            let (store, copy) = (world.store.copy(), scratch());
            copy_folder(&home, copy.path());
            let failing = killed_at(&store, at, Moment::Before, Span::ForEver);
            // What the store says is counted, not what is asked of it.
            let before: u64 = stored(&store);
            let _ = reach.backup(copy.path(), failing);
            let (done, _) = sent(copy.path(), Arc::new(store.clone()));
            done.unwrap();
            let all = stored(&store) - before;
            assert!(
                all <= honest_bytes + LOST_MAX,
                "{reach:?}, call {at}: {all} of {honest_bytes}"
            );
            let there = reach.restored(copy.path(), Arc::new(store)).unwrap();
            assert!(there == state, "{reach:?}, call {at}: other bytes");
        }
    }
}

/// BACKUP-1, BACKUP-5: what a killed run left in the spool is sent only as it was sealed. Where a disk has spoilt it meanwhile, in a byte or
/// in its length, its contents are sealed anew.
#[test]
fn what_waits_in_the_spool_is_not_sent_once_it_is_spoilt() {
    let world = World::new();
    let reach = Reach::Far;
    let whole = {
        let (store, copy) = (Arc::new(world.store.copy()), scratch());
        copy_folder(&world.home(), copy.path());
        reach.backup(copy.path(), store.clone()).unwrap();
        reach.restored(copy.path(), store).unwrap()
    };
    let mut waited = 0;
    for spoilt in [
        |at: &mut Vec<u8>| at[2_500] ^= 1,
        |at: &mut Vec<u8>| at.truncate(at.len() / 2),
    ] {
        for at in 0..12 {
            let (store, copy) = (world.store.copy(), scratch());
            copy_folder(&world.home(), copy.path());
            let failing = killed_at(&store, at, Moment::Before, Span::ForEver);
            let _ = reach.backup(copy.path(), failing);
            let spool = copy.path().join("state/spool");
            if !spool.exists() {
                continue;
            }
            let left = read_folder(&spool);
            for (path, mut bytes) in left
                .into_iter()
                .filter(|(path, _)| path.starts_with("packs"))
            {
                spoilt(&mut bytes);
                waited += 1;
                std::fs::write(spool.join(path), bytes).unwrap();
            }
            let before: BTreeMap<_, _> = store.objects().into_iter().collect();
            reach.backup(copy.path(), Arc::new(store.clone())).unwrap();
            let now: BTreeMap<_, _> = store.objects().into_iter().collect();
            assert!(
                before
                    .iter()
                    .all(|(path, bytes)| now.get(path) == Some(bytes)),
                "call {at}"
            );
            let there = reach.restored(copy.path(), Arc::new(store)).unwrap();
            assert!(there == whole, "call {at}: other bytes");
        }
    }
    assert!(waited > 2, "{waited} objects waited");
}

fn stored(store: &MemoryStore) -> u64 {
    let objects = store.objects();
    objects.iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

/// BACKUP-2: local state is a cache. Without it nothing is sent again.
#[test]
fn a_device_that_lost_its_local_state_sends_nothing_again() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let one = world.state();
    let (healthy, state) = (scratch(), world.home().join("state"));
    copy_folder(&world.home(), healthy.path());
    let damage: [(&str, &dyn Fn()); 3] = [
        ("gone", &|| std::fs::remove_dir_all(&state).unwrap()),
        ("garbage", &|| {
            std::fs::write(state.join("contents"), vec![7; 8192]).unwrap();
        }),
        ("empty", &|| {
            std::fs::write(state.join("contents"), b"").unwrap()
        }),
    ];
    for (what, damage) in damage {
        damage();
        let recording = Arc::new(Recording::new(Arc::new(world.store.clone())));
        let report = backup(&world.home(), recording.clone()).unwrap();
        assert_eq!(report.outcome, Outcome::Unchanged, "{what}");
        assert_eq!(recording.count(Operation::Put), 0, "{what}");
        assert!(restored(&world.home(), Arc::new(world.store.clone())).unwrap() == one);
    }
    // What a day changes goes up, and what was only moved does not.
    world.a_day_passes();
    let with = backup(healthy.path(), Arc::new(world.store.copy())).unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    let without = backup(&world.home(), Arc::new(world.store.copy())).unwrap();
    assert_eq!(with.sent_bytes, without.sent_bytes);
}

/// BACKUP-2: what is looked at without local state is looked at all the same, also a database by rows, which is put together there.
#[test]
fn a_device_that_lost_its_local_state_verifies_and_shows_what_goes_by_rows() {
    let world = World::new();
    let reach = Reach::ByRows;
    let store = Arc::new(world.store.clone());
    reach.backup(&world.home(), store.clone()).unwrap();
    world.a_day_passes();
    reach.backup(&world.home(), store.clone()).unwrap();
    let haven = Keyhaven::open_at(&world.home(), reach.place(store)).unwrap();
    let state = world.home().join("state");
    std::fs::remove_dir_all(&state).unwrap();
    let report = haven.verify(Depth::All, None, &Cancel::new(), &mut ());
    assert!(report.unwrap().is_good());
    std::fs::remove_dir_all(&state).unwrap();
    let mut shown = Vec::new();
    haven.cat(None, Path::new("chats.db"), &mut shown).unwrap();
    assert!(shown.starts_with(b"SQLite format 3"));
}

/// BACKUP-1, BACKUP-2: local state of which a disk has spoilt a byte or a sector, wherever, is not believed: the next backup
/// is whole. redb panics over some of them, and believes others.
#[test]
fn local_state_that_is_spoilt_anywhere_is_begun_anew() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    world.a_day_passes();
    let sound = std::fs::read(world.home().join("state/contents")).unwrap();
    let next = |state: &[u8]| {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&world.home(), copy.path());
        std::fs::write(copy.path().join("state/contents"), state).unwrap();
        let report = backup(copy.path(), Arc::new(store.clone())).unwrap();
        assert_eq!(report.outcome, Outcome::Complete);
        restored(copy.path(), Arc::new(store)).unwrap()
    };
    let whole = next(&sound);
    let used = (0..sound.len()).filter(|at| sound[*at] != 0);
    let step = match std::env::var_os("KEYHAVEN_LONG") {
        Some(_) => 7,
        None => 211,
    };
    for at in used.step_by(step) {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x11;
        assert!(next(&flipped) == whole, "byte {at}");
        let mut lost = sound.clone();
        lost[at / 512 * 512..(at / 512 + 1) * 512].fill(0);
        assert!(next(&lost) == whole, "the sector of byte {at}");
    }
}

/// BACKUP-4, BACKUP-5: a home that was copied with its device makes a second line of backups. Both
/// heads are kept, and no two objects share a name.
#[test]
fn a_cloned_device_makes_a_second_head_and_reuses_no_name() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let clone = scratch();
    copy_folder(&world.home(), clone.path());
    world.a_day_passes();
    // Each goes on from the same state, not knowing of the other.
    let (one, other) = (world.store.copy(), world.store.copy());
    backup(&world.home(), Arc::new(one.clone())).unwrap();
    backup(clone.path(), Arc::new(other.clone())).unwrap();
    let before = paths(&world.store);
    let new_of_one: BTreeSet<_> = paths(&one).difference(&before).cloned().collect();
    let new_of_other: BTreeSet<_> = paths(&other).difference(&before).cloned().collect();
    assert!(!new_of_one.is_empty() && new_of_one.is_disjoint(&new_of_other));
    // The store gets both.
    for (path, bytes) in other.objects() {
        one.plant(path, bytes);
    }
    let expected = restored(&world.home(), Arc::new(one.clone())).unwrap();
    assert!(restored(clone.path(), Arc::new(one.clone())).unwrap() == expected);
    let haven =
        Keyhaven::open_at(clone.path(), crate::world::place(Arc::new(one.clone()))).unwrap();
    let heads = |haven: &Keyhaven| {
        let all = haven.snapshots().unwrap();
        all.iter().filter(|one| one.head).count()
    };
    assert_eq!(heads(&haven), 2);
    // Both go on, each on its own line.
    std::fs::write(world.folder.path().join("chats/third.txt"), b"third").unwrap();
    for home in [world.home().as_path(), clone.path()] {
        let report = backup(home, Arc::new(one.clone())).unwrap();
        assert_eq!(report.outcome, Outcome::Complete);
    }
    assert_eq!(heads(&haven), 2);
    let all = restored(clone.path(), Arc::new(one)).unwrap();
    assert_eq!(all[Path::new("third.txt")], b"third");
}

/// BACKUP-2: a store that fills up costs the run under way, and nothing that was committed.
#[test]
fn a_store_without_room_is_a_typed_error_and_the_next_backup_completes() {
    let world = World::new();
    let tight = MemoryStore::with_room(300_000);
    for (path, bytes) in world.store.objects() {
        tight.plant(path, bytes);
    }
    let error = backup(&world.home(), Arc::new(tight.clone())).unwrap_err();
    assert!(
        matches!(error, BackupError::Store(StoreError::Full { .. })),
        "{error}"
    );
    assert_eq!(
        restored(&world.home(), Arc::new(tight.clone())).unwrap(),
        State::new()
    );
    let roomy = MemoryStore::new();
    for (path, bytes) in tight.objects() {
        roomy.plant(path, bytes);
    }
    let report = backup(&world.home(), Arc::new(roomy)).unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
}
