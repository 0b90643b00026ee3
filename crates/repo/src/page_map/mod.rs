//! Page maps: which bytes every page of a database has.
//!
//! An array tree over the pages. A leaf covers 2,048 pages; for each it holds a 16-byte keyed hash
//! and where the page lies: which frame of the leaf's table, which place in it. A frame is at most
//! 256 KiB of raw pages, compressed together, one extent of a messages pack.
//!
//! ```text
//!   root ── leaf 0: pages 1…2048      frames: [f0: 64 pages][f1: 64 pages]…
//!        ── leaf 1: pages 2049…4096   page 2049 → hash, frame 0, place 0 …
//! ```
//!
//! [`PageDiffer`] is fed all pages of the new image in order; it stores those that changed, rewrites
//! the leaves they are in and takes over the others by reference.

mod differ;
mod leaf;

pub use differ::{PageDiffer, PageStore};
pub use leaf::{FrameRef, FrameUse, Leaf, Placed};

use crate::codec::{Reader, size};
use crate::hash::ContentId;
use crate::node::{Front, NodeError, NodeRef, NodeStore};

/// Pages that one leaf covers.
pub const LEAF_PAGES: u32 = 2048;
/// Children of one interior node.
pub const FANOUT: u32 = 256;
/// The most raw bytes in one frame.
pub const FRAME_RAW_MAX: u32 = 256 * 1024;
/// The smallest and the largest page of SQLite.
const PAGE_SIZES: core::ops::RangeInclusive<u32> = 512..=65_536;

/// The pages of one database image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMap {
    page_size: u32,
    page_count: u32,
    root: Option<NodeRef>,
    image: ContentId,
}

impl PageMap {
    /// Puts the parts together, as they stand in a file tree's entry.
    ///
    /// # Errors
    /// [`NodeError::Malformed`] unless the page size is one of SQLite's and the root is there
    /// exactly if there are pages.
    pub fn new(
        page_size: u32,
        page_count: u32,
        root: Option<NodeRef>,
        image: ContentId,
    ) -> Result<Self, NodeError> {
        if is_page_size(page_size) && (page_count > 0) == root.is_some() {
            Ok(Self {
                page_size,
                page_count,
                root,
                image,
            })
        } else {
            Err(NodeError::Malformed)
        }
    }

    /// Bytes of each page.
    #[must_use]
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// How many pages.
    #[must_use]
    pub fn page_count(&self) -> u32 {
        self.page_count
    }

    /// Bytes of the image.
    #[must_use]
    pub fn image_len(&self) -> u64 {
        u64::from(self.page_size).saturating_mul(u64::from(self.page_count))
    }

    /// The root of the tree, unless there are no pages.
    #[must_use]
    pub fn root(&self) -> Option<&NodeRef> {
        self.root.as_ref()
    }

    /// The id of the whole image.
    #[must_use]
    pub fn image(&self) -> &ContentId {
        &self.image
    }

    /// How many leaves.
    #[must_use]
    pub fn leaves(&self) -> u32 {
        leaves(self.page_count)
    }

    /// Reads one leaf, counted from 0.
    ///
    /// # Errors
    /// [`NodeError`] if a node on the way cannot be read or is not what it must be.
    pub fn leaf(&self, index: u32, nodes: &mut dyn NodeStore) -> Result<Leaf, NodeError> {
        let node = self.node_at(0, index, nodes)?.ok_or(NodeError::Malformed)?;
        Leaf::decode(&nodes.load(&node)?, self, index)
    }

    /// The node of that level and place, counted from 0; `None` outside the tree.
    pub(crate) fn node_at(
        &self,
        level: u8,
        index: u32,
        nodes: &mut dyn NodeStore,
    ) -> Result<Option<NodeRef>, NodeError> {
        let Some(mut node) = self.root else {
            return Ok(None);
        };
        let mut at = height(self.leaves());
        if level > at || index >= width(self.leaves(), level) {
            return Ok(None);
        }
        while at > level {
            let below = at.saturating_sub(1);
            let steps = u32::from(below.saturating_sub(level));
            let place = index.checked_div(FANOUT.saturating_pow(steps)).unwrap_or(0);
            let parent = place.checked_div(FANOUT).unwrap_or(0);
            let children = self.children(at, parent, &nodes.load(&node)?)?;
            let within = size(place.checked_rem(FANOUT).unwrap_or(0));
            node = *children.get(within).ok_or(NodeError::Malformed)?;
            at = below;
        }
        Ok(Some(node))
    }

    /// The children of an interior node: exactly as many as the page count says.
    pub(crate) fn children(
        &self,
        level: u8,
        index: u32,
        raw: &[u8],
    ) -> Result<Vec<NodeRef>, NodeError> {
        let mut reader = Reader::new(raw);
        let front = Front::read(&mut reader)?;
        if front.level != level {
            return Err(NodeError::TooDeep {
                expected: level,
                found: front.level,
            });
        }
        let below = width(self.leaves(), level.saturating_sub(1));
        let expected = below
            .saturating_sub(index.saturating_mul(FANOUT))
            .min(FANOUT);
        let count = reader.count(36)?;
        if count != size(expected) {
            return Err(NodeError::Malformed);
        }
        let mut children = Vec::with_capacity(count);
        for _ in 0..count {
            children.push(front.node(&mut reader)?);
        }
        reader.end()?;
        Ok(children)
    }
}

pub(crate) fn is_page_size(page_size: u32) -> bool {
    page_size.is_power_of_two() && PAGE_SIZES.contains(&page_size)
}

/// How many leaves that many pages take.
pub(crate) fn leaves(page_count: u32) -> u32 {
    page_count.div_ceil(LEAF_PAGES)
}

/// How many nodes stand at a level over that many leaves.
pub(crate) fn width(leaves: u32, level: u8) -> u32 {
    (0..level).fold(leaves, |below, _| below.div_ceil(FANOUT))
}

/// The level of the root over that many leaves.
pub(crate) fn height(leaves: u32) -> u8 {
    let mut level = 0_u8;
    while width(leaves, level) > 1 {
        level = level.saturating_add(1);
    }
    level
}
