//! The protectors of a device that is set up: its password and its 64-digit key.

use std::path::Path;
use std::sync::Arc;

use keyhaven_repo::names::WriterId;
use keyhaven_secrets::typos::{self, RepairError};
use keyhaven_secrets::{BackupKey, Password, PasswordError, Remedy, Typo};
use keyhaven_vault_client::{By, DeviceSecret, Session, Standing, VaultError};

use crate::engine::entropy::OsEntropy;
use crate::engine::history::{Access, HistoryError, identify, samples};
use crate::haven::{Keyhaven, OpenError};
use crate::home::{CONFIG_FORMAT, Config, Home, HomeError, VaultConfig};
use crate::keystore::{FileKeystore, Item, Keystore, KeystoreError};
use crate::nesting::{KeyFileError, are_nested, check_key_file, stands_in};
use crate::password::{GuessError, LastGuess, RegisterError, remember};
use crate::place::Place;
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
    /// A key that is not the one of this device's backup.
    #[error("this is the key of another backup than this device's")]
    OtherKey,
    /// What was typed is not a password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The password cannot be registered and proven.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// It would be the last guess, and nobody has said that it may be spent.
    #[error(
        "only the last guess is left: if it is wrong, the vault destroys the backup key for good. \
         Nothing was sent"
    )]
    LastGuess,
    /// A password is set up already.
    #[error("a password is set up already; `keyhaven password change` changes it")]
    HasPassword,
    /// The record is destroyed, as it was to be; what this device has of it is still there.
    #[error(
        "the password was being removed, and that did not come to its end: the vault's record is destroyed \
         already. `keyhaven password remove` ends it"
    )]
    RemovalCutOff,
    /// The home would be restored into, and backed up with the chats.
    #[error(
        "{} stands inside the folder that is to be restored into; choose another home with --home", .0.display()
    )]
    HomeNested(std::path::PathBuf),
    /// It would be restored into the home.
    #[error(
        "{} stands inside this device's home; restore to another folder", .0.display()
    )]
    InsideHome(std::path::PathBuf),
    /// The store would be restored into, or backed up with the chats.
    #[error(
        "the store and the folder that is to be restored into must not stand inside each other; restore to another folder"
    )]
    Nested,
    /// The 64 digits would be written into the source or the store.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The password is the only protector.
    #[error(
        "the password is the only way to get your backup back; prove the 64-digit key first \
         (`keyhaven key check`)"
    )]
    LastProtector,
}

