//! Kinds of fault that systems of this kind have had, each as a test here, with the public change that mended it.
//! SVR2 is `signalapp/SecureValueRecovery2`, the realm is `juicebox-systems/juicebox-hsm-realm`. Others: the
//! measurement and the serial of a validation bundle (`vault-client/tests/vault/connect.rs`), replies of
//! every other length (`wire/src/channel/tests.rs`), ranges that are none (`ranges.rs`), the greatest record
//! (`src/record/tests.rs`), reports that hide a fork (`src/log/tests.rs`), the same password registered again and
//! again (`registration.rs`).

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    Answer, CAPTURE_BYTES, Capture, Core, CoreError, Member, Policy, Quorum, REPORT_BYTES, Range,
    RangeStep, Report, Term, Touch, dangerous,
};
use keyhaven_wire::message::{
    Action, Authority, Change, ChangeNumber, Denial, HostTime, Outcome, RecordState, Request,
};

const RIGHT: &str = "correct horse battery";
const WRONG: &str = "wrong horse battery";

fn registered(seed: u64, quorum: Quorum) -> (VaultWorld, Person) {
    VaultWorld::group(seed, quorum).with_alice(RIGHT)
}

/// VAULT-1, VAULT-3: a counter of tries that stands at zero is taken over by another replica, and counted down once more:
/// it must not wrap around to as many tries as a byte can say.
///
/// SVR2 575324e: a replica took over rows with no try left.
#[test]
fn a_record_with_no_guess_left_has_none_at_the_next_leader() {
    for guesses in [1, 2, 10] {
        let policy = Policy {
            quorum: Quorum::THREE,
            guesses,
            reserved: 0,
            ..Policy::DEFAULT
        };
        let mut world = VaultWorld::with_policy(1, policy);
        let person = Person::new(&mut world, "alice");
        person.register(&mut world, RIGHT);
        let attempts: Vec<_> = (0..guesses)
            .map(|_| {
                let attempt = person.try_with_device(&mut world, WRONG);
                person.answer(&mut world, &attempt).unwrap();
                attempt
            })
            .collect();
        for leader in [1, 0, 2] {
            world.away((leader + 1) % 3, false);
            world.lead(leader).unwrap();
            assert_eq!(person.standing(&mut world).guesses_left, 0);
            // The same KE1 is answered again, and counts nothing down.
            person.answer(&mut world, attempts.last().unwrap()).unwrap();
            assert_eq!(person.standing(&mut world).guesses_left, 0);
        }
        let more = person.try_with_device(&mut world, RIGHT);
        let refused = person.answer(&mut world, &more).unwrap_err();
        assert_eq!(refused.outcome, Outcome::Denied(Denial::Destroyed));
        for leader in [1, 2] {
            world.lead(leader).unwrap();
            let standing = person.standing(&mut world);
            assert_eq!(
                (standing.state, standing.guesses_left),
                (RecordState::Destroyed, 0)
            );
        }
    }
}

/// VAULT-2, VAULT-10: a message in several parts that is cut after one of them, and a part that is another message's: what
/// does not authenticate as a whole is nothing.
///
/// SVR2 b6b8b45: a long message on the channel could lose its last parts unseen.
#[test]
fn a_request_that_is_cut_or_put_together_is_not_read() {
    let (mut world, person) = registered(2, Quorum::ONE);
    let attempt = person.try_password(&mut world, WRONG);
    let other = person.try_password(&mut world, WRONG);
    let mut pieces = Vec::new();
    for at in 0..attempt.step1.len() {
        pieces.push(attempt.step1[..at].to_vec());
        pieces.push([&attempt.step1[..at], &other.step1[at..]].concat());
    }
    // Nothing of the first, and all of the other, is the other.
    pieces.remove(1);
    for part in pieces.chunks(64) {
        let batch: Vec<_> = part
            .iter()
            .filter(|bytes| **bytes != attempt.step1 && **bytes != other.step1)
            .map(|bytes| (person.account.clone(), bytes.clone()))
            .collect();
        let answers = world.batch(&batch).unwrap();
        assert!(answers.iter().all(|answer| *answer == Answer::Unreadable));
    }
    assert_eq!(person.standing(&mut world).guesses_left, 10);
}

