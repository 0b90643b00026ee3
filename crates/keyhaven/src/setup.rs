//! Setting up a device: choose, prove, finish.
//!
//! ```text
//!   Setup ── prove_recovery_key ──▶ ProvenSetup ── finish ──▶ Keyhaven
//!        └── set_password ───────▶      │ (both may be done)
//! ```
//!
//! No backup is ever made under a key that no protector has been proven to return: [`Setup`] cannot
//! be finished, [`ProvenSetup`] can, and only a proof makes one out of the other.

mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven_secrets::{BackupKey, Digits, DigitsError, Password, Remedy};
use keyhaven_source::{Detection, Profile};
use keyhaven_vault_client::{DeviceSecret, RecordState, VaultError};

use crate::engine::entropy::OsEntropy;
use crate::engine::history::HistoryError;
use crate::haven::Keyhaven;
use crate::home::{Config, Home, HomeError, VaultConfig};
use crate::keystore::{FileKeystore, Item, Keystore, KeystoreError};
use crate::nesting::{KeyFileError, are_nested, check_key_file, stands_in};
use crate::password::{LastGuess, RegisterError, Registering, Why};
use crate::place::{Place, PlaceError};
use crate::setup::store::Made;
use crate::store::StoreError;
use crate::vault::{Link, Login};

/// A device cannot be set up. Nothing is set up where one of these is returned; what was made at
/// the vault or in the store meanwhile does no harm and is used by the next attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The home cannot be used, or is set up already.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The keystore cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The store's address or credentials.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first snapshot cannot be made.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The source is not a folder that can be read.
    #[error("{} is not a folder that can be read", .0.display())]
    Source(PathBuf),
    /// The path of the source is no text, as the configuration holds it.
    #[error(
        "the path {} is not text (UTF-8): name its folders otherwise, or back up one that stands above them", .0.display()
    )]
    SourceNotText(PathBuf),
    /// The store would stand inside the source, or the source inside the store.
    #[error("the store and the source must not stand inside each other")]
    Nested,
    /// The home would stand inside the source: each backup would change what it backs up.
    #[error(
        "{} stands inside the folder that is to be backed up; choose another home with --home", .0.display()
    )]
    HomeNested(PathBuf),
    /// The 64 digits would be written into the source or the store.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// What was typed is not a 64-digit key.
    #[error(transparent)]
    Digits(#[from] DigitsError),
    /// What was typed is another key.
    #[error("that is not the key that was shown; compare it digit by digit and type it again")]
    WrongDigits,
    /// The password cannot be registered and proven.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A password alone would protect nothing against the loss of this machine.
    #[error(
        "the vault and your chats stand on the same machine: if it is lost, the password can bring \
         nothing back. Set up the 64-digit key too, and keep it elsewhere"
    )]
    PasswordAlone,
}

impl SetupError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Home(cause) => cause.remedy(),
            Self::Place(cause) => cause.remedy(),
            Self::Store(cause) => cause.remedy(),
            Self::History(cause) => cause.remedy(),
            Self::Vault(cause) => cause.remedy(),
            Self::Register(cause) => cause.remedy(),
            Self::KeyFile(cause) => cause.remedy(),
            Self::Keystore(_)
            | Self::Source(_)
            | Self::SourceNotText(_)
            | Self::Nested
            | Self::HomeNested(_)
            | Self::Digits(_)
            | Self::WrongDigits
            | Self::PasswordAlone => Remedy::AskUser,
        }
    }
}

/// A device that is being set up. Nothing is written yet, and no protector is proven.
pub struct Setup {
    home: Home,
    source: PathBuf,
    place: Place,
    keystore: Arc<dyn Keystore>,
    key: Arc<BackupKey>,
    device: DeviceSecret,
}

/// A device that can be set up: at least one protector has been proven to return the key.
pub struct ProvenSetup {
    setup: Setup,
    recovery_key: bool,
    login: Option<Login>,
}

