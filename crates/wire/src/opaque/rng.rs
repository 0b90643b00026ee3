//! Random bytes in the shape that the OPAQUE engine takes them.

use keyhaven_secrets::Entropy;
use opaque_ke::rand::{CryptoRng, Error, RngCore};

/// An [`Entropy`] as the engine's random source.
pub(super) struct FromEntropy<'a>(pub(super) &'a mut dyn Entropy);

/// A stream that a key determines: what makes KE2 the same for the same guess.
pub(super) struct FromKey(blake3::OutputReader);

impl FromKey {
    pub(super) fn new(hasher: &blake3::Hasher) -> Self {
        Self(hasher.finalize_xof())
    }
}

macro_rules! rng {
    ($name:ty, |$self:ident, $out:ident| $fill:expr) => {
        impl RngCore for $name {
            fn next_u32(&mut self) -> u32 {
                let mut bytes = [0; 4];
                self.fill_bytes(&mut bytes);
                u32::from_le_bytes(bytes)
            }

            fn next_u64(&mut self) -> u64 {
                let mut bytes = [0; 8];
                self.fill_bytes(&mut bytes);
                u64::from_le_bytes(bytes)
            }

            fn fill_bytes(&mut $self, $out: &mut [u8]) {
                $fill;
            }

            fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
                self.fill_bytes(out);
                Ok(())
            }
        }

        impl CryptoRng for $name {}
    };
}

rng!(FromEntropy<'_>, |self, out| self.0.fill(out));
rng!(FromKey, |self, out| self.0.fill(out));
