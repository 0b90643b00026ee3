//! Registering, registering again, deleting: VAULT-3, VAULT-4, VAULT-7.

use keyhaven_testkit::vault::{Person, Registration, VaultWorld};
use keyhaven_wire::message::{
    Action, Denial, DigestBytes, Freshness, Outcome, PasswordClaim, RecordState, RegisterAuthority,
    RegisterFinish, RegistrationId,
};

const RIGHT: &str = "correct horse battery";
const OTHER: &str = "quite another one";

fn first(_: &Person, _: &RegistrationId, _: &RegisterFinish) -> RegisterAuthority {
    RegisterAuthority::First
}

fn same(person: &Person, id: &RegistrationId, finish: &RegisterFinish) -> RegisterAuthority {
    person.by_device(PasswordClaim::MayBeSame, id, finish)
}

fn different(person: &Person, id: &RegistrationId, finish: &RegisterFinish) -> RegisterAuthority {
    person.by_device(PasswordClaim::Different, id, finish)
}

fn registered(seed: u64) -> (VaultWorld, Person) {
    VaultWorld::new(seed).with_alice(RIGHT)
}

fn arms(world: &mut VaultWorld, person: &Person, registration: &Registration) -> bool {
    let reply = person.arm(world, registration);
    matches!(reply.outcome, Outcome::Registered { .. })
}

/// The host guesses once, as somebody with the account's token but the owner's device: the most
/// that it can do. Whether it was answered.
fn host_guesses(world: &mut VaultWorld, person: &Person) -> bool {
    let attempt = person.try_with_device(world, "a host's guess");
    person.answer(world, &attempt).is_ok()
}

#[test]
fn step_1_stores_nothing() {
    let mut world = VaultWorld::new(1);
    let person = Person::new(&mut world, "alice");
    for id in 0..3 {
        let _ = person.prepare(&mut world, RIGHT, id, first);
    }
    let standing = person.standing(&mut world);
    assert_eq!(standing.state, RecordState::Vacant);
    assert_eq!(standing.generation.number(), 0);
    let reply = person.recover(&mut world, RIGHT).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::NoRecord));
}

/// VAULT-7: a retry of step 2 is the same registration.
#[test]
fn the_same_step_2_again_is_acknowledged_again_and_changes_nothing() {
    let mut world = VaultWorld::new(2);
    let person = Person::new(&mut world, "alice");
    let registration = person.prepare(&mut world, RIGHT, 1, first);
    assert!(arms(&mut world, &person, &registration));
    for _ in 0..4 {
        let _ = host_guesses(&mut world, &person);
    }
    let reply = person.arm(&mut world, &registration);
    assert!(
        matches!(reply.outcome, Outcome::Registered { generation } if generation.number() == 1)
    );
    assert_eq!(
        reply.standing.guesses_left, 6,
        "an acknowledgement refills nothing"
    );
}

/// VAULT-7: one id arms one registration.
#[test]
fn other_bytes_under_the_same_id_are_refused() {
    let (mut world, person) = registered(3);
    let again = person.prepare(&mut world, OTHER, 1, different);
    let reply = person.arm(&mut world, &again);
    assert_eq!(reply.outcome.denial(), Some(Denial::IdReused));
    assert!(person.recover(&mut world, RIGHT).is_ok());
}

/// VAULT-7: two step 1s, and only one of them arms.
#[test]
fn of_two_registrations_that_were_begun_only_one_arms() {
    let mut world = VaultWorld::new(4);
    let person = Person::new(&mut world, "alice");
    let one = person.prepare(&mut world, RIGHT, 1, first);
    let two = person.prepare(&mut world, OTHER, 2, first);
    assert!(arms(&mut world, &person, &two));
    let reply = person.arm(&mut world, &one);
    assert_eq!(reply.outcome.denial(), Some(Denial::Stale));
    assert!(person.recover(&mut world, OTHER).is_ok());
}

