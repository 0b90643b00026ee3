//! The password at the vault: set, prove, change; the guesses that it has; waits and devices.

use keyhaven_secrets::{BackupKey, Password, Remedy, WeakPassword};
use keyhaven_vault_client::{
    Alarm, DeviceKey, DeviceSecret, Different, Generation, HostTime, RegisterBy,
    RememberedPassword, Standing, VaultError, VerifierError, Wait,
};

use crate::haven::{Keyhaven, OpenError};
use crate::home::{Config, Home, VaultConfig};
use crate::keystore::{Item, Keystore, KeystoreError};
use crate::protect::ProtectorError;
use crate::vault::{Link, Login, forget_removal};

/// Whether the last guess may be spent. If it is wrong, the vault destroys the backup key for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastGuess {
    /// It is kept: nothing is sent.
    #[default]
    Keep,
    /// The person has said that it may be.
    Use,
}

/// A password cannot be proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuessError {
    /// It would be the last guess, and nobody has said that it may be spent.
    #[error(
        "only the last guess is left: if it is wrong, the vault destroys the backup key for good. \
         Nothing was sent"
    )]
    LastGuess,
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl GuessError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::LastGuess => Remedy::AskUser,
            Self::Vault(cause) => cause.remedy(),
        }
    }
}

/// A password cannot be registered and proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// An attempt that was cut off is settled now, and what was typed for it is not known.
    #[error(
        "an earlier attempt to set a password was cut off, and is finished now: the password that \
         was typed then counts. Nothing was guessed. Give the password that you want once more"
    )]
    EarlierPassword,
    /// The password is too easy to guess.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// It cannot be proven.
    #[error(transparent)]
    Guess(#[from] GuessError),
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// What this device remembers of the password.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
    /// The vault returned another key than the one that was registered.
    #[error("the vault returned another key than the one that it was given; do not use it")]
    WrongKeyBack,
}

impl From<VaultError> for RegisterError {
    fn from(error: VaultError) -> Self {
        Self::Guess(error.into())
    }
}

impl RegisterError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Guess(cause) => cause.remedy(),
            Self::Verifier(cause) => cause.remedy(),
            Self::EarlierPassword | Self::Weak(_) | Self::Keystore(_) => Remedy::AskUser,
            Self::WrongKeyBack => Remedy::Stop,
        }
    }
}

/// Why the vault should take a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The account has no password, or an earlier attempt of this device set it.
    First,
    /// This device is listed.
    Device,
    /// The wait for a fresh start is over.
    FreshStart,
}

/// A password on its way to the vault.
pub(crate) struct Registering<'a> {
    pub(crate) link: &'a mut Link,
    pub(crate) keystore: &'a dyn Keystore,
    pub(crate) key: &'a BackupKey,
    pub(crate) device: &'a DeviceSecret,
}

impl Registering<'_> {
    /// Registers the password, remembers it, and proves it by getting the key back.
    pub(crate) fn run(
        mut self,
        password: &Password,
        why: Why,
        last: LastGuess,
    ) -> Result<(), RegisterError> {
        password.judge(&[])?;
        // What is typed now may not be what was typed then: to prove it would spend a guess of its
        // owner's on a password that he never believed to be set.
        if self.link.settle()? {
            return Err(RegisterError::EarlierPassword);
        }
        let generation = match why {
            Why::First => self.first(password)?,
            Why::Device => {
                let different = self.different(password)?;
                if different.is_none() {
                    self.link.spare(last)?;
                }
                self.by_device(password, different)?
            }
            Why::FreshStart => {
                self.link
                    .register(password, self.key, self.device, RegisterBy::FreshStart)?
            }
        };
        remember(self.link, self.keystore, password, generation)?;
        let back = self.link.recover(password, Some(self.device), last)?;
        if back.key == *self.key {
            Ok(())
        } else {
            Err(RegisterError::WrongKeyBack)
        }
    }

    fn first(&mut self, password: &Password) -> Result<Generation, RegisterError> {
        let by = RegisterBy::First;
        match self.link.register(password, self.key, self.device, by) {
            // An earlier attempt came this far, and was not finished. Its device key was kept: if
            // the record lists it, this device may say what the password is (VAULT-7).
            Err(VaultError::AlreadyRegistered) => {
                let different = self.different(password)?;
                match self.by_device(password, different) {
                    // Of a record that is another device's, what was said first stands.
                    Err(VaultError::DeviceNotListed) => Err(VaultError::AlreadyRegistered.into()),
                    done => Ok(done?),
                }
            }
            done => Ok(done?),
        }
    }

    fn by_device(
        &mut self,
        password: &Password,
        different: Option<Different>,
    ) -> Result<Generation, VaultError> {
        let by = RegisterBy::Device {
            secret: self.device,
            different,
        };
        self.link.register(password, self.key, self.device, by)
    }

    /// VAULT-7: evidence that this is not the registered password, from what is remembered of that
    /// one. What is damaged or missing is no evidence, and what was spent stays spent.
    fn different(&self, password: &Password) -> Result<Option<Different>, RegisterError> {
        let Some(kept) = self.keystore.load(Item::PasswordVerifier)? else {
            return Ok(None);
        };
        match RememberedPassword::decode(&kept) {
            Ok(remembered) => Ok(remembered.check_different(password)?),
            Err(_) => Ok(None),
        }
    }
}

