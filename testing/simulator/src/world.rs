//! The world of a run: cores, all that they ever said, and the people who ask them.

use std::collections::{BTreeMap, BTreeSet};

use keyhaven_vault_core::{
    Answer as Sealed, Call, Capture, Core, CoreError, FleetSecrets, LogError, Member, Memory,
    Newcomer, Report, Term, dangerous,
};
use keyhaven_wire::message::HostTime;
use keyhaven_wire::suite::{Standard, Suite};

use crate::chance::Chance;
use crate::chronicle::{Asked, Batch, Chronicle};
use crate::hands::Hands;
use crate::invariants::{self, Answer, Event, Invariant, Ke2};
use crate::model::{Expected, Life, Model, Op, Why};
use crate::people::{Heard, People};
use crate::standin::StandIn;
use crate::swarm::Swarm;
use crate::{Broken, Step};

/// A place where a core runs.
#[derive(Debug)]
pub struct Place {
    /// The core.
    pub core: Core,
    /// What its host has kept of its memory, of every name that it ran under, oldest first.
    pub images: Vec<Memory>,
    /// Whether its memory may be put back unnoticed: of as many places as the policy allows.
    pub victim: bool,
    /// The entry of which it withholds the answers.
    pub pending: Option<usize>,
}

impl Place {
    /// The name that its core has now.
    #[must_use]
    pub fn name(&self) -> Member {
        self.core.memory().member()
    }
}

/// Everything.
#[derive(Debug)]
pub struct World {
    /// The kind of run.
    pub swarm: Swarm,
    /// The fleet's secrets, which no host ever sees.
    pub secrets: FleetSecrets,
    /// The cores.
    pub places: Vec<Place>,
    /// The people.
    pub people: People,
    /// The entries.
    pub chronicle: Chronicle,
    /// Every call that was ever made.
    pub calls: Vec<Call>,
    /// Every report.
    pub reports: Vec<Report>,
    /// Every capture, with the entry that it is of.
    pub captures: Vec<(usize, Capture)>,
    /// What the hosts say the time is.
    pub now: u64,
    /// How often each fault and each rare state was met.
    pub met: BTreeMap<&'static str, u64>,
    /// How many steps were taken: calls of a core, and messages that people made.
    pub taken: u64,
    /// What happened, in words, if somebody wants to read it.
    pub story: Option<Vec<String>>,
    authorised: BTreeSet<(usize, u64, u64)>,
    watch: Watch,
}

struct Watch {
    invariants: Vec<Box<dyn Invariant>>,
    trace: blake3::Hasher,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl World {
    /// A new fleet, and nobody registered.
    ///
    /// # Errors
    /// [`Broken`] if not even that works.
    pub fn new(seed: u64) -> Result<Self, Broken> {
        let swarm = Swarm::of_seed(seed);
        let mut chance = Chance::of_step(seed, u64::MAX - 1);
        let hands: &'static dyn Hands = if swarm.real { &Standard } else { &StandIn };
        let suite: &'static dyn Suite = if swarm.real { &Standard } else { &StandIn };
        let quorum = swarm.policy.quorum;
        let others: Vec<Newcomer> = (1..quorum.members)
            .map(|_| Newcomer::draw(&mut chance))
            .collect();
        let names: Vec<Member> = others.iter().map(Newcomer::member).collect();
        let (core, genesis) = dangerous::genesis(suite, swarm.policy, &names, &mut chance)
            .map_err(|error| Broken(format!("a group cannot begin: {error}")))?;
        let secrets = dangerous::decode(suite, &genesis.secrets)
            .map_err(|error| Broken(format!("secrets cannot be read: {error}")))?;
        let mut chronicle = Chronicle::default();
        chronicle.begin(genesis.entry, genesis.puts);
        let cores = std::iter::once(core).chain(
            others
                .into_iter()
                .map(|newcomer| newcomer.join(secrets.clone())),
        );
        let victims = usize::from(quorum.rollbacks) * usize::from(swarm.rollbacks);
        let places = cores
            .enumerate()
            .map(|(at, core)| Place {
                images: vec![*core.memory()],
                core,
                victim: at < victims,
                pending: None,
            })
            .collect();
        let people = People::new(
            hands,
            secrets.fleet(),
            *secrets.channel_key(),
            &swarm,
            &mut chance,
        );
        let mut world = Self {
            secrets,
            places,
            people,
            chronicle,
            calls: Vec::new(),
            reports: Vec::new(),
            captures: Vec::new(),
            now: 1_000,
            met: BTreeMap::new(),
            taken: 0,
            story: None,
            authorised: BTreeSet::new(),
            watch: Watch {
                invariants: invariants::all(),
                trace: blake3::Hasher::new(),
            },
            swarm,
        };
        world.note(&Event::Began {
            quorum: usize::from(quorum.captures),
            guesses: u32::from(world.swarm.policy.guesses),
        })?;
        Ok(world)
    }

    /// The digest of all that happened: two runs of one seed have the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *self.watch.trace.finalize().as_bytes()
    }

