//! The protectors of a device that is set up: its password and its 64-digit key.

use std::path::Path;
use std::sync::Arc;

use keyhaven_repo::names::WriterId;
use keyhaven_secrets::typos::{self, RepairError};
use keyhaven_secrets::{BackupKey, Password, PasswordError, Remedy, Typo, WeakPassword};
use keyhaven_vault_client::{Alarm, By, DeviceSecret, RegisterBy, Standing, VaultError};

use crate::engine::entropy::OsEntropy;
use crate::engine::history::{Access, HistoryError, identify, samples};
use crate::haven::{Keyhaven, OpenError};
use crate::home::{CONFIG_FORMAT, Config, Home, HomeError, VaultConfig};
use crate::keystore::{FileKeystore, Item, Keystore, KeystoreError};
use crate::place::Place;
use crate::setup::settled;
use crate::store::patience::CalledOff;
use crate::store::{Store, StoreError};
use crate::vault::{Link, Login};

/// A protector cannot be added, used, changed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectorError {
    /// The device's backup cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// What was typed is not the key of this backup, nor one slip away from it.
    #[error(transparent)]
    Digits(#[from] RepairError),
    /// It opens the store, and is not the key of this device's backup.
    #[error("this key opens the store, but it is not the key of this device's backup")]
    OtherKey,
    /// What was typed is not a password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The password is too easy to guess.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// A password is set up already.
    #[error("a password is set up already; `keyhaven password change` changes it")]
    HasPassword,
    /// The home would be restored into, and backed up with the chats.
    #[error(
        "{} stands inside the folder that is to be restored into; choose another home with --home", .0.display()
    )]
    HomeNested(std::path::PathBuf),
    /// The password is the only protector.
    #[error(
        "the password is the only way to get your backup back; prove the 64-digit key first \
         (`keyhaven key check`)"
    )]
    LastProtector,
    /// The vault returned another key than the one that was registered.
    #[error("the vault returned another key than the one that it was given; do not use it")]
    WrongKeyBack,
}

impl ProtectorError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Open(cause) => cause.remedy(),
            Self::Home(cause) => cause.remedy(),
            Self::Store(cause) => cause.remedy(),
            Self::History(cause) => cause.remedy(),
            Self::Vault(cause) => cause.remedy(),
            Self::WrongKeyBack => Remedy::Stop,
            Self::Keystore(_)
            | Self::Digits(_)
            | Self::OtherKey
            | Self::Password(_)
            | Self::Weak(_)
            | Self::HasPassword
            | Self::HomeNested(_)
            | Self::LastProtector => Remedy::AskUser,
        }
    }
}

/// A 64-digit key that opens a backup.
#[derive(Debug)]
pub struct Checked {
    /// The key.
    pub key: BackupKey,
    /// The slip that was found in what was typed, in words for the person.
    pub corrected: Option<String>,
}

/// Finds the key that was meant by what was typed: itself, or one wrong digit, or two neighbours
/// swapped. Only what authenticates against a snapshot of the store counts.
fn check(store: &Arc<dyn Store>, typed: &str) -> Result<Checked, ProtectorError> {
    let id = identify(store.as_ref())?;
    let samples = samples(store)?;
    let repaired = typos::repair(typed, |candidate| {
        samples
            .iter()
            .any(|sample| sample.opens_with(id, candidate))
    })?;
    Ok(Checked {
        key: repaired.key,
        corrected: repaired.typo.map(describe),
    })
}

fn describe(typo: Typo) -> String {
    match typo {
        Typo::Changed { position } => format!("digit {position} was another one"),
        Typo::Swapped { position } => {
            let next = position.saturating_add(1);
            format!("digits {position} and {next} were swapped")
        }
        Typo::Missing { position } => format!("digit {position} was left out"),
        Typo::Extra { position } => format!("digit {position} was one too many"),
        other => format!("{other:?}"),
    }
}