/// VAULT-7: the account's token alone replaces nothing.
#[test]
fn a_stranger_with_the_token_cannot_register_over_a_record() {
    let (mut world, person) = registered(5);
    let stranger = Person::new(&mut world, "alice");
    let theirs = stranger.prepare(&mut world, OTHER, 9, first);
    let reply = stranger.arm(&mut world, &theirs);
    assert_eq!(reply.outcome.denial(), Some(Denial::AlreadyRegistered));
    let theirs = stranger.prepare(&mut world, OTHER, 10, different);
    let reply = stranger.arm(&mut world, &theirs);
    assert_eq!(reply.outcome.denial(), Some(Denial::DeviceNotListed));
    assert!(person.recover(&mut world, RIGHT).is_ok());
}

/// VAULT-1, VAULT-7: the re-registration attack that was found against WhatsApp's vault (Davies
/// et al., CRYPTO 2023). The host swallows every acknowledgement, so the client registers the same
/// password again and again; at each generation the host guesses as often as it is answered.
///
/// "Security Analysis of the WhatsApp End-to-End Encrypted Backup Protocol", doi:10.1007/978-3-031-38551-3_11.
#[test]
fn registering_the_same_password_again_and_again_gives_a_host_ten_guesses_in_all() {
    let mut world = VaultWorld::new(6);
    let person = Person::new(&mut world, "alice");
    let mut guesses = 0;
    let mut armed = 0;
    for id in 0..20 {
        // The client never hears an answer; it only knows that it has a device key by now.
        let authority = if id == 0 { first } else { same };
        let registration = person.prepare(&mut world, RIGHT, id, authority);
        let acknowledgement_swallowed = arms(&mut world, &person, &registration);
        armed += usize::from(acknowledgement_swallowed);
        // Two guesses a round, so that the record is not destroyed before it is replaced.
        guesses += usize::from(host_guesses(&mut world, &person));
        guesses += usize::from(host_guesses(&mut world, &person));
    }
    assert!(armed > 1, "the attack did replace generations");
    assert_eq!(guesses, 10, "over all generations together");
}

/// VAULT-1, VAULT-7: the same, by deleting and registering afresh each time.
#[test]
fn deleting_and_registering_again_gives_a_host_ten_guesses_in_all() {
    let (mut world, person) = registered(7);
    let mut guesses = 0;
    for id in 2..20 {
        guesses += usize::from(host_guesses(&mut world, &person));
        let reply = person.change(&mut world, Action::Delete);
        if !matches!(reply.outcome, Outcome::Changed { .. }) {
            break;
        }
        let again = person.prepare(&mut world, RIGHT, id, first);
        if !arms(&mut world, &person, &again) {
            break;
        }
    }
    assert_eq!(guesses, 10);
    let standing = person.standing(&mut world);
    assert_eq!(standing.guesses_left, 0);
    assert_eq!(standing.line.number(), 1);
}

/// VAULT-7: a step 2 that the host held back finds another generation after a delete.
#[test]
fn a_step_2_replayed_after_a_delete_arms_nothing() {
    let mut world = VaultWorld::new(8);
    let person = Person::new(&mut world, "alice");
    let registration = person.prepare(&mut world, RIGHT, 1, first);
    let held_back = person.prepare(&mut world, RIGHT, 2, first);
    assert!(arms(&mut world, &person, &registration));
    let held_back_too = person.prepare(&mut world, OTHER, 3, different);
    let reply = person.change(&mut world, Action::Delete);
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    assert_eq!(reply.standing.state, RecordState::Deleted);

    for step2 in [&registration, &held_back, &held_back_too] {
        let reply = person.arm(&mut world, step2);
        assert_eq!(reply.outcome.denial(), Some(Denial::Stale));
        assert_eq!(reply.standing.state, RecordState::Deleted);
    }
    let reply = person.recover(&mut world, RIGHT).unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::NoRecord));
}

/// VAULT-4: a KE3 of a generation that was replaced or deleted opens nothing.
#[test]
fn a_ke3_held_back_over_a_new_generation_opens_nothing() {
    let (mut world, person) = registered(9);
    let attempt = person.try_password(&mut world, RIGHT);
    let held_back = person.answer(&mut world, &attempt).unwrap();
    let other = person.prepare(&mut world, OTHER, 2, different);
    assert!(arms(&mut world, &person, &other));
    let reply = held_back
        .open(&person.send(&mut world, &held_back.step2))
        .unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Stale));
    assert_eq!(reply.standing.guesses_left, 10);
}