/// VAULT-2, VAULT-8, VAULT-9: a reply that is not asked who it is from: a statement counts for the core that made it, once, and in
/// the group and for the entry or call that it was made for.
///
/// SVR2 0c642b0: a reply was taken from a peer that had not been asked.
#[test]
fn a_statement_under_another_cores_name_does_not_count() {
    let (mut world, person) = registered(3, Quorum::THREE);
    let (bytes, _) = person.seal(&mut world, &Request::Status { device: None });
    let executed = world.execute(&[(person.account.clone(), bytes)]).unwrap();
    world.append(&executed);
    let own = world.capture_at(0, &executed.entry).unwrap();
    let mut renamed = own.encode();
    let names: Vec<_> = executed.entry.membership().members().copied().collect();
    let at = (0..CAPTURE_BYTES)
        .find(|at| renamed[*at..].starts_with(own.member().as_bytes()))
        .unwrap();
    for name in names.into_iter().filter(|name| *name != own.member()) {
        renamed[at..at + 16].copy_from_slice(name.as_bytes());
        let renamed = Capture::decode(&renamed).unwrap();
        let released = world.core_mut().release(&[own, renamed]);
        assert_eq!(released, Err(CoreError::NotCommitted));
    }
    let captures = world.captures(&executed.entry);
    world.core_mut().release(&captures).unwrap();

    world.away(2, true);
    world.away(0, true);
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(4);
    let call = world.core_at(1).stand(Term::new(5), &mut entropy).unwrap();
    let report = world.core_at(1).promise(&call).unwrap();
    let mut renamed = report.encode();
    let own = *world.memory_at(1).member().as_bytes();
    let at = (0..REPORT_BYTES)
        .find(|at| renamed[*at..].starts_with(&own))
        .unwrap();
    renamed[at..at + 16].copy_from_slice(world.memory_at(2).member().as_bytes());
    let renamed = Report::decode(&renamed).unwrap();
    let led = world.core_at(1).lead(&[report, renamed]);
    assert_eq!(led, Err(CoreError::NotElected));
}

/// VAULT-2: a reply to somebody else, or to an earlier request of one's own, is no reply.
///
/// A kind of fault, the client's side of the one above; none that was reported is known to us.
#[test]
fn a_reply_to_another_request_does_not_open() {
    let (mut world, person) = registered(5, Quorum::ONE);
    let bob = Person::new(&mut world, "bob");
    let status = Request::Status { device: None };
    let (bytes, conversation) = person.seal(&mut world, &status);
    let (earlier, _) = person.seal(&mut world, &status);
    let (bobs, _) = bob.seal(&mut world, &status);
    let earlier = person.send(&mut world, &earlier);
    let bobs = bob.send(&mut world, &bobs);
    assert!(conversation.open(&earlier).is_err());
    assert!(conversation.open(&bobs).is_err());
    let own = person.send(&mut world, &bytes);
    for at in 0..own.len() {
        assert!(conversation.open(&own[..at]).is_err(), "cut at {at}");
    }
    conversation.open(&own).unwrap();
}

/// VAULT-4, VAULT-8: sequence numbers that are compared the wrong way, or that wrap around: a change carries the next
/// number and no other, a term is above all that were promised, and the last of them has no next.
///
/// SVR2 8f16fa5: the difference of two unsigned epochs is never negative, so that an older one came out as newer.
#[test]
fn numbers_only_rise_and_none_wraps_around() {
    let (mut world, person) = registered(6, Quorum::ONE);
    let leaf = person.parties().leaf;
    let next = person.standing(&mut world).change.number() + 1;
    for number in [0, next - 1, next + 1, u64::MAX, u64::MAX - 1, 1 << 63] {
        let change = Change {
            number: ChangeNumber::new(number),
            action: Action::LiftCap,
        };
        let statement = keyhaven_wire::device::Statement::Change(&change);
        let authority = Authority::Device(person.device.sign(&leaf, &statement).unwrap());
        let reply = person.ask(&mut world, &Request::Change { change, authority });
        assert_eq!(
            reply.outcome,
            Outcome::Denied(Denial::WrongChangeNumber),
            "number {number}"
        );
    }

    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(7);
    let core = world.core_mut();
    let call = core.stand(Term::new(u64::MAX - 1), &mut entropy).unwrap();
    assert_eq!(call.term(), Term::new(u64::MAX));
    core.promise(&call).unwrap();
    let beyond = core.stand(Term::new(0), &mut entropy);
    assert_eq!(beyond.unwrap_err(), CoreError::Bound);
    assert_eq!(core.memory().promised(), Term::new(u64::MAX));
    let again = core.promise(&call).unwrap_err();
    assert!(matches!(again, CoreError::Log(_)), "{again:?}");
}

