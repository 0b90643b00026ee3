//! One node: sixteen slots, and its bytes.

use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::range::Away;
use super::{Digest, nibble};

/// Slots of a node: one for each nibble.
const SLOTS: usize = 16;
const BITMAPS_BYTES: usize = 4;
const BRANCH_BYTES: usize = 32;

/// The longest a node's bytes can be: every slot a range that was given away.
pub const NODE_BYTES_MAX: usize = 1572;

const _: () = assert!(BITMAPS_BYTES + SLOTS * Away::BYTES_MAX == NODE_BYTES_MAX);

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Slot {
    #[default]
    Empty,
    /// A node below, by its digest.
    Branch(Digest),
    /// The only leaf under this slot.
    Leaf { index: LeafIndex, digest: Digest },
    /// A range that is not this group's.
    Away(Away),
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Node {
    slots: [Slot; SLOTS],
}

impl Node {
    /// What stands in the slot towards an index.
    pub(crate) fn slot(&self, index: &LeafIndex, depth: u8) -> Slot {
        self.slots
            .get(usize::from(nibble(index, depth)))
            .copied()
            .unwrap_or_default()
    }

    /// All slots, in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u8, Slot)> {
        (0_u8..).zip(self.slots)
    }

    /// Puts something in the slot towards an index.
    pub(crate) fn set(&mut self, index: &LeafIndex, depth: u8, slot: Slot) {
        if let Some(place) = self.slots.get_mut(usize::from(nibble(index, depth))) {
            *place = slot;
        }
    }

    /// A node of slots that are all alike.
    pub(crate) const fn of(slot: Slot) -> Self {
        Self {
            slots: [slot; SLOTS],
        }
    }

    /// Its one encoding: a bitmap of branches, a bitmap of leaves (both big-endian, bit n for slot n;
    /// a slot in both is a range that is away), then each taken slot in order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (mut branches, mut leaves) = (0_u16, 0_u16);
        let mut body = Vec::with_capacity(NODE_BYTES_MAX);
        for (at, slot) in (0_u32..).zip(&self.slots) {
            let bit = 1_u16.checked_shl(at).unwrap_or(0);
            match slot {
                Slot::Empty => {}
                Slot::Branch(digest) => {
                    branches |= bit;
                    body.extend_from_slice(digest.as_bytes());
                }
                Slot::Leaf { index, digest } => {
                    leaves |= bit;
                    body.extend_from_slice(index.as_bytes());
                    body.extend_from_slice(digest.as_bytes());
                }
                Slot::Away(away) => {
                    branches |= bit;
                    leaves |= bit;
                    away.encode(&mut body);
                }
            }
        }
        [
            branches.to_be_bytes().as_slice(),
            &leaves.to_be_bytes(),
            &body,
        ]
        .concat()
    }

    /// Reads a node; none for anything but its one encoding.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (branches, rest) = bytes.split_first_chunk::<2>()?;
        let (leaves, mut rest) = rest.split_first_chunk::<2>()?;
        let branches = u16::from_be_bytes(*branches);
        let leaves = u16::from_be_bytes(*leaves);
        let mut node = Self::default();
        for (at, slot) in (0_u32..).zip(&mut node.slots) {
            let bit = 1_u16.checked_shl(at).unwrap_or(0);
            if branches & leaves & bit != 0 {
                let (away, after) = Away::decode(rest)?;
                *slot = Slot::Away(away);
                rest = after;
            } else if branches & bit != 0 {
                let (digest, after) = rest.split_first_chunk::<BRANCH_BYTES>()?;
                *slot = Slot::Branch(Digest::new(*digest));
                rest = after;
            } else if leaves & bit != 0 {
                let (index, after) = rest.split_first_chunk::<32>()?;
                let (digest, after) = after.split_first_chunk::<32>()?;
                *slot = Slot::Leaf {
                    index: LeafIndex::new(*index),
                    digest: Digest::new(*digest),
                };
                rest = after;
            }
        }
        rest.is_empty().then_some(node)
    }

    pub(crate) fn digest(&self) -> Digest {
        node_digest(&self.encode())
    }
}

/// The digest of a node's bytes.
pub(crate) fn node_digest(bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault tree node");
    hasher.update(bytes);
    Digest::new(*hasher.finalize().as_bytes())
}

/// The digest of a leaf: its index and its sealed bytes.
pub(crate) fn leaf_digest(index: &LeafIndex, sealed: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault tree leaf");
    hasher.update(index.as_bytes());
    hasher.update(sealed);
    Digest::new(*hasher.finalize().as_bytes())
}
