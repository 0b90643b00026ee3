//! Nodes: what trees are made of, and the one way in and out of storage for them.
//!
//! A node is at most a few tens of KiB raw, compressed, and lies as one extent in an index pack.
//! Whoever refers to a node carries the digest of its raw bytes, so trees cannot have cycles.

use std::collections::BTreeMap;

use keyhaven_secrets::Remedy;

use crate::codec::{CodecError, Reader, narrow, put_size, put_varint, size};
use crate::compress::{CompressError, Expander, Squeezer};
use crate::hash::NodeDigest;
use crate::keyring::Keyring;
use crate::layout::Extent;
use crate::names::PackName;

/// The longest raw node of a file tree or an extent list.
pub const NODE_BYTES_MAX: u32 = 64 * 1024;
/// The longest raw node of a page map.
pub const MAP_NODE_BYTES_MAX: u32 = 192 * 1024;
/// The highest level of a node; leaves are level 0. Ten levels of a hundred children each are more
/// than any source has.
pub const LEVEL_MAX: u8 = 9;

/// A reference to a node: where it lies and what its raw bytes must be. Small, `Copy` and hashable,
/// so that it can be a cache's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRef {
    /// Where its compressed bytes lie.
    pub extent: Extent,
    /// How long it is raw.
    pub raw_len: u32,
    /// The digest of its raw bytes.
    pub digest: NodeDigest,
}

/// What a node belongs to: told to the store of nodes so that it can name it in the pack's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// The file tree.
    Tree,
    /// A page map.
    Map,
    /// A long list of extents.
    List,
    /// The patches of a database's rows.
    Rows,
}

impl NodeKind {
    /// The longest raw node of that kind.
    #[must_use]
    pub const fn bytes_max(self) -> u32 {
        match self {
            Self::Tree | Self::List | Self::Rows => NODE_BYTES_MAX,
            Self::Map => MAP_NODE_BYTES_MAX,
        }
    }
}

/// Where nodes are kept: the engine implements it over index packs and a cache.
pub trait NodeStore {
    /// The raw bytes of a node, checked against the reference ([`unpack_node`] does it).
    ///
    /// # Errors
    /// [`NodeError::Unavailable`] if they cannot be had, others if they are not what they must be.
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError>;

    /// Stores a node ([`pack_node`] compresses it) and returns the reference to it.
    ///
    /// # Errors
    /// [`NodeError::Unavailable`] if it cannot be stored.
    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError>;
}

/// Why a tree cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The node store could not read or write; the cause is the engine's.
    #[error("a part of the backup's index cannot be read or written")]
    Unavailable {
        /// What the engine's store said.
        #[source]
        cause: Box<dyn core::error::Error + Send + Sync>,
        /// What helps against it.
        remedy: Remedy,
    },
    /// The raw bytes are not those that the reference names.
    #[error("a node of the backup's index is not the one that was referred to")]
    Swapped,
    /// Compressed bytes that do not expand to the length that the reference names.
    #[error("a node of the backup's index does not expand to its length")]
    BadCompression,
    /// A node longer than any may be.
    #[error("a node of the backup's index is longer than any may be")]
    TooLong,
    /// A node at a level that its parent does not reach.
    #[error("a node of the backup's index stands at level {found} where {expected} belongs")]
    TooDeep {
        /// The level that the parent implies (at most, for a root).
        expected: u8,
        /// The level in the node.
        found: u8,
    },
    /// Keys out of order, or outside what the parent says the node covers.
    #[error("a node of the backup's index is not sorted")]
    Unsorted,
    /// A key that is no path inside the source.
    #[error("a path in the backup's index leads outside the backed-up folder")]
    BadPath,
    /// Bytes that make no sense.
    #[error("a node of the backup's index makes no sense")]
    Malformed,
    /// Changes were not handed in in order.
    #[error("changes to the backup's index were not handed in in order")]
    ChangesUnsorted,
    /// An entry that no reader would accept: see [`FileEntry::fits`](crate::entry::FileEntry::fits).
    #[error("an entry for the backup's index does not fit the format")]
    EntryUnfit,
    /// The digest of a page, a frame or an image differs from what the index says.
    #[error("a database page is not the one that was backed up")]
    PageAltered,
    /// A page was fed out of turn or with a wrong length.
    #[error("a database page was handed in out of turn")]
    PageOutOfTurn,
}

impl NodeError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Unavailable { remedy, .. } => *remedy,
            Self::Swapped
            | Self::BadCompression
            | Self::TooLong
            | Self::TooDeep { .. }
            | Self::Unsorted
            | Self::BadPath
            | Self::Malformed
            | Self::ChangesUnsorted
            | Self::EntryUnfit
            | Self::PageAltered
            | Self::PageOutOfTurn => Remedy::Stop,
        }
    }

    /// The outcome's name in the test vectors and in machine-readable reports.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "node-unavailable",
            Self::Swapped => "node-swapped",
            Self::BadCompression => "bad-compression",
            Self::TooLong => "node-too-long",
            Self::TooDeep { .. } => "node-too-deep",
            Self::Unsorted => "node-unsorted",
            Self::BadPath => "bad-path",
            Self::Malformed => "node-malformed",
            Self::ChangesUnsorted => "changes-unsorted",
            Self::EntryUnfit => "entry-unfit",
            Self::PageAltered => "page-altered",
            Self::PageOutOfTurn => "page-out-of-turn",
        }
    }
}

