//! The 64-digit form of a backup key.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::backup_key::BackupKey;
use crate::remedy::Remedy;

/// How many digits a key has.
pub(crate) const DIGITS: usize = 64;

/// The 64-digit form of a backup key: lower-case hexadecimal digits in 16 groups of four.
///
/// `Display` writes the groups with a space between; that is what this type is for. `Debug` is
/// redacted. Wiped on drop; a `String` made from it is the caller's to wipe.
pub struct Digits(Box<[u8; DIGITS]>);

impl Digits {
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        let mut digits = Box::new([0; DIGITS]);
        #[expect(
            clippy::expect_used,
            reason = "the encoder refuses only a buffer that is too short; 64 is twice 32"
        )]
        base16ct::lower::encode(key, digits.as_mut_slice()).expect("64 digits for 32 bytes");
        Self(digits)
    }

    /// The 16 groups of four digits, in order.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.0
            .chunks(4)
            .map(|group| core::str::from_utf8(group).unwrap_or_default())
    }

    /// Four lines of four groups, as a sheet of paper shows them.
    pub fn lines(&self) -> impl Iterator<Item = Zeroizing<String>> {
        self.0.chunks(16).map(|line| {
            let mut text = Zeroizing::new(String::with_capacity(19));
            for (index, group) in line.chunks(4).enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                text.push_str(core::str::from_utf8(group).unwrap_or_default());
            }
            text
        })
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(group)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits(redacted)")
    }
}

impl Drop for Digits {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Digits {}

/// Why typed text is not a 64-digit key. The fields say where, never what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigitsError {
    /// A character that is neither a digit of 0-9 a-f nor spacing.
    #[error(
        "digit {position} is not one of 0-9 and a-f; the key has only these (the letter o is a zero)"
    )]
    NotADigit {
        /// Which of the typed digits, counted from 1, spacing left out.
        position: usize,
    },
    /// Too few or too many digits.
    #[error("the key has 64 digits, and {found} were given")]
    WrongLength {
        /// How many digits were given.
        found: usize,
    },
}

impl DigitsError {
    /// What helps: typing it again.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::NotADigit { .. } | Self::WrongLength { .. } => Remedy::AskUser,
        }
    }
}

/// Whether a character only spaces digits out: white space of any script, hyphens and dashes of
/// any length, and the invisible characters that copying from a page brings along.
pub(crate) fn is_spacing(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

pub(crate) fn parse(typed: &str) -> Result<BackupKey, DigitsError> {
    let mut digits = Zeroizing::new([0u8; DIGITS]);
    let mut slots = digits.iter_mut();
    let mut found: usize = 0;
    for c in typed.chars().filter(|c| !is_spacing(*c)) {
        found = found.saturating_add(1);
        if !c.is_ascii_hexdigit() {
            return Err(DigitsError::NotADigit { position: found });
        }
        if let (Some(slot), Ok(byte)) = (slots.next(), u8::try_from(c)) {
            *slot = byte;
        }
    }
    if found != DIGITS {
        return Err(DigitsError::WrongLength { found });
    }
    let mut key = [0; 32];
    // The decoder takes no branch and reads no table by a digit's value.
    let decoded = base16ct::mixed::decode(digits.as_slice(), &mut key).is_ok();
    let key = BackupKey::from_bytes(core::mem::take(&mut key));
    if decoded {
        Ok(key)
    } else {
        Err(DigitsError::NotADigit { position: DIGITS })
    }
}
