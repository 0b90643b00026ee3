//! One node: sixteen slots, and its bytes.

use alloc::vec;
use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::range::{Given, Turn};
use super::{Digest, nibble};

/// Slots of a node: one for each nibble.
const SLOTS: u8 = 16;
const BITMAPS_BYTES: usize = 4;

/// The longest a node's bytes can be: every slot a range that was given away.
pub const NODE_BYTES_MAX: usize = 1444;

const _: () = assert!(BITMAPS_BYTES + SLOTS as usize * (1 + Given::BYTES) == NODE_BYTES_MAX);

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The group's own: a range that has come to it at this turn, or, at turn 0, anything else.
    Own { turn: Turn, content: Content },
    /// A range that never was the group's.
    Foreign,
    /// A range that the group gave away.
    Given(Given),
}

/// What is under a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Content {
    #[default]
    Empty,
    /// A node below, by its digest.
    Branch(Digest),
    /// The only leaf.
    Leaf { index: LeafIndex, digest: Digest },
}

impl Content {
    /// Kind 1, and what is there, or zeros.
    pub(crate) const BYTES: usize = 1 + 2 * 32;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let zeros = [0; 32];
        let (kind, first, second) = match self {
            Self::Empty => (0, &zeros, &zeros),
            Self::Branch(digest) => (1, digest.as_bytes(), &zeros),
            Self::Leaf { index, digest } => (2, index.as_bytes(), digest.as_bytes()),
        };
        out.push(kind);
        out.extend_from_slice(first);
        out.extend_from_slice(second);
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (kind, bytes) = bytes.split_first()?;
        let (first, bytes) = bytes.split_first_chunk::<32>()?;
        let second: &[u8; 32] = bytes.try_into().ok()?;
        let zeros = [0; 32];
        match kind {
            0 => (*first == zeros && *second == zeros).then_some(Self::Empty),
            1 => (*second == zeros).then_some(Self::Branch(Digest::new(*first))),
            2 => Some(Self::Leaf {
                index: LeafIndex::new(*first),
                digest: Digest::new(*second),
            }),
            _ => None,
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::own(Content::Empty)
    }
}

impl Slot {
    const FOREIGN: u8 = 0;
    const GIVEN: u8 = 1;
    const CAME: u8 = 2;

    /// The group's own, and has been from the beginning.
    pub(crate) const fn own(content: Content) -> Self {
        Self::Own {
            turn: Turn::FIRST,
            content,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Own {
                turn: Turn::FIRST,
                content,
            } => match content {
                Content::Empty => Kind::Empty,
                Content::Branch(_) => Kind::Branch,
                Content::Leaf { .. } => Kind::Leaf,
            },
            Self::Own { .. } | Self::Foreign | Self::Given(_) => Kind::Marked,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Own {
                turn: Turn::FIRST,
                content,
            } => match content {
                Content::Empty => {}
                Content::Branch(digest) => out.extend_from_slice(digest.as_bytes()),
                Content::Leaf { index, digest } => {
                    out.extend_from_slice(index.as_bytes());
                    out.extend_from_slice(digest.as_bytes());
                }
            },
            Self::Own { turn, content } => {
                out.push(Self::CAME);
                out.extend_from_slice(&turn.encode());
                content.encode(out);
            }
            Self::Foreign => out.push(Self::FOREIGN),
            Self::Given(given) => {
                out.push(Self::GIVEN);
                given.encode(out);
            }
        }
    }

    /// Reads what stands behind both bits.
    fn decode_marked(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, bytes) = bytes.split_first()?;
        match *kind {
            Self::FOREIGN => Some((Self::Foreign, bytes)),
            Self::GIVEN => {
                let (given, bytes) = Given::decode(bytes)?;
                Some((Self::Given(given), bytes))
            }
            Self::CAME => {
                let (turn, bytes) = bytes.split_first_chunk()?;
                let (content, bytes) = bytes.split_first_chunk()?;
                let turn = Turn::decode(*turn);
                let content = Content::decode(content)?;
                (turn != Turn::FIRST).then_some((Self::Own { turn, content }, bytes))
            }
            _ => None,
        }
    }
}

/// A node: its one encoding, which is looked at and changed in place. A path needs one slot of each
/// node on it, so that to unpack all sixteen would be most of the work.
///
/// A bitmap of branches, a bitmap of leaves (both big-endian, bit n for slot n; a slot in both is a
/// range that has moved or is another group's), then each taken slot in order.
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

    /// Puts something under the slot towards an index, whatever turn the slot is at.
    pub(crate) fn fill(&mut self, index: &LeafIndex, depth: u8, content: Content) {
        let turn = match self.slot(index, depth) {
            Slot::Own { turn, .. } => turn,
            Slot::Foreign | Slot::Given(_) => Turn::FIRST,
        };
        self.set(index, depth, Slot::Own { turn, content });
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
    Marked,
}

impl Kind {
    /// What stands at the head of these bytes, and the bytes behind it.
    fn read(self, bytes: &[u8]) -> Option<(Slot, &[u8])> {
        Some(match self {
            Self::Empty => (Slot::default(), bytes),
            Self::Branch => {
                let (digest, rest) = bytes.split_first_chunk()?;
                let content = Content::Branch(Digest::new(*digest));
                (Slot::own(content), rest)
            }
            Self::Leaf => {
                let (index, rest) = bytes.split_first_chunk()?;
                let (digest, rest) = rest.split_first_chunk()?;
                let (index, digest) = (LeafIndex::new(*index), Digest::new(*digest));
                (Slot::own(Content::Leaf { index, digest }), rest)
            }
            Self::Marked => Slot::decode_marked(bytes)?,
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
            (true, true) => Kind::Marked,
        }
    }

    fn with(self, at: u8, kind: Kind) -> Self {
        let set = |bitmap: u16, taken| {
            let others = bitmap & !bit(at);
            if taken { others | bit(at) } else { others }
        };
        Self {
            branches: set(self.branches, matches!(kind, Kind::Branch | Kind::Marked)),
            leaves: set(self.leaves, matches!(kind, Kind::Leaf | Kind::Marked)),
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