impl From<CodecError> for NodeError {
    fn from(_: CodecError) -> Self {
        Self::Malformed
    }
}

impl From<CompressError> for NodeError {
    fn from(_: CompressError) -> Self {
        Self::BadCompression
    }
}

/// A node ready to be stored.
#[derive(Debug)]
pub struct PackedNode<'a> {
    /// The bytes for the index pack.
    pub bytes: &'a [u8],
    /// For the reference.
    pub raw_len: u32,
    /// For the reference.
    pub digest: NodeDigest,
}

/// Compresses a node for storage.
///
/// # Errors
/// [`NodeError::TooLong`] for a node longer than its kind allows.
pub fn pack_node<'a>(
    kind: NodeKind,
    raw: &[u8],
    keyring: &Keyring,
    squeezer: &'a mut Squeezer,
) -> Result<PackedNode<'a>, NodeError> {
    let raw_len = narrow(raw.len());
    if raw_len > kind.bytes_max() {
        return Err(NodeError::TooLong);
    }
    Ok(PackedNode {
        bytes: squeezer.squeeze(raw)?,
        raw_len,
        digest: keyring.node_digest(raw),
    })
}

/// Expands a stored node and checks that it is the one referred to (BACKUP-4).
///
/// # Errors
/// [`NodeError`] if it expands to another length or has another digest.
pub fn unpack_node(
    node: &NodeRef,
    stored: &[u8],
    keyring: &Keyring,
    expander: &mut Expander,
) -> Result<Vec<u8>, NodeError> {
    // A12: the length is bounded before anything is allocated.
    if node.raw_len > MAP_NODE_BYTES_MAX {
        return Err(NodeError::TooLong);
    }
    let mut raw = vec![0; size(node.raw_len)];
    expander.expand(stored, &mut raw)?;
    if keyring.node_digest(&raw) == node.digest {
        Ok(raw)
    } else {
        Err(NodeError::Swapped)
    }
}

/// The pack names that a node's references use: each stands once at the node's front.
#[derive(Debug, Default)]
pub(crate) struct PackTable {
    names: Vec<PackName>,
    places: BTreeMap<PackName, u64>,
}

impl PackTable {
    pub(crate) fn place(&mut self, name: PackName) -> u64 {
        let next = crate::codec::long(self.names.len());
        let names = &mut self.names;
        *self.places.entry(name).or_insert_with(|| {
            names.push(name);
            next
        })
    }

    pub(crate) fn put_extent(&mut self, out: &mut Vec<u8>, extent: &Extent) {
        let place = self.place(extent.pack);
        put_varint(out, place);
        put_varint(out, u64::from(extent.offset));
        put_varint(out, u64::from(extent.len));
    }

    pub(crate) fn put_node(&mut self, out: &mut Vec<u8>, node: &NodeRef) {
        self.put_extent(out, &node.extent);
        put_varint(out, u64::from(node.raw_len));
        out.extend_from_slice(node.digest.as_bytes());
    }

    /// The node's front: its level and the table.
    pub(crate) fn put_front(&self, out: &mut Vec<u8>, level: u8) {
        out.push(level);
        put_size(out, self.names.len());
        for name in &self.names {
            out.extend_from_slice(name.as_bytes());
        }
    }
}

/// A node's front as read back.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) level: u8,
    names: Vec<PackName>,
}

impl Front {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, NodeError> {
        let level = reader.u8()?;
        if level > LEVEL_MAX {
            return Err(NodeError::TooDeep {
                expected: LEVEL_MAX,
                found: level,
            });
        }
        let count = reader.count(32)?;
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            names.push(PackName::from_bytes(reader.array()?));
        }
        Ok(Self { level, names })
    }

    pub(crate) fn extent(&self, reader: &mut Reader<'_>) -> Result<Extent, NodeError> {
        let place = size(reader.varint32()?);
        let extent = Extent {
            pack: *self.names.get(place).ok_or(NodeError::Malformed)?,
            offset: reader.varint32()?,
            len: reader.varint32()?,
        };
        if extent.len == 0 || extent.end().is_none() {
            return Err(NodeError::Malformed);
        }
        Ok(extent)
    }

    pub(crate) fn node(&self, reader: &mut Reader<'_>) -> Result<NodeRef, NodeError> {
        Ok(NodeRef {
            extent: self.extent(reader)?,
            raw_len: reader.varint32()?,
            digest: NodeDigest::from_bytes(reader.array()?),
        })
    }
}
