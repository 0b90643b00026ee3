//! The edges of what a core accepts, and what it is after each call.

use keyhaven_secrets::Remedy;
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    BATCH_MAX, CALL_BYTES, CAPTURE_BYTES, Call, Capture, Core, CoreError, ENTRY_BYTES, Entry,
    FleetSecrets, LogError, MEMORY_BYTES, MembershipError, Memory, Newcomer, NodeKey, NotKept,
    Policy, ProofError, ProveError, Quorum, REPORT_BYTES, RangeError, Report, Role, SecretsError,
    TRANSFER_BYTES, Term, Touch, Transfer, WISH_BYTES, Wish, prove,
};
use keyhaven_wire::message::{HostTime, Request};

const RIGHT: &str = "correct horse battery";

fn registered(seed: u64, quorum: Quorum) -> (VaultWorld, Person) {
    VaultWorld::group(seed, quorum).with_alice(RIGHT)
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

/// VAULT-2: a core that does not lead executes nothing, examines nothing and changes no group.
#[test]
fn a_core_that_does_not_lead_proposes_nothing() {
    let (mut world, person) = registered(5, Quorum::THREE);
    let proof = world.proof(&[&person.account]);
    let name = |world: &VaultWorld, at| world.memory_at(at).member();
    let (go, come) = (name(&world, 2), name(&world, 1));
    let entry = world.log()[1];
    let witness = world.core_at(1);
    assert_eq!(
        witness.examine(&person.account, &proof),
        Err(CoreError::NotLeading)
    );
    assert_eq!(witness.replace(go, come).err(), Some(CoreError::NotLeading));
    assert_eq!(witness.adopt(&entry), Err(CoreError::NotLeading));
    assert_eq!(witness.release(&[]), Err(CoreError::NothingPending));
}

/// Every statement has one length; anything else is no statement.
#[test]
fn a_statement_of_another_length_is_malformed() {
    type Decodes = fn(&[u8]) -> Option<LogError>;
    let kinds: [(usize, Decodes); 7] = [
        (ENTRY_BYTES, |bytes| Entry::decode(bytes).err()),
        (CAPTURE_BYTES, |bytes| Capture::decode(bytes).err()),
        (CALL_BYTES, |bytes| Call::decode(bytes).err()),
        (REPORT_BYTES, |bytes| Report::decode(bytes).err()),
        (MEMORY_BYTES, |bytes| Memory::decode(bytes).err()),
        (WISH_BYTES, |bytes| Wish::decode(bytes).err()),
        (TRANSFER_BYTES, |bytes| Transfer::decode(bytes).err()),
    ];
    for (length, decode) in kinds {
        for bytes in [
            vec![],
            vec![2; length - 1],
            vec![2; length + 1],
            vec![9; length],
        ] {
            assert_eq!(decode(&bytes), Some(LogError::Malformed), "{length} bytes");
        }
    }
}

/// VAULT-4: what is within the root and was sealed under another key is damage, and not an empty record.
#[test]
fn a_record_that_does_not_open_is_damaged() {
    let (world, person) = registered(6, Quorum::ONE);
    let proof = world.proof(&[&person.account]);
    let memory = world.memory_at(0);
    let bytes = world.secrets_bytes();
    let body = bytes.len() - 32;
    let begins = b"keyhaven fleet secrets v1\0".len();
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(1);
    let damaged = (begins..body).filter(|at| {
        let mut other = bytes.to_vec();
        other[*at] ^= 1;
        let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 fleet secrets check");
        hasher.update(&other[begins..body]);
        other[body..].copy_from_slice(hasher.finalize().as_bytes());
        let Ok(secrets) = FleetSecrets::decode(&other) else {
            return false;
        };
        // Of another log key, the memory is somebody else's.
        let Ok(mut core) = Core::resume(secrets, memory) else {
            return false;
        };
        let call = core.stand(Term::new(9), &mut entropy).unwrap();
        let report = core.promise(&call).unwrap();
        core.lead(&[report]).unwrap();
        core.examine(&person.account, &proof) == Err(CoreError::RecordDamaged)
    });
    assert!(
        damaged.count() >= 32,
        "the record key is one of the secrets"
    );
}

#[test]
fn a_store_that_cannot_be_read_or_is_not_whole_proves_nothing() {
    let (world, person) = registered(7, Quorum::ONE);
    let fleet = world.core().fleet();
    let accounts = [&person.account];
    let read = |key: &NodeKey| Ok::<_, ()>(world.store().get(key).cloned());
    let failed = prove(&fleet, accounts, |_| Err(()));
    assert_eq!(failed.unwrap_err(), ProveError::Read(()));
    for key in world.store().keys() {
        let without = |at: &NodeKey| if at == key { Ok(None) } else { read(at) };
        let missing = prove(&fleet, accounts, without).unwrap_err();
        assert_eq!(missing, ProveError::Missing { key: *key });
    }
    let bent = |at: &NodeKey| {
        let bytes = read(at)?;
        Ok::<_, ()>(bytes.map(|bytes| [bytes.as_slice(), &[0]].concat()))
    };
    let damaged = prove(&fleet, accounts, bent).unwrap_err();
    assert_eq!(
        damaged,
        ProveError::Damaged {
            key: NodeKey::root()
        }
    );
}

/// VAULT-8: a core takes nothing of another group of its own fleet.
#[test]
fn a_core_takes_nothing_of_another_group() {
    let (mut world, _) = registered(8, Quorum::THREE);
    let mut other = world.another_group();
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(2);
    let entry = other.log()[0];
    let call = other.core_at(0).stand(Term::new(9), &mut entropy).unwrap();
    let not_this = CoreError::Log(LogError::OtherGroup);
    assert_eq!(world.core_mut().adopt(&entry), Err(not_this));
    assert_eq!(world.core_at(1).capture(&entry), Err(not_this));
    assert_eq!(world.core_at(1).promise(&call), Err(not_this));
    assert_eq!(
        world.core_mut().vouch(&entry),
        Ok(()),
        "it is of this fleet"
    );
}

/// VAULT-9: who has not called, or has not promised its own call, does not lead.
#[test]
fn a_core_leads_by_its_own_call_alone() {
    let (mut world, _) = registered(9, Quorum::THREE);
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(3);
    let call = world.core_at(1).stand(Term::new(4), &mut entropy).unwrap();
    assert_eq!(
        world.core_at(1).role(),
        Role::Candidate { term: call.term() }
    );
    let reports: Vec<_> = [0, 2]
        .map(|at| world.core_at(at).promise(&call).unwrap())
        .into();
    assert_eq!(world.core_at(1).lead(&reports), Err(CoreError::NotElected));
    assert_eq!(world.core_at(2).lead(&reports), Err(CoreError::NotElected));
    let own = world.core_at(1).promise(&call).unwrap();
    assert_eq!(world.core_at(1).lead(&[own]), Err(CoreError::NotElected));
    let all = [reports, vec![own]].concat();
    world.core_at(1).lead(&all).unwrap();
}

/// What helps when a core refuses: the host waits or asks again where time mends it, and stops where it does not.
#[test]
fn a_refusal_says_whether_to_try_again() {
    let stop = [
        CoreError::RecordDamaged,
        CoreError::Bound,
        LogError::BadMac.into(),
        LogError::Forked { index: 1 }.into(),
        MembershipError::NotSo.into(),
        RangeError::NotHere.into(),
        SecretsError::Damaged.into(),
        ProofError::Missing {
            key: NodeKey::root(),
        }
        .into(),
    ];
    let old = LogError::OldTerm {
        term: 1,
        promised: 2,
    };
    let later = [
        CoreError::BatchSize,
        CoreError::NotLeading,
        CoreError::NotElected,
        CoreError::Pending,
        CoreError::NothingPending,
        CoreError::NotCommitted,
        MembershipError::Underway.into(),
        old.into(),
        LogError::NotKept(NotKept).into(),
    ];
    assert!(stop.iter().all(|error| error.remedy() == Remedy::Stop));
    assert!(
        later
            .iter()
            .all(|error| error.remedy() == Remedy::RetryLater)
    );
}

/// VAULT-9: a group is of as many different cores as the policy says: a name that is given twice is no second one.
#[test]
fn a_name_counts_once_in_a_group() {
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(11);
    let policy = Policy {
        quorum: Quorum::THREE,
        ..Policy::DEFAULT
    };
    let [one, other, third] = [(); 3].map(|()| Newcomer::draw(&mut entropy).member());
    for others in [vec![one, one], vec![one], vec![one, other, third]] {
        let refused = Core::genesis(policy, &others, &mut entropy).err();
        let size = CoreError::Membership(MembershipError::Size(3));
        assert_eq!(refused, Some(size), "{} names", others.len());
    }
    assert!(Core::genesis(policy, &[one, other], &mut entropy).is_ok());
}

/// VAULT-1: a group says nothing of an account that another group holds.
#[test]
fn an_account_that_is_held_elsewhere_cannot_be_examined() {
    let (mut world, person) = registered(12, Quorum::ONE);
    let other = world.another_group();
    let proof = other.proof(&[&person.account]);
    let refused = other.core().examine(&person.account, &proof);
    assert_eq!(refused, Err(CoreError::Range(RangeError::NotHere)));
}

/// VAULT-9: nobody promises anything to a call that no core made, and who calls gives its call up for a later one.
#[test]
fn a_core_promises_to_calls_of_its_fleet_and_to_the_latest() {
    let (mut world, _) = registered(13, Quorum::THREE);
    let mut entropy = keyhaven_testkit::entropy::SeededEntropy::new(4);
    let own = world.core_at(1).stand(Term::new(4), &mut entropy).unwrap();
    let later = world.core_at(2).stand(Term::new(8), &mut entropy).unwrap();
    let mut bytes = later.encode();
    for at in 0..bytes.len() {
        bytes[at] ^= 0x10;
        if let Ok(bent) = Call::decode(&bytes) {
            let bad = CoreError::Log(LogError::BadMac);
            assert_eq!(world.core_at(1).promise(&bent), Err(bad), "byte {at}");
        }
        bytes[at] ^= 0x10;
    }
    assert!(world.core_at(1).promise(&own).is_ok());
    let calling = Role::Candidate { term: own.term() };
    assert_eq!(world.core_at(1).role(), calling, "its own call goes on");
    assert!(world.core_at(1).promise(&later).is_ok());
    assert_eq!(world.core_at(1).role(), Role::Witness);
}
