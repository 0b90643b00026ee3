//! What stands in the target of a restore already, and what becomes of it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyhaven::{
    BackupOptions, Lost, LostPart, Observer, Phase, Progress, RestoreError, RestoreOptions,
    Restored, Tier,
};
use keyhaven_secrets::Remedy;
use rusqlite::Connection;

use crate::peer::Peer;
use crate::refused::OnDisk;
use crate::world::{rows, settle};

fn restore(world: &OnDisk, to: &Path, overwrite: bool) -> Result<Restored, RestoreError> {
    let options = RestoreOptions {
        overwrite,
        ..RestoreOptions::default()
    };
    world.haven().restore(to, &options, &mut ())
}

fn differs(restored: Result<Restored, RestoreError>) -> PathBuf {
    match restored {
        Err(RestoreError::Differs(path)) => path,
        other => panic!("{other:?}"),
    }
}

/// A world that was backed up twice, with a day between.
fn two_days(tier: Tier) -> OnDisk {
    let world = OnDisk::by(tier);
    for day in ["first", "second"] {
        world
            .app
            .execute("UPDATE message SET text = ?1 WHERE id % 7 = 0", [day])
            .unwrap();
        settle();
        world.backup().unwrap();
    }
    world
}

/// What a program leaves that dies after a commit to its log: the database and the log, of another state.
fn left_behind(database: &Path, to: &Path) {
    let app = Connection::open(database).unwrap();
    app.execute_batch(
        "PRAGMA wal_autocheckpoint = 0;
         UPDATE message SET text = 'of another state ' || random();",
    )
    .unwrap();
    std::fs::create_dir_all(to).unwrap();
    for name in ["chats.db", "chats.db-wal"] {
        let from = database.parent().unwrap().join(name);
        std::fs::copy(from, to.join(name)).unwrap();
    }
}

/// BACKUP-1: SQLite plays a log that stands beside a database into it, whatever state it is of.
#[test]
fn a_log_of_another_state_is_not_played_into_what_is_restored() {
    for tier in [Tier::Pages, Tier::Rows] {
        let world = two_days(tier);
        let first = world.at("first");
        restore(&world, &first, false).unwrap();
        for with_database in [true, false] {
            let to = world.at(if with_database { "log" } else { "log-alone" });
            left_behind(&first.join("chats.db"), &to);
            if !with_database {
                std::fs::remove_file(to.join("chats.db")).unwrap();
            }
            differs(restore(&world, &to, false));
            assert!(to.join("chats.db-wal").exists(), "nothing was touched");
            restore(&world, &to, true).unwrap();
            assert!(!to.join("chats.db-wal").exists());
            let back = Connection::open(to.join("chats.db")).unwrap();
            assert_eq!(rows(&back), rows(&world.app), "{tier:?} {with_database}");
        }
    }
}

/// What stands in a folder. The log's index is memory that programs share.
fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut listing: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (std::fs::read(&path).unwrap_or_default(), path))
        .map(|(bytes, path)| (path, bytes))
        .collect();
    listing.retain(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
    listing.sort_unstable();
    listing
}

/// The database that was refused, because that program has it open.
fn in_use(restored: Result<Restored, RestoreError>, peer: &Peer) -> PathBuf {
    match restored {
        Err(RestoreError::InUse { path, by }) => {
            assert_eq!(by.process, Some(peer.process()));
            path
        }
        other => panic!("{other:?}"),
    }
}

/// BACKUP-1: a program whose database is replaced goes on writing into a file that has no name any more, and its log is played into
/// the one that was restored.
#[test]
fn a_database_that_a_program_has_open_is_not_replaced() {
    for tier in [Tier::Pages, Tier::Rows] {
        for journal in ["wal", "delete"] {
            let world = two_days(tier);
            let to = world.at("to");
            restore(&world, &to, false).unwrap();
            let database = to.join("chats.db");
            let mut peer = Peer::open(&database);
            peer.must(&format!("PRAGMA journal_mode = {journal}"));
            peer.must("UPDATE message SET text = 'written in the restored one'");
            let before = listing(&to);
            let refused = restore(&world, &to, true);
            let told = refused.as_ref().unwrap_err();
            assert_eq!(told.remedy(), Remedy::RetryLater);
            let process = format!("(process {})", peer.process());
            assert!(told.to_string().contains(&process), "{told}");
            assert_eq!(in_use(refused, &peer), database, "{tier:?} {journal}");
            assert!(listing(&to) == before, "{tier:?} {journal}: it was touched");
            // The program has lost nothing, and goes on.
            peer.must("UPDATE message SET text = 'and once more'");
            let seen = Connection::open(&database).unwrap();
            let text: String = seen
                .query_row("SELECT text FROM message LIMIT 1", [], |row| row.get(0))
                .unwrap();
            assert_eq!(text, "and once more");
            drop(seen);
            peer.close();
            restore(&world, &to, true).unwrap();
            let back = Connection::open(&database).unwrap();
            assert_eq!(rows(&back), rows(&world.app), "{tier:?} {journal}");
        }
    }
}

