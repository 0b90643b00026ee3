//! Where every choice of a life comes from: one seed.

/// `SplitMix64` (Steele, Lea, Flood 2014): one word of state, every seed good.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below this one; 0 if there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word().checked_rem(bound).unwrap_or(0)
    }

    /// Whether something happens that happens in so many of a hundred cases.
    pub(crate) fn percent(&mut self, rate: u64) -> bool {
        self.below(100) < rate
    }

    /// One of these.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// An index by weight.
    pub(crate) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return index,
            }
        }
        0
    }
}

/// A place in something of which only the run knows how long it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick(pub(crate) u16);

impl Pick {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        Self(chance.below(1 << 16) as u16)
    }

    /// The place, where there is one.
    pub(crate) fn index(self, len: usize) -> Option<usize> {
        let at = usize::from(self.0) * len / (1 << 16);
        (len > 0).then_some(at)
    }

    pub(crate) fn of<T>(self, all: &[T]) -> Option<&T> {
        all.get(self.index(all.len())?)
    }
}

impl std::fmt::Debug for Pick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {:.3}", f64::from(self.0) / 65_536.0)
    }
}
