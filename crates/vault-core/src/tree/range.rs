//! Ranges of accounts, and whose they are.
//!
//! Which accounts a group answers for stands in its tree, under its root: what was given away cannot
//! be used again without a root that says so, and no core keeps a list beside it.
//!
//! ```text
//!   a slot:   empty | branch | leaf      this group's
//!             foreign                    never was this group's
//!             awaited, nonce             this group has asked for it
//!             given, to, nonce, content  this group has given it away
//! ```

use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::node::Slot;
use super::{Digest, NodeKey, PartialTree, ProofError, nibble};
use crate::log::GroupId;

/// Accounts whose leaf indices begin alike: written as the hexadecimal digits that they begin with.
///
/// A fleet of groups divides all accounts into such ranges, of one to [`DIGITS_MAX`](Self::DIGITS_MAX)
/// digits: 16 to 65,536 of one size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    digits: u8,
    /// The digits, packed, with zeros behind.
    path: [u8; 2],
}

impl Range {
    /// How many digits a range has at most.
    pub const DIGITS_MAX: u8 = 4;
    /// How many bytes it has in statements.
    pub(crate) const BYTES: usize = 3;

    /// Reads a range as it is written: `a`, `a3`, `a3f`, `a3f0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = u8::try_from(text.len()).ok()?;
        let mut path = [0; 2];
        for (at, letter) in text.chars().enumerate() {
            let digit = u8::try_from(letter.to_digit(16)?).ok()?;
            *path.get_mut(at / 2)? |= if at.is_multiple_of(2) {
                digit << 4
            } else {
                digit
            };
        }
        let is_plain = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (digits > 0 && is_plain).then_some(Self { digits, path })
    }

    /// Whether an account is in it.
    #[must_use]
    pub fn holds(&self, index: &LeafIndex) -> bool {
        (0..self.digits).all(|at| nibble(index, at) == nibble(&self.path(), at))
    }

    /// Whether a node or leaf lies below its slot: what hosts copy when the range goes to another
    /// group.
    #[must_use]
    pub fn covers(&self, key: &NodeKey) -> bool {
        let below = key.depth().is_none_or(|depth| depth > self.depth());
        below && self.holds(&key.path())
    }

    /// The depth of the node in which it is one slot.
    pub(crate) const fn depth(&self) -> u8 {
        self.digits.saturating_sub(1)
    }

    /// The path to its slot: the first index in it.
    pub(crate) fn path(&self) -> LeafIndex {
        let mut index = [0; 32];
        for (byte, path) in index.iter_mut().zip(self.path) {
            *byte = path;
        }
        LeafIndex::new(index)
    }

    pub(crate) const fn encode(&self) -> [u8; Self::BYTES] {
        let [first, second] = self.path;
        [self.digits, first, second]
    }

    pub(crate) fn decode([digits, first, second]: [u8; Self::BYTES]) -> Option<Self> {
        let path = [first, second];
        let unused = match digits {
            1 => u16::from_be_bytes(path) & 0x0fff,
            2 => u16::from_be_bytes(path) & 0x00ff,
            3 => u16::from_be_bytes(path) & 0x000f,
            4 => 0,
            _ => return None,
        };
        (unused == 0).then_some(Self { digits, path })
    }
}

impl core::fmt::Display for Range {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (0..self.digits).try_for_each(|at| write!(f, "{:x}", nibble(&self.path(), at)))
    }
}

impl core::fmt::Debug for Range {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Range({self})")
    }
}

/// What makes a transfer be accepted once: random bytes, drawn by the core that takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Nonce(pub(crate) [u8; Self::BYTES]);

impl Nonce {
    pub(crate) const BYTES: usize = 16;
}

/// What is in a range: a slot that is its group's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Empty,
    Branch(Digest),
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

    pub(crate) const fn slot(self) -> Slot {
        match self {
            Self::Empty => Slot::Empty,
            Self::Branch(digest) => Slot::Branch(digest),
            Self::Leaf { index, digest } => Slot::Leaf { index, digest },
        }
    }
}

/// A range that was given away. It is kept, so that who lost the statement gets it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Given {
    pub(crate) to: GroupId,
    pub(crate) nonce: Nonce,
    pub(crate) content: Content,
}

/// What a slot that is not the group's own says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Away {
    Foreign,
    Awaited(Nonce),
    Given(Given),
}

impl Away {
    pub(super) const BYTES_MAX: usize = 1 + 16 + Nonce::BYTES + Content::BYTES;

    /// Kind 1, and what is said of it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Foreign => out.push(0),
            Self::Awaited(nonce) => {
                out.push(1);
                out.extend(nonce.0);
            }
            Self::Given(given) => {
                out.push(2);
                out.extend(given.to.as_bytes());
                out.extend(given.nonce.0);
                given.content.encode(out);
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, bytes) = bytes.split_first()?;
        match kind {
            0 => Some((Self::Foreign, bytes)),
            1 => {
                let (nonce, bytes) = bytes.split_first_chunk()?;
                Some((Self::Awaited(Nonce(*nonce)), bytes))
            }
            2 => {
                let (to, bytes) = bytes.split_first_chunk()?;
                let (nonce, bytes) = bytes.split_first_chunk()?;
                let (content, bytes) = bytes.split_first_chunk()?;
                let given = Given {
                    to: GroupId::new(*to),
                    nonce: Nonce(*nonce),
                    content: Content::decode(content)?,
                };
                Some((Self::Given(given), bytes))
            }
            _ => None,
        }
    }
}

/// What a tree says of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holding {
    /// The group's own, as far as the tree's upper part tells.
    Own(Content),
    /// Just this range is not.
    Away(Away),
    /// A larger range was awaited or given away as a whole, and this one is a part of it.
    Part,
}

impl PartialTree<'_> {
    /// What the tree says of a range.
    pub(crate) fn holding(&mut self, range: Range) -> Result<Holding, ProofError> {
        self.settle();
        let (depth, slot) = self.walk(&range.path(), range.depth())?;
        Ok(match slot {
            Slot::Empty => Holding::Own(Content::Empty),
            Slot::Branch(digest) => Holding::Own(Content::Branch(digest)),
            // A leaf stands as high as it is alone.
            Slot::Leaf { index, .. } if !range.holds(&index) => Holding::Own(Content::Empty),
            Slot::Leaf { index, digest } => Holding::Own(Content::Leaf { index, digest }),
            Slot::Away(Away::Foreign) => Holding::Away(Away::Foreign),
            Slot::Away(away) if depth == range.depth() => Holding::Away(away),
            Slot::Away(Away::Awaited(_) | Away::Given(_)) => Holding::Part,
        })
    }

    /// Says something else of a range that has a [`Holding::Own`] or [`Holding::Away`].
    pub(crate) fn hold(&mut self, range: Range, slot: Slot) -> Result<(), ProofError> {
        // VAULT-1: what was written below the slot must not come up into it later.
        self.settle();
        let path = range.path();
        let (depth, above) = self.walk(&path, range.depth())?;
        let slot = if depth == range.depth() {
            slot
        } else {
            self.spread(&path, (depth, above), (range.depth(), slot))
        };
        self.set(&path, depth, slot);
        Ok(())
    }
}
