//! The part of the tree that a batch touches, inside the core.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::node::{Node, Slot, leaf_digest, node_digest};
use super::{DEPTH_MAX, Digest, MultiProof, NodeKey, ProofError, nibble};

/// A tree of which only the proven part is known. Reading checks every byte against the root;
/// writing keeps the root up to date.
pub(crate) struct PartialTree<'a> {
    root: Digest,
    proof: &'a MultiProof,
    /// Nodes that were checked, or written here.
    nodes: BTreeMap<NodeKey, Node>,
    written_nodes: BTreeSet<NodeKey>,
    written_leaves: BTreeMap<LeafIndex, Vec<u8>>,
}

impl<'a> PartialTree<'a> {
    pub(crate) fn new(root: Digest, proof: &'a MultiProof) -> Self {
        Self {
            root,
            proof,
            nodes: BTreeMap::new(),
            written_nodes: BTreeSet::new(),
            written_leaves: BTreeMap::new(),
        }
    }

    pub(crate) fn root(&self) -> Digest {
        self.root
    }

    /// A leaf's sealed bytes, or the proof that there is none. VAULT-4: nothing that does not hash
    /// up to the root is ever looked at.
    pub(crate) fn read(&mut self, index: &LeafIndex) -> Result<Option<&[u8]>, ProofError> {
        let (_, slot) = self.walk(index)?;
        let Slot::Leaf { index: at, digest } = slot else {
            return Ok(None);
        };
        if at != *index {
            return Ok(None);
        }
        if let Some(sealed) = self.written_leaves.get(index) {
            return Ok(Some(sealed));
        }
        let key = NodeKey::leaf(index);
        let sealed = self.proof.part(&key).ok_or(ProofError::Missing { key })?;
        if leaf_digest(index, sealed) != digest {
            return Err(ProofError::Mismatch { key });
        }
        Ok(Some(sealed))
    }

    /// Puts a leaf's sealed bytes in place.
    pub(crate) fn write(&mut self, index: &LeafIndex, sealed: Vec<u8>) -> Result<(), ProofError> {
        let (depth, slot) = self.walk(index)?;
        let leaf = Slot::Leaf {
            index: *index,
            digest: leaf_digest(index, &sealed),
        };
        let top = match slot {
            Slot::Leaf { index: other, .. } if other != *index => {
                self.part_ways(index, leaf, &other, slot, depth)
            }
            Slot::Empty | Slot::Leaf { .. } | Slot::Branch(_) => leaf,
        };
        self.rise(index, depth, top);
        self.written_leaves.insert(*index, sealed);
        Ok(())
    }

    /// What changed: keys and bytes for the host's store.
    pub(crate) fn into_puts(self) -> Vec<(NodeKey, Vec<u8>)> {
        let nodes = self
            .written_nodes
            .iter()
            .filter_map(|key| Some((*key, self.nodes.get(key)?.encode())));
        let leaves = self
            .written_leaves
            .iter()
            .map(|(index, sealed)| (NodeKey::leaf(index), sealed.clone()));
        nodes.chain(leaves).collect()
    }

    /// Walks down to the deepest node towards an index; its depth, and what stands in its slot.
    fn walk(&mut self, index: &LeafIndex) -> Result<(u8, Slot), ProofError> {
        let mut expected = self.root;
        for depth in 0..=DEPTH_MAX {
            let key = NodeKey::node(index, depth);
            let slot = self.checked(key, expected)?.slot(index, depth);
            match slot {
                Slot::Branch(below) => expected = below,
                Slot::Empty | Slot::Leaf { .. } => return Ok((depth, slot)),
            }
        }
        // The core never writes a branch at the last nibble, so no honest root leads here.
        Err(ProofError::Mismatch {
            key: NodeKey::node(index, DEPTH_MAX),
        })
    }

    fn checked(&mut self, key: NodeKey, expected: Digest) -> Result<&Node, ProofError> {
        use alloc::collections::btree_map::Entry;
        match self.nodes.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let bytes = self.proof.part(&key).ok_or(ProofError::Missing { key })?;
                if node_digest(bytes) != expected {
                    return Err(ProofError::Mismatch { key });
                }
                let node = Node::decode(bytes).ok_or(ProofError::Mismatch { key })?;
                Ok(vacant.insert(node))
            }
        }
    }

    /// Two leaves meet in one slot of the node at `depth`: makes the nodes below it down to where
    /// their indices part, and returns the branch that takes the slot.
    fn part_ways(
        &mut self,
        index: &LeafIndex,
        leaf: Slot,
        other: &LeafIndex,
        other_leaf: Slot,
        depth: u8,
    ) -> Slot {
        let below = depth.saturating_add(1);
        // The indices differ, so they part at the last nibble at the latest.
        let fork = (below..=DEPTH_MAX)
            .find(|at| nibble(index, *at) != nibble(other, *at))
            .unwrap_or(DEPTH_MAX);
        let mut node = Node::default();
        node.set(index, fork, leaf);
        node.set(other, fork, other_leaf);
        let mut digest = self.put(NodeKey::node(index, fork), node);
        for at in (below..fork).rev() {
            let mut node = Node::default();
            node.set(index, at, Slot::Branch(digest));
            digest = self.put(NodeKey::node(index, at), node);
        }
        Slot::Branch(digest)
    }

    /// Puts a slot into the node at `depth`, and the new digests into all nodes above it.
    fn rise(&mut self, index: &LeafIndex, depth: u8, mut slot: Slot) {
        for at in (0..=depth).rev() {
            let key = NodeKey::node(index, at);
            let mut node = self.nodes.remove(&key).unwrap_or_default();
            node.set(index, at, slot);
            let digest = self.put(key, node);
            slot = Slot::Branch(digest);
            self.root = digest;
        }
    }

    fn put(&mut self, key: NodeKey, node: Node) -> Digest {
        let digest = node.digest();
        self.nodes.insert(key, node);
        self.written_nodes.insert(key);
        digest
    }
}
