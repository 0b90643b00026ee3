//! The log's bytes, its chain, and the counting of captures.

use keyhaven_testkit::entropy::SeededEntropy;

use super::*;
use crate::policy::Policy;
use crate::secrets::FleetSecrets;

fn place(index: u64) -> Place {
    Place {
        group: GroupId::new([0x67; 16]),
        configuration: Configuration::new(1),
        term: Term::new(2),
        index: Index::new(index),
    }
}

fn chain() -> (FleetSecrets, Entry, Entry) {
    let secrets = FleetSecrets::generate(Policy::DEFAULT, &mut SeededEntropy::new(1)).unwrap();
    let first = Entry::genesis(secrets.log(), place(0), Digest::new([0xaa; 32]));
    let root = Digest::new([0xbb; 32]);
    let second = Entry::make(secrets.log(), place(1), first.mac(), root);
    (secrets, first, second)
}

/// The bytes of the log are fixed: `docs/vault-protocol.md`.
#[test]
fn the_bytes_of_entries_and_memories_are_fixed() {
    let (secrets, first, second) = chain();
    let head = [
        &[1][..],
        &[0x67; 16],
        &[0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 2],
    ]
    .concat();
    let golden = [
        &head,
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &first.mac.0,
        &[0xbb; 32],
        &second.mac.0,
    ];
    assert_eq!(second.encode()[..], golden.concat());
    assert_eq!(first.previous().as_bytes(), &[0; 32]);
    let memory = Memory::of(secrets.log(), &second);
    let golden = [
        &head,
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &second.mac.0,
        &[0xbb; 32],
    ];
    assert_eq!(memory.encode()[..101], golden.concat());
    let macs = [second.mac, memory.mac].map(|mac| blake3::hash(&mac.0).to_hex().to_string());
    assert_eq!(macs, GOLDEN_MACS);
}

/// Digests of the MACs of the second entry and of the memory after it.
const GOLDEN_MACS: [&str; 2] = [
    "bbc95ef746b5dbd202c037f51a325d7e68eb733f6ed8ea00755e22b5b8c737c2",
    "e6c3cd9adbe8a6bcc7259f8f5a9cc6e018556b9bb403262b4a3dbc5f1607c33e",
];

/// VAULT-8: each of the fields is under the MAC, and the chain holds.
#[test]
fn a_memory_advances_by_its_next_entry_only() {
    let (secrets, first, second) = chain();
    let key = secrets.log();
    let memory = Memory::of(key, &first);
    assert_eq!(
        memory.advance(key, &second).unwrap(),
        Memory::of(key, &second)
    );
    let make = |place, previous| Entry::make(key, place, previous, Digest::new([0xcc; 32]));
    let gap = make(place(2), first.mac());
    let fork = make(place(1), second.mac());
    let older_term = Place {
        term: Term::new(1),
        ..place(1)
    };
    let older_term = make(older_term, first.mac());
    for refused in [first, gap, fork, older_term] {
        let refused = memory.advance(key, &refused).unwrap_err();
        assert!(matches!(refused, LogError::NotNext { .. }));
    }
    let other_group = Place {
        group: GroupId::new([1; 16]),
        ..place(1)
    };
    let other_configuration = Place {
        configuration: Configuration::new(2),
        ..place(1)
    };
    for place in [other_group, other_configuration] {
        let refused = memory.advance(key, &make(place, first.mac()));
        assert_eq!(refused, Err(LogError::OtherGroup));
    }
}

/// VAULT-2: a quorum is counted by members, not by messages.
#[test]
fn the_same_member_twice_is_counted_once() {
    let (secrets, first, second) = chain();
    let key = secrets.log();
    let by = |member| Capture::make(key, Member::new(member), &second);
    let committed = |captures: &[Capture]| {
        Tally::count(key, &second, 2, captures)
            .committed()
            .is_some()
    };
    assert!(!committed(&[by(0), by(0)]));
    assert!(!committed(&[
        by(0),
        Capture::make(key, Member::new(1), &first)
    ]));
    let mut forged = by(1);
    forged.forge();
    assert!(!committed(&[by(0), forged]));
    assert!(committed(&[by(0), by(1)]));
}
