//! What counts as unchanged.

use std::path::Path;
use std::time::Duration;

use keyhaven_source::{LiveDatabase, NotASignature, PageSource, Signature};

use crate::peer::Peer;
use crate::world::{Make, Spool, brief, make, soon_enough};

fn take(path: &Path) -> Signature {
    Signature::take(path, brief()).unwrap()
}

/// Longer than the granularity of time stamps.
fn settle() {
    std::thread::sleep(Duration::from_millis(70));
}

/// BACKUP-1: a commit to the log leaves the main file as it is, and is seen all the same.
#[test]
fn every_commit_is_seen_and_nothing_else() {
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
        let mut peer = Peer::open(&path);
        peer.must("UPDATE message SET body='a' WHERE id=1");
        settle();
        let mut seen;
        for turn in 0..10 {
            // Reading, by others and by us, is no change.
            peer.must("PRAGMA integrity_check");
            let image = LiveDatabase::at(&path)
                .read_pages(&mut Spool::default())
                .unwrap();
            seen = image.signature.unwrap();
            peer.must("SELECT count(*) FROM message");
            let now = take(&path);
            assert!(
                now.is_unchanged_since(&seen),
                "{journal} {turn}: {now:?}, was {seen:?}"
            );
            // A commit is one, even if it changes one byte and the log begins anew for it.
            if turn % 3 == 2 {
                peer.must("PRAGMA wal_checkpoint(RESTART)");
                settle();
                seen = take(&path);
            }
            peer.must(&format!("UPDATE message SET body='{turn}' WHERE id=1"));
            assert!(!take(&path).is_unchanged_since(&seen), "{journal} {turn}");
            settle();
        }
        peer.close();
        settle();
        let closed = take(&path);
        settle();
        assert!(take(&path).is_unchanged_since(&closed), "{journal} closed");
    }
}

/// Git's racy rule: what was touched a moment before it was looked at counts as changed.
#[test]
fn what_was_touched_just_now_counts_as_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(
        &path,
        Make {
            rows: 3,
            ..Make::default()
        },
    ));
    soon_enough(|| {
        let database = rusqlite::Connection::open(&path).unwrap();
        database
            .execute_batch("UPDATE message SET body='x'")
            .unwrap();
        drop(database);
        let fresh = take(&path);
        !fresh.is_unchanged_since(&fresh)
    });
    settle();
    let settled = take(&path);
    assert!(settled.is_unchanged_since(&settled));
}

/// The signature that comes with an image was taken before the image: what is committed while it
/// is read is found next time.
#[test]
fn a_commit_during_a_read_is_found_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(&path, Make::default()));
    let mut peer = Peer::open(&path);
    peer.must("UPDATE message SET body='a' WHERE id=1");
    settle();
    let mut at = |page: u32| {
        if page == 5 {
            peer.must("UPDATE message SET body='b' WHERE id=1");
        }
    };
    let mut spool = Spool {
        at: Some(&mut at),
        ..Spool::default()
    };
    let image = LiveDatabase::at(&path).read_pages(&mut spool).unwrap();
    assert!(!take(&path).is_unchanged_since(&image.signature.unwrap()));
}

#[test]
fn a_signature_is_kept_as_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    drop(make(
        &path,
        Make {
            rows: 3,
            ..Make::default()
        },
    ));
    let closed = take(&path);
    let mut peer = Peer::open(&path);
    peer.must("DELETE FROM message");
    let open = take(&path);
    for signature in [closed, open] {
        let bytes = signature.encode();
        assert!(bytes.len() <= Signature::BYTES_MAX);
        assert_eq!(Signature::decode(&bytes), Ok(signature));
        for cut in 0..bytes.len() {
            assert_eq!(Signature::decode(&bytes[..cut]), Err(NotASignature));
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(Signature::decode(&long), Err(NotASignature));
        for (at, value) in [(0, 2), (0, 0), (1, 16)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(Signature::decode(&other), Err(NotASignature));
        }
    }
}