/// Keeps what is remembered of a password that counts.
pub(crate) fn remember(
    link: &Link,
    keystore: &dyn Keystore,
    password: &Password,
    generation: Generation,
) -> Result<(), RegisterError> {
    let remembered = link.remember(password, generation)?;
    Ok(keystore.save(Item::PasswordVerifier, &remembered.encode())?)
}

impl Keyhaven {
    /// Adds a password to a device that has none, and proves it.
    ///
    /// # Errors
    /// [`ProtectorError`].
    pub fn set_password(&self, login: &Login, password: &Password) -> Result<(), ProtectorError> {
        let _lock = self.home.lock()?;
        let config = self.without_password()?;
        forget_removal(&self.home.vault()).map_err(VaultError::from)?;
        self.register(login, password, Why::First, LastGuess::Keep)?;
        self.use_login(login, config)
    }

    /// Takes the password that the account has already, set by another of the owner's devices:
    /// proves it, sees that it returns this device's key, and has this device listed.
    ///
    /// # Errors
    /// [`ProtectorError::OtherKey`] where the password protects another backup, and others.
    pub fn use_existing_password(
        &self,
        login: &Login,
        password: &Password,
        last: LastGuess,
    ) -> Result<Standing, ProtectorError> {
        let _lock = self.home.lock()?;
        let config = self.without_password()?;
        forget_removal(&self.home.vault()).map_err(VaultError::from)?;
        let mut link = Link::open(login, &self.home.vault())?;
        let back = link.recover(password, None, last)?;
        if back.key != self.backup_key()? {
            return Err(ProtectorError::OtherKey);
        }
        remember(
            &link,
            self.keystore.as_ref(),
            password,
            back.standing.generation,
        )?;
        let standing = match &back.session {
            Some(session) => {
                link.enrol(&self.device()?, keyhaven_vault_client::By::Session(session))?
            }
            None => return Err(VaultError::Overtaken.into()),
        };
        self.use_login(login, config)?;
        Ok(standing)
    }

    /// Changes the password. The device signs for it; guesses that were spent stay spent, unless
    /// what it remembers of the old password shows that the new one is different.
    ///
    /// # Errors
    /// [`ProtectorError`]; the old password still stands unless the vault acknowledged the new one.
    pub fn change_password(
        &self,
        password: &Password,
        last: LastGuess,
    ) -> Result<(), ProtectorError> {
        let _lock = self.home.lock()?;
        let login = self.login()?.ok_or(OpenError::NoPassword)?;
        self.register(&login, password, Why::Device, last)
    }

