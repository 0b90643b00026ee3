//! `kill -9` at any moment: no guess comes back, nothing acknowledged is lost.
//!
//! The moments are drawn, not chosen: between any two instructions of the host lies one of the
//! steps prove, execute, append, capture, remember, release, reply.

use std::thread;
use std::time::Duration;

use keyhaven_vault_client::{RecordState, VaultError};

use crate::world::House;

/// VAULT-1, VAULT-2, VAULT-3, VAULT-4: ten wrong guesses in all, counted by whoever guesses, over
/// as many crashes as it takes; then the right password opens nothing.
#[test]
fn no_guess_comes_back_when_the_vault_is_killed_between_any_two_steps() {
    let mut house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "the right one").unwrap();
    let (mut answered, mut left_before, mut guess) = (0_u8, 10_u8, 0_u32);
    loop {
        let kill = house.assassin();
        let after = Duration::from_micros(ada.random(12_000));
        let killer = thread::spawn(move || {
            thread::sleep(after);
            kill();
        });
        let ended = loop {
            match ada.guess(&house, &format!("wrong {guess}")) {
                Err(VaultError::WrongPassword { left }) => {
                    // VAULT-2: a verdict is worth one spent guess, whatever crashed on the way.
                    answered += 1;
                    guess += 1;
                    assert!(
                        left <= 10 - answered,
                        "{left} left after {answered} answers"
                    );
                }
                Err(VaultError::Transport(_)) => break false,
                Err(VaultError::Exhausted) => break true,
                other => panic!("{other:?}"),
            }
        };
        killer.join().unwrap();
        house.kill();
        house.start(&[]);
        let standing = ada.standing(&house);
        // VAULT-3: what is left never rises over a crash, and never exceeds what is unspent.
        assert!(
            standing.guesses_left <= left_before,
            "guesses came back over a crash"
        );
        assert!(standing.guesses_left <= 10 - answered);
        left_before = standing.guesses_left;
        if ended {
            assert_eq!(standing.state, RecordState::Destroyed);
            break;
        }
        // Often the person types something else after a crash: another guess, also paid for.
        if ada.random(2) == 0 {
            ada.forget_guess();
            guess += 1;
        }
    }
    assert!(answered <= 10, "{answered} wrong passwords were judged");
    // VAULT-4: destroyed is destroyed.
    ada.forget_guess();
    assert_eq!(
        ada.guess(&house, "the right one").unwrap_err(),
        VaultError::Exhausted
    );
}

/// VAULT-1, VAULT-2: the right password, guessed at and cut off at any moment, costs one guess and
/// gives it back; repeating it is the same guess.
#[test]
fn a_recovery_cut_off_at_any_moment_ends_with_the_key_and_a_full_budget() {
    let mut house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "the right one").unwrap();
    for _ in 0..12 {
        let kill = house.assassin();
        let after = Duration::from_micros(ada.random(8_000));
        let killer = thread::spawn(move || {
            thread::sleep(after);
            kill();
        });
        let cut_off = ada.guess(&house, "the right one");
        killer.join().unwrap();
        house.kill();
        house.start(&[]);
        if cut_off.is_err() {
            assert!(
                ada.standing(&house).guesses_left >= 9,
                "one guess is under way at most"
            );
        }
        let recovered = ada.guess(&house, "the right one").unwrap();
        assert!(recovered.key == ada.key);
        assert_eq!(recovered.standing.guesses_left, 10);
    }
}

/// VAULT-5, VAULT-7: an acknowledged registration survives; one that was cut off is finished with
/// the same bytes and is the same registration.
#[test]
fn acknowledged_registrations_survive_and_interrupted_ones_are_finished() {
    const PEOPLE: usize = 6;
    let mut house = House::open();
    for round in 0..5 {
        let mut people: Vec<_> = (0..PEOPLE)
            .map(|n| house.person(&format!("person {round}.{n}")))
            .collect();
        let kill = house.assassin();
        let after = Duration::from_micros(2_000 + people[0].random(25_000));
        let killer = thread::spawn(move || {
            thread::sleep(after);
            kill();
        });
        let acknowledged: Vec<bool> = thread::scope(|scope| {
            let registering: Vec<_> = people
                .iter_mut()
                .map(|person| {
                    let house = &house;
                    scope.spawn(move || person.register(house, "walnut trapeze").is_ok())
                })
                .collect();
            registering
                .into_iter()
                .map(|one| one.join().unwrap())
                .collect()
        });
        killer.join().unwrap();
        house.kill();
        house.start(&[]);
        for (person, acknowledged) in people.iter_mut().zip(acknowledged) {
            if !acknowledged {
                let vault = person.connect(&house).unwrap();
                let finished = vault.finish_registration(&mut person.journal, &mut person.entropy);
                if finished.unwrap().is_none() {
                    person.register(&house, "walnut trapeze").unwrap();
                }
            }
            let recovered = person.guess(&house, "walnut trapeze").unwrap();
            assert!(recovered.key == person.key);
            assert_eq!(recovered.standing.generation.number(), 1, "registered once");
        }
    }
}
