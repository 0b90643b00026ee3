//! The hosts: everything that they could do in a state, and what comes of it.

use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_simulator::hands::Hands as _;
use keyhaven_simulator::hands::cheap;
use keyhaven_simulator::standin::StandIn;
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{
    Answer, Core, CoreError, FleetSecrets, LogError, Member, Memory, Newcomer, Policy, Report,
    Role, Term, Touch, dangerous, prove,
};
use keyhaven_wire::channel::{Conversation, seal_first_with};
use keyhaven_wire::message::{
    AccountName, Followup, HostTime, LeafIndex, Outcome, RegisterAuthority, RegisterFinish,
    RegistrationId, Request, WrappedKey,
};
use keyhaven_wire::opaque::Parties;
use stateright::{Model, Property};

use crate::Bounds;
use crate::state::{Made, State};

/// Guesses in a row that the record of this model allows.
const BUDGET: u8 = 2;
/// The guesses that are out: each client's, and the hosts' own.
const GUESSES: usize = 3;

/// One thing that the hosts do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Has a core that leads carry out a guess.
    Execute {
        /// Which core.
        core: usize,
        /// Which guess.
        guess: usize,
    },
    /// Shows a core an entry.
    Capture {
        /// Which core.
        core: usize,
        /// Which entry.
        page: usize,
    },
    /// Hands a core every capture that there is.
    Release {
        /// Which core.
        core: usize,
    },
    /// Has a core call for reports.
    Stand {
        /// Which core.
        core: usize,
        /// Above this term.
        above: u64,
    },
    /// Shows a core a call.
    Promise {
        /// Which core.
        core: usize,
        /// Which call.
        call: usize,
    },
    /// Hands a core these reports.
    Lead {
        /// Which core.
        core: usize,
        /// Which reports.
        reports: Vec<usize>,
    },
    /// Has a leader build on an entry.
    Adopt {
        /// Which core.
        core: usize,
        /// Which entry.
        page: usize,
    },
    /// Stops a core and starts it with one of the memories that it had.
    Crash {
        /// Which core.
        core: usize,
        /// Which memory.
        image: usize,
    },
}

impl Act {
    /// Which core it is done to.
    const fn core(&self) -> usize {
        match self {
            Self::Execute { core, .. }
            | Self::Capture { core, .. }
            | Self::Release { core }
            | Self::Stand { core, .. }
            | Self::Promise { core, .. }
            | Self::Lead { core, .. }
            | Self::Adopt { core, .. }
            | Self::Crash { core, .. } => *core,
        }
    }
}

/// The hosts of one group, and what they may do.
pub struct Hosts {
    bounds: Bounds,
    secrets: Arc<FleetSecrets>,
    account: AccountName,
    guesses: Vec<(Vec<u8>, Conversation)>,
    begin: State,
    /// The index of the entry that all cores begin with.
    first: u64,
}

/// Randomness that is the same in every state after as many crashes: what a core draws must not tell two states apart
/// that are otherwise the same. But a core that goes on from an older memory draws anew: its calls are not those that it
/// made before, and what it was promised then does not count (VAULT-9).
fn drawn(crashes: u8) -> impl Entropy {
    SeededEntropy::new(1000 * u64::from(crashes) + 7)
}