    /// Checks that the password is still known, by getting the key back with it. A wrong one costs
    /// a guess, and a right one gives back what was spent.
    ///
    /// # Errors
    /// [`ProtectorError`].
    pub fn check_password(
        &self,
        password: &Password,
        last: LastGuess,
    ) -> Result<Standing, ProtectorError> {
        let _lock = self.home.lock()?;
        let mut link = self.link()?.ok_or(OpenError::NoPassword)?;
        let back = link.recover(password, Some(&self.device()?), last)?;
        if back.key != self.backup_key()? {
            return Err(RegisterError::WrongKeyBack.into());
        }
        remember(
            &link,
            self.keystore.as_ref(),
            password,
            back.standing.generation,
        )?;
        Ok(back.standing)
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
        let Some(mut link) = self.link()? else {
            return self.finish_removal();
        };
        match link.delete(&self.device()?) {
            // Deleted before, and this device did not live to write it down.
            Ok(_) | Err(VaultError::NoRecord { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        link.forget().map_err(VaultError::from)?;
        // In this order: see `finish_removal`.
        self.keystore.remove(Item::PasswordVerifier)?;
        self.home.save_config(&Config {
            vault: None,
            ..config
        })?;
        self.remove_login()
    }

    /// The last of a removal.
    fn remove_login(&self) -> Result<(), ProtectorError> {
        forget_removal(&self.home.vault()).map_err(VaultError::from)?;
        Ok(self.keystore.remove(Item::Login)?)
    }

    /// Where no password is configured: a removal that was cut off has left the login alone. A password that was being *set*
    /// has left what is remembered of it, too; its record stands, and only `password set` can finish that.
    fn finish_removal(&self) -> Result<(), ProtectorError> {
        let is_left = self.keystore.load(Item::Login)?.is_some()
            && self.keystore.load(Item::PasswordVerifier)?.is_none();
        match is_left {
            true => self.remove_login(),
            false => Err(OpenError::NoPassword.into()),
        }
    }

    /// How the account stands at the vault, and what the owner must be told at once. Free.
    ///
    /// # Errors
    /// [`ProtectorError::RemovalCutOff`] where the record is gone because this device had it destroyed, and others.
    pub fn standing(&self) -> Result<Option<(Standing, Option<Alarm>)>, ProtectorError> {
        let Some(mut link) = self.link()? else {
            return Ok(None);
        };
        let standing = link.standing(&self.device()?);
        let is_cut_off = link.is_removal_cut_off(&standing);
        if is_cut_off.map_err(VaultError::from)? {
            return Err(ProtectorError::RemovalCutOff);
        }
        Ok(Some(standing?))
    }

    /// Cancels a wait that somebody began.
    ///
    /// # Errors
    /// [`ProtectorError`]: no wait runs, or it was cancelled twice already.
    pub fn cancel_wait(&self, wait: Wait) -> Result<Standing, ProtectorError> {
        let _lock = self.home.lock()?;
        let mut link = self.link()?.ok_or(OpenError::NoPassword)?;
        Ok(link.cancel_wait(wait, &self.device()?)?)
    }

    /// Lifts the lifetime cap on wrong guesses: as many again may be made.
    ///
    /// # Errors
    /// [`ProtectorError`].
    pub fn allow_more_guesses(&self) -> Result<Standing, ProtectorError> {
        let _lock = self.home.lock()?;
        let mut link = self.link()?.ok_or(OpenError::NoPassword)?;
        Ok(link.lift_cap(&self.device()?)?)
    }

    /// Strikes a device off the account's list: it can no longer change anything at the vault. What
    /// it has of the backup key it keeps.
    ///
    /// # Errors
    /// [`ProtectorError`].
    pub fn remove_device(&self, device: DeviceKey) -> Result<Standing, ProtectorError> {
        let _lock = self.home.lock()?;
        let mut link = self.link()?.ok_or(OpenError::NoPassword)?;
        Ok(link.strike(device, &self.device()?)?)
    }

    /// This device's own key on the account's list.
    ///
    /// # Errors
    /// [`OpenError::Lost`].
    pub fn device_key(&self) -> Result<DeviceKey, OpenError> {
        Ok(self.device()?.public())
    }

    fn without_password(&self) -> Result<Config, ProtectorError> {
        let config = self.home.config()?;
        match config.vault {
            Some(_) => Err(ProtectorError::HasPassword),
            None => Ok(config),
        }
    }

    fn use_login(&self, login: &Login, config: Config) -> Result<(), ProtectorError> {
        self.keystore.save(Item::Login, login.token().as_bytes())?;
        let vault = Some(VaultConfig::of(login));
        Ok(self.home.save_config(&Config { vault, ..config })?)
    }

    fn register(
        &self,
        login: &Login,
        password: &Password,
        why: Why,
        last: LastGuess,
    ) -> Result<(), ProtectorError> {
        let (key, device) = (self.backup_key()?, self.device()?);
        let registering = Registering {
            link: &mut Link::open(login, &self.home.vault())?,
            keystore: self.keystore.as_ref(),
            key: &key,
            device: &device,
        };
        Ok(registering.run(password, why, last)?)
    }
}

/// An account at a vault, as anybody sees it who has its login: from a new device, or from none.
pub struct Account {
    link: Link,
}

impl Account {
    /// Connects. What must outlive a crash is kept in `home`, which need not be set up.
    ///
    /// # Errors
    /// The vault's.
    pub fn open(login: &Login, home: &std::path::Path) -> Result<Self, ProtectorError> {
        let link = Link::open(login, &Home::new(home).vault())?;
        Ok(Self { link })
    }

    /// How the account stands: guesses left, attempts, waits. Free.
    ///
    /// # Errors
    /// The vault's.
    pub fn standing(&self) -> Result<Standing, ProtectorError> {
        Ok(self.link.public_standing()?)
    }

    /// Begins a wait, of which the owner's devices are told and which they can cancel. When it is
    /// over, by the vault's clock.
    ///
    /// # Errors
    /// The vault's.
    pub fn begin_wait(&self, wait: Wait) -> Result<HostTime, ProtectorError> {
        Ok(self.link.begin_wait(wait)?)
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}
