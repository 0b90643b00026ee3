//! Where a device keeps its own secrets.
//!
//! The trait is what an operating system's keystore would implement. [`FileKeystore`] is the
//! plain one: files of mode 0600. It protects against other users of the machine, where the file system keeps
//! modes, and against nobody who holds the disk. [`Keystore::describe`] says so to the person.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::exposure::{Exposure, Permissions};
use crate::files::{self, Mode};

/// A secret that a device keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The backup key, so that a scheduled backup needs no password.
    BackupKey,
    /// The Ed25519 key that signs this device's requests to the vault.
    DeviceKey,
    /// The account's login at the vault (a bearer token).
    Login,
    /// What is remembered of the password that this device registered or proved, bound to that
    /// registration: with it the device can say that a new one is different (VAULT-7).
    PasswordVerifier,
}

impl Item {
    /// Every item.
    const ALL: [Self; 4] = [
        Self::BackupKey,
        Self::DeviceKey,
        Self::Login,
        Self::PasswordVerifier,
    ];

    /// The item's name inside a keystore.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BackupKey => "backup-key",
            Self::DeviceKey => "device-key",
            Self::Login => "login",
            Self::PasswordVerifier => "password-verifier",
        }
    }
}

/// A keystore failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("the device's keystore cannot be used ({item:?})")]
pub struct KeystoreError {
    /// The item that was asked for.
    pub item: Item,
    /// What the operating system said.
    #[source]
    pub cause: std::io::Error,
}

/// Keeps a device's secrets.
pub trait Keystore: Send + Sync {
    /// Returns an item, or `None` where it was never saved.
    ///
    /// # Errors
    /// The keystore cannot be read.
    fn load(&self, item: Item) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError>;

    /// Saves an item, replacing an older one; durable when it returns.
    ///
    /// # Errors
    /// The keystore cannot be written; the older item still stands.
    fn save(&self, item: Item, secret: &[u8]) -> Result<(), KeystoreError>;

    /// Removes an item, for good when it returns; one that is not there is no error.
    ///
    /// # Errors
    /// The keystore cannot be written.
    fn remove(&self, item: Item) -> Result<(), KeystoreError>;

    /// What protects the secrets, in one sentence for the person, as it is found to be.
    fn describe(&self) -> String;

    /// What of the secrets others can read, too.
    fn exposed(&self) -> Vec<Exposure>;
}

/// A keystore of plain files, mode 0600 in a folder of mode 0700 where the file system keeps modes.
#[derive(Debug)]
pub struct FileKeystore {
    folder: PathBuf,
}

/// Nothing that is kept is longer: a token is at most 8 KiB.
const ITEM_BYTES_MAX: u64 = 16 * 1024;

impl FileKeystore {
    /// A keystore in `folder`, which is made when something is first saved.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
        }
    }

    fn path(&self, item: Item) -> PathBuf {
        self.folder.join(item.name())
    }
}

impl Keystore for FileKeystore {
    fn load(&self, item: Item) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
        match files::read_small(&self.path(item), ITEM_BYTES_MAX) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(KeystoreError { item, cause }),
        }
    }

    fn save(&self, item: Item, secret: &[u8]) -> Result<(), KeystoreError> {
        files::create_private_folder(&self.folder)
            .and_then(|()| files::replace(&self.path(item), secret, Mode::Private))
            .map_err(|cause| KeystoreError { item, cause })
    }

    fn remove(&self, item: Item) -> Result<(), KeystoreError> {
        match std::fs::remove_file(self.path(item)) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| files::sync_folder(&self.folder))
                .map_err(|cause| KeystoreError { item, cause }),
        }
    }

    fn describe(&self) -> String {
        let who = match Permissions::of(&self.path(Item::BackupKey)) {
            Ok(found) if found.are_private() => format!("only your user can read ({found})"),
            Ok(found) => format!("others on this machine can read, too ({found})"),
            Err(_) => "is not there, or cannot be looked at".to_owned(),
        };
        format!("a file that {who}; whoever holds this disk unencrypted holds the key")
    }

    fn exposed(&self) -> Vec<Exposure> {
        let files = Item::ALL.iter().map(|item| self.path(*item));
        files.filter_map(|file| Exposure::of(&file)).collect()
    }
}