impl Keyhaven {
    /// Checks a 64-digit key against the store, finding one slip, and remembers that the person has
    /// it.
    ///
    /// # Errors
    /// [`ProtectorError::Digits`] and others.
    pub fn check_recovery_key(&self, typed: &str) -> Result<Checked, ProtectorError> {
        let access = self.access(CalledOff::never())?;
        let checked = check(&access.store, typed)?;
        if checked.key != *access.key {
            return Err(ProtectorError::OtherKey);
        }
        let _lock = self.home.lock()?;
        let config = self.home.config()?;
        if checked.corrected.is_none() && !config.recovery_key_proven {
            self.home.save_config(&Config {
                recovery_key_proven: true,
                ..config
            })?;
        }
        Ok(checked)
    }

    /// Adds a password to a device that has none, and proves it.
    ///
    /// # Errors
    /// [`ProtectorError`].
    pub fn set_password(&self, login: &Login, password: &Password) -> Result<(), ProtectorError> {
        let _lock = self.home.lock()?;
        let config = self.home.config()?;
        if config.vault.is_some() {
            return Err(ProtectorError::HasPassword);
        }
        self.register(login, password, Why::First)?;
        self.keystore.save(Item::Login, login.token().as_bytes())?;
        let vault = Some(VaultConfig::of(login));
        Ok(self.home.save_config(&Config { vault, ..config })?)
    }

    /// Changes the password. The device signs for it; the guesses that were spent stay spent.
    ///
    /// # Errors
    /// [`ProtectorError`]; the old password still stands unless the vault acknowledged the new one.
    pub fn change_password(&self, password: &Password) -> Result<(), ProtectorError> {
        let _lock = self.home.lock()?;
        let login = self.login()?.ok_or(OpenError::NoPassword)?;
        self.register(&login, password, Why::Device)
    }

    /// Destroys the vault's record. The 64-digit key still opens the backup, so it must have been
    /// proven.
    ///
    /// # Errors
    /// [`ProtectorError::LastProtector`] and others.
    pub fn remove_password(&self) -> Result<(), ProtectorError> {
        let _lock = self.home.lock()?;
        let config = self.home.config()?;
        if !config.recovery_key_proven {
            return Err(ProtectorError::LastProtector);
        }
        let mut link = self.link()?.ok_or(OpenError::NoPassword)?;
        match link.delete(&self.device()?) {
            // Deleted before, and this device did not live to write it down.
            Ok(_) | Err(VaultError::NoRecord { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.home.save_config(&Config {
            vault: None,
            ..config
        })?;
        Ok(self.keystore.remove(Item::Login)?)
    }

    /// How the account stands at the vault, and what the owner must be told at once. Free.
    ///
    /// # Errors
    /// [`ProtectorError`].
    pub fn standing(&self) -> Result<Option<(Standing, Option<Alarm>)>, ProtectorError> {
        let Some(mut link) = self.link()? else {
            return Ok(None);
        };
        Ok(Some(link.standing(&self.device()?)?))
    }

    fn register(&self, login: &Login, password: &Password, why: Why) -> Result<(), ProtectorError> {
        password.judge(&[])?;
        let (key, device) = (self.backup_key()?, self.device()?);
        let mut link = Link::open(login, &self.home.vault())?;
        let by = match why {
            Why::First => RegisterBy::First,
            Why::Device => RegisterBy::Device {
                secret: &device,
                different: None,
            },
        };
        link.register(password, &key, &device, by)?;
        let back = link.recover(password, Some(&device))?;
        if back.key == key {
            Ok(())
        } else {
            Err(ProtectorError::WrongKeyBack)
        }
    }
}

/// Why the vault should take a registration.
enum Why {
    First,
    Device,
}

/// How a new device gets the backup key.
pub enum Recovery<'a> {
    /// By the 64 digits, as they were typed.
    RecoveryKey(&'a str),
    /// By the password.
    Password {
        /// Where the record is.
        login: Login,
        /// The password.
        password: &'a Password,
    },
}

impl std::fmt::Debug for Recovery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RecoveryKey(_) => f.write_str("RecoveryKey(redacted)"),
            Self::Password { login, .. } => f
                .debug_struct("Password")
                .field("login", login)
                .finish_non_exhaustive(),
        }
    }
}

