//! Bytes drive a group of cores, one act a byte or two; a witness outside counts.

use std::cell::RefCell;
use std::collections::BTreeMap;

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::{
    Answer, Call, Capture, Core, Entry, Memory, MultiProof, NodeKey, Quorum, Report, Role, Touch,
    dangerous, prove,
};
use keyhaven_wire::message::{HostTime, Request};

/// Acts in one run at most.
const ACTS_MAX: usize = 96;

/// What a host of all three cores holds.
struct Hosts {
    world: VaultWorld,
    cores: Vec<Core>,
    entries: Vec<Entry>,
    captures: Vec<Capture>,
    calls: Vec<Call>,
    reports: Vec<Report>,
    /// The store at each entry, by its MAC.
    stores: BTreeMap<Vec<u8>, BTreeMap<NodeKey, Vec<u8>>>,
    alice: Person,
    requests: Vec<Vec<u8>>,
    /// The entry that each core executed last: what it may release.
    executed: [Option<Entry>; 3],
    /// Of each core, everything it ever captured, by place in the log.
    took: [BTreeMap<(u64, u64), Vec<u8>>; 3],
    entropy: SeededEntropy,
}

impl Hosts {
    fn found() -> Self {
        let mut world = VaultWorld::group(11, Quorum::THREE);
        let alice = Person::new(&mut world, "alice");
        let requests = vec![
            alice.seal(&mut world, &Request::Status { device: None }).0,
            alice.try_password(&mut world, "wrong").step1,
            vec![0; 7],
        ];
        let genesis = world.log()[0];
        let store = world.store().clone();
        let cores = (0..3)
            .map(|at| dangerous::copy(world.core_at(at)))
            .collect();
        Self {
            cores,
            entries: vec![genesis],
            captures: Vec::new(),
            calls: Vec::new(),
            reports: Vec::new(),
            stores: BTreeMap::from([(genesis.encode().to_vec(), store)]),
            alice,
            requests,
            executed: [None; 3],
            took: Default::default(),
            entropy: SeededEntropy::new(12),
            world,
        }
    }

    /// The group as it was founded, for a run of its own.
    fn again(&mut self, founded: &[Core]) {
        self.cores = founded.iter().map(dangerous::copy).collect();
        self.entries.truncate(1);
        self.captures.clear();
        self.calls.clear();
        self.reports.clear();
        let genesis = self.entries[0].encode().to_vec();
        self.stores.retain(|entry, _| *entry == genesis);
        self.executed = [None; 3];
        self.took = Default::default();
        self.entropy = SeededEntropy::new(12);
    }

    /// One act of a host: which core, and what of all that was ever said it is shown.
    fn act(&mut self, act: u8, choice: u8) {
        let at = usize::from(act) % 3;
        let before = self.cores[at].memory().reach();
        match act / 3 % 8 {
            0 => self.execute(at, choice),
            1 | 2 => self.capture(at, choice),
            3 => self.release(at, choice),
            4 => {
                let above = pick(&self.entries, choice).map(Entry::term);
                if let Some(Ok(call)) =
                    above.map(|above| self.cores[at].stand(above, &mut self.entropy))
                {
                    assert_eq!(Call::decode(&call.encode()), Ok(call));
                    self.calls.push(call);
                }
            }
            5 => {
                if let Some(Ok(report)) =
                    pick(&self.calls, choice).map(|call| self.cores[at].promise(call))
                {
                    assert_eq!(Report::decode(&report.encode()), Ok(report));
                    self.reports.push(report);
                }
            }
            6 => {
                let _ = self.cores[at].lead(&self.reports);
            }
            _ => match choice % 3 {
                0 => self.cores[at].step_down(),
                1 => self.restart(at),
                _ => {
                    if let Some(entry) = pick(&self.entries, choice / 3) {
                        let _ = self.cores[at].adopt(entry);
                    }
                }
            },
        }
        let core = &self.cores[at];
        assert!(
            core.memory().reach() >= before,
            "VAULT-4: a memory goes back"
        );
        assert_eq!(Memory::decode(&core.memory().encode()), Ok(*core.memory()));
    }

