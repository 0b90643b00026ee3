//! Reading sealed bytes back: single extents, by the frames that hold them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::pack::{Footer, PackError, PackKind, PackReader};

use super::outbox::path_of;
use crate::store::{Store, StoreError};

/// Sealed bytes could not be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The store did not give them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store gave is not what was stored.
    #[error("pack {pack} is damaged or was exchanged: {cause}")]
    Damaged {
        /// The pack's name in the store.
        pack: PackName,
        /// What is wrong with it.
        cause: PackError,
    },
}

impl FetchError {
    /// The pack that is missing or damaged, if it is one that failed.
    pub(crate) fn pack(&self) -> Option<PackName> {
        match self {
            Self::Store(error) => PackName::parse_path(error.object()?.as_str()).ok(),
            Self::Damaged { pack, .. } => Some(*pack),
        }
    }
}

/// Headers that are kept: a few hundred bytes each.
const READERS_MAX: usize = 512;

type Readers = HashMap<(PackName, PackKind), Arc<PackReader>>;

/// Reads extents from a store. Each thread has its own; clones share the headers that they have read.
pub(crate) struct Fetcher {
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    readers: Arc<Mutex<Readers>>,
    sealed: Vec<u8>,
}

impl Clone for Fetcher {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            keyring: Arc::clone(&self.keyring),
            readers: Arc::clone(&self.readers),
            sealed: Vec::new(),
        }
    }
}

impl Fetcher {
    pub(crate) fn new(store: Arc<dyn Store>, keyring: Arc<Keyring>) -> Self {
        Self {
            store,
            keyring,
            readers: Arc::default(),
            sealed: Vec::new(),
        }
    }

    /// Opens an extent and hands its pieces, in order, to `each`.
    pub(crate) fn extent(
        &mut self,
        extent: &Extent,
        kind: PackKind,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), FetchError> {
        let damaged = |cause| FetchError::Damaged {
            pack: extent.pack,
            cause,
        };
        let reader = self.reader(extent.pack, kind)?;
        let range = reader.range(extent).map_err(damaged)?;
        let len = range.end.saturating_sub(range.start);
        let len = usize::try_from(len).map_err(|_| damaged(PackError::NotHere))?;
        self.sealed.resize(len, 0);
        let path = path_of(&extent.pack.path());
        self.store.get_into(&path, range.start, &mut self.sealed)?;
        for piece in reader.open(extent, &mut self.sealed).map_err(damaged)? {
            each(piece);
        }
        Ok(())
    }

    /// Opens an extent into `out`, replacing what it held.
    pub(crate) fn extent_into(
        &mut self,
        extent: &Extent,
        kind: PackKind,
        out: &mut Vec<u8>,
    ) -> Result<(), FetchError> {
        out.clear();
        self.extent(extent, kind, |piece| out.extend_from_slice(piece))
    }

    /// How much of a pack is content, whatever its kind. Its reader is not kept.
    pub(crate) fn footer(&mut self, pack: PackName) -> Result<Footer, FetchError> {
        let damaged = |cause| FetchError::Damaged { pack, cause };
        let path = path_of(&pack.path());
        let start = self.store.get(&path, Some(0..PackReader::HEADER_BYTES))?;
        let reader = PackReader::new_any(pack, &self.keyring, &start).map_err(damaged)?;
        let extent = reader.footer();
        let range = reader.range(&extent).map_err(damaged)?;
        let mut sealed = self.store.get(&path, Some(range))?;
        let mut bytes = Vec::new();
        let slices = reader.open(&extent, &mut sealed).map_err(damaged)?;
        slices.append_to(&mut bytes);
        reader.read_footer(&bytes).map_err(damaged)
    }

    fn reader(&self, pack: PackName, kind: PackKind) -> Result<Arc<PackReader>, FetchError> {
        let readers = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = readers().get(&(pack, kind)) {
            return Ok(Arc::clone(reader));
        }
        let header = self
            .store
            .get(&path_of(&pack.path()), Some(0..PackReader::HEADER_BYTES))?;
        let reader = PackReader::new(pack, kind, &self.keyring, &header)
            .map_err(|cause| FetchError::Damaged { pack, cause })?;
        let reader = Arc::new(reader);
        let mut readers = readers();
        if readers.len() >= READERS_MAX {
            readers.clear();
        }
        readers.insert((pack, kind), Arc::clone(&reader));
        Ok(reader)
    }
}
