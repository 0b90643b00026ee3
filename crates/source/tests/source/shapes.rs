//! BACKUP-1: databases of every shape give the image that SQLite itself would write.

use std::fs;
use std::path::Path;

use keyhaven_source::{
    ConnectionPages, DatabaseError, LiveDatabase, PageSource, ReadBy, Signature,
};
use rusqlite::Connection;

use crate::peer::Peer;
use crate::world::{Make, Spool, brief, check, fill, image_by_sqlite, make, read};

const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/// Reads the database in each of the states that it passes through while it is used, and compares.
fn compare_in_every_state(shape: Make) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(&path, shape));
    let (image, closed) = read(&path).unwrap();
    assert_eq!(image.by, ReadBy::Files);
    assert_eq!(image.shape.page_size.bytes(), shape.page_size);
    assert_eq!(closed, image_by_sqlite(&path), "closed {shape:?}");
    check(&closed);

    let mut peer = Peer::open(&path);
    peer.must("PRAGMA wal_autocheckpoint=0");
    peer.must("UPDATE message SET body = body || ' edited' WHERE id % 3 = 0");
    peer.must("DELETE FROM receipt WHERE message % 2 = 0");
    let (image, live) = read(&path).unwrap();
    let by = if shape.journal == "wal" {
        ReadBy::Transaction
    } else {
        ReadBy::Files
    };
    assert_eq!(image.by, by);
    assert_eq!(live, image_by_sqlite(&path), "in use {shape:?}");
    assert_ne!(live, closed);
    check(&live);

    // What is not committed does not show.
    peer.must("BEGIN IMMEDIATE");
    peer.must("DELETE FROM message WHERE id < 100");
    assert_eq!(read(&path).unwrap().1, live, "within a change {shape:?}");
    peer.must("COMMIT");
    assert_ne!(read(&path).unwrap().1, live);

    peer.kill();
    let (image, killed) = read(&path).unwrap();
    assert_eq!(image.by, ReadBy::Files);
    assert_eq!(killed, image_by_sqlite(&path), "after a kill {shape:?}");
    check(&killed);
}

#[test]
fn every_page_size_with_a_log() {
    for page_size in PAGE_SIZES {
        compare_in_every_state(Make {
            page_size,
            ..Make::default()
        });
    }
}

#[test]
fn every_page_size_with_a_journal() {
    for page_size in PAGE_SIZES {
        compare_in_every_state(Make {
            page_size,
            journal: "delete",
            ..Make::default()
        });
    }
}

#[test]
fn journals_that_stay_and_pages_that_move() {
    for journal in ["persist", "truncate"] {
        compare_in_every_state(Make {
            journal,
            ..Make::default()
        });
    }
    for auto_vacuum in ["full", "incremental"] {
        compare_in_every_state(Make {
            auto_vacuum,
            ..Make::default()
        });
        compare_in_every_state(Make {
            auto_vacuum,
            journal: "delete",
            ..Make::default()
        });
    }
}

/// Some extensions keep bytes at the end of each page for themselves (header byte 20).
#[test]
fn bytes_reserved_in_each_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reserved.db");
    // An empty database whose one page is then told to reserve 32 bytes: the content of its table
    // begins where the usable part ends (bytes 105 and 106).
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version=1")
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] = 32;
    bytes[105..107].copy_from_slice(&(4096_u16 - 32).to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let database = Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA journal_mode=wal").unwrap();
    database.execute_batch(crate::world::SCHEMA).unwrap();
    fill(&database, 0, 200);
    drop(database);
    let (_, image) = read(&path).unwrap();
    assert_eq!(image[20], 32);
    assert_eq!(image, image_by_sqlite(&path));
    check(&image);
}

/// A database may change all of its pages, their number and their size between two reads.
#[test]
fn vacuum_and_another_page_size_between_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let database = make(&path, Make::default());
    database
        .execute_batch("DELETE FROM message WHERE id % 2 = 0")
        .unwrap();
    drop(database);
    let (before, _) = read(&path).unwrap();

    Connection::open(&path)
        .unwrap()
        .execute_batch("VACUUM")
        .unwrap();
    let (vacuumed, image) = read(&path).unwrap();
    assert!(vacuumed.shape.page_count < before.shape.page_count);
    assert_eq!(image, image_by_sqlite(&path));

    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "PRAGMA journal_mode=delete; PRAGMA page_size=1024; VACUUM; PRAGMA journal_mode=wal",
        )
        .unwrap();
    let (resized, image) = read(&path).unwrap();
    assert_eq!(resized.shape.page_size.bytes(), 1024);
    assert_eq!(image, image_by_sqlite(&path));
    check(&image);
}

/// BACKUP-1: what lies behind the last page, as a program that died while it grew the file leaves
/// it, is no part of the database.
#[test]
fn bytes_behind_the_last_page_are_left_out() {
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
        let (_, exact) = read(&path).unwrap();
        let longer = [exact.as_slice(), &[7; 2 * 4096 + 100]].concat();
        fs::write(&path, longer).unwrap();
        assert_eq!(read(&path).unwrap().1, exact);
        let mut peer = Peer::open(&path);
        peer.must("SELECT count(*) FROM message");
        assert_eq!(read(&path).unwrap().1, exact);
    }
}

