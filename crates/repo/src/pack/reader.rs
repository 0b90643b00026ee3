//! Reading single extents of a pack without fetching all of it.

use core::fmt;
use core::ops::Range;

use super::open::{Slices, pack_layout};
use super::{PackError, PackKind};
use crate::codec::{long, size};
use crate::keyring::Keyring;
use crate::layout::{Extent, HEADER_BYTES, Layout};
use crate::names::PackName;
use crate::object::{Frames, Header, Subkey};

/// Opens single extents of one pack. It is made from the pack's first 96 bytes and can be kept for
/// all later reads of that pack.
///
/// It sees neither the last frame nor the table of contents, so it cannot notice that the pack was
/// cut or extended elsewhere; the bytes that it does return are exact or an error.
pub struct PackReader {
    name: PackName,
    layout: Layout,
    subkey: Subkey,
}

impl PackReader {
    /// Bytes of a pack's start that [`new`](Self::new) needs.
    pub const HEADER_BYTES: u64 = 96;

    /// Reads a pack's header: its first 96 bytes (more may follow and are not looked at).
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
        Ok(Self {
            name,
            layout: pack_layout(&header)?,
            subkey: keyring.open(&header, kind.object_kind())?,
        })
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

    /// Opens an extent in the bytes of [`range`](Self::range), in place, and returns its pieces.
    ///
    /// # Errors
    /// [`PackError`]; the fetched bytes are worthless then.
    pub fn open<'a>(
        &self,
        extent: &Extent,
        fetched: &'a mut [u8],
    ) -> Result<Slices<'a>, PackError> {
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
            sealed: &mut *fetched,
        })?;
        let base = usize::try_from(range.start).map_err(|_| PackError::NotHere)?;
        debug_assert!(base >= size(HEADER_BYTES), "frames stand behind the header");
        Ok(Slices::new(fetched, base, extent))
    }
}

impl fmt::Debug for PackReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackReader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