/// VAULT-3: a session that proved the password arms a new generation with a full budget, once.
#[test]
fn a_proven_session_changes_the_password_and_its_proof_ends_there() {
    let (mut world, person) = registered(10);
    let new_phone = Person::new(&mut world, "alice");
    let recovered = new_phone.recover(&mut world, RIGHT).unwrap();
    let proof = recovered.proof.unwrap();
    for _ in 0..4 {
        let _ = host_guesses(&mut world, &person);
    }
    let by_session = |_: &Person, _: &_, _: &_| RegisterAuthority::Session(proof);
    let changed = new_phone.prepare(&mut world, OTHER, 2, by_session);
    let reply = new_phone.arm(&mut world, &changed);
    assert!(
        matches!(reply.outcome, Outcome::Registered { generation } if generation.number() == 2)
    );
    assert_eq!(reply.standing.guesses_left, 10);
    let owner = reply.standing.owner.unwrap();
    assert_eq!(
        owner.devices,
        [person.device.public(), new_phone.device.public()]
    );

    // The proof was for the old generation.
    let again = new_phone.prepare(&mut world, RIGHT, 3, by_session);
    let reply = new_phone.arm(&mut world, &again);
    assert_eq!(reply.outcome.denial(), Some(Denial::SessionOver));
    let reply = new_phone.change_in_session(&mut world, proof, Action::Delete);
    assert_eq!(reply.outcome.denial(), Some(Denial::SessionOver));
}

/// An older session's proof ends when a newer one has proven the password.
#[test]
fn only_the_newest_proof_of_a_password_changes_anything() {
    let (mut world, person) = registered(11);
    let old = person.recover(&mut world, RIGHT).unwrap().proof.unwrap();
    let new = person.recover(&mut world, RIGHT).unwrap().proof.unwrap();
    let reply = person.change_in_session(&mut world, old, Action::Delete);
    assert_eq!(reply.outcome.denial(), Some(Denial::SessionOver));
    let reply = person.change_in_session(&mut world, new, Action::Delete);
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
}

#[test]
fn a_change_is_made_once_and_acknowledged_as_often_as_it_is_sent() {
    let (mut world, person) = registered(12);
    let note = |sequence| {
        Action::NoteFreshness(Freshness {
            sequence,
            digest: DigestBytes::new([7; 32]),
        })
    };
    let one = person.sign_change(&mut world, note(1));
    let reply = person.ask(&mut world, &one);
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    let reply = person.ask(&mut world, &one);
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));

    // A host that replays the old note later does not turn the record back.
    let reply = person.change(&mut world, note(2));
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    let reply = person.ask(&mut world, &one);
    assert_eq!(reply.outcome.denial(), Some(Denial::WrongChangeNumber));
    let owner = person.owner_standing(&mut world).standing.owner.unwrap();
    assert_eq!(owner.freshness.unwrap().sequence, 2);
}

#[test]
fn a_lost_acknowledgement_of_a_delete_is_heard_when_asked_again() {
    let (mut world, person) = registered(13);
    let delete = person.sign_change(&mut world, Action::Delete);
    let (bytes, conversation) = person.seal(&mut world, &delete);
    world.exchange_then_crash(&person.account, &bytes);
    let reply = conversation.open(&person.send(&mut world, &bytes)).unwrap();
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    assert_eq!(reply.standing.state, RecordState::Deleted);
}

