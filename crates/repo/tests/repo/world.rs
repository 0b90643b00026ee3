//! Valid worlds: a keyring, and stores of nodes in memory and over real packs.

use std::collections::BTreeMap;

use keyhaven_repo::compress::{Expander, Squeezer};
use keyhaven_repo::hash::{ContentId, ExtentDigest};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::{PackName, StoreId};
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore, pack_node, unpack_node};
use keyhaven_repo::page_map::PageStore;
use keyhaven_testkit::entropy::SeededEntropy;

pub(crate) const STORE: StoreId = StoreId::from_bytes([0x5a; 16]);

pub(crate) fn keyring(seed: u64) -> Keyring {
    Keyring::generate(STORE, &mut SeededEntropy::new(seed))
}

pub(crate) fn content(byte: u8) -> ContentId {
    ContentId::from_bytes([byte; 32])
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    keyhaven_secrets::Entropy::fill(&mut SeededEntropy::new(seed), &mut out);
    out
}

/// Keeps stored bytes in memory, as the engine keeps them in packs; counts what is read and written.
pub(crate) struct Memory {
    pub(crate) keyring: Keyring,
    squeezer: Squeezer,
    expander: Expander,
    pub(crate) stored: BTreeMap<Extent, Vec<u8>>,
    pub(crate) saved: usize,
    pub(crate) loaded: usize,
    /// Nodes loaded of less than 6 KB: the right edge of a tree may have some, nothing else.
    pub(crate) small: usize,
    pub(crate) frames: usize,
    next: u32,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            keyring: keyring(1),
            squeezer: Squeezer::new(1).unwrap(),
            expander: Expander::new().unwrap(),
            stored: BTreeMap::new(),
            saved: 0,
            loaded: 0,
            small: 0,
            frames: 0,
            next: 0,
        }
    }

    fn put(&mut self, bytes: Vec<u8>) -> Extent {
        self.next += 1;
        let extent = Extent {
            pack: PackName::from_bytes([(self.next % 7) as u8; 32]),
            offset: self.next,
            len: bytes.len() as u32,
        };
        self.stored.insert(extent, bytes);
        extent
    }

    /// Stores raw bytes as a node without looking at them: what a writer with the keys could do.
    pub(crate) fn forge(&mut self, raw: &[u8]) -> NodeRef {
        let bytes = self.squeezer.squeeze(raw).unwrap().to_vec();
        let extent = self.put(bytes);
        NodeRef {
            extent,
            raw_len: raw.len() as u32,
            digest: self.keyring.node_digest(raw),
        }
    }

    pub(crate) fn raw(&mut self, node: &NodeRef) -> Vec<u8> {
        let stored = self.stored[&node.extent].clone();
        unpack_node(node, &stored, &self.keyring, &mut self.expander).unwrap()
    }

    pub(crate) fn frame(&mut self, extent: &Extent, raw_len: u32) -> Vec<u8> {
        let mut out = vec![0; raw_len as usize];
        let stored = self.stored[extent].clone();
        self.expander.expand(&stored, &mut out).unwrap();
        out
    }
}

impl NodeStore for Memory {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        self.loaded += 1;
        self.small += usize::from(node.raw_len < 6000);
        let stored = self.stored.get(&node.extent).ok_or(NodeError::Malformed)?;
        unpack_node(node, stored, &self.keyring, &mut self.expander)
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        self.saved += 1;
        let packed = pack_node(kind, raw, &self.keyring, &mut self.squeezer)?;
        let (bytes, raw_len, digest) = (packed.bytes.to_vec(), packed.raw_len, packed.digest);
        let extent = self.put(bytes);
        Ok(NodeRef {
            extent,
            raw_len,
            digest,
        })
    }
}

impl PageStore for Memory {
    fn save_frame(&mut self, raw: &[u8], _digest: ExtentDigest) -> Result<Extent, NodeError> {
        self.frames += 1;
        let bytes = self.squeezer.squeeze(raw)?.to_vec();
        Ok(self.put(bytes))
    }
}
