//! Fleets of several groups: whose an account is, and how it goes from one group to another
//! without a guess coming back (VAULT-1).
#![expect(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what does not work out fails the test"
)]

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    Answer, CoreError, LogError, Quorum, Range, RangeAnswer, RangeError, RangeStep, Transfer, Wish,
};
use keyhaven_wire::message::Request;
use proptest::prelude::*;

const RIGHT: &str = "correct horse battery";
const WRONG: &str = "wrong horse battery";

fn range_of(person: &Person) -> Range {
    Range::of(&person.parties().leaf)
}

fn wishes(group: &mut VaultWorld, range: Range) -> Wish {
    group.core_mut().wish(range).unwrap()
}

fn gives(group: &mut VaultWorld, wish: Wish) -> Transfer {
    match group.range(&RangeStep::Give(wish)) {
        Ok(RangeAnswer::Given(transfer)) => transfer,
        other => panic!("{other:?}"),
    }
}

/// A range goes over, and everything in it.
fn goes_over(from: &mut VaultWorld, to: &mut VaultWorld, range: Range) -> Transfer {
    let transfer = gives(from, wishes(to, range));
    to.copy_range(from, range);
    let taken = to.range(&RangeStep::Take(transfer));
    assert_eq!(taken, Ok(RangeAnswer::Taken(range)));
    transfer
}

/// What a group says to somebody who asks how his account stands; none if it does not hold it.
fn left(group: &mut VaultWorld, person: &Person) -> Option<u8> {
    let (bytes, conversation) = person.seal(group, &Request::Status { device: None });
    match group.exchange(&person.account, &bytes) {
        Answer::Sealed(reply) => Some(conversation.open(&reply).unwrap().standing.guesses_left),
        Answer::Elsewhere => None,
        other => panic!("{other:?}"),
    }
}

fn registered(seed: u64, quorum: Quorum) -> (VaultWorld, VaultWorld, Person) {
    let mut first = VaultWorld::group(seed, quorum);
    let ada = Person::new(&mut first, "ada");
    ada.register(&mut first, RIGHT);
    let second = first.another_group();
    (first, second, ada)
}

#[test]
fn a_new_group_holds_nobody_and_says_so() {
    let (mut first, mut second, ada) = registered(1, Quorum::THREE);
    assert_eq!(left(&mut second, &ada), None);
    assert_eq!(left(&mut first, &ada), Some(10));
    assert_ne!(first.log()[0].group(), second.log()[0].group());
}

/// VAULT-1, VAULT-5: guesses that were spent stay spent, a recovery under way goes on at the other
/// group, and the group that gave answers no more.
#[test]
fn a_record_goes_over_with_what_was_spent() {
    let (mut first, mut second, ada) = registered(2, Quorum::FIVE);
    for _ in 0..3 {
        assert!(ada.recover(&mut first, WRONG).is_err());
    }
    let attempt = ada.try_with_device(&mut first, RIGHT);
    let answered = ada.answer(&mut first, &attempt).unwrap();
    goes_over(&mut first, &mut second, range_of(&ada));
    assert_eq!(left(&mut first, &ada), None);
    assert_eq!(left(&mut second, &ada), Some(6));
    // The same KE1 is the same guess, wherever it is asked.
    let again = ada.answer(&mut second, &attempt).unwrap();
    assert_eq!(again.ke2.as_bytes(), answered.ke2.as_bytes());
    let reply = ada.send(&mut second, &answered.step2);
    assert!(answered.open(&reply).unwrap().key == ada.key);
    assert_eq!(left(&mut second, &ada), Some(10));
}

/// VAULT-1: nobody gets two groups over one range, in whatever order their statements come.
#[test]
fn two_groups_never_hold_one_range() {
    let (mut first, mut second, ada) = registered(3, Quorum::THREE);
    let mut third = first.another_group();
    let range = range_of(&ada);
    let (to_second, to_third) = (wishes(&mut second, range), wishes(&mut third, range));
    let transfer = gives(&mut first, to_second);
    let refused = |error: RangeError| Err(error.into());
    let give = RangeStep::Give(to_third);
    assert_eq!(first.range(&give), refused(RangeError::NotHere));
    assert_eq!(second.range(&give), refused(RangeError::NotHere));
    let take = RangeStep::Take(transfer);
    for group in [&mut third, &mut first] {
        assert_eq!(group.range(&take), refused(RangeError::NotForThisGroup));
    }
    second.copy_range(&first, range);
    second.range(&take).unwrap();
    assert_eq!(second.range(&take), refused(RangeError::TakenBefore));
    let own = RangeStep::Give(to_second);
    assert_eq!(second.range(&own), refused(RangeError::NotForThisGroup));
    // The third gets it from the second, and from nobody else.
    let transfer = gives(&mut second, to_third);
    third.copy_range(&second, range);
    third.range(&RangeStep::Take(transfer)).unwrap();
    assert_eq!(second.range(&take), refused(RangeError::TakenBefore));
    assert_eq!(left(&mut first, &ada), None);
    assert_eq!(left(&mut second, &ada), None);
    assert_eq!(left(&mut third, &ada), Some(10));
}

