//! All that cores ever were, said and did.
//!
//! What a core does depends on where it is and on what it is shown, on nothing else: it reads no clock and
//! no randomness but what it is given. So a core that is shown something is asked once, and the
//! book knows the answer when another state holds the same core and shows it the same. Of each core the book keeps
//! a twin, which became the same in another way, and asks it too: they must not differ.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{
    Answer, Call, Capture, Core, CoreError, Entry, FleetSecrets, Head, LogError, Memory, Report,
    Role, Term, Touch, dangerous, prove,
};
use keyhaven_wire::channel::Conversation;
use keyhaven_wire::message::{AccountName, HostTime, Outcome};

use crate::begin::{Begin, Store};
use crate::bits::Bits;
use crate::numbered::Numbered;

/// An entry that a core made.
pub(crate) struct Made {
    pub(crate) entry: Entry,
    /// Which one it stands on.
    pub(crate) on: Option<u16>,
    /// Which of the guesses it carries out.
    pub(crate) guess: Option<usize>,
    /// The store after it.
    store: Store,
}

/// A core at work, and what it did when it was shown something.
pub(crate) struct Known {
    core: Core,
    twin: OnceLock<Core>,
    pub(crate) role: Role,
    pub(crate) promised: u64,
    pub(crate) memory: u16,
    /// The entry that its next one stands on.
    pub(crate) base: Option<u16>,
    steps: RwLock<HashMap<Shown, Done>>,
    elections: RwLock<HashMap<Bits, Arc<[Bits]>>>,
}

/// What a core is shown or told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shown {
    Guess(usize),
    Entry(u16),
    Captures(Bits),
    /// To call for reports, above this term, with a nonce that is drawn from this seed.
    Above(u64, u64),
    Call(u16),
    Reports(Bits),
    /// An entry to build on.
    Base(u16),
    /// To start again, with this memory.
    Memory(u16),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The core refused: all is as it was.
    Refused,
    /// It said what no core may ever say.
    Broken,
    /// It is this core now, and said this.
    Went(u16, Said),
}

/// What a core said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Entry(u16),
    Call(u16),
    Report(u16),
    Capture(u16),
    /// The answers of this entry; whether its guess was answered with a KE2.
    Answers(u16, bool),
}

/// Why a step leads nowhere.
enum Stopped {
    Refused,
    Broken,
}

impl From<CoreError> for Stopped {
    fn from(error: CoreError) -> Self {
        let broken = matches!(
            error,
            CoreError::Log(LogError::Forked { .. })
                | CoreError::Proof(_)
                | CoreError::RecordDamaged
                | CoreError::Secrets(_)
                | CoreError::Bound
        );
        if broken { Self::Broken } else { Self::Refused }
    }
}

/// The book.
pub(crate) struct Book {
    secrets: Arc<FleetSecrets>,
    account: AccountName,
    guesses: Vec<(Vec<u8>, Conversation)>,
    cores: Numbered<Known>,
    entries: Numbered<Made>,
    calls: Numbered<Call>,
    reports: Numbered<Report>,
    captures: Numbered<Capture>,
    memories: Numbered<Memory>,
}

/// The numbers of what there is when the model begins.
pub(crate) struct First {
    pub(crate) cores: Vec<u16>,
    pub(crate) entry: u16,
    pub(crate) captures: Bits,
}

impl Book {
    pub(crate) fn new(begin: Begin) -> (Self, First) {
        let book = Self {
            secrets: begin.secrets,
            account: begin.account,
            guesses: begin.guesses,
            cores: Numbered::new(),
            entries: Numbered::new(),
            calls: Numbered::new(),
            reports: Numbered::new(),
            captures: Numbered::new(),
            memories: Numbered::new(),
        };
        let captures = begin.captures.iter();
        let first = First {
            entry: book.entry(Made {
                entry: begin.entry,
                on: None,
                guess: None,
                store: begin.store,
            }),
            cores: begin
                .cores
                .into_iter()
                .map(|core| book.core(core))
                .collect(),
            captures: captures.map(|capture| book.capture(*capture)).collect(),
        };
        (book, first)
    }

