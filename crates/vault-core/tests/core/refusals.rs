//! What a core refuses inside the seal, each refusal by its name: what is malformed, what is for another ticket, what is
//! for a record that is not there. None of it costs a guess, and none of it changes the record.

use keyhaven_secrets::Entropy;
use keyhaven_testkit::vault::{Answered, Person, VaultWorld, cheap};
use keyhaven_wire::channel::{
    ChannelError, ChannelPublicKey, Conversation, OpeningKey, seal_first_with,
};
use keyhaven_wire::message::{
    Action, AttemptNumber, Denial, DeviceKey, Followup, Outcome, RecordState, RegisterAuthority,
    RegisterFinish, RegistrationId, Reply, Request, Signature, Ticket, Wait, WrappedKey,
};
use keyhaven_wire::opaque::client::decoy_ke3;
use keyhaven_wire::opaque::server::{GenerationKeys, Pending};
use keyhaven_wire::opaque::{
    Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, SessionKey,
};
use keyhaven_wire::suite::{Binding, Exported, Registered, SealedFirst, Standard, Suite};
use zeroize::Zeroizing;

const RIGHT: &str = "correct horse battery";

fn registered(seed: u64) -> (VaultWorld, Person) {
    VaultWorld::new(seed).with_alice(RIGHT)
}

/// A client whose requests are of the right length and sealed as they should be, and say nothing.
#[derive(Debug)]
struct Scribbler;

