//! A device that is set up: back up, restore, look, verify.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven_repo::names::{SnapshotDigest, SnapshotName, StoreId, WriterId};
use keyhaven_repo::snapshot::{Freshness, Note};
use keyhaven_secrets::{BackupKey, KeyFingerprint, Remedy};
use keyhaven_vault_client::{DeviceSecret, VaultError};
use zeroize::Zeroizing;

use crate::engine::history::{Access, HistoryError};
use crate::exposure::Exposure;
use crate::home::{Config, Home, HomeError};
use crate::keystore::{FileKeystore, Item, Keystore, KeystoreError};
use crate::place::{Place, PlaceError};
use crate::store::patience::CalledOff;
use crate::store::{Credentials, StoreError};
use crate::vault::{Link, Login, LoginError};

/// A device's backup cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing is set up, or the configuration is damaged.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The keystore cannot be read.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The store's address in the configuration.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What stands at the store's place.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The keystore has lost something.
    #[error(
        "this device has lost its {0:?}; get the backup back with `keyhaven restore` in a new home, by \
         the password or the 64-digit key"
    )]
    Lost(Item),
    /// The vault's login in the configuration and the keystore.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The configuration names something that cannot be.
    #[error("the configuration names {0}, which is not one")]
    Damaged(&'static str),
    /// No password is set up.
    #[error("no password is set up on this device; `keyhaven password set` does it")]
    NoPassword,
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Home(cause) => cause.remedy(),
            Self::Place(cause) => cause.remedy(),
            Self::Store(cause) => cause.remedy(),
            Self::History(cause) => cause.remedy(),
            Self::Vault(cause) => cause.remedy(),
            Self::Keystore(_) | Self::Lost(_) | Self::Login(_) | Self::NoPassword => {
                Remedy::AskUser
            }
            Self::Damaged(_) => Remedy::Stop,
        }
    }
}

/// A device that is set up.
pub struct Keyhaven {
    pub(crate) home: Home,
    pub(crate) place: Place,
    pub(crate) keystore: Arc<dyn Keystore>,
}

impl std::fmt::Debug for Keyhaven {
    // BACKUP-3: what is told of it holds no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyhaven")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl Keyhaven {
    /// Opens what was set up in `home`. Credentials for a cloud come from the caller: the library
    /// reads no environment.
    ///
    /// # Errors
    /// [`OpenError::Home`] where nothing is set up.
    pub fn open(home: &Path, credentials: Option<Credentials>) -> Result<Self, OpenError> {
        let config = Home::new(home).config()?;
        Self::open_at(
            home,
            Place::parse(&config.store)?.with_credentials(credentials),
        )
    }

    /// As [`Keyhaven::open`], with a store of the app's own: see [`Place::of_store`].
    ///
    /// # Errors
    /// As [`Keyhaven::open`].
    pub fn open_at(home: &Path, place: Place) -> Result<Self, OpenError> {
        let home = Home::new(home);
        home.config()?;
        let keystore = Arc::new(FileKeystore::new(&home.device()));
        Ok(Self {
            home,
            place,
            keystore,
        })
    }

    pub(crate) fn assemble(home: Home, place: Place, keystore: Arc<dyn Keystore>) -> Self {
        Self {
            home,
            place,
            keystore,
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`HomeError`] if it cannot be read.
    pub fn config(&self) -> Result<Config, HomeError> {
        self.home.config()
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.folder()
    }

    /// What protects this device's own copy of the key.
    #[must_use]
    pub fn keystore(&self) -> String {
        self.keystore.describe()
    }

    /// What of this device's secrets others on this machine can read, too.
    #[must_use]
    pub fn exposed(&self) -> Vec<Exposure> {
        self.keystore.exposed()
    }

    /// The backup key, which the person may see as 64 digits.
    ///
    /// # Errors
    /// [`OpenError::Lost`] if the keystore has it no more.
    pub fn backup_key(&self) -> Result<BackupKey, OpenError> {
        let bytes = self.secret(Item::BackupKey)?;
        let bytes: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| OpenError::Lost(Item::BackupKey))?;
        Ok(BackupKey::from_bytes(*bytes))
    }

