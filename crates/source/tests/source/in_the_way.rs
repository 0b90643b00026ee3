//! Programs that have a database open in ways that leave no room for a reader.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use keyhaven_secrets::Remedy;
use keyhaven_source::{
    Content, DatabaseError, Item, LiveDatabase, PageSource, ReadBy, Rules, read_opaque, walk,
};

use crate::peer::Peer;
use crate::world::{Make, Spool, brief, check, listing, make, read};

/// The wait for a lock is bounded, and its end has a name.
#[test]
fn a_database_that_stays_locked_is_a_refusal() {
    for journal in ["wal", "delete"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        drop(make(
            &path,
            Make {
                journal,
                ..Make::default()
            },
        ));
        let mut peer = Peer::open(&path);
        peer.must("PRAGMA locking_mode=exclusive");
        peer.must("UPDATE message SET body='mine alone'");
        let began = Instant::now();
        let error = read(&path).unwrap_err();
        assert_eq!(
            (error, error.remedy()),
            (DatabaseError::Locked, Remedy::RetryLater)
        );
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        peer.close();
        check(&read(&path).unwrap().1);
    }
}

/// A lock that is let go in time is waited for.
#[test]
fn a_short_lock_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(
        &path,
        Make {
            journal: "delete",
            ..Make::default()
        },
    ));
    let mut peer = Peer::open(&path);
    peer.must("BEGIN EXCLUSIVE");
    let waiting = std::thread::spawn(move || {
        let image = LiveDatabase::at(&path).read_pages(&mut Spool::default());
        image.map(|image| image.shape.page_count)
    });
    std::thread::sleep(Duration::from_millis(60));
    peer.must("COMMIT");
    assert!(waiting.join().unwrap().unwrap() > 2);
}

fn opaque(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    let mut bytes = Vec::new();
    read_opaque(path, brief(), &mut |part| {
        bytes.extend_from_slice(part);
        ControlFlow::Continue(())
    })?;
    Ok(bytes)
}

/// BACKUP-1: a database that cannot be understood is copied only while nobody has it open. SQLite
/// files serve as stand-ins for encrypted ones here: the bytes of their pages are not looked at.
#[test]
fn an_encrypted_database_is_copied_only_while_nobody_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signal.sqlite");
    drop(make(&path, Make::default()));
    let closed = fs::read(&path).unwrap();
    let before = listing(folder.path());
    assert_eq!(opaque(&path).unwrap(), closed);
    assert_eq!(listing(folder.path()), before);

    let mut peer = Peer::open(&path);
    peer.must("UPDATE message SET body='new'");
    assert_eq!(opaque(&path).unwrap_err(), DatabaseError::InUse);
    assert_eq!(DatabaseError::InUse.remedy(), Remedy::AskUser);
    peer.kill();
    // What the killed program committed to its log is part of the state, with or without a key.
    let bytes = opaque(&path).unwrap();
    assert_eq!(bytes, crate::world::image_by_sqlite(&path));
    assert_ne!(bytes, closed);
}

#[test]
fn an_encrypted_database_in_a_change_is_in_use_and_a_half_made_change_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signal.sqlite");
    drop(make(
        &path,
        Make {
            journal: "delete",
            ..Make::default()
        },
    ));
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA cache_size=5");
    peer.must("BEGIN EXCLUSIVE");
    peer.must("UPDATE message SET body=hex(randomblob(50))");
    assert_eq!(opaque(&path).unwrap_err(), DatabaseError::InUse);
    peer.kill();
    assert_eq!(opaque(&path).unwrap_err(), DatabaseError::HotJournal);
}

/// BACKUP-1: whether an encrypted database changed is told by its main file only while no log stands
/// beside it.
#[test]
fn an_encrypted_database_with_a_log_never_counts_as_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let mut noise = vec![0; 8192];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    fs::write(&path, noise).unwrap();
    let listed = || {
        let mut items = walk(folder.path(), &Rules::default()).unwrap();
        let Some(Item::Regular(regular)) = items.next() else {
            panic!("no file")
        };
        assert_eq!(regular.content(), Ok(Content::Opaque));
        regular
    };
    std::thread::sleep(Duration::from_millis(70));
    let remembered = read_opaque(&path, brief(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(listed().is_unchanged_plain_file(&remembered));
    assert!(listed().stat().is_unchanged_since(&remembered));
    fs::write(
        folder.path().join("db.sqlite-wal"),
        [0x37, 0x7f, 0x06, 0x82, 1, 2, 3],
    )
    .unwrap();
    assert!(!listed().is_unchanged_plain_file(&remembered));
    assert!(!listed().stat().is_unchanged_since(&remembered));
    std::thread::sleep(Duration::from_millis(70));
    let remembered = read_opaque(&path, brief(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(!listed().stat().is_unchanged_since(&remembered));
    fs::remove_file(folder.path().join("db.sqlite-wal")).unwrap();
    assert!(!listed().stat().is_unchanged_since(&remembered));
}

/// A file of any size is copied to its last byte.
#[test]
fn an_opaque_file_need_not_be_made_of_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.db");
    for size in [0, 1, 511, 65_536, 65_537, 300_000] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n * 31 % 251) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(opaque(&path).unwrap(), bytes, "{size}");
    }
}

