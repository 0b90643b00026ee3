//! The edges of what a core accepts, and what it is after each call.

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{BATCH_MAX, CoreError, Quorum, Role, Term, Touch};
use keyhaven_wire::message::{HostTime, Request};

const RIGHT: &str = "correct horse battery";

fn registered(seed: u64, quorum: Quorum) -> (VaultWorld, Person) {
    let mut world = VaultWorld::group(seed, quorum);
    let person = Person::new(&mut world, "alice");
    person.register(&mut world, RIGHT);
    (world, person)
}

/// VAULT-10: a batch has its bounds, and the largest one is taken.
#[test]
fn a_batch_holds_one_request_at_least_and_1024_at_most() {
    let (mut world, person) = registered(1, Quorum::ONE);
    // What does not open costs no cryptography, and counts all the same.
    let junk = (person.account.clone(), vec![0; 9]);
    for refused in [0, BATCH_MAX + 1] {
        let batch = vec![junk.clone(); refused];
        assert_eq!(world.execute(&batch).err(), Some(CoreError::BatchSize));
    }
    assert_eq!(world.batch(&vec![junk; BATCH_MAX]).unwrap().len(), 1024);
}

/// VAULT-2: a core that steps down keeps nothing that it could release later.
#[test]
fn a_core_that_steps_down_has_nothing_to_release() {
    let (mut world, person) = registered(2, Quorum::ONE);
    let (bytes, _) = person.seal(&mut world, &Request::Status { device: None });
    let executed = world.execute(&[(person.account.clone(), bytes)]).unwrap();
    world.append(&executed);
    let capture = world.capture(&executed.entry).unwrap();
    world.core_mut().step_down();
    assert_eq!(world.core().role(), Role::Witness);
    let released = world.core_mut().release(&[capture]);
    assert_eq!(released, Err(CoreError::NothingPending));
}

/// VAULT-4: a record is examined against the root of now.
#[test]
fn an_older_record_does_not_pass_an_examination() {
    let (mut world, person) = registered(3, Quorum::ONE);
    let older = world.proof(&[&person.account]);
    assert_eq!(world.core().examine(&person.account, &older), Ok(()));
    person.standing(&mut world);
    let refused = world.core().examine(&person.account, &older);
    assert!(matches!(refused, Err(CoreError::Proof(_))), "{refused:?}");
    let newer = world.proof(&[&person.account]);
    assert_eq!(world.core().examine(&person.account, &newer), Ok(()));
}

/// VAULT-2: a core that is shown a later leader's entry leads no more, nor does it go on calling for a
/// term that has a leader; one that calls for a later term does.
#[test]
fn a_later_leaders_entry_ends_what_a_core_was_about() {
    let (mut world, person) = registered(4, Quorum::THREE);
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(9);
    // Cores 1 and 2 elect one of them; nobody tells core 0.
    let call = world.core_at(1).stand(Term::new(5), &mut entropy).unwrap();
    let reports = [1, 2].map(|at| world.core_at(at).promise(&call).unwrap());
    world.core_at(1).lead(&reports).unwrap();
    let (request, _) = person.seal(&mut world, &Request::Status { device: None });
    let touch = Touch {
        account: person.account.clone(),
        request,
    };
    let (proof, now) = (world.proof(&[&person.account]), HostTime::new(0));
    let leader = world.core_at(1);
    let entry = leader
        .execute(vec![touch], &proof, now, &mut entropy)
        .unwrap()
        .entry;

    assert!(matches!(world.core_at(0).role(), Role::Leader { .. }));
    world.core_at(0).capture(&entry).unwrap();
    assert_eq!(world.core_at(0).role(), Role::Witness);

    // A call for a later term than the entry's goes on; one for its own is over.
    let call = world.core_at(0).stand(Term::new(0), &mut entropy).unwrap();
    assert!(call.term() > entry.term());
    world.core_at(0).capture(&entry).unwrap();
    let calling = Role::Candidate { term: call.term() };
    assert_eq!(world.core_at(0).role(), calling);
    let memory = world.memory_at(2);
    world.restart_at(2, memory);
    let call = world.core_at(2).stand(Term::new(5), &mut entropy).unwrap();
    assert_eq!(call.term(), entry.term());
    world.core_at(2).capture(&entry).unwrap();
    assert_eq!(world.core_at(2).role(), Role::Witness);
}

/// What is printed of a core names the fleet and no key.
#[test]
fn a_core_prints_where_it_is_and_no_secret() {
    let (world, _) = registered(5, Quorum::ONE);
    let printed = format!("{:?}", world.core());
    assert!(
        printed.contains("fleet") && printed.contains("role"),
        "{printed}"
    );
    for secret in ["RecordKey", "LogKey", "TicketKey", "ChannelKey"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
