//! Databases that nobody has open are read without a trace: no byte changes, no file appears.

use std::fs;

use keyhaven_source::{DatabaseError, OpaqueDatabase, ReadBy};
use rusqlite::Connection;

use crate::peer::Peer;
use crate::world::{
    Make, check, image_by_sqlite, listing, listing_without_index, make, read, read_from,
};

/// BACKUP-1: whatever state a database was left in, reading it leaves that state.
#[test]
fn reading_leaves_no_trace_and_changes_no_byte() {
    for journal in ["wal", "delete", "persist", "truncate"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        drop(make(
            &path,
            Make {
                journal,
                ..Make::default()
            },
        ));
        let closed = listing(folder.path());
        read(&path).unwrap();
        assert_eq!(listing(folder.path()), closed, "closed, {journal}");

        let mut peer = Peer::open(&path);
        peer.must("UPDATE message SET body='x' WHERE id=7");
        let open = listing_without_index(folder.path());
        read(&path).unwrap();
        assert_eq!(
            listing_without_index(folder.path()),
            open,
            "open, {journal}"
        );

        peer.kill();
        let killed = listing(folder.path());
        let (_, image) = read(&path).unwrap();
        assert_eq!(listing(folder.path()), killed, "killed, {journal}");
        check(&image);
    }
}

/// BACKUP-1: a log without its index, as a copy from a phone has it, is laid over the main file.
#[test]
fn a_log_without_its_index_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA journal_mode=wal");
    peer.must("PRAGMA wal_autocheckpoint=0");
    peer.must("CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    peer.must("INSERT INTO t VALUES(1, randomblob(20000))");
    peer.must("INSERT INTO t VALUES(2, randomblob(20000))");
    peer.kill();
    fs::remove_file(folder.path().join("chat.db-shm")).unwrap();
    let before = listing(folder.path());
    let (image, bytes) = read(&path).unwrap();
    assert_eq!(image.by, ReadBy::Files);
    assert_eq!(listing(folder.path()), before);
    assert_eq!(bytes, image_by_sqlite(&path));
    let rows: i64 = check(&bytes)
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 2);
}

/// BACKUP-1: a log that is cut off anywhere, or damaged anywhere, counts exactly as far as it does
/// for SQLite.
#[test]
fn a_torn_log_counts_as_far_as_sqlite_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let log = folder.path().join("chat.db-wal");
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA page_size=1024");
    peer.must("PRAGMA journal_mode=wal");
    peer.must("CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    for _ in 0..6 {
        peer.must("INSERT INTO t(x) VALUES(randomblob(2500))");
    }
    peer.kill();
    let _ = fs::remove_file(folder.path().join("chat.db-shm"));
    let whole = fs::read(&log).unwrap();
    let mut lengths: Vec<usize> = (0..whole.len()).step_by(401).collect();
    lengths.extend([31, 32, 33, 55, 56, 32 + 1048, whole.len()]);
    for length in lengths {
        fs::write(&log, &whole[..length]).unwrap();
        assert_eq!(
            read(&path).unwrap().1,
            image_by_sqlite(&path),
            "cut to {length}"
        );
    }
    for at in (0..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&log, &damaged).unwrap();
        let expected = image_by_sqlite(&path);
        assert_eq!(read(&path).unwrap().1, expected, "damaged at {at}");
    }
}

/// Makes a log's checksums those of a machine of the other byte order, and right.
fn sum_in_big_endian(log: &mut [u8]) {
    let page = 4096;
    let sum = |sum: (u32, u32), bytes: &[u8]| {
        bytes.chunks_exact(8).fold(sum, |(a, b), pair| {
            let word = |at: usize| u32::from_be_bytes(pair[at..at + 4].try_into().unwrap());
            let a = a.wrapping_add(word(0)).wrapping_add(b);
            (a, b.wrapping_add(word(4)).wrapping_add(a))
        })
    };
    let put = |at: &mut [u8], sum: (u32, u32)| {
        at[..4].copy_from_slice(&sum.0.to_be_bytes());
        at[4..8].copy_from_slice(&sum.1.to_be_bytes());
    };
    log[3] = 0x83;
    let mut running = sum((0, 0), &log[..24]);
    put(&mut log[24..32], running);
    for frame in log[32..].chunks_exact_mut(24 + page) {
        running = sum(running, &frame[..8]);
        running = sum(running, &frame[24..]);
        put(&mut frame[16..24], running);
    }
}

