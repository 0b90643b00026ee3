//! The marker: the one file of a store that is not sealed. It says that this is a store, in which
//! format, and which one.
//!
//! Nothing is believed because of it: a snapshot of another store fails by its own header, whatever
//! a marker says.

use keyhaven_secrets::Remedy;

use crate::codec::{CodecError, Reader, long};
use crate::names::StoreId;
use crate::object::FORMAT_VERSION;

/// The length of a marker. One page, so that even this file has the size of many others.
pub const MARKER_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"KEYHAVEN";

/// The marker of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    store: StoreId,
}

/// Why a file is no marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// It does not start as a marker does.
    #[error("this place holds something else than a Keyhaven store")]
    NotKeyhaven,
    /// A later Keyhaven made the store.
    #[error("the store is of format version {found}; this program reads up to version 1")]
    UnknownVersion {
        /// The version in the marker.
        found: u16,
    },
    /// It is shorter than a marker.
    #[error("the store's marker has been cut short to {found} bytes")]
    Truncated {
        /// Its length.
        found: u64,
    },
    /// It is longer than a marker.
    #[error("the store's marker has grown to {found} bytes")]
    Extended {
        /// Its length.
        found: u64,
    },
    /// Its checksum is wrong.
    #[error("the store's marker is damaged")]
    Damaged,
    /// Something stands where zeros belong.
    #[error("the padding of the store's marker is not zeros")]
    BadPadding,
}

impl MarkerError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Truncated { .. } => Remedy::RetryLater,
            Self::NotKeyhaven | Self::UnknownVersion { .. } => Remedy::AskUser,
            Self::Extended { .. } | Self::Damaged | Self::BadPadding => Remedy::Stop,
        }
    }

    /// The outcome's name in the test vectors and in machine-readable reports.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::NotKeyhaven => "not-keyhaven",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::Truncated { .. } => "truncated",
            Self::Extended { .. } => "extended",
            Self::Damaged => "damaged",
            Self::BadPadding => "bad-padding",
        }
    }
}

impl Marker {
    /// The marker of that store.
    #[must_use]
    pub fn new(store: StoreId) -> Self {
        Self { store }
    }

    /// Which store it marks.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MARKER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(self.store.as_bytes());
        let check = blake3::hash(&out);
        out.extend_from_slice(check.as_bytes());
        out.resize(MARKER_BYTES, 0);
        out
    }

    /// Reads a marker.
    ///
    /// # Errors
    /// [`MarkerError`] naming what is wrong with the file.
    pub fn parse(file: &[u8]) -> Result<Self, MarkerError> {
        let found = long(file.len());
        let short = |_: CodecError| MarkerError::Truncated { found };
        let mut reader = Reader::new(file);
        let magic: [u8; 8] = reader.array().map_err(|_| MarkerError::NotKeyhaven)?;
        if magic != MAGIC {
            return Err(MarkerError::NotKeyhaven);
        }
        let version = reader.u16().map_err(short)?;
        let zeros = reader.array::<6>().map_err(short)?;
        let store = StoreId::from_bytes(reader.array().map_err(short)?);
        let check = reader.array::<32>().map_err(short)?;
        let checked = file.get(..32).unwrap_or_default();
        // Of every version these bytes are checked here: a bit that has flipped in the version makes no later one.
        if blake3::hash(checked) != check {
            return Err(MarkerError::Damaged);
        }
        if version != FORMAT_VERSION {
            return Err(MarkerError::UnknownVersion { found: version });
        }
        if zeros != [0; 6] {
            return Err(MarkerError::Damaged);
        }
        match file.len().cmp(&MARKER_BYTES) {
            core::cmp::Ordering::Less => Err(MarkerError::Truncated { found }),
            core::cmp::Ordering::Greater => Err(MarkerError::Extended { found }),
            core::cmp::Ordering::Equal => {
                let padding = reader.take(reader.left()).map_err(short)?;
                if padding.iter().all(|&byte| byte == 0) {
                    Ok(Self { store })
                } else {
                    Err(MarkerError::BadPadding)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_and_nothing_else_does() {
        let marker = Marker::new(StoreId::from_bytes([9; 16]));
        let file = marker.encode();
        assert_eq!(Marker::parse(&file), Ok(marker));
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            let read = Marker::parse(&flipped);
            assert!(read.is_err(), "BACKUP-4: byte {at}");
            let is_later = matches!(read, Err(MarkerError::UnknownVersion { .. }));
            assert!(!is_later, "byte {at}");
        }
        for len in 0..file.len() {
            assert!(
                Marker::parse(&file[..len]).is_err(),
                "BACKUP-4: {len} bytes"
            );
        }
        let longer = [&file[..], &[0]].concat();
        assert_eq!(
            Marker::parse(&longer),
            Err(MarkerError::Extended { found: 4097 })
        );
    }
}
