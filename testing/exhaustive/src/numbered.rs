//! Things with a number each, so that a state is a few numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The most things of a kind.
const ALL: usize = 1 << 16;

/// All things of a kind that ever were, each once: numbered as they come, read without a lock.
pub(crate) struct Numbered<T> {
    numbers: Mutex<BTreeMap<Vec<u8>, u16>>,
    slots: Box<[OnceLock<Box<T>>]>,
}

impl<T> Numbered<T> {
    pub(crate) fn new() -> Self {
        Self {
            numbers: Mutex::default(),
            slots: (0..ALL).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The number of the thing that these bytes tell from all others.
    ///
    /// # Panics
    /// After 65,536 things: these bounds need larger numbers.
    pub(crate) fn number(&self, bytes: Vec<u8>, thing: impl FnOnce() -> T) -> u16 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = numbers.len();
        *numbers.entry(bytes).or_insert_with(|| {
            self.slots[next].get_or_init(|| Box::new(thing()));
            u16::try_from(next).expect("fewer than ALL")
        })
    }

    /// The thing with this number.
    ///
    /// # Panics
    /// Where no thing has it.
    pub(crate) fn at(&self, number: u16) -> &T {
        self.slots[usize::from(number)].get().expect("its number")
    }
}
