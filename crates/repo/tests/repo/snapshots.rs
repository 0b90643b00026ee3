//! Snapshots, the keyring in them, and the history they make: BACKUP-4, BACKUP-5, BACKUP-8.

use keyhaven_repo::keyring::{Keyring, KeyringError};
use keyhaven_repo::names::{Epoch, SnapshotDigest, SnapshotName, StoreId, WriterId};
use keyhaven_repo::snapshot::{
    Completeness, Freshness, History, Link, Note, OpenSnapshot, PartialReason, Predecessor,
    SealedSnapshot, Snapshot, SnapshotError, Totals,
};
use keyhaven_secrets::BackupKey;
use keyhaven_testkit::entropy::SeededEntropy;
use proptest::prelude::*;

use crate::world::{Memory, STORE, keyring};

fn backup_key() -> BackupKey {
    BackupKey::from_bytes([0x11; 32])
}

fn first() -> Snapshot {
    Snapshot {
        sequence: 1,
        writer: WriterId::from_bytes([4; 16]),
        predecessors: vec![],
        device_time_s: 1_790_000_000,
        completeness: Completeness::Complete,
        root: Some(Memory::new().forge(b"stands for a tree")),
        totals: Totals {
            files: 3,
            bytes: 1 << 40,
            databases: 1,
        },
        profile: "signal-desktop".to_owned(),
        pinned: false,
    }
}

fn seal(snapshot: &Snapshot, seed: u64) -> SealedSnapshot {
    snapshot
        .seal(&keyring(1), &backup_key(), &mut SeededEntropy::new(seed))
        .unwrap()
}

fn open(name: SnapshotName, bytes: &[u8]) -> Result<OpenSnapshot, SnapshotError> {
    OpenSnapshot::open(name, STORE, &backup_key(), Epoch::FIRST, bytes)
}

#[test]
fn a_snapshot_comes_back_with_the_keys_of_its_store() {
    let mut joined = first();
    joined.sequence = 9;
    joined.pinned = true;
    joined.root = None;
    joined.completeness = Completeness::Partial {
        reason: PartialReason::Checkpoint,
        pending_files: 12,
    };
    joined.predecessors = (0..16)
        .map(|n| Predecessor {
            name: SnapshotName::from_bytes([n; 32]),
            digest: SnapshotDigest::from_bytes([n; 32]),
        })
        .collect();
    joined.profile = "x".repeat(255);
    for snapshot in [first(), joined] {
        let sealed = seal(&snapshot, 3);
        assert_eq!(sealed.bytes.len() % 4096, 0, "BACKUP-8");
        let opened = open(sealed.name, &sealed.bytes).unwrap();
        assert_eq!(opened.snapshot, snapshot);
        assert_eq!(opened.digest, sealed.digest);
        assert_eq!(
            opened.keyring.node_digest(b"x"),
            keyring(1).node_digest(b"x")
        );
    }
}

/// BACKUP-1: nothing is sealed that could not be read again.
#[test]
fn snapshots_that_no_reader_accepts_are_not_sealed() {
    let before = Predecessor {
        name: SnapshotName::from_bytes([1; 32]),
        digest: SnapshotDigest::from_bytes([1; 32]),
    };
    let with = |sequence, predecessors| Snapshot {
        sequence,
        predecessors,
        ..first()
    };
    for unfit in [
        Snapshot {
            profile: "x".repeat(256),
            ..first()
        },
        with(9, vec![before; 17]),
        with(0, vec![]),
        with(1, vec![before]),
        with(2, vec![]),
    ] {
        let refused = unfit.seal(&keyring(1), &backup_key(), &mut SeededEntropy::new(1));
        assert_eq!(refused.unwrap_err(), SnapshotError::DoesNotFit);
    }
}

/// BACKUP-4: every byte, every length.
#[test]
fn no_altered_snapshot_is_accepted() {
    let sealed = seal(&first(), 3);
    for at in 0..sealed.bytes.len() {
        let mut bytes = sealed.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(open(sealed.name, &bytes).is_err(), "byte {at}");
    }
    for len in 0..sealed.bytes.len() {
        assert!(
            open(sealed.name, &sealed.bytes[..len]).is_err(),
            "{len} bytes"
        );
    }
    let longer = [&sealed.bytes[..], &[0; 4096]].concat();
    assert_eq!(
        open(sealed.name, &longer).unwrap_err().outcome(),
        "extended"
    );
    let huge = vec![0; 1 << 20];
    assert_eq!(
        open(sealed.name, &huge).unwrap_err().outcome(),
        "snapshot-too-long"
    );
}