impl std::fmt::Debug for Setup {
    // BACKUP-3: what is told of it holds no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ProvenSetup {
    // BACKUP-3: what is told of it holds no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvenSetup")
            .field("home", &self.setup.home)
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// Begins: checks that the home is free, the source readable, and the store a new place.
    ///
    /// # Errors
    /// [`SetupError`] naming which of them will not do.
    pub fn begin(home: &Path, source: &Path, place: Place) -> Result<Self, SetupError> {
        let home = Home::new(home);
        if home.is_set_up() {
            return Err(HomeError::AlreadySetUp(home.folder().to_path_buf()).into());
        }
        let unreadable = || SetupError::Source(source.to_path_buf());
        let source = source.canonicalize().map_err(|_| unreadable())?;
        std::fs::read_dir(&source).map_err(|_| unreadable())?;
        if source.to_str().is_none() {
            return Err(SetupError::SourceNotText(source));
        }
        if (place.folder()).is_some_and(|store| are_nested(store, &source)) {
            return Err(SetupError::Nested);
        }
        if stands_in(home.folder(), &source) {
            return Err(SetupError::HomeNested(home.folder().to_path_buf()));
        }
        let keystore = Arc::new(FileKeystore::new(&home.device()));
        // VAULT-7: an attempt that was cut off may have registered these at a vault already. It is
        // gone on with, never begun again.
        let kept = |item| -> Result<Option<[u8; 32]>, SetupError> {
            Ok(keystore
                .load(item)?
                .and_then(|bytes| bytes.as_slice().try_into().ok()))
        };
        let key = match kept(Item::BackupKey)? {
            Some(bytes) => BackupKey::from_bytes(bytes),
            None => BackupKey::generate(&mut OsEntropy),
        };
        let device = match kept(Item::DeviceKey)? {
            Some(bytes) => DeviceSecret::new(bytes),
            None => DeviceSecret::generate(&mut OsEntropy),
        };
        Ok(Self {
            home,
            source,
            place,
            keystore,
            key: Arc::new(key),
            device,
        })
    }

    /// Whose folder the source is, and what opening its messages takes.
    #[must_use]
    pub fn detection(&self) -> Detection {
        Profile::detect(&self.source)
    }

    /// The 64-digit key, to be written down.
    #[must_use]
    pub fn recovery_key(&self) -> Digits {
        self.key.digits()
    }

    /// Looks whether the 64 digits may be written to a file, which is to be asked before they are.
    ///
    /// # Errors
    /// [`SetupError::KeyFile`] where it would stand in the source or the store.
    pub fn check_key_file(&self, file: &Path) -> Result<(), SetupError> {
        Ok(check_key_file(file, &self.source, self.place.folder())?)
    }

    /// Proves that the person has the 64-digit key, by what they typed or what was read back from
    /// where they keep it.
    ///
    /// # Errors
    /// [`SetupError::WrongDigits`] and [`SetupError::Digits`], with the setup to try again.
    pub fn prove_recovery_key(self, typed: &str) -> Result<ProvenSetup, (Box<Self>, SetupError)> {
        match self.compare(typed) {
            Ok(()) => Ok(ProvenSetup {
                setup: self,
                recovery_key: true,
                login: None,
            }),
            Err(error) => Err((Box::new(self), error)),
        }
    }

    /// Registers the password at a vault and proves it by getting the key back.
    ///
    /// # Errors
    /// [`SetupError`], with the setup to try again.
    pub fn set_password(
        self,
        login: Login,
        password: &Password,
    ) -> Result<ProvenSetup, (Box<Self>, SetupError)> {
        self.take_password(login, password, Why::First)
    }

    /// As [`Setup::set_password`], once the wait for a fresh start is over: the account's record is
    /// replaced, with whatever key it held.
    ///
    /// # Errors
    /// [`SetupError`], with the setup to try again.
    pub fn start_afresh(
        self,
        login: Login,
        password: &Password,
    ) -> Result<ProvenSetup, (Box<Self>, SetupError)> {
        self.take_password(login, password, Why::FreshStart)
    }

    /// Asks, before a password is chosen, whether the account would take one: it has none, or an
    /// earlier attempt of this very setup set it. Free.
    ///
    /// # Errors
    /// [`VaultError::AlreadyRegistered`] and [`VaultError::Exhausted`], and others of the vault.
    pub fn check_account(&self, login: &Login) -> Result<(), SetupError> {
        let lock = self.home.lock()?;
        let link = Link::open(login, &self.home.vault())?;
        drop(lock);
        match link.public_standing()?.state {
            RecordState::Destroyed => Err(VaultError::Exhausted.into()),
            RecordState::Live if !link.is_unsettled() && !link.lists(&self.device)? => {
                Err(VaultError::AlreadyRegistered.into())
            }
            RecordState::Live | RecordState::Vacant | RecordState::Deleted => Ok(()),
        }
    }