impl Suite for Scribbler {
    fn seal_first(
        &self,
        channel: &ChannelPublicKey,
        binding: &Binding<'_>,
        body: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<SealedFirst, ChannelError> {
        let scribble = vec![0xff; body.len()];
        Standard.seal_first(channel, binding, &scribble, entropy)
    }

    // It is a client: what a core does, it never does.
    fn open_first(
        &self,
        _: &OpeningKey,
        _: &Binding<'_>,
        _: &[u8],
        _: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Exported), ChannelError> {
        unreachable!()
    }

    fn draw(&self, _: &mut dyn Entropy) -> Result<GenerationKeys, OpaqueError> {
        unreachable!()
    }

    fn evaluate(
        &self,
        _: &GenerationKeys,
        _: &Parties,
        _: &RegistrationRequest,
    ) -> Result<RegistrationResponse, OpaqueError> {
        unreachable!()
    }

    fn check_upload(&self, _: &RegistrationUpload) -> Result<(), OpaqueError> {
        unreachable!()
    }

    fn respond(
        &self,
        _: &Registered<'_>,
        _: &Parties,
        _: AttemptNumber,
        _: &Ke1,
    ) -> Result<(Ke2, Pending), OpaqueError> {
        unreachable!()
    }

    fn check(&self, _: &Pending, _: &Ke3) -> Result<SessionKey, OpaqueError> {
        unreachable!()
    }

    fn verifies(&self, _: &DeviceKey, _: &[u8], _: &Signature) -> bool {
        unreachable!()
    }
}

fn denied(reply: &Reply) -> Denial {
    reply.outcome.denial().expect("a refusal")
}

/// The record is as it was when it was registered.
fn is_untouched(world: &mut VaultWorld, person: &Person) {
    let standing = person.standing(world);
    assert_eq!(standing.state, RecordState::Live);
    assert_eq!(standing.guesses_left, 10);
    assert_eq!(standing.generation.number(), 1);
}

/// Ends a conversation with this followup.
fn follow(
    world: &mut VaultWorld,
    person: &Person,
    conversation: &Conversation,
    ticket: &Ticket,
    followup: &Followup,
) -> Reply {
    let (bytes, awaiting) = conversation
        .seal_second(ticket, followup, world.entropy())
        .expect("sealing");
    awaiting.open(&person.send(world, &bytes)).expect("a reply")
}

/// A registration's first step, and its ticket.
fn begun(world: &mut VaultWorld, person: &Person) -> (Conversation, Ticket) {
    let (_, request) =
        keyhaven_wire::opaque::client::register_start(RIGHT.as_bytes(), world.entropy())
            .expect("a password");
    let id = RegistrationId::new([9; 16]);
    let (bytes, conversation) = person.seal(world, &Request::RegisterStart { id, request });
    let reply = conversation
        .open(&person.send(world, &bytes))
        .expect("a reply");
    let Outcome::RegisterStarted { ticket, .. } = reply.outcome else {
        unreachable!("step 1 is always answered: {:?}", reply.outcome);
    };
    (conversation, ticket)
}

fn finish(upload: RegistrationUpload) -> Followup {
    Followup::RegisterFinish(RegisterFinish {
        upload,
        wrapped: WrappedKey::new([5; WrappedKey::BYTES]),
        cost: cheap(),
        device: None,
        authority: RegisterAuthority::First,
    })
}

#[test]
fn a_request_that_opens_and_says_nothing_is_malformed() {
    let (mut world, person) = registered(1);
    let Parties { fleet, leaf } = *person.parties();
    let channel = *world.core().channel_key();
    let request = Request::Status { device: None };
    let (bytes, conversation) = seal_first_with(
        &Scribbler,
        &fleet,
        &channel,
        &leaf,
        &request,
        world.entropy(),
    )
    .unwrap();
    let reply = conversation
        .open(&person.send(&mut world, &bytes))
        .expect("the seal is right: there is a key to answer under");
    assert_eq!(denied(&reply), Denial::Malformed);
    is_untouched(&mut world, &person);
}

/// VAULT-1: group elements are checked before anything is made of them: the identity is refused, and so is what is
/// no element's canonical form.
#[test]
fn an_element_that_is_none_is_malformed_and_costs_nothing() {
    let (mut world, person) = registered(2);
    for element in [0, 0xff] {
        let request = RegistrationRequest::new([element; RegistrationRequest::BYTES]);
        let id = RegistrationId::new([7; 16]);
        let reply = person.ask(&mut world, &Request::RegisterStart { id, request });
        assert_eq!(denied(&reply), Denial::Malformed, "blinded {element:#x}");

        let ke1 = Ke1::new([element; Ke1::BYTES]);
        let reply = person.ask(&mut world, &Request::RecoverStart { ke1, device: None });
        assert_eq!(denied(&reply), Denial::Malformed, "KE1 {element:#x}");
    }
    is_untouched(&mut world, &person);

    let bob = Person::new(&mut world, "bob");
    for element in [0, 0xff] {
        let (conversation, ticket) = begun(&mut world, &bob);
        let upload = RegistrationUpload::new([element; RegistrationUpload::BYTES]);
        let reply = follow(&mut world, &bob, &conversation, &ticket, &finish(upload));
        assert_eq!(denied(&reply), Denial::Malformed, "upload {element:#x}");
    }
    assert_eq!(bob.standing(&mut world).state, RecordState::Vacant);
}

/// VAULT-7: the ticket of a registration arms no recovery, and that of a recovery no registration.
#[test]
fn a_ticket_is_for_its_own_kind_of_second_request() {
    let (mut world, person) = registered(3);
    let (conversation, ticket) = begun(&mut world, &person);
    let ke3 = decoy_ke3(world.entropy());
    let followup = Followup::RecoverFinish { ke3 };
    let reply = follow(&mut world, &person, &conversation, &ticket, &followup);
    assert_eq!(denied(&reply), Denial::UnknownTicket);
    is_untouched(&mut world, &person);

    let (_, ke1) =
        keyhaven_wire::opaque::client::login_start(RIGHT.as_bytes(), world.entropy()).unwrap();
    let (bytes, conversation) =
        person.seal(&mut world, &Request::RecoverStart { ke1, device: None });
    let reply = conversation.open(&person.send(&mut world, &bytes)).unwrap();
    let Outcome::RecoverStarted { ticket, .. } = reply.outcome else {
        panic!("a live record answers: {:?}", reply.outcome);
    };
    let upload = RegistrationUpload::new([1; RegistrationUpload::BYTES]);
    let followup = finish(upload);
    let reply = follow(&mut world, &person, &conversation, &ticket, &followup);
    assert_eq!(denied(&reply), Denial::UnknownTicket);
    assert_eq!(reply.standing.guesses_left, 9);
    assert_eq!(reply.standing.generation.number(), 1);
}

#[test]
fn what_needs_a_record_says_when_there_is_none() {
    let mut world = VaultWorld::new(4);
    let person = Person::new(&mut world, "alice");
    let wait = |wait| Request::BeginWait { wait };
    let (_, ke1) =
        keyhaven_wire::opaque::client::login_start(RIGHT.as_bytes(), world.entropy()).unwrap();
    let guess = Request::RecoverStart { ke1, device: None };
    let delete = person.sign_change(&mut world, Action::Delete);
    for request in [
        wait(Wait::LastGuesses),
        wait(Wait::FreshStart),
        guess.clone(),
        delete,
    ] {
        let reply = person.ask(&mut world, &request);
        assert_eq!(denied(&reply), Denial::NoRecord, "{request:?}");
        assert_eq!(reply.standing.state, RecordState::Vacant);
    }

    // After a delete there is none either; but a new line may be waited for.
    person.register(&mut world, RIGHT);
    person.change(&mut world, Action::Delete);
    let delete = person.sign_change(&mut world, Action::Delete);
    for request in [wait(Wait::LastGuesses), guess, delete] {
        let reply = person.ask(&mut world, &request);
        assert_eq!(denied(&reply), Denial::NoRecord, "{request:?}");
    }
    let reply = person.ask(&mut world, &wait(Wait::FreshStart));
    assert!(matches!(reply.outcome, Outcome::WaitBegun { .. }));
}

/// VAULT-4: what a destroyed record refuses it refuses as destroyed, whoever asks.
#[test]
fn a_destroyed_record_says_so_to_everybody() {
    let mut world = VaultWorld::new(5);
    let person = Person::new(&mut world, "alice");
    let first = |_: &Person, _: &_, _: &_| RegisterAuthority::First;
    let registration = person.prepare(&mut world, RIGHT, 1, first);
    person.arm(&mut world, &registration);
    let held_back = held_back(&mut world, &person);
    for _ in 0..9 {
        person.guess_wrong(&mut world);
    }
    assert_eq!(person.standing(&mut world).state, RecordState::Destroyed);

    // KE3 of a right guess; KE1, old and new; step 2, the same and another; a wait for guesses.
    let reply = held_back
        .open(&person.send(&mut world, &held_back.step2))
        .unwrap_err();
    assert_eq!(denied(&reply), Denial::Destroyed);
    let attempt = person.try_with_device(&mut world, RIGHT);
    let reply = person.answer(&mut world, &attempt).unwrap_err();
    assert_eq!(denied(&reply), Denial::Destroyed);
    let reply = person.arm(&mut world, &registration);
    assert_eq!(denied(&reply), Denial::Destroyed);
    let another = person.prepare(&mut world, RIGHT, 2, first);
    let reply = person.arm(&mut world, &another);
    assert_eq!(denied(&reply), Denial::Destroyed);
    let wait = Request::BeginWait {
        wait: Wait::LastGuesses,
    };
    let reply = person.ask(&mut world, &wait);
    assert_eq!(denied(&reply), Denial::Destroyed);
    let reply = person.recover(&mut world, RIGHT).unwrap_err();
    assert_eq!(denied(&reply), Denial::Destroyed);
}

/// A right guess that was answered, whose KE3 a host keeps to itself.
fn held_back(world: &mut VaultWorld, person: &Person) -> Answered {
    let attempt = person.try_with_device(world, RIGHT);
    person.answer(world, &attempt).expect("a live record")
}

#[test]
fn a_wait_that_nobody_began_cannot_be_cancelled() {
    let (mut world, person) = registered(6);
    for wait in [Wait::LastGuesses, Wait::FreshStart] {
        let reply = person.change(&mut world, Action::CancelWait(wait));
        assert_eq!(denied(&reply), Denial::NoWait, "{wait:?}");
    }
    is_untouched(&mut world, &person);
}

/// A key that the list does not hold cannot be struck off it, and the refusal is no change.
#[test]
fn a_device_that_is_not_listed_cannot_be_struck_off() {
    let (mut world, person) = registered(7);
    let stranger = Person::new(&mut world, "alice");
    let before = person.standing(&mut world).change;
    let strike = Action::DeviceRemove(stranger.device.public());
    let reply = person.change(&mut world, strike);
    assert_eq!(denied(&reply), Denial::DeviceNotListed);
    assert_eq!(person.standing(&mut world).change, before);
}
