//! The host of a core, in memory.

use std::collections::BTreeMap;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, Capture, Core, CoreError, Entry, Executed, FleetSecrets, Memory, MultiProof, NodeKey,
    Policy, Term, Touch, prove,
};
use keyhaven_wire::message::{AccountName, HostTime};

use crate::entropy::SeededEntropy;

/// A core with a store in memory, driven one batch at a time.
#[derive(Debug)]
pub struct VaultWorld {
    core: Core,
    secrets: Vec<u8>,
    memory: Memory,
    store: BTreeMap<NodeKey, Vec<u8>>,
    log: Vec<Entry>,
    now: HostTime,
    entropy: SeededEntropy,
}

impl VaultWorld {
    /// A new fleet with the default rules.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_policy(seed, Policy::DEFAULT)
    }

    /// A new fleet with these rules.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a world that cannot be built fails the test"
    )]
    pub fn with_policy(seed: u64, policy: Policy) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        let (core, genesis) = Core::genesis(policy, &[], &mut entropy).expect("a sound policy");
        Self {
            core,
            secrets: genesis.secrets.to_vec(),
            memory: genesis.memory,
            store: genesis.puts.into_iter().collect(),
            log: vec![genesis.entry],
            now: HostTime::new(1_800_000_000),
            entropy,
        }
    }

    /// The core.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// The core, to be driven by hand.
    pub const fn core_mut(&mut self) -> &mut Core {
        &mut self.core
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
        let capture = self.capture(&executed.entry)?;
        self.core.release(&[capture])
    }

    /// Reads the proof for a batch from the store.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the store of this world is whole")]
    pub fn proof(&self, accounts: &[&AccountName]) -> MultiProof {
        prove(&self.core.fleet(), accounts.iter().copied(), |key| {
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
        self.core
            .execute(batch, &proof, self.now, &mut self.entropy)
    }

    /// The store's step: entry and puts at once.
    pub fn append(&mut self, executed: &Executed) {
        self.log.push(executed.entry);
        self.store.extend(executed.puts.iter().cloned());
    }

    /// The core captures, and the host keeps its memory.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn capture(&mut self, entry: &Entry) -> Result<Capture, CoreError> {
        let capture = self.core.capture(entry)?;
        self.memory = *self.core.memory();
        Ok(capture)
    }

    /// The process dies and starts again: whatever the core had not released is gone, and the core
    /// is elected by itself and builds on what the log has.
    #[expect(
        clippy::expect_used,
        reason = "a world that cannot go on fails the test"
    )]
    pub fn restart(&mut self) {
        let secrets = FleetSecrets::decode(&self.secrets).expect("kept secrets");
        self.core = Core::resume(secrets, self.memory).expect("a kept memory");
        self.stand().expect("elected by itself");
        let base = *self.core.base().expect("it leads");
        for entry in self.log.iter().filter(|entry| entry.index() > base.index()) {
            self.core.adopt(entry).expect("the log's tail");
        }
    }

    /// The core stands for election, and elects itself.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn stand(&mut self) -> Result<(), CoreError> {
        let call = self.core.stand(Term::new(0), &mut self.entropy)?;
        let report = self.core.promise(&call)?;
        self.memory = *self.core.memory();
        self.core.lead(&[report]).map(drop)
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
