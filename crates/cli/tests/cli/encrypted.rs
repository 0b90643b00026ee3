//! The way of a person whose messenger encrypts its database, as Signal Desktop does, and is open all day.

use std::fs;
use std::time::Duration;

use crate::servers::{Cipher, Server};
use crate::world::World;

const SECRET: &str = "the messenger's own key";

/// BACKUP-1: backed up while the messenger writes, without its key, an encrypted database comes back as one of its
/// commits, and the messenger opens it. A day costs the pages that changed.
fn kept_while_its_messenger_writes(clear: u32, journal: &str) {
    let cipher = Cipher {
        secret: SECRET,
        clear,
    };
    let world = World::with_key();
    let database = world.at("chats/sql/db.sqlite");
    fs::create_dir(world.at("chats/sql")).unwrap();
    let messenger = Server::messenger(&database, cipher, journal);
    let mut counts = Vec::new();
    for number in 0..4 {
        let report = world.run("backup --home home --json").is(0).json();
        assert_eq!(report["outcome"], "complete", "{report}");
        let sent = report["sent_bytes"].as_u64().unwrap();
        if number > 0 {
            let whole = fs::metadata(&database).unwrap().len();
            assert!(sent * 2 < whole, "{sent} of {whole} bytes were sent again");
        }
        let back = format!("back{number}");
        world.run(&format!("restore --home home --to {back}")).is(0);
        let restored = world.at(&back).join("sql/db.sqlite");
        assert!(!restored.with_file_name("db.sqlite-wal").exists());
        counts.push(Server::messages(&restored, cipher));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    world
        .run("backup --home home --tier rows")
        .is(0)
        .says("it is encrypted: its rows cannot be seen");

    // Nothing is put in the place of a database into which the messenger writes.
    world
        .run("restore --home home --to chats --overwrite")
        .is(3)
        .says("chats/sql/db.sqlite is open in python")
        .says("close that program and run the restore again");

    // After the messenger was killed, what it committed to its log is there; then nothing changes any more.
    messenger.end();
    world.run("backup --home home").is(0);
    world.run("restore --home home --to last").is(0);
    let last = Server::messages(&world.at("last/sql/db.sqlite"), cipher);
    assert!(last > counts[3], "{last} after {counts:?}");
    std::thread::sleep(Duration::from_millis(200));
    world.run("backup --home home").is(0);
    let report = world.run("backup --home home --json").is(0).json();
    assert_eq!(report["outcome"], "unchanged", "{report}");
    assert_eq!(Server::messages(&database, cipher), last);

    // Closed in order, its file is the whole of it.
    world.run("backup --home home").is(0);
    world.run("restore --home home --to closed").is(0);
    let closed = fs::read(world.at("closed/sql/db.sqlite")).unwrap();
    assert!(closed == fs::read(&database).unwrap(), "other bytes");

    // A destroyed one does not take its place.
    let zeros = [&[0; 4096], &closed[4096..]].concat();
    fs::write(&database, zeros).unwrap();
    world
        .run("backup --home home")
        .is(5)
        .says("sql/db.sqlite")
        .says("give it another name");
    fs::write(&database, &closed).unwrap();
    world.run("backup --home home").is(0);
}

#[test]
fn an_encrypted_database_is_backed_up_while_its_messenger_writes() {
    kept_while_its_messenger_writes(0, "wal");
}

/// The same for one whose header is in the clear, as apps on iOS have it, and which looks like an SQLite database.
#[test]
fn an_encrypted_database_with_a_clear_header_is_backed_up_while_its_messenger_writes() {
    kept_while_its_messenger_writes(32, "wal");
}

#[test]
fn an_encrypted_database_with_a_journal_is_backed_up_while_its_messenger_writes() {
    kept_while_its_messenger_writes(0, "delete");
    kept_while_its_messenger_writes(32, "delete");
}