    fn execute(&mut self, at: usize, choice: u8) {
        let Some(request) = pick(&self.requests, choice).cloned() else {
            return;
        };
        let core = &mut self.cores[at];
        // A host that shows the wrong store gets an error; which store is right, the core's base says.
        let stores: Vec<_> = self.stores.values().cloned().collect();
        for store in stores {
            let proof = prove(&core.fleet(), [&self.alice.account], |key| {
                Ok::<_, ()>(store.get(key).cloned())
            });
            let touch = Touch {
                account: self.alice.account.clone(),
                request: request.clone(),
            };
            let proof: MultiProof = proof.expect("a whole store");
            let executed = core.execute(vec![touch], &proof, HostTime::new(1), &mut self.entropy);
            let Ok(executed) = executed else { continue };
            assert_eq!(Entry::decode(&executed.entry.encode()), Ok(executed.entry));
            let mut store = store;
            store.extend(executed.puts);
            self.stores.insert(executed.entry.encode().to_vec(), store);
            self.entries.push(executed.entry);
            self.executed[at] = Some(executed.entry);
            return;
        }
    }

    fn capture(&mut self, at: usize, choice: u8) {
        let Some(entry) = pick(&self.entries, choice).copied() else {
            return;
        };
        let Ok(capture) = self.cores[at].capture(&entry) else {
            return;
        };
        assert_eq!(Capture::decode(&capture.encode()), Ok(capture));
        let place = (entry.term().number(), entry.index().number());
        let bytes = entry.encode().to_vec();
        let earlier = self.took[at].insert(place, bytes.clone());
        assert!(
            earlier.is_none_or(|earlier| earlier == bytes),
            "VAULT-8: two entries of one place"
        );
        self.captures.push(capture);
    }

    /// VAULT-2: answers leave only when two of three have captured the very entry.
    fn release(&mut self, at: usize, choice: u8) {
        let kept = self.captures.len().saturating_sub(usize::from(choice % 4));
        let Ok(answers) = self.cores[at].release(&self.captures[..kept]) else {
            return;
        };
        let entry = self.executed[at]
            .take()
            .expect("answers of an executed batch");
        let bytes = entry.encode().to_vec();
        let captured = self
            .took
            .iter()
            .filter(|took| took.values().any(|took| *took == bytes));
        assert!(
            captured.count() >= 2,
            "VAULT-2: an answer leaves without a quorum"
        );
        assert_eq!(answers.len(), 1);
        if let [Answer::Sealed(reply)] = answers.as_slice() {
            assert_eq!(reply.len(), keyhaven_wire::channel::SEALED_REPLY_BYTES);
        }
    }

    /// A crash: the core goes on from its memory, leads nothing, and holds no answer.
    fn restart(&mut self, at: usize) {
        let memory = *self.cores[at].memory();
        self.world.restart_at(at, memory);
        self.cores[at] = dangerous::copy(self.world.core_at(at));
        assert_eq!(
            self.cores[at].role(),
            Role::Witness,
            "a restarted core leads"
        );
        assert!(
            self.cores[at].release(&self.captures).is_err(),
            "VAULT-2: answers outlive a crash"
        );
        self.executed[at] = None;
    }
}

fn pick<T>(things: &[T], choice: u8) -> Option<&T> {
    // Counted from the newest: the first choices are the likeliest to be taken.
    things
        .len()
        .checked_sub(1 + usize::from(choice) % things.len().max(1))
        .and_then(|at| things.get(at))
}

/// Each pair of bytes is an act: what is done to which core, and what it is shown.
pub fn sequence(bytes: &[u8]) {
    thread_local!(static FOUNDED: RefCell<(Hosts, Vec<Core>)> = RefCell::new({
        let hosts = Hosts::found();
        let founded = hosts.cores.iter().map(dangerous::copy).collect();
        (hosts, founded)
    }));
    FOUNDED.with(|founded| {
        let (hosts, founded) = &mut *founded.borrow_mut();
        hosts.again(founded);
        for pair in bytes.as_chunks::<2>().0.iter().take(ACTS_MAX) {
            hosts.act(pair[0], pair[1]);
        }
    });
}

/// Some runs that commit, elect and crash.
#[must_use]
pub fn sequence_seeds() -> Vec<Vec<u8>> {
    let execute = [0, 1];
    let captures = [3, 0, 4, 0];
    let release = [9, 0];
    let elect = [13, 0, 15, 0, 16, 0, 17, 0, 19, 0];
    let restart = [21, 1];
    let commit = [execute.as_slice(), &captures, &release].concat();
    let mut seeds = vec![
        commit.clone(),
        [commit.as_slice(), &commit, &elect].concat(),
        [execute.as_slice(), &captures, &restart, &release, &elect].concat(),
        [
            execute.as_slice(),
            &elect,
            &[22, 2],
            &[1, 0],
            &[4, 0, 5, 0],
            &[10, 0],
        ]
        .concat(),
    ];
    for act in 0..24_u8 {
        seeds.push([commit.as_slice(), &[act, 0], &[act, 1], &commit].concat());
    }
    seeds
}