/// BACKUP-1: nor by a file or a link, nor is its log taken away where the database itself is gone.
#[test]
fn an_open_database_is_not_replaced_by_anything_else() {
    let world = OnDisk::new();
    std::fs::write(world.at("chats/a file"), "a file").unwrap();
    std::os::unix::fs::symlink("media", world.at("chats/a link")).unwrap();
    world.backup().unwrap();
    for name in ["a file", "a link", "chats.db"] {
        let to = world.at(&format!("to {name}"));
        std::fs::create_dir(&to).unwrap();
        let database = to.join(name);
        let mut peer = Peer::open(&database);
        peer.must("PRAGMA journal_mode = wal");
        peer.must("CREATE TABLE other(x)");
        if name == "chats.db" {
            std::fs::remove_file(&database).unwrap();
        }
        let before = listing(&to);
        assert_eq!(in_use(restore(&world, &to, true), &peer), database);
        let now = listing(&to);
        assert!(before.iter().all(|one| now.contains(one)), "{name}");
        peer.close();
        restore(&world, &to, true).unwrap();
    }
}

/// BACKUP-1: as for a log.
#[test]
fn a_journal_of_another_state_is_not_played_back_into_what_is_restored() {
    let world = two_days(Tier::Pages);
    let to = world.at("to");
    restore(&world, &to, false).unwrap();
    let journal = to.join("chats.db-journal");
    std::fs::write(
        &journal,
        b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 of a program that died",
    )
    .unwrap();
    differs(restore(&world, &to, false));
    assert!(journal.exists());
    restore(&world, &to, true).unwrap();
    assert!(!journal.exists());
}

/// A log that leads to what was backed up is no difference: the app may have its database open.
#[test]
fn a_database_and_its_log_that_are_the_backup_are_left_alone() {
    for tier in [Tier::Pages, Tier::Rows] {
        let world = two_days(tier);
        let chats = world.at("chats");
        assert!(std::fs::metadata(chats.join("chats.db-wal")).unwrap().len() > 0);
        let restored = restore(&world, &chats, false).unwrap();
        assert_eq!(restored.report.files, 0, "{tier:?}");
    }
}

/// Another program that makes every file of `media` that is not there yet, as soon as one was fetched.
struct Maker {
    media: PathBuf,
    names: Vec<PathBuf>,
    calls: u32,
    made: Vec<PathBuf>,
}

impl Observer for Maker {
    fn progress(&mut self, progress: &Progress) {
        if progress.phase != Phase::Media {
            return;
        }
        self.calls += 1;
        match self.calls {
            // The next report comes with the first file, whose name waits for a flush.
            1 => std::thread::sleep(Duration::from_millis(150)),
            2 => {
                let parts = std::fs::read_dir(&self.media).unwrap();
                assert!(parts.count() > 0, "nothing was begun");
                for name in &self.names {
                    let path = self.media.join(name);
                    if let Ok(mut file) = File::create_new(&path) {
                        file.write_all(THEIRS).unwrap();
                        self.made.push(path);
                    }
                }
            }
            _ => {}
        }
    }
}

const THEIRS: &[u8] = b"of another program";

/// BACKUP-1: between the look at a place and the name that is given there lie a download and a flush.
#[test]
fn what_comes_to_stand_in_the_target_during_a_restore_is_not_replaced() {
    let world = OnDisk::new();
    world.backup().unwrap();
    let names = std::fs::read_dir(world.at("chats/media")).unwrap();
    let names = names.map(|entry| entry.unwrap());
    let names = names.filter(|entry| entry.file_type().unwrap().is_file());
    let mut maker = Maker {
        media: world.at("to/media"),
        names: names.map(|entry| entry.file_name().into()).collect(),
        calls: 0,
        made: Vec::new(),
    };
    let options = RestoreOptions::default();
    let restored = world.haven().restore(&world.at("to"), &options, &mut maker);
    assert!(maker.made.contains(&differs(restored)));
    for path in maker.made {
        assert_eq!(std::fs::read(&path).unwrap(), THEIRS, "{path:?}");
    }
    restore(&world, &world.at("to"), true).unwrap();
    assert_eq!(
        restore(&world, &world.at("to"), false)
            .unwrap()
            .report
            .files,
        0
    );
}

