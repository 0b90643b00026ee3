//! Randomness for this crate's own tests. The test kit depends on this crate, so it cannot be used.

pub(crate) mod samples;

use alloc::vec::Vec;

use keyhaven_secrets::Entropy;

/// A stream that a seed determines.
pub(crate) struct Seeded(blake3::OutputReader);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(
            blake3::Hasher::new_derive_key("keyhaven wire tests")
                .update(&seed.to_be_bytes())
                .finalize_xof(),
        )
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}

/// Bytes from hexadecimal digits.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap();
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::try_from(pair.iter().fold(0, |byte, at| byte << 4 | digit(at))).unwrap())
        .collect()
}
