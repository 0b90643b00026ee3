//! The sparse Merkle tree over all records.
//!
//! Sixteen branches a node, by the nibbles of the [`LeafIndex`]. A leaf stands in the highest slot
//! where it is alone, so that a tree of n random leaves is about log16(n) deep: two billion
//! accounts, eight nodes on a path. Nodes are addressed by place, not by content, and are
//! overwritten: the store holds exactly one state and needs no collection. Leaves are never removed
//! (a delete leaves a tombstone), so a node never shrinks.
//!
//! ```text
//!   root digest (in the core's memory)
//!     = H(node at depth 0)      16 slots: empty | branch: H(node below) | leaf: index, H(sealed bytes) | a range that moved
//!         └ H(node at depth 1) …
//! ```
//!
//! A node's slot for a leaf names the leaf's index, so that the core can push a leaf down without
//! being shown it, and so that a slot taken by another leaf proves absence.
//!
//! Known trees were looked at first. `jmt` is versioned: its keys carry the version, so every write
//! leaves stale nodes to be pruned, which here would be old records lying about (VAULT-4). Binary
//! compact trees cost four times the rows on a path.

mod fits;
mod node;
mod partial;
mod proof;
mod range;
#[cfg(test)]
mod tests;

use keyhaven_wire::message::LeafIndex;

pub use self::fits::fits;
pub use self::node::NODE_BYTES_MAX;
pub(crate) use self::node::{Content, Node, Slot};
pub(crate) use self::partial::{Found, PartialTree};
pub use self::proof::{MultiProof, ProofError, ProveError, Prover, prove, prove_range};
pub use self::range::Range;
pub(crate) use self::range::{Given, Turn};

/// A 256-bit digest of a node, a leaf, or the whole tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl core::fmt::Debug for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Digest(")?;
        for byte in self.0.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

/// Nibbles of an index: the deepest a node can stand is one above.
pub(crate) const DEPTH_MAX: u8 = 63;

/// Where a node or a leaf lives in the host's store.
///
/// The bytes are `01`, the depth, and the path's nibbles packed and padded with zeros for a node;
/// `02`, `00` and the index for a leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey([u8; Self::BYTES]);

impl NodeKey {
    /// How many bytes a key has.
    pub const BYTES: usize = 34;

    const NODE: u8 = 1;
    const LEAF: u8 = 2;

    /// The root's key.
    #[must_use]
    pub fn root() -> Self {
        Self::node(&LeafIndex::new([0; 32]), 0)
    }

    /// The key of the node at a depth on the path to an index.
    pub(crate) fn node(index: &LeafIndex, depth: u8) -> Self {
        let mut key = [0; Self::BYTES];
        let (head, prefix) = key.split_at_mut(2);
        head.copy_from_slice(&[Self::NODE, depth]);
        let whole = usize::from(depth / 2);
        for (byte, path) in prefix.iter_mut().zip(index.as_bytes()).take(whole) {
            *byte = *path;
        }
        if !depth.is_multiple_of(2)
            && let Some(byte) = prefix.get_mut(whole)
        {
            *byte = nibble(index, depth.saturating_sub(1)) << 4;
        }
        Self(key)
    }

    /// The key of a leaf.
    pub(crate) fn leaf(index: &LeafIndex) -> Self {
        let mut key = [0; Self::BYTES];
        let (head, tail) = key.split_at_mut(2);
        head.copy_from_slice(&[Self::LEAF, 0]);
        tail.copy_from_slice(index.as_bytes());
        Self(key)
    }

    /// The depth of a node; none of a leaf.
    fn depth(&self) -> Option<u8> {
        let [kind, depth, ..] = self.0;
        (kind == Self::NODE).then_some(depth)
    }

    /// The index of a leaf, or the path to a node, with zeros behind.
    const fn path(&self) -> LeafIndex {
        let [_, _, path @ ..] = self.0;
        LeafIndex::new(path)
    }

    /// The key of the node in a slot of this node; none for a leaf's key, or below the last nibble.
    fn below(&self, slot: u8) -> Option<Self> {
        let [kind, depth, path @ ..] = self.0;
        if kind != Self::NODE || depth >= DEPTH_MAX {
            return None;
        }
        let mut index = path;
        let byte = index.get_mut(usize::from(depth / 2))?;
        *byte |= if depth.is_multiple_of(2) {
            slot << 4
        } else {
            slot
        };
        Some(Self::node(&LeafIndex::new(index), depth.checked_add(1)?))
    }

    /// Takes a key's bytes as the store kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl core::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NodeKey(")?;
        for byte in self.0.iter().take(10) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

/// The nibble of an index at a depth: which slot of the node there leads on.
pub(crate) fn nibble(index: &LeafIndex, depth: u8) -> u8 {
    let byte = index
        .as_bytes()
        .get(usize::from(depth / 2))
        .copied()
        .unwrap_or(0);
    if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0x0f
    }
}
