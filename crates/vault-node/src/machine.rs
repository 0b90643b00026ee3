//! The core together with what the host keeps for it: the store, and the file that is its memory.
//!
//! The order of every batch is the whole of VAULT-2's host side:
//!
//! ```text
//!   prove ─► execute ─► append (durable) ─► capture ─► memory file (durable) ─► release ─► answers
//!                          ▲                                ▲
//!              a crash before: nothing happened   a crash between: the next start builds on the
//!                                                 appended entry and releases nothing of it
//! ```
//!
//! At each start the core is elected anew, by itself. The store is never behind the memory unless
//! somebody put an older one in its place: then the vault is *gone* and says so (VAULT-4). It may be
//! one entry ahead, by a crash, or more, when an older memory was put back; then the core adopts the
//! log's entries, each authenticated and chained to the one before.

mod error;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, Core, CoreError, Entry, Executed, FleetSecrets, Head, MultiProof, NodeKey, Policy,
    ProveError, Term, Touch, prove,
};
use keyhaven_vault_store::{Index, LogEntry, RedbStore, Settled, Step, Store, append_or_read_back};
use keyhaven_wire::message::{AccountName, HostTime};

use crate::folder::{self, Fleet, Folder};
use crate::memory_file::{Keeper, Kept, MemoryFile};
use crate::operator::{self, Facts};
use crate::os;

pub use error::{CommitError, CreateError, ResumeError};

/// Entries that are read at once while an older memory is led forward.
const ENTRIES_AT_ONCE: usize = 256;

/// A core that can go on.
pub(crate) struct Machine {
    core: Core,
    store: Box<dyn Store>,
    memory: Box<dyn Keeper>,
    head: Index,
}

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The sealed reply, released.
    Sealed(Vec<u8>),
    /// The core could not open it: not sealed to this fleet or account, or changed on the way.
    Unreadable,
    /// What the store holds for this account is not what the core's root says.
    Damaged,
}

/// Makes a vault: all of it, or nothing.
pub(crate) fn create(folder: &Folder, entropy: &mut dyn Entropy) -> Result<Fleet, CreateError> {
    if folder.fleet().exists() {
        return Err(CreateError::Exists {
            path: folder.root().to_owned(),
        });
    }
    let unborn = folder.unborn_fleet()?;
    let (core, genesis) = Core::genesis(Policy::DEFAULT, &[], entropy)?;
    folder::replace(&unborn.secrets(), &genesis.secrets)?;
    MemoryFile::create(&unborn.memory(), &genesis.memory)?;
    operator::generate(&unborn, entropy)?;
    let operator = operator::load(&unborn)?;
    operator::current_bundle(&unborn, &operator, &facts(&core), os::now_seconds())?;
    folder::create_private(&unborn.store())?;
    let store = RedbStore::open(&unborn.store())?;
    let entry = log_entry(&genesis.entry);
    store.append(&Step {
        expected: None,
        entry: &entry,
        nodes: &stored(genesis.puts),
    })?;
    drop(store);
    Ok(folder.deliver(&unborn)?)
}

impl Machine {
    /// Brings the core back to where it was, and on to what a crash left appended.
    pub(crate) fn resume(fleet: &Fleet, entropy: &mut dyn Entropy) -> Result<Self, ResumeError> {
        let secrets = FleetSecrets::decode(&folder::read_private(&fleet.secrets())?)
            .map_err(|error| damaged("core.secrets", &error))?;
        let (core, kept) = recall(fleet, &secrets)?;
        let remembered = kept.memory.head().ok_or_else(no_entry)?;
        if !fleet.store().exists() {
            return Err(gone("no entry at all", remembered));
        }
        let store = RedbStore::open(&fleet.store())?;
        let mut machine = Self {
            core,
            store: Box::new(store),
            memory: Box::new(MemoryFile::open(&fleet.memory(), &kept)?),
            head: Index::new(remembered.index().number()),
        };
        machine.lead(entropy)?;
        Ok(machine)
    }

    /// The newest entry.
    pub(crate) fn index(&self) -> u64 {
        self.head.number()
    }

    pub(crate) fn facts(&self) -> Facts {
        facts(&self.core)
    }

