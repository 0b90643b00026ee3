//! What a host shows a core: the nodes and leaves that a batch touches.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use keyhaven_wire::message::{AccountName, FleetId, LeafIndex};

use super::node::{Content, Node, Slot};
use super::range::Range;
use super::{DEPTH_MAX, NodeKey};

/// The nodes on the paths to some leaves, and the leaves. A core believes it only as far as it
/// hashes up to the core's root.
#[derive(Clone, Debug, Default)]
pub struct MultiProof {
    parts: BTreeMap<NodeKey, Vec<u8>>,
}

impl MultiProof {
    /// A proof of these parts, wherever a host got them: the core checks.
    #[must_use]
    pub fn from_parts(parts: BTreeMap<NodeKey, Vec<u8>>) -> Self {
        Self { parts }
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = (NodeKey, &[u8])> {
        self.parts
            .iter()
            .map(|(key, bytes)| (*key, bytes.as_slice()))
    }

    pub(crate) fn part(&self, key: &NodeKey) -> Option<&[u8]> {
        self.parts.get(key).map(Vec::as_slice)
    }
}

/// Why a core refused a proof. The batch was not applied, and nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// A node or leaf on the way is not in the proof.
    #[error("the proof lacks {key:?}")]
    Missing {
        /// What is missing.
        key: NodeKey,
    },
    /// A node or leaf does not hash to what stands above it: the store is older, newer or damaged.
    #[error("{key:?} is not what the core's root says")]
    Mismatch {
        /// What does not match.
        key: NodeKey,
    },
}

/// Collects a proof for a batch, without doing I/O: ask [`Prover::wants`], read these keys,
/// [`Prover::supply`] them, until it wants nothing more. Each round reads one level of the tree.
#[derive(Debug)]
pub struct Prover {
    /// Paths whose next node is not read yet.
    walking: Vec<Walk>,
    parts: BTreeMap<NodeKey, Vec<u8>>,
    leaves: BTreeSet<NodeKey>,
}

/// A path, down to a leaf or to the slot of a range.
#[derive(Clone, Copy, Debug)]
struct Walk {
    path: LeafIndex,
    /// The depth of the node that comes next.
    depth: u8,
    /// The depth at which the path ends at the latest, if not at a leaf.
    end: Option<u8>,
}

/// Why no proof could be collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// The store could not be read.
    #[error("the store could not be read")]
    Read(E),
    /// The store lacks a node or leaf that another node names.
    #[error("the store lacks {key:?}")]
    Missing {
        /// What is missing.
        key: NodeKey,
    },
    /// The store's bytes are not a node.
    #[error("{key:?} in the store is damaged")]
    Damaged {
        /// What is damaged.
        key: NodeKey,
    },
}

impl Prover {
    /// Begins with the accounts of a batch.
    pub fn new<'a>(fleet: &FleetId, accounts: impl IntoIterator<Item = &'a AccountName>) -> Self {
        let indices: BTreeSet<LeafIndex> = accounts
            .into_iter()
            .map(|account| LeafIndex::of(fleet, account))
            .collect();
        Self {
            walking: indices
                .into_iter()
                .map(|path| Walk {
                    path,
                    depth: 0,
                    end: None,
                })
                .collect(),
            parts: BTreeMap::new(),
            leaves: BTreeSet::new(),
        }
    }

    /// Begins with a range, for a [`RangeStep`](crate::RangeStep).
    #[must_use]
    pub fn for_range(range: Range) -> Self {
        Self {
            walking: vec![Walk {
                path: range.path(),
                depth: 0,
                end: Some(Range::DEPTH),
            }],
            parts: BTreeMap::new(),
            leaves: BTreeSet::new(),
        }
    }

    /// What to read next, without duplicates; nothing when the proof is complete.
    #[must_use]
    pub fn wants(&self) -> Vec<NodeKey> {
        let nodes = self
            .walking
            .iter()
            .map(|walk| NodeKey::node(&walk.path, walk.depth));
        let leaves = self.leaves.iter().copied();
        nodes
            .chain(leaves)
            .filter(|key| !self.parts.contains_key(key))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Takes what was read for the keys that were wanted, in one round.
    ///
    /// # Errors
    /// [`ProveError::Missing`] or [`ProveError::Damaged`]: then the store is not whole.
    pub fn supply<E>(
        &mut self,
        read: impl IntoIterator<Item = (NodeKey, Option<Vec<u8>>)>,
    ) -> Result<(), ProveError<E>> {
        for (key, bytes) in read {
            let bytes = bytes.ok_or(ProveError::Missing { key })?;
            self.parts.insert(key, bytes);
        }
        let mut walking = Vec::new();
        for walk in self.walking.drain(..) {
            let key = NodeKey::node(&walk.path, walk.depth);
            let Some(bytes) = self.parts.get(&key) else {
                walking.push(walk);
                continue;
            };
            let node = Node::decode(bytes).ok_or(ProveError::Damaged { key })?;
            let Slot::Own { content, .. } = node.slot(&walk.path, walk.depth) else {
                continue;
            };
            match content {
                Content::Branch(_) if walk.end == Some(walk.depth) => {}
                Content::Branch(_) => {
                    let below = walk.depth.checked_add(1);
                    let depth = below
                        .filter(|below| *below <= DEPTH_MAX)
                        .ok_or(ProveError::Damaged { key })?;
                    walking.push(Walk { depth, ..walk });
                }
                Content::Leaf { index, .. } if walk.end.is_none() && index == walk.path => {
                    self.leaves.insert(NodeKey::leaf(&index));
                }
                Content::Empty | Content::Leaf { .. } => {}
            }
        }
        self.walking = walking;
        Ok(())
    }

    fn read<E>(
        mut self,
        mut read: impl FnMut(&NodeKey) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<MultiProof, ProveError<E>> {
        loop {
            let wants = self.wants();
            if wants.is_empty() {
                return Ok(self.finish());
            }
            let mut round = Vec::with_capacity(wants.len());
            for key in wants {
                let bytes = read(&key).map_err(ProveError::Read)?;
                round.push((key, bytes));
            }
            self.supply(round)?;
        }
    }

    /// The proof, once nothing is wanted any more. What is still missing, the core will name.
    #[must_use]
    pub fn finish(self) -> MultiProof {
        MultiProof { parts: self.parts }
    }
}

/// Collects a proof for a batch with a reader that answers at once.
///
/// # Errors
/// See [`ProveError`].
pub fn prove<'a, E>(
    fleet: &FleetId,
    accounts: impl IntoIterator<Item = &'a AccountName>,
    read: impl FnMut(&NodeKey) -> Result<Option<Vec<u8>>, E>,
) -> Result<MultiProof, ProveError<E>> {
    Prover::new(fleet, accounts).read(read)
}

/// Collects a proof for a step of a range with a reader that answers at once.
///
/// # Errors
/// See [`ProveError`].
pub fn prove_range<E>(
    range: Range,
    read: impl FnMut(&NodeKey) -> Result<Option<Vec<u8>>, E>,
) -> Result<MultiProof, ProveError<E>> {
    Prover::for_range(range).read(read)
}
