//! Nothing leaves before it is committed, and nothing goes back: VAULT-2, VAULT-4, VAULT-5,
//! VAULT-8, VAULT-10.

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    Answer, BATCH_MAX, Core, CoreError, Entry, FleetSecrets, LogError, MEMORY_BYTES, Memory,
    Policy, ProofError,
};
use keyhaven_wire::channel::SEALED_REPLY_BYTES;
use keyhaven_wire::message::{Outcome, Request};

const RIGHT: &str = "correct horse battery";

fn registered(seed: u64) -> (VaultWorld, Person) {
    VaultWorld::new(seed).with_alice(RIGHT)
}

/// VAULT-2: the core has no way to give an answer before its entry is captured.
#[test]
fn no_answer_leaves_before_the_entry_is_captured() {
    let (mut world, person) = registered(1);
    let attempt = person.try_password(&mut world, RIGHT);
    let batch = [(person.account.clone(), attempt.step1.clone())];
    let executed = world.execute(&batch).unwrap();
    assert_eq!(world.core_mut().release(&[]), Err(CoreError::NotCommitted));
    world.append(&executed);
    assert_eq!(world.core_mut().release(&[]), Err(CoreError::NotCommitted));
    let capture = world.capture(&executed.entry).unwrap();
    assert_eq!(world.core_mut().release(&[]), Err(CoreError::NotCommitted));
    assert_eq!(world.core_mut().release(&[capture]).unwrap().len(), 1);
    assert_eq!(
        world.core_mut().release(&[capture]),
        Err(CoreError::NothingPending),
        "one spend releases one answer"
    );
}

/// VAULT-2: the capture of another entry, or of another fleet, releases nothing.
#[test]
fn a_capture_of_anything_else_releases_nothing() {
    let (mut world, person) = registered(2);
    let (mut other, somebody) = registered(3);
    let status = person.seal(&mut world, &Request::Status { device: None }).0;
    let executed = world
        .execute(&[(person.account.clone(), status.clone())])
        .unwrap();
    world.append(&executed);
    let old = world.capture(&executed.entry).unwrap();
    assert!(world.core_mut().release(&[old]).is_ok());

    let executed = world.execute(&[(person.account.clone(), status)]).unwrap();
    world.append(&executed);
    world.capture(&executed.entry).unwrap();
    let theirs = other
        .seal_status(&somebody)
        .and_then(|executed| {
            other.append(&executed);
            other.capture(&executed.entry)
        })
        .unwrap();
    let refused = world.core_mut().release(&[old, theirs]);
    assert_eq!(refused, Err(CoreError::NotCommitted));
}

trait SealStatus {
    fn seal_status(&mut self, person: &Person) -> Result<keyhaven_vault_core::Executed, CoreError>;
}

impl SealStatus for VaultWorld {
    fn seal_status(&mut self, person: &Person) -> Result<keyhaven_vault_core::Executed, CoreError> {
        let bytes = person.seal(self, &Request::Status { device: None }).0;
        self.execute(&[(person.account.clone(), bytes)])
    }
}

/// VAULT-1, VAULT-2, VAULT-5: a crash at every step of a recovery, and the client asks again.
#[test]
fn a_crash_at_any_step_costs_no_second_guess_and_loses_nothing() {
    let mut world = VaultWorld::new(4);
    let person = Person::new(&mut world, "alice");
    let registration = person.prepare(&mut world, RIGHT, 1, |_, _, _| {
        keyhaven_wire::message::RegisterAuthority::First
    });
    world.crash_before_append(&person.account, &registration.step2);
    world.exchange_then_crash(&person.account, &registration.step2);
    let reply = person.arm(&mut world, &registration);
    assert!(
        matches!(reply.outcome, Outcome::Registered { generation } if generation.number() == 1)
    );

    let attempt = person.try_password(&mut world, RIGHT);
    world.crash_before_append(&person.account, &attempt.step1);
    assert_eq!(person.standing(&mut world).guesses_left, 10);
    world.exchange_then_crash(&person.account, &attempt.step1);
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    world.exchange_then_crash(&person.account, &attempt.step1);
    let answered = person.answer(&mut world, &attempt).unwrap();
    assert_eq!(person.standing(&mut world).guesses_left, 9);

    world.crash_before_append(&person.account, &answered.step2);
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    world.exchange_then_crash(&person.account, &answered.step2);
    assert_eq!(person.standing(&mut world).guesses_left, 10);
    let recovered = answered
        .open(&person.send(&mut world, &answered.step2))
        .unwrap();
    assert!(recovered.key == person.key);
    assert!(recovered.proof.is_some());
}

