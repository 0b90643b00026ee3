//! What stands in a data folder, without opening the store: it may be asked while a server runs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accounts::{AccountsError, AccountsFile, Standing};
use crate::folder::{self, Folder, FolderError};
use crate::memory_file::MemoryFile;
use crate::operator::{self, OperatorError};
use crate::tail_folder::{TailFault, TailFolder};

/// What stands there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    data: PathBuf,
    running: bool,
    pin: String,
    log_index: u64,
    accounts_active: usize,
    accounts_removed: usize,
    store_bytes: u64,
    /// How long the tail is; none if the store was never backed up.
    tail_bytes: Option<u64>,
    /// The newest entry of the backup that the tail leads on from.
    backed_up: Option<u64>,
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error("there is no vault in {}", path.display())]
    NoVault { path: PathBuf },
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf },
    #[error("the tail: {0}")]
    Tail(#[from] TailFault),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

pub(crate) fn read(data: &Path) -> Result<Status, StatusError> {
    let folder = Folder::at(data);
    let fleet = folder.fleet();
    if !fleet.exists() {
        return Err(StatusError::NoVault {
            path: data.to_owned(),
        });
    }
    let operator = operator::load(&fleet)?;
    let memory = MemoryFile::read(&fleet.memory())?;
    let memory = memory
        .first()
        .ok_or_else(|| StatusError::Damaged {
            path: fleet.memory(),
        })?
        .memory;
    let accounts = AccountsFile::at(folder.accounts()).list()?;
    let active = accounts
        .iter()
        .filter(|account| account.standing == Standing::Active)
        .count();
    let store_bytes = std::fs::metadata(fleet.store())
        .map_err(FolderError::at("cannot read", &fleet.store()))?
        .len();
    let tail = TailFolder::glance(&fleet.tail())?;
    let covered = tail.and_then(|tail| tail.covered);
    Ok(Status {
        data: data.to_owned(),
        running: folder.is_held()?,
        pin: operator.public().pin().to_string(),
        log_index: memory.head().map_or(0, |head| head.index().number()),
        accounts_active: active,
        accounts_removed: accounts.len().saturating_sub(active),
        store_bytes,
        tail_bytes: tail.map(|tail| tail.bytes),
        backed_up: covered.map(keyhaven_vault_core::Index::number),
    })
}

/// The bundle that the server gives, as it is stored.
pub(crate) fn bundle(data: &Path) -> Result<String, StatusError> {
    let fleet = Folder::at(data).fleet();
    if !fleet.exists() {
        return Err(StatusError::NoVault {
            path: data.to_owned(),
        });
    }
    let note = folder::read_private(&fleet.bundle())?;
    String::from_utf8(note.to_vec()).map_err(|_| StatusError::Damaged {
        path: fleet.bundle(),
    })
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vault      {}", self.data.display())?;
        writeln!(f, "running    {}", if self.running { "yes" } else { "no" })?;
        writeln!(f, "pin        {}", self.pin)?;
        writeln!(f, "log        entry {}", self.log_index)?;
        writeln!(
            f,
            "accounts   {} ({} removed)",
            self.accounts_active, self.accounts_removed
        )?;
        writeln!(f, "store      {} bytes", self.store_bytes)?;
        match (self.backed_up, self.tail_bytes) {
            (Some(entry), Some(bytes)) => {
                write!(
                    f,
                    "backup     entry {entry}, and a tail of {bytes} bytes since"
                )
            }
            _ => write!(f, "backup     none"),
        }
    }
}
