//! The whole way on real folders and real databases: set up, back up, lose all, restore.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test program, helpers included: a failure is a panic"
)]

use std::path::{Path, PathBuf};

use keyhaven::{
    BackupError, BackupOptions, Depth, Keyhaven, Outcome, Place, ProtectorError, Recovery,
    RestoreError, RestoreOptions, Setup,
};
use keyhaven_secrets::Remedy;
use rusqlite::Connection;

fn chats(root: &Path) {
    std::fs::create_dir_all(root.join("Media/Photos")).unwrap();
    let db = Connection::open(root.join("chats.db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL;
         CREATE TABLE message(id INTEGER PRIMARY KEY, text TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO message SELECT i, printf('message %d of many', i) FROM n;",
    )
    .unwrap();
    for number in 0..40_u32 {
        let bytes: Vec<u8> = (0..number * 7919)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        std::fs::write(
            root.join(format!("Media/Photos/IMG-{number:04}.jpg")),
            bytes,
        )
        .unwrap();
    }
    std::os::unix::fs::symlink("Photos/IMG-0001.jpg", root.join("Media/latest.jpg")).unwrap();
    std::fs::create_dir(root.join("Media/empty")).unwrap();
    // Closing the last connection folds the log in: a change, too.
    drop(db);
    settle();
}

/// What was changed a moment ago might change again within one tick of the file system's clock, so
/// it is read once more by the next backup.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}

fn set_up(world: &Path) -> Keyhaven {
    let place = Place::parse(world.join("store").to_str().unwrap()).unwrap();
    let setup = Setup::begin(&world.join("home"), &world.join("chats"), place).unwrap();
    let digits = setup.recovery_key().to_string();
    setup.prove_recovery_key(&digits).unwrap().finish().unwrap()
}

fn same(a: &Path, b: &Path) {
    for entry in std::fs::read_dir(a).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let other = b.join(&name);
        let kind = entry.file_type().unwrap();
        if name.to_string_lossy().starts_with("chats.db") {
            continue;
        }
        if kind.is_dir() {
            same(&entry.path(), &other);
        } else if kind.is_symlink() {
            assert_eq!(
                std::fs::read_link(entry.path()).unwrap(),
                std::fs::read_link(&other).unwrap()
            );
        } else {
            assert_eq!(
                std::fs::read(entry.path()).unwrap(),
                std::fs::read(&other).unwrap()
            );
            let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
            assert_eq!(modified(&entry.path()), modified(&other));
        }
    }
}

fn messages(path: &Path) -> Vec<(i64, String)> {
    let db = Connection::open(path).unwrap();
    let mut rows = db
        .prepare("SELECT id, text FROM message ORDER BY id")
        .unwrap();
    let rows = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// BACKUP-1: what is restored on a new device is byte for byte what was backed up.
#[test]
fn a_lost_device_comes_back_by_the_64_digits() {
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    chats(&world.join("chats"));
    let haven = set_up(world);
    let digits = haven.backup_key().unwrap().digits().to_string();

    let first = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(first.outcome, Outcome::Complete);
    let second = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!((second.outcome, second.sent_bytes), (Outcome::Unchanged, 0));

    let db = Connection::open(world.join("chats/chats.db")).unwrap();
    db.execute("UPDATE message SET text = 'edited' WHERE id = 77", [])
        .unwrap();
    db.execute("DELETE FROM message WHERE id = 78", []).unwrap();
    std::fs::remove_file(world.join("chats/Media/Photos/IMG-0003.jpg")).unwrap();
    std::fs::write(world.join("chats/Media/Photos/new.jpg"), b"new").unwrap();
    let third = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(third.outcome, Outcome::Complete);
    assert!(third.sent_bytes < first.sent_bytes + 1024 * 1024);

    drop(haven);
    std::fs::remove_dir_all(world.join("home")).unwrap();
    let place = Place::parse(world.join("store").to_str().unwrap()).unwrap();
    let mut typed = digits.clone();
    let swapped = typed.remove(0);
    typed.insert(1, swapped);
    let returned = Keyhaven::recover(
        &world.join("new-home"),
        &world.join("restored"),
        place,
        Recovery::RecoveryKey(&typed),
    )
    .unwrap();
    let restored = returned
        .haven
        .restore(&world.join("restored"), &RestoreOptions::default(), &mut ())
        .unwrap();
    assert_eq!(restored.report.lost, []);
    same(&world.join("chats"), &world.join("restored"));
    same(&world.join("restored"), &world.join("chats"));
    assert_eq!(
        messages(&world.join("chats/chats.db")),
        messages(&world.join("restored/chats.db"))
    );

    let verified = returned
        .haven
        .verify(Depth::All, None, &Default::default(), &mut ())
        .unwrap();
    assert_eq!(verified.lost, []);
    let again =
        returned
            .haven
            .restore(&world.join("restored"), &RestoreOptions::default(), &mut ());
    let again = again.unwrap().report;
    assert_eq!(
        (again.files, again.already_there),
        (0, 41),
        "what is there is not fetched again"
    );
}

/// The disaster guard: a source that has emptied is asked about, and nothing is written.
#[test]
fn an_emptied_source_is_asked_about() {
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    chats(&world.join("chats"));
    let haven = set_up(world);
    haven.backup(BackupOptions::default(), &mut ()).unwrap();
    std::fs::remove_dir_all(world.join("chats/Media")).unwrap();
    std::fs::remove_file(world.join("chats/chats.db")).unwrap();
    let error = haven.backup(BackupOptions::default(), &mut ()).unwrap_err();
    assert!(matches!(error, BackupError::Shrunk { .. }), "{error}");
    assert_eq!(haven.snapshots().unwrap().len(), 2);
    let accepted = BackupOptions {
        accept_shrunk: true,
        ..BackupOptions::default()
    };
    assert_eq!(
        haven.backup(accepted, &mut ()).unwrap().outcome,
        Outcome::Complete
    );
    let pinned = haven
        .snapshots()
        .unwrap()
        .iter()
        .filter(|one| one.pinned)
        .count();
    assert_eq!(pinned, 1, "the state before it is kept");
}

/// Only a database has a log, an index or a journal.
#[test]
fn a_file_beside_a_name_like_a_logs_is_unchanged_when_it_is() {
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    chats(&world.join("chats"));
    for ending in ["", "-wal", "-journal", "-shm"] {
        std::fs::write(world.join(format!("chats/film.mp4{ending}")), "a film").unwrap();
    }
    settle();
    let haven = set_up(world);
    haven.backup(BackupOptions::default(), &mut ()).unwrap();
    let again = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    std::fs::write(world.join("chats/film.mp4"), "b film").unwrap();
    let again = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(again.changed, 1);
}

/// What is kept of a source before it shrank is as complete as it was.
#[test]
fn a_state_that_was_not_complete_is_not_complete_when_it_is_pinned() {
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    chats(&world.join("chats"));
    let haven = set_up(world);
    // A database that ends too early cannot be read.
    let cut = world.join("chats/cut.db");
    std::fs::copy(world.join("chats/chats.db"), &cut).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&cut).unwrap();
    file.set_len(4096).unwrap();
    let partial = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(partial.outcome, Outcome::Partial { pending_files: 1 });
    std::fs::remove_dir_all(world.join("chats/Media")).unwrap();
    let accepted = BackupOptions {
        accept_shrunk: true,
        ..BackupOptions::default()
    };
    haven.backup(accepted, &mut ()).unwrap();
    let snapshots = haven.snapshots().unwrap();
    let pinned = snapshots.iter().find(|one| one.pinned).unwrap();
    assert!(!pinned.complete);
}

/// BACKUP-3: a home inside the restored folder would put the device's key into the next backup.
#[test]
fn a_home_inside_the_restored_folder_is_refused() {
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    chats(&world.join("chats"));
    let digits = set_up(world).backup_key().unwrap().digits().to_string();
    let place = Place::parse(world.join("store").to_str().unwrap()).unwrap();
    let home = world.join("back/home");
    let by = Recovery::RecoveryKey(&digits);
    let refused = Keyhaven::recover(&home, &world.join("back"), place, by).unwrap_err();
    assert!(
        matches!(refused, ProtectorError::HomeNested(_)),
        "{refused}"
    );
    assert!(!home.exists());
}

/// Everything in a folder, as paths and bytes.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            all.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    all.sort_unstable();
    all
}