    /// The name of the backup key, which tells nothing about it.
    ///
    /// # Errors
    /// As [`Keyhaven::backup_key`].
    pub fn fingerprint(&self) -> Result<KeyFingerprint, OpenError> {
        Ok(self.backup_key()?.fingerprint())
    }

    pub(crate) fn device(&self) -> Result<DeviceSecret, OpenError> {
        let bytes = self.secret(Item::DeviceKey)?;
        let bytes: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| OpenError::Lost(Item::DeviceKey))?;
        Ok(DeviceSecret::new(*bytes))
    }

    /// The login to the vault that is set up, if one is.
    ///
    /// # Errors
    /// [`OpenError`] if the configuration or the keystore is damaged.
    pub fn login(&self) -> Result<Option<Login>, OpenError> {
        let Some(vault) = self.config()?.vault else {
            return Ok(None);
        };
        let token = self.secret(Item::Login)?;
        let token = std::str::from_utf8(&token).map_err(|_| OpenError::Lost(Item::Login))?;
        let token = Zeroizing::new(token.to_owned());
        Ok(Some(Login::new(&vault.address, &vault.account, token)?))
    }

    pub(crate) fn link(&self) -> Result<Option<Link>, OpenError> {
        self.link_until(CalledOff::never())
    }

    /// As [`Keyhaven::link`], for work that may be called off.
    pub(crate) fn link_until(&self, called_off: CalledOff) -> Result<Option<Link>, OpenError> {
        match self.login()? {
            Some(login) => Ok(Some(Link::open_until(
                &login,
                &self.home.vault(),
                called_off,
            )?)),
            None => Ok(None),
        }
    }

    fn secret(&self, item: Item) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.keystore.load(item)?.ok_or(OpenError::Lost(item))
    }

    /// The store and the key to it, after a look that it is the store that was set up.
    pub(crate) fn access(&self, called_off: CalledOff) -> Result<Access, OpenError> {
        let config = self.config()?;
        let id =
            StoreId::parse(&config.store_id).map_err(|_| OpenError::Damaged("a store's id"))?;
        let store = self.place.open(called_off.clone())?;
        let key = Arc::new(self.backup_key()?);
        let cache = self.place.is_remote().then(|| self.home.cache());
        Ok(Access::to(store, id, key, cache, called_off)?)
    }

    pub(crate) fn writer(&self) -> Result<WriterId, OpenError> {
        WriterId::parse(&self.config()?.writer).map_err(|_| OpenError::Damaged("a writer's id"))
    }

    pub(crate) fn source(&self) -> Result<PathBuf, HomeError> {
        Ok(self.config()?.source)
    }
}

/// A snapshot of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its name in the store.
    pub name: SnapshotName,
    /// The digest of its bytes.
    pub digest: SnapshotDigest,
    /// Its number.
    pub sequence: u64,
    /// The device's clock when it was made, in seconds since 1970.
    pub device_time_s: i64,
    /// Whether it holds all of the source.
    pub complete: bool,
    /// Whether this device made it.
    pub ours: bool,
    /// Whether no other snapshot follows it.
    pub head: bool,
    /// Whether it is kept until a person lets it go.
    pub pinned: bool,
    /// Files in it, databases apart.
    pub files: u64,
    /// Databases in it.
    pub databases: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// How fresh a restore is known to be (BACKUP-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// At least as new as the snapshot that was noted at the vault.
    AtLeast {
        /// Its number.
        sequence: u64,
    },
    /// Nothing was noted, or there was nobody to ask: freshness not verified.
    NotVerified,
}

pub(crate) fn fresh(freshness: Freshness) -> Result<Fresh, (u64, u64)> {
    match freshness {
        Freshness::FreshAtLeast { sequence } => Ok(Fresh::AtLeast { sequence }),
        Freshness::NotVerified => Ok(Fresh::NotVerified),
        Freshness::RolledBack { noted, newest } | Freshness::Forked { noted, newest } => {
            Err((noted, newest))
        }
    }
}

/// What the vault's record or this device remembers.
pub(crate) fn note(sequence: u64, digest: SnapshotDigest) -> Note {
    Note { sequence, digest }
}
