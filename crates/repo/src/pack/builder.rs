//! Filling a pack in the very buffer that leaves for the store.

use core::fmt;
use core::ops::Range;

use keyhaven_secrets::Entropy;

use super::toc::{Footer, behind};
use super::{ExtentKind, PackError, PackKind, TocEntry};
use crate::codec::{narrow, size};
use crate::hash::ExtentDigest;
use crate::keyring::Keyring;
use crate::layout::{Extent, HEADER_BYTES, Layout, OBJECT_BYTES_MAX, Pieces, SizeClass};
use crate::names::PackName;
use crate::object::{Header, ObjectError};

/// Memory for one pack. It goes round: into a builder, through sealing, back by
/// [`SealedPack::into_buffer`]. It is zeroed once, when it is made.
pub struct PackBuffer(Vec<u8>);

impl PackBuffer {
    /// Memory for one full pack.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; size(OBJECT_BYTES_MAX)])
    }
}

impl Default for PackBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PackBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackBuffer(redacted)")
    }
}

/// A pack that is being filled.
///
/// Bytes are read straight to where they will be sealed: [`spare_mut`](Self::spare_mut) hands out
/// the next contiguous run of plaintext, [`advance`](Self::advance) says how much of it was filled,
/// [`end_extent`](Self::end_extent) closes an extent.
///
/// BACKUP-5: the name, which salts the subkey, is drawn when the builder begins, and sealing
/// consumes the builder. A half-built pack can only be dropped, never continued under another
/// content; a retry sends the same sealed bytes again.
pub struct PackBuilder {
    buffer: PackBuffer,
    name: PackName,
    kind: PackKind,
    /// Plaintext bytes filled, those of the open extent among them.
    filled: u32,
    /// Where the open extent starts: everything before it is in closed extents.
    open_at: u32,
    toc: Vec<TocEntry>,
}

impl PackBuilder {
    /// Begins an empty pack under a fresh random name.
    pub fn begin(buffer: PackBuffer, kind: PackKind, entropy: &mut dyn Entropy) -> Self {
        Self {
            buffer,
            name: PackName::draw(entropy),
            kind,
            filled: 0,
            open_at: 0,
            toc: Vec::new(),
        }
    }

    /// The name under which the pack will lie in the store.
    #[must_use]
    pub fn name(&self) -> PackName {
        self.name
    }

    /// What the pack holds.
    #[must_use]
    pub fn kind(&self) -> PackKind {
        self.kind
    }

    /// Whether it has no extents, closed or open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Plaintext bytes in it.
    #[must_use]
    pub fn content_len(&self) -> u32 {
        self.filled
    }

    /// Bytes filled since the last closed extent.
    #[must_use]
    pub fn open_len(&self) -> u32 {
        self.filled.saturating_sub(self.open_at)
    }

    /// How many more bytes fit into the extent that is open (or would be opened next).
    #[must_use]
    pub fn room(&self) -> u32 {
        let toc = behind(self.toc.len().saturating_add(1));
        SizeClass::Mib8
            .layout()
            .plain_len()
            .saturating_sub(toc)
            .saturating_sub(self.filled)
    }

