//! The part of the tree that a batch touches, inside the core.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::node::{Content, Node, Slot, leaf_digest, node_digest};
use super::{DEPTH_MAX, Digest, MultiProof, NodeKey, ProofError, nibble};

/// What a tree holds for an account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// No leaf.
    None,
    /// The leaf's sealed bytes.
    Sealed(&'a [u8]),
    /// The account is in a range of another group.
    Elsewhere,
}

/// A tree of which only the proven part is known. Reading checks every byte against the root; what is
/// written comes into the digests above it when the root is asked for, so that a node which many
/// requests of a batch touch is hashed once.
pub(crate) struct PartialTree<'a> {
    root: Digest,
    proof: &'a MultiProof,
    /// Nodes that were checked, or written here. What is here is not checked again.
    nodes: BTreeMap<NodeKey, Node>,
    /// Nodes of `nodes` whose digests do not stand above them yet.
    changed: BTreeSet<NodeKey>,
    /// Nodes of `nodes` that were changed, and whose digests do.
    settled: BTreeSet<NodeKey>,
    written_leaves: BTreeMap<LeafIndex, Vec<u8>>,
    /// Where the last read ended, until something is changed: most is read and then written.
    read: Option<(LeafIndex, (u8, Slot))>,
}

/// Stands under a slot above a node that is changed, until its digest does.
const TO_COME: Content = Content::Branch(Digest::new([0; 32]));

impl<'a> PartialTree<'a> {
    pub(crate) fn new(root: Digest, proof: &'a MultiProof) -> Self {
        Self {
            root,
            proof,
            nodes: BTreeMap::new(),
            changed: BTreeSet::new(),
            settled: BTreeSet::new(),
            written_leaves: BTreeMap::new(),
            read: None,
        }
    }

    /// The root over all that was written.
    pub(crate) fn root(&mut self) -> Digest {
        self.settle();
        self.root
    }

    /// Brings the digests up to date, the deepest first, for keys are in the order of depth. Whoever
    /// takes a digest out of a node, or puts one there, settles before.
    pub(super) fn settle(&mut self) {
        while let Some(key) = self.changed.pop_last() {
            let digest = self.node(key).digest();
            self.settled.insert(key);
            match key.depth().and_then(|depth| depth.checked_sub(1)) {
                None => self.root = digest,
                Some(above) => self.fill(&key.path(), above, Content::Branch(digest)),
            }
        }
    }