    fn take_password(
        self,
        login: Login,
        password: &Password,
        why: Why,
    ) -> Result<ProvenSetup, (Box<Self>, SetupError)> {
        match self.register(&login, password, why) {
            Ok(()) => Ok(ProvenSetup {
                setup: self,
                recovery_key: false,
                login: Some(login),
            }),
            Err(error) => Err((Box::new(self), error)),
        }
    }

    fn compare(&self, typed: &str) -> Result<(), SetupError> {
        if BackupKey::parse_digits(typed)? == *self.key {
            Ok(())
        } else {
            Err(SetupError::WrongDigits)
        }
    }

    fn register(&self, login: &Login, password: &Password, why: Why) -> Result<(), SetupError> {
        let _lock = self.home.lock()?;
        // Kept before the vault is asked: after a crash the same key is registered, not another.
        self.keystore.save(Item::BackupKey, self.key.expose())?;
        self.keystore.save(Item::DeviceKey, self.device.expose())?;
        let registering = Registering {
            link: &mut Link::open(login, &self.home.vault())?,
            keystore: self.keystore.as_ref(),
            key: &self.key,
            device: &self.device,
        };
        Ok(registering.run(password, why, LastGuess::Keep)?)
    }
}

impl ProvenSetup {
    /// The 64-digit key, to be written down.
    #[must_use]
    pub fn recovery_key(&self) -> Digits {
        self.setup.recovery_key()
    }

    /// Proves the 64-digit key too.
    ///
    /// # Errors
    /// [`SetupError::WrongDigits`] and [`SetupError::Digits`]; what was proven before stays.
    pub fn prove_recovery_key(&mut self, typed: &str) -> Result<(), SetupError> {
        self.setup.compare(typed)?;
        self.recovery_key = true;
        Ok(())
    }

    /// Sets and proves a password too.
    ///
    /// # Errors
    /// [`SetupError`]; what was proven before stays.
    pub fn set_password(&mut self, login: Login, password: &Password) -> Result<(), SetupError> {
        self.setup.register(&login, password, Why::First)?;
        self.login = Some(login);
        Ok(())
    }

    /// Whether a password is all there is, at a vault that would be lost with the chats.
    #[must_use]
    pub fn needs_recovery_key(&self) -> bool {
        !self.recovery_key && self.login.as_ref().is_some_and(Login::is_on_this_machine)
    }

    /// Makes the store and its first, empty snapshot, and writes this device's configuration.
    ///
    /// # Errors
    /// [`SetupError::PasswordAlone`], and what can go wrong with the store and the home.
    pub fn finish(self) -> Result<Keyhaven, SetupError> {
        if self.needs_recovery_key() {
            return Err(SetupError::PasswordAlone);
        }
        let Self {
            setup,
            recovery_key,
            login,
        } = self;
        let lock = setup.home.lock()?;
        // Kept before the store is made: after a crash the next set-up opens what stands there.
        setup.keystore.save(Item::BackupKey, setup.key.expose())?;
        setup
            .keystore
            .save(Item::DeviceKey, setup.device.expose())?;
        if let Some(login) = &login {
            setup.keystore.save(Item::Login, login.token().as_bytes())?;
        }
        let profile = setup.detection().profile.name().to_owned();
        let Made { id, writer } = store::make(&setup.place, &setup.key, &profile)?;
        let vault = login.as_ref().map(VaultConfig::of);
        // The configuration comes last: it is what says that this device is set up.
        setup.home.save_config(&Config {
            format: crate::home::CONFIG_FORMAT,
            source: setup.source,
            store: setup.place.address(),
            store_id: id.to_string(),
            writer: writer.to_string(),
            profile,
            recovery_key_proven: recovery_key,
            vault,
        })?;
        drop(lock);
        Ok(Keyhaven::assemble(setup.home, setup.place, setup.keystore))
    }
}
