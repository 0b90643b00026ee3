//! Typing mistakes in a 64-digit key: found by trying, accepted only when the result opens
//! something.

use crate::backup_key::BackupKey;

/// One typing mistake. Positions are counted from 1, spacing left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Typo {
    /// This digit is another one.
    Changed {
        /// Which digit.
        position: usize,
    },
    /// This digit and the next one stand in each other's place.
    Swapped {
        /// The first of the two.
        position: usize,
    },
}

/// A key that is one typing mistake away from another.
#[derive(Debug)]
pub struct Neighbour {
    /// The key.
    pub key: BackupKey,
    /// What is different.
    pub typo: Typo,
}

pub(crate) fn neighbours(key: &BackupKey) -> impl Iterator<Item = Neighbour> + use<> {
    let _ = key;
    std::iter::empty()
}
