//! The data folder: what stands where, who may read it, and how a file is replaced.
//!
//! ```text
//!   DIR/                    0700
//!     lock                  held while a server runs
//!     accounts              0600  names and token hashes, one a line
//!     accounts.lock         0600  held while a command changes the accounts
//!     fleet/                0700  made whole, or not at all
//!       core.secrets        0600  the core's keys
//!       core.memory         0600  the core's last captured entry
//!       operator.key        0600  the seed of the operator's signing key
//!       bundle              0600  the signed note that clients are given
//!       store.redb          0600  sealed records, tree and log
//!       tail/               0700  what came since the last backup of the store, if there was one
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keyhaven_secrets::Remedy;
use zeroize::Zeroizing;

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// No file that is read whole is larger: the largest is the list of accounts.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A folder that is held is tried again for half a second.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A vault's data folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// The folder is this process's own as long as this lives. The system releases it also when the
/// process is killed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Another server holds the folder.
    #[error("another process is using the vault in {}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Others than the owner may read a file that holds secrets.
    #[error("{} can be read by others (mode {mode:o}); make it 0600 and ask who read it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The operating system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Its word.
        source: io::Error,
    },
}

impl FolderError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::InUse { .. } => Remedy::RetryLater,
            Self::Exposed { .. } | Self::Io { .. } => Remedy::AskUser,
        }
    }

    pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl Folder {
    /// Names the folder; touches nothing.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Makes the folder if it is not there. Its name is on the medium when this returns, also if a try before this one
    /// made it and ended before that.
    pub(crate) fn create(&self) -> Result<(), FolderError> {
        make_folder(&self.root, true)?;
        make_names_certain(&self.root)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn accounts(&self) -> PathBuf {
        self.root.join("accounts")
    }

    /// The fleet's own folder.
    pub(crate) fn fleet(&self) -> Fleet {
        Fleet {
            root: self.root.join("fleet"),
        }
    }

    /// Where a fleet is put together before it stands: a rename makes it whole at once, so that a
    /// crash on the way leaves no fleet rather than half of one.
    pub(crate) fn unborn_fleet(&self) -> Result<Fleet, FolderError> {
        let root = self.root.join("fleet.unborn");
        if root.exists() {
            fs::remove_dir_all(&root).map_err(FolderError::at("cannot clear", &root))?;
        }
        make_folder(&root, false)?;
        Ok(Fleet { root })
    }

    /// Makes the unborn fleet the fleet. Never replaces one: that would be every record lost.
    pub(crate) fn deliver(&self, unborn: &Fleet) -> Result<Fleet, FolderError> {
        let fleet = self.fleet();
        sync_folder(&unborn.root)?;
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            &unborn.root,
            rustix::fs::CWD,
            &fleet.root,
            rustix::fs::RenameFlags::NOREPLACE,
        )
        .map_err(|error| FolderError::at("cannot put in place", &fleet.root)(error.into()))?;
        sync_folder(&self.root)?;
        Ok(fleet)
    }

    /// Takes the folder for this process. A holder that is about to go is waited for: a server
    /// that was killed a moment ago, or a `status` that only looks whether there is one.
    pub(crate) fn lock(&self) -> Result<Lock, FolderError> {
        for _ in 0..LOCK_TRIES {
            match self.try_lock() {
                Err(FolderError::InUse { .. }) => thread::sleep(LOCK_PAUSE),
                taken => return taken,
            }
        }
        self.try_lock()
    }

    /// Whether a process holds the folder now.
    pub(crate) fn is_held(&self) -> Result<bool, FolderError> {
        match self.try_lock() {
            Ok(_) => Ok(false),
            Err(FolderError::InUse { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn try_lock(&self) -> Result<Lock, FolderError> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(&path)
            .map_err(FolderError::at("cannot open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse {
                path: self.root.clone(),
            }),
            Err(TryLockError::Error(error)) => Err(FolderError::at("cannot lock", &path)(error)),
        }
    }
}

/// The files of one fleet.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    root: PathBuf,
}

impl Fleet {
    pub(crate) fn exists(&self) -> bool {
        self.root.exists()
    }

    /// Flushes the fleet's own name: the flush behind the rename that delivered it may have failed.
    pub(crate) fn make_name_certain(&self) -> Result<(), FolderError> {
        self.root.parent().map_or(Ok(()), sync_folder)
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.root.join("core.secrets")
    }

    pub(crate) fn memory(&self) -> PathBuf {
        self.root.join("core.memory")
    }

    pub(crate) fn operator_key(&self) -> PathBuf {
        self.root.join("operator.key")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.join("bundle")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    pub(crate) fn tail(&self) -> PathBuf {
        self.root.join("tail")
    }
}

/// Reads a whole file that only its owner may read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FolderError> {
    let file = File::open(path).map_err(FolderError::at("cannot open", path))?;
    let meta = file
        .metadata()
        .map_err(FolderError::at("cannot read", path))?;
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    // The whole size at once, so that no outgrown buffer leaves a copy of a secret behind.
    let size = usize::try_from(meta.len().min(FILE_BYTES_MAX)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(FolderError::at("cannot read", path))?;
    Ok(bytes)
}

/// Replaces a file by these bytes: after a crash at any moment it holds the old ones or the new
/// ones, and the new ones are on the medium when this returns. The file's old bytes may survive on
/// the medium until it is reused.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let next = path.with_added_extension("next");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    write().map_err(FolderError::at("cannot write", path))?;
    match path.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Makes an empty file with the permissions of a secret, for an engine that opens it by name.
pub(crate) fn create_private(path: &Path) -> Result<(), FolderError> {
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(PRIVATE_FILE)
        .open(path)
        .map(drop)
        .map_err(FolderError::at("cannot make", path))
}

pub(crate) fn make_folder(path: &Path, parents: bool) -> Result<(), FolderError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if parents {
        make_folder(parent, parents)?;
    }
    DirBuilder::new()
        .recursive(parents)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .map_err(FolderError::at("cannot make", path))?;
    sync_parent(parent)
}

/// Flushes the names of a folder and of those that it is in, as far as they are on one disk: what is flushed in a folder
/// is no flush of its own name.
fn make_names_certain(path: &Path) -> Result<(), FolderError> {
    let path = path
        .canonicalize()
        .map_err(FolderError::at("cannot find", path))?;
    let device = |path: &Path| {
        let meta = fs::metadata(path).map_err(FolderError::at("cannot read", path))?;
        Ok::<_, FolderError>(meta.dev())
    };
    let disk = device(&path)?;
    for parent in path.ancestors().skip(1) {
        if device(parent)? != disk {
            break;
        }
        sync_parent(parent)?;
    }
    Ok(())
}

/// A parent that must not be read is another's.
fn sync_parent(path: &Path) -> Result<(), FolderError> {
    match sync_folder(path) {
        Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            Ok(())
        }
        flushed => flushed,
    }
}

