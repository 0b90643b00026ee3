//! A device's home: its configuration, its secrets and its local state.
//!
//! ```text
//! <home>/config.json   what is backed up, and where; no secret        (0600)
//! <home>/device/       the file keystore, one file an item            (0700)
//! <home>/state/        local state; all but vault/ can be rebuilt      (0700)
//!         lock         held while a command changes anything
//!         contents     which contents the store has (redb)
//!         head         the newest snapshot of this device
//!         footers      how much of each pack is content
//!         cache/       sealed index packs and snapshots, as they are in the store
//!         spool/       sealed packs that are on their way
//!         sent         what was sent and is named by no snapshot yet
//!         shadow/      sealed copies of databases that go by rows
//!         ways         how databases went when they were last read
//!         vault/       messages to the vault that may have to be sent again
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use keyhaven_secrets::Remedy;
use serde::{Deserialize, Serialize};

use crate::files::{self, Mode};

/// The newest form of `config.json` that this version writes, and the only one that it reads.
pub(crate) const CONFIG_FORMAT: u32 = 1;

/// In the folder of what is known of the vault.
pub(crate) const NOTED: &str = "noted";
/// There too, from when the record is to be destroyed until nothing is left of the password.
pub(crate) const REMOVING: &str = "removing";

/// A configuration is a few hundred bytes.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// What stands in `config.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file's format.
    pub format: u32,
    /// The folder that is backed up.
    pub source: PathBuf,
    /// Where the backup is kept, as the person gave it.
    pub store: String,
    /// The store's id, 32 hex digits: another store at the same place is noticed.
    pub store_id: String,
    /// This device's name among the store's writers, 32 hex digits.
    pub writer: String,
    /// The profile of the app whose folder it is.
    pub profile: String,
    /// Whether a person has proven that they hold the 64-digit key.
    pub recovery_key_proven: bool,
    /// The vault that answers to the password, where there is one.
    pub vault: Option<VaultConfig>,
}

/// Which vault record is this person's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// The vault's address with its pin.
    pub address: String,
    /// The account's name, for the person; the login token stands in the keystore.
    pub account: String,
}

impl VaultConfig {
    pub(crate) fn of(login: &crate::vault::Login) -> Self {
        Self {
            address: login.address().to_string(),
            account: login.account().as_str().to_owned(),
        }
    }
}

/// A home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Nothing was set up here.
    #[error("nothing is set up in {}; run `keyhaven setup` first", .0.display())]
    NotSetUp(PathBuf),
    /// Something is set up here already.
    #[error("{} is set up already; nothing was changed", .0.display())]
    AlreadySetUp(PathBuf),
    /// Another command is at work on this device.
    #[error("another keyhaven command is at work on {}; wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// The configuration is not one that this version can read.
    #[error("the configuration {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
}

impl HomeError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Busy(_) => Remedy::RetryLater,
            Self::NotSetUp(_) | Self::AlreadySetUp(_) | Self::Io { .. } => Remedy::AskUser,
            Self::Unreadable { .. } => Remedy::Stop,
        }
    }
}

/// A device's home folder.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

/// Held while a command changes the home or the store; let go when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct HomeLock {
    file: File,
}

impl Drop for HomeLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting has the file too, until it runs its program.
        // Where it cannot be unlocked, the last one to close it does.
        let _ = self.file.unlock();
    }
}

