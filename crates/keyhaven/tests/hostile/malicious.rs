//! F15: a store that tampers with what it keeps. Every object, every mutation, and for each of
//! them what is due, computed from what an honest restore reads and nothing else.
//!
//! ```text
//!   what is tampered with      a new device, by the 64 digits       the device that knows the newest
//!   ------------------------   ----------------------------------   --------------------------------
//!   marker                     nothing is lost: the snapshots say   the same
//!                              which store it is
//!   marker of a later format   refused                              refused
//!   newest snapshot, its       the older state, exactly, and        refused: not fresh
//!   listing, the whole store   "freshness not verified"
//!   older snapshots            the newest state, exactly            the same
//!   the index's root           refused                              refused
//!   content that is read       files named as lost, others exact    the same
//!   bytes that nothing reads   the newest state, exactly            the same
//!   order, doubles, inventions the newest state, exactly            the same
//! ```
//!
//! By pages and by rows, where a hurt patch costs the database as a hurt page does. In short a store of three or four backups, and some mutations that are drawn; `cargo xtask long malicious` takes a
//! store of 200 objects, and draws 100,000.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use keyhaven::store::{ObjectPath, Store, StoreError};
use keyhaven::{BackupError, Fresh, Keyhaven, Recovery, RestoreError};
use keyhaven_hostile_store::{MemoryStore, Mutation, Over, Through, drawn_mutation, mutations};
use keyhaven_repo::layout::START_BYTES_MAX;
use keyhaven_repo::marker::{Marker, MarkerError};

use crate::world::{Reach, State, World, copy_folder, scratch};

/// Remembers which bytes of which object were asked for.
struct Watching {
    store: MemoryStore,
    reads: Mutex<Reads>,
}

/// Of each object, the ranges that hold data; none if only its start was read.
type Reads = BTreeMap<ObjectPath, Vec<Range<u64>>>;

impl Watching {
    fn new(store: &MemoryStore) -> Arc<Through<Self>> {
        Arc::new(Through(Self {
            store: store.clone(),
            reads: Mutex::default(),
        }))
    }

    fn reads(&self) -> Reads {
        self.reads.lock().unwrap().clone()
    }
}

impl Over for Watching {
    fn behind(&self) -> &dyn Store {
        &self.store
    }
    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        if path.as_str().starts_with("packs/") {
            assert!(range.is_some(), "a pack's start");
            self.reads.lock().unwrap().entry(path.clone()).or_default();
        }
        self.store.get(path, range)
    }
    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let range = offset..offset + out.len() as u64;
        let mut reads = self.reads.lock().unwrap();
        reads.entry(path.clone()).or_default().push(range);
        drop(reads);
        self.store.get_into(path, offset, out)
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// This state's exact bytes, all of them.
    Exact(usize),
    /// Some files named as lost, and all others of this state exactly.
    Named(usize),
    /// A typed error, and no file.
    Refused,
    /// The typed error that says that the store is not as new as it must be, and no file.
    NotFresh,
}

/// One snapshot of the honest store, oldest first, and what restoring it takes.
struct Snap {
    path: ObjectPath,
    state: State,
    index: Reads,
    all: Reads,
}

struct Scene {
    reach: Reach,
    world: World,
    honest: MemoryStore,
    older: MemoryStore,
    snaps: Vec<Snap>,
}

impl Scene {
    /// A store of at least so many objects, and three backups.
    fn new(reach: Reach, objects: usize) -> Self {
        let world = World::new();
        let store: Arc<dyn Store> = Arc::new(world.store.clone());
        let mut snaps = Vec::new();
        let mut snap = |world: &World, state: State| {
            let known: BTreeSet<_> = snaps.iter().map(|snap: &Snap| snap.path.clone()).collect();
            let path = snapshots(&world.store)
                .into_iter()
                .find(|path| !known.contains(path))
                .unwrap();
            let watching = Watching::new(&world.store);
            let place = reach.place(watching.clone());
            let haven = Keyhaven::open_at(&world.home(), place).unwrap();
            haven.list(None, None, &mut |_| {}).unwrap();
            let index = watching.reads();
            let watching = Watching::new(&world.store);
            reach.restore(&world.home(), watching.clone()).1.unwrap();
            let all = watching.reads();
            snaps.push(Snap {
                path,
                state,
                index,
                all,
            });
        };
        snap(&world, State::new());
        let back_up = || reach.backup(&world.home(), Arc::clone(&store)).unwrap();
        back_up();
        snap(&world, world.state_by(reach));
        let mut older = world.store.copy();
        world.a_day_passes();
        let ways = back_up().ways;
        assert_eq!(ways[0].by_rows, reach == Reach::ByRows, "{ways:?}");
        snap(&world, world.state_by(reach));
        for day in 0.. {
            if world.store.objects().len() >= objects {
                break;
            }
            older = world.store.copy();
            world.another_day_passes(day);
            back_up();
            snap(&world, world.state_by(reach));
        }
        let honest = world.store.copy();
        Self {
            reach,
            world,
            honest,
            older,
            snaps,
        }
    }

