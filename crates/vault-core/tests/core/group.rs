//! Groups of three, five and seven cores, by hand: one test for each way in which hosts have been
//! known to get at guesses, and one for each in which honest people have been known to lose theirs.
//! The simulator looks for the ways that nobody has thought of yet.

use std::collections::BTreeSet;

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    Answer, Core, CoreError, LogError, Member, MembershipError, Newcomer, Policy, PolicyError,
    ProofError, Quorum, Role, SecretsError,
};
use keyhaven_wire::message::{Action, Denial, Outcome, RecordState, RegisterAuthority, Request};

const RIGHT: &str = "correct horse battery";
const WRONG: &str = "wrong horse battery";

fn registered(seed: u64, quorum: Quorum) -> (VaultWorld, Person) {
    VaultWorld::group(seed, quorum).with_alice(RIGHT)
}

fn status(world: &mut VaultWorld, person: &Person) -> Vec<u8> {
    person.seal(world, &Request::Status { device: None }).0
}

fn sizes() -> [Quorum; 3] {
    [Quorum::THREE, Quorum::FIVE, Quorum::SEVEN]
}

/// VAULT-2: fewer captures than the policy says release nothing, and each core counts once.
#[test]
fn answers_leave_when_a_quorum_has_captured_and_no_earlier() {
    for quorum in sizes() {
        let (mut world, person) = registered(1, quorum);
        let bytes = status(&mut world, &person);
        let executed = world.execute(&[(person.account.clone(), bytes)]).unwrap();
        world.append(&executed);
        let mut captures = Vec::new();
        for at in 0..usize::from(quorum.captures) {
            let twice = [captures.clone(), captures.clone()].concat();
            let refused = world.core_mut().release(&twice);
            assert_eq!(refused, Err(CoreError::NotCommitted), "{at} of {quorum:?}");
            captures.push(world.capture_at(at, &executed.entry).unwrap());
        }
        assert_eq!(world.core_mut().release(&captures).unwrap().len(), 1);
    }
}

/// VAULT-1, VAULT-5, VAULT-11: the leader dies, another core goes on, and what was spent is spent.
#[test]
fn another_core_takes_over_and_no_guess_comes_back() {
    for quorum in sizes() {
        let (mut world, person) = registered(2, quorum);
        for _ in 0..3 {
            assert!(person.recover(&mut world, WRONG).is_err());
        }
        for by in 1..=usize::from(quorum.members - quorum.captures) {
            world.take_over(by).unwrap();
            assert_eq!(person.standing(&mut world).guesses_left, 7);
        }
        let recovered = person.recover(&mut world, RIGHT).unwrap();
        assert!(recovered.key == person.key);
    }
}

/// VAULT-11: with one core fewer than a quorum, the group stops, and says so.
#[test]
fn a_group_without_a_quorum_stops() {
    for quorum in sizes() {
        let (mut world, person) = registered(3, quorum);
        let away = quorum.members - quorum.captures + 1;
        for at in 0..away {
            world.away(usize::from(at), true);
        }
        let leads = world.lead(usize::from(away));
        assert_eq!(leads, Err(CoreError::NotElected));
        world.away(0, false);
        world.lead(usize::from(away)).unwrap();
        assert_eq!(person.standing(&mut world).guesses_left, 10);
    }
}

