//! The index: tree nodes and page map nodes, read from packs and written into packs.
//!
//! A node that was saved in this run can be read again at once, before its pack is sealed. Packs of
//! a remote store are kept beside it on the device, sealed as they are, so that an unchanged backup
//! reads nothing over the network.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use keyhaven_repo::compress::{CompressError, Expander, Squeezer};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore, pack_node, unpack_node};
use keyhaven_repo::pack::{ExtentKind, PackBuilder, PackKind};
use keyhaven_secrets::Remedy;

use super::fetch::{FetchError, Fetcher};
use super::lost::ends_the_run;
use super::outbox::{self, Outbox, SendError, path_of};
use crate::store::{Body, FolderStore, Store, StoreError};

/// Raw nodes that are kept: at most some 4 MiB.
const KEPT_MAX: usize = 64;

/// zstd's level for nodes: they are small, and many of their bytes are digests.
const LEVEL: i32 = 3;

/// Reads and writes index nodes.
pub(crate) struct Nodes<'a> {
    /// None while nothing is written: a restore, a look.
    outbox: Option<&'a Outbox>,
    store: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    fetcher: Fetcher,
    cache: Option<Cache>,
    open: Option<PackBuilder>,
    kept: HashMap<NodeRef, Rc<[u8]>>,
    kept_order: VecDeque<NodeRef>,
    squeezer: Squeezer,
    expander: Expander,
    stored: Vec<u8>,
    sent: outbox::Sent,
    /// Packs in which nodes lie that were asked for.
    asked: BTreeSet<PackName>,
}

/// Sealed index packs on the device.
struct Cache {
    folder: Arc<FolderStore>,
    fetcher: Fetcher,
}

/// A node could not be read or written.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("this command writes nothing")]
    ReadOnly,
}

impl From<Cause> for NodeError {
    fn from(cause: Cause) -> Self {
        let remedy = match &cause {
            Cause::Fetch(FetchError::Store(error)) | Cause::Send(SendError::Store(error)) => {
                error.remedy()
            }
            Cause::Fetch(_) | Cause::Send(_) | Cause::ReadOnly => Remedy::Stop,
        };
        Self::Unavailable {
            cause: Box::new(cause),
            remedy,
        }
    }
}

impl From<SendError> for NodeError {
    fn from(cause: SendError) -> Self {
        Cause::from(cause).into()
    }
}

/// The store's own error behind a node error, where it is one.
pub(crate) fn store_error(error: &NodeError) -> Option<&StoreError> {
    let NodeError::Unavailable { cause, .. } = error else {
        return None;
    };
    match cause.downcast_ref::<Cause>()? {
        Cause::Fetch(FetchError::Store(error)) | Cause::Send(SendError::Store(error)) => {
            Some(error)
        }
        Cause::Fetch(_) | Cause::Send(_) | Cause::ReadOnly => None,
    }
}

/// Whether a part of the index is gone or is not what was written. A store that cannot be reached is no
/// damage, and no fault of writing is.
pub(crate) fn is_damage(error: &NodeError) -> bool {
    if let NodeError::Unavailable { cause, .. } = error {
        return match cause.downcast_ref::<Cause>() {
            Some(Cause::Fetch(FetchError::Store(error))) => !ends_the_run(error),
            Some(Cause::Fetch(FetchError::Damaged { .. })) => true,
            Some(Cause::Send(_) | Cause::ReadOnly) | None => false,
        };
    }
    matches!(
        error,
        NodeError::Swapped
            | NodeError::BadCompression
            | NodeError::TooLong
            | NodeError::TooDeep { .. }
            | NodeError::Unsorted
            | NodeError::BadPath
            | NodeError::Malformed
            | NodeError::PageAltered
    )
}

/// The pack that could not be read, where one is to blame.
pub(crate) fn pack_of(error: &NodeError) -> Option<PackName> {
    let NodeError::Unavailable { cause, .. } = error else {
        return None;
    };
    match cause.downcast_ref::<Cause>()? {
        Cause::Fetch(error) => error.pack(),
        Cause::Send(_) | Cause::ReadOnly => None,
    }
}

