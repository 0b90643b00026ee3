//! A store's place: its address and the credentials to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyhaven_secrets::Remedy;

use crate::store::cloud::CloudStore;
use crate::store::patience::{CalledOff, Patience};
use crate::store::{
    AddressError, Credentials, FolderStore, ObjectPath, Store, StoreAddress, StoreError,
};

/// How long a cloud's list is given to show what was put.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// Where a backup is kept, and how to get in.
#[derive(Clone)]
pub struct Place {
    text: String,
    kind: Kind,
    credentials: Option<Arc<Credentials>>,
}

#[derive(Clone)]
enum Kind {
    Address(StoreAddress),
    Given { store: Arc<dyn Store>, remote: bool },
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("address", &self.text)
            .finish_non_exhaustive()
    }
}

/// A place that cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A folder whose whole path is no text, as the configuration holds it.
    #[error(
        "the store's folder has no path that is text (UTF-8); give another one, from its root on"
    )]
    NotText,
}

impl PlaceError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Address(cause) => cause.remedy(),
            Self::NotText => Remedy::AskUser,
        }
    }
}

impl Place {
    /// The place of that address. A relative folder is taken from the current one, once.
    ///
    /// # Errors
    /// [`PlaceError::Address`] if it is none, [`PlaceError::NotText`] if it cannot be written down.
    pub fn parse(address: &str) -> Result<Self, PlaceError> {
        let parsed = StoreAddress::parse(address)?;
        let text = match parsed.folder() {
            Some(folder) => std::path::absolute(folder)
                .ok()
                .and_then(|folder| folder.into_os_string().into_string().ok())
                .ok_or(PlaceError::NotText)?,
            None => address.to_owned(),
        };
        let address = StoreAddress::parse(&text)?;
        Ok(Self {
            text,
            kind: Kind::Address(address),
            credentials: None,
        })
    }

    /// A store of the app's own, under a name for the configuration. The app hands it in again at
    /// each start, by [`Keyhaven::open_at`](crate::Keyhaven::open_at).
    #[must_use]
    pub fn of_store(name: &str, store: Arc<dyn Store>) -> Self {
        Self {
            text: name.to_owned(),
            kind: Kind::Given {
                store,
                remote: false,
            },
            credentials: None,
        }
    }

    /// As [`Place::of_store`], for a store that is reached over a network: a backup seals into the
    /// home's spool, so that no database is held open while something is uploaded, and uploads several
    /// objects at once. What fails in passing is for the store to repeat
    /// ([`Patient`](crate::store::Patient) does).
    #[must_use]
    pub fn of_remote_store(name: &str, store: Arc<dyn Store>) -> Self {
        Self {
            text: name.to_owned(),
            kind: Kind::Given {
                store,
                remote: true,
            },
            credentials: None,
        }
    }

    /// With credentials, which a cloud wants.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self {
            credentials: credentials.map(Arc::new),
            ..self
        }
    }

    /// The address, to be written down.
    #[must_use]
    pub fn address(&self) -> String {
        self.text.clone()
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Address(address) => address.folder(),
            Kind::Given { .. } => None,
        }
    }

    /// Whether it is reached over a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match &self.kind {
            Kind::Address(address) => address.is_remote(),
            Kind::Given { remote, .. } => *remote,
        }
    }

    /// How long a store that seems to have gone back is given before it is looked at once more. The
    /// list of a cloud may lag behind what was put; a folder's never does.
    pub(crate) fn second_look(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Address(address) => address.is_remote().then_some(SECOND_LOOK),
            // An app's own store knows best how long to wait, and has its own patience.
            Kind::Given { remote, .. } => remote.then_some(Duration::ZERO),
        }
    }

    /// Opens the store that stands there.
    pub(crate) fn open(&self, called_off: CalledOff) -> Result<Arc<dyn Store>, StoreError> {
        match self.folder() {
            Some(folder) => Ok(Arc::new(FolderStore::open(folder)?)),
            None => self.connect(called_off),
        }
    }

    /// Prepares the place for a new store; it becomes one when its marker is put.
    pub(crate) fn create(&self) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(folder) = self.folder() {
            return Ok(Arc::new(FolderStore::create(folder)?));
        }
        let store = self.connect(CalledOff::never())?;
        match store.length(&ObjectPath::marker()) {
            Ok(_) => Err(StoreError::AlreadyAStore {
                place: store.describe(),
            }),
            Err(StoreError::NotFound { .. }) => Ok(store),
            Err(error) => Err(error),
        }
    }

    fn connect(&self, called_off: CalledOff) -> Result<Arc<dyn Store>, StoreError> {
        match &self.kind {
            Kind::Given { store, .. } => Ok(Arc::clone(store)),
            Kind::Address(address) => {
                let (credentials, patience) = (self.credentials.as_deref(), Patience::default());
                Ok(Arc::new(CloudStore::connect(
                    address,
                    credentials,
                    patience,
                    called_off,
                )?))
            }
        }
    }
}