/// VAULT-2: the answer after a crash is the answer before it.
#[test]
fn ke2_is_the_same_before_and_after_a_crash() {
    let (mut world, person) = registered(5);
    let attempt = person.try_password(&mut world, RIGHT);
    let before = person.answer(&mut world, &attempt).unwrap();
    world.restart();
    let after = person.answer(&mut world, &attempt).unwrap();
    assert_eq!(before.ke2, after.ke2);
}

/// VAULT-4: a store that was rolled back is not opened, however whole it is in itself.
#[test]
fn a_store_that_was_rolled_back_is_refused() {
    let (mut world, person) = registered(6);
    let before = world.store().clone();
    for _ in 0..5 {
        let _ = person.recover(&mut world, "wrong");
    }
    let now = std::mem::replace(world.store_mut(), before);
    let refused = world.seal_status(&person).unwrap_err();
    assert!(matches!(
        refused,
        CoreError::Proof(ProofError::Mismatch { .. })
    ));
    *world.store_mut() = now;
    assert_eq!(person.standing(&mut world).guesses_left, 5);
}

/// VAULT-4, VAULT-8: one flipped byte anywhere in the store is refused, never misread.
#[test]
fn every_damaged_row_of_the_store_is_refused() {
    let (mut world, person) = registered(7);
    let keys: Vec<_> = world.store().keys().copied().collect();
    for key in keys {
        let whole = world.store()[&key].clone();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            world.store_mut().insert(key, damaged);
            let proof =
                keyhaven_vault_core::prove(&world.core().fleet(), [&person.account], |key| {
                    Ok::<_, ()>(world.store().get(key).cloned())
                });
            if let Ok(proof) = proof {
                let request = person.seal(&mut world, &Request::Status { device: None }).0;
                let touch = keyhaven_vault_core::Touch {
                    account: person.account.clone(),
                    request,
                };
                let now = world.now();
                let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(7);
                let refused = world
                    .core_mut()
                    .execute(vec![touch], &proof, now, &mut entropy)
                    .unwrap_err();
                assert!(matches!(refused, CoreError::Proof(_)));
            }
        }
        world.store_mut().insert(key, whole);
    }
    assert!(person.recover(&mut world, RIGHT).is_ok());
}

/// VAULT-8: entries are captured in order, and only if this fleet made them.
#[test]
fn entries_are_captured_in_order_and_only_of_this_fleet() {
    let (mut world, person) = registered(8);
    let (mut other, somebody) = registered(9);
    let foreign = other.seal_status(&somebody).unwrap().entry;
    assert_eq!(
        world.core_mut().capture(&foreign),
        Err(CoreError::Log(LogError::BadMac))
    );
    let before = world.log()[world.log().len() - 2];
    let refused = world.core_mut().capture(&before).unwrap_err();
    assert!(matches!(refused, CoreError::Log(LogError::NotNext { .. })));

    let next = world.seal_status(&person).unwrap().entry;
    let mut bytes = next.encode();
    assert_eq!(Entry::decode(&bytes), Ok(next));
    for at in 0..bytes.len() {
        bytes[at] ^= 0x40;
        if let Ok(changed) = Entry::decode(&bytes) {
            let bad = CoreError::Log(LogError::BadMac);
            assert_eq!(world.core_mut().capture(&changed), Err(bad));
            assert_eq!(world.core_mut().vouch(&changed), Err(bad));
        }
        bytes[at] ^= 0x40;
    }
    assert_eq!(world.core_mut().vouch(&next), Ok(()));
    assert!(world.core_mut().capture(&next).is_ok());
}

/// VAULT-2: if the store took another entry, the answers to ours are destroyed; and a leader that
/// gives an entry up makes no second one of its term.
#[test]
fn answers_to_an_entry_that_lost_are_destroyed() {
    let (mut world, person) = registered(10);
    let winner = world.seal_status(&person).unwrap();
    world.stand().unwrap();
    let attempt = person.try_password(&mut world, RIGHT);
    let loser = [(person.account.clone(), attempt.step1.clone())];
    let loser = world.execute(&loser).unwrap();
    assert_eq!(winner.entry.index(), loser.entry.index());
    assert!(winner.entry.term() < loser.entry.term());
    let given_up = world.core_mut().capture(&winner.entry);
    assert!(matches!(
        given_up,
        Err(CoreError::Log(LogError::OldTerm { .. }))
    ));
    world.append(&winner);
    world.restart();
    assert_eq!(
        world.core_mut().release(&[]),
        Err(CoreError::NothingPending)
    );
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-5: a core that is resumed with the memory of an older state catches up entry by entry, and
/// one whose memory is ahead of the store serves nothing.
#[test]
fn a_resumed_core_catches_up_and_never_serves_an_older_store() {
    let (mut world, person) = registered(11);
    let store_before = world.store().clone();
    let log_before = world.log().to_vec();
    let _ = person.recover(&mut world, "wrong");
    world.restart();
    *world.store_mut() = store_before;
    assert!(world.log().len() > log_before.len());
    let refused = world.seal_status(&person).unwrap_err();
    assert!(matches!(refused, CoreError::Proof(_)));
}

/// VAULT-10: the memory has one size, whatever it guards; a damaged one is refused.
#[test]
fn the_memory_is_some_hundred_bytes_and_authenticated() {
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(12);
    let (_, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut entropy).unwrap();
    let mut bytes = genesis.memory.encode();
    assert!(bytes.len() == MEMORY_BYTES && MEMORY_BYTES < 400);
    assert_eq!(Memory::decode(&bytes), Ok(genesis.memory));
    let secrets = || FleetSecrets::decode(&genesis.secrets).unwrap();
    assert!(Core::resume(secrets(), genesis.memory).is_ok());
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        if let Ok(changed) = Memory::decode(&bytes) {
            assert!(Core::resume(secrets(), changed).is_err());
        }
        bytes[at] ^= 1;
    }
}

