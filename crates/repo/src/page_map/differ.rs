//! Making the page map of a new image from the one before.

use core::fmt;

use super::leaf::{FRAMES_MAX, FrameRef, Leaf, Slot};
use super::{FANOUT, FRAME_RAW_MAX, LEAF_PAGES, PageMap, height, is_page_size, leaves};
use crate::codec::{narrow, put_size, size};
use crate::hash::{ContentHasher, ExtentDigest, PageHash, PageKey};
use crate::keyring::Keyring;
use crate::layout::Extent;
use crate::node::{NodeError, NodeKind, NodeRef, NodeStore, PackTable};
use crate::vacated::Vacated;

/// Where frames of pages go, beside nodes: the engine implements it over messages packs.
pub trait PageStore: NodeStore {
    /// Compresses a frame of raw pages and stores it as one extent.
    ///
    /// # Errors
    /// [`NodeError::Unavailable`] if it cannot be stored.
    fn save_frame(&mut self, raw: &[u8], digest: ExtentDigest) -> Result<Extent, NodeError>;
}

/// Frames of an old leaf that are carried on, beyond those that a freshly written leaf would have.
/// More, and the leaf's pages are all stored anew: a leaf that changes a little every day would
/// otherwise be spread over ever more frames and never be read back fast.
const CARRIED_FRAMES: u32 = 256;

/// Takes a new image page by page and makes its map.
///
/// What is unchanged by its keyed hash is taken over from the old map, also whole leaves and
/// interior nodes. Another page size, or no old map, is a new base: everything is stored.
pub struct PageDiffer {
    key: PageKey,
    frame_hasher: ContentHasher,
    image: ContentHasher,
    old: Option<PageMap>,
    /// Pages and nodes that lie here are stored again.
    vacated: Vacated,
    new: Shape,
    /// Pages taken so far.
    taken: u32,
    changed: u32,
    old_leaf: Option<(NodeRef, Leaf)>,
    leaf: Leaf,
    /// Where each of the old leaf's frames stands in the new leaf's table.
    carried: Vec<Option<u16>>,
    /// Raw pages that are not in a frame yet; they are the last `frame_pages` changed slots.
    frame: Vec<u8>,
    frame_pages: u16,
    dirty: bool,
    /// References to finished nodes, by level, not yet in a parent; and how many parents there are.
    levels: Vec<Level>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    page_size: u32,
    page_count: u32,
}

#[derive(Debug, Default)]
struct Level {
    pending: Vec<NodeRef>,
    parents: u32,
}

impl PageDiffer {
    /// Begins with the old map, if there is one.
    ///
    /// # Errors
    /// [`NodeError::Malformed`] for a page size that SQLite does not have.
    pub fn new(
        keyring: &Keyring,
        old: Option<PageMap>,
        page_size: u32,
        page_count: u32,
    ) -> Result<Self, NodeError> {
        if !is_page_size(page_size) {
            return Err(NodeError::Malformed);
        }
        Ok(Self {
            key: keyring.page_key(),
            frame_hasher: keyring.content_hasher(),
            image: keyring.content_hasher(),
            old: old.filter(|old| old.page_size() == page_size),
            vacated: Vacated::default(),
            new: Shape {
                page_size,
                page_count,
            },
            taken: 0,
            changed: 0,
            old_leaf: None,
            leaf: Leaf::empty(1, page_size),
            carried: Vec::new(),
            frame: Vec::with_capacity(size(FRAME_RAW_MAX)),
            frame_pages: 0,
            dirty: false,
            levels: Vec::new(),
        })
    }

    /// Takes nothing over that lies in these packs: neither pages nor nodes.
    #[must_use]
    pub fn vacating(self, vacated: Vacated) -> Self {
        Self { vacated, ..self }
    }

    /// Whether everything will be stored, because there is no old map of this page size.
    #[must_use]
    pub fn is_new_base(&self) -> bool {
        self.old.is_none()
    }

    /// Pages stored so far.
    #[must_use]
    pub fn changed(&self) -> u32 {
        self.changed
    }

