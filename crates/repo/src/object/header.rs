//! The 96 bytes in front of every sealed object.
//!
//! ```text
//!   0   4  magic "KHOB"          8   4  epoch           32  32  name, which is the salt
//!   4   2  format version, 1     12  4  object length   64  32  key commitment
//!   6   1  suite, 1              16  16 store id
//!   7   1  zero
//! ```

use super::ObjectError;
use crate::codec::{CodecError, Reader, narrow};
use crate::layout::{HEADER_BYTES, Layout};
use crate::names::{Epoch, StoreId};

/// The format that this crate writes. It reads this one and, once there are any, all before it.
pub const FORMAT_VERSION: u16 = 1;
pub(crate) const MAGIC: [u8; 4] = *b"KHOB";
/// AES-256-GCM under HKDF-SHA256 subkeys.
pub(crate) const SUITE: u8 = 1;
/// The part of the header that is bound into the subkey and into every frame.
pub(crate) const BOUND_BYTES: usize = 32;

/// The header of a sealed object, read but not yet believed: only a matching key commitment shows
/// that whoever wrote it had the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub(crate) epoch: Epoch,
    pub(crate) object_len: u32,
    pub(crate) store: StoreId,
    pub(crate) name: [u8; 32],
    pub(crate) commitment: [u8; 32],
}

impl Header {
    /// Reads the first 96 bytes of an object; more may follow.
    ///
    /// # Errors
    /// [`ObjectError`] naming what is wrong with them.
    pub fn parse(object: &[u8]) -> Result<Self, ObjectError> {
        let short = |_: CodecError| ObjectError::Truncated {
            expected: u64::from(HEADER_BYTES),
            found: u64::from(narrow(object.len())),
        };
        let mut reader = Reader::new(object);
        if reader.array().map_err(short)? != MAGIC {
            return Err(ObjectError::NotKeyhaven);
        }
        let version = reader.u16().map_err(short)?;
        if version != FORMAT_VERSION {
            return Err(ObjectError::UnknownVersion { found: version });
        }
        let suite = reader.u8().map_err(short)?;
        if suite != SUITE {
            return Err(ObjectError::UnknownSuite { found: suite });
        }
        let zero = reader.u8().map_err(short)?;
        let header = Self {
            epoch: Epoch::from_number(reader.u32().map_err(short)?),
            object_len: reader.u32().map_err(short)?,
            store: StoreId::from_bytes(reader.array().map_err(short)?),
            name: reader.array().map_err(short)?,
            commitment: reader.array().map_err(short)?,
        };
        if zero != 0 || !Layout::new(header.object_len).is_sound() {
            return Err(ObjectError::BadHeader);
        }
        Ok(header)
    }

    /// The store that the object says it belongs to.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The epoch that the object says it is sealed under.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How long the object says it is.
    #[must_use]
    pub fn object_len(&self) -> u32 {
        self.object_len
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.object_len)
    }

    /// The bytes that go into the subkey's derivation and each frame's associated data.
    pub(crate) fn bound(&self) -> [u8; BOUND_BYTES] {
        let mut out = [0; BOUND_BYTES];
        let fields = MAGIC
            .into_iter()
            .chain(FORMAT_VERSION.to_le_bytes())
            .chain([SUITE, 0])
            .chain(self.epoch.number().to_le_bytes())
            .chain(self.object_len.to_le_bytes())
            .chain(*self.store.as_bytes());
        for (slot, byte) in out.iter_mut().zip(fields) {
            *slot = byte;
        }
        out
    }

    pub(crate) fn encode(&self) -> [u8; 96] {
        let mut out = [0; 96];
        let fields = self
            .bound()
            .into_iter()
            .chain(self.name)
            .chain(self.commitment);
        for (slot, byte) in out.iter_mut().zip(fields) {
            *slot = byte;
        }
        out
    }

    /// Checks what can be checked without a key: the object's own name and store, and its length.
    pub(crate) fn expect(
        &self,
        store: StoreId,
        name: &[u8; 32],
        found: u64,
    ) -> Result<(), ObjectError> {
        if self.store != store {
            return Err(ObjectError::WrongStore);
        }
        if &self.name != name {
            return Err(ObjectError::Renamed);
        }
        expect_len(self.layout(), found)
    }
}

/// Compares the length of an object with what its header says.
pub(crate) fn expect_len(layout: Layout, found: u64) -> Result<(), ObjectError> {
    let expected = u64::from(layout.object_len());
    match found.cmp(&expected) {
        core::cmp::Ordering::Less => Err(ObjectError::Truncated { expected, found }),
        core::cmp::Ordering::Greater => Err(ObjectError::Extended { expected, found }),
        core::cmp::Ordering::Equal => Ok(()),
    }
}