/// VAULT-10: a batch is bounded, and one account may stand in it often.
#[test]
fn a_batch_is_bounded_and_applied_in_order() {
    let (mut world, person) = registered(13);
    assert_eq!(world.batch(&[]), Err(CoreError::BatchSize));
    let bytes = person.seal(&mut world, &Request::Status { device: None }).0;
    let full = vec![(person.account.clone(), bytes); BATCH_MAX + 1];
    assert_eq!(world.batch(&full), Err(CoreError::BatchSize));

    let attempts: Vec<_> = (0..9)
        .map(|_| person.try_with_device(&mut world, RIGHT))
        .collect();
    let batch: Vec<_> = attempts
        .iter()
        .map(|attempt| (person.account.clone(), attempt.step1.clone()))
        .collect();
    let answers = world.batch(&batch).unwrap();
    assert_eq!(answers.len(), 9);
    assert_eq!(person.standing(&mut world).guesses_left, 1);
}

/// What a host sees: replies of one length, leaves of one length, and every touch rewrites.
#[test]
fn a_host_sees_one_length_and_a_rewritten_leaf_whatever_the_verdict() {
    let (mut world, person) = registered(14);
    let mut seen = Vec::new();
    for password in [RIGHT, "wrong"] {
        let attempt = person.try_password(&mut world, password);
        let answered = person.answer(&mut world, &attempt).unwrap();
        let executed = world
            .execute(&[(person.account.clone(), answered.step2.clone())])
            .unwrap();
        world.append(&executed);
        let capture = world.capture(&executed.entry).unwrap();
        let answers = world.core_mut().release(&[capture]).unwrap();
        let [Answer::Sealed(reply)] = answers.as_slice() else {
            panic!("unreadable");
        };
        assert_eq!(reply.len(), SEALED_REPLY_BYTES);
        let shape: Vec<_> = executed
            .puts
            .iter()
            .map(|(key, bytes)| (*key, bytes.len()))
            .collect();
        seen.push(shape);
    }
    assert_eq!(seen[0], seen[1]);
    // A question alone also rewrites the leaf, under a fresh nonce.
    let before = world.store().clone();
    person.standing(&mut world);
    assert_ne!(&before, world.store());
}

/// A request that does not open is answered by nobody, changes nothing, and harms no other.
#[test]
fn garbage_in_a_batch_is_unreadable_and_harms_no_other_request() {
    let (mut world, person) = registered(15);
    let (bytes, conversation) = person.seal(&mut world, &Request::Status { device: None });
    let mut flipped = bytes.clone();
    flipped[1500] ^= 1;
    let stranger = Person::new(&mut world, "mallory");
    let answers = world
        .batch(&[
            (person.account.clone(), vec![0; 10]),
            (person.account.clone(), flipped),
            // Alice's request, carried under another account's name.
            (stranger.account.clone(), bytes.clone()),
            (person.account.clone(), bytes),
        ])
        .unwrap();
    let [
        Answer::Unreadable,
        Answer::Unreadable,
        Answer::Unreadable,
        Answer::Sealed(reply),
    ] = answers.as_slice()
    else {
        panic!("{answers:?}");
    };
    assert_eq!(conversation.open(reply).unwrap().outcome, Outcome::Standing);
}

/// The secrets come back from their bytes, and damaged ones do not.
#[test]
fn damaged_secrets_are_refused() {
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(16);
    let (core, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut entropy).unwrap();
    let kept = FleetSecrets::decode(&genesis.secrets).unwrap();
    assert_eq!(kept.fleet(), core.fleet());
    assert_eq!(kept.channel_key(), core.channel_key());
    let mut bytes = genesis.secrets.to_vec();
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        assert!(FleetSecrets::decode(&bytes).is_err());
        bytes[at] ^= 1;
        assert!(FleetSecrets::decode(&bytes[..at]).is_err());
    }
}
