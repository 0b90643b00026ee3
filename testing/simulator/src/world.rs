//! The world of a run: cores, all that they ever said, and the people who ask them.

use std::sync::Arc;

use keyhaven_vault_core::{
    Call, Capture, Core, CoreError, FleetSecrets, LogError, Member, Memory, Newcomer, Report, Term,
};

use crate::beginning::{self, Beginning};
use crate::chance::Chance;
use crate::chronicle::Batch;
use crate::invariants::Event;
use crate::ledger::Ledger;
use crate::nvram::Nvram;
use crate::swarm::Swarm;
use crate::{Broken, Step};

/// A place where a core runs.
#[derive(Debug)]
pub struct Place {
    /// The core.
    pub core: Core,
    /// Its group.
    pub group: usize,
    /// What its host has kept of its memory, of every name that it ran under, oldest first.
    pub images: Vec<Memory>,
    /// Whether its memory may be put back unnoticed: of as many places as the policy allows.
    pub victim: bool,
    /// The entry of which it withholds the answers.
    pub pending: Option<usize>,
    /// Where its core keeps its memory, if no host can put that back.
    pub nvram: Option<Nvram>,
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
    pub secrets: Arc<FleetSecrets>,
    /// The cores.
    pub places: Vec<Place>,
    /// The first entry of each group.
    pub roots: Vec<usize>,
    /// What was asked, made and answered.
    pub ledger: Ledger,
    /// Every call that was ever made.
    pub calls: Vec<Call>,
    /// Every report.
    pub reports: Vec<Report>,
    /// Every capture, with the entry that it is of.
    pub captures: Vec<(usize, Capture)>,
    /// What the hosts say the time is.
    pub now: u64,
}

impl World {
    /// A new fleet, and nobody registered.
    ///
    /// # Errors
    /// [`Broken`] if not even that works.
    pub fn new(seed: u64) -> Result<Self, Broken> {
        let swarm = Swarm::of_seed(seed);
        let mut chance = Chance::of_step(seed, u64::MAX - 1);
        let beginning = beginning::found(&swarm, &mut chance)?;
        let mut world = Self {
            secrets: beginning.secrets,
            places: Vec::new(),
            roots: vec![0],
            ledger: beginning.ledger,
            calls: Vec::new(),
            reports: Vec::new(),
            captures: Vec::new(),
            now: 1_000,
            swarm,
        };
        for (at, core) in beginning.cores.into_iter().enumerate() {
            world.put_up(seed, 0, at, core)?;
        }
        let mut chance = Chance::of_step(seed, u64::MAX - 6);
        for _ in 1..world.swarm.groups {
            world.found_another(seed, &mut chance)?;
        }
        Ok(world)
    }

