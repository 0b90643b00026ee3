//! A store in a cloud: S3, WebDAV, and what else the driver (Apache OpenDAL) comes to speak.
//!
//! The driver is asynchronous; this store is not. It owns a small runtime, hands each call to it
//! and waits, looking up now and then whether it was called off. So it can be used from any
//! thread, also from within somebody else's runtime.

mod answer;
mod bare;
mod download;
mod fault;
mod listing;
mod service;
mod transport;

use std::ops::{ControlFlow, Range};

use self::bare::Bare;
use super::body::Body;
use super::credentials::Credentials;
use super::error::StoreError;
use super::path::{ObjectFolder, ObjectPath};
use super::patience::{CalledOff, Patience, Patient};
use super::{Listed, Store, StoreAddress};

/// A cloud as a store.
#[derive(Debug)]
pub struct CloudStore {
    patient: Patient<Bare>,
}

impl CloudStore {
    /// Connects to `address`, which must not be a folder's. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoCredentials`] for S3 without any, [`StoreError::NoMachinery`], and
    /// [`StoreError::Refused`] for an address of another kind.
    pub fn connect(
        address: &StoreAddress,
        credentials: Option<&Credentials>,
        patience: Patience,
        called_off: CalledOff,
    ) -> Result<Self, StoreError> {
        let bare = Bare::connect(address, credentials, &patience, called_off.clone())?;
        Ok(Self {
            patient: Patient::new(bare, patience, called_off),
        })
    }
}

impl Store for CloudStore {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        self.patient.put(path, body)
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.patient.get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.patient.get_into(path, offset, out)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.patient.length(path)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.patient.visit(folder, each)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.patient.delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.patient.flush()
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.patient.adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.patient.free_space()
    }

    fn describe(&self) -> String {
        self.patient.describe()
    }
}