    /// The core with this number.
    pub(crate) fn known(&self, core: u16) -> &Known {
        self.cores.at(core)
    }

    /// The entry with this number.
    pub(crate) fn made(&self, entry: u16) -> &Made {
        self.entries.at(entry)
    }

    fn core(&self, core: Core) -> u16 {
        let base = core.base().map(|head| self.at(head));
        let bytes = dangerous::describe(&core);
        let mut core = Some(core);
        let number = self.cores.number(bytes, || {
            let core = core.take().expect("it is new");
            Known {
                role: core.role(),
                promised: core.memory().promised().number(),
                memory: self.memory(*core.memory()),
                base,
                core,
                twin: OnceLock::new(),
                steps: RwLock::default(),
                elections: RwLock::default(),
            }
        });
        if let Some(twin) = core {
            // The first twin does.
            let _kept = self.known(number).twin.set(twin);
        }
        number
    }

    /// The entry that a log ends with.
    fn at(&self, head: &Head) -> u16 {
        let mac = head.mac().as_bytes().to_vec();
        self.entries
            .number(mac, || unreachable!("an entry that a core made"))
    }

    /// The number of an entry.
    ///
    /// # Panics
    /// Where one entry would be two: a guess that leaves no trace in it.
    fn entry(&self, made: Made) -> u16 {
        let (on, guess) = (made.on, made.guess);
        let mac = made.entry.mac().as_bytes().to_vec();
        let number = self.entries.number(mac, || made);
        let known = self.made(number);
        assert_eq!((known.on, known.guess), (on, guess));
        number
    }

    fn capture(&self, capture: Capture) -> u16 {
        self.captures.number(capture.encode().to_vec(), || capture)
    }

    fn memory(&self, memory: Memory) -> u16 {
        self.memories.number(memory.encode().to_vec(), || memory)
    }

    /// Whether two memories are of one core.
    pub(crate) fn is_of(&self, one: u16, other: u16) -> bool {
        self.memories.at(one).member() == self.memories.at(other).member()
    }

    /// Shows a core something.
    ///
    /// # Panics
    /// Where its twin does otherwise: then [`dangerous::describe`] does not tell one core from another.
    pub(crate) fn show(&self, core: u16, shown: Shown) -> Done {
        let known = self.known(core);
        let steps = known.steps.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = steps.get(&shown) {
            return *done;
        }
        drop(steps);
        let done = self.ask(&known.core, known.base, shown);
        if let Some(twin) = known.twin.get() {
            assert_eq!(self.ask(twin, known.base, shown), done);
        }
        let mut steps = known.steps.write().unwrap_or_else(PoisonError::into_inner);
        steps.insert(shown, done);
        done
    }

    fn ask(&self, core: &Core, base: Option<u16>, shown: Shown) -> Done {
        let mut after = dangerous::copy(core);
        match self.step(&mut after, base, shown) {
            Ok(said) => Done::Went(self.core(after), said),
            Err(Stopped::Refused) => Done::Refused,
            Err(Stopped::Broken) => Done::Broken,
        }
    }

