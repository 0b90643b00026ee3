//! One node: sixteen slots, and its bytes.

use alloc::vec;
use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::range::Away;
use super::{Digest, nibble};

/// Slots of a node: one for each nibble.
const SLOTS: u8 = 16;
const BITMAPS_BYTES: usize = 4;

/// The longest a node's bytes can be: every slot a range that was given away.
pub const NODE_BYTES_MAX: usize = 1572;

const _: () = assert!(BITMAPS_BYTES + SLOTS as usize * Away::BYTES_MAX == NODE_BYTES_MAX);

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

impl Slot {
    const fn kind(&self) -> Kind {
        match self {
            Self::Empty => Kind::Empty,
            Self::Branch(_) => Kind::Branch,
            Self::Leaf { .. } => Kind::Leaf,
            Self::Away(_) => Kind::Away,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => {}
            Self::Branch(digest) => out.extend_from_slice(digest.as_bytes()),
            Self::Leaf { index, digest } => {
                out.extend_from_slice(index.as_bytes());
                out.extend_from_slice(digest.as_bytes());
            }
            Self::Away(away) => away.encode(out),
        }
    }
}

/// A node: its one encoding, which is looked at and changed in place. A path needs one slot of each
/// node on it, so that to unpack all sixteen would be most of the work.
///
/// A bitmap of branches, a bitmap of leaves (both big-endian, bit n for slot n; a slot in both is a
/// range that is away), then each taken slot in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    bytes: Vec<u8>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            bytes: vec![0; BITMAPS_BYTES],
        }
    }
}

impl Node {
    /// A node of slots that are all alike.
    pub(crate) fn of(slot: Slot) -> Self {
        let mut node = Self::default();
        for at in 0..SLOTS {
            node.put(at, slot);
        }
        node
    }

    /// What stands in the slot towards an index.
    pub(crate) fn slot(&self, index: &LeafIndex, depth: u8) -> Slot {
        self.at(nibble(index, depth))
    }

    /// All slots, in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u8, Slot)> {
        (0..SLOTS).map(|at| (at, self.at(at)))
    }

    /// Puts something in the slot towards an index.
    pub(crate) fn set(&mut self, index: &LeafIndex, depth: u8, slot: Slot) {
        self.put(nibble(index, depth), slot);
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads a node; none for anything but its one encoding.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let node = Self {
            bytes: bytes.to_vec(),
        };
        let (_, behind) = node.find(SLOTS)?;
        behind.is_empty().then_some(node)
    }

    pub(crate) fn digest(&self) -> Digest {
        node_digest(&self.bytes)
    }

    fn at(&self, at: u8) -> Slot {
        // A node's bytes are an encoding, so that every slot is there.
        self.find(at)
            .and_then(|(kind, rest)| kind.read(rest))
            .map(|(slot, _)| slot)
            .unwrap_or_default()
    }

    fn put(&mut self, at: u8, slot: Slot) {
        let Some((was, rest)) = self.find(at) else {
            return;
        };
        let start = self.bytes.len().saturating_sub(rest.len());
        let taken = was.read(rest).map_or(0, |(_, after)| after.len());
        let end = self.bytes.len().saturating_sub(taken);
        let mut bytes = Vec::new();
        slot.encode(&mut bytes);
        self.bytes.splice(start..end, bytes);
        if let Some((kinds, _)) = Kinds::read(&self.bytes)
            && let Some(head) = self.bytes.first_chunk_mut()
        {
            *head = kinds.with(at, slot.kind()).bytes();
        }
    }

    /// The kind of a slot, and the bytes from it on; of the slot behind the last, what is behind the node.
    fn find(&self, at: u8) -> Option<(Kind, &[u8])> {
        let (kinds, mut rest) = Kinds::read(&self.bytes)?;
        for before in 0..at {
            rest = kinds.of(before).read(rest)?.1;
        }
        Some((kinds.of(at), rest))
    }
}

/// What is said of a slot by the bitmaps.
#[derive(Clone, Copy)]
enum Kind {
    Empty,
    Branch,
    Leaf,
    Away,
}

impl Kind {
    /// What stands at the head of these bytes, and the bytes behind it.
    fn read(self, bytes: &[u8]) -> Option<(Slot, &[u8])> {
        Some(match self {
            Self::Empty => (Slot::Empty, bytes),
            Self::Branch => {
                let (digest, rest) = bytes.split_first_chunk()?;
                (Slot::Branch(Digest::new(*digest)), rest)
            }
            Self::Leaf => {
                let (index, rest) = bytes.split_first_chunk()?;
                let (digest, rest) = rest.split_first_chunk()?;
                let (index, digest) = (LeafIndex::new(*index), Digest::new(*digest));
                (Slot::Leaf { index, digest }, rest)
            }
            Self::Away => {
                let (away, rest) = Away::decode(bytes)?;
                (Slot::Away(away), rest)
            }
        })
    }
}

/// The two bitmaps.
#[derive(Clone, Copy)]
struct Kinds {
    branches: u16,
    leaves: u16,
}

impl Kinds {
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let ([a, b, c, d], rest) = bytes.split_first_chunk()?;
        let kinds = Self {
            branches: u16::from_be_bytes([*a, *b]),
            leaves: u16::from_be_bytes([*c, *d]),
        };
        Some((kinds, rest))
    }

    const fn bytes(self) -> [u8; BITMAPS_BYTES] {
        let ([a, b], [c, d]) = (self.branches.to_be_bytes(), self.leaves.to_be_bytes());
        [a, b, c, d]
    }

    fn of(self, at: u8) -> Kind {
        match (self.branches & bit(at) != 0, self.leaves & bit(at) != 0) {
            (false, false) => Kind::Empty,
            (true, false) => Kind::Branch,
            (false, true) => Kind::Leaf,
            (true, true) => Kind::Away,
        }
    }

    fn with(self, at: u8, kind: Kind) -> Self {
        let set = |bitmap: u16, taken| {
            let others = bitmap & !bit(at);
            if taken { others | bit(at) } else { others }
        };
        Self {
            branches: set(self.branches, matches!(kind, Kind::Branch | Kind::Away)),
            leaves: set(self.leaves, matches!(kind, Kind::Leaf | Kind::Away)),
        }
    }
}

fn bit(at: u8) -> u16 {
    1_u16.checked_shl(at.into()).unwrap_or(0)
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
