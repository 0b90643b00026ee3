//! Where random bytes come from.

use alloc::boxed::Box;

/// A source of random bytes.
///
/// Core crates take it as `&mut dyn Entropy`; they have no source of their own, so a run can be
/// replayed from a seed. Filling cannot fail: a shell whose operating system has no randomness
/// must end the process rather than go on with weaker keys.
pub trait Entropy {
    /// Fills `out` with bytes that nobody can predict.
    fn fill(&mut self, out: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

/// `N` random bytes, for ids, salts and nonces. A secret goes straight into its own type instead.
#[must_use]
pub fn random<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
