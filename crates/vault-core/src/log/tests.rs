//! The log's bytes, what a memory takes, and the counting of captures and reports.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeSet;

use keyhaven_testkit::entropy::SeededEntropy;

use super::*;
use crate::membership::{Member, Membership};
use crate::policy::{Policy, Quorum};
use crate::secrets::FleetSecrets;
use crate::tree::Digest;
use keyhaven_wire::suite::Standard;

fn member(name: u8) -> Member {
    Member::from_bytes([name; 16])
}

fn three() -> Membership {
    let members: BTreeSet<Member> = [1, 2, 3].map(member).into();
    Membership::first(&members, Quorum::THREE).unwrap()
}

fn place(term: u64, index: u64) -> Place {
    Place {
        group: GroupId::new([0x67; 16]),
        membership: three(),
        term: Term::new(term),
        index: Index::new(index),
    }
}

fn chain() -> (FleetSecrets, Entry, Entry) {
    let secrets =
        FleetSecrets::generate(&Standard, Policy::DEFAULT, &mut SeededEntropy::new(1)).unwrap();
    let first = Entry::genesis(secrets.log(), place(2, 0), Digest::new([0xaa; 32]));
    let root = Digest::new([0xbb; 32]);
    let second = Entry::make(secrets.log(), place(2, 1), first.mac(), root);
    (secrets, first, second)
}

/// The bytes of the log are fixed: `docs/vault-protocol.md`.
#[test]
fn the_bytes_of_the_log_are_fixed() {
    let (secrets, first, second) = chain();
    let key = secrets.log();
    let head = [
        &[2][..],
        &[0x67; 16],
        &[0, 0, 0, 1],
        &[3],
        &[1; 16],
        &[2; 16],
        &[3; 16],
        &[0; 4 * 16],
        &[0; 1 + 1 + 7 * 16],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 0, 0, 0, 0, 1],
    ]
    .concat();
    assert_eq!(head.len(), 264);
    let golden = [&head, &first.mac().0[..], &[0xbb; 32], &second.mac().0];
    assert_eq!(second.encode()[..], golden.concat());
    assert_eq!(first.previous().as_bytes(), &[0; 32]);
    let memory = Memory::blank(key, member(1)).capture(key, &second).unwrap();
    let end = [&head, &second.mac().0[..], &[0xbb; 32]].concat();
    let golden = [&[2], &[1; 16][..], &[0, 0, 0, 0, 0, 0, 0, 2], &[1], &end].concat();
    assert_eq!(memory.encode()[..354], golden);
    let capture = Capture::make(key, member(1), &second);
    let call = Call::make(key, GroupId::new([0x67; 16]), Term::new(3), [9; 16]);
    let report = Report::make(key, call, member(1), Some(Head::of(&second)));
    let all = [
        blake3::hash(&second.encode()),
        blake3::hash(&memory.encode()),
        blake3::hash(&capture.encode()),
        blake3::hash(&call.encode()),
        blake3::hash(&report.encode()),
    ];
    assert_eq!(all.map(|hash| hash.to_hex()[..16].to_owned()), GOLDEN);

    assert_eq!(Entry::decode(&second.encode()), Ok(second));
    assert_eq!(Memory::decode(&memory.encode()), Ok(memory));
    assert_eq!(Capture::decode(&capture.encode()), Ok(capture));
    assert_eq!(Call::decode(&call.encode()), Ok(call));
    assert_eq!(Report::decode(&report.encode()), Ok(report));
    let blank = Memory::blank(key, member(7));
    assert_eq!(Memory::decode(&blank.encode()), Ok(blank));
}

/// The first 16 digits of the BLAKE3 digests of an entry, a memory, a capture, a call and a report.
const GOLDEN: [&str; 5] = [
    "e25a33cdfeaea002",
    "3d787bd046600557",
    "bf4db9ab67e6b693",
    "9932dcedcc6b368f",
    "717b8a1352a00a69",
];

