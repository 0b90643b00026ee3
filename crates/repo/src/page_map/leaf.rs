//! The leaves of a page map.

use super::{FRAME_RAW_MAX, LEAF_PAGES, PageMap};
use crate::codec::{Reader, narrow, put_size, put_varint, size};
use crate::hash::{ExtentDigest, PageHash, PageKey};
use crate::layout::Extent;
use crate::node::{Front, NodeError, PackTable};

/// Frames that one leaf refers to at most. [`PageDiffer`](super::PageDiffer) stores a leaf's pages
/// anew before it comes near.
pub(crate) const FRAMES_MAX: usize = 1536;

/// A stored run of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRef {
    /// Where its compressed bytes lie.
    pub extent: Extent,
    /// How many pages it holds, of which some may be outdated.
    pub pages: u16,
    /// The first 16 bytes of the content id of its raw bytes, as in the pack's table.
    pub digest: ExtentDigest,
}

impl FrameRef {
    /// Raw bytes, for pages of that size.
    #[must_use]
    pub fn raw_len(&self, page_size: u32) -> u32 {
        u32::from(self.pages).saturating_mul(page_size)
    }
}

/// Where one page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) hash: PageHash,
    /// In the leaf's table of frames.
    pub(crate) frame: u16,
    /// In the frame.
    pub(crate) place: u16,
}

/// A leaf: the pages from [`first_page`](Self::first_page) on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    first_page: u32,
    page_size: u32,
    pub(crate) frames: Vec<FrameRef>,
    pub(crate) slots: Vec<Slot>,
}

/// One page of a frame that belongs to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its number in the database, from 1.
    pub page_no: u32,
    place: u16,
    hash: PageHash,
}

/// A frame, and the pages that the image takes from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameUse {
    /// What to load and expand.
    pub frame: FrameRef,
    /// The pages to take from it, in order of their numbers.
    pub pages: Vec<Placed>,
    page_size: u32,
}

impl FrameUse {
    /// Length of the frame's raw bytes: what to expand it to.
    #[must_use]
    pub fn raw_len(&self) -> u32 {
        self.frame.raw_len(self.page_size)
    }

    /// Cuts a page out of the frame's raw bytes and checks its hash (BACKUP-1).
    ///
    /// # Errors
    /// [`NodeError::PageAltered`] if it is not the page that was backed up.
    pub fn page<'a>(
        &self,
        page: &Placed,
        raw: &'a [u8],
        key: &PageKey,
    ) -> Result<&'a [u8], NodeError> {
        let page_bytes = size(self.page_size);
        let start = usize::from(page.place).saturating_mul(page_bytes);
        let bytes = raw
            .get(start..start.saturating_add(page_bytes))
            .ok_or(NodeError::PageAltered)?;
        if key.matches(bytes, &page.hash) {
            Ok(bytes)
        } else {
            Err(NodeError::PageAltered)
        }
    }

    /// Cuts out all that the image takes, each page checked as by [`page`](Self::page): neighbours in the image that are
    /// neighbours in the frame as one run, with its offset in the image.
    ///
    /// # Errors
    /// In the place of a run that has an altered page: [`NodeError::PageAltered`].
    pub fn runs<'a>(
        &'a self,
        raw: &'a [u8],
        key: &'a PageKey,
    ) -> impl Iterator<Item = Result<(u64, &'a [u8]), NodeError>> {
        let side_by_side = |one: &Placed, other: &Placed| {
            one.page_no.checked_add(1) == Some(other.page_no)
                && one.place.checked_add(1) == Some(other.place)
        };
        self.pages.chunk_by(side_by_side).map(move |run| {
            for page in run {
                self.page(page, raw, key)?;
            }
            let page_bytes = size(self.page_size);
            let first = run.first().ok_or(NodeError::PageAltered)?;
            let start = usize::from(first.place).saturating_mul(page_bytes);
            let end = start.saturating_add(run.len().saturating_mul(page_bytes));
            let bytes = raw.get(start..end).ok_or(NodeError::PageAltered)?;
            let before = u64::from(first.page_no.saturating_sub(1));
            Ok((before.saturating_mul(u64::from(self.page_size)), bytes))
        })
    }
}