/// VAULT-2: a host that could see in its store that nothing changed would know what was refused before it is
/// committed. Every touch writes the same rows in the same lengths, and the leaf anew.
///
/// The realm, ef96ca9: records were not written where an answer left them as they were.
#[test]
fn what_is_written_does_not_tell_what_was_refused() {
    let (mut world, person) = registered(8, Quorum::ONE);
    let forged = Request::Change {
        change: Change {
            number: ChangeNumber::new(1),
            action: Action::Delete,
        },
        authority: Authority::Device(keyhaven_testkit::vault::forged(&person.device)),
    };
    let attempt = person.try_password(&mut world, WRONG);
    let answered = person.answer(&mut world, &attempt).unwrap();
    let right = person.try_password(&mut world, RIGHT);
    let proven = person.answer(&mut world, &right).unwrap();
    let mut requests = vec![
        (
            "a question",
            person.seal(&mut world, &Request::Status { device: None }).0,
        ),
        ("a forged change", person.seal(&mut world, &forged).0),
        ("an attempt again", attempt.step1),
        ("a wrong password", answered.step2.clone()),
        ("a right password", proven.step2),
        ("an attempt that is over", answered.step2),
    ];
    for _ in 0..10 {
        person.guess_wrong(&mut world);
    }
    let late = person.try_with_device(&mut world, RIGHT).step1;
    requests.push(("an attempt at a destroyed record", late));
    let mut seen = Vec::new();
    let mut rows = None;
    for (what, request) in requests {
        let executed = world.execute(&[(person.account.clone(), request)]).unwrap();
        let shape: Vec<_> = executed
            .puts
            .iter()
            .map(|(key, bytes)| (*key, bytes.len()))
            .collect();
        assert_eq!(*rows.get_or_insert(shape.clone()), shape, "{what}");
        for (_, bytes) in &executed.puts {
            assert!(!seen.contains(bytes), "{what} wrote what stood there");
            seen.push(bytes.clone());
        }
        world.append(&executed);
        let captures = world.captures(&executed.entry);
        world.core_mut().release(&captures).unwrap();
    }
}

/// VAULT-2, VAULT-4, VAULT-9: what is refused has changed nothing: not the part that a core takes, its memory,
/// or the answers that it holds.
///
/// SVR2 ae7da46: a call went on after it had said that it failed.
#[test]
fn a_call_that_is_refused_leaves_the_core_as_it_was() {
    let (mut world, person) = registered(9, Quorum::THREE);
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(10);
    let stranger = Member::from_bytes([9; 16]);
    let (own, other) = (world.memory_at(0).member(), world.memory_at(1).member());
    let first = world.log()[0];
    let old_proof = world.proof(&[&person.account]);
    let old_call = world.core_at(2).stand(Term::new(0), &mut entropy).unwrap();
    // The leader has promised that call's term to itself since.
    world.lead(0).unwrap();
    person.standing(&mut world);
    let (request, _) = person.seal(&mut world, &Request::Status { device: None });
    let touch = Touch {
        account: person.account.clone(),
        request,
    };
    let now = HostTime::new(0);
    let range = Range::of(&person.parties().leaf);
    let wish = world.another_group().core_mut().wish(range).unwrap();

    let refuses = |core: &mut Core, pending: bool| {
        let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(11);
        let was = dangerous::describe(core);
        let proof_or_pending = |refused: Option<CoreError>| match refused {
            Some(CoreError::Pending) => pending,
            Some(CoreError::Proof(_)) => !pending,
            _ => false,
        };
        let executed = core.execute(vec![touch.clone()], &old_proof, now, &mut entropy);
        assert!(proof_or_pending(executed.err()));
        let step = core.range(&RangeStep::Give(wish), &old_proof);
        assert!(proof_or_pending(step.err()));
        core.execute(Vec::new(), &old_proof, now, &mut entropy)
            .unwrap_err();
        for (go, come) in [(own, stranger), (stranger, other), (other, own)] {
            core.replace(go, come).unwrap_err();
        }
        core.adopt(&first).unwrap_err();
        core.capture(&first).unwrap_err();
        core.promise(&old_call).map(drop).unwrap_err();
        core.lead(&[]).unwrap_err();
        core.release(&[]).unwrap_err();
        let beyond = core.stand(Term::new(u64::MAX), &mut entropy);
        assert_eq!(beyond.err(), Some(CoreError::Bound));
        assert_eq!(dangerous::describe(core), was);
    };
    refuses(world.core_mut(), false);
    let (request, conversation) = person.seal(&mut world, &Request::Status { device: None });
    let executed = world.execute(&[(person.account.clone(), request)]).unwrap();
    world.append(&executed);
    refuses(world.core_mut(), true);
    let captures = world.captures(&executed.entry);
    let answers = world.core_mut().release(&captures).unwrap();
    let [Answer::Sealed(reply)] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    conversation.open(reply).unwrap();
}