    /// Takes the next page.
    ///
    /// # Errors
    /// [`NodeError::PageOutOfTurn`] beyond the page count or for another length; others if nodes or
    /// frames cannot be read or stored.
    pub fn feed(&mut self, page: &[u8], store: &mut dyn PageStore) -> Result<(), NodeError> {
        if self.taken >= self.new.page_count || page.len() != size(self.new.page_size) {
            return Err(NodeError::PageOutOfTurn);
        }
        if self.taken.checked_rem(LEAF_PAGES) == Some(0) {
            self.begin_leaf(store)?;
        }
        self.image.update(page);
        let hash = self.key.hash(page);
        let at = self.leaf.slots.len();
        match self.carry(at, &hash) {
            Some(slot) => self.leaf.slots.push(slot),
            None => self.add(page, hash, store)?,
        }
        self.taken = self.taken.saturating_add(1);
        let leaf_full = self.taken.checked_rem(LEAF_PAGES) == Some(0);
        if leaf_full || self.taken == self.new.page_count {
            self.end_leaf(store)?;
        }
        Ok(())
    }

    /// Makes the map, once every page was fed.
    ///
    /// # Errors
    /// [`NodeError::PageOutOfTurn`] if pages are missing; others if nodes cannot be stored.
    pub fn finish(mut self, store: &mut dyn PageStore) -> Result<PageMap, NodeError> {
        if self.taken != self.new.page_count {
            return Err(NodeError::PageOutOfTurn);
        }
        let top = height(leaves(self.new.page_count));
        for level in 0..top {
            self.make_parent(level, store)?;
        }
        let root = self
            .levels
            .get(usize::from(top))
            .and_then(|level| level.pending.first().copied());
        PageMap::new(
            self.new.page_size,
            self.new.page_count,
            root,
            self.image.finish(),
        )
    }

    fn begin_leaf(&mut self, store: &mut dyn PageStore) -> Result<(), NodeError> {
        let index = self.taken.checked_div(LEAF_PAGES).unwrap_or(0);
        self.leaf = Leaf::empty(self.taken.saturating_add(1), self.new.page_size);
        self.leaf.slots.reserve_exact(size(LEAF_PAGES));
        self.old_leaf = None;
        self.dirty = false;
        if let Some(old) = &self.old
            && let Some(node) = old.node_at(0, index, &mut *store)?
        {
            let leaf = Leaf::decode(&store.load(&node)?, old, index)?;
            let fresh = LEAF_PAGES
                .saturating_mul(self.new.page_size)
                .div_ceil(FRAME_RAW_MAX);
            let most = fresh.saturating_add(CARRIED_FRAMES);
            if narrow(leaf.frames.len()) <= most {
                self.dirty = self.vacated.holds(&node.extent);
                self.old_leaf = Some((node, leaf));
            }
        }
        let frames = self
            .old_leaf
            .as_ref()
            .map_or(0, |(_, leaf)| leaf.frames.len());
        self.carried.clear();
        self.carried.resize(frames, None);
        Ok(())
    }

    /// The slot for a page that the old leaf already has at this place.
    fn carry(&mut self, at: usize, hash: &PageHash) -> Option<Slot> {
        let (_, old) = self.old_leaf.as_ref()?;
        let slot = old.slots.get(at).filter(|slot| slot.hash == *hash)?;
        let stored = old.frames.get(usize::from(slot.frame))?;
        if self.vacated.holds(&stored.extent) {
            return None;
        }
        let carried = self.carried.get_mut(usize::from(slot.frame))?;
        let frame = match *carried {
            Some(frame) => frame,
            None => {
                let frame = u16::try_from(self.leaf.frames.len()).ok()?;
                self.leaf.frames.push(*stored);
                *carried = Some(frame);
                frame
            }
        };
        Some(Slot { frame, ..*slot })
    }

    /// Puts a changed page into the frame that is being filled.
    fn add(
        &mut self,
        page: &[u8],
        hash: PageHash,
        store: &mut dyn PageStore,
    ) -> Result<(), NodeError> {
        self.dirty = true;
        self.changed = self.changed.saturating_add(1);
        // Its frame has no number yet: carried frames may still come in before it is stored.
        self.leaf.slots.push(Slot {
            hash,
            frame: OPEN_FRAME,
            place: self.frame_pages,
        });
        self.frame.extend_from_slice(page);
        self.frame_pages = self.frame_pages.saturating_add(1);
        if self.frame.len().saturating_add(page.len()) > size(FRAME_RAW_MAX) {
            self.store_frame(store)?;
        }
        Ok(())
    }

