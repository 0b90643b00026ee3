//! Programs that have a database open in ways that leave no room for a reader.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use keyhaven_secrets::Remedy;
use keyhaven_source::{
    Content, DatabaseError, Image, Item, LiveDatabase, OpaqueDatabase, PageSize, PageSource,
    ReadBy, Rules, walk,
};

use crate::peer::Peer;
use crate::world::{
    Make, Spool, brief, check, listing, listing_without_index, make, read, read_from,
};

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

fn opaque(path: &Path) -> Result<(Image, Vec<u8>), DatabaseError> {
    read_from(&mut OpaqueDatabase::at(path).with_patience(brief()))
}

/// BACKUP-1: a database that cannot be understood is read as any other, closed, in use, and after its program died.
/// SQLite files serve as stand-ins for encrypted ones here: the bytes of their pages are not looked at.
#[test]
fn an_encrypted_database_is_read_whoever_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signal.sqlite");
    drop(make(&path, Make::default()));
    let closed = fs::read(&path).unwrap();
    let before = listing(folder.path());
    let (image, bytes) = opaque(&path).unwrap();
    assert_eq!((image.by, &bytes), (ReadBy::Files, &closed));
    assert_eq!(listing(folder.path()), before);

    // A program that has only read: its log is empty, and the index says nothing of pages.
    let mut peer = Peer::open(&path);
    peer.must("SELECT count(*) FROM message");
    let (image, bytes) = opaque(&path).unwrap();
    assert_eq!((image.by, &bytes), (ReadBy::Member, &closed));

    peer.must("UPDATE message SET body='new'");
    let before = listing_without_index(folder.path());
    let (image, bytes) = opaque(&path).unwrap();
    assert_eq!(image.by, ReadBy::Member);
    assert_eq!(bytes, crate::world::image_by_sqlite(&path));
    assert_ne!(bytes, closed);
    assert_eq!(listing_without_index(folder.path()), before);
    // What is not committed is not there.
    peer.must("BEGIN IMMEDIATE");
    peer.must("PRAGMA cache_spill=1");
    peer.must("UPDATE message SET body=hex(randomblob(400))");
    assert_eq!(opaque(&path).unwrap().1, bytes);
    peer.must("COMMIT");
    let (_, bytes) = opaque(&path).unwrap();
    assert_eq!(bytes, crate::world::image_by_sqlite(&path));
    peer.kill();
    // What the killed program committed to its log is part of the state, with or without a key.
    let (image, bytes) = opaque(&path).unwrap();
    assert_eq!(image.by, ReadBy::Files);
    assert_eq!(bytes, crate::world::image_by_sqlite(&path));
}

/// BACKUP-1: while it is read beside a program, nothing that the program does takes a page of its commit away: more
/// commits, checkpoints of every kind, the log begun anew if it could.
#[test]
fn an_encrypted_database_keeps_its_commit_while_it_is_read() {
    for kind in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signal.sqlite");
        drop(make(
            &path,
            Make {
                rows: 600,
                ..Make::default()
            },
        ));
        let mut peer = Peer::open(&path);
        peer.must("UPDATE message SET body='first' WHERE id < 50");
        let committed = crate::world::image_by_sqlite(&path);
        let mut at = |page: u32| {
            if matches!(page, 1 | 10 | 30) {
                peer.must("UPDATE message SET body = body || ' changed', thumb=randomblob(200)");
                // It may be told that the database is busy.
                peer.run(&format!("PRAGMA wal_checkpoint({kind})"));
            }
        };
        let mut spool = Spool {
            at: Some(&mut at),
            ..Spool::default()
        };
        let image = OpaqueDatabase::at(&path).read_pages(&mut spool).unwrap();
        let bytes = std::mem::take(&mut spool.bytes);
        assert_eq!((image.by, spool.begun), (ReadBy::Member, 1), "{kind}");
        assert!(bytes == committed, "{kind}: another state");
        drop(spool);
        // And it stands in nobody's way afterwards.
        peer.must("PRAGMA wal_checkpoint(TRUNCATE)");
        let log = fs::metadata(folder.path().join("signal.sqlite-wal")).unwrap();
        assert_eq!(log.len(), 0, "{kind}: the log could not be begun anew");
        let (_, bytes) = opaque(&path).unwrap();
        assert_eq!(bytes, fs::read(&path).unwrap());
    }
}

