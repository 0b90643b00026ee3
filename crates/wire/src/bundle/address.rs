//! A vault's address: where it listens and whose it is, in one line that a person can copy.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use keyhaven_secrets::Remedy;

/// RFC 4648 base32 in lower case: 32 bytes are 52 letters, read aloud without a shift key.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const PIN_LETTERS: usize = 52;

/// The fingerprint of an operator's signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Takes the 32 bytes of the fingerprint.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the fingerprint.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut held: u32 = 0;
        let mut bits: u32 = 0;
        let mut letter = |value: u32| {
            let letter = usize::try_from(value & 31)
                .ok()
                .and_then(|at| ALPHABET.get(at));
            letter.map_or(Err(fmt::Error), |letter| {
                write!(f, "{}", char::from(*letter))
            })
        };
        for byte in self.0 {
            // Never more than 4 + 8 bits are held.
            held = (held << 8) | u32::from(byte);
            bits = bits.saturating_add(8);
            while bits >= 5 {
                bits = bits.saturating_sub(5);
                letter(held >> bits)?;
            }
            held &= 31;
        }
        letter(held << 5_u32.saturating_sub(bits))
    }
}

impl FromStr for Pin {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() != PIN_LETTERS {
            return Err(AddressError::Pin);
        }
        let mut bytes = Vec::with_capacity(32);
        let mut held: u32 = 0;
        let mut bits: u32 = 0;
        for letter in text.bytes() {
            let letter = letter.to_ascii_lowercase();
            let value = ALPHABET
                .iter()
                .zip(0..)
                .find(|(known, _)| **known == letter);
            let (_, value): (_, u32) = value.ok_or(AddressError::Pin)?;
            held = (held << 5) | value;
            bits = bits.saturating_add(5);
            if bits >= 8 {
                bits = bits.saturating_sub(8);
                bytes.push(u8::try_from((held >> bits) & 0xff).map_err(|_| AddressError::Pin)?);
                held &= 0xff;
            }
        }
        // 52 letters hold 260 bits: the last four must be zero, so that a pin has one spelling.
        if held & 15 != 0 {
            return Err(AddressError::Pin);
        }
        <[u8; 32]>::try_from(bytes)
            .map(Self)
            .map_err(|_| AddressError::Pin)
    }
}

/// `http://127.0.0.1:7420/#<pin>`: the pin stands in the fragment, which no client ever sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAddress {
    origin: String,
    pin: Pin,
}

impl VaultAddress {
    /// An address from its parts; `origin` is a scheme, a host and perhaps a port.
    ///
    /// # Errors
    /// [`AddressError`] when `origin` is not an origin.
    pub fn new(origin: &str, pin: Pin) -> Result<Self, AddressError> {
        let origin = origin.strip_suffix('/').unwrap_or(origin);
        let host = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .ok_or(AddressError::Scheme)?;
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '#' | '?' | '@' | '\\');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(AddressError::Host);
        }
        Ok(Self {
            origin: origin.to_owned(),
            pin,
        })
    }

    /// Scheme, host and port, without a slash at the end.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whose vault it must be.
    #[must_use]
    pub const fn pin(&self) -> Pin {
        self.pin
    }
}

impl fmt::Display for VaultAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/#{}", self.origin, self.pin)
    }
}

impl FromStr for VaultAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (origin, pin) = text.trim().split_once('#').ok_or(AddressError::NoPin)?;
        Self::new(origin, pin.parse()?)
    }
}

/// Why a text is not a vault's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `#<pin>`.
    #[error("a vault's address ends in `#` and 52 letters and digits, its pin; this one does not")]
    NoPin,
    /// What stands after `#` is not a pin.
    #[error("the pin (after `#`) is not one: it is 52 letters a-z and digits 2-7")]
    Pin,
    /// Neither `http://` nor `https://`.
    #[error("a vault's address begins with http:// or https://")]
    Scheme,
    /// No host, or more than a host and a port.
    #[error("between the scheme and `/#` stand a host and perhaps a port, and nothing else")]
    Host,
}

impl AddressError {
    /// What helps: another look at the address, always.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        Remedy::AskUser
    }
}
