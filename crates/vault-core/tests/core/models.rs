//! What models have that nothing which ships has: copies of cores at work, and groups of other sizes.

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_testkit::vault::VaultWorld;
use keyhaven_vault_core::{
    Core, CoreError, FleetSecrets, LogError, Member, Policy, PolicyError, Quorum, Role,
    SecretsError, Term, Touch, dangerous,
};
use keyhaven_wire::message::{HostTime, Request};
use keyhaven_wire::suite::Standard;

/// VAULT-2, VAULT-8: a copy of a leader holds the same answers behind the same lock. When both go on, each makes
/// another entry in one place, and whoever sees both says so.
#[test]
fn a_leader_that_was_copied_is_found_out() {
    let (mut world, person) = VaultWorld::group(1, Quorum::THREE).with_alice("correct horse");
    let touch = |world: &mut VaultWorld| Touch {
        account: person.account.clone(),
        request: person.seal(world, &Request::Status { device: None }).0,
    };
    let asked = touch(&mut world);
    let executed = world.execute(&[(asked.account, asked.request)]).unwrap();
    let mut twin = dangerous::copy(world.core());
    assert_eq!(
        dangerous::describe(&twin),
        dangerous::describe(world.core())
    );
    world.append(&executed);
    let captures = world.captures(&executed.entry);
    assert_eq!(twin.release(&[]), Err(CoreError::NotCommitted));
    let answers = twin.release(&captures).unwrap();
    assert_eq!(world.core_mut().release(&captures), Ok(answers));

    let (proof, mut entropy) = (world.proof(&[&person.account]), SeededEntropy::new(2));
    let (one, other) = (touch(&mut world), touch(&mut world));
    let ours = world.execute(&[(one.account, one.request)]).unwrap().entry;
    let theirs = twin
        .execute(vec![other], &proof, HostTime::new(0), &mut entropy)
        .unwrap()
        .entry;
    assert_eq!((ours.term(), ours.index()), (theirs.term(), theirs.index()));
    assert_ne!(
        dangerous::describe(&twin),
        dangerous::describe(world.core())
    );
    world.core_at(1).capture(&ours).unwrap();
    let index = ours.index().number();
    let forked = CoreError::Log(LogError::Forked { index });
    assert_eq!(world.core_at(1).capture(&theirs), Err(forked));
    assert_eq!(world.core_mut().capture(&theirs), Err(forked));
    assert_eq!(twin.capture(&ours), Err(forked));
}

#[test]
fn a_copy_takes_the_same_part() {
    let (mut world, _) = VaultWorld::group(2, Quorum::THREE).with_alice("correct horse");
    let mut entropy = SeededEntropy::new(3);
    let witness = dangerous::copy(world.core_at(1));
    assert_eq!(witness.role(), Role::Witness);
    assert_eq!(
        dangerous::describe(&witness),
        dangerous::describe(world.core_at(1))
    );
    let call = world.core_at(1).stand(Term::new(5), &mut entropy).unwrap();
    assert_ne!(
        dangerous::describe(&witness),
        dangerous::describe(world.core_at(1))
    );
    let mut candidate = dangerous::copy(world.core_at(1));
    assert_eq!(candidate.role(), Role::Candidate { term: call.term() });
    let reports = [
        candidate.promise(&call).unwrap(),
        world.core_at(2).promise(&call).unwrap(),
    ];
    candidate.lead(&reports).unwrap();
    // The one that it was copied from has promised nothing.
    assert_eq!(world.core_at(1).lead(&reports), Err(CoreError::NotElected));
}

/// VAULT-9: a sound group of a size that does not ship is a model's. What ships neither makes it nor reads its secrets.
#[test]
fn a_group_of_a_size_that_does_not_ship_is_a_models() {
    let policy = |members, captures, rollbacks| Policy {
        quorum: Quorum {
            members,
            captures,
            rollbacks,
        },
        ..Policy::DEFAULT
    };
    let others = [Member::from_bytes([1; 16])];
    let mut entropy = SeededEntropy::new(4);
    let two = policy(2, 2, 1);
    let because = SecretsError::Policy(PolicyError::Quorum);
    let refused = Core::genesis(two, &others, &mut entropy).map(drop);
    assert_eq!(refused, Err(because.into()));
    let (core, genesis) = dangerous::genesis(&Standard, two, &others, &mut entropy).unwrap();
    let read = FleetSecrets::decode(&genesis.secrets).map(drop);
    assert_eq!(read, Err(because));
    let read = dangerous::decode(&Standard, &genesis.secrets).unwrap();
    assert_eq!((read.fleet(), read.policy()), (core.fleet(), &two));

    let unsound = dangerous::genesis(&Standard, policy(2, 1, 0), &others, &mut entropy);
    assert_eq!(unsound.map(drop), Err(because.into()));
}

/// VAULT-8: a leader need not capture what it commits. When a copy of it made another entry in that place, it says so.
#[test]
fn a_leader_tells_a_copys_entry_in_the_place_of_one_that_it_committed() {
    let (mut world, person) = VaultWorld::group(5, Quorum::THREE).with_alice("correct horse");
    let mut twin = dangerous::copy(world.core());
    let touch = |world: &mut VaultWorld| {
        let (request, _) = person.seal(world, &Request::Status { device: None });
        (person.account.clone(), request)
    };
    let (proof, mut entropy) = (world.proof(&[&person.account]), SeededEntropy::new(2));
    let (ours, theirs) = (touch(&mut world), touch(&mut world));
    let ours = world.execute(&[ours]).unwrap().entry;
    let batch = vec![Touch {
        account: theirs.0,
        request: theirs.1,
    }];
    let theirs = twin.execute(batch, &proof, HostTime::new(0), &mut entropy);
    let theirs = theirs.unwrap().entry;
    let captures = [1, 2].map(|at| world.core_at(at).capture(&ours).unwrap());
    world.core_mut().release(&captures).unwrap();
    let index = ours.index().number();
    let forked = CoreError::Log(LogError::Forked { index });
    assert_eq!(world.core_mut().capture(&theirs), Err(forked));
    assert!(world.core_mut().capture(&ours).is_ok());
}
