//! What every command stands on: the home, the voice, credentials, and an embedded vault.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keyhaven::store::{Credentials, StoreAddress};
use keyhaven::{Keyhaven, Login, Place};
use keyhaven_secrets::Password;
use zeroize::Zeroizing;

use crate::args::VaultArgs;
use crate::failure::Failure;
use crate::ui::{self, Voice};
use crate::vault::VaultProcess;

/// What a command stands on.
pub(crate) struct World {
    pub(crate) home: PathBuf,
    pub(crate) voice: Voice,
    /// Runs as long as the command.
    embedded: Option<VaultProcess>,
}

/// The account that an embedded vault has, when no other is named.
const OWN_ACCOUNT: &str = "me";

impl World {
    pub(crate) fn new(
        home: Option<PathBuf>,
        embedded: Option<PathBuf>,
        voice: Voice,
    ) -> Result<Self, Failure> {
        let home = match home {
            Some(home) => home,
            None => default_home()?,
        };
        let embedded = match embedded {
            Some(data) => {
                // A device that knows the vault looks for it where it was.
                let known = keyhaven::home::Home::new(&home)
                    .config()
                    .ok()
                    .and_then(|config| config.vault)
                    .and_then(|vault| crate::vault::port_of(&vault.address));
                Some(VaultProcess::start(&data, known.unwrap_or(0))?)
            }
            None => None,
        };
        Ok(Self {
            home,
            voice,
            embedded,
        })
    }

    /// The device that is set up in the home.
    pub(crate) fn open(&self) -> Result<Keyhaven, Failure> {
        let address = keyhaven::home::Home::new(&self.home).config()?.store;
        Ok(Keyhaven::open(&self.home, credentials(&address)?)?)
    }

    /// A store's place, with the credentials that the environment gives.
    pub(crate) fn place(address: &str) -> Result<Place, Failure> {
        Ok(Place::parse(address)?.with_credentials(credentials(address)?))
    }

    /// Where the person's vault record is: what was given, or the embedded vault.
    pub(crate) fn login(&self, args: &VaultArgs) -> Result<Option<Login>, Failure> {
        let (address, account, token) = match (&args.address, &self.embedded) {
            (Some(address), _) => {
                let account = match &args.account {
                    Some(account) => account.clone(),
                    None => ui::ask("Your account's name at the vault")?,
                };
                let token = match &args.login_file {
                    Some(file) => ui::secret_from(file)?,
                    None => ui::ask_secret("The login token of your account")?,
                };
                (address.clone(), account, token)
            }
            (None, Some(vault)) => {
                let account = args
                    .account
                    .clone()
                    .unwrap_or_else(|| OWN_ACCOUNT.to_owned());
                let token = match &args.login_file {
                    Some(file) => ui::secret_from(file)?,
                    None => vault.account(&account)?,
                };
                (vault.address().to_owned(), account, token)
            }
            (None, None) => return Ok(None),
        };
        let login = Login::new(&address, &account, token).context("the vault cannot be used")?;
        Ok(Some(login))
    }

    /// A password from a file, or asked for; a new one is asked for twice.
    pub(crate) fn password(
        &self,
        file: Option<&Path>,
        question: &str,
        new: bool,
    ) -> Result<Password, Failure> {
        if let Some(file) = file {
            return Ok(Password::parse(&ui::secret_from(file)?)?);
        }
        loop {
            let typed = ui::ask_secret(question)?;
            if new && *ui::ask_secret("The same again")? != *typed {
                self.voice.warn("The two differ; once more, please.");
                continue;
            }
            return Ok(Password::parse(&typed)?);
        }
    }

    /// The 64 digits from a file, or asked for.
    pub(crate) fn digits(&self, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
        Ok(match file {
            Some(file) => ui::secret_from(file)?,
            None => ui::ask_secret("The 64 digits")?,
        })
    }
}

fn default_home() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(data) = set("XDG_DATA_HOME") {
        return Ok(PathBuf::from(data).join("keyhaven"));
    }
    set("HOME")
        .map(|home| PathBuf::from(home).join(".local/share/keyhaven"))
        .ok_or_else(|| Failure::ask("there is no home folder; give one with --home"))
}

fn credentials(address: &str) -> Result<Option<Credentials>, Failure> {
    let address = StoreAddress::parse(address).map_err(keyhaven::PlaceError::from)?;
    if let Some(file) = std::env::var_os("KEYHAVEN_STORE_CREDENTIALS") {
        return Ok(Some(Credentials::from_file(Path::new(&file))?));
    }
    Ok(Credentials::from_variables(&address, |name| {
        std::env::var(name).ok()
    })?)
}