/// BACKUP-4.
#[test]
fn parts_of_two_snapshots_do_not_make_one() {
    let (one, two) = (seal(&first(), 3), seal(&first(), 4));
    assert_eq!(open(two.name, &one.bytes).unwrap_err().outcome(), "renamed");
    let keyring_len = 4208;
    let mixed = [&one.bytes[..keyring_len], &two.bytes[keyring_len..]].concat();
    assert_eq!(open(one.name, &mixed).unwrap_err().outcome(), "renamed");
    let other = StoreId::from_bytes([1; 16]);
    let error =
        OpenSnapshot::open(one.name, other, &backup_key(), Epoch::FIRST, &one.bytes).unwrap_err();
    assert_eq!(error.outcome(), "wrong-store");
}

#[test]
fn another_backup_key_is_named_as_such() {
    let sealed = seal(&first(), 3);
    let other = BackupKey::from_bytes([0x12; 32]);
    let error =
        OpenSnapshot::open(sealed.name, STORE, &other, Epoch::FIRST, &sealed.bytes).unwrap_err();
    assert!(error.is_wrong_key());
    let mut body = sealed.bytes.clone();
    body[4208 + 64] ^= 1;
    assert!(!open(sealed.name, &body).unwrap_err().is_wrong_key());
}

#[test]
fn a_keyring_of_an_epoch_gone_by_is_refused() {
    let sealed = seal(&first(), 3);
    let known = Epoch::from_number(2);
    let error =
        OpenSnapshot::open(sealed.name, STORE, &backup_key(), known, &sealed.bytes).unwrap_err();
    assert_eq!(
        error,
        SnapshotError::Keyring(KeyringError::EpochTooLow {
            known,
            found: Epoch::FIRST
        })
    );
}

/// BACKUP-8: rotations do not show in a snapshot's length for a hundred of them.
#[test]
fn epochs_come_back_and_do_not_show() {
    let mut keyring = keyring(1);
    let before = seal(&first(), 3).bytes.len();
    for _ in 0..100 {
        keyring.begin_epoch(&mut SeededEntropy::new(5)).unwrap();
    }
    let mut entropy = SeededEntropy::new(6);
    let sealed = first().seal(&keyring, &backup_key(), &mut entropy).unwrap();
    assert_eq!(sealed.bytes.len(), before);
    let opened = open(sealed.name, &sealed.bytes).unwrap();
    assert_eq!(opened.keyring.epochs().count(), 101);
    assert_eq!(opened.keyring.current(), Epoch::from_number(101));
    let mut full = Keyring::generate(STORE, &mut entropy);
    while full.begin_epoch(&mut entropy).is_ok() {}
    assert_eq!(full.epochs().count(), 1024);
    let sealed = first().seal(&full, &backup_key(), &mut entropy).unwrap();
    assert_eq!(
        open(sealed.name, &sealed.bytes)
            .unwrap()
            .keyring
            .epochs()
            .count(),
        1024
    );
}

/// BACKUP-5: sealing the same snapshot again is another object under other keys.
#[test]
fn no_snapshot_is_sealed_twice_under_one_name() {
    let mut entropy = SeededEntropy::new(5);
    let keyring = keyring(1);
    let one = first().seal(&keyring, &backup_key(), &mut entropy).unwrap();
    let two = first().seal(&keyring, &backup_key(), &mut entropy).unwrap();
    assert_ne!(one.name, two.name);
    assert_ne!(one.bytes[96..128], two.bytes[96..128]);
    assert_ne!(
        one.bytes[4208 + 96..4208 + 128],
        two.bytes[4208 + 96..4208 + 128]
    );
}

/// BACKUP-3.
#[test]
fn nothing_secret_is_printed() {
    let sealed = seal(&first(), 3);
    let opened = open(sealed.name, &sealed.bytes).unwrap();
    let shown = format!(
        "{opened:?} {:?} {:?}",
        opened.keyring,
        opened.keyring.page_key()
    );
    assert!(!shown.contains("signal-desktop"));
    assert!(shown.contains("redacted"));
}

fn digest(n: u8) -> SnapshotDigest {
    SnapshotDigest::from_bytes([n; 32])
}

fn link(n: u8, sequence: u64, after: &[u8]) -> Link {
    Link {
        name: SnapshotName::from_bytes([n; 32]),
        digest: digest(n),
        sequence,
        writer: WriterId::from_bytes([0; 16]),
        device_time_s: i64::from(n),
        complete: true,
        pinned: false,
        predecessors: after
            .iter()
            .map(|&n| Predecessor {
                name: SnapshotName::from_bytes([n; 32]),
                digest: digest(n),
            })
            .collect(),
    }
}

fn history(links: &[Link]) -> History {
    links.iter().cloned().collect()
}

fn note(n: u8, sequence: u64) -> Note {
    Note {
        sequence,
        digest: digest(n),
    }
}

fn names(links: &[&Link]) -> Vec<u8> {
    links.iter().map(|link| link.digest.as_bytes()[0]).collect()
}