    fn mutations(&self) -> Vec<Mutation> {
        mutations(&self.honest, Some(&self.older))
            .chain((1..self.snaps.len()).map(|len| Mutation::ShortenList { len }))
            .collect()
    }

    /// What is due under a mutation, from the rules above.
    fn due(&self, mutation: &Mutation, knows: bool) -> Due {
        if *mutation == Mutation::Empty || self.is_of_a_later_format(mutation) {
            return Due::Refused;
        }
        let mut listed: Vec<_> = snapshots(&self.honest);
        match mutation {
            Mutation::Hide { path } => listed.retain(|one| one != path),
            Mutation::ShortenList { len } => listed.truncate(*len),
            Mutation::RollBack => listed = snapshots(&self.older),
            _ => {}
        }
        let newest = self.snaps.iter().rposition(|snap| {
            listed.contains(&snap.path) && !self.is_hurt(mutation, &snap.path, None)
        });
        let Some(newest) = newest else {
            return Due::Refused;
        };
        if knows && newest + 1 < self.snaps.len() {
            return Due::NotFresh;
        }
        let snap = &self.snaps[newest];
        let hurt = |reads: &Reads| {
            reads
                .iter()
                .any(|(path, ranges)| self.is_hurt(mutation, path, Some(ranges)))
        };
        if hurt(&snap.index) {
            Due::Refused
        } else if hurt(&snap.all) {
            Due::Named(newest)
        } else {
            Due::Exact(newest)
        }
    }

    /// Whether the marker says that a later Keyhaven made the store.
    fn is_of_a_later_format(&self, mutation: &Mutation) -> bool {
        let store = self.honest.copy();
        let marker = mutation.apply(&store).get(&ObjectPath::marker(), None);
        marker.is_ok_and(|marker| {
            matches!(
                Marker::parse(&marker),
                Err(MarkerError::UnknownVersion { .. })
            )
        })
    }

    /// Whether the newest snapshot stands there, and is not what it was.
    fn is_unreadable(&self, mutation: &Mutation) -> bool {
        let newest = &self.snaps.last().unwrap().path;
        self.is_hurt(mutation, newest, None) && !matches!(mutation, Mutation::Delete { .. })
    }

    /// Whether reading these ranges of an object, or all of it, must notice the mutation.
    fn is_hurt(
        &self,
        mutation: &Mutation,
        path: &ObjectPath,
        read: Option<&Vec<Range<u64>>>,
    ) -> bool {
        match mutation {
            Mutation::FlipBit {
                path: of, offset, ..
            } if of == path => read.is_none_or(|read| self.covers(path, *offset as u64, read)),
            Mutation::Truncate { path: of, len } if of == path => read.is_none_or(|read| {
                // Of a pack at least the start is always read.
                *len < START_BYTES_MAX as usize || read.iter().any(|range| range.end > *len as u64)
            }),
            Mutation::Extend { path: of, .. } if of == path => read.is_none(),
            Mutation::Swap { one, other } => one == path || other == path,
            Mutation::Overwrite { path: of, .. }
            | Mutation::Replay { path: of, .. }
            | Mutation::Delete { path: of } => of == path,
            _ => false,
        }
    }

    /// Whether a byte of a pack counts for these ranges: a header always does, a tag if its frame
    /// is read, and data if it is read.
    fn covers(&self, path: &ObjectPath, offset: u64, read: &[Range<u64>]) -> bool {
        const HEADER: u64 = 96;
        const TAG: u64 = 16;
        const FRAME: u64 = 65_536;
        let len = self.honest.bytes(path).unwrap().len() as u64;
        let data_start = HEADER + (len - HEADER).div_ceil(FRAME + TAG) * TAG;
        if offset < HEADER {
            return true;
        }
        let offset = if offset < data_start {
            data_start + (offset - HEADER) / TAG * FRAME
        } else {
            offset
        };
        read.iter().any(|range| range.contains(&offset))
    }

