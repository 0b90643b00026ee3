//! The table of contents at the end of a pack, and the footer behind it.
//!
//! ```text
//!   entry, 25 bytes:  kind 1 | offset 4 | length 4 | digest 16
//!   footer, 8 bytes:  content length 4 | number of entries 4
//! ```

use super::PackError;
use crate::codec::{Reader, narrow, size};
use crate::hash::ExtentDigest;
use crate::layout::SizeClass;

/// One entry of the table of contents.
pub(crate) const TOC_ENTRY_BYTES: u32 = 25;
/// The footer, the last bytes of a pack's plaintext.
pub(crate) const FOOTER_BYTES: u32 = 8;

/// What an extent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtentKind {
    /// A file, or one part of a file too long for one pack.
    File,
    /// A frame of compressed database pages.
    PageFrame,
    /// A node of the file tree.
    TreeNode,
    /// A node of a page map.
    MapNode,
    /// A node of a long list of extents.
    ListNode,
    /// A frame of a patch of a database's rows.
    PatchFrame,
    /// A node that lists such patches.
    RowsNode,
}

impl ExtentKind {
    /// The byte that stands for it in a table of contents.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::File => 1,
            Self::PageFrame => 2,
            Self::TreeNode => 3,
            Self::MapNode => 4,
            Self::ListNode => 5,
            Self::PatchFrame => 6,
            Self::RowsNode => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [
            Self::File,
            Self::PageFrame,
            Self::TreeNode,
            Self::MapNode,
            Self::ListNode,
            Self::PatchFrame,
            Self::RowsNode,
        ]
        .into_iter()
        .find(|kind| kind.code() == code)
    }
}

/// What a pack says about one of its extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocEntry {
    /// What it holds.
    pub kind: ExtentKind,
    /// Where it starts in the pack's plaintext.
    pub offset: u32,
    /// How many bytes it has.
    pub len: u32,
    /// The first 16 bytes of the content id, node digest or frame digest of what it holds.
    pub digest: ExtentDigest,
}

impl TocEntry {
    pub(crate) fn encode(&self) -> [u8; 25] {
        let mut out = [0; 25];
        let fields = [self.kind.code()]
            .into_iter()
            .chain(self.offset.to_le_bytes())
            .chain(self.len.to_le_bytes())
            .chain(*self.digest.as_bytes());
        for (slot, byte) in out.iter_mut().zip(fields) {
            *slot = byte;
        }
        out
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, PackError> {
        let bad = |_| PackError::TocOutOfBounds;
        let kind = reader.u8().map_err(bad)?;
        Ok(Self {
            kind: ExtentKind::from_code(kind).ok_or(PackError::TocOutOfBounds)?,
            offset: reader.u32().map_err(bad)?,
            len: reader.u32().map_err(bad)?,
            digest: ExtentDigest::from_bytes(reader.array().map_err(bad)?),
        })
    }
}

/// The last bytes of a pack's plaintext: how much of it is content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Bytes of all extents together.
    pub content_len: u32,
    /// How many extents there are.
    pub entries: u32,
}

impl Footer {
    /// Zeros between content and table in a pack of that class. None if they do not fit it.
    #[must_use]
    pub fn padding(&self, class: SizeClass) -> Option<u32> {
        let end = self.toc_start(class.layout().plain_len()).ok()?;
        end.checked_sub(self.content_len)
    }

    pub(crate) fn encode(&self) -> [u8; 8] {
        let mut out = [0; 8];
        let fields = self.content_len.to_le_bytes().into_iter();
        for (slot, byte) in out.iter_mut().zip(fields.chain(self.entries.to_le_bytes())) {
            *slot = byte;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PackError> {
        let mut reader = Reader::new(bytes);
        let mut field = || reader.u32().map_err(|_| PackError::TocOutOfBounds);
        Ok(Self {
            content_len: field()?,
            entries: field()?,
        })
    }

    /// Where the table starts in a plaintext of `plain_len` bytes, if table and content both fit.
    pub(crate) fn toc_start(&self, plain_len: u32) -> Result<u32, PackError> {
        self.entries
            .checked_mul(TOC_ENTRY_BYTES)
            .and_then(|toc| toc.checked_add(FOOTER_BYTES))
            .and_then(|behind| plain_len.checked_sub(behind))
            .filter(|&start| self.content_len <= start)
            .ok_or(PackError::TocOutOfBounds)
    }
}

/// Reads a table of contents, whose length the footer gave. Extents stand in order, do not overlap,
/// are not empty and end with the content.
pub(crate) fn decode_toc(bytes: &[u8], footer: Footer) -> Result<Vec<TocEntry>, PackError> {
    let mut reader = Reader::new(bytes);
    let mut toc = Vec::with_capacity(size(footer.entries).min(bytes.len()));
    let mut at = 0_u32;
    while size(footer.entries) > toc.len() {
        let entry = TocEntry::decode(&mut reader)?;
        let end = entry.offset.checked_add(entry.len);
        match end {
            Some(end) if entry.len > 0 && entry.offset >= at && end <= footer.content_len => {
                at = end;
            }
            Some(_) | None => return Err(PackError::TocOutOfBounds),
        }
        toc.push(entry);
    }
    reader.end().map_err(|_| PackError::TocOutOfBounds)?;
    Ok(toc)
}

/// Bytes that the table and the footer take for that many entries.
pub(crate) fn behind(entries: usize) -> u32 {
    narrow(entries)
        .saturating_mul(TOC_ENTRY_BYTES)
        .saturating_add(FOOTER_BYTES)
}