pub(crate) fn sync_folder(path: &Path) -> Result<(), FolderError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(FolderError::at("cannot flush", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(&temp.path().join("vault"));
        folder.create().unwrap();
        let held = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(FolderError::InUse { .. })));
        drop(held);
        folder.lock().unwrap();
    }

    #[test]
    fn a_fleet_is_delivered_whole_and_once() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(temp.path());
        let unborn = folder.unborn_fleet().unwrap();
        replace(&unborn.secrets(), b"first try, cut short").unwrap();
        assert!(!folder.fleet().exists());

        let unborn = folder.unborn_fleet().unwrap();
        assert!(!unborn.secrets().exists(), "what a crash left is cleared");
        replace(&unborn.secrets(), b"second").unwrap();
        let fleet = folder.deliver(&unborn).unwrap();
        assert_eq!(**read_private(&fleet.secrets()).unwrap(), *b"second");

        let another = folder.unborn_fleet().unwrap();
        assert!(
            folder.deliver(&another).is_err(),
            "a fleet is never replaced"
        );
        assert_eq!(**read_private(&fleet.secrets()).unwrap(), *b"second");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("secret");
        replace(&path, b"s").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        read_private(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_private(&path),
            Err(FolderError::Exposed { mode: 0o640, .. })
        ));
    }
}