#[test]
fn devices_are_listed_by_devices_and_sessions_and_eight_at_most() {
    let (mut world, person) = registered(14);
    let others: Vec<Person> = (0..8).map(|_| Person::new(&mut world, "alice")).collect();
    for other in &others[..7] {
        let reply = person.change(&mut world, Action::DeviceAdd(other.device.public()));
        assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    }
    let ninth = Action::DeviceAdd(others[7].device.public());
    let reply = person.change(&mut world, ninth.clone());
    assert_eq!(reply.outcome.denial(), Some(Denial::TooManyDevices));

    // One device strikes another off, which then says nothing any more.
    let reply = others[0].change(&mut world, Action::DeviceRemove(person.device.public()));
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    let reply = person.change(&mut world, ninth.clone());
    assert_eq!(reply.outcome.denial(), Some(Denial::DeviceNotListed));

    // A session that proved the password lists the ninth in its place.
    let proof = person.recover(&mut world, RIGHT).unwrap().proof.unwrap();
    let reply = person.change_in_session(&mut world, proof, ninth);
    assert!(matches!(reply.outcome, Outcome::Changed { .. }));
    assert_eq!(reply.standing.owner.unwrap().devices.len(), 8);

    // What only a device may do, a session may not.
    let reply = person.change_in_session(&mut world, proof, Action::LiftCap);
    assert_eq!(reply.outcome.denial(), Some(Denial::DeviceOnly));
}

#[test]
fn a_forged_signature_and_one_for_another_account_are_refused() {
    let (mut world, person) = registered(15);
    let mallory = Person::new(&mut world, "mallory");
    mallory.register(&mut world, RIGHT);
    // Mallory's device is not Alice's; and a statement for Mallory's account is not one for Alice's.
    let theirs = mallory.sign_change(&mut world, Action::Delete);
    let reply = person.ask(&mut world, &theirs);
    assert_eq!(reply.outcome.denial(), Some(Denial::BadSignature));
    let keyhaven_wire::message::Request::Change { change, .. } = theirs else {
        panic!("a change");
    };
    let forged = keyhaven_testkit::vault::forged(&person.device);
    let reply = person.ask(
        &mut world,
        &keyhaven_wire::message::Request::Change {
            change,
            authority: keyhaven_wire::message::Authority::Device(forged),
        },
    );
    assert_eq!(reply.outcome.denial(), Some(Denial::BadSignature));
    assert_eq!(person.standing(&mut world).state, RecordState::Live);
}

/// Only the owner is told of devices and freshness.
#[test]
fn a_stranger_with_the_token_learns_no_devices_and_no_freshness() {
    let (mut world, person) = registered(16);
    assert!(person.standing(&mut world).owner.is_none());
    assert!(person.owner_standing(&mut world).standing.owner.is_some());
    let reply = person.recover(&mut world, "wrong").unwrap_err();
    assert!(reply.standing.owner.is_none());
    assert!(
        person
            .recover(&mut world, RIGHT)
            .unwrap()
            .standing
            .owner
            .is_some()
    );
}

/// VAULT-1, VAULT-7: what was answered in one generation was paid there: the same KE1 is a new guess in the next.
#[test]
fn a_ke1_of_an_earlier_generation_is_a_new_guess() {
    let (mut world, person) = registered(17);
    let attempt = person.try_with_device(&mut world, RIGHT);
    let before = person.answer(&mut world, &attempt).unwrap();
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    let may_be_same = |person: &Person, id: &RegistrationId, finish: &RegisterFinish| {
        person.by_device(PasswordClaim::MayBeSame, id, finish)
    };
    let again = person.prepare(&mut world, RIGHT, 2, may_be_same);
    assert!(arms(&mut world, &person, &again));
    assert_eq!(person.standing(&mut world).guesses_left, 9);
    let after = person.answer(&mut world, &attempt).unwrap();
    assert_eq!(person.standing(&mut world).guesses_left, 8);
    assert!(after.number > before.number);
    // The generation's first answer, whose KE3 comes now, is of no generation that lives.
    for _ in 0..9 {
        person.guess_wrong(&mut world);
    }
    assert_eq!(person.standing(&mut world).state, RecordState::Destroyed);
    let reply = before
        .open(&person.send(&mut world, &before.step2))
        .unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Stale));
    let reply = after
        .open(&person.send(&mut world, &after.step2))
        .unwrap_err();
    assert_eq!(reply.outcome.denial(), Some(Denial::Destroyed));
}