#[test]
fn an_encrypted_database_in_a_change_is_locked_and_a_half_made_change_is_refused() {
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
    assert_eq!(opaque(&path).unwrap_err(), DatabaseError::Locked);
    peer.kill();
    assert_eq!(opaque(&path).unwrap_err(), DatabaseError::HotJournal);
}

/// Where no log tells the size of the pages, a file is cut as it was before, or as SQLCipher would; and nothing is
/// made of a file that is no whole number of pages.
#[test]
fn an_encrypted_file_is_cut_into_pages_and_nothing_is_added_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.db");
    for (size, before, cut) in [
        (65_536, None, 4096),
        (65_536, Some(1024), 1024),
        (65_536, Some(8192), 8192),
        (12_288, Some(8192), 4096),
        (5_120, None, 1024),
        (512, None, 512),
    ] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n * 31 % 251) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let mut spool = Spool::default();
        let image = OpaqueDatabase::at(&path)
            .cut_as(before.and_then(PageSize::new))
            .read_pages(&mut spool)
            .unwrap();
        assert_eq!(image.shape.page_size.bytes(), cut, "{size}");
        assert_eq!(spool.bytes, bytes, "{size}");
    }
    for size in [1, 511, 65_537] {
        fs::write(&path, vec![7; size]).unwrap();
        assert_eq!(opaque(&path).unwrap_err(), DatabaseError::NotADatabase);
        let mut items = walk(folder.path(), &Rules::default()).unwrap();
        let Some(Item::Regular(regular)) = items.next() else {
            panic!("no file")
        };
        assert_eq!(regular.content(), Ok(Content::File), "{size}");
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

/// BACKUP-1: the same for a database whose pages cannot be understood. One whose program came and went is read anew
/// from its files.
#[test]
fn a_program_that_comes_while_an_encrypted_database_is_read_is_noticed() {
    for (state, folder) in quiet_states() {
        for leave in [Leave::Stays, Leave::Closes, Leave::Dies] {
            let path = folder.path().join("chat.db");
            let (mut came, mut stays) = (false, None);
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
            let image = OpaqueDatabase::at(&path).read_pages(&mut spool).unwrap();
            let bytes = std::mem::take(&mut spool.bytes);
            assert_eq!(spool.begun, 2, "{state}, {leave:?}");
            drop(spool);
            assert!(came);
            let by = match leave {
                Leave::Stays => ReadBy::Member,
                Leave::Closes | Leave::Dies => ReadBy::Files,
            };
            assert_eq!(image.by, by, "{state}, {leave:?}");
            let changed: i64 = check(&bytes)
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
            // Late enough, there is nobody any more to be told.
            let _ = done.send(());
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

/// BACKUP-1: who copies over a database takes no lock, and who has it by another name keeps its log there. What is read meanwhile
/// is no state.
#[test]
fn a_database_that_is_written_over_while_it_is_read_is_never_a_mixture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(&path, Make::default()));
    let older = fs::read(&path).unwrap();
    let ends = [4095, older.len() - 1];
    let opaque = OpaqueDatabase::at(&path).with_patience(brief());
    let live = LiveDatabase::at(&path).with_patience(brief());
    let sources: [Box<dyn PageSource>; 2] = [Box::new(live), Box::new(opaque)];
    for mut source in sources {
        for times in [1, u32::MAX] {
            fs::write(&path, &older).unwrap();
            let over = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let mut left = times;
            // The first page was read before.
            let mut write = |number| {
                if number == 2 && left > 0 {
                    left -= 1;
                    for at in ends {
                        over.write_all_at(&[older[at] ^ 1], at as u64).unwrap();
                    }
                }
            };
            let mut spool = Spool {
                at: Some(&mut write),
                ..Spool::default()
            };
            let read = source.read_pages(&mut spool);
            let bytes = std::mem::take(&mut spool.bytes);
            if times == 1 {
                read.unwrap();
                assert_eq!(bytes, fs::read(&path).unwrap());
            } else {
                assert_eq!(read.err(), Some(DatabaseError::Changed));
            }
        }
    }
}
