//! What a hostile host shows a core.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use keyhaven_secrets::Entropy as _;
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    Answer, Call, Capture, Core, CoreError, Entry, FleetSecrets, Memory, MultiProof, NodeKey,
    Policy, Prover, Quorum, Report, Term, Touch, dangerous,
};
use keyhaven_wire::channel::{self, Conversation, Sealed};
use keyhaven_wire::message::{AccountName, Request};

use crate::edits;

/// A group of three cores with some accounts, and everything that they have said.
struct Group {
    world: VaultWorld,
    /// Of a fleet of one core, and that core's memory.
    secrets: Vec<u8>,
    memory: Vec<u8>,
    alice: AccountName,
    request: Vec<u8>,
    reply: Vec<u8>,
    conversation: Conversation,
    proof: MultiProof,
    said: Vec<Vec<u8>>,
}

impl Group {
    fn new() -> Self {
        let mut world = VaultWorld::group(3, Quorum::THREE);
        let alone = Core::genesis(Policy::DEFAULT, &[], &mut SeededEntropy::new(4));
        let (_, genesis) = alone.expect("a sound policy");
        let secrets = genesis.secrets.to_vec();
        let alice = Person::new(&mut world, "alice");
        for at in 0..40 {
            let person = Person::new(&mut world, &format!("person-{at}"));
            let _ = person.standing(&mut world);
        }
        let (request, conversation) = alice.seal(&mut world, &Request::Status { device: None });
        let reply = alice.send(&mut world, &request);
        let proof = world.proof(&[&alice.account]);
        let mut said: Vec<Vec<u8>> = Vec::new();
        let entries = world.log().to_vec();
        said.extend(entries.iter().map(|entry| entry.encode().to_vec()));
        let last = *entries.last().expect("entries");
        said.extend(
            world
                .captures(&last)
                .iter()
                .map(|capture| capture.encode().to_vec()),
        );
        said.extend((0..3).map(|at| world.memory_at(at).encode().to_vec()));
        let mut candidate = dangerous::copy(world.core_at(1));
        let call = candidate
            .stand(last.term(), &mut SeededEntropy::new(5))
            .expect("a member");
        said.push(call.encode().to_vec());
        for at in 0..3 {
            let mut core = dangerous::copy(world.core_at(at));
            said.extend(core.promise(&call).map(|report| report.encode().to_vec()));
        }
        said.extend(
            candidate
                .promise(&call)
                .map(|report| report.encode().to_vec()),
        );
        Self {
            alice: alice.account.clone(),
            world,
            secrets,
            memory: genesis.memory.encode().to_vec(),
            request,
            reply,
            conversation,
            proof,
            said,
        }
    }

    fn core(&mut self, at: usize) -> Core {
        dangerous::copy(self.world.core_at(at))
    }
}

fn with_group<T>(work: impl FnOnce(&mut Group) -> T) -> T {
    thread_local!(static GROUP: RefCell<Group> = RefCell::new(Group::new()));
    GROUP.with(|group| work(&mut group.borrow_mut()))
}

/// Sealed requests and replies: only what was sealed opens, and a core answers everything else with
/// nothing but that it cannot be read.
pub fn channel(bytes: &[u8]) {
    with_group(|group| {
        let opened = group.conversation.open(bytes);
        assert!(
            opened.is_err() || bytes == group.reply,
            "a forged reply opens"
        );
        if let Ok(Sealed::Second(second)) = channel::parse(bytes) {
            assert_eq!(
                second.ticket().as_bytes().as_slice(),
                &bytes[10..][..second.ticket().as_bytes().len()]
            );
        }
        let touch = Touch {
            account: group.alice.clone(),
            request: bytes.to_vec(),
        };
        let mut core = group.core(0);
        let now = group.world.now();
        let executed = core.execute(vec![touch], &group.proof, now, &mut SeededEntropy::new(6));
        let executed = executed.expect("an honest proof");
        let genuine = bytes == group.request;
        assert_eq!(
            executed.puts.is_empty(),
            !genuine,
            "VAULT-3: a forged request changes nothing"
        );
        let mut captures = vec![core.capture(&executed.entry).expect("its own entry")];
        captures.extend(group.core(1).capture(&executed.entry));
        let answers = core.release(&captures).expect("a quorum");
        assert_eq!(
            answers == [Answer::Unreadable],
            !genuine,
            "a forged request is answered"
        );
    });
}

