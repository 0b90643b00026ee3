//! The end of the numbers, and the floor of the policy.

use alloc::collections::BTreeSet;
use alloc::vec;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_wire::suite::Standard;

use super::*;
use crate::log::{GroupId, Index, Mac};
use crate::policy::{Policy, Quorum};

const LAST: u64 = u64::MAX;

fn member(name: u8) -> Member {
    Member::from_bytes([name; 16])
}

fn secrets(quorum: Quorum) -> FleetSecrets {
    let policy = Policy {
        quorum,
        ..Policy::DEFAULT
    };
    FleetSecrets::generate(&Standard, policy, &mut SeededEntropy::new(1)).unwrap()
}

/// A place of a group of as many cores as `names`.
fn place(names: &[u8], term: u64, index: u64) -> Place {
    let members: BTreeSet<Member> = names.iter().copied().map(member).collect();
    let count = u8::try_from(members.len()).unwrap();
    let quorum = Quorum {
        members: count,
        captures: count,
        rollbacks: 0,
    };
    Place {
        group: GroupId::new([7; 16]),
        membership: Membership::first(&members, quorum).unwrap(),
        term: Term::new(term),
        index: Index::new(index),
    }
}

/// An entry as a core of this fleet would make it.
fn entry(secrets: &FleetSecrets, place: Place, previous: Mac) -> Entry {
    Entry::make(secrets.log(), place, previous, Digest::new([0xaa; 32]))
}

/// A core that has captured this entry.
fn after(secrets: &FleetSecrets, name: u8, entry: &Entry) -> Seat {
    let blank = Memory::blank(secrets.log(), member(name));
    Seat::resume(Kept::by_host(blank.capture(secrets.log(), entry).unwrap()))
}

/// A core by itself that leads from this entry.
fn leads(secrets: &FleetSecrets, entry: &Entry) -> Seat {
    let mut seat = after(secrets, 1, entry);
    let mut entropy = SeededEntropy::new(2);
    let call = seat.stand(secrets, Term::new(0), &mut entropy).unwrap();
    let report = seat.promise(secrets, &call).unwrap();
    seat.lead(secrets, &[report]).unwrap();
    seat
}

/// VAULT-4, VAULT-8: the entry of the last index there is commits as any other. Nothing comes after it, no
/// entry that begins again at the first index follows it, and who is refused is where he was.
#[test]
fn the_last_index_has_no_next_and_none_wraps_around() {
    let secrets = secrets(Quorum::ONE);
    let before = entry(&secrets, place(&[1], 1, LAST - 1), Mac::from_bytes([1; 32]));
    let mut seat = leads(&secrets, &before);
    let root = Digest::new([0xbb; 32]);
    let answers = vec![Withheld::new(Answer::Unreadable)];
    let last = seat.propose(&secrets, root, answers).unwrap();
    assert_eq!(last.index().number(), LAST);
    let capture = seat.capture(&secrets, &last).unwrap();
    assert_eq!(
        seat.commit(&secrets, &[capture]),
        Ok(vec![Answer::Unreadable])
    );

    let was = seat.describe();
    assert_eq!(
        seat.propose(&secrets, root, Vec::new()).err(),
        Some(CoreError::Bound)
    );
    let come = seat.replace(&secrets, member(9), member(2));
    assert_eq!(come.err(), Some(MembershipError::NotSo.into()));
    for index in [0, 1, LAST] {
        let term = last.term().number();
        let wrapped = entry(&secrets, place(&[1], term, index), last.mac());
        let not_next = LogError::NotNext { index, head: LAST };
        // An earlier leader's, to be built on.
        let earlier = entry(&secrets, place(&[1], 1, index), last.mac());
        assert_eq!(seat.adopt(&secrets, &earlier), Err(not_next.into()));
        let taken = after(&secrets, 1, &last).capture(&secrets, &wrapped);
        let forked = LogError::Forked { index };
        let refused = if index == LAST { forked } else { not_next };
        assert_eq!(taken, Err(refused), "index {index}");
    }
    assert_eq!(seat.describe(), was);
    assert!(!seat.is_pending());
}

/// VAULT-9: a change of members that cannot be made for want of an index is no change under way.
#[test]
fn a_change_of_members_that_is_refused_leaves_the_members_as_they_were() {
    let secrets = secrets(Quorum::THREE);
    let last = entry(
        &secrets,
        place(&[1, 2, 3], 1, LAST),
        Mac::from_bytes([1; 32]),
    );
    let mut seat = after(&secrets, 1, &last);
    let mut entropy = SeededEntropy::new(2);
    let call = seat.stand(&secrets, Term::new(0), &mut entropy).unwrap();
    let reports = [
        seat.promise(&secrets, &call).unwrap(),
        after(&secrets, 2, &last).promise(&secrets, &call).unwrap(),
    ];
    seat.lead(&secrets, &reports).unwrap();
    let was = seat.describe();
    for _ in 0..2 {
        let refused = seat.replace(&secrets, member(3), member(4));
        assert_eq!(refused.err(), Some(CoreError::Bound), "and not `Underway`");
    }
    assert_eq!(seat.describe(), was);
}

/// VAULT-1, VAULT-9: the policy that counts is the one in the core's own secrets. An entry of the fleet whose
/// group is smaller than its floor elects nobody and commits nothing, by however many of those that it names.
#[test]
fn a_group_below_the_floor_of_the_policy_elects_nobody_and_commits_nothing() {
    for (quorum, names) in [
        (Quorum::THREE, &[1_u8][..]),
        (Quorum::FIVE, &[1, 2, 3]),
        (Quorum::SEVEN, &[1, 2, 3, 4]),
    ] {
        let secrets = secrets(quorum);
        let small = entry(&secrets, place(names, 1, 5), Mac::from_bytes([1; 32]));
        let mut cores: Vec<Seat> = names
            .iter()
            .map(|name| after(&secrets, *name, &small))
            .collect();
        let mut entropy = SeededEntropy::new(2);
        let call = cores[0]
            .stand(&secrets, Term::new(0), &mut entropy)
            .unwrap();
        let reports: Vec<Report> = cores
            .iter_mut()
            .map(|core| core.promise(&secrets, &call).unwrap())
            .collect();
        assert_eq!(
            cores[0].lead(&secrets, &reports),
            Err(CoreError::NotElected),
            "{quorum:?}"
        );
        let captures: Vec<Capture> = names
            .iter()
            .map(|name| Capture::make(secrets.log(), member(*name), &small))
            .collect();
        let tally = Tally::count(secrets.log(), &small, quorum, &captures);
        assert!(tally.committed().is_none(), "{quorum:?}");
    }
}