/// A folder is never overwritten, and nobody is told that it would be.
#[test]
fn a_folder_in_the_place_of_something_else_stays_and_the_advice_helps() {
    let world = OnDisk::new();
    std::os::unix::fs::symlink("media", world.at("chats/link")).unwrap();
    world.backup().unwrap();
    for name in [
        "chats.db",
        "chats.db-wal",
        "chats.db-shm",
        "media/film.mp4",
        "link",
    ] {
        let to = world.at(&format!("to {}", name.replace('/', " ")));
        std::fs::create_dir_all(to.join(name)).unwrap();
        for overwrite in [false, true] {
            let refused = restore(&world, &to, overwrite).unwrap_err();
            assert_eq!(refused.remedy(), Remedy::AskUser);
            assert!(!refused.to_string().contains("--overwrite"), "{refused}");
            assert!(
                matches!(&refused, RestoreError::FolderInPlace(path) if *path == to.join(name)),
                "{refused:?}"
            );
        }
        std::fs::remove_dir(to.join(name)).unwrap();
        restore(&world, &to, false).unwrap();
    }
}

/// BACKUP-1: a name that the target cannot have costs what has it and what is below it. Here whole paths are too long.
#[test]
fn what_the_target_cannot_have_is_told_and_the_rest_comes_back() {
    for tier in [Tier::Pages, Tier::Rows] {
        let world = OnDisk::new();
        // Long enough that it does not go below a target with a longer path.
        let way: PathBuf = std::iter::repeat_n("d".repeat(250), 15).collect();
        let deep = world.at("chats/media").join(&way);
        std::fs::create_dir_all(deep.join("empty")).unwrap();
        std::fs::write(deep.join("a file"), "a file").unwrap();
        std::os::unix::fs::symlink("a file", deep.join("a link")).unwrap();
        // SQLite itself opens nothing at the end of so long a path.
        let database = Connection::open(world.at("a.db")).unwrap();
        database.execute_batch("CREATE TABLE t(x)").unwrap();
        drop(database);
        std::fs::copy(world.at("a.db"), deep.join("a.db")).unwrap();
        for text in ["of a day", "of the next"] {
            std::fs::write(world.at("chats/zz"), text).unwrap();
            settle();
            let options = BackupOptions {
                tier,
                ..BackupOptions::default()
            };
            world.haven().backup(options, &mut ()).unwrap();
        }
        let to: PathBuf = std::iter::repeat_n("t".repeat(100), 3).collect();
        let to = world.at("to").join(to);
        let mut came = None;
        for overwrite in [false, true, false] {
            let restored = restore(&world, &to, overwrite).unwrap().report;
            assert_eq!(std::fs::read(to.join("zz")).unwrap(), b"of the next");
            let back = Connection::open(to.join("chats.db")).unwrap();
            assert_eq!(rows(&back), rows(&world.app));
            let way = Path::new("media").join(&way);
            for (name, part) in [
                ("a file", LostPart::File { bytes: 6 }),
                ("a link", LostPart::File { bytes: 6 }),
                ("a.db", LostPart::File { bytes: 8192 }),
                ("empty", LostPart::Folder),
            ] {
                let lost = restored
                    .lost
                    .iter()
                    .find(|lost| lost.path == way.join(name));
                let lost = lost.unwrap_or_else(|| panic!("{name} in {:?}", restored.lost));
                assert_eq!((&lost.part, lost.remedy), (&part, Remedy::AskUser));
                assert!(lost.reason.contains("name"), "{lost:?}");
            }
            let is_told = |lost: &Lost| way.starts_with(&lost.path) || lost.path.starts_with(&way);
            assert!(restored.lost.iter().all(is_told), "{:?}", restored.lost);
            // Two of the four are files, and the others that were written are there the next time.
            let all = restored.files + restored.already_there;
            assert_eq!(*came.get_or_insert(all), all);
        }
        let short = world.at("s");
        assert_eq!(restore(&world, &short, false).unwrap().report.lost, []);
        let all = restore(&world, &short, false).unwrap().report.already_there;
        assert_eq!(Some(all - 2), came);
    }
}

#[test]
fn a_link_in_the_way_is_kept_or_replaced_as_it_is_asked() {
    let world = OnDisk::new();
    std::os::unix::fs::symlink("media", world.at("chats/link")).unwrap();
    world.backup().unwrap();
    let to = world.at("to");
    restore(&world, &to, false).unwrap();
    let link = to.join("link");
    let leads_to = || std::fs::read_link(&link).unwrap();
    restore(&world, &to, false).unwrap();
    assert_eq!(leads_to(), Path::new("media"));

    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    assert_eq!(differs(restore(&world, &to, false)), link);
    assert_eq!(leads_to(), Path::new("elsewhere"));
    restore(&world, &to, true).unwrap();
    assert_eq!(leads_to(), Path::new("media"));

    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "a file").unwrap();
    assert_eq!(differs(restore(&world, &to, false)), link);
    restore(&world, &to, true).unwrap();
    assert_eq!(leads_to(), Path::new("media"));
}