    /// Holds what came back against what is due.
    fn judge(
        &self,
        what: &str,
        due: Due,
        got: (State, Result<keyhaven::Restored, RestoreError>),
        verified: bool,
    ) {
        let (state, result) = got;
        match (due, result) {
            (Due::Exact(at), Ok(restored)) => {
                assert_eq!(restored.report.lost, [], "{what}");
                assert!(state == self.snaps[at].state, "{what}: other bytes");
                let is_verified = matches!(restored.fresh, Fresh::AtLeast { .. });
                assert_eq!(is_verified, verified, "{what}");
            }
            (Due::Named(at), Ok(restored)) => {
                let lost: BTreeSet<&Path> = restored
                    .report
                    .lost
                    .iter()
                    .map(|lost| lost.path.as_path())
                    .collect();
                assert!(!lost.is_empty(), "{what}: nothing is named as lost");
                let whole = &self.snaps[at].state;
                for (path, bytes) in whole {
                    if lost.contains(path.as_path()) {
                        assert!(!state.contains_key(path), "{what}: {path:?} stands there");
                    } else {
                        assert!(state.get(path) == Some(bytes), "{what}: {path:?}");
                    }
                }
                assert_eq!(state.len() + lost.len(), whole.len(), "{what}");
            }
            (Due::NotFresh, Err(RestoreError::NotFresh { .. })) => {
                assert!(state.is_empty(), "{what}: files stand there");
            }
            (Due::Refused, Err(error)) => {
                assert!(
                    !matches!(error, RestoreError::NotFresh { .. } | RestoreError::Worker),
                    "{what}: {error}"
                );
                let whole = &self.snaps.last().unwrap().state;
                for (path, bytes) in &state {
                    assert!(whole.get(path) == Some(bytes), "{what}: {path:?}");
                }
            }
            (due, other) => panic!("{what}: due is {due:?}, and there came {other:?}"),
        }
    }
}

fn snapshots(store: &MemoryStore) -> Vec<ObjectPath> {
    let all = store.objects().into_iter().map(|(path, _)| path);
    all.filter(|path| path.as_str().starts_with("snapshots/"))
        .collect()
}

/// How often each outcome was due, on a device that knows the newest backup and on one that does not.
type Met = BTreeMap<(bool, Due), u32>;

impl Scene {
    /// Tampers with the store, and restores on both devices. `home` is that of the one that knows.
    fn try_out(&self, mutation: &Mutation, home: &Path, met: &Mutex<Met>) {
        let tampered = || Arc::new(mutation.apply_with(&self.honest, Some(&self.older)));
        let count = |knows, due| {
            let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
            *met.entry((knows, due)).or_default() += 1;
        };

        let due = self.due(mutation, true);
        count(true, due);
        let what = format!("{mutation}, on the device that knows");
        let got = self.reach.restore(home, tampered());
        self.judge(&what, due, got, true);

        let due = self.due(mutation, false);
        count(false, due);
        let new = scratch();
        let home = new.path().join("home");
        let store = tampered();
        let back = Keyhaven::recover(
            &home,
            &new.path().join("to"),
            self.reach.place(store.clone()),
            Recovery::RecoveryKey(&self.world.digits),
        );
        let what = format!("{mutation}, on a new device");
        match back {
            Ok(_) => self.judge(&what, due, self.reach.restore(&home, store), false),
            Err(error) => assert_eq!(due, Due::Refused, "{what}: {error}"),
        }
    }

    /// Tries all of them out, on all processors.
    fn try_all(&self, mutations: &[Mutation]) -> Met {
        let met = Mutex::default();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = mutations.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for share in mutations.chunks(share) {
                let met = &met;
                scope.spawn(move || {
                    // One device does one thing at a time.
                    let copy = scratch();
                    copy_folder(&self.world.home(), copy.path());
                    for mutation in share {
                        self.try_out(mutation, copy.path(), met);
                    }
                });
            }
        });
        met.into_inner().unwrap()
    }
}

fn is_long() -> bool {
    std::env::var_os("KEYHAVEN_LONG").is_some()
}

/// BACKUP-1, BACKUP-4, F15: whatever is tampered with, a restore gives the exact bytes of a
/// committed state, or a typed error, or names what is lost; each as the table above has it.
#[test]
fn every_tampering_has_the_outcome_that_is_due() {
    every_tampering(&Scene::new(Reach::Near, if is_long() { 200 } else { 0 }));
}

/// BACKUP-1, BACKUP-4, F15: the same by rows, with two patches on the base.
#[test]
fn every_tampering_with_rows_has_the_outcome_that_is_due() {
    every_tampering(&Scene::new(Reach::ByRows, if is_long() { 60 } else { 14 }));
}

