//! Sizes: where each plaintext byte lies in a sealed object, and the classes that sizes come in.
//!
//! ```text
//!   object     | header 96 | tags: 16 for each frame | frame 0: 65536 | frame 1: 65536 | … | last ≤ 65536 |
//!   plaintext                                        | 0 …            | 65536 …        |   | … plain_len − 1
//! ```
//!
//! The tags stand together in front, so the content is one run of bytes: a file is read and written
//! with as few calls as the system allows, and hashed in slices as long as it likes. Header and tags
//! are at most 2,144 bytes, which one read fetches.
//!
//! BACKUP-8: the length of a stored object is one of a few classes, so that it tells no more than
//! the class of what is inside.

use core::ops::Range;

use crate::codec::narrow;
use crate::names::PackName;

/// Plaintext bytes in every frame but the last. Large enough that a frame's cost is the cipher's,
/// small enough that reading one photo's corner does not open megabytes.
pub const FRAME_BYTES: u32 = 64 * 1024;
/// The authentication tag of each frame (AES-256-GCM).
pub const TAG_BYTES: u32 = 16;
/// The header in front of every sealed object.
pub const HEADER_BYTES: u32 = 96;
/// Header and tags of the longest object: what a reader of single extents fetches first.
pub const START_BYTES_MAX: u32 = 2144;
/// A frame with its tag.
pub(crate) const SEALED_FRAME_BYTES: u32 = 65_552;
/// The longest object of this format: a full pack.
pub const OBJECT_BYTES_MAX: u32 = 8 * 1024 * 1024;

const _: () = assert!(SEALED_FRAME_BYTES == FRAME_BYTES + TAG_BYTES);

/// The length of a pack as it lies in a store (BACKUP-8).
///
/// A full pack is 8 MiB: Google Drive resumes uploads above 5 MB and parts of an S3 upload start at
/// 5 MiB. The last pack of a backup goes into the smallest class that holds it, at least 256 KiB.
/// Classes stand at powers of two and half way between them: padding is at most a third, and a
/// length tells less than four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SizeClass {
    /// 256 KiB.
    Kib256,
    /// 384 KiB.
    Kib384,
    /// 512 KiB.
    Kib512,
    /// 768 KiB.
    Kib768,
    /// 1 MiB.
    Mib1,
    /// 1.5 MiB.
    Kib1536,
    /// 2 MiB.
    Mib2,
    /// 3 MiB.
    Mib3,
    /// 4 MiB.
    Mib4,
    /// 6 MiB.
    Mib6,
    /// 8 MiB: a full pack.
    Mib8,
}

impl SizeClass {
    /// All classes, smallest first.
    pub const LADDER: [Self; 11] = [
        Self::Kib256,
        Self::Kib384,
        Self::Kib512,
        Self::Kib768,
        Self::Mib1,
        Self::Kib1536,
        Self::Mib2,
        Self::Mib3,
        Self::Mib4,
        Self::Mib6,
        Self::Mib8,
    ];

    /// Bytes of the whole object.
    #[must_use]
    pub const fn object_bytes(self) -> u32 {
        match self {
            Self::Kib256 => 256 * 1024,
            Self::Kib384 => 384 * 1024,
            Self::Kib512 => 512 * 1024,
            Self::Kib768 => 768 * 1024,
            Self::Mib1 => 1024 * 1024,
            Self::Kib1536 => 1536 * 1024,
            Self::Mib2 => 2048 * 1024,
            Self::Mib3 => 3072 * 1024,
            Self::Mib4 => 4096 * 1024,
            Self::Mib6 => 6144 * 1024,
            Self::Mib8 => OBJECT_BYTES_MAX,
        }
    }

    /// The class of an object of that length, if it is one.
    #[must_use]
    pub fn of_object(bytes: u64) -> Option<Self> {
        Self::LADDER
            .into_iter()
            .find(|class| u64::from(class.object_bytes()) == bytes)
    }

    /// How the plaintext of a pack of this class lies.
    #[must_use]
    pub fn layout(self) -> Layout {
        Layout::new(self.object_bytes())
    }

    /// The smallest class whose plaintext holds `plain` bytes, table of contents included.
    #[must_use]
    pub fn holding(plain: u32) -> Option<Self> {
        Self::LADDER
            .into_iter()
            .find(|class| class.layout().plain_len() >= plain)
    }
}

/// A run of plaintext bytes in one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// The pack that holds it.
    pub pack: PackName,
    /// Where it starts in the pack's plaintext.
    pub offset: u32,
    /// How many bytes it has.
    pub len: u32,
}

impl Extent {
    /// The byte after the last one, if that still is a number.
    #[must_use]
    pub fn end(&self) -> Option<u32> {
        self.offset.checked_add(self.len)
    }

    /// Whether all of another one lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.pack == other.pack
            && self.offset <= other.offset
            && matches!((self.end(), other.end()), (Some(end), Some(last)) if last <= end)
    }

    /// From where it begins to the end of another one, which ends no earlier in the same pack.
    #[must_use]
    pub fn to_end_of(&self, other: &Self) -> Option<Self> {
        let end = other.end()?;
        let len = end.checked_sub(self.offset)?;
        (self.pack == other.pack && len >= self.len).then_some(Self { len, ..*self })
    }

    /// The same bytes in order, in pieces of at most `bytes`, which is a multiple of a frame: cut where frames end, so that none
    /// lies in two of them.
    pub fn pieces(self, bytes: u32) -> impl Iterator<Item = Self> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let into_a_frame = rest.offset.checked_rem(FRAME_BYTES)?;
            let len = bytes.max(FRAME_BYTES).saturating_sub(into_a_frame);
            let piece = Self {
                len: len.min(rest.len),
                ..rest
            };
            rest.offset = rest.offset.saturating_add(piece.len);
            rest.len = rest.len.saturating_sub(piece.len);
            (piece.len > 0).then_some(piece)
        })
    }
}

