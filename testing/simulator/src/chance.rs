//! Where every choice of a run comes from: one seed, and the number of the step.

use keyhaven_secrets::Entropy;
use keyhaven_testkit::entropy::SeededEntropy;

/// The choices of one step. Each step has its own source, so that a run in which some steps are
/// left out makes the same choices in the others: that is what shrinking rests on.
#[derive(Debug)]
pub struct Chance(SeededEntropy);

impl Chance {
    /// The choices of a step.
    #[must_use]
    pub fn of_step(seed: u64, step: u64) -> Self {
        Self(SeededEntropy::new(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ step,
        ))
    }

    /// A number below this one; 0 if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        usize::try_from(self.word() % bound as u64).unwrap_or(0)
    }

    /// Whether something happens that happens in so many of a hundred cases.
    pub fn percent(&mut self, rate: u8) -> bool {
        self.below(100) < usize::from(rate)
    }

    /// One of these, if there is one.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// One of the last of these, mostly; any of them, now and then.
    pub fn recent<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let reach = match self.below(8) {
            0 => of.len(),
            1 | 2 => 24,
            _ => 4,
        };
        let skip = of.len().saturating_sub(reach);
        self.one(&of[skip..])
    }

    /// An index by weight.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u32 = weights.iter().sum();
        let mut at = u32::try_from(self.below(total as usize)).unwrap_or(0);
        for (index, weight) in weights.iter().enumerate() {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return index,
            }
        }
        0
    }

    /// 64 random bits.
    pub fn word(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl Entropy for Chance {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}