#[test]
fn two_devices_make_two_heads_and_a_join_makes_one() {
    let forked = [link(1, 1, &[]), link(2, 2, &[1]), link(3, 2, &[1])];
    assert_eq!(names(&history(&forked).heads()), [3, 2]);
    let joined = [&forked[..], &[link(4, 3, &[3, 2])]].concat();
    assert_eq!(names(&history(&joined).heads()), [4]);
    assert_eq!(names(&history(&joined).line_of(&digest(2))), [2, 1]);
    let twice = [&joined[..], &joined[..]].concat();
    assert_eq!(
        history(&twice).len(),
        4,
        "BACKUP-4: served twice is there once"
    );
    assert_eq!(history(&joined[1..]).missing().len(), 1);
}

/// BACKUP-4: the store goes back, forks and hides.
#[test]
fn a_note_tells_fresh_from_rolled_back_and_forked() {
    let line = [
        link(1, 1, &[]),
        link(2, 2, &[1]),
        link(3, 3, &[2]),
        link(4, 4, &[3]),
    ];
    let whole = history(&line);
    let fresh = whole.judge(Some(&note(3, 3)));
    assert_eq!(fresh.freshness, Freshness::FreshAtLeast { sequence: 3 });
    assert_eq!(fresh.head, Some(&line[3]));
    let same = whole.judge(Some(&note(4, 4)));
    assert_eq!(same.freshness, Freshness::FreshAtLeast { sequence: 4 });

    let back = history(&line[..2]);
    let judged = back.judge(Some(&note(4, 4)));
    assert_eq!(
        judged.freshness,
        Freshness::RolledBack {
            noted: 4,
            newest: 2
        }
    );
    assert_eq!((judged.head, names(&judged.others)), (None, vec![2]));
    let empty = history(&[]);
    let judged = empty.judge(Some(&note(4, 4)));
    assert_eq!(
        judged.freshness,
        Freshness::RolledBack {
            noted: 4,
            newest: 0
        }
    );

    let other = history(&[link(1, 1, &[]), link(8, 2, &[1]), link(9, 5, &[8])]);
    let judged = other.judge(Some(&note(4, 4)));
    assert_eq!(
        judged.freshness,
        Freshness::Forked {
            noted: 4,
            newest: 5
        }
    );
    assert_eq!(judged.head, None);

    assert_eq!(whole.judge(None).freshness, Freshness::NotVerified);
    assert_eq!(whole.judge(None).head, Some(&line[3]));
    assert_eq!(empty.judge(None).head, None);
}

#[test]
fn of_two_heads_the_one_that_descends_from_the_note_is_taken() {
    let both = history(&[link(1, 1, &[]), link(2, 2, &[1]), link(3, 7, &[1])]);
    let judged = both.judge(Some(&note(2, 2)));
    assert_eq!(judged.head.map(|link| link.digest), Some(digest(2)));
    assert_eq!(names(&judged.others), [3]);
    // The noted snapshot itself was hidden, but its successor proves the descent.
    let hidden = history(&[link(1, 1, &[]), link(5, 3, &[2])]);
    let judged = hidden.judge(Some(&note(2, 2)));
    assert_eq!(judged.freshness, Freshness::FreshAtLeast { sequence: 2 });
}

proptest! {
    /// Whatever a store leaves out, no head is accepted that does not descend from the note, and
    /// the order in which objects are listed changes nothing.
    #[test]
    fn no_store_can_pass_off_an_old_head(
        after in proptest::collection::vec((0_usize..20, 0_usize..20), 1..20),
        keep in proptest::collection::vec(any::<bool>(), 21),
        noted in 0_usize..20,
    ) {
        let mut all = vec![link(0, 1, &[])];
        for (at, (one, two)) in after.iter().enumerate() {
            let (one, two) = (one % (at + 1), two % (at + 1));
            let sequence = 1 + all[one].sequence.max(all[two].sequence);
            let parents = if one == two { vec![one as u8] } else { vec![one as u8, two as u8] };
            all.push(link(at as u8 + 1, sequence, &parents));
        }
        let noted = &all[noted % all.len()];
        let note = Note { sequence: noted.sequence, digest: noted.digest };
        let whole = history(&all);
        let served: Vec<_> = all.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(link, _)| link.clone()).collect();
        let history = history(&served);
        let judged = history.judge(Some(&note));
        if let Some(head) = judged.head {
            prop_assert!(whole.descends_from(&head.digest, &note.digest));
            prop_assert!(head.sequence >= note.sequence);
        }
        let reversed: History = served.iter().rev().cloned().collect();
        let again = reversed.judge(Some(&note));
        prop_assert_eq!(judged.head, again.head);
        prop_assert_eq!(judged.freshness, again.freshness);
    }
}
