//! The password's path: one account at one vault, and what this device remembers of it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use keyhaven_secrets::{BackupKey, Password};
use keyhaven_vault_client::{
    AccountError, AccountName, AddressError, Alarm, BundleMemory, By, DeviceKey, DeviceSecret,
    DigestBytes, FleetId, Freshness, Generation, HostTime, HttpTransport, Journal, JournalError,
    Known, MemoryError, Pin, Policy, RecordState, Recovered, RegisterBy, RememberedPassword, Seen,
    Slot, Standing, Token, TokenError, TransportError, UnixSeconds, Vault, VaultAddress,
    VaultError, VerifierError, Wait,
};
use zeroize::Zeroizing;

use crate::engine::entropy::OsEntropy;
use crate::files::{self, Mode};
use crate::home::{NOTED, REMOVING};
use crate::password::{GuessError, LastGuess};
use crate::store::patience::CalledOff;

/// Where a person's vault record is, and the login to its account.
#[derive(Clone)]
pub struct Login {
    address: VaultAddress,
    account: AccountName,
    token: Zeroizing<String>,
}

/// A vault's address, an account or a token that cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The address.
    #[error("the vault's address is not one")]
    Address(#[from] AddressError),
    /// The account.
    #[error("the account's name is not one")]
    Account(#[from] AccountError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Login {
    /// Checks the form of the three.
    ///
    /// # Errors
    /// [`LoginError`] naming which of them is not well-formed.
    pub fn new(address: &str, account: &str, token: Zeroizing<String>) -> Result<Self, LoginError> {
        Token::parse(&token)?;
        Ok(Self {
            address: address.parse()?,
            account: AccountName::parse(account)?,
            token,
        })
    }

    /// The vault's address with its pin.
    #[must_use]
    pub fn address(&self) -> &VaultAddress {
        &self.address
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether the vault runs on this very machine, by its address.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        let origin = self.address.origin();
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
            None => host.split([':', '/']).next().unwrap_or_default(),
        };
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A connection to a vault, with this device's journal.
pub(crate) struct Link {
    vault: Vault<HttpTransport>,
    journal: FolderJournal,
    bundle: PathBuf,
    known: PathBuf,
}

impl Link {
    /// Connects, keeping what must outlive a crash in `folder`.
    pub(crate) fn open(login: &Login, folder: &Path) -> Result<Self, VaultError> {
        Self::open_until(login, folder, CalledOff::never())
    }

    /// The same, for as long as nobody calls it off.
    pub(crate) fn open_until(
        login: &Login,
        folder: &Path,
        called_off: CalledOff,
    ) -> Result<Self, VaultError> {
        let token = Token::parse(login.token())
            .map_err(|_| VaultError::Transport(TransportError::Denied))?;
        let transport = HttpTransport::new(&login.address, token)?
            .called_off_when(move || called_off.check().is_err());
        let bundle = folder.join("bundle");
        let mut memory = FolderMemory {
            path: bundle.clone(),
        };
        let policy = Policy::default();
        let (address, account) = (&login.address, &login.account);
        let vault = Vault::connect(address, account, transport, &mut memory, unix_now(), policy)?;
        let journal = FolderJournal {
            folder: folder.to_path_buf(),
        };
        Ok(Self {
            vault,
            journal,
            bundle,
            known: folder.join("known"),
        })
    }

    /// Settles a registration that was cut off, by sending the same bytes again: a host that
    /// swallows acknowledgements gains no guesses (VAULT-7). Whether there was one that counts now;
    /// what was typed for it is not known here.
    pub(crate) fn settle(&mut self) -> Result<bool, VaultError> {
        match self
            .vault
            .finish_registration(&mut self.journal, &mut OsEntropy)
        {
            Ok(Some(settled)) => {
                self.note_standing(&settled.standing);
                Ok(true)
            }
            Ok(None) | Err(VaultError::RegistrationLost) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a registration was cut off and waits to be settled.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.journal
            .load(Slot::Registration)
            .is_ok_and(|entry| entry.is_some())
    }

    /// Registers a password for a key, to be proven afterwards.
    pub(crate) fn register(
        &mut self,
        password: &Password,
        key: &BackupKey,
        device: &DeviceSecret,
        by: RegisterBy<'_>,
    ) -> Result<Generation, VaultError> {
        let device = Some(device.public());
        let entropy = &mut OsEntropy;
        let done = self
            .vault
            .register(&mut self.journal, password, key, device, by, entropy)?;
        self.note_standing(&done.standing);
        Ok(done.generation)
    }

    /// What to remember of a password that the vault has acknowledged or that was just proven.
    pub(crate) fn remember(
        &self,
        password: &Password,
        generation: Generation,
    ) -> Result<RememberedPassword, VerifierError> {
        self.vault.remember(password, generation, &mut OsEntropy)
    }

    /// Refuses where a guess would be the last one and nobody has said that it may be: after it a
    /// wrong one has destroyed the backup key for good. Free.
    pub(crate) fn spare(&self, last: LastGuess) -> Result<(), GuessError> {
        let standing = self.vault.standing(None, &mut OsEntropy)?;
        let is_last = standing.state == RecordState::Live && standing.guesses_left <= 1;
        match last {
            LastGuess::Keep if is_last => Err(GuessError::LastGuess),
            LastGuess::Keep | LastGuess::Use => Ok(()),
        }
    }

    /// Gets the key back by the password. Spends a guess, which the right password gives back.
    pub(crate) fn recover(
        &mut self,
        password: &Password,
        device: Option<&DeviceSecret>,
        last: LastGuess,
    ) -> Result<Recovered, GuessError> {
        self.spare(last)?;
        let recovered = self
            .vault
            .recover(&mut self.journal, password, device, &mut OsEntropy)?;
        self.note_standing(&recovered.standing);
        Ok(recovered)
    }

    /// How the account stands for anybody with its login. Free.
    pub(crate) fn public_standing(&self) -> Result<Standing, VaultError> {
        self.vault.standing(None, &mut OsEntropy)
    }

    /// Whether the record lists this device.
    pub(crate) fn lists(&self, device: &DeviceSecret) -> Result<bool, VaultError> {
        match self.vault.standing(Some(device), &mut OsEntropy) {
            Ok(_) => Ok(true),
            Err(VaultError::DeviceNotListed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins a wait: the login is enough, and the owner's devices can cancel it.
    pub(crate) fn begin_wait(&self, wait: Wait) -> Result<HostTime, VaultError> {
        match wait {
            Wait::LastGuesses => self.vault.begin_last_guesses(&mut OsEntropy),
            Wait::FreshStart => self.vault.begin_fresh_start(&mut OsEntropy),
        }
    }

    /// Cancels a wait.
    pub(crate) fn cancel_wait(
        &mut self,
        wait: Wait,
        device: &DeviceSecret,
    ) -> Result<Standing, VaultError> {
        let entropy = &mut OsEntropy;
        let standing = self
            .vault
            .cancel_wait(&mut self.journal, wait, device, entropy)?;
        self.note_standing(&standing);
        Ok(standing)
    }

    /// Lifts the lifetime cap on wrong guesses.
    pub(crate) fn lift_cap(&mut self, device: &DeviceSecret) -> Result<Standing, VaultError> {
        let standing = self
            .vault
            .lift_cap(&mut self.journal, device, &mut OsEntropy)?;
        self.note_standing(&standing);
        Ok(standing)
    }

    /// Strikes a device off the list.
    pub(crate) fn strike(
        &mut self,
        struck: DeviceKey,
        device: &DeviceSecret,
    ) -> Result<Standing, VaultError> {
        let by = By::Device(device);
        let standing = self
            .vault
            .remove_device(&mut self.journal, struck, by, &mut OsEntropy)?;
        self.note_standing(&standing);
        Ok(standing)
    }

    /// Lists this device's key, after the password was proven.
    pub(crate) fn enrol(
        &mut self,
        device: &DeviceSecret,
        by: By<'_>,
    ) -> Result<Standing, VaultError> {
        let standing =
            self.vault
                .add_device(&mut self.journal, device.public(), by, &mut OsEntropy)?;
        self.note_standing(&standing);
        Ok(standing)
    }

    /// Notes the newest snapshot that was read back (BACKUP-4).
    pub(crate) fn note(
        &mut self,
        sequence: u64,
        digest: [u8; 32],
        device: &DeviceSecret,
    ) -> Result<Standing, VaultError> {
        let newest = Freshness {
            sequence,
            digest: DigestBytes::new(digest),
        };
        let by = By::Device(device);
        let standing = self
            .vault
            .note_freshness(&mut self.journal, newest, by, &mut OsEntropy)?;
        self.note_standing(&standing);
        Ok(standing)
    }

    /// Destroys the record. That it was to be destroyed is on the disk before the vault hears of it, or the owner would be
    /// alarmed where the answer is lost.
    pub(crate) fn delete(&mut self, device: &DeviceSecret) -> Result<Standing, VaultError> {
        let by = By::Device(device);
        files::replace(&self.removing(), &[], Mode::Private).map_err(|error| {
            VaultError::from(JournalError::Io {
                did: "written",
                kind: error.kind(),
            })
        })?;
        let standing = self.vault.delete(&mut self.journal, by, &mut OsEntropy)?;
        self.note_standing(&standing);
        Ok(standing)
    }

    /// Whether the record is there no more, and this device had set about destroying it. Where it is there, nothing came of
    /// that: if it goes later, the owner hears of it.
    pub(crate) fn is_removal_cut_off(
        &self,
        standing: &Result<(Standing, Option<Alarm>), VaultError>,
    ) -> Result<bool, JournalError> {
        let state = match standing {
            Ok((standing, _)) => standing.state,
            Err(VaultError::NoRecord { state }) => *state,
            Err(_) => return Ok(false),
        };
        match state {
            RecordState::Deleted => Ok(self.removing().exists()),
            RecordState::Live => clear(&self.removing()).map(|()| false),
            RecordState::Vacant | RecordState::Destroyed => Ok(false),
        }
    }

    fn removing(&self) -> PathBuf {
        self.journal.folder.join(REMOVING)
    }

    /// Forgets the vault, whose record is destroyed: what is remembered of this fleet and this record
    /// would be held against the next ones, and what was still to be sent here would be sent there.
    pub(crate) fn forget(mut self) -> Result<(), JournalError> {
        for slot in Slot::ALL {
            self.journal.clear(slot)?;
        }
        clear(&self.known)?;
        clear(&self.bundle)?;
        clear(&self.journal.folder.join(NOTED))?;
        // For good: nothing else is written here that would flush it.
        flush_cleared(&self.journal.folder)
    }

    /// How the account stands, and what the owner must be told about it at once.
    pub(crate) fn standing(
        &mut self,
        device: &DeviceSecret,
    ) -> Result<(Standing, Option<Alarm>), VaultError> {
        let Some(known) = self.known() else {
            let standing = self.vault.standing(Some(device), &mut OsEntropy)?;
            self.note_standing(&standing);
            return Ok((standing, None));
        };
        let (standing, alarm) = self.vault.watch(device, &known, &mut OsEntropy)?;
        // What alarmed is not remembered: the owner is told again until it is settled.
        if alarm.is_none() {
            self.note_standing(&standing);
        }
        Ok((standing, alarm))
    }

    fn known(&self) -> Option<Known> {
        Known::decode(&files::read_small(&self.known, STATE_BYTES_MAX).ok()?)
    }

    fn note_standing(&self, standing: &Standing) {
        let known = Known::of(standing, self.known().as_ref());
        // What cannot be remembered is told again next time: an alarm too many, never one too few.
        let _ = files::replace(&self.known, &known.encode(), Mode::Private);
    }
}

fn unix_now() -> UnixSeconds {
    UnixSeconds(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}

/// Journal entries are a few hundred bytes.
const STATE_BYTES_MAX: u64 = 64 * 1024;

/// A journal of files, one a slot, each replaced whole and flushed.
struct FolderJournal {
    folder: PathBuf,
}

impl FolderJournal {
    fn path(&self, slot: Slot) -> PathBuf {
        self.folder.join(slot.name())
    }
}

impl Journal for FolderJournal {
    fn load(&self, slot: Slot) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError> {
        match files::read_small(&self.path(slot), STATE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::Io {
                did: "read",
                kind: error.kind(),
            }),
        }
    }

    fn store(&mut self, slot: Slot, entry: &[u8]) -> Result<(), JournalError> {
        files::create_private_folder(&self.folder)
            .and_then(|()| files::replace(&self.path(slot), entry, Mode::Private))
            .map_err(|error| JournalError::Io {
                did: "written",
                kind: error.kind(),
            })
    }

    fn clear(&mut self, slot: Slot) -> Result<(), JournalError> {
        clear(&self.path(slot))
    }
}

/// Forgets, for good, that a record was to be destroyed: nothing is left of it.
pub(crate) fn forget_removal(folder: &Path) -> Result<(), JournalError> {
    if !folder.exists() {
        return Ok(());
    }
    clear(&folder.join(REMOVING))?;
    flush_cleared(folder)
}

fn flush_cleared(folder: &Path) -> Result<(), JournalError> {
    files::sync_folder(folder).map_err(|error| JournalError::Io {
        did: "cleared",
        kind: error.kind(),
    })
}

/// Removes a file; one that is not there is no error.
fn clear(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(JournalError::Io {
            did: "cleared",
            kind: error.kind(),
        }),
        _ => Ok(()),
    }
}

/// Remembers the newest bundle: pin (32 bytes), fleet (32), serial (8, big-endian).
struct FolderMemory {
    path: PathBuf,
}

impl BundleMemory for FolderMemory {
    fn newest(&self, pin: &Pin) -> Result<Option<Seen>, MemoryError> {
        let bytes = match files::read_small(&self.path, STATE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(MemoryError::Io {
                    did: "read",
                    kind: error.kind(),
                });
            }
        };
        let damaged = MemoryError::Io {
            did: "read",
            kind: std::io::ErrorKind::InvalidData,
        };
        let (known, rest) = bytes.split_first_chunk::<32>().ok_or(damaged)?;
        let (fleet, serial) = rest.split_first_chunk::<32>().ok_or(damaged)?;
        let serial: [u8; 8] = serial.try_into().map_err(|_| damaged)?;
        if known != pin.as_bytes() {
            return Ok(None);
        }
        Ok(Some(Seen {
            fleet: FleetId::new(*fleet),
            serial: u64::from_be_bytes(serial),
        }))
    }

    fn remember(&mut self, pin: &Pin, seen: Seen) -> Result<(), MemoryError> {
        let mut bytes = pin.as_bytes().to_vec();
        bytes.extend_from_slice(seen.fleet.as_bytes());
        bytes.extend_from_slice(&seen.serial.to_be_bytes());
        let folder = self.path.parent().unwrap_or(Path::new("."));
        files::create_private_folder(folder)
            .and_then(|()| files::replace(&self.path, &bytes, Mode::Private))
            .map_err(|error| MemoryError::Io {
                did: "written",
                kind: error.kind(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str) -> Login {
        let pin = Pin::from_bytes([7; 32]);
        let address = format!("{address}/#{pin}");
        Login::new(&address, "amara", Zeroizing::new("token".to_owned())).unwrap()
    }

    #[test]
    fn a_vault_on_this_machine_is_told_by_its_address() {
        for here in [
            "http://127.0.0.1:8420",
            "http://[::1]:8420",
            "http://localhost:1",
        ] {
            assert!(login(here).is_on_this_machine(), "{here}");
        }
        for away in ["https://vault.example", "https://127.example:1"] {
            assert!(!login(away).is_on_this_machine(), "{away}");
        }
    }

    #[test]
    fn a_login_in_a_log_shows_no_token() {
        assert!(
            !format!("{:?}", login("http://localhost:1")).contains("token"),
            "BACKUP-3"
        );
    }

    #[test]
    fn the_newest_bundle_of_a_pin_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let pin = Pin::from_bytes([1; 32]);
        let mut memory = FolderMemory {
            path: folder.path().join("vault/bundle"),
        };
        assert_eq!(memory.newest(&pin).unwrap(), None);
        let seen = Seen {
            fleet: FleetId::new([3; 32]),
            serial: 9,
        };
        memory.remember(&pin, seen).unwrap();
        assert_eq!(memory.newest(&pin).unwrap(), Some(seen));
        assert_eq!(memory.newest(&Pin::from_bytes([2; 32])).unwrap(), None);
    }
}
