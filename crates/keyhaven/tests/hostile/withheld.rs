//! A server that is well, and never gives one object: each attempt for it ends in a fault of the server's own.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyhaven::store::{CalledOff, ObjectPath, Outage, Patience, Patient, Store, StoreError};
use keyhaven::{Cancel, Depth, Keyhaven, Lost};
use keyhaven_hostile_store::{MemoryStore, Over, Through};
use keyhaven_secrets::Remedy;

use crate::world::{World, backup, copy_folder, place, restore, restored, scratch, settle};

struct Withholding {
    store: MemoryStore,
    /// None for all of them.
    object: Option<ObjectPath>,
    outage: Outage,
}

/// How a server may keep an object back.
const OUTAGES: [Outage; 5] = [
    Outage::ServerFault,
    Outage::CutBody,
    Outage::Connection,
    Outage::TimedOut,
    Outage::Throttled,
];

impl Withholding {
    fn of(store: &MemoryStore, object: Option<&ObjectPath>) -> Arc<dyn Store> {
        // A different one for each object.
        let byte = object.and_then(|object| object.as_str().bytes().last());
        let outage = OUTAGES[usize::from(byte.unwrap_or(0)) % OUTAGES.len()];
        let patience = Patience {
            attempts_max: 3,
            pause_first: Duration::ZERO,
            pause_max: Duration::ZERO,
            ..Patience::default()
        };
        let withholding = Self {
            store: store.clone(),
            object: object.cloned(),
            outage,
        };
        let store: Arc<dyn Store> = Arc::new(Through(withholding));
        Arc::new(Patient::new(store, patience, CalledOff::never()))
    }

    fn ask(&self, path: &ObjectPath) -> Result<(), StoreError> {
        if self.object.as_ref().is_none_or(|object| object == path) {
            return Err(StoreError::Unreachable {
                outage: self.outage,
                attempts: 1,
                pause: None,
            });
        }
        Ok(())
    }
}

impl Over for Withholding {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.ask(path)?;
        self.store.get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.ask(path)?;
        self.store.get_into(path, offset, out)
    }
}

fn two_days() -> World {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    world.a_day_passes();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    std::fs::write(world.folder.path().join("chats/media/again.jpg"), "again").unwrap();
    settle();
    world
}

/// BACKUP-1: a restore goes on without it and names what it costs; a verification and a backup wait for it if they need
/// it, and nothing is taken for damaged. BACKUP-2: when it is given again, everything is there.
#[test]
fn an_object_that_a_server_withholds_costs_a_restore_only_what_it_holds() {
    let world = two_days();
    let whole = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    let (mut lost, mut ended, mut needless, mut waited) = (0, 0, 0, 0);
    for (object, _) in world.store.objects() {
        let withholding = || Withholding::of(&world.store, Some(&object));
        if object.as_str() == "keyhaven" {
            continue;
        }
        let (there, result) = restore(&world.home(), withholding());
        assert!(
            there
                .iter()
                .all(|(path, bytes)| whole.get(path) == Some(bytes))
        );
        match result {
            Ok(report) if report.report.lost.is_empty() => {
                assert_eq!(there, whole);
                needless += 1;
            }
            Ok(report) => {
                let is_told = |one: &Lost| {
                    one.reason.contains(object.as_str()) && one.remedy == Remedy::RetryLater
                };
                assert!(report.report.lost.iter().all(is_told));
                assert!(there.len() < whole.len());
                lost += 1;
            }
            Err(error) => {
                assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
                assert_eq!(there.len(), 0);
                ended += 1;
            }
        }
        let home = scratch();
        copy_folder(&world.home(), home.path());
        let haven = Keyhaven::open_at(home.path(), place(withholding())).unwrap();
        match haven.verify(Depth::All, None, &Cancel::new(), &mut ()) {
            Ok(report) => assert!(report.is_good(), "{object}: {report:?}"),
            Err(error) => assert_eq!(error.remedy(), Remedy::RetryLater, "{error}"),
        }
        let suspects = std::fs::read_dir(home.path().join("state/suspects"));
        let suspected = suspects.map_or(0, Iterator::count);
        assert_eq!(suspected, 0, "{object}");
        let copy = world.store.copy();
        let before = copy.objects().len();
        match backup(home.path(), Withholding::of(&copy, Some(&object))) {
            Ok(report) => assert_eq!(report.damaged, None),
            Err(error) => {
                assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
                assert_eq!(copy.objects().len(), before, "{object}: {error}");
                waited += 1;
            }
        }
        backup(home.path(), Arc::new(copy.clone())).unwrap();
        let now = restored(home.path(), Arc::new(copy)).unwrap();
        assert!(now.contains_key(Path::new("media/again.jpg")));
    }
    println!(
        "{lost} cost files, {ended} ended the restore, {needless} were not needed, {waited} backups waited"
    );
    assert!(lost > 1 && ended > 0 && waited > 0);
}

/// A server that gives nothing at all is one that cannot be reached.
#[test]
fn a_server_that_gives_nothing_is_an_outage() {
    let world = two_days();
    let (there, result) = restore(&world.home(), Withholding::of(&world.store, None));
    let error = result.unwrap_err();
    assert_eq!((error.remedy(), there.len()), (Remedy::RetryLater, 0));
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}