    /// Something was met.
    pub fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Tells what happens, if somebody wants to read it.
    pub fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = what(self);
            self.story.get_or_insert_default().push(line);
        }
    }

    /// An entry, in words.
    #[must_use]
    pub fn named(&self, page: usize) -> String {
        let entry = &self.chronicle.page(page).entry;
        let (term, index) = (entry.term().number(), entry.index().number());
        let on = self.chronicle.lineage().parent(page);
        format!("entry {page} (term {term}, index {index}, on {on:?})")
    }

    fn note(&mut self, event: &Event) -> Result<(), Broken> {
        self.tell(|_| match event {
            Event::Kept { reach, .. } => format!("    keeps {reach:?}"),
            Event::Led { term, base } => format!("    leads term {term} on entry {base}"),
            Event::Released {
                page, captured_by, ..
            } => {
                format!("    releases entry {page}, captured by {captured_by}")
            }
            Event::Began { .. }
            | Event::Ke2(_)
            | Event::Authorised { .. }
            | Event::Answer(_)
            | Event::RolledBack { .. } => format!("    {event:?}"),
        });
        for invariant in &mut self.watch.invariants {
            invariant
                .observe(event, self.chronicle.lineage())
                .map_err(Broken)?;
        }
        Ok(())
    }

    fn trace(&mut self, what: &[u8]) {
        self.watch.trace.update(what);
    }

    /// What a core refused. A fork or a damaged record is never due here.
    pub fn refused(&mut self, error: &CoreError) -> Step {
        self.tell(|_| format!("    refused: {error}"));
        match error {
            CoreError::Log(LogError::Forked { .. })
            | CoreError::RecordDamaged
            | CoreError::Secrets(_)
            | CoreError::Bound => Err(Broken(format!("VAULT-8: a core says: {error}"))),
            CoreError::Log(LogError::OldTerm { .. }) => {
                self.meet("refused: an older term than promised");
                Ok(())
            }
            CoreError::Log(LogError::NotNext { .. }) => {
                self.meet("refused: an older entry");
                Ok(())
            }
            CoreError::Log(LogError::NotMember) => {
                self.meet("refused: not a member");
                Ok(())
            }
            // Whatever else a core refuses, it may.
            _ => Ok(()),
        }
    }

    /// The host keeps a core's memory.
    pub fn keep(&mut self, at: usize) -> Step {
        let place = &mut self.places[at];
        let memory = *place.core.memory();
        if place.images.last() == Some(&memory) {
            return Ok(());
        }
        place.images.push(memory);
        let (promised, head) = memory.reach();
        let event = Event::Kept {
            core: memory.member(),
            reach: (
                promised.number(),
                head.map(|(term, index)| (term.number(), index.number())),
            ),
            mac: memory.head().map(|head| *head.mac().as_bytes()),
        };
        self.trace(&promised.number().to_be_bytes());
        if let Some(head) = memory.head() {
            self.trace(head.mac().as_bytes());
        }
        self.note(&event)
    }

    /// The entry that a leader's next one will stand on.
    #[must_use]
    pub fn base(&self, at: usize) -> Option<usize> {
        let head = self.places[at].core.base()?;
        self.chronicle.find(head.mac())
    }

    /// The newest term that any host has heard of.
    #[must_use]
    pub fn newest_term(&self) -> Term {
        let promised = self
            .places
            .iter()
            .map(|place| place.core.memory().promised());
        promised.max().unwrap_or(Term::new(0))
    }

    /// Hands a core a batch with the store as it was after the entry `shown`.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn execute(
        &mut self,
        at: usize,
        batch: Batch,
        shown: usize,
        chance: &mut Chance,
    ) -> Result<Option<usize>, Broken> {
        let store = &self.chronicle.page(shown).store;
        let accounts = batch.touches.iter().map(|touch| &touch.account);
        let proof = keyhaven_vault_core::prove(&self.secrets.fleet(), accounts, |key| {
            Ok::<_, ()>(store.get(key).cloned())
        })
        .map_err(|error| Broken(format!("a store that is whole proves nothing: {error:?}")))?;
        self.taken += 1;
        let base = self.base(at);
        let Batch { touches, sent, now } = batch;
        let done = self.places[at].core.execute(touches, &proof, now, chance);
        let executed = match done {
            Ok(executed) => executed,
            Err(CoreError::Proof(_)) if base != Some(shown) => {
                self.meet("refused: a store that was put back");
                return Ok(None);
            }
            Err(CoreError::Proof(error)) => {
                return Err(Broken(format!(
                    "VAULT-4: the right store was refused: {error}"
                )));
            }
            Err(error) => return self.refused(&error).map(|()| None),
        };
        let base = base.ok_or_else(|| Broken("a core builds on nothing known".to_owned()))?;
        let (models, asked) = self.expect(base, &sent, now);
        self.trace(executed.entry.mac().as_bytes());
        let page = self.chronicle.write(base, executed, models, asked);
        self.places[at].pending = Some(page);
        self.tell(|world| {
            let ops = sent
                .iter()
                .flatten()
                .map(|sent| &world.people.sent()[*sent].op);
            format!(
                "  core {at} makes {} of {:?}",
                world.named(page),
                ops.collect::<Vec<_>>()
            )
        });
        Ok(Some(page))
    }

    /// What the model says of a batch on top of an entry.
    fn expect(
        &mut self,
        base: usize,
        sent: &[Option<usize>],
        now: HostTime,
    ) -> (rpds::RedBlackTreeMap<usize, Model>, Vec<Asked>) {
        let policy = self.swarm.policy;
        let mut models = self.chronicle.page(base).models.clone();
        let mut asked = Vec::with_capacity(sent.len());
        for sent in sent {
            let Some(request) = sent.map(|sent| &self.people.sent()[sent]) else {
                asked.push(Asked {
                    sent: None,
                    expected: Expected::Standing,
                    model: Model::vacant(&policy),
                });
                continue;
            };
            let account = request.account;
            let mut model = models
                .get(&account)
                .cloned()
                .unwrap_or_else(|| Model::vacant(&policy));
            let before = model.life;
            let expected = model.apply(&request.op, &policy, now);
            if let Some(rare) = rare(before, &model, &request.op, &expected) {
                *self.met.entry(rare).or_default() += 1;
            }
            models.insert_mut(account, model.clone());
            asked.push(Asked {
                sent: *sent,
                expected,
                model,
            });
        }
        (models, asked)
    }

    /// Shows a core an entry.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn capture(&mut self, at: usize, page: usize) -> Step {
        self.taken += 1;
        self.tell(|world| format!("  core {at} is shown {}", world.named(page)));
        let entry = self.chronicle.page(page).entry;
        let place = &mut self.places[at];
        match place.core.capture(&entry) {
            Ok(capture) => {
                let name = place.name();
                self.chronicle.captured(page, name);
                self.captures.push((page, capture));
                self.settle(at);
                self.keep(at)
            }
            Err(error) => self.refused(&error),
        }
    }

    /// Forgets what a place withholds, if its core leads no more.
    pub fn settle(&mut self, at: usize) {
        if self.places[at].core.base().is_none() {
            self.places[at].pending = None;
        }
    }

    /// Hands a core captures, and looks at what it releases. `heard` says for each answer whether it
    /// reaches whoever asked.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn release(
        &mut self,
        at: usize,
        captures: &[Capture],
        chance: &mut Chance,
    ) -> Result<bool, Broken> {
        self.taken += 1;
        self.tell(|world| {
            format!(
                "  core {at} is to release entry {:?}",
                world.places[at].pending
            )
        });
        let place = &mut self.places[at];
        let term = match place.core.role() {
            keyhaven_vault_core::Role::Leader { term } => term.number(),
            keyhaven_vault_core::Role::Witness | keyhaven_vault_core::Role::Candidate { .. } => 0,
        };
        let answers = match place.core.release(captures) {
            Ok(answers) => answers,
            Err(error) => return self.refused(&error).map(|()| false),
        };
        let page = place
            .pending
            .take()
            .ok_or_else(|| Broken("VAULT-2: answers left twice".to_owned()))?;
        let captured_by = self.chronicle.page(page).captured.len();
        self.note(&Event::Released {
            term,
            page,
            captured_by,
        })?;
        self.meet("released");
        let asked = self.chronicle.page(page).asked.clone();
        if asked.len() != answers.len() {
            return Err(Broken(
                "VAULT-2: not one answer for each request".to_owned(),
            ));
        }
        for (asked, answer) in asked.into_iter().zip(answers) {
            match (asked.sent, answer) {
                (None, Sealed::Unreadable) => {}
                (Some(sent), Sealed::Sealed(reply)) => self.answer(sent, asked, &reply, chance)?,
                (None, Sealed::Sealed(_)) => {
                    return Err(Broken("a request for another account was read".to_owned()));
                }
                (Some(_), Sealed::Unreadable) => {
                    return Err(Broken(
                        "a request that somebody made was not read".to_owned(),
                    ));
                }
            }
        }
        Ok(true)
    }

    fn answer(
        &mut self,
        sent: usize,
        asked: Asked,
        reply: &[u8],
        chance: &mut Chance,
    ) -> Result<(), Broken> {
        let heard = self.people.open(sent, reply).map_err(Broken)?;
        self.trace(format!("{:?}", heard.what).as_bytes());
        let account = self.people.sent()[sent].account;
        if let (Some(digest), Expected::RecoverStarted { attempt }, Op::RecoverStart { ke1, .. }) =
            (heard.ke2, &heard.what, &self.people.sent()[sent].op)
        {
            let ke2 = Ke2 {
                account,
                generation: heard.reply.standing.generation.number(),
                attempt: *attempt,
                ke1: *ke1,
                digest,
            };
            self.note(&Event::Ke2(ke2))?;
        }
        let Heard {
            what,
            ke2: _,
            reply,
        } = &heard;
        self.note(&Event::Answer(Box::new(Answer {
            expected: asked.expected,
            came: what.clone(),
            model: asked.model,
            standing: reply.standing.clone(),
        })))?;
        if chance.percent(self.swarm.lost) {
            self.meet("an answer was lost");
        } else {
            self.people.hear(sent, &heard, chance);
        }
        Ok(())
    }

    /// Somebody made a request: notes it if it may refill a budget.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn made(&mut self, sent: usize) -> Step {
        let request = &self.people.sent()[sent];
        let account = request.account;
        let refill = match &request.op {
            Op::RecoverFinish {
                right: true,
                generation,
                attempt,
                ..
            } => Some((account, *generation, *attempt)),
            Op::RegisterFinish(arm) => match arm.by {
                Why::First => None,
                Why::Device(_, keyhaven_wire::message::PasswordClaim::MayBeSame) => None,
                Why::Device(..) | Why::Session(_) | Why::FreshStart => {
                    Some((account, u64::MAX, arm.what))
                }
            },
            Op::RecoverFinish { .. }
            | Op::Status(_)
            | Op::RegisterStart
            | Op::RecoverStart { .. }
            | Op::Change { .. }
            | Op::BeginWait(_)
            | Op::Forged
            | Op::Misdirected => None,
        };
        if refill.is_some_and(|refill| self.authorised.insert(refill)) {
            return self.note(&Event::Authorised { account });
        }
        Ok(())
    }

    /// A core was elected.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn led(&mut self, at: usize, term: Term) -> Step {
        self.places[at].pending = None;
        let base = self
            .base(at)
            .ok_or_else(|| Broken("a core leads from nothing known".to_owned()))?;
        self.meet("led");
        self.note(&Event::Led {
            term: term.number(),
            base,
        })
    }

    /// Starts a place's core again, with a memory.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn restart(&mut self, at: usize, memory: Memory) -> Step {
        self.tell(|_| format!("  core {at} starts again from {:?}", memory.reach()));
        let core = Core::resume(self.secrets.clone(), memory)
            .map_err(|error| Broken(format!("a kept memory was refused: {error}")))?;
        let place = &mut self.places[at];
        place.core = core;
        place.pending = None;
        if place.images.last() != Some(&memory) {
            place.images.push(memory);
            let core = memory.member();
            self.note(&Event::RolledBack { core })?;
        }
        Ok(())
    }

    /// A place's core loses its memory, and draws a new name.
    pub fn forget(&mut self, at: usize, chance: &mut Chance) {
        self.tell(|_| format!("  core {at} forgets"));
        let place = &mut self.places[at];
        place.core = Newcomer::draw(chance).join(self.secrets.clone());
        place.pending = None;
        place.images.push(*place.core.memory());
    }
}