    /// The next contiguous run of plaintext to fill: at most one frame. Empty when the pack is
    /// full. What it holds before is meaningless.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.room().min(Layout::to_frame_end(self.filled));
        let start = Layout::position(self.filled);
        let end = start.saturating_add(size(len));
        self.buffer.0.get_mut(start..end).unwrap_or_default()
    }

    /// Takes the first `n` bytes of the last [`spare_mut`](Self::spare_mut) as filled, and returns
    /// them, for hashing. More than that run had is cut to it.
    pub fn advance(&mut self, n: usize) -> &[u8] {
        let len = narrow(n)
            .min(self.room())
            .min(Layout::to_frame_end(self.filled));
        let start = Layout::position(self.filled);
        self.filled = self.filled.saturating_add(len);
        let end = start.saturating_add(size(len));
        self.buffer.0.get(start..end).unwrap_or_default()
    }

    /// Closes the open extent and says where it lies. `None` if nothing was filled since the last.
    pub fn end_extent(&mut self, kind: ExtentKind, digest: ExtentDigest) -> Option<Extent> {
        let len = self.open_len();
        if len == 0 {
            return None;
        }
        let offset = self.open_at;
        self.toc.push(TocEntry {
            kind,
            offset,
            len,
            digest,
        });
        self.open_at = self.filled;
        Some(Extent {
            pack: self.name,
            offset,
            len,
        })
    }

    /// Forgets what was filled since the last closed extent (the file changed while it was read).
    pub fn discard_open(&mut self) {
        self.filled = self.open_at;
    }

    /// Copies `bytes` in as one extent. `None`, and nothing taken, if they do not fit, are empty, or
    /// an extent is open.
    pub fn append(
        &mut self,
        bytes: &[u8],
        kind: ExtentKind,
        digest: ExtentDigest,
    ) -> Option<Extent> {
        let len = u32::try_from(bytes.len()).ok()?;
        if len == 0 || len > self.room() || self.open_len() > 0 {
            return None;
        }
        let end = self.filled.checked_add(len)?;
        self.write(self.filled..end, bytes);
        self.filled = end;
        self.end_extent(kind, digest)
    }

    /// Writes over a range of plaintext.
    fn write(&mut self, range: Range<u32>, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in Pieces::new(range) {
            let Some(place) = self.buffer.0.get_mut(piece) else {
                return;
            };
            let Some((now, later)) = rest.split_at_checked(place.len()) else {
                return;
            };
            place.copy_from_slice(now);
            rest = later;
        }
    }

    /// The smallest class that holds what is in the pack now.
    #[must_use]
    pub fn class(&self) -> SizeClass {
        let plain = self.open_at.saturating_add(behind(self.toc.len()));
        SizeClass::holding(plain).unwrap_or(SizeClass::Mib8)
    }

    /// Seals the pack under the keyring's current epoch, in place, into the smallest class that
    /// holds it (BACKUP-8). An extent that is still open is left out.
    ///
    /// # Errors
    /// [`PackError::Object`] if the cipher refuses; the pack is dropped then.
    pub fn seal(mut self, keyring: &Keyring) -> Result<SealedPack, PackError> {
        self.discard_open();
        let class = self.class();
        let layout = class.layout();
        let footer = Footer {
            content_len: self.filled,
            entries: narrow(self.toc.len()),
        };
        let toc_start = footer.toc_start(layout.plain_len())?;
        // The buffer holds what the last pack left: padding is zeros, so that it tells nothing.
        for piece in Pieces::new(self.filled..toc_start) {
            self.buffer.0.get_mut(piece).unwrap_or_default().fill(0);
        }
        let mut at = toc_start;
        let toc = core::mem::take(&mut self.toc);
        for entry in &toc {
            let bytes = entry.encode();
            let end = at.saturating_add(narrow(bytes.len()));
            self.write(at..end, &bytes);
            at = end;
        }
        self.write(at..layout.plain_len(), &footer.encode());
        self.seal_frames(keyring, class)?;
        Ok(SealedPack {
            name: self.name,
            kind: self.kind,
            class,
            buffer: self.buffer,
            toc,
        })
    }

    fn seal_frames(&mut self, keyring: &Keyring, class: SizeClass) -> Result<(), ObjectError> {
        let mut header = Header {
            epoch: keyring.current(),
            object_len: class.object_bytes(),
            store: keyring.store(),
            name: *self.name.as_bytes(),
            commitment: [0; 32],
        };
        let subkey = keyring.subkey(&header, self.kind.object_kind())?;
        header.commitment = subkey.commitment();
        let object = self.buffer.0.get_mut(..size(class.object_bytes()));
        let (head, body) = object
            .and_then(|object| object.split_at_mut_checked(size(HEADER_BYTES)))
            .ok_or(ObjectError::Cipher)?;
        head.copy_from_slice(&header.encode());
        subkey.seal_frames(body)
    }
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackBuilder")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

/// A sealed pack, ready for the store. Sending it again sends the same bytes under the same name.
pub struct SealedPack {
    name: PackName,
    kind: PackKind,
    class: SizeClass,
    buffer: PackBuffer,
    toc: Vec<TocEntry>,
}

impl SealedPack {
    /// The name under which it lies in the store.
    #[must_use]
    pub fn name(&self) -> PackName {
        self.name
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> PackKind {
        self.kind
    }

    /// Its length in the store.
    #[must_use]
    pub fn class(&self) -> SizeClass {
        self.class
    }

    /// Its extents.
    #[must_use]
    pub fn toc(&self) -> &[TocEntry] {
        &self.toc
    }

    /// The bytes for the store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let len = size(self.class.object_bytes());
        self.buffer.0.get(..len).unwrap_or_default()
    }

    /// Gives the memory back for the next pack.
    #[must_use]
    pub fn into_buffer(self) -> PackBuffer {
        self.buffer
    }
}

impl fmt::Debug for SealedPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedPack")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}
