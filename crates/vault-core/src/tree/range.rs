//! Ranges of accounts, and whose they are.
//!
//! Which accounts a group answers for stands in its tree, under its root: what was given away cannot
//! be used again without a root that says so, and no core keeps a list beside it.
//!
//! ```text
//!   a slot:   empty | branch | leaf    this group's, from the beginning
//!             came, turn, content      this group's, since this turn
//!             foreign                  never was this group's
//!             given, to, turn, content this group has given it away, in this turn
//! ```

use alloc::vec::Vec;

use keyhaven_wire::message::LeafIndex;

use super::node::{Content, Node, Slot};
use super::{NodeKey, PartialTree, ProofError};
use crate::log::GroupId;

/// Accounts whose leaf indices begin with the same byte, written as its two hexadecimal digits.
///
/// A fleet of groups divides all accounts into these 256 ranges, each of them one slot of the tree. All
/// are of one size: of a range and a part of it, neither could go anywhere without the other's leave. And
/// every byte is one: there is no range that ends before it begins, as there was at a peer
/// (juicebox-systems/juicebox-hsm-realm 7926309).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range(u8);

impl Range {
    /// How many bytes it has in statements.
    pub(crate) const BYTES: usize = 1;
    /// The depth of the node in which it is one slot.
    pub(crate) const DEPTH: u8 = 1;

    /// Reads a range as it is written: `a3`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let are_two = text.len() == 2 && text.bytes().all(is_digit);
        u8::from_str_radix(text, 16)
            .ok()
            .filter(|_| are_two)
            .map(Self)
    }

    /// The range that an account is in.
    #[must_use]
    pub fn of(index: &LeafIndex) -> Self {
        let [first, ..] = index.as_bytes();
        Self(*first)
    }

    /// Whether an account is in it.
    #[must_use]
    pub fn holds(&self, index: &LeafIndex) -> bool {
        Self::of(index) == *self
    }

    /// Whether a node or leaf lies below its slot: what hosts copy when the range goes to another
    /// group.
    #[must_use]
    pub fn covers(&self, key: &NodeKey) -> bool {
        let below = key.depth().is_none_or(|depth| depth > Self::DEPTH);
        below && self.holds(&key.path())
    }

    /// The path to its slot: the first index in it.
    pub(crate) const fn path(self) -> LeafIndex {
        let mut index = [0; 32];
        let [first, ..] = &mut index;
        *first = self.0;
        LeafIndex::new(index)
    }

    pub(crate) const fn encode(self) -> [u8; Self::BYTES] {
        [self.0]
    }

    pub(crate) const fn decode([first]: [u8; Self::BYTES]) -> Self {
        Self(first)
    }
}

impl core::fmt::Display for Range {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl core::fmt::Debug for Range {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Range({self})")
    }
}

/// How often a range has gone from one group to another. Each turn of a range happens once in a fleet,
/// for only who has it at that turn can give it on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Turn(u64);

impl Turn {
    pub(crate) const FIRST: Self = Self(0);
    pub(crate) const BYTES: usize = 8;

    /// None after more than any fleet lives through.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    pub(crate) const fn encode(self) -> [u8; Self::BYTES] {
        self.0.to_be_bytes()
    }

    pub(crate) const fn decode(bytes: [u8; Self::BYTES]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

/// A range that was given away. It is kept, so that who lost the statement gets it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Given {
    pub(crate) to: GroupId,
    pub(crate) turn: Turn,
    pub(crate) content: Content,
}

impl Given {
    pub(super) const BYTES: usize = 16 + Turn::BYTES + Content::BYTES;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.to.as_bytes());
        out.extend(self.turn.encode());
        self.content.encode(out);
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (to, bytes) = bytes.split_first_chunk()?;
        let (turn, bytes) = bytes.split_first_chunk()?;
        let (content, bytes) = bytes.split_first_chunk()?;
        let given = Self {
            to: GroupId::new(*to),
            turn: Turn::decode(*turn),
            content: Content::decode(content)?,
        };
        Some((given, bytes))
    }
}

impl PartialTree<'_> {
    /// What stands for a range.
    pub(crate) fn range(&mut self, range: Range) -> Result<Slot, ProofError> {
        self.settle();
        let path = range.path();
        let (_, slot) = self.walk(&path, Range::DEPTH)?;
        Ok(match slot {
            // A leaf stands as high as it is alone: above the ranges, it is in one of them.
            Slot::Own {
                content: Content::Leaf { index, .. },
                ..
            } if !range.holds(&index) => Slot::default(),
            Slot::Own { .. } | Slot::Foreign | Slot::Given(_) => slot,
        })
    }

    /// Says something else of a range.
    pub(crate) fn set_range(&mut self, range: Range, slot: Slot) -> Result<(), ProofError> {
        // VAULT-1: what was written below the slot must not come up into it later.
        self.settle();
        let path = range.path();
        let (depth, above) = self.walk(&path, Range::DEPTH)?;
        if depth < Range::DEPTH {
            self.divide(&path, above);
        }
        self.set(&path, Range::DEPTH, slot);
        Ok(())
    }

    /// Makes a node of sixteen ranges of a slot of the root. What is empty or foreign is so in each; a
    /// leaf goes down into its own.
    fn divide(&mut self, path: &LeafIndex, above: Slot) {
        let node = match above {
            Slot::Foreign | Slot::Given(_) => Node::of(Slot::Foreign),
            Slot::Own { content, .. } => {
                let mut node = Node::default();
                if let Content::Leaf { index, .. } = content {
                    node.fill(&index, Range::DEPTH, content);
                }
                node
            }
        };
        self.put_below_root(path, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_its_two_digits() {
        for first in 0..=u8::MAX {
            let range = Range(first);
            assert_eq!(Range::parse(&alloc::format!("{first:02x}")), Some(range));
            assert!(range.holds(&range.path()));
        }
        for text in ["", "a", "A3", "+1", "-1", "g0", "a3f", "\u{e4}", " 1"] {
            assert_eq!(Range::parse(text), None, "{text:?}");
        }
    }

    /// What hosts copy is all that lies below the range's slot: not the nodes that hold the slots of other ranges.
    #[test]
    fn a_range_covers_what_lies_below_its_slot() {
        let (range, other) = (Range(0xa3), Range(0xa4));
        let path = range.path();
        assert!(range.covers(&NodeKey::leaf(&path)));
        assert!(!other.covers(&NodeKey::leaf(&path)));
        for depth in 0..=63 {
            let key = NodeKey::node(&path, depth);
            assert_eq!(range.covers(&key), depth > 1, "{depth}");
            assert!(!other.covers(&key), "{depth}");
        }
    }
}