/// VAULT-4, VAULT-8: a memory never goes back, to an older term, an older place, or another entry of
/// the same place.
#[test]
fn a_memory_only_goes_on() {
    let (secrets, first, second) = chain();
    let key = secrets.log();
    let memory = Memory::blank(key, member(1)).capture(key, &second).unwrap();
    let make = |place, previous| Entry::make(key, place, previous, Digest::new([0xcc; 32]));

    assert_eq!(memory.capture(key, &second), Ok(memory), "the same again");
    let far = memory
        .capture(key, &make(place(2, 9), first.mac()))
        .unwrap();
    assert_eq!(far.head().unwrap().index().number(), 9);
    let later = memory
        .capture(key, &make(place(3, 1), first.mac()))
        .unwrap();
    assert_eq!(later.promised(), Term::new(3));

    assert!(matches!(
        memory.capture(key, &first),
        Err(LogError::NotNext { index: 0, head: 1 })
    ));
    for other in [
        make(place(2, 1), first.mac()),
        make(place(2, 2), first.mac()),
    ] {
        let refused = memory.capture(key, &other);
        assert!(matches!(refused, Err(LogError::Forked { .. })));
    }
    let promised = memory.promise(key, Term::new(5)).unwrap();
    let old = make(place(4, 2), second.mac());
    assert_eq!(
        promised.capture(key, &old),
        Err(LogError::OldTerm {
            term: 4,
            promised: 5
        })
    );
    assert!(
        promised
            .capture(key, &make(place(5, 2), second.mac()))
            .is_ok()
    );
    for term in [4, 5] {
        let refused = promised.promise(key, Term::new(term));
        assert!(
            matches!(refused, Err(LogError::OldTerm { .. })),
            "one promise a term"
        );
    }
    let other_group = Place {
        group: GroupId::new([1; 16]),
        ..place(3, 2)
    };
    let refused = memory.capture(key, &make(other_group, second.mac()));
    assert_eq!(refused, Err(LogError::OtherGroup));
    let stranger = Memory::blank(key, member(9));
    assert_eq!(stranger.capture(key, &second), Err(LogError::NotMember));
}

/// VAULT-2: a quorum is counted by members, not by messages.
#[test]
fn the_same_member_twice_is_counted_once() {
    let (secrets, first, second) = chain();
    let key = secrets.log();
    let by = |name| Capture::make(key, member(name), &second);
    let committed = |captures: &[Capture]| {
        Tally::count(key, &second, Quorum::THREE, captures)
            .committed()
            .is_some()
    };
    assert!(!committed(&[by(1), by(1)]));
    assert!(!committed(&[by(1), by(9)]), "a stranger");
    assert!(!committed(&[by(1), Capture::make(key, member(2), &first)]));
    let mut forged = by(2);
    forged.forge();
    assert!(!committed(&[by(1), forged]));
    assert!(committed(&[by(1), by(2)]));
}

/// VAULT-1, VAULT-8: a leader builds on the furthest head of a quorum's reports to its own call.
///
/// Past fault, signalapp/SecureValueRecovery2 9b939c1: votes named an index and a term, and not what stands there.
#[test]
fn a_quorum_of_reports_elects_the_furthest_head() {
    let (secrets, first, second) = chain();
    let key = secrets.log();
    let call = Call::make(key, GroupId::new([0x67; 16]), Term::new(3), [9; 16]);
    let other_call = Call::make(key, GroupId::new([0x67; 16]), Term::new(3), [8; 16]);
    let says =
        |name, head: Option<&Entry>| Report::make(key, call, member(name), head.map(Head::of));
    let elects = |reports: &[Report]| {
        elect(key, Quorum::THREE, &call, reports).map(|elected| elected.map(|won| won.head()))
    };
    assert_eq!(
        elects(&[says(1, Some(&first)), says(2, Some(&second))]),
        Ok(Some(Head::of(&second)))
    );
    let same_core = [says(1, Some(&first)), says(1, Some(&second))];
    assert_eq!(elects(&same_core), Ok(None));
    assert_eq!(
        elects(&[says(1, None), says(2, None)]),
        Ok(None),
        "nothing to stand on"
    );
    let blank = [says(1, Some(&first)), says(2, None)];
    assert_eq!(elects(&blank), Ok(Some(Head::of(&first))));
    let stale = Report::make(key, other_call, member(2), Some(Head::of(&second)));
    assert_eq!(elects(&[says(1, Some(&first)), stale]), Ok(None));
    assert_eq!(
        elects(&[says(1, Some(&first)), says(9, Some(&first))]),
        Ok(None)
    );
    let twin = Entry::make(key, place(2, 1), first.mac(), Digest::new([0xcc; 32]));
    assert_eq!(
        elects(&[says(1, Some(&second)), says(2, Some(&twin))]),
        Err(LogError::Forked { index: 1 })
    );
}