    /// How many groups there are.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.roots.len()
    }

    /// Finds a place for a core of a group, its so manieth.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn put_up(&mut self, seed: u64, group: usize, at: usize, mut core: Core) -> Step {
        let number = self.places.len() as u64;
        let nvram = self.swarm.trusted.then(|| Nvram::new(seed ^ number));
        if let Some(nvram) = &nvram {
            trust(&mut core, nvram)?;
        }
        self.places.push(Place {
            group,
            images: vec![*core.memory()],
            core,
            victim: Beginning::is_victim(&self.swarm, at),
            pending: None,
            nvram,
        });
        Ok(())
    }

    /// What a core refused. A fork or a damaged record is never due here.
    pub fn refused(&mut self, error: &CoreError) -> Step {
        self.ledger.tell(|_| format!("    refused: {error}"));
        match error {
            CoreError::Log(LogError::Forked { .. })
            | CoreError::RecordDamaged
            | CoreError::Secrets(_)
            | CoreError::Bound => Err(Broken(format!("VAULT-8: a core says: {error}"))),
            CoreError::Log(LogError::OldTerm { .. }) => {
                self.ledger.meet("refused: an older term than promised");
                Ok(())
            }
            CoreError::Log(LogError::NotNext { .. }) => {
                self.ledger.meet("refused: an older entry");
                Ok(())
            }
            CoreError::Log(LogError::NotMember) => {
                self.ledger.meet("refused: not a member");
                Ok(())
            }
            CoreError::Log(LogError::NotKept(_)) => {
                self.ledger.meet("refused: a trusted memory failed");
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
        self.ledger.kept(&memory)
    }

    /// The entry that a leader's next one will stand on.
    #[must_use]
    pub fn base(&self, at: usize) -> Option<usize> {
        let head = self.places[at].core.base()?;
        self.ledger.chronicle.find(head.mac())
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
        let store = &self.ledger.chronicle.page(shown).store;
        let accounts = batch.touches.iter().map(|touch| &touch.account);
        let proof = keyhaven_vault_core::prove(&self.secrets.fleet(), accounts, |key| {
            Ok::<_, ()>(store.get(key).cloned())
        })
        .map_err(|error| Broken(format!("a store that is whole proves nothing: {error:?}")))?;
        self.ledger.taken += 1;
        let base = self.base(at);
        let Batch { touches, sent, now } = batch;
        let done = self.places[at].core.execute(touches, &proof, now, chance);
        let executed = match done {
            Ok(executed) => executed,
            Err(CoreError::Proof(_)) if base != Some(shown) => {
                self.ledger.meet("refused: a store that was put back");
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
        let (models, asked) = self.ledger.expect(base, &sent, now);
        self.ledger.trace(executed.entry.mac().as_bytes());
        let page = self.ledger.chronicle.write(base, executed, models, asked);
        self.places[at].pending = Some(page);
        self.ledger.tell(|world| {
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

    /// Shows a core an entry.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn capture(&mut self, at: usize, page: usize) -> Step {
        self.ledger.taken += 1;
        self.ledger
            .tell(|world| format!("  core {at} is shown {}", world.named(page)));
        let entry = self.ledger.chronicle.page(page).entry;
        let place = &mut self.places[at];
        match place.core.capture(&entry) {
            Ok(capture) => {
                let name = place.name();
                self.ledger.chronicle.captured(page, name);
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
        self.ledger.taken += 1;
        let pending = self.places[at].pending;
        self.ledger
            .tell(|_| format!("  core {at} is to release entry {pending:?}"));
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
        self.ledger
            .released(term, page, answers, chance)
            .map(|()| true)
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
        self.ledger.meet("led");
        self.ledger.note(&Event::Led {
            term: term.number(),
            base,
        })
    }

    /// Starts a place's core again, with a memory; or, if the core keeps its own, with that.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn restart(&mut self, at: usize, memory: Memory) -> Step {
        self.ledger
            .tell(|_| format!("  core {at} starts again from {:?}", memory.reach()));
        if let Some(nvram) = self.places[at].nvram.clone() {
            self.ledger.meet("a core went on from its own memory");
            let core = Core::resume_trusted(Arc::clone(&self.secrets), Box::new(nvram))
                .map_err(|error| Broken(format!("a trusted memory was refused: {error}")))?;
            let place = &mut self.places[at];
            place.core = core;
            place.pending = None;
            return self.keep(at);
        }
        let core = Core::resume(Arc::clone(&self.secrets), memory)
            .map_err(|error| Broken(format!("a kept memory was refused: {error}")))?;
        let place = &mut self.places[at];
        place.core = core;
        place.pending = None;
        if place.images.last() != Some(&memory) {
            place.images.push(memory);
            let core = memory.member();
            self.ledger.note(&Event::RolledBack { core })?;
        }
        Ok(())
    }

    /// A place's core loses its memory, and draws a new name.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn forget(&mut self, at: usize, chance: &mut Chance) -> Step {
        self.ledger.tell(|_| format!("  core {at} forgets"));
        let place = &mut self.places[at];
        place.core = Newcomer::draw(chance).join(Arc::clone(&self.secrets));
        place.pending = None;
        place.images.push(*place.core.memory());
        if let Some(nvram) = &mut place.nvram {
            // Another device: what the old one held is lost.
            *nvram = Nvram::new(chance.word());
            trust(&mut place.core, nvram)?;
        }
        Ok(())
    }
}

fn trust(core: &mut Core, nvram: &Nvram) -> Step {
    core.trust(Box::new(nvram.clone()))
        .map_err(|error| Broken(format!("an empty memory does not take anything: {error}")))
}
