//! What goes wrong in daily use, through the library: each case has an error or an outcome of its own
//! that says what to do. `docs/cli.md` has the table; the command's side is in `cli/tests/cli`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven::store::StoreError;
use keyhaven::{
    BackupError, BackupOptions, HistoryError, Keyhaven, Notice, Observer, OpenError, Outcome,
    Phase, Place, ProtectorError, Recovery, RestoreError, RestoreOptions, Setup, SetupError, Tier,
};
use keyhaven_secrets::Remedy;
use tempfile::TempDir;

use crate::world::{World, backup, copy_folder, furnish, noise, place, restore, restored, scratch};

/// A world whose store is a folder.
pub(crate) struct OnDisk {
    folder: TempDir,
    pub(crate) app: rusqlite::Connection,
    tier: Tier,
}

impl OnDisk {
    pub(crate) fn new() -> Self {
        Self::by(Tier::Pages)
    }

    pub(crate) fn by(tier: Tier) -> Self {
        let folder = scratch();
        let store = Place::parse(folder.path().join("store").to_str().unwrap()).unwrap();
        let (folder, app, _) = furnish(&store, folder);
        Self { folder, app, tier }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn haven(&self) -> Keyhaven {
        Keyhaven::open(&self.at("home"), None).unwrap()
    }

    pub(crate) fn backup(&self) -> Result<keyhaven::BackupReport, BackupError> {
        self.backup_told(&mut ())
    }

    pub(crate) fn backup_told(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<keyhaven::BackupReport, BackupError> {
        let options = BackupOptions {
            tier: self.tier,
            ..BackupOptions::default()
        };
        self.haven().backup(options, observer)
    }
}

/// Remembers what is told on the way.
#[derive(Default)]
struct Told(Vec<(PathBuf, String)>);

impl Observer for Told {
    fn notice(&mut self, notice: &Notice) {
        if let Notice::Pending { path, reason } = notice {
            self.0.push((path.clone(), reason.clone()));
        }
    }
}

/// BACKUP-4: a key that is another one opens nothing, and says that it is another.
#[test]
fn a_wrong_key_is_told_as_another_key() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let to = scratch();
    // Another valid key: more than the one slip that could be corrected.
    let other = "0123456789abcdef".repeat(4);
    let refused = Keyhaven::recover(
        &to.path().join("home"),
        &to.path().join("back"),
        place(Arc::new(world.store.clone())),
        Recovery::RecoveryKey(&other),
    )
    .unwrap_err();
    assert_eq!(refused.remedy(), Remedy::AskUser, "{refused}");
    assert!(
        matches!(
            refused,
            ProtectorError::Digits(_) | ProtectorError::History(HistoryError::WrongKey { .. })
        ),
        "{refused:?}"
    );
    assert!(!to.path().join("home").join("config.json").exists());
}

/// BACKUP-2: a store that is gone is `Missing`; when it is back, all goes on.
#[test]
fn a_store_that_is_gone_is_told_by_its_place() {
    let world = OnDisk::new();
    world.backup().unwrap();
    std::fs::rename(world.at("store"), world.at("away")).unwrap();
    let gone = world.backup().unwrap_err();
    assert_eq!(gone.remedy(), Remedy::AskUser);
    assert!(
        matches!(gone, BackupError::Store(StoreError::Missing { .. })),
        "{gone:?}"
    );
    assert!(gone.to_string().contains("disk is not connected"), "{gone}");
    let to = scratch();
    let options = RestoreOptions::default();
    let gone = world.haven().restore(to.path(), &options, &mut ());
    assert!(
        matches!(&gone, Err(RestoreError::Store(StoreError::Missing { .. }))),
        "{gone:?}"
    );
    std::fs::rename(world.at("away"), world.at("store")).unwrap();
    assert_eq!(world.backup().unwrap().outcome, Outcome::Unchanged);
}

/// A folder that is no store is `NotAStore` to who restores, and left alone by who sets up.
#[test]
fn a_path_that_is_no_store_is_told_and_left_alone() {
    let world = OnDisk::new();
    let place = || Place::parse(world.at("chats").to_str().unwrap()).unwrap();
    let digits = world.haven().backup_key().unwrap().digits().to_string();
    let refused = Keyhaven::recover(
        &world.at("new"),
        &world.at("back"),
        place(),
        Recovery::RecoveryKey(&digits),
    )
    .unwrap_err();
    assert!(
        matches!(refused, ProtectorError::Store(StoreError::NotAStore { .. })),
        "{refused:?}"
    );
    std::fs::create_dir(world.at("other")).unwrap();
    std::fs::write(world.at("other/mine.txt"), "mine").unwrap();
    let other = Place::parse(world.at("other").to_str().unwrap()).unwrap();
    let setup = Setup::begin(&world.at("new"), &world.at("chats"), other).unwrap();
    let digits = setup.recovery_key().to_string();
    let refused = setup
        .prove_recovery_key(&digits)
        .unwrap()
        .finish()
        .unwrap_err();
    assert!(
        matches!(refused, SetupError::Store(StoreError::NotEmpty { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_dir(world.at("other")).unwrap().count(), 1);
    assert_eq!(refused.remedy(), Remedy::AskUser);
}

/// BACKUP-1: a pack that is missing costs the files that it holds, each named; the rest comes back.
#[test]
fn a_missing_object_costs_the_files_that_it_holds_alone() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let whole = world.state();
    let packs: Vec<_> = world
        .store
        .objects()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.as_str().starts_with("packs/"))
        .collect();
    let mut named = 0;
    for pack in packs {
        let store = world.store.copy();
        keyhaven::store::Store::delete(&store, &pack).unwrap();
        let (there, result) = restore(&world.home(), Arc::new(store));
        for (path, bytes) in &there {
            assert_eq!(whole.get(path), Some(bytes), "{path:?}");
        }
        // The index is one of the packs: without it nothing can be named.
        if let Ok(result) = result {
            let lost = result.report.lost;
            assert_eq!(there.len() + lost.len(), whole.len());
            assert!(!lost.is_empty());
            assert!(
                lost.iter().all(|one| one.reason.contains("has no object")),
                "{lost:?}"
            );
            named += 1;
        }
    }
    assert!(named > 0);
}

/// BACKUP-1: a database that is damaged is pending with its reason; the others and its own last good
/// state are safe.
#[test]
fn a_corrupt_database_is_pending_and_its_last_good_state_stays() {
    let world = World::new();
    let path = world.folder.path().join("chats/second.db");
    let second = rusqlite::Connection::open(&path).unwrap();
    second
        .execute_batch("CREATE TABLE note(text TEXT); INSERT INTO note VALUES('kept')")
        .unwrap();
    drop(second);
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let good = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    // Cut off, as by a disk that was full when it was copied here.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(4096).unwrap();
    std::fs::write(world.folder.path().join("chats/new.txt"), "new").unwrap();
    let mut told = Told::default();
    let haven = Keyhaven::open_at(&world.home(), place(Arc::new(world.store.clone()))).unwrap();
    let report = haven.backup(BackupOptions::default(), &mut told).unwrap();
    assert_eq!(report.outcome, Outcome::Partial { pending_files: 1 });
    assert_eq!(told.0.len(), 1);
    assert_eq!(told.0[0].0, Path::new("second.db"));
    assert!(
        told.0[0].1.contains("its own app must mend it"),
        "{:?}",
        told.0
    );
    let there = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    assert_eq!(there[Path::new("second.db")], good[Path::new("second.db")]);
    assert_eq!(there[Path::new("new.txt")], b"new");
}

/// BACKUP-1: nothing that can become of a database's first bytes makes an ordinary file of it that takes the place of its last good
/// state.
#[test]
fn what_was_a_database_and_is_none_any_more_is_pending() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 4] = [
        ("no-magic.db", |bytes| bytes[..100].fill(0)),
        ("page-size.db", |bytes| bytes[16..18].fill(7)),
        ("short.db", |bytes| bytes.truncate(50)),
        ("emptied.db", Vec::clear),
    ];
    let world = World::new();
    let chats = world.folder.path().join("chats");
    for (name, _) in harms {
        let database = rusqlite::Connection::open(chats.join(name)).unwrap();
        database.execute_batch("CREATE TABLE note(text)").unwrap();
    }
    let backup = |told: &mut Told| {
        let haven = Keyhaven::open_at(&world.home(), place(Arc::new(world.store.clone()))).unwrap();
        // At the end there are fewer databases than half of them.
        let options = BackupOptions {
            accept_shrunk: true,
            ..BackupOptions::default()
        };
        haven.backup(options, told).unwrap().outcome
    };
    assert_eq!(backup(&mut Told::default()), Outcome::Complete);
    let good = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    for (name, harm) in harms {
        let mut bytes = std::fs::read(chats.join(name)).unwrap();
        harm(&mut bytes);
        std::fs::write(chats.join(name), bytes).unwrap();
    }
    // What stands beside them now is of other states.
    let log = [&b"\x37\x7f\x06\x82"[..], &[0; 60]].concat();
    for name in ["no-magic.db-wal", "page-size.db-wal", "short.db-wal"] {
        std::fs::write(chats.join(name), &log).unwrap();
    }
    std::fs::write(chats.join("short.db-journal"), "a journal").unwrap();
    // It does not wear off.
    for _ in 0..2 {
        let mut told = Told::default();
        assert_eq!(backup(&mut told), Outcome::Partial { pending_files: 4 });
        told.0.sort();
        let names: Vec<_> = told
            .0
            .iter()
            .map(|(path, _)| path.to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            ["emptied.db", "no-magic.db", "page-size.db", "short.db"]
        );
        assert!(
            told.0
                .iter()
                .all(|(_, why)| why.contains("give it another name"))
        );
        let there = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
        assert_eq!(there, good);
    }
    for name in ["no-magic.db-wal", "page-size.db-wal", "short.db-wal"] {
        std::fs::remove_file(chats.join(name)).unwrap();
    }
    // What the reason advises helps, and so does what mends it.
    for (name, _) in &harms[1..] {
        std::fs::rename(chats.join(name), chats.join(name).with_extension("bin")).unwrap();
    }
    std::fs::write(chats.join("no-magic.db"), &good[Path::new("no-magic.db")]).unwrap();
    assert_eq!(backup(&mut Told::default()), Outcome::Complete);
    let there = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    assert_eq!(
        there[Path::new("no-magic.db")],
        good[Path::new("no-magic.db")]
    );
    assert_eq!(there[Path::new("short.bin")].len(), 50);
    assert!(!there.contains_key(Path::new("short.db")));
}

