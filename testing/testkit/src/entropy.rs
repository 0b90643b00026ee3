//! Randomness that can be replayed.

use keyhaven_secrets::Entropy;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// ChaCha20 from a 64-bit seed: the same seed gives the same bytes on every machine, so a failing
/// run is found again by its seed. For tests only; its secrets are no secrets.
#[derive(Debug, Clone)]
pub struct SeededEntropy(ChaCha20Rng);

impl SeededEntropy {
    /// A source that repeats for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_for_ever() {
        let mut bytes = [0; 8];
        SeededEntropy::new(1).fill(&mut bytes);
        let mut again = [0; 8];
        SeededEntropy::new(1).fill(&mut again);
        assert_eq!(bytes, again);
        SeededEntropy::new(2).fill(&mut again);
        assert_ne!(bytes, again);
    }
}
