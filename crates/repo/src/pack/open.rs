//! A whole pack, opened in the buffer it was read into.

use core::fmt;

use super::toc::{FOOTER_BYTES, Footer, decode_toc};
use super::{PackError, PackKind, TocEntry};
use crate::codec::{long, size};
use crate::keyring::Keyring;
use crate::layout::{Extent, Layout, SizeClass};
use crate::names::PackName;
use crate::object::{Frames, Header, ObjectError};

/// A pack whose every frame has authenticated and whose table of contents and padding are sound.
pub struct OpenPack {
    name: PackName,
    kind: PackKind,
    layout: Layout,
    content_len: u32,
    object: Vec<u8>,
    toc: Vec<TocEntry>,
}

impl OpenPack {
    /// Opens the object that lay under `name`, in place: the buffer's ciphertext becomes plaintext.
    ///
    /// # Errors
    /// [`PackError`]; the buffer is gone then.
    pub fn open(
        name: PackName,
        kind: PackKind,
        keyring: &Keyring,
        object: Vec<u8>,
    ) -> Result<Self, PackError> {
        let header = Header::parse(&object)?;
        header.expect(keyring.store(), name.as_bytes(), long(object.len()))?;
        Self::open_as(name, kind, header, keyring, object)
    }

    /// Opens a pack whose kind is not known, as `verify` finds them in a listing.
    ///
    /// # Errors
    /// [`PackError`]; the buffer is gone then.
    pub fn open_any(name: PackName, keyring: &Keyring, object: Vec<u8>) -> Result<Self, PackError> {
        let header = Header::parse(&object)?;
        header.expect(keyring.store(), name.as_bytes(), long(object.len()))?;
        let mut kind = PackKind::Media;
        for candidate in PackKind::ALL {
            if keyring
                .subkey(&header, candidate.object_kind())?
                .opens(&header)
            {
                kind = candidate;
            }
        }
        Self::open_as(name, kind, header, keyring, object)
    }

    fn open_as(
        name: PackName,
        kind: PackKind,
        header: Header,
        keyring: &Keyring,
        mut object: Vec<u8>,
    ) -> Result<Self, PackError> {
        let layout = pack_layout(&header)?;
        let subkey = keyring.open(&header, kind.object_kind())?;
        let short = ObjectError::Truncated {
            expected: u64::from(layout.object_len()),
            found: long(object.len()),
        };
        subkey.open_frames(Frames::of(layout, &mut object).ok_or(short)?)?;
        let mut pack = Self {
            name,
            kind,
            layout,
            content_len: 0,
            object,
            toc: Vec::new(),
        };
        pack.read_toc()?;
        Ok(pack)
    }

    fn read_toc(&mut self) -> Result<(), PackError> {
        let end = self.layout.plain_len();
        let footer_at = end.saturating_sub(FOOTER_BYTES);
        let footer = Footer::decode(self.plain(footer_at, end))?;
        let toc_start = footer.toc_start(end)?;
        let toc = decode_toc(self.plain(toc_start, footer_at), footer)?;
        let padding = self.plain(footer.content_len, toc_start);
        if padding.iter().any(|&byte| byte != 0) {
            return Err(PackError::BadPadding);
        }
        self.toc = toc;
        self.content_len = footer.content_len;
        Ok(())
    }

    fn plain(&self, from: u32, to: u32) -> &[u8] {
        let start = size(self.layout.data_start());
        let range = start.saturating_add(size(from))..start.saturating_add(size(to));
        self.object.get(range).unwrap_or_default()
    }

    /// The name it lay under.
    #[must_use]
    pub fn name(&self) -> PackName {
        self.name
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> PackKind {
        self.kind
    }

    /// Its extents, in order.
    #[must_use]
    pub fn toc(&self) -> &[TocEntry] {
        &self.toc
    }

    /// The bytes of an extent.
    ///
    /// # Errors
    /// [`PackError::NotHere`] if the extent lies in another pack or outside this one's content.
    pub fn extent(&self, extent: &Extent) -> Result<&[u8], PackError> {
        let inside = extent.end().is_some_and(|end| end <= self.content_len);
        if extent.pack != self.name || !inside {
            return Err(PackError::NotHere);
        }
        let end = extent.offset.saturating_add(extent.len);
        Ok(self.plain(extent.offset, end))
    }

    /// Appends the bytes of an extent to `out`.
    ///
    /// # Errors
    /// As [`extent`](Self::extent).
    pub fn copy_extent(&self, extent: &Extent, out: &mut Vec<u8>) -> Result<(), PackError> {
        out.extend_from_slice(self.extent(extent)?);
        Ok(())
    }

    /// Gives the buffer back. It holds plaintext.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.object
    }
}

impl fmt::Debug for OpenPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenPack")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("extents", &self.toc.len())
            .finish_non_exhaustive()
    }
}

/// The layout of a pack, whose length must be a size class.
pub(super) fn pack_layout(header: &Header) -> Result<Layout, PackError> {
    let found = u64::from(header.object_len);
    SizeClass::of_object(found)
        .map(SizeClass::layout)
        .ok_or(PackError::NotAClass { found })
}
