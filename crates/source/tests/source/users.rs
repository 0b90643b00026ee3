//! Who has a database open.

use std::fs;
use std::path::Path;

use keyhaven_source::user_of;
use rusqlite::Connection;

use crate::peer::Peer;
use crate::world::{Make, listing_without_index, make};

/// The process that is told to have it open.
fn user(path: &Path) -> Option<u32> {
    let before = listing_without_index(path.parent().unwrap());
    let user = user_of(path).unwrap();
    assert_eq!(listing_without_index(path.parent().unwrap()), before);
    user.map(|user| {
        assert!(user.program.is_some());
        user.process.unwrap()
    })
}

fn is_free(path: &Path) {
    assert_eq!(user(path), None);
}

/// A program that may write to a database is told, whatever it does at the moment; one that has closed it, or died, is not.
#[test]
fn a_program_that_has_a_database_open_is_told() {
    for journal in ["wal", "delete", "truncate"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        drop(make(
            &path,
            Make {
                journal,
                rows: 20,
                ..Make::default()
            },
        ));
        is_free(&path);
        let mut peer = Peer::open(&path);
        let process = Some(peer.process());
        assert_eq!(user(&path), process, "{journal}: opened");
        peer.must("UPDATE message SET body='new'");
        assert_eq!(user(&path), process, "{journal}: idle");
        peer.must("BEGIN IMMEDIATE");
        peer.must("UPDATE message SET body='newer'");
        assert_eq!(user(&path), process, "{journal}: writing");
        peer.must("COMMIT");
        peer.close();
        is_free(&path);
        let mut peer = Peer::open(&path);
        peer.must("UPDATE message SET body='last'");
        peer.kill();
        is_free(&path);
    }
}

/// Where the system does not say who has which file open, SQLite's locks do, with a log for as long as it is open.
#[test]
fn a_lock_tells_of_a_program_whose_files_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(&path, Make::default()));
    let mut peer = Peer::open(&path);
    peer.must("UPDATE message SET body='new'");
    // Under another name: what is open is looked for by its name.
    let other = folder.path().join("other.db");
    fs::hard_link(&path, &other).unwrap();
    assert_eq!(user(&other), Some(peer.process()));
    // The database is gone, and the log that stays is in use.
    fs::remove_file(&other).unwrap();
    fs::rename(&path, &other).unwrap();
    assert_eq!(user(&path), Some(peer.process()));
    peer.close();
    is_free(&path);
}

/// Who only reads a file loses nothing when it is replaced, and names that are only alike are other files.
#[test]
fn a_reader_of_its_bytes_and_a_neighbour_are_no_users() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(&path, Make::default()));
    let reader = fs::File::open(&path).unwrap();
    let neighbour = fs::File::create(folder.path().join("chat.db2")).unwrap();
    is_free(&path);
    drop((reader, neighbour));
    is_free(&folder.path().join("nothing.db"));
    is_free(&folder.path().join("x".repeat(255)));
}

/// A program that embeds this and has its own database open is told of itself, and keeps its locks.
#[test]
fn a_program_is_told_of_its_own_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let own = make(&path, Make::default());
    own.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = user_of(&path).unwrap().unwrap();
    assert_eq!(told.process, Some(std::process::id()));
    let mut peer = Peer::open(&path);
    assert!(peer.run("BEGIN IMMEDIATE").contains("locked"));
    own.execute_batch("COMMIT").unwrap();
    peer.must("BEGIN IMMEDIATE");
    drop::<Connection>(own);
}
