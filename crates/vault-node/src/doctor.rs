//! Checks everything that can be checked of a vault at rest.

use std::convert::Infallible;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use keyhaven_vault_core::{Entry, Mac, NodeKey};
use keyhaven_vault_store::{Index, RedbStore, Snapshot, Store as _, StoreError};
use keyhaven_wire::message::AccountName;
use serde::Serialize;

use crate::accounts::AccountsFile;
use crate::cli::Exit;
use crate::folder::{Folder, FolderError};
use crate::machine::{CommitError, Machine, ResumeError};
use crate::operator;
use crate::os::SystemEntropy;

/// What was checked and what was found, in order.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    checks: Vec<Check>,
    #[serde(skip)]
    worst: Exit,
}

#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    good: bool,
    found: String,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    #[error("there is no vault in {}", path.display())]
    NoVault { path: PathBuf },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

pub(crate) fn examine(data: &Path) -> Result<Report, DoctorError> {
    let folder = Folder::at(data);
    let fleet = folder.fleet();
    if !fleet.exists() {
        return Err(DoctorError::NoVault {
            path: data.to_owned(),
        });
    }
    let _lock = folder.lock()?;
    let mut report = Report {
        checks: Vec::new(),
        worst: Exit::Done,
    };
    let operator = operator::load(&fleet);
    report.note(
        "operator's key",
        Exit::Damaged,
        operator.map(|operator| format!("pin {}", operator.public().pin())),
    );
    let listed = AccountsFile::at(folder.accounts()).list();
    let accounts: Vec<AccountName> = listed
        .iter()
        .flatten()
        .map(|account| account.name.clone())
        .collect();
    report.note(
        "accounts",
        Exit::Damaged,
        listed.map(|listed| format!("{} in the list", listed.len())),
    );
    // The engine checks the file from end to end as it opens it.
    report.note("store and log", Exit::Damaged, read_store(&fleet.store()));
    // As a start would, with all that it checks: secrets, memory, and that the store's log leads
    // on from what the core remembers.
    match Machine::resume(&fleet, &mut SystemEntropy) {
        Ok(machine) => {
            let found = format!("the core goes on from entry {}", machine.index());
            report.note(
                "secrets and memory",
                Exit::Damaged,
                Ok::<_, Infallible>(found),
            );
            let records = read_records(&machine, &accounts);
            report.note("records", Exit::Damaged, records);
        }
        Err(error) => {
            let exit = match &error {
                ResumeError::Gone { .. } => Exit::Gone,
                ResumeError::Damaged { .. }
                | ResumeError::Core(_)
                | ResumeError::Folder(_)
                | ResumeError::CatchUp(_)
                | ResumeError::Store(_) => Exit::Damaged,
            };
            report.note("secrets and memory", exit, Err(error));
        }
    }
    Ok(report)
}

/// VAULT-4, VAULT-8: the record of every account that is or was in the list, proven against the
/// core's root and opened.
fn read_records(machine: &Machine, accounts: &[AccountName]) -> Result<String, RecordFault> {
    let damaged = machine.examine(accounts)?;
    if damaged.is_empty() {
        return Ok(format!(
            "{} accounts' records lead to the core's root and open",
            accounts.len()
        ));
    }
    let names: Vec<&str> = damaged.iter().map(AccountName::as_str).collect();
    Err(RecordFault::Damaged(names.join(", ")))
}

#[derive(Debug, thiserror::Error)]
enum RecordFault {
    #[error("the store does not hold what the core's root says of: {0}")]
    Damaged(String),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("entry {0} cannot be read")]
    Entry(Index),
    #[error("entry {0} does not follow the one before it")]
    Chain(Index),
    #[error("the log is empty")]
    Empty,
    #[error("a node is under no key that a core makes")]
    Node,
    #[error("the tree has no root")]
    NoRoot,
}

/// Reads a whole store that is at rest, and names its newest entry.
pub(crate) fn newest(path: &Path) -> Result<(keyhaven_vault_core::Index, Mac), StoreFault> {
    let (_, head, _) = read(path)?;
    Ok((head.index(), head.mac()))
}

fn read_store(path: &Path) -> Result<String, StoreFault> {
    let (entries, head, nodes) = read(path)?;
    let head = head.index().number();
    Ok(format!(
        "{entries} entries up to {head}, chained; {nodes} nodes"
    ))
}

/// How many entries are kept, the newest of them, and how many nodes there are.
fn read(path: &Path) -> Result<(u64, Entry, u64), StoreFault> {
    let store = RedbStore::open(path)?;
    let snapshot = store.snapshot()?;
    let (entries, head) = read_log(&*snapshot)?;
    let (mut nodes, mut root, mut good) = (0_u64, false, true);
    snapshot.for_each_node(&mut |key, _| {
        nodes = nodes.saturating_add(1);
        root |= key == NodeKey::root().as_bytes();
        good &= key.len() == NodeKey::BYTES;
        ControlFlow::Continue(())
    })?;
    if !root {
        return Err(StoreFault::NoRoot);
    }
    if !good {
        return Err(StoreFault::Node);
    }
    Ok((entries, head, nodes))
}

/// VAULT-8: every entry names the one before it.
fn read_log(snapshot: &dyn Snapshot) -> Result<(u64, Entry), StoreFault> {
    let (mut count, mut before, mut from) = (0_u64, None::<Entry>, Some(Index::new(0)));
    while let Some(first) = from {
        let entries = snapshot.entries(first, 512)?;
        from = entries.last().and_then(|last| last.index.next());
        for stored in &entries {
            let entry =
                Entry::decode(&stored.bytes).map_err(|_| StoreFault::Entry(stored.index))?;
            if entry.index().number() != stored.index.number() {
                return Err(StoreFault::Entry(stored.index));
            }
            if before.is_some_and(|before| before.mac() != entry.previous()) {
                return Err(StoreFault::Chain(stored.index));
            }
            before = Some(entry);
            count = count.saturating_add(1);
        }
    }
    before.map(|head| (count, head)).ok_or(StoreFault::Empty)
}

impl Report {
    fn note<E: std::error::Error>(
        &mut self,
        what: &'static str,
        otherwise: Exit,
        found: Result<String, E>,
    ) {
        let good = found.is_ok();
        let found = found.unwrap_or_else(|error| error.to_string());
        self.checks.push(Check { what, good, found });
        // Gone is worse than damaged: no repair brings it back.
        if !good && self.worst != Exit::Gone {
            self.worst = otherwise;
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.worst
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = if check.good { "good" } else { "BAD " };
            writeln!(f, "{mark}  {:<20}{}", check.what, check.found)?;
        }
        write!(
            f,
            "{}",
            if self.worst == Exit::Done {
                "The vault is whole."
            } else {
                "Not whole."
            }
        )
    }
}
