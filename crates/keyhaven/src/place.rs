//! A store's place: its address and the credentials to it.

use std::path::Path;
use std::sync::Arc;

use keyhaven_secrets::Remedy;

use crate::store::cloud::CloudStore;
use crate::store::patience::{CalledOff, Patience};
use crate::store::{
    AddressError, Credentials, FolderStore, ObjectPath, Store, StoreAddress, StoreError,
};

/// Where a backup is kept, and how to get in.
#[derive(Clone, Debug)]
pub struct Place {
    text: String,
    address: StoreAddress,
    credentials: Option<Arc<Credentials>>,
}

/// A place that cannot be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl PlaceError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Address(cause) => cause.remedy(),
        }
    }
}

impl Place {
    /// The place of that address. A relative folder is taken from the current one, once.
    ///
    /// # Errors
    /// [`PlaceError::Address`] if it is none.
    pub fn parse(address: &str) -> Result<Self, PlaceError> {
        let parsed = StoreAddress::parse(address)?;
        let text = match parsed.folder().map(std::path::absolute) {
            Some(Ok(folder)) => folder.to_string_lossy().into_owned(),
            Some(Err(_)) | None => address.to_owned(),
        };
        let address = StoreAddress::parse(&text)?;
        Ok(Self { text, address, credentials: None })
    }

    /// With credentials, which a cloud wants.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self { credentials: credentials.map(Arc::new), ..self }
    }

    /// The address as the store's driver knows it.
    #[must_use]
    pub fn store_address(&self) -> &StoreAddress {
        &self.address
    }

    /// The address, to be written down.
    #[must_use]
    pub fn address(&self) -> String {
        self.text.clone()
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.address.folder()
    }

    /// Whether it is reached over a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.address.is_remote()
    }

    /// Opens the store that stands there.
    pub(crate) fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self.folder() {
            Some(folder) => Ok(Arc::new(FolderStore::open(folder)?)),
            None => self.connect(),
        }
    }

    /// Prepares the place for a new store; it becomes one when its marker is put.
    pub(crate) fn create(&self) -> Result<Arc<dyn Store>, StoreError> {
        if let Some(folder) = self.folder() {
            return Ok(Arc::new(FolderStore::create(folder)?));
        }
        let store = self.connect()?;
        match store.length(&ObjectPath::marker()) {
            Ok(_) => Err(StoreError::AlreadyAStore { place: store.describe() }),
            Err(StoreError::NotFound { .. }) => Ok(store),
            Err(error) => Err(error),
        }
    }

    fn connect(&self) -> Result<Arc<dyn Store>, StoreError> {
        let store = CloudStore::connect(
            &self.address,
            self.credentials.as_deref(),
            Patience::default(),
            CalledOff::never(),
        )?;
        Ok(Arc::new(store))
    }
}