/// The rare states of a record that a batch of runs must have met.
fn rare(before: Life, model: &Model, op: &Op, expected: &Expected) -> Option<&'static str> {
    match (expected, op) {
        (_, Op::RecoverFinish { right: false, .. })
            if model.life == Life::Destroyed && before != Life::Destroyed =>
        {
            Some("destroyed by a wrong last KE3")
        }
        (_, Op::RecoverStart { .. })
            if model.life == Life::Destroyed && before != Life::Destroyed =>
        {
            Some("destroyed by one KE1 too many")
        }
        (Expected::Recovered { session: true, .. }, _) if model.left == 0 => {
            Some("refilled to nothing: as many later guesses")
        }
        (Expected::Recovered { session: true, .. }, _) => Some("recovered, with a session"),
        (Expected::Recovered { session: false, .. }, _) => Some("recovered too late to refill"),
        (Expected::Registered(_), Op::RegisterFinish(arm)) => Some(match arm.by {
            Why::First => "registered by the token",
            Why::Device(_, keyhaven_wire::message::PasswordClaim::MayBeSame) => {
                "registered by a device, maybe the same password"
            }
            Why::Device(..) => "registered by a device, another password",
            Why::Session(_) => "registered in a session",
            Why::FreshStart => "a fresh start",
        }),
        (Expected::Denied(denial), _) => Some(denied(*denial)),
        (Expected::Changed(_), _) if model.life == Life::Deleted && before != Life::Deleted => {
            Some("deleted")
        }
        _ => None,
    }
}

const fn denied(denial: keyhaven_wire::message::Denial) -> &'static str {
    use keyhaven_wire::message::Denial;
    match denial {
        Denial::Malformed => "denied: malformed",
        Denial::NoRecord => "denied: no record",
        Denial::Destroyed => "denied: destroyed",
        Denial::AlreadyRegistered => "denied: already registered",
        Denial::Stale => "denied: stale",
        Denial::IdReused => "denied: id reused",
        Denial::UnknownTicket => "denied: unknown ticket",
        Denial::DeviceNotListed => "denied: device not listed",
        Denial::BadSignature => "denied: bad signature",
        Denial::SessionOver => "denied: session over",
        Denial::WrongChangeNumber => "denied: wrong change number",
        Denial::DeviceOnly => "denied: device only",
        Denial::TooManyDevices => "denied: too many devices",
        Denial::LastGuessesReserved { .. } => "denied: last guesses reserved",
        Denial::CapReached => "denied: cap reached",
        Denial::WaitNotOver { .. } => "denied: wait not over",
        Denial::NoWait => "denied: no wait",
        Denial::CancelsSpent => "denied: cancels spent",
        Denial::NoGuessesLeft => "denied: no guesses left",
    }
}
