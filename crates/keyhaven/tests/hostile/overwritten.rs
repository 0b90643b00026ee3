//! What stands in the target of a restore already, and what becomes of it.

use std::path::{Path, PathBuf};

use keyhaven::{BackupOptions, RestoreError, RestoreOptions, Restored, Tier};
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
    let world = OnDisk::new();
    for day in ["first", "second"] {
        world
            .app
            .execute("UPDATE message SET text = ?1 WHERE id % 7 = 0", [day])
            .unwrap();
        settle();
        let options = BackupOptions {
            tier,
            ..BackupOptions::default()
        };
        world.haven().backup(options, &mut ()).unwrap();
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
