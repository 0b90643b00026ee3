//! A backup of the store: a copy that was read back, and a tail that leads on from it.
//!
//! The copy alone is an older store, which is never served (VAULT-4). The tail keeps what comes after
//! it, so a store that is lost or damaged is put back from the copy and led forward to where the core is.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::doctor::{self, StoreFault};
use crate::folder::{self, Folder, FolderError};
use crate::machine::{Machine, ResumeError};
use crate::os::SystemEntropy;
use crate::tail_folder::{TailFault, TailFolder};

/// What was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Made {
    /// The newest entry in the copy.
    pub(crate) entry: u64,
    /// The copy's length.
    pub(crate) bytes: u64,
}

/// Why a store was not backed up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BackupError {
    #[error("there is no vault in {}", path.display())]
    NoVault { path: PathBuf },
    #[error(
        "{} is inside the vault's own folder; keep backups on another disk",
        path.display()
    )]
    Inside { path: PathBuf },
    #[error(
        "a crash has left the newest entry half done: start the vault, let somebody be answered, \
         stop it, and back it up then"
    )]
    Uncommitted,
    #[error("the copy is not what was copied: {0}")]
    Copy(#[from] StoreFault),
    #[error("the copy ends with another entry than the store")]
    Differs,
    #[error(transparent)]
    Resume(#[from] ResumeError),
    #[error("the tail: {0}")]
    Tail(#[from] TailFault),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Copies the store to a file, reads the copy back, and lets the tail begin or go on behind it. The
/// copy that was there before is replaced only then.
pub(crate) fn back_up(data: &Path, to: &Path) -> Result<Made, BackupError> {
    let folder = Folder::at(data);
    let fleet = folder.fleet();
    if !fleet.exists() {
        return Err(BackupError::NoVault {
            path: data.to_owned(),
        });
    }
    let place = to.parent().filter(|place| !place.as_os_str().is_empty());
    let place = place.unwrap_or(Path::new("."));
    if is_inside(place, folder.root()).map_err(FolderError::at("cannot find", place))? {
        return Err(BackupError::Inside {
            path: to.to_owned(),
        });
    }
    let _lock = folder.lock()?;
    let machine = Machine::resume(&fleet, &mut SystemEntropy)?;
    let head = machine.committed().ok_or(BackupError::Uncommitted)?;
    let name = machine.fleet();
    drop(machine);

    let next = to.with_added_extension("next");
    let bytes =
        copy(&fleet.store(), &next).map_err(FolderError::at("cannot copy the store to", &next))?;
    if doctor::newest(&next)? != head {
        return Err(BackupError::Differs);
    }
    let put = |next: &Path| -> io::Result<()> {
        fs::File::open(next)?.sync_all()?;
        fs::rename(next, to)
    };
    put(&next).map_err(FolderError::at("cannot put in place", to))?;
    folder::sync_folder(place)?;

    // VAULT-5: only now, when the copy is on its medium, is what it covers let go.
    match TailFolder::open(&fleet.tail(), name)? {
        Some(mut tail) => drop(tail.cover(head, true)?),
        None => drop(TailFolder::begin(&fleet.tail(), name, head)?),
    }
    Ok(Made {
        entry: head.0.number(),
        bytes,
    })
}

fn is_inside(place: &Path, folder: &Path) -> io::Result<bool> {
    Ok(place.canonicalize()?.starts_with(folder.canonicalize()?))
}

fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut from = fs::File::open(from)?;
    let mut to = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(to)?;
    let bytes = io::copy(&mut from, &mut to)?;
    to.sync_all()?;
    Ok(bytes)
}