    /// Executes a batch and says what became of each request, in order, once it may be said.
    pub(crate) fn commit(
        &mut self,
        batch: Vec<Touch>,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<Answered>, CommitError> {
        if let Some(answers) = self.try_commit(batch.clone(), now, entropy)? {
            return Ok(answers);
        }
        // Something in the store that this batch touches is damaged. One by one, so that whoever
        // is not concerned is answered: a single bad sector must not stop everybody.
        let mut answers = Vec::with_capacity(batch.len());
        for touch in batch {
            let answer = self.try_commit(vec![touch], now, entropy)?;
            let answer = answer.and_then(|mut answers| answers.pop());
            answers.push(answer.unwrap_or(Answered::Damaged));
        }
        Ok(answers)
    }

    /// Opens the record of every account, without changing anything, and returns the accounts whose
    /// record the store does not hold as the core's root says.
    pub(crate) fn examine(
        &self,
        accounts: &[AccountName],
    ) -> Result<Vec<AccountName>, CommitError> {
        let mut damaged = Vec::new();
        for account in accounts {
            let whole = match self.prove([account])? {
                Some(proof) => settle(self.core.examine(account, &proof))?.is_some(),
                None => false,
            };
            if !whole {
                damaged.push(account.clone());
            }
        }
        Ok(damaged)
    }

    /// `None` when the store does not hold what the core's root says; nothing was done then.
    fn try_commit(
        &mut self,
        batch: Vec<Touch>,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Vec<Answered>>, CommitError> {
        let Some(executed) = self.execute(batch, now, entropy)? else {
            return Ok(None);
        };
        let entry = log_entry(&executed.entry);
        let nodes = stored(executed.puts);
        let step = Step {
            expected: Some(self.head),
            entry: &entry,
            nodes: &nodes,
        };
        // VAULT-2: the spend is on the medium before its answer can leave the core.
        match append_or_read_back(&*self.store, &step)? {
            Settled::Appended => {}
            Settled::Lost { .. } => return Err(CommitError::Raced),
        }
        let capture = self.core.capture(&executed.entry)?;
        // VAULT-4: the memory before the answer, or a store put back to before this entry would
        // be taken for the newest.
        self.memory.keep(self.core.memory())?;
        self.head = entry.index;
        let answers = self.core.release(&[capture])?;
        Ok(Some(answers.into_iter().map(Answered::from).collect()))
    }

    fn execute(
        &mut self,
        batch: Vec<Touch>,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Executed>, CommitError> {
        match self.prove(batch.iter().map(|touch| &touch.account))? {
            Some(proof) => settle(self.core.execute(batch, &proof, now, entropy)),
            None => Ok(None),
        }
    }

    /// `None` when the store is damaged where these accounts are.
    fn prove<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a AccountName>,
    ) -> Result<Option<MultiProof>, CommitError> {
        let snapshot = self.store.snapshot()?;
        let read = |key: &NodeKey| snapshot.get(key.as_bytes());
        match prove(&self.core.fleet(), accounts, read) {
            Ok(proof) => Ok(Some(proof)),
            Err(ProveError::Read(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the store is damaged");
                Ok(None)
            }
        }
    }

    /// Elects the core by its own word, and leads it on to the newest entry of the store. Answers
    /// of the entries on the way are gone: they were never released, and whoever asked sends the
    /// same bytes again (VAULT-2).
    fn lead(&mut self, entropy: &mut dyn Entropy) -> Result<(), ResumeError> {
        let snapshot = self.store.snapshot()?;
        let newest = snapshot.head()?;
        let appended = newest.as_ref().map(decode).transpose()?;
        // Above the term of what the store has, too: a memory that is behind may not know of it.
        let above = appended.map_or(Term::new(0), |entry| entry.term());
        let call = self.core.stand(above, entropy)?;
        let report = self.core.promise(&call)?;
        self.memory.keep(self.core.memory())?;
        let base = self.core.lead(&[report])?;

        let Some(newest) = newest else {
            return Err(gone("no entry at all", &base));
        };
        if newest.index < self.head {
            return Err(gone(&format!("entry {}", newest.index), &base));
        }
        // VAULT-4: the entry that the core remembers must be the one that stands in the store. If
        // the log no longer reaches back to it, the first entry that follows must chain to it.
        let mut from = Some(self.head);
        while let Some(first) = from {
            let entries = snapshot.entries(first, ENTRIES_AT_ONCE)?;
            from = entries.last().and_then(|last| last.index.next());
            for stored in &entries {
                let entry = decode(stored)?;
                let another = || gone(&format!("another entry {}", stored.index), &base);
                if stored.index == self.head {
                    if entry.mac() != base.mac() {
                        return Err(another());
                    }
                    continue;
                }
                self.core.adopt(&entry).map_err(|_| another())?;
            }
        }
        if newest.index > self.head {
            tracing::info!(index = newest.index.number(), "caught up with the store");
        }
        self.head = newest.index;
        Ok(())
    }
}

/// `None` when the store does not hold what the core's root says; nothing was done then.
fn settle<T>(done: Result<T, CoreError>) -> Result<Option<T>, CommitError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error @ (CoreError::Proof(_) | CoreError::RecordDamaged)) => {
            tracing::error!(%error, "the store is damaged");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The core with the newest memory that is its own. A place that was torn while it was written is
/// passed over: answers that waited for it were never released (VAULT-2). A memory that is whole is
/// never passed over for an older one, whatever the store says (VAULT-4).
fn recall(fleet: &Fleet, secrets: &FleetSecrets) -> Result<(Core, Kept), ResumeError> {
    let mut reason = "it holds no memory".to_owned();
    for kept in MemoryFile::read(&fleet.memory())? {
        match Core::resume(secrets.clone(), kept.memory) {
            Ok(core) => return Ok((core, kept)),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(ResumeError::Damaged {
        file: "core.memory",
        reason,
    })
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Sealed(reply) => Self::Sealed(reply),
            Answer::Unreadable => Self::Unreadable,
        }
    }
}

fn facts(core: &Core) -> Facts {
    Facts::new(core.fleet(), *core.channel_key(), core.policy())
}

fn decode(stored: &LogEntry) -> Result<Entry, ResumeError> {
    Entry::decode(&stored.bytes).map_err(|error| damaged("store.redb", &error))
}

fn log_entry(entry: &Entry) -> LogEntry {
    LogEntry {
        index: Index::new(entry.index().number()),
        bytes: entry.encode().to_vec(),
    }
}

fn stored(puts: Vec<(NodeKey, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    puts.into_iter()
        .map(|(key, value)| (key.as_bytes().to_vec(), value))
        .collect()
}

fn gone(store: &str, remembered: &Head) -> ResumeError {
    ResumeError::Gone {
        store: store.to_owned(),
        memory: remembered.index().number(),
    }
}

fn no_entry() -> ResumeError {
    ResumeError::Damaged {
        file: "core.memory",
        reason: "it remembers no entry".to_owned(),
    }
}

fn damaged(file: &'static str, error: &dyn std::error::Error) -> ResumeError {
    ResumeError::Damaged {
        file,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