/// BACKUP-1: the same for an encrypted database, as far as anybody can tell it from a file. What may be a file is taken as one.
#[test]
fn what_was_encrypted_and_cannot_be_any_more_is_pending() {
    let world = World::new();
    let chats = world.folder.path().join("chats");
    let names = ["album.db", "emptied.db", "log.db", "zeros.db"];
    for (seed, name) in (0..).zip(names) {
        std::fs::write(chats.join(name), noise(seed, 16_384)).unwrap();
    }
    std::fs::write(chats.join("log.db-wal"), "").unwrap();
    let backup = |told: &mut Told| {
        let haven = Keyhaven::open_at(&world.home(), place(Arc::new(world.store.clone()))).unwrap();
        haven
            .backup(BackupOptions::default(), told)
            .unwrap()
            .outcome
    };
    assert_eq!(backup(&mut Told::default()), Outcome::Complete);
    let good = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    std::fs::remove_file(chats.join("log.db-wal")).unwrap();
    std::fs::write(chats.join("album.db"), noise(0, 10_000)).unwrap();
    std::fs::write(chats.join("emptied.db"), "").unwrap();
    std::fs::write(chats.join("log.db"), noise(2, 10_000)).unwrap();
    let zeros = [&[0; 512], &noise(3, 16_384)[512..]].concat();
    std::fs::write(chats.join("zeros.db"), zeros).unwrap();
    let mut told = Told::default();
    assert_eq!(backup(&mut told), Outcome::Partial { pending_files: 3 });
    told.0.sort();
    let pending: Vec<_> = told
        .0
        .iter()
        .map(|(path, _)| path.to_str().unwrap())
        .collect();
    assert_eq!(pending, names[1..]);
    let there = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    assert_eq!(there[Path::new("album.db")], noise(0, 10_000));
    for name in &names[1..] {
        assert_eq!(there[Path::new(name)], good[Path::new(name)], "{name}");
    }
    // Mended, or decrypted by its program, each is backed up again.
    for name in ["emptied.db", "log.db"] {
        std::fs::write(chats.join(name), &good[Path::new(name)]).unwrap();
    }
    std::fs::remove_file(chats.join("zeros.db")).unwrap();
    let database = rusqlite::Connection::open(chats.join("zeros.db")).unwrap();
    database.execute_batch("CREATE TABLE note(text)").unwrap();
    drop(database);
    assert_eq!(backup(&mut Told::default()), Outcome::Complete);
}

