//! The hosts of a group of cores, in memory.

use std::collections::BTreeMap;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, Call, Capture, Core, CoreError, Entry, Executed, FleetSecrets, Member, Memory,
    MultiProof, Newcomer, NodeKey, Policy, Quorum, Range, RangeAnswer, RangeStep, Report, Term,
    Touch, prove, prove_range,
};
use keyhaven_wire::message::{AccountName, HostTime, Outcome};

use super::Person;
use crate::entropy::SeededEntropy;

/// A group of cores with a store in memory, driven one batch at a time. One of them leads; most
/// worlds have no other.
#[derive(Debug)]
pub struct VaultWorld {
    places: Vec<Place>,
    leader: usize,
    secrets: Vec<u8>,
    store: BTreeMap<NodeKey, Vec<u8>>,
    log: Vec<Entry>,
    /// What each entry put: the hosts' tails.
    tails: Vec<Vec<(NodeKey, Vec<u8>)>>,
    now: HostTime,
    entropy: SeededEntropy,
}

/// Where a core runs.
#[derive(Debug)]
struct Place {
    core: Core,
    memory: Memory,
    away: bool,
}

impl VaultWorld {
    /// A new fleet of one core, with the default rules.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_policy(seed, Policy::DEFAULT)
    }

    /// A new fleet whose group has this quorum. The first core leads.
    #[must_use]
    pub fn group(seed: u64, quorum: Quorum) -> Self {
        Self::with_policy(
            seed,
            Policy {
                quorum,
                ..Policy::DEFAULT
            },
        )
    }

    /// A new fleet with these rules.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a world that cannot be built fails the test"
    )]
    pub fn with_policy(seed: u64, policy: Policy) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        let others: Vec<Newcomer> = (1..policy.quorum.members)
            .map(|_| Newcomer::draw(&mut entropy))
            .collect();
        let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
        let (core, genesis) = Core::genesis(policy, &names, &mut entropy).expect("a sound policy");
        let first = Executed {
            entry: genesis.entry,
            puts: genesis.puts,
        };
        Self::begin(core, others, genesis.secrets.to_vec(), first, entropy)
    }

    /// The same with somebody who has registered this password.
    ///
    /// # Panics
    /// When the registration is refused.
    #[must_use]
    pub fn with_alice(mut self, password: &str) -> (Self, Person) {
        let alice = Person::new(&mut self, "alice");
        let reply = alice.register(&mut self, password);
        assert!(matches!(reply.outcome, Outcome::Registered { .. }));
        (self, alice)
    }

    /// One more group of the same fleet. It holds no account yet.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a world that cannot be built fails the test"
    )]
    pub fn another_group(&mut self) -> Self {
        let mut entropy =
            SeededEntropy::new(keyhaven_secrets::random::<1>(&mut self.entropy)[0].into());
        let others: Vec<Newcomer> = (1..self.core().policy().quorum.members)
            .map(|_| Newcomer::draw(&mut entropy))
            .collect();
        let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
        let (core, first) = Core::found_group(self.secrets(), &names, &mut entropy)
            .expect("a group of the policy's size");
        Self::begin(core, others, self.secrets.clone(), first, entropy)
    }

    fn begin(
        core: Core,
        others: Vec<Newcomer>,
        secrets: Vec<u8>,
        first: Executed,
        entropy: SeededEntropy,
    ) -> Self {
        let mut world = Self {
            places: Vec::new(),
            leader: 0,
            secrets,
            store: first.puts.iter().cloned().collect(),
            log: vec![first.entry],
            tails: vec![first.puts],
            now: HostTime::new(1_800_000_000),
            entropy,
        };
        world.settle(core);
        for newcomer in others {
            let secrets = world.secrets();
            world.settle(newcomer.join(secrets));
        }
        world
    }

    fn settle(&mut self, core: Core) {
        self.places.push(Place {
            memory: *core.memory(),
            core,
            away: false,
        });
    }

    #[expect(clippy::expect_used, reason = "the secrets of this world are whole")]
    fn secrets(&self) -> FleetSecrets {
        FleetSecrets::decode(&self.secrets).expect("kept secrets")
    }

    /// The fleet's secrets, as a host would keep them.
    #[must_use]
    pub fn secrets_bytes(&self) -> &[u8] {
        &self.secrets
    }

    /// The core that leads.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.place(self.leader).core
    }

    /// The core that leads, to be driven by hand.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.place_mut(self.leader).core
    }

    /// Any core, to be driven by hand.
    pub fn core_at(&mut self, at: usize) -> &mut Core {
        &mut self.place_mut(at).core
    }

    /// What a core's host has kept of its memory.
    #[must_use]
    pub fn memory_at(&self, at: usize) -> Memory {
        self.place(at).memory
    }

    /// Which core leads.
    #[must_use]
    pub const fn leader(&self) -> usize {
        self.leader
    }

    #[expect(clippy::expect_used, reason = "a test names cores that there are")]
    fn place(&self, at: usize) -> &Place {
        self.places.get(at).expect("a core of this group")
    }

    #[expect(clippy::expect_used, reason = "a test names cores that there are")]
    fn place_mut(&mut self, at: usize) -> &mut Place {
        self.places.get_mut(at).expect("a core of this group")
    }

    /// The world's random source.
    pub fn entropy(&mut self) -> &mut dyn Entropy {
        &mut self.entropy
    }

    /// The entries that were appended.
    #[must_use]
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// What the store holds.
    #[must_use]
    pub const fn store(&self) -> &BTreeMap<NodeKey, Vec<u8>> {
        &self.store
    }

    /// What the store holds, for a host that tampers.
    pub const fn store_mut(&mut self) -> &mut BTreeMap<NodeKey, Vec<u8>> {
        &mut self.store
    }

    /// The host's time.
    #[must_use]
    pub const fn now(&self) -> HostTime {
        self.now
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: u64) {
        self.now = HostTime::new(self.now.number().saturating_add(seconds));
    }

    /// One request, all the way: executed, appended, captured, released.
    #[expect(clippy::expect_used, reason = "one request has one answer")]
    pub fn exchange(&mut self, account: &AccountName, request: &[u8]) -> Answer {
        self.batch(&[(account.clone(), request.to_vec())])
            .expect("an honest host is not refused")
            .pop()
            .expect("one answer for one request")
    }

    /// A batch, all the way.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn batch(&mut self, requests: &[(AccountName, Vec<u8>)]) -> Result<Vec<Answer>, CoreError> {
        let executed = self.execute(requests)?;
        self.append(&executed);
        self.capture(&executed.entry)?;
        let captures = self.captures(&executed.entry);
        self.core_mut().release(&captures)
    }

    /// Reads the proof for a batch from the store.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the store of this world is whole")]
    pub fn proof(&self, accounts: &[&AccountName]) -> MultiProof {
        prove(&self.core().fleet(), accounts.iter().copied(), |key| {
            Ok::<_, ()>(self.store.get(key).cloned())
        })
        .expect("the store is whole")
    }

    /// The core's step only: nothing is appended yet.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn execute(&mut self, requests: &[(AccountName, Vec<u8>)]) -> Result<Executed, CoreError> {
        let accounts: Vec<&AccountName> = requests.iter().map(|(account, _)| account).collect();
        let proof = self.proof(&accounts);
        let batch = requests
            .iter()
            .map(|(account, request)| Touch {
                account: account.clone(),
                request: request.clone(),
            })
            .collect();
        let now = self.now;
        let leader = self.leader;
        match self.places.get_mut(leader) {
            Some(place) => place.core.execute(batch, &proof, now, &mut self.entropy),
            None => Err(CoreError::NotLeading),
        }
    }

    /// A step of a range, all the way.
    ///
    /// # Errors
    /// What the core refuses.
    #[expect(clippy::panic, reason = "one step has one answer")]
    pub fn range(&mut self, step: &RangeStep) -> Result<RangeAnswer, CoreError> {
        let executed = self.execute_range(step)?;
        self.append(&executed);
        self.capture(&executed.entry)?;
        let captures = self.captures(&executed.entry);
        match self.core_mut().release(&captures)?.as_slice() {
            [Answer::Range(answer)] => Ok(*answer),
            other => panic!("a step of a range was answered with {other:?}"),
        }
    }

    /// The core's step only.
    ///
    /// # Errors
    /// What the core refuses.
    #[expect(clippy::expect_used, reason = "the store of this world is whole")]
    pub fn execute_range(&mut self, step: &RangeStep) -> Result<Executed, CoreError> {
        let proof = prove_range(step.range(), |key| {
            Ok::<_, ()>(self.store.get(key).cloned())
        })
        .expect("the store is whole");
        let leader = self.leader;
        match self.places.get_mut(leader) {
            Some(place) => place.core.range(step, &proof),
            None => Err(CoreError::NotLeading),
        }
    }

    /// The hosts copy a range's nodes and leaves from another group's store.
    pub fn copy_range(&mut self, from: &Self, range: Range) {
        let below = from.store.iter().filter(|(key, _)| range.covers(key));
        self.store
            .extend(below.map(|(key, bytes)| (*key, bytes.clone())));
    }

    /// The store's step: entry and puts at once.
    pub fn append(&mut self, executed: &Executed) {
        self.log.push(executed.entry);
        self.tails.push(executed.puts.clone());
        self.store.extend(executed.puts.iter().cloned());
    }

    /// The leading core captures, and its host keeps its memory.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn capture(&mut self, entry: &Entry) -> Result<Capture, CoreError> {
        self.capture_at(self.leader, entry)
    }

    /// A core captures, and its host keeps its memory.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn capture_at(&mut self, at: usize, entry: &Entry) -> Result<Capture, CoreError> {
        let place = self.place_mut(at);
        let capture = place.core.capture(entry)?;
        place.memory = *place.core.memory();
        Ok(capture)
    }

    /// What all cores that are not away say to an entry; some may refuse.
    pub fn captures(&mut self, entry: &Entry) -> Vec<Capture> {
        (0..self.places.len())
            .filter(|at| !self.place(*at).away)
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|at| self.capture_at(at, entry).ok())
            .collect()
    }

    /// A core is away from now on, or is back with the memory that it had.
    pub fn away(&mut self, at: usize, away: bool) {
        let memory = self.place(at).memory;
        self.restart_at(at, memory);
        self.place_mut(at).away = away;
    }

    /// Stops a core and starts it with a memory, its own or an older one.
    #[expect(clippy::expect_used, reason = "a kept memory")]
    pub fn restart_at(&mut self, at: usize, memory: Memory) {
        let core = Core::resume(self.secrets(), memory).expect("a kept memory");
        let place = self.place_mut(at);
        place.core = core;
        place.memory = memory;
    }

    /// A core's memory is lost: it starts again under a name that no roster has, which is returned.
    pub fn forget(&mut self, at: usize) -> Member {
        let newcomer = Newcomer::draw(&mut self.entropy);
        let name = newcomer.member();
        let core = newcomer.join(self.secrets());
        let place = self.place_mut(at);
        place.memory = *core.memory();
        place.core = core;
        name
    }

    /// Puts one core in another's place, and commits that.
    ///
    /// # Errors
    /// What the leading core refuses.
    pub fn replace(&mut self, go: Member, come: Member) -> Result<(), CoreError> {
        let executed = self.core_mut().replace(go, come)?;
        self.append(&executed);
        let captures = self.captures(&executed.entry);
        self.core_mut().release(&captures).map(drop)
    }

    /// The leading process dies and starts again: whatever the core had not released is gone. It is
    /// elected once more and builds on what the log has.
    #[expect(
        clippy::expect_used,
        reason = "a world that cannot go on fails the test"
    )]
    pub fn restart(&mut self) {
        let memory = self.place(self.leader).memory;
        self.restart_at(self.leader, memory);
        self.lead(self.leader).expect("elected again");
    }

    /// The leading process dies for good, and another core takes over.
    ///
    /// # Errors
    /// What that core refuses.
    pub fn take_over(&mut self, by: usize) -> Result<(), CoreError> {
        self.away(self.leader, true);
        self.lead(by)
    }

    /// A core stands, is elected by all that are not away, and builds on what the log has.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn lead(&mut self, by: usize) -> Result<(), CoreError> {
        self.leader = by;
        self.stand()?;
        let Some(base) = self.core().base().copied() else {
            return Err(CoreError::NotLeading);
        };
        for entry in self.log.clone() {
            if entry.index() > base.index() {
                self.core_mut().adopt(&entry)?;
            }
        }
        Ok(())
    }

    /// A core is elected by all that are not away, and is not told what the log has: a hostile host.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn leader_by_hand(&mut self, at: usize) -> Result<(), CoreError> {
        self.leader = at;
        self.stand()
    }

    /// The leading core stands for election, and all that are not away promise.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn stand(&mut self) -> Result<(), CoreError> {
        let above = self.log.iter().map(Entry::term).max();
        let above = above.unwrap_or(Term::new(0));
        let mut entropy = self.entropy.clone();
        let call = self.core_mut().stand(above, &mut entropy)?;
        self.entropy = entropy;
        let reports = self.reports(&call);
        self.core_mut().lead(&reports).map(drop)
    }

    /// What all cores that are not away say to a call; some may refuse.
    pub fn reports(&mut self, call: &Call) -> Vec<Report> {
        let here = self.places.iter_mut().filter(|place| !place.away);
        here.filter_map(|place| {
            let report = place.core.promise(call).ok();
            place.memory = *place.core.memory();
            report
        })
        .collect()
    }

    /// The database forgets its last entries, and all that they put.
    pub fn lose_commits(&mut self, entries: usize) {
        let kept = self.log.len().saturating_sub(entries);
        self.store = self.tails.iter().take(kept).flatten().cloned().collect();
    }

    /// The hosts bring the database forward from their tails.
    pub fn roll_forward(&mut self) {
        self.store = self.tails.iter().flatten().cloned().collect();
    }

    /// As [`VaultWorld::exchange`], but the process dies after the store's step: the request has
    /// been carried out, and nobody hears the answer.
    #[expect(clippy::expect_used, reason = "an honest host is not refused")]
    pub fn exchange_then_crash(&mut self, account: &AccountName, request: &[u8]) {
        let executed = self
            .execute(&[(account.clone(), request.to_vec())])
            .expect("an honest host is not refused");
        self.append(&executed);
        self.restart();
    }

    /// As [`VaultWorld::exchange`], but the process dies before the store's step: nothing happened.
    #[expect(clippy::expect_used, reason = "an honest host is not refused")]
    pub fn crash_before_append(&mut self, account: &AccountName, request: &[u8]) {
        let _never_appended = self
            .execute(&[(account.clone(), request.to_vec())])
            .expect("an honest host is not refused");
        self.restart();
    }
}