/// A real request and its reply.
#[must_use]
pub fn channel_seeds() -> Vec<Vec<u8>> {
    with_group(|group| {
        let mut seeds = vec![group.request.clone(), group.reply.clone()];
        let mut second = group.request.clone();
        second[1] = 2;
        seeds.push(second);
        for edit in edits::seeds() {
            seeds.push(edits::apply(&group.request, &edit));
            seeds.push(edits::apply(&group.reply, &edit));
        }
        seeds
    })
}

/// Entries, captures, calls, reports and memories: one encoding each, and none that the group's cores
/// did not make themselves is believed (VAULT-8).
pub fn log(bytes: &[u8]) {
    with_group(|group| {
        let genuine = group.said.iter().any(|said| said == bytes);
        let believed =
            |yes: bool| assert!(!yes || genuine, "VAULT-8: a forged statement is believed");
        if let Ok(entry) = Entry::decode(bytes) {
            assert_eq!(entry.encode().as_slice(), bytes);
            believed(group.core(1).capture(&entry).is_ok());
            let mut leader = group.core(0);
            believed(leader.adopt(&entry).is_ok());
        }
        if let Ok(call) = Call::decode(bytes) {
            assert_eq!(call.encode().as_slice(), bytes);
            believed(group.core(2).promise(&call).is_ok());
        }
        if let Ok(capture) = Capture::decode(bytes) {
            assert_eq!(capture.encode().as_slice(), bytes);
            // One genuine capture and a forged one make no quorum (VAULT-2).
            let mut leader = group.core(0);
            let touch = Touch {
                account: group.alice.clone(),
                request: Vec::new(),
            };
            let now = group.world.now();
            let executed =
                leader.execute(vec![touch], &group.proof, now, &mut SeededEntropy::new(7));
            let entry = executed.expect("an honest proof").entry;
            let own = leader.capture(&entry).expect("its own entry");
            assert!(
                leader.release(&[own, capture]).is_err(),
                "VAULT-2: a capture of something else counts"
            );
        }
        if let Ok(report) = Report::decode(bytes) {
            assert_eq!(report.encode().as_slice(), bytes);
            let mut candidate = group.core(2);
            let call = candidate
                .stand(Term::new(9), &mut SeededEntropy::new(8))
                .expect("a member");
            let own = candidate.promise(&call).expect("its own call");
            assert!(
                candidate.lead(&[own, report]).is_err(),
                "VAULT-9: a report to another call counts"
            );
        }
        if let Ok(memory) = Memory::decode(bytes) {
            assert_eq!(memory.encode().as_slice(), bytes);
            // The secrets are those of the core that is alone: it knows one memory.
            let secrets = FleetSecrets::decode(&group.secrets).expect("whole");
            let own = bytes == group.memory;
            assert_eq!(
                Core::resume(secrets, memory).is_ok(),
                own,
                "VAULT-8: a forged memory is taken"
            );
        }
    });
}

/// What the cores of a group said.
#[must_use]
pub fn log_seeds() -> Vec<Vec<u8>> {
    with_group(|group| {
        let mut seeds = group.said.clone();
        seeds.push(group.memory.clone());
        seeds.sort_by_key(Vec::len);
        let mut few = Vec::new();
        for bytes in seeds {
            let alike = few
                .iter()
                .filter(|seed: &&Vec<u8>| seed.len() == bytes.len())
                .count();
            if alike < 3 {
                few.push(bytes);
            }
        }
        few
    })
}

