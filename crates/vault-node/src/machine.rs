//! The core together with what the host keeps for it: the store, and the file that is its memory.
//!
//! The order of every batch is the whole of VAULT-2's host side:
//!
//! ```text
//!   prove ─► execute ─► append (durable) ─► capture ─► memory file (durable) ─► release ─► answers
//!                          ▲                                ▲
//!              a crash before: nothing happened   a crash between: the next start captures the
//!                                                 appended entry and releases nothing of it
//! ```
//!
//! The store is never behind the memory unless somebody put an older one in its place: then the
//! vault is *gone* and says so (VAULT-4). It may be one entry ahead, by a crash, or more, when an
//! older memory was put back; then the core is led forward along the log, each entry authenticated
//! and chained to the one before.

mod error;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, Core, CoreError, Entry, Executed, FleetSecrets, Memory, NodeKey, Policy, ProveError,
    Touch, prove,
};
use keyhaven_vault_store::{Index, LogEntry, RedbStore, Settled, Step, Store, append_or_read_back};
use keyhaven_wire::channel;
use keyhaven_wire::message::{AccountName, HostTime, LeafIndex, Request};

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
    let (core, genesis) = Core::genesis(Policy::DEFAULT, entropy)?;
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
    /// Brings the core back to where it was, and captures what a crash left appended.
    pub(crate) fn resume(fleet: &Fleet) -> Result<Self, ResumeError> {
        let secrets = FleetSecrets::decode(&folder::read_private(&fleet.secrets())?)
            .map_err(|error| damaged("core.secrets", &error))?;
        let (core, kept) = recall(fleet, &secrets)?;
        let memory = kept.memory;
        if !fleet.store().exists() {
            return Err(gone("no entry at all", &memory));
        }
        let store = RedbStore::open(&fleet.store())?;
        let mut machine = Self {
            core,
            store: Box::new(store),
            memory: Box::new(MemoryFile::open(&fleet.memory(), &kept)?),
            head: Index::new(memory.index().number()),
        };
        machine.catch_up(&memory)?;
        Ok(machine)
    }

    /// The newest captured entry.
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
        &mut self,
        accounts: &[AccountName],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<AccountName>, CommitError> {
        let mut damaged = Vec::new();
        for account in accounts {
            // A question about the account's standing makes the core prove and open its record.
            // What the core proposes for it is abandoned, and its answer with it.
            let fleet = self.core.fleet();
            let leaf = LeafIndex::of(&fleet, account);
            let question = Request::Status { device: None };
            let key = *self.core.channel_key();
            let sealed = channel::seal_first(&fleet, &key, &leaf, &question, entropy);
            let (request, _) = sealed.map_err(CommitError::Question)?;
            let touch = Touch {
                account: account.clone(),
                request,
            };
            let executed = self.execute(vec![touch], HostTime::new(os::now_seconds()), entropy)?;
            self.core.abandon();
            if executed.is_none() {
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
        let (capture, memory) = self.core.capture(&executed.entry)?;
        // VAULT-4: the memory before the answer, or a store put back to before this entry would
        // be taken for the newest.
        self.memory.keep(&memory)?;
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
        let proof = {
            let snapshot = self.store.snapshot()?;
            let accounts = batch.iter().map(|touch| &touch.account);
            prove(&self.core.fleet(), accounts, |key: &NodeKey| {
                snapshot.get(key.as_bytes())
            })
        };
        let proof = match proof {
            Ok(proof) => proof,
            Err(ProveError::Read(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the store is damaged");
                return Ok(None);
            }
        };
        match self.core.execute(batch, &proof, now, entropy) {
            Ok(executed) => Ok(Some(executed)),
            Err(error @ (CoreError::Proof(_) | CoreError::RecordDamaged)) => {
                tracing::error!(%error, "the store is damaged");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Leads the core forward to the newest entry of the store. Answers of the entries on the way
    /// are gone: they were never released, and whoever asked sends the same bytes again (VAULT-2).
    fn catch_up(&mut self, memory: &Memory) -> Result<(), ResumeError> {
        let snapshot = self.store.snapshot()?;
        let Some(newest) = snapshot.head()? else {
            return Err(gone("no entry at all", memory));
        };
        if newest.index < self.head {
            return Err(gone(&format!("entry {}", newest.index), memory));
        }
        // VAULT-4: the entry that the core remembers must be the one that stands in the store. If
        // the log no longer reaches back to it, the first entry that follows must chain to it.
        let mut caught_up = None;
        let mut from = Some(self.head);
        while let Some(first) = from {
            let entries = snapshot.entries(first, ENTRIES_AT_ONCE)?;
            from = entries.last().and_then(|last| last.index.next());
            for stored in &entries {
                let entry =
                    Entry::decode(&stored.bytes).map_err(|error| damaged("store.redb", &error))?;
                if stored.index == self.head {
                    if entry.mac() != memory.head() {
                        return Err(gone(&format!("another entry {}", stored.index), memory));
                    }
                    continue;
                }
                let (_, next) = self
                    .core
                    .capture(&entry)
                    .map_err(|_| gone(&format!("another entry {}", stored.index), memory))?;
                self.head = stored.index;
                caught_up = Some(next);
            }
        }
        drop(snapshot);
        if let Some(memory) = caught_up {
            self.memory.keep(&memory)?;
            tracing::info!(index = self.index(), "caught up with the store");
        }
        Ok(())
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

fn gone(store: &str, memory: &Memory) -> ResumeError {
    ResumeError::Gone {
        store: store.to_owned(),
        memory: memory.index().number(),
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
