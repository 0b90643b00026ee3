//! Reading single extents of a pack without fetching all of it.

use core::fmt;
use core::ops::Range;

use super::open::pack_layout;
use super::toc::{FOOTER_BYTES, Footer};
use super::{PackError, PackKind};
use crate::codec::{long, size};
use crate::keyring::Keyring;
use crate::layout::{Extent, FRAME_BYTES, HEADER_BYTES, Layout, START_BYTES_MAX};
use crate::names::PackName;
use crate::object::{Frames, Header, ObjectError, Subkey, expect_len};

/// Opens single extents of one pack. It is made from the pack's start and can be kept for all later
/// reads of that pack.
///
/// It sees neither the last frame nor the table of contents, so it cannot notice by itself that the pack was
/// cut or extended elsewhere ([`expect_len`](Self::expect_len) does); the bytes that it does return are exact or an error.
pub struct PackReader {
    name: PackName,
    layout: Layout,
    subkey: Subkey,
    tags: Vec<u8>,
}

impl PackReader {
    /// Bytes of a pack's start, header and tags, that [`new`](Self::new) needs at most. Every pack is
    /// longer.
    pub const HEADER_BYTES: u64 = START_BYTES_MAX as u64;

    /// Reads a pack's start. More may follow and is not looked at.
    ///
    /// # Errors
    /// [`PackError`] if it is not the header of that pack, kind and keyring.
    pub fn new(
        name: PackName,
        kind: PackKind,
        keyring: &Keyring,
        start: &[u8],
    ) -> Result<Self, PackError> {
        let header = Header::parse(start)?;
        let stated = u64::from(header.object_len);
        header.expect(keyring.store(), name.as_bytes(), stated)?;
        let layout = pack_layout(&header)?;
        let subkey = keyring.open(&header, kind.object_kind())?;
        let tags = start.get(size(HEADER_BYTES)..size(layout.data_start()));
        let tags = tags.ok_or(ObjectError::Truncated {
            expected: u64::from(layout.data_start()),
            found: long(start.len()),
        })?;
        Ok(Self {
            name,
            layout,
            subkey,
            tags: tags.to_vec(),
        })
    }

    /// Reads the start of a pack whose kind is not known.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_any(name: PackName, keyring: &Keyring, start: &[u8]) -> Result<Self, PackError> {
        let [first, others @ ..] = PackKind::ALL;
        let mut made = Self::new(name, first, keyring, start);
        for kind in others {
            made = made.or_else(|_| Self::new(name, kind, keyring, start));
        }
        made
    }

    /// Compares the length of the object that the start was read from with what the start says.
    ///
    /// # Errors
    /// [`ObjectError::Truncated`] and [`ObjectError::Extended`].
    pub fn expect_len(&self, found: u64) -> Result<(), PackError> {
        Ok(expect_len(self.layout, found)?)
    }

    /// The bytes of the footer, to be fetched and opened as an extent is, and then to be
    /// [read](Self::read_footer).
    #[must_use]
    pub fn footer(&self) -> Extent {
        Extent {
            pack: self.name,
            offset: self.layout.plain_len().saturating_sub(FOOTER_BYTES),
            len: FOOTER_BYTES,
        }
    }

    /// What the bytes of the footer say.
    ///
    /// # Errors
    /// [`PackError::TocOutOfBounds`] if it is not the footer of a pack of this length.
    pub fn read_footer(&self, bytes: &[u8]) -> Result<Footer, PackError> {
        let footer = Footer::decode(bytes)?;
        footer.toc_start(self.layout.plain_len())?;
        Ok(footer)
    }

    /// The bytes of the object to fetch for an extent.
    ///
    /// # Errors
    /// [`PackError::NotHere`] if the extent lies in another pack or reaches outside this one.
    pub fn range(&self, extent: &Extent) -> Result<Range<u64>, PackError> {
        if extent.pack != self.name {
            return Err(PackError::NotHere);
        }
        self.layout.object_range(extent).ok_or(PackError::NotHere)
    }

    /// Opens an extent in the bytes of [`range`](Self::range), in place, and returns where in them its own stand.
    ///
    /// # Errors
    /// [`PackError`]; the fetched bytes are worthless then.
    pub fn open(&self, extent: &Extent, fetched: &mut [u8]) -> Result<Range<usize>, PackError> {
        let range = self.range(extent)?;
        let expected = range.end.saturating_sub(range.start);
        let found = long(fetched.len());
        if found != expected {
            return Err(PackError::WrongRange { expected, found });
        }
        let span = self
            .layout
            .frame_span(extent.offset, extent.len)
            .ok_or(PackError::NotHere)?;
        self.subkey.open_frames(Frames {
            layout: self.layout,
            first: span.start,
            tags: &self.tags,
            data: &mut *fetched,
        })?;
        let before = size(extent.offset.checked_rem(FRAME_BYTES).unwrap_or(0));
        let bytes = before..before.saturating_add(size(extent.len));
        if bytes.end > fetched.len() {
            return Err(PackError::NotHere);
        }
        Ok(bytes)
    }
}

impl fmt::Debug for PackReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackReader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