impl Hosts {
    /// A group with one account, registered, and all cores in step.
    ///
    /// # Panics
    /// If not even that works.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let mut entropy = SeededEntropy::new(1);
        let policy = Policy {
            quorum: bounds.quorum,
            guesses: BUDGET,
            reserved: 0,
            ..Policy::DEFAULT
        };
        let others: Vec<Newcomer> = (1..bounds.quorum.members)
            .map(|_| Newcomer::draw(&mut entropy))
            .collect();
        let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
        let (core, genesis) =
            dangerous::genesis(&StandIn, policy, &names, &mut entropy).expect("a sound policy");
        let secrets = dangerous::decode(&StandIn, &genesis.secrets).expect("whole secrets");
        let secrets = Arc::new(secrets);
        let mut cores = vec![core];
        cores.extend(others.into_iter().map(|new| new.join(Arc::clone(&secrets))));
        let made = vec![Made {
            entry: genesis.entry,
            on: None,
            guess: None,
            store: Arc::new(genesis.puts.into_iter().collect()),
        }];
        let images = cores.iter().map(|core| vec![*core.memory()]).collect();
        let begin = State {
            cores,
            images,
            made,
            calls: Vec::new(),
            reports: Vec::new(),
            captures: Vec::new(),
            answered: std::collections::BTreeSet::new(),
            released: std::collections::BTreeSet::new(),
            crashes: 0,
            touched: 0,
            broken: None,
        };
        let account = AccountName::parse("alice").expect("a name");
        let mut hosts = Self {
            bounds,
            secrets,
            account,
            guesses: Vec::new(),
            begin,
            first: 0,
        };
        hosts.register(&mut entropy);
        hosts
    }

    fn seal(&self, request: &Request, entropy: &mut dyn Entropy) -> (Vec<u8>, Conversation) {
        let fleet = self.secrets.fleet();
        let leaf = LeafIndex::of(&fleet, &self.account);
        seal_first_with(
            &StandIn,
            &fleet,
            self.secrets.channel_key(),
            &leaf,
            request,
            entropy,
        )
        .expect("sealing")
    }

    /// Registers the account, before the model begins, and makes the guesses that will be out.
    fn register(&mut self, entropy: &mut dyn Entropy) {
        let fleet = self.secrets.fleet();
        let parties = Parties {
            fleet,
            leaf: LeafIndex::of(&fleet, &self.account),
        };
        let (state, request) = StandIn.enrol_start("right", entropy);
        let id = RegistrationId::new([1; 16]);
        let (bytes, conversation) = self.seal(&Request::RegisterStart { id, request }, entropy);
        let reply = self.commit(bytes);
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
        let reply = self.commit(bytes);
        let outcome = awaiting.open(&reply).expect("a reply").outcome;
        assert!(matches!(outcome, Outcome::Registered { .. }), "{outcome:?}");
        for _ in 0..GUESSES {
            let (_, ke1) = StandIn.login_start("wrong", entropy);
            let request = Request::RecoverStart { ke1, device: None };
            let sealed = self.seal(&request, entropy);
            self.guesses.push(sealed);
        }
        // What came before is not the model's: only where it left the cores.
        let last = self.begin.made.pop().expect("the last entry");
        self.first = last.entry.index().number();
        self.begin.made = vec![Made {
            on: None,
            guess: None,
            ..last
        }];
        self.begin.captures.clear();
        self.begin.images = self
            .begin
            .cores
            .iter()
            .map(|core| vec![*core.memory()])
            .collect();
    }

    /// One request before the model begins, captured by all.
    fn commit(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let touch = Touch {
            account: self.account.clone(),
            request: bytes,
        };
        let store = &self.begin.made.last().expect("an entry").store;
        let proof = prove(&self.secrets.fleet(), [&self.account], |key| {
            Ok::<_, ()>(store.get(key).cloned())
        })
        .expect("a whole store");
        let leader = &mut self.begin.cores[0];
        let executed = leader
            .execute(vec![touch], &proof, HostTime::new(1), &mut drawn(0))
            .expect("a batch");
        let mut store = (**store).clone();
        store.extend(executed.puts);
        self.begin.made.push(Made {
            entry: executed.entry,
            on: None,
            guess: None,
            store: Arc::new(store),
        });
        let captures: Vec<_> = self
            .begin
            .cores
            .iter_mut()
            .map(|core| core.capture(&executed.entry).expect("a capture"))
            .collect();
        let answers = self.begin.cores[0].release(&captures).expect("a quorum");
        match answers.into_iter().next() {
            Some(Answer::Sealed(reply)) => reply,
            Some(Answer::Unreadable | Answer::Elsewhere | Answer::Range(_)) | None => {
                unreachable!("a request that was made")
            }
        }
    }

    fn is_victim(&self, core: usize) -> bool {
        core < usize::from(self.bounds.put_back)
    }

    /// The cores that the hosts may turn to. Those that no host has turned to yet are all alike, but for
    /// the founder and for those whose memory may be put back: of these only the first is tried, for
    /// what comes of any other is the same under another name.
    fn within_reach(&self, state: &State) -> usize {
        let all = state.cores.len();
        if self.bounds.every_name {
            return all;
        }
        all.min(self.alike() + state.touched + 1)
    }

    /// The first of the cores that are alike at the beginning.
    fn alike(&self) -> usize {
        usize::from(self.bounds.put_back).max(1)
    }

    /// The guesses that a leader may be handed: those that are out already, and the first of the others,
    /// which are alike too.
    fn guesses(&self, state: &State) -> usize {
        if self.bounds.every_name {
            return GUESSES;
        }
        let out = state.made.iter().filter_map(|made| made.guess).max();
        GUESSES.min(out.map_or(0, |newest| newest + 1) + 1)
    }

    fn depth(&self, state: &State, page: usize) -> u64 {
        state.made[page].entry.index().number() - self.first
    }

    fn base(state: &State, core: usize) -> Option<usize> {
        let mac = state.cores[core].base()?.mac();
        state.made.iter().position(|made| made.entry.mac() == mac)
    }

    /// Notes a core's memory, where its host may put an older one back, or at all.
    fn keep(&self, state: &mut State, core: usize) {
        let memory = *state.cores[core].memory();
        if self.is_victim(core) {
            if !state.images[core].contains(&memory) {
                state.images[core].push(memory);
            }
        } else {
            state.images[core] = vec![memory];
        }
    }

    fn execute(&self, state: &mut State, core: usize, guess: usize) -> Option<()> {
        let base = Self::base(state, core)?;
        if self.depth(state, base) >= self.bounds.entries_max {
            return None;
        }
        let touch = Touch {
            account: self.account.clone(),
            request: self.guesses[guess].0.clone(),
        };
        let store = Arc::clone(&state.made[base].store);
        let proof = prove(&self.secrets.fleet(), [&self.account], |key| {
            Ok::<_, ()>(store.get(key).cloned())
        })
        .expect("a whole store");
        let done = state.cores[core].execute(
            vec![touch],
            &proof,
            HostTime::new(1),
            &mut drawn(state.crashes),
        );
        let executed = settle(state, done)?;
        let mut store = (*store).clone();
        store.extend(executed.puts);
        state.made.push(Made {
            entry: executed.entry,
            on: Some(base),
            guess: Some(guess),
            store: Arc::new(store),
        });
        Some(())
    }

    fn release(&self, state: &mut State, core: usize) -> Option<()> {
        let captures: Vec<_> = state.captures.iter().map(|(_, capture)| *capture).collect();
        let done = state.cores[core].release(&captures);
        let answers = settle(state, done)?;
        // The entry that was released is the one that the core now builds on.
        let page = Self::base(state, core)?;
        state.released.insert(page);
        let guess = state.made[page].guess?;
        for answer in answers {
            let Answer::Sealed(reply) = answer else {
                state.broken = Some("a guess was not read".to_owned());
                continue;
            };
            match self.guesses[guess].1.open(&reply) {
                Ok(reply) => {
                    if matches!(reply.outcome, Outcome::RecoverStarted { .. }) {
                        state.answered.insert(guess);
                    }
                }
                Err(error) => state.broken = Some(error.to_string()),
            }
        }
        Some(())
    }

    /// Every set of reports to a core's call that is as large as a quorum.
    fn quorums(&self, state: &State, term: Term) -> Vec<Vec<usize>> {
        let to: Vec<usize> = (0..state.reports.len())
            .filter(|at| state.reports[*at].term() == term)
            .collect();
        let size = usize::from(self.bounds.quorum.captures);
        (0_u32..1 << to.len().min(16))
            .filter(|mask| mask.count_ones() as usize == size)
            .map(|mask| {
                let chosen = to.iter().enumerate();
                chosen
                    .filter(|(bit, _)| mask >> bit & 1 == 1)
                    .map(|(_, at)| *at)
                    .collect()
            })
            .collect()
    }
}