impl Leaf {
    pub(crate) fn empty(first_page: u32, page_size: u32) -> Self {
        Self {
            first_page,
            page_size,
            frames: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// The number of its first page, from 1.
    #[must_use]
    pub fn first_page(&self) -> u32 {
        self.first_page
    }

    /// How many pages it covers.
    #[must_use]
    pub fn pages(&self) -> u32 {
        narrow(self.slots.len())
    }

    /// Every frame that has pages of the image, with those pages: each frame is loaded once.
    #[must_use]
    pub fn frames(&self) -> Vec<FrameUse> {
        let mut uses: Vec<FrameUse> = self
            .frames
            .iter()
            .map(|frame| FrameUse {
                frame: *frame,
                pages: Vec::new(),
                page_size: self.page_size,
            })
            .collect();
        for (slot, page_no) in self.slots.iter().zip(self.first_page..) {
            if let Some(used) = uses.get_mut(usize::from(slot.frame)) {
                used.pages.push(placed(slot, page_no));
            }
        }
        uses.retain(|used| !used.pages.is_empty());
        uses
    }

    /// Where one page lies, by its number in the database. `None` if the leaf does not cover it.
    #[must_use]
    pub fn locate(&self, page_no: u32) -> Option<FrameUse> {
        let slot = self
            .slots
            .get(size(page_no.checked_sub(self.first_page)?))?;
        Some(FrameUse {
            frame: *self.frames.get(usize::from(slot.frame))?,
            pages: vec![placed(slot, page_no)],
            page_size: self.page_size,
        })
    }

    /// The leaf of a map that covers a page, counted from 0. Pages are numbered from 1.
    #[must_use]
    pub fn index_of(page_no: u32) -> u32 {
        page_no
            .saturating_sub(1)
            .checked_div(LEAF_PAGES)
            .unwrap_or(0)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut table = PackTable::default();
        let mut body = Vec::new();
        put_size(&mut body, self.frames.len());
        for frame in &self.frames {
            table.put_extent(&mut body, &frame.extent);
            put_varint(&mut body, u64::from(frame.pages));
            body.extend_from_slice(frame.digest.as_bytes());
        }
        // Column by column: frames and places of neighbours are alike and compress to nothing.
        put_size(&mut body, self.slots.len());
        for slot in &self.slots {
            body.extend_from_slice(&slot.frame.to_le_bytes());
        }
        for slot in &self.slots {
            body.extend_from_slice(&slot.place.to_le_bytes());
        }
        for slot in &self.slots {
            body.extend_from_slice(slot.hash.as_bytes());
        }
        let mut raw = Vec::new();
        table.put_front(&mut raw, 0);
        raw.extend_from_slice(&body);
        raw
    }

    /// Reads leaf `index` of `map`. Every reference in it is checked, so that what is taken from it
    /// later is in bounds.
    pub(crate) fn decode(raw: &[u8], map: &PageMap, index: u32) -> Result<Self, NodeError> {
        let mut reader = Reader::new(raw);
        let front = Front::read(&mut reader)?;
        if front.level != 0 {
            return Err(NodeError::TooDeep {
                expected: 0,
                found: front.level,
            });
        }
        let before = index.saturating_mul(LEAF_PAGES);
        let mut leaf = Self::empty(before.saturating_add(1), map.page_size());
        let frames = reader.count(20)?;
        if frames > FRAMES_MAX {
            return Err(NodeError::Malformed);
        }
        for _ in 0..frames {
            let extent = front.extent(&mut reader)?;
            let pages = u16::try_from(reader.varint()?).map_err(|_| NodeError::Malformed)?;
            let frame = FrameRef {
                extent,
                pages,
                digest: ExtentDigest::from_bytes(reader.array()?),
            };
            // A12: a frame expands to this much, so it is bounded here, where it is named.
            if pages == 0 || frame.raw_len(leaf.page_size) > FRAME_RAW_MAX {
                return Err(NodeError::Malformed);
            }
            leaf.frames.push(frame);
        }
        let count = reader.count(20)?;
        let expected = map.page_count().saturating_sub(before).min(LEAF_PAGES);
        if count != size(expected) {
            return Err(NodeError::Malformed);
        }
        leaf.read_slots(&mut reader, count)?;
        reader.end()?;
        Ok(leaf)
    }

    fn read_slots(&mut self, reader: &mut Reader<'_>, count: usize) -> Result<(), NodeError> {
        let columns = count.saturating_mul(2);
        let mut frames = Reader::new(reader.take(columns)?);
        let mut places = Reader::new(reader.take(columns)?);
        self.slots.reserve_exact(count);
        for _ in 0..count {
            let slot = Slot {
                hash: PageHash::from_bytes(reader.array()?),
                frame: frames.u16()?,
                place: places.u16()?,
            };
            let frame = self.frames.get(usize::from(slot.frame));
            if frame.is_none_or(|frame| slot.place >= frame.pages) {
                return Err(NodeError::Malformed);
            }
            self.slots.push(slot);
        }
        Ok(())
    }
}

fn placed(slot: &Slot, page_no: u32) -> Placed {
    Placed {
        page_no,
        place: slot.place,
        hash: slot.hash,
    }
}
