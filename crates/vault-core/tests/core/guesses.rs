//! The guess budget, through the sealed channel and the real core: VAULT-1, VAULT-3.

use keyhaven_testkit::vault::{Answered, Person, VaultWorld};
use keyhaven_vault_core::Policy;
use keyhaven_wire::message::{
    Action, Denial, Outcome, PasswordClaim, RecordState, RegisterAuthority, Request, Verdict, Wait,
};

const RIGHT: &str = "correct horse battery";
const WRONG: &str = "incorrect horse";

/// Somebody who has registered.
fn registered(seed: u64) -> (VaultWorld, Person) {
    VaultWorld::new(seed).with_alice(RIGHT)
}

/// A wrong guess, all the way; what is left after it.
fn wrong(world: &mut VaultWorld, person: &Person) -> u8 {
    match person.recover_with_device(world, WRONG) {
        Ok(recovered) => recovered.standing.guesses_left,
        Err(reply) => reply.standing.guesses_left,
    }
}

/// VAULT-1, VAULT-3.
#[test]
fn a_right_password_brings_the_key_back_and_refills_the_budget() {
    let (mut world, person) = registered(1);
    for left in (7..10).rev() {
        assert_eq!(wrong(&mut world, &person), left);
    }
    let recovered = person.recover(&mut world, RIGHT).unwrap();
    assert!(recovered.key == person.key);
    assert!(recovered.proof.is_some());
    assert_eq!(recovered.standing.guesses_left, 10);
    assert_eq!(recovered.standing.wrong_since_lift, 3);
}

/// VAULT-1: the right tenth guess still opens.
#[test]
fn the_right_tenth_guess_still_opens() {
    let (mut world, person) = registered(2);
    for left in (1..10).rev() {
        assert_eq!(wrong(&mut world, &person), left);
    }
    let recovered = person.recover_with_device(&mut world, RIGHT).unwrap();
    assert!(recovered.key == person.key);
    assert_eq!(recovered.standing.guesses_left, 10);
}

/// VAULT-4: and the wrong tenth destroys.
#[test]
fn the_wrong_tenth_guess_destroys_the_record() {
    let (mut world, person) = registered(3);
    for _ in 0..9 {
        wrong(&mut world, &person);
    }
    let reply = person.recover_with_device(&mut world, WRONG).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Destroyed));
    assert_eq!(reply.standing.state, RecordState::Destroyed);

    let reply = person.recover_with_device(&mut world, RIGHT).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Destroyed));
}

/// VAULT-4: an eleventh KE1 destroys the record although the tenth was never finished, and the
/// tenth's own KE3 comes too late.
#[test]
fn an_eleventh_guess_destroys_the_record_and_the_tenth_comes_too_late() {
    let (mut world, person) = registered(4);
    for _ in 0..9 {
        wrong(&mut world, &person);
    }
    let tenth = person.try_with_device(&mut world, RIGHT);
    let tenth = person.answer(&mut world, &tenth).unwrap();
    let eleventh = person.try_with_device(&mut world, RIGHT);
    let reply = person.answer(&mut world, &eleventh).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Destroyed));

    let reply = tenth
        .open(&person.send(&mut world, &tenth.step2))
        .unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Destroyed));
}

/// VAULT-1: no way of asking gets an eleventh answer.
#[test]
fn ten_guesses_are_answered_and_not_one_more() {
    let (mut world, person) = registered(5);
    let mut answered = 0;
    for _ in 0..30 {
        let attempt = person.try_with_device(&mut world, RIGHT);
        if person.answer(&mut world, &attempt).is_ok() {
            answered += 1;
        }
    }
    assert_eq!(answered, 10);
}