/// VAULT-1, VAULT-2: the answer was computed, the leader died, and the client sends the same KE1 to
/// the next: it is the same guess, with the same answer. Also if it is the last one, and right.
#[test]
fn a_right_tenth_guess_whose_leader_died_still_opens() {
    let (mut world, person) = registered(4, Quorum::THREE);
    for _ in 0..9 {
        assert!(person.recover_with_device(&mut world, WRONG).is_err());
    }
    let attempt = person.try_with_device(&mut world, RIGHT);
    let batch = [(person.account.clone(), attempt.step1.clone())];
    let executed = world.execute(&batch).unwrap();
    world.append(&executed);
    // One core captured it; the leader is gone for good before it had answered.
    world.capture_at(1, &executed.entry).unwrap();
    world.take_over(1).unwrap();
    assert_eq!(person.standing(&mut world).guesses_left, 0);
    let answered = person.answer(&mut world, &attempt).unwrap();
    assert!(answered.is_right());
    assert_eq!(person.standing(&mut world).guesses_left, 0);
    let executed = world
        .execute(&[(person.account.clone(), answered.step2.clone())])
        .unwrap();
    world.append(&executed);
    world.lead(2).unwrap();
    let recovered = answered
        .open(&person.send(&mut world, &answered.step2))
        .unwrap();
    assert!(recovered.key == person.key);
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-5, VAULT-6: the answer to each single step is lost with its leader.
#[test]
fn an_answer_lost_at_any_step_is_given_again_by_the_next_leader() {
    let mut world = VaultWorld::group(5, Quorum::FIVE);
    let person = Person::new(&mut world, "alice");
    let lose = |world: &mut VaultWorld, bytes: &[u8]| {
        let by = (world.leader() + 1) % 5;
        let batch = [(person.account.clone(), bytes.to_vec())];
        let executed = world.execute(&batch).unwrap();
        world.append(&executed);
        // The old leader comes back later, with what it had.
        let old = world.leader();
        world.take_over(by).unwrap();
        world.away(old, false);
    };
    let registration = person.prepare(&mut world, RIGHT, 1, |_, _, _| RegisterAuthority::First);
    lose(&mut world, &registration.step2);
    lose(&mut world, &registration.step2);
    let reply = person.arm(&mut world, &registration);
    assert!(matches!(reply.outcome, Outcome::Registered { .. }));
    let attempt = person.try_password(&mut world, RIGHT);
    lose(&mut world, &attempt.step1);
    lose(&mut world, &attempt.step1);
    let answered = person.answer(&mut world, &attempt).unwrap();
    lose(&mut world, &answered.step2);
    let reply = person.send(&mut world, &answered.step2);
    assert!(answered.open(&reply).unwrap().key == person.key);
    let standing = person.standing(&mut world);
    assert_eq!((standing.guesses_left, standing.totals.answered), (10, 1));
}

/// VAULT-4, VAULT-5: a database that lost its last commits is not opened; brought forward from the
/// hosts' tails it goes on as if nothing had been.
#[test]
fn a_database_that_lost_its_last_commits_is_brought_forward_or_refused() {
    let (mut world, person) = registered(6, Quorum::THREE);
    for _ in 0..4 {
        assert!(person.recover(&mut world, WRONG).is_err());
    }
    for lost in 1..6 {
        world.lose_commits(lost);
        let bytes = status(&mut world, &person);
        let refused = world.execute(&[(person.account.clone(), bytes)]);
        assert!(
            matches!(
                refused,
                Err(CoreError::Proof(
                    ProofError::Mismatch { .. } | ProofError::Missing { .. }
                ))
            ),
            "{lost} lost: {refused:?}"
        );
        world.roll_forward();
        assert_eq!(person.standing(&mut world).guesses_left, 6);
    }
}

/// VAULT-11: a leader appended an entry and died; the next had not heard of it, made another one for
/// the same place, and lost the race. It gives its own up, and goes on from what stands there.
#[test]
fn an_index_that_two_leaders_wanted_is_not_wedged() {
    let (mut world, person) = registered(7, Quorum::THREE);
    let attempt = person.try_password(&mut world, WRONG);
    let batch = [(person.account.clone(), attempt.step1.clone())];
    let first = world.execute(&batch).unwrap();
    // The first leader's append is on its way when the second one is elected …
    world.away(0, true);
    world.lead(1).unwrap();
    let bytes = status(&mut world, &person);
    let second = world.execute(&[(person.account.clone(), bytes)]).unwrap();
    assert_eq!(first.entry.index(), second.entry.index());
    // … and it arrives first.
    world.append(&first);
    assert_eq!(
        world.core_mut().adopt(&first.entry),
        Err(CoreError::Pending),
        "within its term a leader takes nothing back"
    );
    world.core_mut().step_down();
    world.lead(1).unwrap();
    // The guess of the entry that stands is spent, and its answer is given to whoever asks again.
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    assert!(person.answer(&mut world, &attempt).is_ok());
    assert_eq!(person.standing(&mut world).guesses_left, 9);
}

/// VAULT-2, VAULT-8: two leaders' entries for one place are shown to one half of the cores each. Only
/// one of them is ever answered.
#[test]
fn a_forked_log_shown_to_half_the_cores_answers_once() {
    let (mut world, person) = registered(8, Quorum::THREE);
    let attempt = person.try_password(&mut world, WRONG);
    let batch = [(person.account.clone(), attempt.step1)];
    let theirs = world.execute(&batch).unwrap();
    let own = world.capture_at(0, &theirs.entry).unwrap();
    // The two others elect one of theirs, and hear nothing of it.
    world.away(0, true);
    world.lead(1).unwrap();
    let bytes = status(&mut world, &person);
    let ours = world.execute(&[(person.account.clone(), bytes)]).unwrap();
    world.append(&ours);
    let captures = world.captures(&ours.entry);
    assert_eq!(world.core_mut().release(&captures).unwrap().len(), 1);
    for at in [1, 2] {
        let refused = world.capture_at(at, &theirs.entry);
        assert!(
            matches!(refused, Err(CoreError::Log(LogError::OldTerm { .. }))),
            "{refused:?}"
        );
    }
    let refused = world.core_at(0).release(&[own]);
    assert_eq!(refused, Err(CoreError::NothingPending));
    // Shown the other half's log, the first core follows it.
    world.away(0, false);
    world.capture_at(0, &ours.entry).unwrap();
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-2: captures of another leader's entry of the same index release nothing.
#[test]
fn captures_of_another_leaders_entry_do_not_count() {
    let (mut world, person) = registered(9, Quorum::FIVE);
    let bytes = status(&mut world, &person);
    let batch = [(person.account.clone(), bytes)];
    let earlier = world.execute(&batch).unwrap();
    let mut captures = vec![world.capture_at(0, &earlier.entry).unwrap()];
    world.away(0, true);
    world.lead(1).unwrap();
    let later = world.execute(&batch).unwrap();
    captures.extend([1, 2, 3].map(|at| world.capture_at(at, &later.entry).unwrap()));
    let of = captures.iter().map(keyhaven_vault_core::Capture::member);
    assert_eq!(
        of.collect::<BTreeSet<_>>().len(),
        4,
        "enough cores, of two entries"
    );
    assert_eq!(
        world.core_mut().release(&captures),
        Err(CoreError::NotCommitted)
    );
}

/// VAULT-1, VAULT-9: all cores lose their memories, one after another, and each comes back under a new
/// name that the others admit. Not one guess comes back with them.
#[test]
fn cores_made_forgetful_one_after_another_give_no_guess_back() {
    for quorum in sizes() {
        let (mut world, person) = registered(10, quorum);
        assert!(person.recover(&mut world, WRONG).is_err());
        for at in (0..usize::from(quorum.members)).rev() {
            if at == world.leader() {
                world.lead(1).unwrap();
            }
            let old = world.memory_at(at).member();
            let new = world.forget(at);
            // It counts for nothing before an entry admits it.
            let bytes = status(&mut world, &person);
            let batch = [(person.account.clone(), bytes)];
            let executed = world.execute(&batch).unwrap();
            world.append(&executed);
            assert!(matches!(
                world.capture_at(at, &executed.entry),
                Err(CoreError::Log(LogError::NotMember))
            ));
            let captures = world.captures(&executed.entry);
            world.core_mut().release(&captures).unwrap();
            world.replace(old, new).unwrap();
            assert_eq!(person.standing(&mut world).guesses_left, 9);
        }
        let recovered = person.recover(&mut world, RIGHT).unwrap();
        assert!(recovered.key == person.key);
    }
}

/// VAULT-1, VAULT-9: more forgetful cores at once than may be away: the group stops for good.
#[test]
fn too_many_forgetful_cores_at_once_stop_the_group() {
    for quorum in sizes() {
        let (mut world, _) = registered(11, quorum);
        for at in 0..=usize::from(quorum.members - quorum.captures) {
            world.forget(at);
        }
        let last = usize::from(quorum.members) - 1;
        assert_eq!(world.lead(last), Err(CoreError::NotElected));
    }
}

/// VAULT-1, VAULT-4: as many memories as the policy allows are put back to any earlier state; what was
/// spent stays spent, whoever leads.
#[test]
fn a_rolled_back_minority_gives_no_guess_back() {
    for quorum in [Quorum::FIVE, Quorum::SEVEN] {
        let (mut world, person) = registered(12, quorum);
        let victims = usize::from(quorum.rollbacks);
        let before: Vec<_> = (0..victims).map(|at| world.memory_at(at)).collect();
        for _ in 0..3 {
            assert!(person.recover(&mut world, WRONG).is_err());
        }
        for (at, memory) in before.iter().enumerate() {
            world.restart_at(at, *memory);
        }
        for by in 0..usize::from(quorum.members) {
            world.lead(by).unwrap();
            assert_eq!(person.standing(&mut world).guesses_left, 7);
        }
    }
}

/// VAULT-1: what the policy does *not* allow. One memory more is put back than three cores can bear,
/// and the group forgets a guess: the loss that the documents speak of, seen once.
#[test]
fn one_rollback_too_many_is_the_loss_that_the_policy_names() {
    let (mut world, person) = registered(13, Quorum::THREE);
    let before = [world.memory_at(0), world.memory_at(1)];
    let store = world.store().clone();
    world.away(2, true);
    assert!(person.recover(&mut world, WRONG).is_err());
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    for (at, memory) in before.into_iter().enumerate() {
        world.restart_at(at, memory);
    }
    *world.store_mut() = store;
    world.leader_by_hand(0).unwrap();
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-4: a deleted record does not come back with an older database, nor with an older core.
#[test]
fn a_deleted_record_does_not_return() {
    let (mut world, person) = registered(14, Quorum::FIVE);
    let store = world.store().clone();
    let memory = world.memory_at(0);
    person.change(&mut world, Action::Delete);
    assert_eq!(person.standing(&mut world).state, RecordState::Deleted);
    let whole = std::mem::replace(world.store_mut(), store);
    let attempt = person.try_password(&mut world, RIGHT);
    let refused = world.execute(&[(person.account.clone(), attempt.step1.clone())]);
    assert!(matches!(refused, Err(CoreError::Proof(_))), "{refused:?}");
    world.restart_at(0, memory);
    world.lead(0).unwrap();
    let refused = world.execute(&[(person.account.clone(), attempt.step1.clone())]);
    assert!(matches!(refused, Err(CoreError::Proof(_))), "{refused:?}");
    *world.store_mut() = whole;
    let reply = person.answer(&mut world, &attempt).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::NoRecord));
}

/// VAULT-9: no host makes a group smaller, or of other cores than were admitted.
#[test]
fn a_group_is_never_shrunk_below_its_floor() {
    let mut world = VaultWorld::group(15, Quorum::THREE);
    let stranger = Member::from_bytes([9; 16]);
    let (one, two) = (world.memory_at(1).member(), world.memory_at(2).member());
    for (go, come) in [(one, two), (stranger, one), (one, one)] {
        let refused = world.core_mut().replace(go, come).map(drop);
        assert_eq!(refused, Err(MembershipError::NotSo.into()));
    }
    let leader = world.memory_at(0).member();
    let refused = world.core_mut().replace(leader, stranger).map(drop);
    assert_eq!(refused, Err(MembershipError::Leading.into()));
    // One at a time: the next change waits until this one is committed.
    let changing = world.core_mut().replace(one, stranger).unwrap();
    world.append(&changing);
    let refused = world.core_mut().replace(two, stranger).map(drop);
    assert_eq!(refused, Err(CoreError::Pending));

    for others in [0, 1, 3] {
        let names: Vec<Member> = (0..others)
            .map(|_| Newcomer::draw(world.entropy()).member())
            .collect();
        let policy = Policy {
            quorum: Quorum::THREE,
            ..Policy::DEFAULT
        };
        let refused = Core::genesis(policy, &names, world.entropy()).map(drop);
        assert_eq!(refused, Err(MembershipError::Size(3).into()));
    }
    for (members, captures, rollbacks) in [
        (2, 2, 0),
        (3, 1, 0),
        (5, 3, 1),
        (1, 1, 1),
        (4, 3, 1),
        (0, 0, 0),
    ] {
        let quorum = Quorum {
            members,
            captures,
            rollbacks,
        };
        let policy = Policy {
            quorum,
            ..Policy::DEFAULT
        };
        let refused = Core::genesis(policy, &[], world.entropy()).map(drop);
        let because = SecretsError::Policy(PolicyError::Quorum);
        assert_eq!(refused, Err(because.into()), "{quorum:?}");
    }
}

/// VAULT-1, VAULT-8: a second fleet beside the first knows nothing of it. There is no second group of
/// one fleet: the secrets that a genesis draws exist in no other.
#[test]
fn a_second_group_opens_nothing_of_the_first() {
    let (mut world, person) = registered(16, Quorum::THREE);
    let (mut second, other) = registered(17, Quorum::THREE);
    let attempt = person.try_password(&mut world, RIGHT);
    assert_eq!(
        second.exchange(&person.account, &attempt.step1),
        Answer::Unreadable
    );
    *second.store_mut() = world.store().clone();
    let bytes = status(&mut second, &other);
    let refused = second.execute(&[(other.account.clone(), bytes)]);
    assert!(matches!(refused, Err(CoreError::Proof(_))), "{refused:?}");
    let entry = *world.log().last().unwrap();
    let refused = second.capture_at(1, &entry);
    assert_eq!(refused, Err(CoreError::Log(LogError::BadMac)));
}

/// VAULT-10: step 1 of a registration, repeated without end, leaves the record as it was.
#[test]
fn step_one_repeated_without_end_changes_nothing() {
    let (mut world, person) = registered(18, Quorum::THREE);
    let before = person.standing(&mut world);
    for id in 2..40 {
        let _never_armed =
            person.prepare(&mut world, WRONG, id, |_, _, _| RegisterAuthority::First);
    }
    assert_eq!(person.standing(&mut world), before);
}

/// VAULT-8: shown an old entry of its own, a leader says that it comes too late, and goes on.
#[test]
fn an_old_entry_of_its_own_is_no_fork_to_a_leader() {
    let (mut world, person) = registered(19, Quorum::THREE);
    let mut entries = Vec::new();
    for _ in 0..3 {
        let bytes = status(&mut world, &person);
        let executed = world.execute(&[(person.account.clone(), bytes)]).unwrap();
        world.append(&executed);
        // Two others capture; the leader itself never sees it.
        let captures = [1, 2].map(|at| world.capture_at(at, &executed.entry).unwrap());
        world.core_mut().release(&captures).unwrap();
        entries.push(executed.entry);
    }
    let refused = world.core_mut().capture(&entries[0]);
    assert!(
        matches!(refused, Err(CoreError::Log(LogError::NotNext { .. }))),
        "{refused:?}"
    );
    assert!(matches!(world.core().role(), Role::Leader { .. }));
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-8: a leader builds on nothing in the store that does not stand on what it was elected with.
#[test]
fn a_leader_does_not_build_on_an_entry_that_does_not_follow() {
    let (mut world, person) = registered(20, Quorum::THREE);
    let make = |world: &mut VaultWorld| {
        let bytes = status(world, &person);
        let executed = world.execute(&[(person.account.clone(), bytes)]);
        executed.unwrap()
    };
    // One of the cores 0 and 1 is away at a time; core 2 captures nothing, and elects both in turn.
    let elect = |world: &mut VaultWorld, at: usize| {
        world.away(1 - at, true);
        world.away(at, false);
        let elected = (0..3).any(|_| world.leader_by_hand(at).is_ok());
        assert!(elected, "core {at}");
        world.core().base().unwrap().mac()
    };
    let first = make(&mut world);
    world.capture_at(0, &first.entry).unwrap();
    elect(&mut world, 1);
    let second = make(&mut world);
    world.capture_at(1, &second.entry).unwrap();
    assert_eq!(elect(&mut world, 0), first.entry.mac());
    world.append(&first);
    let on_first = make(&mut world);
    assert_eq!(elect(&mut world, 1), second.entry.mac());
    let next = second.entry.index().number() + 1;
    assert_eq!(on_first.entry.index().number(), next);
    let refused = world.core_mut().adopt(&on_first.entry);
    assert!(
        matches!(refused, Err(CoreError::Log(LogError::NotNext { .. }))),
        "{refused:?}"
    );
}