    /// A leaf's sealed bytes, or the proof that there is none, or that it is not this group's to say.
    /// VAULT-4: nothing that does not hash up to the root is ever looked at.
    pub(crate) fn read(&mut self, index: &LeafIndex) -> Result<Found<'_>, ProofError> {
        let place = self.walk(index, DEPTH_MAX)?;
        self.read = Some((*index, place));
        let (_, Slot::Own { content, .. }) = place else {
            return Ok(Found::Elsewhere);
        };
        let digest = match content {
            Content::Leaf { index: at, digest } if at == *index => digest,
            Content::Empty | Content::Leaf { .. } => return Ok(Found::None),
            // The core never writes a branch at the last nibble, so no honest root leads here.
            Content::Branch(_) => {
                let key = NodeKey::node(index, DEPTH_MAX);
                return Err(ProofError::Mismatch { key });
            }
        };
        if let Some(sealed) = self.written_leaves.get(index) {
            return Ok(Found::Sealed(sealed));
        }
        let key = NodeKey::leaf(index);
        let sealed = self.proof.part(&key).ok_or(ProofError::Missing { key })?;
        if leaf_digest(index, sealed) != digest {
            return Err(ProofError::Mismatch { key });
        }
        Ok(Found::Sealed(sealed))
    }

    /// Puts a leaf's sealed bytes in place, where [`read`](Self::read) found them or none.
    pub(crate) fn write(&mut self, index: &LeafIndex, sealed: Vec<u8>) -> Result<(), ProofError> {
        let (depth, slot) = match self.read {
            Some((read, place)) if read == *index => place,
            Some(_) | None => self.walk(index, DEPTH_MAX)?,
        };
        let leaf = Content::Leaf {
            index: *index,
            digest: leaf_digest(index, &sealed),
        };
        let top = match slot {
            Slot::Own { content, .. } => match content {
                Content::Leaf { index: other, .. } if other != *index => {
                    Some(self.part_ways(index, leaf, &other, content, depth))
                }
                Content::Empty | Content::Leaf { .. } => Some(leaf),
                Content::Branch(_) => None,
            },
            // VAULT-1: a leaf outside this group's ranges would be a second record of its account.
            Slot::Foreign | Slot::Given(_) => None,
        };
        let key = NodeKey::node(index, depth);
        let top = top.ok_or(ProofError::Mismatch { key })?;
        self.fill(index, depth, top);
        self.written_leaves.insert(*index, sealed);
        Ok(())
    }

    /// What changed: keys and bytes for the host's store.
    pub(crate) fn into_puts(mut self) -> Vec<(NodeKey, Vec<u8>)> {
        self.settle();
        let nodes = self.nodes.into_iter();
        let nodes = nodes.filter(|(key, _)| self.settled.contains(key));
        let nodes = nodes.map(|(key, node)| (key, node.into_bytes()));
        let leaves = self.written_leaves.into_iter();
        let leaves = leaves.map(|(index, sealed)| (NodeKey::leaf(&index), sealed));
        nodes.chain(leaves).collect()
    }

    /// Walks down towards an index, to the deepest node or to this depth; the depth of the node, and
    /// what stands in its slot.
    pub(super) fn walk(&mut self, index: &LeafIndex, to: u8) -> Result<(u8, Slot), ProofError> {
        let (mut depth, mut expected) = (0_u8, self.root);
        loop {
            let key = NodeKey::node(index, depth);
            let slot = self.checked(key, expected)?.slot(index, depth);
            match slot {
                Slot::Own {
                    content: Content::Branch(below),
                    ..
                } if depth < to => expected = below,
                Slot::Own { .. } | Slot::Foreign | Slot::Given(_) => return Ok((depth, slot)),
            }
            depth = depth.saturating_add(1);
        }
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
        leaf: Content,
        other: &LeafIndex,
        other_leaf: Content,
        depth: u8,
    ) -> Content {
        let below = depth.saturating_add(1);
        // The indices differ, so they part at the last nibble at the latest.
        let fork = (below..=DEPTH_MAX)
            .find(|at| nibble(index, *at) != nibble(other, *at))
            .unwrap_or(DEPTH_MAX);
        self.fill(index, fork, leaf);
        self.fill(other, fork, other_leaf);
        for at in below..fork {
            self.fill(index, at, TO_COME);
        }
        TO_COME
    }

    /// Puts a new node into a slot of the root.
    pub(super) fn put_below_root(&mut self, path: &LeafIndex, node: Node) {
        let key = NodeKey::node(path, 1);
        self.nodes.insert(key, node);
        self.changed.insert(key);
        self.set(path, 0, Slot::own(TO_COME));
    }

    /// Puts something in the slot towards an index of the node at `depth`.
    pub(super) fn set(&mut self, index: &LeafIndex, depth: u8, slot: Slot) {
        self.change(index, depth).set(index, depth, slot);
    }

    /// Puts something under it.
    fn fill(&mut self, index: &LeafIndex, depth: u8, content: Content) {
        self.change(index, depth).fill(index, depth, content);
    }

    fn change(&mut self, index: &LeafIndex, depth: u8) -> &mut Node {
        let key = NodeKey::node(index, depth);
        self.changed.insert(key);
        self.read = None;
        self.node(key)
    }

    /// A node that was checked, or a new one.
    fn node(&mut self, key: NodeKey) -> &mut Node {
        self.nodes.entry(key).or_default()
    }
}
