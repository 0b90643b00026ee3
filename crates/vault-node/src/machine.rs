//! One machine's vault: a host that is alone in its group, its store and the file that is the core's
//! memory.
//!
//! What is done, and in which order, the [`Host`] says: the same one that groups of cores have. Here
//! its effects are done, one after the other, by files and a store that block:
//!
//! ```text
//!   prove ─► execute ─► append (durable) ─► capture ─► memory file (durable) ─► release ─► answers
//!                          ▲                                ▲
//!              a crash before: nothing happened   a crash between: the next start builds on the
//!                                                 appended entry and releases nothing of it
//! ```
//!
//! At each start the core is elected anew, by itself. The store is never behind the memory unless
//! somebody put an older one in its place: then the vault is *gone* and says so (VAULT-4). There is no
//! tail to lead it forward: on one machine it would stand on the same disk as the store.

mod error;

use std::collections::VecDeque;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{Core, CoreError, FleetSecrets, Policy, Touch};
use keyhaven_vault_host::{Answered, Ask, Effect, Host, Input, Notice, Prove, Said, Standing};
use keyhaven_vault_store::{RedbStore, Step, Store};
use keyhaven_wire::message::{AccountName, HostTime};

use crate::desk;
use crate::folder::{self, Fleet, Folder};
use crate::memory_file::{Keeper, Kept, MemoryFile};
use crate::operator::{self, Facts};
use crate::os;

pub use error::{CommitError, CreateError, ResumeError};

/// A core that can go on.
pub(crate) struct Machine {
    host: Host,
    store: Box<dyn Store>,
    memory: Box<dyn Keeper>,
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
    let entry = desk::encode(&genesis.entry);
    let nodes: Vec<_> = genesis
        .puts
        .into_iter()
        .map(|(key, bytes)| (key.as_bytes().to_vec(), bytes))
        .collect();
    store.append(&Step::one(None, &entry, &nodes))?;
    drop(store);
    Ok(folder.deliver(&unborn)?)
}

impl Machine {
    /// Brings the core back to where it was, and on to what a crash left appended.
    pub(crate) fn resume(fleet: &Fleet, entropy: &mut dyn Entropy) -> Result<Self, ResumeError> {
        let secrets = FleetSecrets::decode(&folder::read_private(&fleet.secrets())?)
            .map_err(|error| damaged("core.secrets", &error))?;
        let (core, kept) = recall(fleet, &secrets)?;
        let remembered = kept.memory.head().ok_or_else(no_entry)?.index().number();
        if !fleet.store().exists() {
            return Err(ResumeError::gone(None, remembered));
        }
        let store = RedbStore::open(&fleet.store())?;
        let mut machine = Self {
            host: Host::new(core, Vec::new(), None, entropy),
            store: Box::new(store),
            memory: Box::new(MemoryFile::open(&fleet.memory(), &kept)?),
        };
        // Alone, it stands at the first tick and is elected by its own word; at the second, if the
        // store knows of a newer term than an older memory that was put back.
        let mut notices = machine.drive(Input::Tick, entropy)?.notices;
        if matches!(machine.host.standing(), Standing::Following { .. }) {
            notices = machine.drive(Input::Tick, entropy)?.notices;
        }
        match (machine.host.standing(), notices.as_slice()) {
            (Standing::Leading, _) => {
                let (before, now) = (remembered, machine.index());
                if before != now {
                    tracing::info!(index = now, "caught up with the store");
                }
                Ok(machine)
            }
            (_, [Notice::Gone { store, cores }, ..]) => Err(ResumeError::gone(
                store.map(keyhaven_vault_core::Index::number),
                cores.number(),
            )),
            (
                Standing::Following { .. } | Standing::Calling | Standing::Mending | Standing::Gone,
                _,
            ) => Err(CoreError::NotElected.into()),
        }
    }

    /// The newest entry.
    pub(crate) fn index(&self) -> u64 {
        let base = self.host.core().base();
        base.map_or(0, |base| base.index().number())
    }

    pub(crate) fn facts(&self) -> Facts {
        facts(self.host.core())
    }

    /// Executes a batch and says what became of each request, in order, once it may be said.
    pub(crate) fn commit(
        &mut self,
        batch: Vec<Touch>,
        now: HostTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<Answered>, CommitError> {
        let batch = Input::Batch {
            touches: batch,
            now,
        };
        let answers = self.drive(batch, entropy)?.answers;
        match self.host.standing() {
            Standing::Leading => Ok(answers),
            // Alone, nobody else can lead: another process has written to the store.
            Standing::Following { .. } | Standing::Calling | Standing::Mending | Standing::Gone => {
                Err(CommitError::Raced)
            }
        }
    }

    /// Opens the record of every account, without changing anything, and returns the accounts whose
    /// record the store does not hold as the core's root says.
    pub(crate) fn examine(
        &self,
        accounts: &[AccountName],
    ) -> Result<Vec<AccountName>, CommitError> {
        let core = self.host.core();
        let mut damaged = Vec::new();
        for account in accounts {
            let ask = Ask::Prove(Prove::Accounts(vec![account.clone()]));
            let proof = match desk::answer(&*self.store, &core.fleet(), &ask)? {
                Said::Proved(proved) => proved.proof,
                Said::Looked(_) | Said::Appended | Said::Moved | Said::Tail(_) | Said::Trouble => {
                    None
                }
            };
            let opened = proof.map(|proof| core.examine(account, &proof));
            match opened {
                Some(Ok(())) => {}
                None | Some(Err(CoreError::Proof(_) | CoreError::RecordDamaged)) => {
                    damaged.push(account.clone());
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
        Ok(damaged)
    }

    /// Tells the host what has happened, and does what it says, in order, until there is nothing
    /// left to do.
    fn drive(&mut self, input: Input, entropy: &mut dyn Entropy) -> Result<Outcome, CommitError> {
        let mut outcome = Outcome::default();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.host.handle(input, entropy) {
                match effect {
                    // VAULT-4: the memory before the answer, or a store put back to before this
                    // entry would be taken for the newest.
                    Effect::KeepMemory(memory) => self.memory.keep(&memory)?,
                    Effect::Ask { id, ask } => {
                        let fleet = self.host.core().fleet();
                        let said = desk::answer(&*self.store, &fleet, &ask)?;
                        inputs.push_back(Input::Said { id, said });
                    }
                    Effect::Answer(answers) => outcome.answers = answers,
                    Effect::Notice(notice) => outcome.notices.push(notice),
                    // A host that is alone sends nothing, and keeps no tail.
                    Effect::KeepTail(_) | Effect::Send { .. } | Effect::SendTail { .. } => {}
                }
            }
        }
        Ok(outcome)
    }
}

/// What came of an input.
#[derive(Default)]
struct Outcome {
    answers: Vec<Answered>,
    notices: Vec<Notice>,
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

fn facts(core: &Core) -> Facts {
    Facts::new(core.fleet(), *core.channel_key(), core.policy())
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