fn every_tampering(scene: &Scene) {
    let mutations = scene.mutations();
    let met = scene.try_all(&mutations);
    println!(
        "{} objects, {} mutations; outcomes met: {met:?}",
        scene.honest.objects().len(),
        mutations.len()
    );
    // Each row of the table was met: a world that meets one no more proves nothing about it.
    let newest = scene.snaps.len() - 1;
    for (knows, due) in [
        (true, Due::Exact(newest)),
        (true, Due::Named(newest)),
        (true, Due::Refused),
        (true, Due::NotFresh),
        (false, Due::Exact(newest)),
        (false, Due::Exact(newest - 1)),
        (false, Due::Named(newest)),
        (false, Due::Refused),
    ] {
        assert!(
            met.contains_key(&(knows, due)),
            "never met: {knows} {due:?}"
        );
    }
}

/// BACKUP-1, BACKUP-4, F15: the same for mutations that are drawn: any bit, any length, any two objects.
#[test]
fn every_drawn_tampering_has_the_outcome_that_is_due() {
    every_drawn_tampering(&Scene::new(Reach::Near, 0), 100_000);
}

/// BACKUP-1, BACKUP-4, F15: the same by rows.
#[test]
fn every_drawn_tampering_with_rows_has_the_outcome_that_is_due() {
    every_drawn_tampering(&Scene::new(Reach::ByRows, 0), 20_000);
}

fn every_drawn_tampering(scene: &Scene, count_long: u32) {
    let mut seed = 1_u64;
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let count = if is_long() { count_long } else { 300 };
    let mutations: Vec<_> = (0..count)
        .map(|_| drawn_mutation(&scene.honest, &mut draw).unwrap())
        .collect();
    let met = scene.try_all(&mutations);
    println!("{count} mutations; outcomes met: {met:?}");
    for (knows, due) in [
        (true, Due::Exact(2)),
        (true, Due::Named(2)),
        (true, Due::Refused),
        (true, Due::NotFresh),
        (false, Due::Exact(1)),
    ] {
        assert!(
            met.contains_key(&(knows, due)),
            "never met: {knows} {due:?}"
        );
    }
}

/// BACKUP-4: the device that knows of a newer state writes nothing to a store that went back; on
/// any other tampered store its next backup succeeds or ends in a typed error, and a hurt index is
/// none.
#[test]
fn a_device_writes_nothing_to_a_store_that_hides_its_newest_backup() {
    for reach in [Reach::Near, Reach::ByRows] {
        writes_nothing_to_a_store_that_went_back(&Scene::new(reach, 0));
    }
}

fn writes_nothing_to_a_store_that_went_back(scene: &Scene) {
    let reach = scene.reach;
    std::fs::write(
        scene.world.folder.path().join("chats/media/third-day.jpg"),
        b"the third day",
    )
    .unwrap();
    let (mut mended, mut unreadable) = (0, 0);
    for mutation in scene.mutations() {
        let copy = scratch();
        copy_folder(&scene.world.home(), copy.path());
        let tampered = Arc::new(mutation.apply_with(&scene.honest, Some(&scene.older)));
        let before = tampered.objects().objects();
        let result = reach.backup(copy.path(), tampered.clone());
        match scene.due(&mutation, true) {
            // The newest snapshot is there, and does not open: a whole one follows it.
            Due::NotFresh if scene.is_unreadable(&mutation) => {
                let report = result.unwrap_or_else(|error| panic!("{mutation}: {error}"));
                assert!(report.damaged.is_some_and(|damaged| !damaged.opens));
                reach
                    .restored(copy.path(), tampered)
                    .unwrap_or_else(|error| panic!("{mutation}: {error}"));
                unreadable += 1;
            }
            Due::NotFresh => {
                assert!(
                    matches!(result, Err(BackupError::RolledBack { .. })),
                    "{mutation}: {result:?}"
                );
                assert!(tampered.objects().objects() == before, "{mutation}");
            }
            Due::Refused => match result {
                // The index is hurt, and nothing is missing in the new one.
                Ok(report) if report.damaged.is_some() => {
                    reach
                        .restored(copy.path(), tampered)
                        .unwrap_or_else(|error| panic!("{mutation}: {error}"));
                    mended += 1;
                }
                Ok(_) => {}
                Err(error) => assert!(
                    !matches!(error, BackupError::Sealing(_) | BackupError::Index(_)),
                    "{mutation}: {error}"
                ),
            },
            Due::Exact(_) | Due::Named(_) => {
                result.unwrap_or_else(|error| panic!("{mutation}: {error}"));
            }
        }
    }
    assert!(mended > 0 && unreadable > 0);
}