/// A database in which nothing was ever committed has no pages, and its file no bytes.
#[test]
fn an_empty_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    fs::write(&path, "").unwrap();
    let (image, bytes) = read(&path).unwrap();
    assert_eq!(
        (image.by, image.shape.page_count, bytes.len()),
        (ReadBy::Nothing, 0, 0)
    );
    // A program is about to make its first commit.
    let mut peer = Peer::open(&path);
    peer.must("BEGIN IMMEDIATE");
    peer.must("CREATE TABLE t(x)");
    assert_eq!(read(&path).unwrap().0.shape.page_count, 0);
    peer.must("COMMIT");
    assert_eq!(read(&path).unwrap().0.shape.page_count, 2);
}

/// SQLite deletes the log beside an empty file as a leftover. We neither do that nor lose it
/// silently.
#[test]
fn an_empty_file_beside_a_log_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA journal_mode=wal");
    peer.must("CREATE TABLE t(x)");
    peer.kill();
    fs::write(&path, "").unwrap();
    let before = crate::world::listing(folder.path());
    assert_eq!(read(&path).unwrap_err(), DatabaseError::EmptyWithLog);
    assert_eq!(crate::world::listing(folder.path()), before);
}

/// A program supplies the pages of a database that it has open itself, through its own connection.
#[test]
fn a_program_supplies_pages_from_its_own_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.db");
    let database = make(&path, Make::default());
    let mut spool = Spool::default();
    let image = ConnectionPages::new(&database)
        .read_pages(&mut spool)
        .unwrap();
    assert_eq!(
        (image.by, image.signature.is_none()),
        (ReadBy::Transaction, true)
    );
    check(&spool.bytes);

    // Within the program's own change the pages would show what is not committed.
    database
        .execute_batch("BEGIN; DELETE FROM message")
        .unwrap();
    let refused = ConnectionPages::new(&database).read_pages(&mut Spool::default());
    assert_eq!(refused.unwrap_err(), DatabaseError::InTransaction);
    database.execute_batch("ROLLBACK").unwrap();
    drop(database);
    assert_eq!(spool.bytes, image_by_sqlite(&path));
}

/// The sink can end a reading, and the transaction ends with it.
#[test]
fn a_reading_can_be_stopped() {
    struct Stop;
    impl keyhaven_source::PageSink for Stop {
        fn begin(&mut self, _: keyhaven_source::ImageShape) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Continue(())
        }
        fn page(&mut self, number: u32, _: &[u8]) -> std::ops::ControlFlow<()> {
            if number == 3 {
                std::ops::ControlFlow::Break(())
            } else {
                self.begin_again()
            }
        }
    }
    impl Stop {
        fn begin_again(&self) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Continue(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let database = make(&path, Make::default());
    let stopped = ConnectionPages::new(&database).read_pages(&mut Stop);
    assert_eq!(stopped.unwrap_err(), DatabaseError::Stopped);
    assert!(database.is_autocommit());
    drop(database);
    let stopped = LiveDatabase::at(&path)
        .with_patience(brief())
        .read_pages(&mut Stop);
    assert_eq!(stopped.unwrap_err(), DatabaseError::Stopped);
    let mut peer = Peer::open(&path);
    peer.must("UPDATE message SET body=''");
    let stopped = LiveDatabase::at(&path)
        .with_patience(brief())
        .read_pages(&mut Stop);
    assert_eq!(stopped.unwrap_err(), DatabaseError::Stopped);
    peer.must("PRAGMA locking_mode=exclusive; UPDATE message SET body='x'");
}

/// Also where the pages lie beyond the one that holds SQLite's locks. The file is sparse.
#[test]
fn the_page_that_holds_the_locks_is_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA page_size=65536; CREATE TABLE t(x)")
        .unwrap();
    // 16,385 pages of 64 KiB reach into the page after 1 GiB; all beyond the second are free.
    let mut head = fs::read(&path).unwrap();
    head[28..32].copy_from_slice(&16_386_u32.to_be_bytes());
    fs::write(&path, head).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(16_386 * 65_536)
        .unwrap();
    let (shape, last) = last_page(&path);
    assert_eq!((shape, last), (16_386, 16_386));
}

fn last_page(path: &Path) -> (u32, u32) {
    struct Last(u32, u32);
    impl keyhaven_source::PageSink for Last {
        fn begin(&mut self, shape: keyhaven_source::ImageShape) -> std::ops::ControlFlow<()> {
            self.0 = shape.page_count;
            std::ops::ControlFlow::Continue(())
        }
        fn page(&mut self, number: u32, bytes: &[u8]) -> std::ops::ControlFlow<()> {
            assert_eq!(number, self.1 + 1);
            assert!(number < 3 || bytes.iter().all(|byte| *byte == 0));
            self.1 = number;
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut last = Last(0, 0);
    let image = LiveDatabase::at(path).read_pages(&mut last).unwrap();
    assert!(Signature::BYTES_MAX >= image.signature.unwrap().encode().len());
    (last.0, last.1)
}
