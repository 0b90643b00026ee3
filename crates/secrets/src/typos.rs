//! Typing mistakes in a 64-digit key.
//!
//! The 64 digits carry no check digits: they are the key itself, as WhatsApp shows it. A mistake
//! is found by trying every key that is one mistake away, and a candidate is accepted only when it
//! *authenticates*: when it opens something that was sealed under the right key. With 256 random
//! bits no wrong candidate ever does.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::backup_key::BackupKey;
use crate::digits::{DIGITS, is_spacing};
use crate::remedy::Remedy;

/// One typing mistake. Positions are counted from 1, spacing left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// This digit was left out.
    Missing {
        /// Which digit of the right key.
        position: usize,
    },
    /// This digit was typed though it is not in the key.
    Extra {
        /// Which of the typed digits.
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

/// What the person meant.
#[derive(Debug)]
pub struct Repaired {
    /// The key that authenticates. Its digits are shown to the person, who corrects the paper.
    pub key: BackupKey,
    /// The mistake, or nothing when the key was typed right.
    pub typo: Option<Typo>,
}

/// Why typed text could not be turned into the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// More than one digit is missing, too many or no digit at all: what was typed is too far from
    /// any key to try.
    #[error(
        "the key has 64 digits of 0-9 and a-f; {found} characters were given, {unreadable} of them others"
    )]
    TooFar {
        /// How many digits were given.
        found: usize,
        /// How many of them are not of 0-9 and a-f.
        unreadable: usize,
    },
    /// It is a key, and neither it nor any key one mistake away opens this backup.
    #[error("this key does not open the backup, and no key that is one typing mistake away does")]
    NoneOpens,
}

impl RepairError {
    /// What helps: typing it again, or finding the right sheet of paper.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::TooFar { .. } | Self::NoneOpens => Remedy::AskUser,
        }
    }
}

/// Finds the key that was meant, when it was typed with at most one mistake: a wrong or unreadable
/// digit, two neighbours swapped, one digit left out, or one too many.
///
/// `authenticates` says whether a candidate opens something sealed under the right key; it is
/// called first with the key as it was typed and at most 1,088 times in all, so it should cost
/// microseconds (a key commitment), not a password hash.
///
/// # Errors
///
/// When the text is more than one mistake away from any key, or no candidate authenticates.
///
/// # Example
///
/// ```
/// use keyhaven_secrets::{BackupKey, Typo, typos};
///
/// let key = BackupKey::from_bytes([0x1f; 32]);
/// let typed = key.digits().to_string().replacen("1f1f", "1ff1", 1); // two neighbours swapped
/// let repaired = typos::repair(&typed, |candidate| *candidate == key)?;
/// assert_eq!(repaired.typo, Some(Typo::Swapped { position: 3 }));
/// # Ok::<(), typos::RepairError>(())
/// ```
pub fn repair(
    typed: &str,
    mut authenticates: impl FnMut(&BackupKey) -> bool,
) -> Result<Repaired, RepairError> {
    let typed = Typed::read(typed);
    match (typed.found, typed.unreadable) {
        (DIGITS, 0) => {
            let key = key_of(&typed.digits);
            if authenticates(&key) {
                return Ok(Repaired { key, typo: None });
            }
            first_that_opens(neighbours(&key), authenticates)
        }
        (DIGITS, 1) => first_that_opens(unreadable_filled(&typed), authenticates),
        (63, 0) => first_that_opens(with_one_more(&typed), authenticates),
        // An unreadable character too many is the one to leave out.
        (65, 0 | 1) => first_that_opens(with_one_less(&typed), authenticates),
        (found, unreadable) => Err(RepairError::TooFar { found, unreadable }),
    }
}

/// Every key one mistake of hand away, as [`BackupKey::neighbours`] gives them.
pub(crate) fn neighbours(key: &BackupKey) -> impl Iterator<Item = Neighbour> + use<> {
    let digits = digits_of(key);
    let changed = digits.clone();
    // Xor with 1 to 15 gives every other digit once.
    let changes = (0..DIGITS).flat_map(|at| (1..16).map(move |flip| (at, flip)));
    let changes = changes.filter_map(move |(at, flip)| {
        let mut digits = changed.clone();
        *digits.get_mut(at)? ^= flip;
        Some(Neighbour {
            key: key_of(&digits),
            typo: Typo::Changed {
                position: at.saturating_add(1),
            },
        })
    });
    let swaps = (1..DIGITS).filter_map(move |position| {
        let mut digits = digits.clone();
        let (left, right) = digits.split_at_mut_checked(position)?;
        let (left, right) = (left.last_mut()?, right.first_mut()?);
        if left == right {
            return None;
        }
        core::mem::swap(left, right);
        Some(Neighbour {
            key: key_of(&digits),
            typo: Typo::Swapped { position },
        })
    });
    changes.chain(swaps)
}