/// VAULT-1: a transfer of old does not bring back what a range was then: not while the group has the range,
/// not after it gave it on, and not when the group that gave says it again.
#[test]
fn a_turn_is_taken_once_also_by_a_group_that_had_the_range_before() {
    let (mut first, mut second, ada) = registered(4, Quorum::ONE);
    let range = range_of(&ada);
    let mut copy = first.another_group();
    copy.copy_range(&first, range);
    let old = goes_over(&mut first, &mut second, range);
    assert_eq!(gives(&mut first, wishes(&mut second, range)), old);
    let refused = Err(RangeError::TakenBefore.into());
    assert_eq!(second.range(&RangeStep::Take(old)), refused);
    for _ in 0..4 {
        assert!(ada.recover(&mut second, WRONG).is_err());
    }
    let back = goes_over(&mut second, &mut first, range);
    assert_eq!(left(&mut first, &ada), Some(6));
    second.copy_range(&copy, range);
    for _ in 0..2 {
        assert_eq!(second.range(&RangeStep::Take(old)), refused);
        assert_eq!(first.range(&RangeStep::Take(back)), refused);
        assert_eq!(left(&mut first, &ada), Some(6));
        let new = goes_over(&mut first, &mut second, range);
        assert_ne!(new, old);
        assert_eq!(first.range(&RangeStep::Take(back)), refused);
        assert_eq!(second.range(&RangeStep::Take(old)), refused);
        goes_over(&mut second, &mut first, range);
    }
}

/// VAULT-5: whatever wish of old a host shows a group, and whatever statements are lost, a range that was
/// given can be taken.
#[test]
fn a_gift_is_never_lost() {
    let (mut first, mut second, ada) = registered(21, Quorum::THREE);
    let mut third = first.another_group();
    let range = range_of(&ada);
    let old = wishes(&mut second, range);
    goes_over(&mut first, &mut second, range);
    goes_over(&mut second, &mut first, range);
    // A wish of which nobody knows any more, and its transfer is lost.
    let lost = gives(&mut first, old);
    // Others ask in between, and the giver would have it back.
    let theirs = RangeStep::Give(wishes(&mut third, range));
    assert_eq!(first.range(&theirs), Err(RangeError::NotHere.into()));
    let before = gives(&mut second, wishes(&mut first, range));
    let refused = Err(RangeError::TakenBefore.into());
    assert_eq!(first.range(&RangeStep::Take(before)), refused);
    let again = gives(&mut first, wishes(&mut second, range));
    assert_eq!(again, lost);
    second.copy_range(&first, range);
    second.range(&RangeStep::Take(again)).unwrap();
    assert_eq!(left(&mut second, &ada), Some(10));
}

/// VAULT-2: what a group gives leaves its core when it is given for good, and not before; and whoever
/// loses the statement is told it again.
#[test]
fn a_transfer_leaves_when_it_is_committed_and_is_said_again() {
    let (mut first, mut second, ada) = registered(5, Quorum::FIVE);
    let range = range_of(&ada);
    let wish = wishes(&mut second, range);

    let give = RangeStep::Give(wish);
    let executed = first.execute_range(&give).unwrap();
    let captures = [first.capture(&executed.entry).unwrap()];
    let released = first.core_mut().release(&captures);
    assert_eq!(released, Err(CoreError::NotCommitted));
    // It was never appended, and the leader died: the range is where it was.
    first.take_over(1).unwrap();
    assert_eq!(left(&mut first, &ada), Some(10));

    // It was appended, and the leader died: it is given, and the next leader says so.
    first.away(0, false);
    let executed = first.execute_range(&give).unwrap();
    first.append(&executed);
    first.take_over(0).unwrap();
    assert_eq!(left(&mut first, &ada), None);
    let transfer = gives(&mut first, wish);
    assert_eq!(gives(&mut first, wish), transfer);
    second.copy_range(&first, range);
    second.range(&RangeStep::Take(transfer)).unwrap();
    assert_eq!(left(&mut second, &ada), Some(10));
}

