//! A set of small numbers.

/// How many words of 64 numbers a set has.
const WORDS: usize = 8;

/// A set of numbers below 256: a copy is a few words, and two that hold the same are the same, whatever
/// came first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bits([u64; WORDS]);

impl Bits {
    /// Puts a number into it.
    ///
    /// # Panics
    /// At 256: these bounds need a larger set.
    pub(crate) fn insert(&mut self, number: u16) {
        self.0[usize::from(number / 64)] |= 1 << (number % 64);
    }

    /// What is in it, the smallest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        (0_u16..).zip(self.0).flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let low = u16::try_from(word.trailing_zeros()).ok()?;
                word &= word.checked_sub(1)?;
                Some(at * 64 + low)
            })
        })
    }

    /// Every set of this size of what is in it.
    pub(crate) fn choose(&self, size: usize) -> Vec<Self> {
        let mut sets = vec![Vec::new(); size + 1];
        sets[0].push(Self::default());
        for number in self.iter() {
            for small in (0..size).rev() {
                let (smaller, larger) = sets.split_at_mut(small + 1);
                larger[0].extend(smaller[small].iter().map(|set| set.with(number)));
            }
        }
        sets.swap_remove(size)
    }

    /// What is in it, and one more.
    pub(crate) fn with(mut self, number: u16) -> Self {
        self.insert(number);
        self
    }

    /// What is in it but for this one.
    pub(crate) fn without(mut self, number: u16) -> Self {
        self.0[usize::from(number / 64)] &= !(1 << (number % 64));
        self
    }
}

impl FromIterator<u16> for Bits {
    fn from_iter<I: IntoIterator<Item = u16>>(numbers: I) -> Self {
        numbers.into_iter().fold(Self::default(), Self::with)
    }
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn a_set_holds_each_number_once_and_in_order() {
        let set: Bits = [200, 3, 64, 3, 0].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 64, 200]);
        assert_eq!(set.without(64).iter().collect::<Vec<_>>(), [0, 3, 200]);
    }

    #[test]
    fn every_choice_is_made_once() {
        let set: Bits = [1, 5, 70, 71, 255].into_iter().collect();
        let choices = set.choose(3);
        let different: std::collections::BTreeSet<_> = choices.iter().collect();
        assert_eq!((choices.len(), different.len()), (10, 10));
        assert!(choices.iter().all(|choice| choice.iter().count() == 3));
        assert_eq!(set.choose(6), []);
    }
}
