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
//! When a write or a flush fails, the machine stops. What a failed flush covered can still be read, and no later
//! flush brings it to the medium; so a start makes certain what it reads before it builds on it: store, memory, and
//! the newest segment of the tail.
//!
//! At each start the core is elected anew, by itself. The store is never behind the memory unless
//! somebody put an older one in its place. If that is a backup behind which a tail was kept, it is led
//! forward to where the core is; otherwise the vault is *gone* and says so (VAULT-4). A vault whose
//! store was never backed up keeps no tail: there is nothing that it could lead forward.

mod error;

use std::collections::VecDeque;
use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{Core, CoreError, FleetSecrets, Index, Mac, Policy, Touch};
use keyhaven_vault_host::tail::{TailError, TailLimits};
use keyhaven_vault_host::{
    Answered, Ask, Effect, Host, Input, Notice, Prove, Record, Said, Standing,
};
use keyhaven_vault_store::{RedbStore, Step, Store};
use keyhaven_wire::message::{AccountName, FleetId, HostTime};

use crate::desk;
use crate::folder::{self, Fleet, Folder};
use crate::memory_file::{Keeper, Kept, MemoryFile};
use crate::operator::{self, Facts};
use crate::os;
use crate::tail_folder::{TailFault, TailFolder};

pub use error::{CommitError, CreateError, ResumeError};

/// A core that can go on.
pub(crate) struct Machine {
    host: Host,
    store: Box<dyn Store>,
    memory: Box<dyn Keeper>,
    /// What came since the store was backed up, if it was.
    tail: Option<TailFolder>,
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
        Self::resume_within(TailLimits::DEFAULT, fleet, entropy)
    }

    /// The same, with a tail that may get so long.
    pub(crate) fn resume_within(
        limits: TailLimits,
        fleet: &Fleet,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, ResumeError> {
        let secrets = FleetSecrets::decode(&folder::read_private(&fleet.secrets())?)
            .map_err(|error| damaged("core.secrets", &error))?;
        fleet.make_name_certain()?;
        let (core, kept) = recall(fleet, &secrets)?;
        let remembered = kept.memory.head().ok_or_else(no_entry)?.index().number();
        if !fleet.store().exists() {
            return Err(ResumeError::gone(None, remembered));
        }
        let store = RedbStore::open(&fleet.store())?;
        let tail = open_tail(limits, fleet, &core)?;
        let host = Host::new(core, Vec::new(), None, entropy);
        let mut machine = Self {
            host: match tail {
                Some(_) => host.keeping_tail(),
                None => host,
            },
            store: Box::new(store),
            memory: Box::new(MemoryFile::open(&fleet.memory(), &kept)?),
            tail,
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

    /// The newest entry, if the core has captured it: then it is committed.
    pub(crate) fn committed(&self) -> Option<(Index, Mac)> {
        let core = self.host.core();
        let base = core
            .base()
            .filter(|base| core.memory().head() == Some(*base));
        base.map(|base| (base.index(), base.mac()))
    }

    pub(crate) fn fleet(&self) -> FleetId {
        self.host.core().fleet()
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
                    // VAULT-5: the record before the memory that captures its entry.
                    Effect::KeepTail(record) => self.keep_tail(&record)?,
                    Effect::Ask { id, ask } => {
                        let said = self.ask(&ask)?;
                        inputs.push_back(Input::Said { id, said });
                    }
                    Effect::Answer(answers) => outcome.answers = answers,
                    Effect::Notice(notice) => outcome.notices.push(notice),
                    // A host that is alone sends nothing.
                    Effect::Send { .. } | Effect::SendTail { .. } => {}
                }
            }
        }
        Ok(outcome)
    }

    /// Asks the store, or the tail.
    fn ask(&self, ask: &Ask) -> Result<Said, CommitError> {
        if let (Ask::Tail(last), Some(tail)) = (ask, &self.tail) {
            let record = tail.find(last)?;
            return Ok(Said::Tail(record.map(Arc::new)));
        }
        let fleet = self.host.core().fleet();
        Ok(desk::answer(&*self.store, &fleet, ask)?)
    }

    /// Keeps a record. A tail that may not get longer is given up rather than the service: the store is
    /// whole, and it is its last backup that can no longer be led forward.
    fn keep_tail(&mut self, record: &Record) -> Result<(), CommitError> {
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        match tail.keep(record) {
            Err(TailFault::Tail(error @ (TailError::Full { .. } | TailError::Encode(_)))) => {
                tracing::error!(
                    %error,
                    "the tail is given up: the last backup of the store can no longer be led \
                     forward; make a new one"
                );
                self.host.give_up_tail();
                Ok(self.tail.take().map_or(Ok(()), TailFolder::give_up)?)
            }
            kept => Ok(kept?),
        }
    }
}

/// The tail, if there is one. VAULT-5: what the core captured last is in it, or in the backup before it.
fn open_tail(
    limits: TailLimits,
    fleet: &Fleet,
    core: &Core,
) -> Result<Option<TailFolder>, ResumeError> {
    let Some(tail) = TailFolder::open_within(limits, &fleet.tail(), core.fleet())? else {
        return Ok(None);
    };
    if let Some(head) = core.memory().head() {
        let covered = tail.tail().covered().map(|(index, _)| index);
        if Some(head.index()) > covered && tail.tail().find(&head.mac()).is_none() {
            return Err(ResumeError::Damaged {
                file: "tail",
                reason: format!(
                    "the record of entry {}, which was flushed, is not there; if the store is whole, \
                     move the folder away, start without it, and make a new backup of the store",
                    head.index().number()
                ),
            });
        }
    }
    Ok(Some(tail))
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
    MemoryFile::make_certain(&fleet.memory())?;
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
