//! Where the model begins: a group with one account, registered, and all cores in step.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyhaven_simulator::hands::Hands as _;
use keyhaven_simulator::hands::cheap;
use keyhaven_simulator::standin::StandIn;
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{
    Answer, Capture, Core, Entry, FleetSecrets, Member, Newcomer, NodeKey, Policy, Quorum, Touch,
    dangerous, prove,
};
use keyhaven_wire::channel::{Conversation, seal_first_with};
use keyhaven_wire::message::{
    AccountName, Followup, HostTime, LeafIndex, Outcome, RegisterAuthority, RegisterFinish,
    RegistrationId, Request, WrappedKey,
};
use keyhaven_wire::opaque::Parties;

/// Guesses in a row that the record of this model allows.
pub(crate) const BUDGET: u8 = 2;
/// The guesses that are out: each client's, and the hosts' own.
pub(crate) const GUESSES: usize = 3;

/// What an entry's store holds.
pub(crate) type Store = BTreeMap<NodeKey, Vec<u8>>;

/// The group before the hosts do anything.
pub(crate) struct Begin {
    pub(crate) secrets: Arc<FleetSecrets>,
    pub(crate) account: AccountName,
    pub(crate) cores: Vec<Core>,
    /// The entry that all cores captured last.
    pub(crate) entry: Entry,
    /// These captures of it.
    pub(crate) captures: Vec<Capture>,
    /// The store after it.
    pub(crate) store: Store,
    /// The guesses: each a request, and what opens its answer.
    pub(crate) guesses: Vec<(Vec<u8>, Conversation)>,
}

impl Begin {
    /// A group of this size, of which the first core leads.
    pub(crate) fn new(quorum: Quorum) -> Self {
        let mut entropy = SeededEntropy::new(1);
        let policy = Policy {
            quorum,
            guesses: BUDGET,
            reserved: 0,
            ..Policy::DEFAULT
        };
        let others: Vec<Newcomer> = (1..quorum.members)
            .map(|_| Newcomer::draw(&mut entropy))
            .collect();
        let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
        let (core, genesis) =
            dangerous::genesis(&StandIn, policy, &names, &mut entropy).expect("a sound policy");
        let secrets = dangerous::decode(&StandIn, &genesis.secrets).expect("whole secrets");
        let secrets = Arc::new(secrets);
        let mut cores = vec![core];
        cores.extend(others.into_iter().map(|new| new.join(Arc::clone(&secrets))));
        let mut begin = Self {
            secrets,
            account: AccountName::parse("alice").expect("a name"),
            cores,
            entry: genesis.entry,
            captures: Vec::new(),
            store: genesis.puts.into_iter().collect(),
            guesses: Vec::new(),
        };
        begin.register(&mut entropy);
        begin
    }

    fn seal(&self, request: &Request, entropy: &mut SeededEntropy) -> (Vec<u8>, Conversation) {
        let fleet = self.secrets.fleet();
        let leaf = LeafIndex::of(&fleet, &self.account);
        let key = self.secrets.channel_key();
        seal_first_with(&StandIn, &fleet, key, &leaf, request, entropy).expect("sealing")
    }

    /// Registers the account, and makes the guesses that will be out.
    fn register(&mut self, entropy: &mut SeededEntropy) {
        let fleet = self.secrets.fleet();
        let parties = Parties {
            fleet,
            leaf: LeafIndex::of(&fleet, &self.account),
        };
        let (state, request) = StandIn.enrol_start("right", entropy);
        let id = RegistrationId::new([1; 16]);
        let (bytes, conversation) = self.seal(&Request::RegisterStart { id, request }, entropy);
        let reply = self.commit(bytes, entropy);
        let Outcome::RegisterStarted { response, ticket } =
            conversation.open(&reply).expect("a reply").outcome
        else {
            unreachable!("a registration is begun");
        };
        let enrolled = StandIn.enrol_finish(&state, "right", &response, &parties, entropy);
        let finish = Followup::RegisterFinish(RegisterFinish {
            upload: enrolled.upload,
            wrapped: WrappedKey::new([5; WrappedKey::BYTES]),
            cost: cheap(),
            device: None,
            authority: RegisterAuthority::First,
        });
        let (bytes, awaiting) = conversation
            .seal_second(&ticket, &finish, entropy)
            .expect("sealing");
        let reply = self.commit(bytes, entropy);
        let outcome = awaiting.open(&reply).expect("a reply").outcome;
        assert!(matches!(outcome, Outcome::Registered { .. }), "{outcome:?}");
        for _ in 0..GUESSES {
            let (_, ke1) = StandIn.login_start("wrong", entropy);
            let request = Request::RecoverStart { ke1, device: None };
            let sealed = self.seal(&request, entropy);
            self.guesses.push(sealed);
        }
    }

    /// One request, captured by all.
    fn commit(&mut self, request: Vec<u8>, entropy: &mut SeededEntropy) -> Vec<u8> {
        let touch = Touch {
            account: self.account.clone(),
            request,
        };
        let proof = prove(&self.secrets.fleet(), [&self.account], |key| {
            Ok::<_, ()>(self.store.get(key).cloned())
        })
        .expect("a whole store");
        let executed = self.cores[0]
            .execute(vec![touch], &proof, HostTime::new(1), entropy)
            .expect("a batch");
        self.entry = executed.entry;
        self.store.extend(executed.puts);
        self.captures = self
            .cores
            .iter_mut()
            .map(|core| core.capture(&executed.entry).expect("a capture"))
            .collect();
        let answers = self.cores[0].release(&self.captures).expect("a quorum");
        match answers.into_iter().next() {
            Some(Answer::Sealed(reply)) => reply,
            Some(Answer::Unreadable | Answer::Elsewhere | Answer::Range(_)) | None => {
                unreachable!("a request that was made")
            }
        }
    }
}