/// BACKUP-1: a backup is complete only if what the first look at the source counted is in it, whatever becomes of it meanwhile.
#[test]
fn what_cannot_be_taken_any_more_when_its_turn_comes_is_pending() {
    /// Moves a folder to where no walk goes, and makes a database of a file, before the first media are read.
    struct Meanwhile {
        chats: PathBuf,
        is_done: bool,
        told: Told,
    }
    impl Observer for Meanwhile {
        fn progress(&mut self, progress: &keyhaven::Progress) {
            if progress.phase == Phase::Media && !self.is_done {
                self.is_done = true;
                let deep = nest(&self.chats);
                std::fs::rename(self.chats.join("photos"), deep.join("photos")).unwrap();
                std::fs::remove_file(self.chats.join("z")).unwrap();
                let database = rusqlite::Connection::open(self.chats.join("z")).unwrap();
                database.execute_batch("CREATE TABLE t(x)").unwrap();
            }
        }
        fn notice(&mut self, notice: &Notice) {
            self.told.notice(notice);
        }
    }
    /// The deepest folder of a nest that a walk still enters.
    fn nest(chats: &Path) -> PathBuf {
        (0..127).fold(chats.to_path_buf(), |at, _| at.join("n"))
    }
    let world = OnDisk::new();
    world.backup().unwrap();
    let chats = world.at("chats");
    std::fs::create_dir_all(nest(&chats)).unwrap();
    std::fs::create_dir(chats.join("photos")).unwrap();
    std::fs::write(chats.join("photos/one.jpg"), "a photo").unwrap();
    std::fs::write(chats.join("z"), "a file").unwrap();
    let mut meanwhile = Meanwhile {
        chats: chats.clone(),
        is_done: false,
        told: Told::default(),
    };
    let haven = world.haven();
    let report = haven
        .backup(BackupOptions::default(), &mut meanwhile)
        .unwrap();
    assert_eq!(report.outcome, Outcome::Partial { pending_files: 2 });
    let told: Vec<_> = meanwhile
        .told
        .0
        .iter()
        .map(|(_, why)| why.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "nests deeper than the limit",
            "became a database while the backup ran"
        ]
    );
    std::fs::rename(nest(&chats).join("photos"), chats.join("photos")).unwrap();
    let mut told = Told::default();
    let report = world.haven().backup(BackupOptions::default(), &mut told);
    assert_eq!(report.unwrap().outcome, Outcome::Complete, "{:?}", told.0);
}