/// How the plaintext of a sealed object of one length lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    object_len: u32,
    frames: u32,
    plain_len: u32,
}

impl Layout {
    /// The layout of an object of `object_len` bytes. A length that leaves no plaintext has none.
    pub(crate) fn new(object_len: u32) -> Self {
        let body = object_len.saturating_sub(HEADER_BYTES);
        let frames = body.div_ceil(SEALED_FRAME_BYTES);
        Self {
            object_len,
            frames,
            plain_len: body.saturating_sub(frames.saturating_mul(TAG_BYTES)),
        }
    }

    /// Bytes of the object.
    #[must_use]
    pub fn object_len(&self) -> u32 {
        self.object_len
    }

    /// Bytes of plaintext in it.
    #[must_use]
    pub fn plain_len(&self) -> u32 {
        self.plain_len
    }

    /// How many frames it has.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether the last frame has at least one byte beside its tag.
    pub(crate) fn is_sound(&self) -> bool {
        let before = self.frames.saturating_sub(1).saturating_mul(FRAME_BYTES);
        self.frames > 0 && self.plain_len > before
    }

    /// Header and tags: where the first frame starts.
    #[must_use]
    pub fn data_start(&self) -> u32 {
        HEADER_BYTES.saturating_add(self.frames.saturating_mul(TAG_BYTES))
    }

    /// The frames that hold `[offset, offset + len)` of the plaintext: first and one past the last.
    /// `None` when that reaches outside.
    pub(crate) fn frame_span(&self, offset: u32, len: u32) -> Option<Range<u32>> {
        let end = offset.checked_add(len)?;
        if end > self.plain_len {
            return None;
        }
        let first = offset.checked_div(FRAME_BYTES)?;
        let past = end.div_ceil(FRAME_BYTES).max(first);
        Some(first..past)
    }

    /// The bytes of the object that must be fetched to open an extent, whole frames of them.
    /// `None` when the extent reaches outside the plaintext.
    #[must_use]
    pub fn object_range(&self, extent: &Extent) -> Option<Range<u64>> {
        let span = self.frame_span(extent.offset, extent.len)?;
        let start = span.start.checked_mul(FRAME_BYTES)?;
        let end = span.end.checked_mul(FRAME_BYTES)?.min(self.plain_len);
        let at = |plain: u32| u64::from(self.data_start()).checked_add(u64::from(plain));
        Some(at(start)?..at(end)?)
    }
}

/// Rounds a snapshot's length up to its padding class.
pub(crate) fn pad_up(len: usize, class: u32) -> u32 {
    narrow(len).div_ceil(class).saturating_mul(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_sound_layout() {
        for class in SizeClass::LADDER {
            let layout = class.layout();
            assert!(layout.is_sound(), "{class:?}");
            assert_eq!(
                layout.data_start() + layout.plain_len(),
                class.object_bytes(),
                "{class:?}"
            );
        }
        assert_eq!(SizeClass::Mib8.layout().data_start(), START_BYTES_MAX);
        assert_eq!(SizeClass::Mib8.layout().plain_len(), 8_386_464);
        assert_eq!(SizeClass::Kib256.layout().plain_len(), 261_984);
    }

    /// BACKUP-8.
    #[test]
    fn padding_is_at_most_a_third() {
        for plain in (1..SizeClass::Mib8.layout().plain_len()).step_by(4001) {
            let class = SizeClass::holding(plain).unwrap();
            let waste = class.layout().plain_len() - plain;
            let third = class.object_bytes() / 3 + 1024;
            assert!(
                waste <= third || class == SizeClass::Kib256,
                "{plain} in {class:?}"
            );
        }
        assert_eq!(
            SizeClass::holding(SizeClass::Mib8.layout().plain_len() + 1),
            None
        );
    }

    #[test]
    fn a_range_that_reaches_outside_has_no_bytes() {
        let layout = SizeClass::Kib256.layout();
        let extent = |offset, len| Extent {
            pack: PackName::from_bytes([0; 32]),
            offset,
            len,
        };
        assert_eq!(layout.object_range(&extent(0, 1)), Some(160..160 + 65_536));
        assert_eq!(
            layout.object_range(&extent(layout.plain_len() - 1, 1)),
            Some(160 + 3 * 65_536..262_144)
        );
        assert_eq!(layout.object_range(&extent(layout.plain_len(), 1)), None);
        assert_eq!(layout.object_range(&extent(u32::MAX, u32::MAX)), None);
    }

    #[test]
    fn pieces_are_cut_where_frames_end() {
        let pieces = |offset, len, bytes| {
            let pack = PackName::from_bytes([0; 32]);
            let pieces = Extent { pack, offset, len }.pieces(bytes);
            pieces
                .map(|piece| (piece.offset, piece.len))
                .collect::<Vec<_>>()
        };
        let two = 2 * FRAME_BYTES;
        assert_eq!(pieces(5, 0, two).len(), 0);
        assert_eq!(pieces(5, 7, two), [(5, 7)]);
        assert_eq!(pieces(0, two, two), [(0, two)]);
        assert_eq!(
            pieces(5, 2 * two, two),
            [(5, two - 5), (two, two), (2 * two, 5)]
        );
        assert_eq!(
            pieces(FRAME_BYTES + 5, two, two),
            [(FRAME_BYTES + 5, two - 5), (3 * FRAME_BYTES, 5)]
        );
    }
}