/// What a core refuses makes no new state; what none may ever say breaks the model.
fn settle<T>(state: &mut State, done: Result<T, CoreError>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(
            error @ (CoreError::Log(LogError::Forked { .. })
            | CoreError::Proof(_)
            | CoreError::RecordDamaged
            | CoreError::Secrets(_)
            | CoreError::Bound),
        ) => {
            state.broken = Some(error.to_string());
            None
        }
        Err(_) => None,
    }
}

impl Model for Hosts {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin.clone()]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        if state.broken.is_some() {
            return;
        }
        for core in 0..self.within_reach(state) {
            match state.cores[core].role() {
                Role::Leader { .. } => {
                    acts.extend((0..self.guesses(state)).map(|guess| Act::Execute { core, guess }));
                    acts.push(Act::Release { core });
                    acts.extend((0..state.made.len()).map(|page| Act::Adopt { core, page }));
                }
                Role::Candidate { term } => {
                    let quorums = self.quorums(state, term).into_iter();
                    acts.extend(quorums.map(|reports| Act::Lead { core, reports }));
                }
                Role::Witness => {}
            }
            let promised = state.cores[core].memory().promised().number();
            for above in promised..self.bounds.term_max {
                acts.push(Act::Stand { core, above });
            }
            acts.extend((0..state.calls.len()).map(|call| Act::Promise { core, call }));
            acts.extend((0..state.made.len()).map(|page| Act::Capture { core, page }));
            if state.crashes < self.bounds.crashes_max {
                let images = 0..state.images[core].len();
                acts.extend(images.map(|image| Act::Crash { core, image }));
            }
        }
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut state = before.clone();
        if !self.bounds.every_name {
            let newest = (act.core() + 1).saturating_sub(self.alike());
            state.touched = state.touched.max(newest);
        }
        let done = match act {
            Act::Execute { core, guess } => self.execute(&mut state, core, guess),
            Act::Release { core } => self.release(&mut state, core),
            Act::Capture { core, page } => {
                let entry = state.made[page].entry;
                let done = state.cores[core].capture(&entry);
                settle(&mut state, done).map(|capture| {
                    if !state.captures.iter().any(|(_, known)| *known == capture) {
                        state.captures.push((page, capture));
                    }
                    self.keep(&mut state, core);
                })
            }
            Act::Stand { core, above } => {
                // A nonce is a core's own: two cores never draw the same.
                let seed = 1000 * u64::from(state.crashes) + 100 + core as u64;
                let mut own = SeededEntropy::new(seed);
                let done = state.cores[core].stand(Term::new(above), &mut own);
                settle(&mut state, done).map(|call| {
                    if !state.calls.contains(&call) {
                        state.calls.push(call);
                    }
                })
            }
            Act::Promise { core, call } => {
                let call = state.calls[call];
                let done = state.cores[core].promise(&call);
                settle(&mut state, done).map(|report| {
                    state.reports.push(report);
                    self.keep(&mut state, core);
                })
            }
            Act::Lead { core, reports } => {
                let reports: Vec<Report> = reports
                    .iter()
                    .map(|report| state.reports[*report])
                    .collect();
                let done = state.cores[core].lead(&reports);
                settle(&mut state, done).map(drop)
            }
            Act::Adopt { core, page } => {
                let entry = state.made[page].entry;
                let done = state.cores[core].adopt(&entry);
                settle(&mut state, done)
            }
            Act::Crash { core, image } => {
                let memory: Memory = state.images[core][image];
                state.crashes += 1;
                let started = Core::resume(Arc::clone(&self.secrets), memory);
                settle(&mut state, started).map(|started| state.cores[core] = started)
            }
        };
        (done.is_some() || state.broken.is_some()).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "VAULT-1: two guesses are answered at most",
                |_, state: &State| state.answered.len() <= usize::from(BUDGET),
            ),
            Property::always(
                "VAULT-8: all answers lie on one line",
                |_, state: &State| state.is_one_line(),
            ),
            Property::always("VAULT-8: no core ever sees a fork", |_, state: &State| {
                state.broken.is_none()
            }),
            Property::sometimes("a guess is answered", |_, state: &State| {
                !state.answered.is_empty()
            }),
            Property::sometimes("a second leader answers", |_, state: &State| {
                let released = state.released.iter();
                released
                    .map(|page| state.made[*page].entry.term().number())
                    .any(|term| term > 1)
            }),
            Property::sometimes("two entries want one place", |_, state: &State| {
                state.made.iter().enumerate().any(|(one, first)| {
                    state.made.iter().skip(one + 1).any(|other| {
                        first.entry.index() == other.entry.index()
                            && first.entry.mac() != other.entry.mac()
                    })
                })
            }),
        ]
    }
}
