//! Zstandard, bounded: nothing expands beyond the length that an authenticated reference names.
//!
//! Stored bytes begin with how they were stored: `0` as they are, `1` one Zstandard frame.

use core::fmt;

use zstd::bulk::{Compressor, Decompressor};

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Bytes that do not expand to their length, or a compressor that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("compressed bytes do not expand to the length they should have")]
pub struct CompressError;

/// Compresses into memory of its own, used again for every call.
pub struct Squeezer {
    compressor: Compressor<'static>,
    out: Vec<u8>,
}

impl Squeezer {
    /// A compressor of the given Zstandard level.
    ///
    /// # Errors
    /// [`CompressError`] if the library refuses to start.
    pub fn new(level: i32) -> Result<Self, CompressError> {
        Ok(Self {
            compressor: Compressor::new(level).map_err(|_| CompressError)?,
            out: Vec::new(),
        })
    }

    /// The stored form of `raw`: compressed if that is shorter.
    ///
    /// # Errors
    /// [`CompressError`] only if memory runs out inside the library.
    pub fn squeeze(&mut self, raw: &[u8]) -> Result<&[u8], CompressError> {
        let whole = raw.len().saturating_add(1);
        if self.out.len() < whole {
            self.out.resize(whole, 0);
        }
        let place = self.out.get_mut(..whole).ok_or(CompressError)?;
        let (method, body) = place.split_first_mut().ok_or(CompressError)?;
        // The place is as long as the raw bytes, so a result that is no shorter does not fit, and
        // the library says so.
        let stored = match self.compressor.compress_to_buffer(raw, body) {
            Ok(len) if len < raw.len() => {
                *method = ZSTD;
                len
            }
            Ok(_) | Err(_) => {
                *method = PLAIN;
                body.copy_from_slice(raw);
                raw.len()
            }
        };
        self.out
            .get(..stored.saturating_add(1))
            .ok_or(CompressError)
    }
}

impl fmt::Debug for Squeezer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Squeezer")
    }
}

/// Expands, into places whose length is known before.
pub struct Expander(Decompressor<'static>);

impl Expander {
    /// A decompressor.
    ///
    /// # Errors
    /// [`CompressError`] if the library refuses to start.
    pub fn new() -> Result<Self, CompressError> {
        Ok(Self(Decompressor::new().map_err(|_| CompressError)?))
    }

    /// Fills `out` exactly with what `stored` holds.
    ///
    /// A12: whatever the bytes claim, nothing beyond `out` is written or allocated.
    ///
    /// # Errors
    /// [`CompressError`] if they hold more, less or nothing sensible.
    pub fn expand(&mut self, stored: &[u8], out: &mut [u8]) -> Result<(), CompressError> {
        let (&method, body) = stored.split_first().ok_or(CompressError)?;
        match method {
            PLAIN if body.len() == out.len() => {
                out.copy_from_slice(body);
                Ok(())
            }
            ZSTD => match self.0.decompress_to_buffer(body, out) {
                Ok(len) if len == out.len() => Ok(()),
                Ok(_) | Err(_) => Err(CompressError),
            },
            _ => Err(CompressError),
        }
    }
}

impl fmt::Debug for Expander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expander")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bomb_does_not_go_off() {
        // A12: 64 MiB of zeros in a few KiB, offered for a node of 100 bytes.
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        let stored = [&[ZSTD][..], &bomb].concat();
        let mut out = [0; 100];
        assert_eq!(
            Expander::new().unwrap().expand(&stored, &mut out),
            Err(CompressError)
        );
    }

    #[test]
    fn bytes_that_do_not_shrink_are_stored_as_they_are() {
        let raw: Vec<u8> = (0..=255).collect();
        let mut squeezer = Squeezer::new(3).unwrap();
        let stored = squeezer.squeeze(&raw).unwrap();
        assert_eq!(stored.len(), 257);
        let mut out = vec![0; 256];
        Expander::new().unwrap().expand(stored, &mut out).unwrap();
        assert_eq!(out, raw);
    }

    proptest! {
        #[test]
        fn what_is_squeezed_expands(raw in proptest::collection::vec(0_u8..4, 0..5000)) {
            let mut squeezer = Squeezer::new(1).unwrap();
            let stored = squeezer.squeeze(&raw).unwrap().to_vec();
            let mut out = vec![0xee; raw.len()];
            Expander::new().unwrap().expand(&stored, &mut out).unwrap();
            prop_assert_eq!(&out, &raw);
            let mut longer = vec![0; raw.len().saturating_add(1)];
            prop_assert!(Expander::new().unwrap().expand(&stored, &mut longer).is_err());
        }

        #[test]
        fn random_bytes_never_panic(stored: Vec<u8>, len in 0_usize..300) {
            let mut out = vec![0; len];
            let _ = Expander::new().unwrap().expand(&stored, &mut out);
        }
    }
}
