//! F17: a set-up that is killed before or after any call to its store.

use std::path::Path;
use std::sync::Arc;

use keyhaven::store::{ObjectPath, Outage, Store, StoreError};
use keyhaven::{BackupOptions, Keyhaven, Notice, Observer, Outcome, Setup, SetupError};
use keyhaven_hostile_store::{FailAt, MemoryStore, Moment, Span};

use crate::world::{World, backup, place, restored, scratch};

fn set_up(folder: &Path, store: Arc<dyn Store>) -> Result<Keyhaven, SetupError> {
    let (home, chats) = (folder.join("home"), folder.join("chats"));
    let setup = Setup::begin(&home, &chats, place(store))?;
    let digits = setup.recovery_key().to_string();
    let proven = setup
        .prove_recovery_key(&digits)
        .map_err(|(_, error)| error)?;
    proven.finish()
}

/// BACKUP-2: whatever a set-up that was cut off has left, the next one in the same home goes on from
/// it, and one in another home leaves it alone.
#[test]
fn a_set_up_killed_at_any_call_is_gone_on_with() {
    let mut kills = 0;
    for moment in [Moment::Before, Moment::After] {
        for at in 0_u64.. {
            let folder = scratch();
            std::fs::create_dir(folder.path().join("chats")).unwrap();
            std::fs::write(folder.path().join("chats/one.txt"), b"one").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(60));
            let store = MemoryStore::new();
            let cut = StoreError::Unreachable {
                outage: Outage::TimedOut,
                attempts: 1,
                pause: None,
            };
            let honest: Arc<dyn Store> = Arc::new(store.clone());
            let failing = FailAt::new(Arc::clone(&honest), at, moment, Span::ForEver, cut);
            let failing = Arc::new(failing);
            let done = set_up(folder.path(), failing.clone());
            if failing.calls() <= at {
                done.unwrap();
                break;
            }
            kills += 1;
            assert!(done.is_err(), "call {at}, {moment:?}");

            let elsewhere = scratch();
            std::fs::create_dir(elsewhere.path().join("chats")).unwrap();
            let objects = store.objects();
            if objects.len() > 1 {
                let refused = set_up(elsewhere.path(), Arc::clone(&honest)).unwrap_err();
                assert!(
                    matches!(refused, SetupError::Store(StoreError::AlreadyAStore { .. })),
                    "call {at}, {moment:?}: {refused}"
                );
                assert_eq!(store.objects(), objects);
            }

            let home = folder.path().join("home");
            set_up(folder.path(), Arc::clone(&honest))
                .unwrap_or_else(|error| panic!("call {at}, {moment:?}: {error}"));
            let report = backup(&home, Arc::clone(&honest)).unwrap();
            assert_eq!(report.outcome, Outcome::Complete);
            let there = restored(&home, honest).unwrap();
            assert_eq!(there[Path::new("one.txt")], b"one");
        }
    }
    assert!(kills >= 8, "{kills} kills");
}

/// BACKUP-2: a store writes several objects at a time, and a name may come to stand before that of one put
/// earlier, as long as nobody waited for it. The marker is waited for: a folder with objects and no marker
/// would be nobody's store.
#[test]
fn nothing_of_a_new_store_stands_before_its_marker() {
    let mut cuts = 0;
    for at in 0_u64.. {
        let folder = scratch();
        std::fs::create_dir(folder.path().join("chats")).unwrap();
        let store = MemoryStore::new();
        let cut = StoreError::Unreachable {
            outage: Outage::TimedOut,
            attempts: 1,
            pause: None,
        };
        let failing = FailAt::new(
            Arc::new(store.clone()),
            at,
            Moment::Before,
            Span::ForEver,
            cut,
        );
        let failing = Arc::new(failing);
        let done = set_up(folder.path(), failing.clone());
        let marker_last = store.after_power_loss(|path| *path != ObjectPath::marker());
        let objects = marker_last.objects();
        let names: Vec<_> = objects.iter().map(|(path, _)| path).collect();
        let has_marker = names.contains(&&ObjectPath::marker());
        assert!(has_marker || names.is_empty(), "call {at}: {names:?}");
        if failing.calls() <= at {
            done.unwrap();
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 4, "{cuts} cuts");
}

/// A store with somebody's backups is never taken up, also not by the home that made it.
#[test]
fn a_store_that_holds_a_backup_is_no_place_for_a_set_up() {
    let folder = scratch();
    std::fs::create_dir(folder.path().join("chats")).unwrap();
    std::fs::write(folder.path().join("chats/one.txt"), b"one").unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    set_up(folder.path(), Arc::clone(&store)).unwrap();
    let home = folder.path().join("home");
    backup(&home, Arc::clone(&store)).unwrap();
    std::fs::remove_file(home.join("config.json")).unwrap();
    let refused = set_up(folder.path(), Arc::clone(&store)).unwrap_err();
    assert!(
        matches!(refused, SetupError::Store(StoreError::AlreadyAStore { .. })),
        "{refused}"
    );
}

/// Everything that is told on the way.
#[derive(Default)]
struct Told(Vec<Notice>);

impl Observer for Told {
    fn notice(&mut self, notice: &Notice) {
        self.0.push(notice.clone());
    }
}

/// A new device has no local state and needs none: nothing is called rebuilt that never was.
#[test]
fn the_first_backup_has_nothing_to_rebuild() {
    let world = World::new();
    let mut told = Told::default();
    let haven = Keyhaven::open_at(&world.home(), place(Arc::new(world.store.clone()))).unwrap();
    haven.backup(BackupOptions::default(), &mut told).unwrap();
    assert_eq!(told.0, []);

    std::fs::remove_dir_all(world.home().join("state")).unwrap();
    haven.backup(BackupOptions::default(), &mut told).unwrap();
    assert_eq!(told.0, [Notice::StateRebuilt]);
}