/// VAULT-1, VAULT-8: a minority of the taking group with older memories takes nothing twice, and one
/// of the giving group gives nothing twice.
#[test]
fn a_minority_that_was_put_back_neither_gives_nor_takes_twice() {
    let (mut first, mut second, ada) = registered(6, Quorum::FIVE);
    let mut third = first.another_group();
    let range = range_of(&ada);
    let other = wishes(&mut third, range);
    assert_eq!(left(&mut second, &ada), None);
    let (before_give, before_take) = (first.memory_at(4), second.memory_at(4));
    goes_over(&mut first, &mut second, range);
    assert!(ada.recover(&mut second, WRONG).is_err());

    first.restart_at(4, before_give);
    first.take_over(4).unwrap();
    assert_eq!(
        first.range(&RangeStep::Give(other)),
        Err(RangeError::NotHere.into())
    );
    second.restart_at(4, before_take);
    second.take_over(4).unwrap();
    assert_eq!(left(&mut second, &ada), Some(9));
}

/// VAULT-4: a copy of the range that is older, newer or altered is not what was given.
#[test]
fn only_what_was_given_is_believed() {
    let (mut first, mut second, ada) = registered(7, Quorum::ONE);
    let bob = Person::new(&mut first, "bob");
    bob.register(&mut first, RIGHT);
    let range = range_of(&ada);
    let mut before = first.another_group();
    before.copy_range(&first, range);
    assert!(ada.recover(&mut first, WRONG).is_err());
    let wish = wishes(&mut second, range);
    let transfer = gives(&mut first, wish);
    second.copy_range(&before, range);
    second.range(&RangeStep::Take(transfer)).unwrap();
    let (bytes, _) = ada.seal(&mut second, &Request::Status { device: None });
    let refused = second.execute(&[(ada.account.clone(), bytes)]);
    assert!(matches!(refused, Err(CoreError::Proof(_))), "{refused:?}");
    second.copy_range(&first, range);
    assert_eq!(left(&mut second, &ada), Some(9));
}

/// VAULT-8: statements that no core made are refused; those of another fleet, too.
#[test]
fn a_statement_that_no_core_made_is_refused() {
    let (mut first, mut second, ada) = registered(8, Quorum::ONE);
    let range = range_of(&ada);
    let (mut elsewhere, mut beside, _) = registered(9, Quorum::ONE);
    let foreign = wishes(&mut beside, range);
    let bad = Err(LogError::BadMac.into());
    assert_eq!(first.range(&RangeStep::Give(foreign)), bad);

    let wish = wishes(&mut second, range);
    for at in 1..wish.encode().len() {
        let mut bytes = wish.encode();
        bytes[at] ^= 1;
        if let Ok(wish) = Wish::decode(&bytes) {
            assert_eq!(first.range(&RangeStep::Give(wish)), bad, "byte {at}");
        }
    }
    let transfer = gives(&mut first, wish);
    assert_eq!(
        second.range(&RangeStep::Take(gives(&mut elsewhere, foreign))),
        bad
    );
    for at in 1..transfer.encode().len() {
        let mut bytes = transfer.encode();
        bytes[at] ^= 1;
        if let Ok(transfer) = Transfer::decode(&bytes) {
            assert_eq!(second.range(&RangeStep::Take(transfer)), bad, "byte {at}");
        }
    }
    assert_eq!(Wish::decode(&wish.encode()), Ok(wish));
    assert_eq!(Transfer::decode(&transfer.encode()), Ok(transfer));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// VAULT-1, VAULT-5: whatever goes where, each account is held by just one group, with all that was
    /// spent.
    #[test]
    fn every_account_is_held_once_and_keeps_what_it_spent(
        moves in proptest::collection::vec((0_usize..6, 0_usize..3, 0_usize..6), 1..14)
    ) {
        let mut first = VaultWorld::new(11);
        let people: Vec<Person> = (0..6).map(|n| Person::new(&mut first, &format!("p{n}"))).collect();
        for person in &people[..4] {
            person.register(&mut first, RIGHT);
        }
        let second = first.another_group();
        let third = first.another_group();
        let mut groups = [first, second, third];
        let mut spent = [0_u8; 6];
        for (who, to, guesser) in moves {
            let range = range_of(&people[who]);
            let from = groups.iter_mut().position(|group| left(group, &people[who]).is_some()).unwrap();
            if let Ok([from, to]) = groups.get_disjoint_mut([from, to]) {
                goes_over(from, to, range);
            }
            if guesser < 4 && spent[guesser] < 6 {
                let at = groups.iter_mut().position(|group| left(group, &people[guesser]).is_some()).unwrap();
                let group = &mut groups[at];
                prop_assert!(people[guesser].recover(group, WRONG).is_err());
                spent[guesser] += 1;
            }
            for (person, spent) in people.iter().zip(spent) {
                let held: Vec<u8> = groups.iter_mut().filter_map(|group| left(group, person)).collect();
                prop_assert_eq!(held, vec![10 - spent]);
            }
        }
    }
}