impl Home {
    /// The home in `folder`, which need not exist yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether something is set up here.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.config_path().exists()
    }

    /// Takes the home's lock, so that two backups never run on one device at once.
    ///
    /// # Errors
    /// [`HomeError::Busy`] where another process holds it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.state().join("lock");
        let io = |cause| HomeError::Io {
            path: path.clone(),
            cause,
        };
        files::create_private_folder(&self.folder).map_err(io)?;
        files::create_private_folder(&self.state()).map_err(io)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock { file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(HomeError::Busy(self.folder.clone())),
            Err(std::fs::TryLockError::Error(cause)) => Err(io(cause)),
        }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// [`HomeError::NotSetUp`] where there is none, [`HomeError::Unreadable`] where it is damaged.
    pub fn config(&self) -> Result<Config, HomeError> {
        let path = self.config_path();
        let bytes = match files::read_small(&path, CONFIG_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::NotSetUp(self.folder.clone()));
            }
            Err(cause) => return Err(HomeError::Io { path, cause }),
        };
        let config: Config =
            serde_json::from_slice(&bytes).map_err(|error| HomeError::Unreadable {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        if config.format != CONFIG_FORMAT {
            let reason = format!("it has format {}, this version knows 1", config.format);
            return Err(HomeError::Unreadable { path, reason });
        }
        Ok(config)
    }

    /// Writes the configuration; durable when it returns.
    ///
    /// # Errors
    /// The folder cannot be written; the older configuration still stands.
    pub fn save_config(&self, config: &Config) -> Result<(), HomeError> {
        let path = self.config_path();
        let io = |cause| HomeError::Io {
            path: path.clone(),
            cause,
        };
        let config = Config {
            format: CONFIG_FORMAT,
            ..config.clone()
        };
        let mut bytes = serde_json::to_vec_pretty(&config).map_err(|error| io(error.into()))?;
        bytes.push(b'\n');
        files::create_private_folder(&self.folder).map_err(io)?;
        files::replace(&path, &bytes, Mode::Private).map_err(io)
    }

    pub(crate) fn device(&self) -> PathBuf {
        self.folder.join("device")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// The folder of local state, for who wants to put something there for a moment: it is made where it is gone. Where it cannot be,
    /// whoever needs it says so.
    pub(crate) fn state_made(&self) -> PathBuf {
        let state = self.state();
        if !state.is_dir() {
            let _ = files::create_private_folder(&state);
        }
        state
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.state().join("vault")
    }

    /// Which snapshot was last noted at the vault.
    pub(crate) fn noted(&self) -> PathBuf {
        self.vault().join(NOTED)
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.state().join("cache")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.state().join("spool")
    }

    /// What a run has sent that no snapshot names yet.
    pub(crate) fn sent(&self) -> PathBuf {
        self.state().join("sent")
    }

    pub(crate) fn shadow(&self) -> PathBuf {
        self.state().join("shadow")
    }

    pub(crate) fn ways(&self) -> PathBuf {
        self.state().join("ways")
    }

    /// Packs that a verification found damaged.
    pub(crate) fn suspects(&self) -> PathBuf {
        self.state().join("suspects")
    }

    /// Which pack a sample of the store read last.
    pub(crate) fn sampled(&self) -> PathBuf {
        self.state().join("sampled")
    }

    /// How much of each pack is content.
    pub(crate) fn footers(&self) -> PathBuf {
        self.state().join("footers")
    }

    pub(crate) fn contents(&self) -> PathBuf {
        self.state().join("contents")
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("config.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            format: CONFIG_FORMAT,
            source: "/chats".into(),
            store: "/backup".into(),
            store_id: "00".repeat(16),
            writer: "01".repeat(16),
            profile: "folder".into(),
            recovery_key_proven: true,
            vault: None,
        }
    }

    #[test]
    fn a_lock_is_let_go_though_a_child_that_is_starting_has_its_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(&folder.path().join("home"));
        let lock = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeError::Busy(_))));
        let _of_the_child = lock.file.try_clone().unwrap();
        drop(lock);
        drop(home.lock().unwrap());
    }

    #[test]
    fn a_configuration_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(&folder.path().join("home"));
        assert!(matches!(home.config(), Err(HomeError::NotSetUp(_))));
        home.save_config(&config()).unwrap();
        assert_eq!(home.config().unwrap(), config());
    }

    #[test]
    fn a_damaged_or_newer_configuration_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for text in ["", "{", "[]", r#"{"format":2}"#] {
            std::fs::write(folder.path().join("config.json"), text).unwrap();
            assert!(
                matches!(home.config(), Err(HomeError::Unreadable { .. })),
                "{text}"
            );
            assert_eq!(
                std::fs::read_to_string(folder.path().join("config.json")).unwrap(),
                text
            );
        }
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let first = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeError::Busy(_))));
        drop(first);
        let _second = home.lock().unwrap();
    }
}
