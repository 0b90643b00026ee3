//! Filling a pack in the very buffer that leaves for the store.

use core::fmt;
use core::ops::Range;

use keyhaven_secrets::Entropy;

use super::toc::{Footer, behind};
use super::{ExtentKind, PackError, PackKind, TocEntry};
use crate::codec::{narrow, size};
use crate::hash::ExtentDigest;
use crate::keyring::Keyring;
use crate::layout::{Extent, OBJECT_BYTES_MAX, START_BYTES_MAX, SizeClass};
use crate::names::PackName;
use crate::object::{Header, ObjectError, seal_object};

/// Where the content stands in the buffer: behind room for the longest start. The start of a shorter
/// object is shorter and stands right before the content, so an object is one run of the buffer
/// whichever class it turns out to have.
const DATA_AT: usize = 2144;
/// The longest run that is handed out for reading into: it should still be in the processor's cache
/// when it is hashed.
const RUN_BYTES_MAX: u32 = 512 * 1024;

const _: () = assert!(DATA_AT == START_BYTES_MAX as usize);

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
    /// It is full when this class is.
    limit: SizeClass,
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
            limit: SizeClass::Mib8,
        }
    }

    /// Makes the pack full when it fills that class. Where little is written, smaller packs waste
    /// less on the padding of the last one.
    #[must_use]
    pub fn limited_to(mut self, class: SizeClass) -> Self {
        self.limit = class;
        self
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
        self.limit
            .layout()
            .plain_len()
            .saturating_sub(toc)
            .saturating_sub(self.filled)
    }

    /// The next run of plaintext to fill, at most 512 KiB. Empty when the pack is full. What it holds
    /// before is meaningless.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.room().min(RUN_BYTES_MAX);
        let end = self.filled.saturating_add(len);
        self.plain_mut(self.filled..end)
    }

    /// Takes the first `n` bytes of the last [`spare_mut`](Self::spare_mut) as filled, and returns
    /// them, for hashing. More than that run had is cut to it.
    pub fn advance(&mut self, n: usize) -> &[u8] {
        let len = narrow(n).min(self.room()).min(RUN_BYTES_MAX);
        let start = self.filled;
        self.filled = start.saturating_add(len);
        let range = in_buffer(start..self.filled);
        self.buffer.0.get(range).unwrap_or_default()
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
        self.plain_mut(self.filled..end).copy_from_slice(bytes);
        self.filled = end;
        self.end_extent(kind, digest)
    }

    /// The bytes of a closed extent of this pack, before it is sealed. `None` for any other.
    #[must_use]
    pub fn closed_extent(&self, extent: &Extent) -> Option<&[u8]> {
        let end = extent.offset.checked_add(extent.len)?;
        if extent.pack != self.name || end > self.open_at {
            return None;
        }
        self.buffer.0.get(in_buffer(extent.offset..end))
    }

    fn plain_mut(&mut self, range: Range<u32>) -> &mut [u8] {
        self.buffer.0.get_mut(in_buffer(range)).unwrap_or_default()
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
        self.plain_mut(self.filled..toc_start).fill(0);
        let toc = core::mem::take(&mut self.toc);
        let table = self.plain_mut(toc_start..layout.plain_len());
        let bytes = toc.iter().flat_map(TocEntry::encode).chain(footer.encode());
        for (slot, byte) in table.iter_mut().zip(bytes) {
            *slot = byte;
        }
        self.seal_frames(keyring, class)?;
        Ok(SealedPack {
            name: self.name,
            kind: self.kind,
            class,
            buffer: self.buffer,
            toc,
            footer,
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
        let object = self.buffer.0.get_mut(object_range(class));
        seal_object(&header, &subkey, object.ok_or(ObjectError::Cipher)?)
    }
}

/// Where plaintext stands in the buffer.
fn in_buffer(plain: Range<u32>) -> Range<usize> {
    DATA_AT.saturating_add(size(plain.start))..DATA_AT.saturating_add(size(plain.end))
}

/// Where an object of that class stands in the buffer.
fn object_range(class: SizeClass) -> Range<usize> {
    let start = DATA_AT.saturating_sub(size(class.layout().data_start()));
    start..start.saturating_add(size(class.object_bytes()))
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
    footer: Footer,
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

    /// How much of it is content.
    #[must_use]
    pub fn footer(&self) -> Footer {
        self.footer
    }

    /// The bytes for the store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let range = object_range(self.class);
        self.buffer.0.get(range).unwrap_or_default()
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