/// VAULT-2: the same KE1 is the same guess, with the same answer.
#[test]
fn the_same_ke1_again_is_the_same_guess_with_the_same_ke2() {
    let (mut world, person) = registered(6);
    let attempt = person.try_password(&mut world, RIGHT);
    let first = person.answer(&mut world, &attempt).unwrap();
    let again = person.answer(&mut world, &attempt).unwrap();
    assert_eq!(first.ke2, again.ke2);
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    assert!(again.open(&person.send(&mut world, &again.step2)).is_ok());
    assert!(first.open(&person.send(&mut world, &first.step2)).is_ok());
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-1: a host that swallowed five right KE3s has one refill, not five.
#[test]
fn of_hoarded_ke3s_only_one_refills() {
    let (mut world, person) = registered(7);
    let hoard: Vec<Answered> = (0..5)
        .map(|_| {
            let attempt = person.try_password(&mut world, RIGHT);
            person.answer(&mut world, &attempt).unwrap()
        })
        .collect();
    assert_eq!(person.standing(&mut world).guesses_left, 5);

    // The third refills: it forgives itself and the two before, and the two later stay spent.
    let third = &hoard[2];
    let recovered = third.open(&person.send(&mut world, &third.step2)).unwrap();
    assert_eq!(recovered.standing.guesses_left, 8);
    assert!(recovered.proof.is_some());

    // The others are right, so they get the key; none refills, and none may change the record.
    for at in [0, 1, 3, 4] {
        let recovered = hoard[at]
            .open(&person.send(&mut world, &hoard[at].step2))
            .unwrap();
        assert!(recovered.key == person.key);
        assert_eq!(recovered.standing.guesses_left, 8);
        assert!(recovered.proof.is_none());
    }
}

/// VAULT-1: replaying KE3 between guesses gains nothing.
#[test]
fn a_replayed_ke3_is_answered_and_refills_nothing() {
    let (mut world, person) = registered(8);
    let attempt = person.try_password(&mut world, RIGHT);
    let answered = person.answer(&mut world, &attempt).unwrap();
    assert!(
        answered
            .open(&person.send(&mut world, &answered.step2))
            .is_ok()
    );
    for spent in 1..=6 {
        wrong(&mut world, &person);
        let again = answered
            .open(&person.send(&mut world, &answered.step2))
            .unwrap();
        assert!(again.key == person.key);
        assert_eq!(again.standing.guesses_left, 10 - spent);
    }
}

/// VAULT-1: after a wrong second message an attempt refills nothing any more.
#[test]
fn an_attempt_that_was_ended_as_wrong_does_not_refill() {
    let (mut world, person) = registered(9);
    let attempt = person.try_password(&mut world, RIGHT);
    let right = person.answer(&mut world, &attempt).unwrap();
    // The host cannot forge a second message, but a confused client could send two.
    let reply = person.send(&mut world, &attempt.step1);
    let mut confused = attempt;
    confused.mistake(WRONG);
    let decoy = person.answered(&mut world, &confused, &reply).unwrap();
    assert!(!decoy.is_right());
    let outcome = decoy
        .open(&person.send(&mut world, &decoy.step2))
        .unwrap_err();
    assert_eq!(outcome.outcome, Outcome::WrongPassword);

    let late = right.open(&person.send(&mut world, &right.step2)).unwrap();
    assert_eq!(late.standing.guesses_left, 9);
    assert!(late.proof.is_none());
}

/// VAULT-1: the lifetime cap stops even a host that proves right passwords in between, and only a
/// device lifts it.
#[test]
fn the_lifetime_cap_holds_until_a_device_lifts_it() {
    let policy = Policy {
        lifetime_guesses: 12,
        ..Policy::DEFAULT
    };
    let mut world = VaultWorld::with_policy(10, policy);
    let person = Person::new(&mut world, "alice");
    person.register(&mut world, RIGHT);
    for _ in 0..2 {
        for _ in 0..6 {
            wrong(&mut world, &person);
        }
        let _ = person.recover(&mut world, RIGHT);
    }
    let reply = person.recover_with_device(&mut world, RIGHT).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::CapReached));
    assert_eq!(reply.standing.wrong_since_lift, 12);

    let reply = person.change(&mut world, Action::LiftCap);
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    assert!(person.recover(&mut world, RIGHT).is_ok());
}

/// Somebody who merely took over the account spends seven guesses, not ten.
#[test]
fn the_last_three_guesses_need_a_device_or_a_wait() {
    let (mut world, person) = registered(11);
    for left in (3..10).rev() {
        let reply = person.recover(&mut world, WRONG).unwrap_err();
        assert_eq!(reply.standing.guesses_left, left);
    }
    let reply = person.recover(&mut world, RIGHT).unwrap_err();
    let refused = Some(Denial::LastGuessesReserved { until: None });
    assert_eq!(reply.outcome.denial(), refused);
    assert_eq!(reply.standing.guesses_left, 3);

    let begin = Request::BeginWait {
        wait: Wait::LastGuesses,
    };
    let Outcome::WaitBegun { until } = person.ask(&mut world, &begin).outcome else {
        panic!("the wait was not begun");
    };
    let reply = person.recover(&mut world, RIGHT).unwrap_err();
    let waiting = Some(Denial::LastGuessesReserved { until: Some(until) });
    assert_eq!(reply.outcome.denial(), waiting);

    world.pass(Policy::DEFAULT.wait_seconds);
    let recovered = person.recover(&mut world, RIGHT).unwrap();
    assert_eq!(recovered.standing.guesses_left, 10);
    assert_eq!(recovered.standing.last_guesses_at, None);
}