/// Hexadecimal digits as values 0 to 15; a character that is none is [`UNREADABLE`].
type Values = Zeroizing<Vec<u8>>;

const UNREADABLE: u8 = 16;

/// What was typed, spacing left out.
struct Typed {
    digits: Values,
    found: usize,
    unreadable: usize,
}

impl Typed {
    fn read(typed: &str) -> Self {
        // One more than a key may have: enough to see that there are too many.
        let mut digits = Zeroizing::new(Vec::with_capacity(66));
        let (mut found, mut unreadable) = (0usize, 0usize);
        for c in typed.chars().filter(|c| !is_spacing(*c)) {
            found = found.saturating_add(1);
            let value = c.to_digit(16).and_then(|value| u8::try_from(value).ok());
            if value.is_none() {
                unreadable = unreadable.saturating_add(1);
            }
            if digits.len() < 66 {
                digits.push(value.unwrap_or(UNREADABLE));
            }
        }
        Self {
            digits,
            found,
            unreadable,
        }
    }
}

fn first_that_opens(
    mut candidates: impl Iterator<Item = Neighbour>,
    mut authenticates: impl FnMut(&BackupKey) -> bool,
) -> Result<Repaired, RepairError> {
    candidates
        .find(|candidate| authenticates(&candidate.key))
        .map(|found| Repaired {
            key: found.key,
            typo: Some(found.typo),
        })
        .ok_or(RepairError::NoneOpens)
}

/// The unreadable digit as each of the sixteen that it can have been.
fn unreadable_filled(typed: &Typed) -> impl Iterator<Item = Neighbour> {
    let at = typed
        .digits
        .iter()
        .position(|value| *value == UNREADABLE)
        .unwrap_or_default();
    (0..16).filter_map(move |value| {
        let mut digits = typed.digits.clone();
        *digits.get_mut(at)? = value;
        Some(Neighbour {
            key: key_of(&digits),
            typo: Typo::Changed {
                position: at.saturating_add(1),
            },
        })
    })
}

/// Every digit put in at every place.
fn with_one_more(typed: &Typed) -> impl Iterator<Item = Neighbour> {
    (0..DIGITS)
        .flat_map(|at| (0..16).map(move |value| (at, value)))
        .filter_map(move |(at, value)| {
            let (before, after) = typed.digits.split_at_checked(at)?;
            let mut digits = Zeroizing::new(Vec::with_capacity(DIGITS));
            digits.extend_from_slice(before);
            digits.push(value);
            digits.extend_from_slice(after);
            Some(Neighbour {
                key: key_of(&digits),
                typo: Typo::Missing {
                    position: at.saturating_add(1),
                },
            })
        })
}

/// Every typed digit left out in turn, or the unreadable one alone.
fn with_one_less(typed: &Typed) -> impl Iterator<Item = Neighbour> {
    (0..=DIGITS).filter_map(move |at| {
        let mut digits = Zeroizing::new(Vec::with_capacity(DIGITS));
        let kept = typed
            .digits
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != at);
        digits.extend(kept.map(|(_, value)| *value));
        if digits.contains(&UNREADABLE) {
            return None;
        }
        Some(Neighbour {
            key: key_of(&digits),
            typo: Typo::Extra {
                position: at.saturating_add(1),
            },
        })
    })
}

fn digits_of(key: &BackupKey) -> Values {
    Zeroizing::new(
        key.expose()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .collect(),
    )
}

fn key_of(digits: &[u8]) -> BackupKey {
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = pair
            .iter()
            .fold(0, |byte, digit| (byte << 4) | (digit & 15));
    }
    let taken = BackupKey::from_bytes(key);
    zeroize::Zeroize::zeroize(&mut key);
    taken
}