/// A host shows a core parts of the tree that it has changed, cut, exchanged or left out; the core
/// applies the batch over exactly the genuine ones (VAULT-4). The prover, which is the host's own,
/// walks whatever the store holds and ends (VAULT-10).
pub fn proof(bytes: &[u8]) {
    with_group(|group| {
        let genuine: BTreeMap<NodeKey, Vec<u8>> = group
            .proof
            .parts()
            .map(|(key, part)| (key, part.to_vec()))
            .collect();
        let keys: Vec<NodeKey> = genuine.keys().copied().collect();
        let (head, rest) = bytes.split_at(bytes.len().min(1));
        let which = usize::from(head.first().copied().unwrap_or(0));
        let key = keys[which % keys.len()];
        let mut parts = genuine.clone();
        match which / keys.len() % 4 {
            0 => drop(parts.insert(key, rest.to_vec())),
            1 => drop(parts.insert(key, edits::apply(&genuine[&key], rest))),
            2 => drop(parts.remove(&key)),
            _ => drop(parts.insert(key, genuine[&keys[(which + 1) % keys.len()]].clone())),
        }
        let same = parts == genuine;
        let proof = MultiProof::from_parts(parts.clone());
        let mut core = group.core(0);
        let examined = core.examine(&group.alice, &proof);
        assert_eq!(
            examined.is_ok(),
            same,
            "VAULT-4: a changed proof is believed"
        );
        let before = core.memory().encode();
        let touch = Touch {
            account: group.alice.clone(),
            request: group.request.clone(),
        };
        let now = group.world.now();
        let executed = core.execute(vec![touch], &proof, now, &mut SeededEntropy::new(9));
        match executed {
            Ok(executed) => assert!(same && executed.puts.len() <= 65, "VAULT-10"),
            Err(error) => assert!(!same && matches!(error, CoreError::Proof(_)), "{error:?}"),
        }
        assert_eq!(
            core.memory().encode(),
            before,
            "a batch that is not captured is not remembered"
        );
        walk(&core, &group.alice, |key| parts.get(key).cloned());
        walk(&core, &group.alice, |_| Some(rest.to_vec()));
    });
}

fn walk(core: &Core, account: &AccountName, store: impl Fn(&NodeKey) -> Option<Vec<u8>>) {
    let mut prover = Prover::new(&core.fleet(), [account]);
    let mut rounds = 0;
    loop {
        let wants = prover.wants();
        if wants.is_empty() {
            return;
        }
        rounds += 1;
        assert!(
            wants.len() <= 2 && rounds <= 66,
            "VAULT-10: the walk does not end"
        );
        let read: Vec<_> = wants.into_iter().map(|key| (key, store(&key))).collect();
        if prover.supply::<()>(read).is_err() {
            return;
        }
    }
}

/// Nodes in the place of nodes.
#[must_use]
pub fn proof_seeds() -> Vec<Vec<u8>> {
    let parts: Vec<Vec<u8>> =
        with_group(|group| group.proof.parts().map(|(_, part)| part.to_vec()).collect());
    let mut seeds = Vec::new();
    for which in 0..24_u8 {
        for part in &parts {
            seeds.push([&[which], part.as_slice()].concat());
        }
        seeds.push(vec![which, 0, 0, 3, 1]);
    }
    let mut branches = vec![0, 0xff, 0xff, 0, 0];
    branches.extend([7; 16 * 32]);
    seeds.push(branches);
    seeds
}

/// A fleet's secrets: one encoding, and bytes whose check does not match are refused. The check is no
/// MAC, so half of the inputs get one that matches.
pub fn secrets(bytes: &[u8]) {
    const MAGIC: &[u8] = b"keyhaven fleet secrets v1\0";
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 fleet secrets check");
    hasher.update(bytes);
    let whole = [MAGIC, bytes, hasher.finalize().as_bytes()].concat();
    for file in [bytes, &whole] {
        if let Ok(secrets) = FleetSecrets::decode(file) {
            let again = secrets.encode().expect("what decodes encodes");
            assert_eq!(again.as_slice(), file, "one encoding");
        }
    }
}

/// Real secrets, with their envelope and without.
#[must_use]
pub fn secrets_seeds() -> Vec<Vec<u8>> {
    let whole = with_group(|group| group.secrets.clone());
    let bare = whole[26..whole.len() - 32].to_vec();
    let mut seeds = vec![whole, bare.clone()];
    let mut places: BTreeSet<usize> = (0..bare.len()).step_by(5).collect();
    places.insert(0);
    for at in places {
        let mut changed = bare.clone();
        changed[at] ^= 1;
        seeds.push(changed);
    }
    let mut noise = vec![0; 64];
    SeededEntropy::new(10).fill(&mut noise);
    seeds.push(noise);
    seeds
}