/// BACKUP-2: a second backup on the same device is refused while the first is at work.
#[test]
fn two_backups_at_once_on_one_device_are_one_and_a_refusal() {
    struct Second<'a>(&'a OnDisk, usize);
    impl Observer for Second<'_> {
        fn progress(&mut self, _: &keyhaven::Progress) {
            let busy = self.0.backup().unwrap_err();
            assert_eq!(busy.remedy(), Remedy::RetryLater);
            assert!(
                matches!(&busy, BackupError::Home(keyhaven::home::HomeError::Busy(_))),
                "{busy:?}"
            );
            self.1 += 1;
        }
    }
    let world = OnDisk::new();
    let mut second = Second(&world, 0);
    let first = world.haven().backup(BackupOptions::default(), &mut second);
    assert_eq!(first.unwrap().outcome, Outcome::Complete);
    assert!(second.1 > 0, "it was tried while the first was at work");
    assert_eq!(world.backup().unwrap().outcome, Outcome::Unchanged);
}

/// BACKUP-4: another store in the place of the one that was set up is told, and nothing is written.
#[test]
fn another_store_in_its_place_is_told() {
    let (one, other) = (OnDisk::new(), OnDisk::new());
    one.backup().unwrap();
    std::fs::remove_dir_all(one.at("store")).unwrap();
    copy_folder(&other.at("store"), &one.at("store"));
    let refused = one.backup().unwrap_err();
    let is_other = matches!(
        &refused,
        BackupError::History(HistoryError::OtherStore { .. })
    ) || matches!(&refused, BackupError::NotOpen(cause)
            if matches!(**cause, OpenError::History(HistoryError::OtherStore { .. })));
    assert!(is_other, "{refused:?}");
}

/// BACKUP-4: a newest backup that does not open is told, and the one before it comes back.
#[test]
fn a_damaged_newest_backup_is_told_by_name_and_the_one_before_comes_back() {
    struct Notices(Vec<String>);
    impl Observer for Notices {
        fn notice(&mut self, notice: &Notice) {
            if let Notice::DamagedSnapshots { names } = notice {
                self.0.extend(names.iter().cloned());
            }
        }
    }
    let world = World::new();
    let store = |world: &World| Arc::new(world.store.clone());
    backup(&world.home(), store(&world)).unwrap();
    let one = world.state();
    let snapshots = |world: &World| {
        let objects = world.store.objects().into_iter();
        objects
            .filter(|(path, _)| path.as_str().starts_with("snapshots/"))
            .collect::<Vec<_>>()
    };
    let before = snapshots(&world);
    world.a_day_passes();
    backup(&world.home(), store(&world)).unwrap();
    let (path, bytes) = snapshots(&world)
        .into_iter()
        .find(|one| !before.contains(one))
        .unwrap();
    let mut damaged = bytes.to_vec();
    damaged[bytes.len() / 2] ^= 1;
    world.store.plant(path.clone(), damaged.into());

    let (new, to, mut notices) = (scratch(), scratch(), Notices(Vec::new()));
    let recovered = Keyhaven::recover(
        &new.path().join("home"),
        &new.path().join("to"),
        place(store(&world)),
        Recovery::RecoveryKey(&world.digits),
    )
    .unwrap();
    let options = RestoreOptions::default();
    let restored = recovered.haven.restore(to.path(), &options, &mut notices);
    assert_eq!(restored.unwrap().report.lost, []);
    assert!(crate::world::read_folder(to.path()) == one);
    assert_eq!(notices.0.len(), 1);
    assert!(path.as_str().ends_with(&notices.0[0]));
}