impl<'a> Nodes<'a> {
    /// Reads nodes of `store`; `cache` is a folder for the index packs of a remote one.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        keyring: Arc<Keyring>,
        cache: Option<&Path>,
    ) -> Result<Self, CompressError> {
        let cache = cache.and_then(|folder| {
            // Without a cache all works, only slower.
            let folder = Arc::new(FolderStore::private(folder).ok()?);
            let store: Arc<dyn Store> = Arc::<FolderStore>::clone(&folder);
            let fetcher = Fetcher::new(store, Arc::clone(&keyring));
            Some(Cache { folder, fetcher })
        });
        Ok(Self {
            outbox: None,
            fetcher: Fetcher::new(Arc::clone(&store), Arc::clone(&keyring)),
            store,
            keyring,
            cache,
            open: None,
            kept: HashMap::new(),
            kept_order: VecDeque::new(),
            squeezer: Squeezer::new(LEVEL)?,
            expander: Expander::new()?,
            stored: Vec::new(),
            sent: outbox::Sent::default(),
            asked: BTreeSet::new(),
        })
    }

    /// Lets nodes be written too, in packs from `outbox`.
    pub(crate) fn writing(self, outbox: &'a Outbox) -> Self {
        Self {
            outbox: Some(outbox),
            ..self
        }
    }

    /// Seals and puts the open pack. It does not flush the store.
    pub(crate) fn finish(&mut self) -> Result<(), NodeError> {
        self.seal().map_err(NodeError::from)
    }

    /// What has been put so far.
    pub(crate) fn sent(&self) -> outbox::Sent {
        self.sent
    }

    /// The packs in which nodes lie that were asked for since this was called last, those that cannot be read, too.
    pub(crate) fn take_asked(&mut self) -> BTreeSet<PackName> {
        std::mem::take(&mut self.asked)
    }

    fn seal(&mut self) -> Result<(), Cause> {
        let (Some(pack), Some(outbox)) = (self.open.take(), self.outbox) else {
            return Ok(());
        };
        let sealed = pack.seal(&self.keyring).map_err(SendError::from)?;
        outbox::put(self.store.as_ref(), &sealed).map_err(SendError::from)?;
        if let Some(cache) = &self.cache {
            // A cache that cannot be written costs a later run a download, nothing else.
            let _ = outbox::put(cache.folder.as_ref(), &sealed);
        }
        self.sent.add(u64::from(sealed.class().object_bytes()));
        outbox.recycle(sealed);
        Ok(())
    }

    /// Fetches a node's stored bytes into `self.stored`.
    fn fetch(&mut self, node: &NodeRef) -> Result<(), FetchError> {
        let Some(cache) = &mut self.cache else {
            return self
                .fetcher
                .extent_into(&node.extent, PackKind::Index, &mut self.stored);
        };
        if cache
            .fetcher
            .extent_into(&node.extent, PackKind::Index, &mut self.stored)
            .is_ok()
        {
            return Ok(());
        }
        // Not here, or damaged here: the store's own copy is what counts.
        let pack: PackName = node.extent.pack;
        let path = path_of(&pack.path());
        let object = self.store.get(&path, None)?;
        let _ = cache.folder.put(&path, Body::Bytes(&object));
        drop(object);
        let folder: Arc<dyn Store> = Arc::<FolderStore>::clone(&cache.folder);
        cache.fetcher = Fetcher::new(folder, Arc::clone(&self.keyring));
        if cache
            .fetcher
            .extent_into(&node.extent, PackKind::Index, &mut self.stored)
            .is_ok()
        {
            return Ok(());
        }
        self.fetcher
            .extent_into(&node.extent, PackKind::Index, &mut self.stored)
    }

    fn keep(&mut self, node: NodeRef, raw: &[u8]) {
        if self.kept.insert(node, raw.into()).is_none() {
            self.kept_order.push_back(node);
        }
        while self.kept_order.len() > KEPT_MAX {
            if let Some(oldest) = self.kept_order.pop_front() {
                self.kept.remove(&oldest);
            }
        }
    }
}

impl NodeStore for Nodes<'_> {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        self.asked.insert(node.extent.pack);
        if let Some(raw) = self.kept.get(node) {
            return Ok(raw.to_vec());
        }
        let open = self.open.as_ref();
        let raw = if let Some(stored) = open.and_then(|pack| pack.closed_extent(&node.extent)) {
            unpack_node(node, stored, &self.keyring, &mut self.expander)?
        } else {
            self.fetch(node).map_err(Cause::from)?;
            unpack_node(node, &self.stored, &self.keyring, &mut self.expander)?
        };
        self.keep(*node, &raw);
        Ok(raw)
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        let outbox = self.outbox.ok_or(Cause::ReadOnly)?;
        let packed = pack_node(kind, raw, &self.keyring, &mut self.squeezer)?;
        let (raw_len, digest) = (packed.raw_len, packed.digest);
        let stored = packed.bytes.to_vec();
        let extent_kind = match kind {
            NodeKind::Tree => ExtentKind::TreeNode,
            NodeKind::Map => ExtentKind::MapNode,
            NodeKind::List => ExtentKind::ListNode,
            NodeKind::Rows => ExtentKind::RowsNode,
        };
        let full = |pack: &PackBuilder| usize::try_from(pack.room()).unwrap_or(0) < stored.len();
        if self.open.as_ref().is_some_and(full) {
            self.seal()?;
        }
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => outbox.begin(PackKind::Index).map_err(Cause::from)?,
        };
        let extent = pack
            .append(&stored, extent_kind, digest.extent_digest())
            .ok_or(NodeError::TooLong)?;
        self.open = Some(pack);
        let node = NodeRef {
            extent,
            raw_len,
            digest,
        };
        self.keep(node, raw);
        Ok(node)
    }
}

/// Nodes that are read, and where they lie.
pub(crate) struct Watched<'a, 'n> {
    nodes: &'a mut Nodes<'n>,
    met: Vec<Extent>,
}

impl<'a, 'n> Watched<'a, 'n> {
    pub(crate) fn new(nodes: &'a mut Nodes<'n>) -> Self {
        Self {
            nodes,
            met: Vec::new(),
        }
    }

    /// Where the nodes lie that were read since this was asked last.
    pub(crate) fn met(&mut self) -> impl Iterator<Item = Extent> {
        self.met.drain(..)
    }
}

impl NodeStore for Watched<'_, '_> {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        self.met.push(node.extent);
        self.nodes.load(node)
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        self.nodes.save(kind, raw)
    }
}