    fn step(&self, core: &mut Core, base: Option<u16>, shown: Shown) -> Result<Said, Stopped> {
        match shown {
            Shown::Guess(guess) => self.execute(core, base.ok_or(Stopped::Refused)?, guess),
            Shown::Entry(entry) => {
                let capture = core.capture(&self.made(entry).entry)?;
                Ok(Said::Capture(self.capture(capture)))
            }
            Shown::Captures(captures) => self.release(core, captures),
            Shown::Above(term, seed) => {
                let call = core.stand(Term::new(term), &mut SeededEntropy::new(seed))?;
                let bytes = call.encode().to_vec();
                Ok(Said::Call(self.calls.number(bytes, || call)))
            }
            Shown::Call(call) => {
                let report = core.promise(self.calls.at(call))?;
                let bytes = report.encode().to_vec();
                Ok(Said::Report(self.reports.number(bytes, || report)))
            }
            Shown::Reports(reports) => {
                let reports: Vec<Report> = reports.iter().map(|at| *self.reports.at(at)).collect();
                core.lead(&reports)?;
                Ok(Said::Nothing)
            }
            Shown::Base(entry) => {
                core.adopt(&self.made(entry).entry)?;
                Ok(Said::Nothing)
            }
            Shown::Memory(memory) => {
                *core = Core::resume(Arc::clone(&self.secrets), *self.memories.at(memory))?;
                Ok(Said::Nothing)
            }
        }
    }

    fn execute(&self, core: &mut Core, on: u16, guess: usize) -> Result<Said, Stopped> {
        let touch = Touch {
            account: self.account.clone(),
            request: self.guesses[guess].0.clone(),
        };
        let store = &self.made(on).store;
        let proof = prove(&self.secrets.fleet(), [&self.account], |key| {
            Ok::<_, ()>(store.get(key).cloned())
        })
        .expect("a whole store");
        // The same in every state, and another for each guess: one that was denied leaves no other trace.
        let mut entropy = SeededEntropy::new(7 + guess as u64);
        let executed = core.execute(vec![touch], &proof, HostTime::new(1), &mut entropy)?;
        let mut store = store.clone();
        store.extend(executed.puts);
        Ok(Said::Entry(self.entry(Made {
            entry: executed.entry,
            on: Some(on),
            guess: Some(guess),
            store,
        })))
    }

    fn release(&self, core: &mut Core, captures: Bits) -> Result<Said, Stopped> {
        let captures: Vec<Capture> = captures.iter().map(|at| *self.captures.at(at)).collect();
        let answers = core.release(&captures)?;
        // The entry that was released is the one that the core now builds on.
        let entry = self.at(core.base().ok_or(Stopped::Refused)?);
        let guess = self.made(entry).guess.ok_or(Stopped::Refused)?;
        let mut answered = false;
        for answer in answers {
            let Answer::Sealed(reply) = answer else {
                return Err(Stopped::Broken);
            };
            let reply = self.guesses[guess].1.open(&reply);
            let reply = reply.map_err(|_| Stopped::Broken)?;
            answered |= matches!(reply.outcome, Outcome::RecoverStarted { .. });
        }
        Ok(Said::Answers(entry, answered))
    }

    /// The sets of so many of these reports that a candidate leads by, or that show it a fork.
    pub(crate) fn elections(&self, core: u16, reports: Bits, size: usize) -> Arc<[Bits]> {
        let known = self.known(core);
        let elections = known.elections.read();
        let elections = elections.unwrap_or_else(PoisonError::into_inner);
        if let Some(sets) = elections.get(&reports) {
            return Arc::clone(sets);
        }
        drop(elections);
        // Those without the last report, and those with it.
        let sets: Arc<[Bits]> = match reports.iter().last() {
            Some(last) => {
                let others = reports.without(last);
                let before = self.elections(core, others, size);
                let with = others.choose(size - 1).into_iter();
                let with = with
                    .map(|set| set.with(last))
                    .filter(|set| !matches!(self.show(core, Shown::Reports(*set)), Done::Refused));
                before.iter().copied().chain(with).collect()
            }
            None => Arc::default(),
        };
        let elections = known.elections.write();
        let mut elections = elections.unwrap_or_else(PoisonError::into_inner);
        elections.insert(reports, Arc::clone(&sets));
        sets
    }

    /// Those of these reports that promise this term.
    pub(crate) fn to(&self, term: Term, reports: Bits) -> Bits {
        let to = |at: &u16| self.reports.at(*at).term() == term;
        reports.iter().filter(to).collect()
    }
}