    fn store_frame(&mut self, store: &mut dyn PageStore) -> Result<(), NodeError> {
        if self.frame_pages == 0 {
            return Ok(());
        }
        self.frame_hasher.reset();
        self.frame_hasher.update(&self.frame);
        let digest = self.frame_hasher.finish().extent_digest();
        let extent = store.save_frame(&self.frame, digest)?;
        let number = u16::try_from(self.leaf.frames.len()).map_err(|_| NodeError::TooLong)?;
        self.leaf.frames.push(FrameRef {
            extent,
            pages: self.frame_pages,
            digest,
        });
        for slot in self.leaf.slots.iter_mut().rev() {
            if slot.frame == OPEN_FRAME {
                slot.frame = number;
            }
        }
        self.frame.clear();
        self.frame_pages = 0;
        Ok(())
    }

    fn end_leaf(&mut self, store: &mut dyn PageStore) -> Result<(), NodeError> {
        self.store_frame(store)?;
        let same = |(_, old): &&(NodeRef, Leaf)| old.slots.len() == self.leaf.slots.len();
        let node = match self.old_leaf.as_ref().filter(same) {
            Some((node, _)) if !self.dirty => *node,
            Some(_) | None => {
                if self.leaf.frames.len() > FRAMES_MAX {
                    return Err(NodeError::TooLong);
                }
                store.save(NodeKind::Map, &self.leaf.encode())?
            }
        };
        self.put_node(0, node, store)
    }

    fn put_node(
        &mut self,
        level: u8,
        node: NodeRef,
        store: &mut dyn PageStore,
    ) -> Result<(), NodeError> {
        let at = usize::from(level);
        while self.levels.len() <= at {
            self.levels.push(Level::default());
        }
        let full = self.levels.get_mut(at).is_some_and(|here| {
            here.pending.push(node);
            here.pending.len() >= size(FANOUT)
        });
        if full && level < height(leaves(self.new.page_count)) {
            self.make_parent(level, store)?;
        }
        Ok(())
    }

    /// Makes one parent of everything pending at a level, or takes the old one if it is the same.
    fn make_parent(&mut self, level: u8, store: &mut dyn PageStore) -> Result<(), NodeError> {
        let Some(here) = self.levels.get_mut(usize::from(level)) else {
            return Ok(());
        };
        if here.pending.is_empty() {
            return Ok(());
        }
        let children = core::mem::take(&mut here.pending);
        let index = here.parents;
        here.parents = index.saturating_add(1);
        let above = level.saturating_add(1);
        let node = match self.old_parent(above, index, &children, store)? {
            Some(node) => node,
            None => {
                let mut table = PackTable::default();
                let mut body = Vec::new();
                put_size(&mut body, children.len());
                for child in &children {
                    table.put_node(&mut body, child);
                }
                let mut raw = Vec::new();
                table.put_front(&mut raw, above);
                raw.extend_from_slice(&body);
                store.save(NodeKind::Map, &raw)?
            }
        };
        self.put_node(above, node, store)
    }

    fn old_parent(
        &self,
        level: u8,
        index: u32,
        children: &[NodeRef],
        store: &mut dyn PageStore,
    ) -> Result<Option<NodeRef>, NodeError> {
        let Some(old) = &self.old else {
            return Ok(None);
        };
        let Some(node) = old.node_at(level, index, &mut *store)? else {
            return Ok(None);
        };
        if self.vacated.holds(&node.extent) {
            return Ok(None);
        }
        let same = old.children(level, index, &store.load(&node)?)? == children;
        Ok(same.then_some(node))
    }
}

/// Stands for the frame that is being filled.
const OPEN_FRAME: u16 = u16::MAX;

impl fmt::Debug for PageDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageDiffer")
            .field("shape", &self.new)
            .field("taken", &self.taken)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}