/// BACKUP-1: a restore does not write into what it reads from, or into what it is a restore of.
#[test]
fn nothing_is_restored_into_the_store_or_the_home() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path();
    let chats = world.join("chats");
    self::chats(&chats);
    for place in ["kept/store/packs", "kept/home"] {
        std::fs::create_dir_all(chats.join(place)).unwrap();
        std::fs::write(chats.join(place).join("mine.txt"), "mine").unwrap();
    }
    settle();
    let haven = set_up(world);
    haven.backup(BackupOptions::default(), &mut ()).unwrap();
    std::fs::create_dir(world.join("kept")).unwrap();
    for name in ["store", "home"] {
        std::fs::rename(world.join(name), world.join("kept").join(name)).unwrap();
        std::os::unix::fs::symlink(world.join("kept").join(name), world.join(name)).unwrap();
    }
    let haven = Keyhaven::open(&world.join("home"), None).unwrap();
    let before = everything(world);
    let restore = |to: &str, path: Option<&str>| {
        let options = RestoreOptions {
            path: path.map(PathBuf::from),
            overwrite: true,
            ..RestoreOptions::default()
        };
        haven.restore(&world.join(to), &options, &mut ())
    };
    for (to, path) in [
        ("store", None),
        ("kept/store/packs/deep/er", None),
        ("none/../store/x", None),
        ("", None),
        ("", Some("kept/store")),
        ("", Some("kept/store/packs/mine.txt")),
    ] {
        let refused = restore(to, path).unwrap_err();
        assert!(
            matches!(refused, RestoreError::IntoStore { .. }),
            "{to}: {refused}"
        );
        assert_eq!(refused.remedy(), Remedy::AskUser);
    }
    for (to, path) in [
        ("home", None),
        ("home/state/x", None),
        ("", Some("kept/home")),
    ] {
        let refused = restore(to, path).unwrap_err();
        assert!(
            matches!(refused, RestoreError::IntoHome { .. }),
            "{to}: {refused}"
        );
        assert_eq!(refused.remedy(), Remedy::AskUser);
    }
    assert!(everything(world) == before, "something was written");
    // Around them is no matter where nothing comes into them.
    let photo = "Media/Photos/IMG-0001.jpg";
    restore("", Some(photo)).unwrap();
    assert!(world.join(photo).exists());
    restore("kept/beside", None).unwrap();
    restore("kept", Some(photo)).unwrap();
}

