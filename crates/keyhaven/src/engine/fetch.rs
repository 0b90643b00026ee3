//! Reading sealed bytes back: extents, by the frames that hold them. Those that lie side by side in a pack are fetched at
//! once: a store far away takes as long to begin an answer as to give some hundred KiB.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::pack::{Footer, PackError, PackKind, PackReader};

use super::lost::ends_the_run;
use super::outbox::path_of;
use crate::store::{CalledOff, Store, StoreError};

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

/// The longest run that is fetched at once. A server far away takes as long to begin an answer as for some hundred KiB of it;
/// each thread may hold as much.
pub(crate) const RUN_BYTES: u32 = 2 << 20;

/// The bytes of extents in order, each as long as is fetched at once.
pub(crate) fn pieces(extents: &[Extent]) -> impl Iterator<Item = Extent> {
    extents.iter().flat_map(|extent| extent.pieces(RUN_BYTES))
}

/// Headers that are kept: a few hundred bytes each.
const READERS_MAX: usize = 512;

type Readers = HashMap<(PackName, PackKind), Arc<PackReader>>;

/// Reads extents from a store. Each thread has its own; clones share the headers that they have read.
pub(crate) struct Fetcher {
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    called_off: CalledOff,
    readers: Arc<Mutex<Readers>>,
    /// What is wanted next, by [`Self::expect`].
    expected: Option<Extent>,
    opened: Opened,
}

/// What was fetched last, and opened in place.
#[derive(Default)]
struct Opened {
    bytes: Vec<u8>,
    /// The extent that it holds, and where in it that begins.
    extent: Option<(Extent, PackKind, usize)>,
}

impl Opened {
    /// The bytes of an extent, if they are here.
    fn find(&self, extent: &Extent, kind: PackKind) -> Option<&[u8]> {
        let (held, of_kind, start) = self.extent?;
        if of_kind != kind || !held.covers(extent) {
            return None;
        }
        let behind = usize::try_from(extent.offset.checked_sub(held.offset)?).ok()?;
        let start = start.checked_add(behind)?;
        let len = usize::try_from(extent.len).ok()?;
        self.bytes.get(start..start.checked_add(len)?)
    }
}

impl Clone for Fetcher {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            keyring: Arc::clone(&self.keyring),
            called_off: self.called_off.clone(),
            readers: Arc::clone(&self.readers),
            expected: None,
            opened: Opened::default(),
        }
    }
}

impl Fetcher {
    pub(crate) fn new(store: Arc<dyn Store>, keyring: Arc<Keyring>) -> Self {
        Self {
            store,
            keyring,
            called_off: CalledOff::never(),
            readers: Arc::default(),
            expected: None,
            opened: Opened::default(),
        }
    }

    /// The same, which fetches nothing any more once it is called off.
    pub(crate) fn until(self, called_off: CalledOff) -> Self {
        Self { called_off, ..self }
    }

    /// Says what will be wanted next, in order. Nothing is fetched before the first extent of it is asked for, which then
    /// brings what follows with it.
    pub(crate) fn expect(&mut self, run: Option<Extent>) {
        self.expected = run;
    }

    /// The bytes of an extent, opened.
    pub(crate) fn extent(&mut self, extent: &Extent, kind: PackKind) -> Result<&[u8], FetchError> {
        if self.opened.find(extent, kind).is_none() {
            self.fetch(extent, kind)?;
        }
        self.opened.find(extent, kind).ok_or(FetchError::Damaged {
            pack: extent.pack,
            cause: PackError::NotHere,
        })
    }

    /// Fetches an extent, with what is expected behind it.
    fn fetch(&mut self, extent: &Extent, kind: PackKind) -> Result<(), FetchError> {
        let expected = self.expected.take();
        let run = expected
            .filter(|run| run.covers(extent))
            .and_then(|run| extent.to_end_of(&run))
            .filter(|run| run != extent && run.len <= RUN_BYTES);
        match run.map(|run| self.fetch_one(&run, kind)) {
            Some(Ok(())) => Ok(()),
            Some(Err(FetchError::Store(cause))) if ends_the_run(&cause) => Err(cause.into()),
            // What is damaged or cut off costs only the extents that it touches.
            Some(Err(_)) | None => self.fetch_one(extent, kind),
        }
    }

    fn fetch_one(&mut self, extent: &Extent, kind: PackKind) -> Result<(), FetchError> {
        self.called_off.check()?;
        let damaged = |cause| FetchError::Damaged {
            pack: extent.pack,
            cause,
        };
        let reader = self.reader(extent.pack, kind)?;
        let range = reader.range(extent).map_err(damaged)?;
        let len = range.end.saturating_sub(range.start);
        let len = usize::try_from(len).map_err(|_| damaged(PackError::NotHere))?;
        let Opened {
            bytes,
            extent: held,
        } = &mut self.opened;
        *held = None;
        bytes.resize(len, 0);
        let path = path_of(&extent.pack.path());
        self.store.get_into(&path, range.start, bytes)?;
        let within = reader.open(extent, bytes).map_err(damaged)?;
        *held = Some((*extent, kind, within.start));
        Ok(())
    }

    /// Puts the bytes of an extent into `out`, in place of what it held.
    pub(crate) fn extent_into(
        &mut self,
        extent: &Extent,
        kind: PackKind,
        out: &mut Vec<u8>,
    ) -> Result<(), FetchError> {
        let bytes = self.extent(extent, kind)?;
        out.clear();
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// How much of a pack is content, whatever its kind.
    pub(crate) fn footer(&mut self, pack: PackName) -> Result<Footer, FetchError> {
        let damaged = |cause| FetchError::Damaged { pack, cause };
        let reader = self.any_reader(pack)?;
        let extent = reader.footer();
        let range = reader.range(&extent).map_err(damaged)?;
        let mut sealed = self.store.get(&path_of(&pack.path()), Some(range))?;
        let within = reader.open(&extent, &mut sealed).map_err(damaged)?;
        let footer = sealed.get(within).unwrap_or_default();
        reader.read_footer(footer).map_err(damaged)
    }

    /// Whether a pack of that length, of whichever kind, is as long as its start says. The start is read if nothing of the pack was.
    pub(crate) fn expect_len(&self, pack: PackName, found: u64) -> Result<(), FetchError> {
        self.called_off.check()?;
        let damaged = |cause| FetchError::Damaged { pack, cause };
        let known = {
            let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            let mut kinds = PackKind::ALL.into_iter();
            kinds.find_map(|kind| readers.get(&(pack, kind)).map(Arc::clone))
        };
        let reader = match known {
            Some(reader) => reader,
            None => Arc::new(self.any_reader(pack)?),
        };
        reader.expect_len(found).map_err(damaged)
    }

    /// The reader of a pack whose kind is not known. It is not kept.
    fn any_reader(&self, pack: PackName) -> Result<PackReader, FetchError> {
        let start = Some(0..PackReader::HEADER_BYTES);
        let start = self.store.get(&path_of(&pack.path()), start)?;
        PackReader::new_any(pack, &self.keyring, &start)
            .map_err(|cause| FetchError::Damaged { pack, cause })
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
