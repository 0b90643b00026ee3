//! Randomness from the operating system, for the core crates.

use keyhaven_secrets::Entropy;

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // BACKUP-5: without randomness every promise about nonces is void, so the process ends
        // here, before it seals anything.
        if getrandom::fill(out).is_err() {
            std::process::abort();
        }
    }
}