/// The states in which a database that nobody has open is read from its files.
fn quiet_states() -> Vec<(&'static str, tempfile::TempDir)> {
    ["closed", "log without index", "log with idle index"]
        .into_iter()
        .map(|state| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("chat.db");
            drop(make(
                &path,
                Make {
                    rows: 600,
                    ..Make::default()
                },
            ));
            if state != "closed" {
                let mut peer = Peer::open(&path);
                peer.must("UPDATE message SET body='first' WHERE id < 50");
                peer.kill();
            }
            if state == "log without index" {
                fs::remove_file(folder.path().join("chat.db-shm")).unwrap();
            }
            (state, folder)
        })
        .collect()
}

/// BACKUP-1: a program that comes while the files are read, and writes into pages that were and
/// that were not yet read, is noticed, and the image is read anew beside it.
#[test]
fn a_program_that_comes_while_the_files_are_read_is_noticed() {
    for (state, folder) in quiet_states() {
        for leave in [Leave::Stays, Leave::Closes, Leave::Dies] {
            let path = folder.path().join("chat.db");
            let mut came = false;
            let mut stays = None;
            let mut at = |page: u32| {
                if page == 12 && !came {
                    came = true;
                    let mut peer = Peer::open(&path);
                    peer.must(
                        "UPDATE message SET body = body || ' changed', thumb=randomblob(200)",
                    );
                    peer.must("PRAGMA wal_checkpoint(PASSIVE)");
                    match leave {
                        Leave::Stays => stays = Some(peer),
                        Leave::Closes => peer.close(),
                        Leave::Dies => peer.kill(),
                    }
                }
            };
            let mut spool = Spool {
                at: Some(&mut at),
                ..Spool::default()
            };
            let image = LiveDatabase::at(&path).read_pages(&mut spool).unwrap();
            let bytes = std::mem::take(&mut spool.bytes);
            let begun = spool.begun;
            drop(spool);
            assert!(came);
            assert_eq!(
                (begun, image.by),
                (2, ReadBy::Transaction),
                "{state}, {leave:?}"
            );
            let database = check(&bytes);
            let changed: i64 = database
                .query_row(
                    "SELECT count(*) FROM message WHERE body LIKE '%changed'",
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(changed, 600, "{state}, {leave:?}");
            drop(stays);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    Stays,
    Closes,
    Dies,
}

/// BACKUP-1: the same for a database whose pages cannot be understood: there the copy is refused.
#[test]
fn a_program_that_comes_while_an_encrypted_database_is_copied_is_noticed() {
    for (state, folder) in quiet_states() {
        let path = folder.path().join("chat.db");
        let mut came = false;
        let copied = read_opaque(&path, brief(), &mut |_| {
            if !came {
                came = true;
                let mut peer = Peer::open(&path);
                peer.must("UPDATE message SET body = body || ' changed'");
                peer.close();
            }
            ControlFlow::Continue(())
        });
        assert_eq!(copied.unwrap_err(), DatabaseError::Changed, "{state}");
    }
}

/// Closing any descriptor of a file drops the locks that this process has on it. So nothing in this
/// crate opens a database while another thread reads it: it waits.
#[test]
fn a_second_look_waits_for_the_first_reader_of_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(&path, Make::default()));
    let mut peer = Peer::open(&path);
    peer.must("UPDATE message SET body='new' WHERE id=1");
    std::thread::scope(|threads| {
        let (begun, second) = std::sync::mpsc::channel();
        let (done, finished) = std::sync::mpsc::channel();
        let mut at = |page: u32| {
            if page == 3 {
                begun.send(()).unwrap();
                // Long enough for the other thread to look, if it would.
                std::thread::sleep(Duration::from_millis(60));
                assert!(finished.try_recv().is_err(), "looked at while it was read");
                peer.must("PRAGMA wal_checkpoint(PASSIVE)");
            }
        };
        let looked = &path;
        threads.spawn(move || {
            second.recv().unwrap();
            keyhaven_source::Signature::take(looked, brief()).unwrap();
            done.send(()).unwrap();
        });
        let mut spool = Spool {
            at: Some(&mut at),
            ..Spool::default()
        };
        let image = LiveDatabase::at(&path).read_pages(&mut spool).unwrap();
        assert_eq!(image.by, ReadBy::Transaction);
        check(&spool.bytes);
    });
}