/// A new device that has the backup key again.
pub struct Returned {
    /// The device, set up to back up `source` to the same store.
    pub haven: Keyhaven,
    /// The slip that was found in the typed digits.
    pub corrected: Option<String>,
    /// How the account stands, after a password.
    pub standing: Option<Standing>,
}

impl std::fmt::Debug for Returned {
    // BACKUP-3: what is told of it holds no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Returned")
            .field("home", &self.haven.home)
            .finish_non_exhaustive()
    }
}

impl Keyhaven {
    /// Gets the backup key on a new device whose home is empty, and sets the device up to restore
    /// into `source` and to go on backing it up.
    ///
    /// # Errors
    /// [`ProtectorError`]; the home stays empty.
    pub fn recover(
        home: &Path,
        source: &Path,
        place: Place,
        by: Recovery<'_>,
    ) -> Result<Returned, ProtectorError> {
        let home = Home::new(home);
        if home.is_set_up() {
            return Err(HomeError::AlreadySetUp(home.folder().to_path_buf()).into());
        }
        if settled(home.folder()).starts_with(settled(source)) {
            return Err(ProtectorError::HomeNested(home.folder().to_path_buf()));
        }
        let _lock = home.lock()?;
        let store = place.open(CalledOff::never())?;
        let id = identify(store.as_ref())?;
        let keystore = Arc::new(FileKeystore::new(&home.device()));
        // A device key that an earlier attempt listed is used again.
        let device = device_key(keystore.as_ref())?;
        let (key, corrected, standing, login) = match by {
            Recovery::RecoveryKey(typed) => {
                let checked = check(&store, typed)?;
                (checked.key, checked.corrected, None, None)
            }
            Recovery::Password { login, password } => {
                let mut link = Link::open(&login, &home.vault())?;
                let back = link.recover(password, None)?;
                let mut standing = back.standing;
                if let Some(session) = &back.session {
                    standing = link.enrol(&device, By::Session(session))?;
                }
                (back.key, None, Some(standing), Some(login))
            }
        };
        let access = Access {
            store,
            id,
            key: Arc::new(BackupKey::from_bytes(*key.expose())),
            cache: None,
        };
        let loaded = access.load()?;
        let newest = loaded.history.newest_first();
        let profile = newest
            .first()
            .and_then(|link| loaded.open.get(&link.digest))
            .map(|open| open.snapshot.profile.clone())
            .unwrap_or_default();
        keystore.save(Item::BackupKey, key.expose())?;
        if let Some(login) = &login {
            keystore.save(Item::Login, login.token().as_bytes())?;
        }
        let source = std::path::absolute(source).map_err(|cause| HomeError::Io {
            path: source.to_path_buf(),
            cause,
        })?;
        home.save_config(&Config {
            format: CONFIG_FORMAT,
            source,
            store: place.address(),
            store_id: id.to_string(),
            writer: WriterId::generate(&mut OsEntropy).to_string(),
            profile,
            recovery_key_proven: login.is_none(),
            vault: login.as_ref().map(VaultConfig::of),
        })?;
        let haven = Self::assemble(home, place, keystore);
        Ok(Returned {
            haven,
            corrected,
            standing,
        })
    }
}

fn device_key(keystore: &dyn Keystore) -> Result<DeviceSecret, KeystoreError> {
    let kept = keystore.load(Item::DeviceKey)?;
    if let Some(bytes) = kept
        .as_ref()
        .and_then(|bytes| <&[u8; 32]>::try_from(bytes.as_slice()).ok())
    {
        return Ok(DeviceSecret::new(*bytes));
    }
    let device = DeviceSecret::generate(&mut OsEntropy);
    keystore.save(Item::DeviceKey, device.expose())?;
    Ok(device)
}