/// A log of another byte order, as another machine would write it, is understood.
#[test]
fn a_log_with_big_endian_checksums_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let log = folder.path().join("chat.db-wal");
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA journal_mode=wal");
    peer.must("CREATE TABLE t(x)");
    peer.must("INSERT INTO t VALUES(randomblob(9000))");
    peer.kill();
    fs::remove_file(folder.path().join("chat.db-shm")).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    sum_in_big_endian(&mut bytes);
    fs::write(&log, bytes).unwrap();
    let (_, image) = read(&path).unwrap();
    assert_eq!(image, image_by_sqlite(&path));
    let rows: i64 = check(&image)
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
}

/// A log says how large its database is. One that claims pages of which there is nothing anywhere would have terabytes
/// read for a few bytes.
#[test]
fn a_log_that_claims_a_terabyte_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let log = folder.path().join("chat.db-wal");
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA journal_mode=wal");
    peer.must("CREATE TABLE t(x)");
    peer.must("INSERT INTO t VALUES(randomblob(9000))");
    peer.kill();
    fs::remove_file(folder.path().join("chat.db-shm")).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.len() - (24 + 4096);
    let pages = u32::from_be_bytes(bytes[last + 4..last + 8].try_into().unwrap());
    for claimed in [pages, 1 << 28] {
        bytes[last + 4..last + 8].copy_from_slice(&claimed.to_be_bytes());
        sum_in_big_endian(&mut bytes);
        fs::write(&log, &bytes).unwrap();
        let opaque = read_from(&mut OpaqueDatabase::at(&path));
        if claimed == pages {
            assert_eq!(opaque.unwrap().1, image_by_sqlite(&path));
        } else {
            assert_eq!(opaque.unwrap_err(), DatabaseError::Corrupt);
        }
    }
}

/// A program that died in the middle of a change left pages that belong to no commit. Undoing that
/// is a change of the source, and is its own program's to make.
#[test]
fn a_hot_journal_is_a_refusal_and_stays_as_it_is() {
    for journal in ["delete", "persist", "truncate"] {
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
        peer.must(&format!("PRAGMA journal_mode={journal}"));
        peer.must("PRAGMA cache_size=5");
        peer.must("BEGIN IMMEDIATE");
        peer.must("UPDATE message SET body=hex(randomblob(50))");
        // The small cache has spilled: the main file holds pages of a change that never ends.
        let error = read(&path).unwrap_err();
        assert_eq!(error, DatabaseError::Locked, "{journal}");
        peer.kill();
        let before = listing(folder.path());
        assert_eq!(
            read(&path).unwrap_err(),
            DatabaseError::HotJournal,
            "{journal}"
        );
        assert_eq!(listing(folder.path()), before, "{journal}");
        // Its own program opens it, and all is well again.
        let rows: i64 = Connection::open(&path)
            .unwrap()
            .query_row(
                "SELECT count(*) FROM message WHERE body LIKE 'message%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(rows, 300);
        check(&read(&path).unwrap().1);
    }
}

/// A file that is cut off or whose header says nonsense is a damaged database, not a shorter one.
#[test]
fn a_damaged_database_is_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(
        &path,
        Make {
            journal: "delete",
            ..Make::default()
        },
    ));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 4096]).unwrap();
    assert_eq!(read(&path).unwrap_err(), DatabaseError::Corrupt);
    fs::write(&path, &whole[..60]).unwrap();
    assert_eq!(read(&path).unwrap_err(), DatabaseError::NotADatabase);
    let mut bad = whole.clone();
    bad[16..18].copy_from_slice(&[0x10, 0x01]);
    fs::write(&path, &bad).unwrap();
    assert_eq!(read(&path).unwrap_err(), DatabaseError::NotADatabase);
    fs::write(&path, b"no database at all").unwrap();
    assert_eq!(read(&path).unwrap_err(), DatabaseError::NotADatabase);
    fs::remove_file(&path).unwrap();
    assert_eq!(read(&path).unwrap_err(), DatabaseError::Vanished);
    fs::create_dir(&path).unwrap();
    assert_eq!(read(&path).unwrap_err(), DatabaseError::Vanished);
}