/// The owner is told of a wait and cancels it, twice at most.
#[test]
fn a_device_cancels_a_wait_twice_at_most() {
    let (mut world, person) = registered(12);
    let begin = Request::BeginWait {
        wait: Wait::FreshStart,
    };
    for _ in 0..2 {
        person.ask(&mut world, &begin);
        assert!(person.standing(&mut world).fresh_start_at.is_some());
        let reply = person.change(&mut world, Action::CancelWait(Wait::FreshStart));
        assert!(matches!(reply.outcome, Outcome::Changed { .. }));
        assert!(person.standing(&mut world).fresh_start_at.is_none());
    }
    person.ask(&mut world, &begin);
    let reply = person.change(&mut world, Action::CancelWait(Wait::FreshStart));
    assert_eq!(reply.outcome.denial(), Some(Denial::CancelsSpent));

    // A proven password ends the wait, and lets the owner cancel again.
    person.recover(&mut world, RIGHT).unwrap();
    assert!(person.standing(&mut world).fresh_start_at.is_none());
    person.ask(&mut world, &begin);
    let reply = person.change(&mut world, Action::CancelWait(Wait::FreshStart));
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
}

/// A fresh start gives up the old key, and says so to everybody who looks.
#[test]
fn a_fresh_start_begins_a_new_line_after_its_wait() {
    let (mut world, person) = registered(13);
    wrong(&mut world, &person);
    let stranger = Person::new(&mut world, "alice");
    let fresh = |_: &Person, _: &_, _: &_| RegisterAuthority::FreshStart;
    let too_early = stranger.prepare(&mut world, "another", 7, fresh);
    let reply = stranger.arm(&mut world, &too_early);
    let refused = Some(Denial::WaitNotOver { until: None });
    assert_eq!(reply.outcome.denial(), refused);

    let begin = Request::BeginWait {
        wait: Wait::FreshStart,
    };
    stranger.ask(&mut world, &begin);
    world.pass(Policy::DEFAULT.wait_seconds);
    let step2 = stranger.prepare(&mut world, "another", 8, fresh);
    let reply = stranger.arm(&mut world, &step2);
    assert!(matches!(reply.outcome, Outcome::Registered { .. }));
    assert_eq!(reply.standing.line.number(), 2);
    assert_eq!(reply.standing.guesses_left, 10);
    assert_eq!(reply.standing.wrong_since_lift, 0);
    assert_eq!(reply.standing.totals.answered, 1);

    // The old line's password and device are worth nothing in the new one.
    let reply = person.owner_standing(&mut world);
    assert_eq!(reply.outcome.denial(), Some(Denial::DeviceNotListed));
    let reply = person.recover(&mut world, RIGHT).unwrap_err();
    assert_eq!(reply.outcome, Outcome::WrongPassword);
}

/// The owner sees each attempt, and the totals are exact.
#[test]
fn the_ring_shows_the_last_sixteen_attempts_and_the_totals_count_all() {
    let (mut world, person) = registered(14);
    for _ in 0..4 {
        for _ in 0..5 {
            wrong(&mut world, &person);
        }
        person.recover(&mut world, RIGHT).unwrap();
    }
    let unfinished = person.try_password(&mut world, WRONG);
    let _never_finished = person.answer(&mut world, &unfinished).unwrap();

    let standing = person.standing(&mut world);
    assert_eq!(standing.totals.answered, 25);
    assert_eq!(standing.totals.right, 4);
    assert_eq!(standing.totals.wrong, 20);
    assert_eq!(standing.attempts.len(), 16);
    let numbers: Vec<u64> = standing
        .attempts
        .iter()
        .map(|seen| seen.number.number())
        .collect();
    assert_eq!(numbers, (10..=25).collect::<Vec<u64>>());
    let last = standing.attempts.last().unwrap();
    assert_eq!(last.verdict, Verdict::Unfinished);
    assert_eq!(last.at, world.now());
}

/// VAULT-3: the different-password claim is a device's to make, and fills the budget.
#[test]
fn a_destroyed_record_lives_again_only_by_a_device_and_another_password() {
    let (mut world, person) = registered(15);
    for _ in 0..10 {
        let _ = person.recover_with_device(&mut world, WRONG);
    }
    assert_eq!(person.standing(&mut world).state, RecordState::Destroyed);

    let same = person.prepare(&mut world, RIGHT, 2, |person, id, finish| {
        person.by_device(PasswordClaim::MayBeSame, id, finish)
    });
    let reply = person.arm(&mut world, &same);
    assert_eq!(reply.outcome.denial(), Some(Denial::NoGuessesLeft));

    let other = person.prepare(&mut world, "quite another one", 3, |person, id, finish| {
        person.by_device(PasswordClaim::Different, id, finish)
    });
    let reply = person.arm(&mut world, &other);
    assert!(matches!(reply.outcome, Outcome::Registered { .. }));
    assert_eq!(reply.standing.guesses_left, 10);
    assert!(person.recover(&mut world, "quite another one").is_ok());
}