/// The same for a new device, before anything is kept of the key.
#[test]
fn a_new_device_does_not_restore_into_the_store_or_its_home() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path();
    chats(&world.join("chats"));
    let digits = set_up(world).backup_key().unwrap().digits().to_string();
    let before = everything(world);
    for (to, is_expected) in [
        ("store/back", true),
        ("store", true),
        ("", true),
        ("new/back", false),
    ] {
        let place = Place::parse(world.join("store").to_str().unwrap()).unwrap();
        let by = Recovery::RecoveryKey(&digits);
        let refused = Keyhaven::recover(&world.join("new"), &world.join(to), place, by);
        let refused = refused.unwrap_err();
        let is_nested = matches!(
            refused,
            ProtectorError::Nested | ProtectorError::HomeNested(_)
        );
        let is_inside = matches!(refused, ProtectorError::InsideHome(_));
        assert_eq!(
            (is_nested, is_inside),
            (is_expected, !is_expected),
            "{to}: {refused}"
        );
    }
    assert!(everything(world) == before, "something was written");
}

/// BACKUP-1: whoever sends files chooses their names. None of them is what a restore calls another one while it is written; and two
/// names may be as long as names get and differ at their ends alone.
#[test]
fn whatever_files_are_called_each_comes_back_with_its_own_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let world = tempfile::tempdir().unwrap();
    let chats = world.path().join("chats");
    let mut names: Vec<Vec<u8>> = Vec::new();
    for number in 0..20 {
        names.push(format!("{number}.jpg").into_bytes());
        names.push(format!(".{number}.jpg.keyhaven-part").into_bytes());
        names.push(format!("{}{number:02}", "x".repeat(253)).into_bytes());
    }
    std::fs::create_dir(&chats).unwrap();
    for name in &names {
        std::fs::write(chats.join(OsStr::from_bytes(name)), name).unwrap();
    }
    settle();
    let haven = set_up(world.path());
    haven.backup(BackupOptions::default(), &mut ()).unwrap();
    let back = world.path().join("back");
    let restored = haven
        .restore(&back, &RestoreOptions::default(), &mut ())
        .unwrap();
    assert_eq!(restored.report.lost, []);
    same(&chats, &back);
}