impl From<GuessError> for ProtectorError {
    fn from(error: GuessError) -> Self {
        match error {
            GuessError::LastGuess => Self::LastGuess,
            GuessError::Vault(cause) => Self::Vault(cause),
        }
    }
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
            Self::Register(cause) => cause.remedy(),
            Self::KeyFile(cause) => cause.remedy(),
            Self::Keystore(_)
            | Self::Digits(_)
            | Self::OtherKey
            | Self::Password(_)
            | Self::HasPassword
            | Self::RemovalCutOff
            | Self::LastGuess
            | Self::HomeNested(_)
            | Self::InsideHome(_)
            | Self::Nested
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
    let id = identify(store.as_ref())?.store;
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
    /// Looks whether the 64 digits, or a sheet with them, may be written to a file, which is to be asked before they are.
    ///
    /// # Errors
    /// [`ProtectorError::KeyFile`] where it would stand in the source or the store.
    pub fn check_key_file(&self, file: &Path) -> Result<(), ProtectorError> {
        let source = self.source()?;
        Ok(check_key_file(file, &source, self.place.folder())?)
    }

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
        /// Whether it may be the last guess.
        last: LastGuess,
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
        if stands_in(home.folder(), source) {
            return Err(ProtectorError::HomeNested(home.folder().to_path_buf()));
        }
        if stands_in(source, home.folder()) {
            return Err(ProtectorError::InsideHome(source.to_path_buf()));
        }
        if place
            .folder()
            .is_some_and(|store| are_nested(store, source))
        {
            return Err(ProtectorError::Nested);
        }
        let _lock = home.lock()?;
        let store = place.open(CalledOff::never())?;
        let found = identify(store.as_ref())?;
        let id = found.store;
        let keystore = Arc::new(FileKeystore::new(&home.device()));
        let (key, corrected, proven) = match &by {
            Recovery::RecoveryKey(typed) => {
                let checked = check(&store, typed)?;
                (checked.key, checked.corrected, None)
            }
            Recovery::Password {
                login,
                password,
                last,
            } => {
                let mut link = Link::open(login, &home.vault())?;
                let back = link.recover(password, None, *last)?;
                let proven = Proven {
                    link,
                    login,
                    password,
                    session: back.session,
                    standing: back.standing,
                };
                (back.key, None, Some(proven))
            }
        };
        let access = Access {
            store,
            id,
            key: Arc::new(BackupKey::from_bytes(*key.expose())),
            cache: None,
            called_off: CalledOff::never(),
            marker_fault: found.marker_fault,
        };
        // Looked at before anything is kept: what opens no backup here leaves nothing behind.
        let loaded = access.load()?;
        let newest = loaded.history.newest_first();
        let profile = newest
            .first()
            .and_then(|link| loaded.open.get(&link.digest))
            .map(|open| open.snapshot.profile.clone())
            .unwrap_or_default();
        let source = std::path::absolute(source).map_err(|cause| HomeError::Io {
            path: source.to_path_buf(),
            cause,
        })?;
        let config = Config {
            format: CONFIG_FORMAT,
            source,
            store: place.address(),
            store_id: id.to_string(),
            writer: WriterId::generate(&mut OsEntropy).to_string(),
            profile,
            recovery_key_proven: proven.is_none(),
            vault: proven.as_ref().map(|proven| VaultConfig::of(proven.login)),
        };
        let standing = settle_in(&home, keystore.as_ref(), &key, &config, proven)?;
        let haven = Self::assemble(home, place, keystore);
        Ok(Returned {
            haven,
            corrected,
            standing,
        })
    }
}

/// A password that was proven, and what it allows.
struct Proven<'a> {
    link: Link,
    login: &'a Login,
    password: &'a Password,
    session: Option<Session>,
    standing: Standing,
}

/// Keeps what makes the device one: its key, its secrets, its configuration last. Where that fails,
/// no secret is left behind but the key of a device that the record lists, or may list: the next
/// attempt uses it again.
fn settle_in(
    home: &Home,
    keystore: &dyn Keystore,
    key: &BackupKey,
    config: &Config,
    proven: Option<Proven<'_>>,
) -> Result<Option<Standing>, ProtectorError> {
    let kept = keystore.load(Item::DeviceKey)?;
    let known = kept.is_some();
    let device = kept
        .and_then(|bytes| Some(DeviceSecret::new(bytes.as_slice().try_into().ok()?)))
        .unwrap_or_else(|| DeviceSecret::generate(&mut OsEntropy));
    // Before the vault hears of it, so that a device that is listed has its key.
    keystore.save(Item::DeviceKey, device.expose())?;
    let mut listed = known;
    let done = keep(home, keystore, key, config, proven, &device, &mut listed);
    if done.is_err() {
        for item in [Item::BackupKey, Item::Login, Item::PasswordVerifier] {
            keystore.remove(item)?;
        }
        if !listed {
            keystore.remove(Item::DeviceKey)?;
        }
    }
    done
}

fn keep(
    home: &Home,
    keystore: &dyn Keystore,
    key: &BackupKey,
    config: &Config,
    proven: Option<Proven<'_>>,
    device: &DeviceSecret,
    listed: &mut bool,
) -> Result<Option<Standing>, ProtectorError> {
    let mut standing = None;
    if let Some(proven) = proven {
        let Proven {
            mut link,
            login,
            password,
            session,
            standing: before,
        } = proven;
        remember(&link, keystore, password, before.generation)?;
        standing = Some(before);
        if let Some(session) = &session {
            let enrolled = link.enrol(device, By::Session(session));
            // An answer that was lost says nothing about what the vault did.
            *listed |= match &enrolled {
                Ok(_) | Err(VaultError::Transport(_) | VaultError::Channel(_)) => true,
                Err(_) => false,
            };
            standing = Some(enrolled?);
        }
        keystore.save(Item::Login, login.token().as_bytes())?;
    }
    keystore.save(Item::BackupKey, key.expose())?;
    home.save_config(config)?;
    Ok(standing)
}
