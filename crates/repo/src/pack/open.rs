//! A whole pack, opened in the buffer it was read into.

use core::fmt;

use super::toc::{FOOTER_BYTES, Footer, decode_toc};
use super::{PackError, PackKind, TocEntry};
use crate::codec::{long, size};
use crate::keyring::Keyring;
use crate::layout::{Extent, HEADER_BYTES, Layout, Pieces, SizeClass};
use crate::names::PackName;
use crate::object::{Frames, Header};

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
        subkey.open_frames(Frames {
            layout,
            first: 0,
            sealed: object.get_mut(size(HEADER_BYTES)..).unwrap_or_default(),
        })?;
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
        let footer = Footer::decode(&self.gather(footer_at, end))?;
        let toc_start = footer.toc_start(end)?;
        self.toc = decode_toc(&self.gather(toc_start, footer_at), footer)?;
        self.content_len = footer.content_len;
        let padding = Pieces::new(footer.content_len..toc_start);
        let clean = padding
            .filter_map(|piece| self.object.get(piece))
            .all(|piece| piece.iter().all(|&byte| byte == 0));
        if clean {
            Ok(())
        } else {
            Err(PackError::BadPadding)
        }
    }

    /// A copy of a short run of plaintext.
    fn gather(&self, from: u32, to: u32) -> Vec<u8> {
        Pieces::new(from..to)
            .filter_map(|piece| self.object.get(piece))
            .flatten()
            .copied()
            .collect()
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

    /// The bytes of an extent, piece by piece: a piece ends where a frame does.
    ///
    /// # Errors
    /// [`PackError::NotHere`] if the extent lies in another pack or outside this one's content.
    pub fn extent(&self, extent: &Extent) -> Result<Slices<'_>, PackError> {
        let inside = extent.end().is_some_and(|end| end <= self.content_len);
        if extent.pack != self.name || !inside {
            return Err(PackError::NotHere);
        }
        Ok(Slices::new(&self.object, 0, extent))
    }

    /// Appends the bytes of an extent to `out`.
    ///
    /// # Errors
    /// As [`extent`](Self::extent).
    pub fn copy_extent(&self, extent: &Extent, out: &mut Vec<u8>) -> Result<(), PackError> {
        self.extent(extent)?.append_to(out);
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

/// The pieces of an extent, in order.
#[derive(Clone)]
pub struct Slices<'a> {
    /// Part of an object, from byte `base` of it on.
    object: &'a [u8],
    base: usize,
    pieces: Pieces,
    len: u32,
}

impl<'a> Slices<'a> {
    pub(super) fn new(object: &'a [u8], base: usize, extent: &Extent) -> Self {
        let end = extent.offset.saturating_add(extent.len);
        Self {
            object,
            base,
            pieces: Pieces::new(extent.offset..end),
            len: extent.len,
        }
    }

    /// Appends all pieces to `out`.
    pub fn append_to(self, out: &mut Vec<u8>) {
        out.reserve(size(self.len));
        for piece in self {
            out.extend_from_slice(piece);
        }
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let piece = self.pieces.next()?;
        let start = piece.start.checked_sub(self.base)?;
        let end = piece.end.checked_sub(self.base)?;
        self.object.get(start..end)
    }
}

impl fmt::Debug for Slices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slices({} bytes)", self.len)
    }
}
