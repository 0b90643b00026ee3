//! A password, normalised once at the edge.

use alloc::borrow::Cow;
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::fmt;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::Profile;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::remedy::Remedy;

/// The longest password, in bytes of its normalised UTF-8.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// A password in the form that RFC 8265 (OpaqueString) gives it, so that the same words typed on
/// another keyboard or system are the same bytes. Wiped on drop, never printed.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Normalises what was typed: other spaces become the ASCII space, and the whole is composed
    /// (NFC). Case and width are kept.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or holds a character that OpaqueString does not allow, such as
    /// a control character.
    pub fn parse(typed: &str) -> Result<Self, PasswordError> {
        if typed.is_empty() {
            return Err(PasswordError::Empty);
        }
        if typed.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        let normal = match OpaqueString::new().enforce(typed) {
            Ok(Cow::Borrowed(same)) => Zeroizing::new(same.to_owned()),
            Ok(Cow::Owned(changed)) => Zeroizing::new(changed),
            Err(_) => return Err(PasswordError::Disallowed),
        };
        if normal.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        Ok(Self(normal))
    }

    /// The normalised UTF-8, for OPAQUE and nothing else.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    #[cfg(feature = "judge")]
    pub(crate) fn expose_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Password {}

impl ZeroizeOnDrop for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// Why typed text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Nothing was typed.
    #[error("the password is empty")]
    Empty,
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("the password is longer than 1,024 bytes")]
    TooLong,
    /// A character that RFC 8265 does not allow in a password.
    #[error("the password holds a character that cannot be typed everywhere, such as a tab")]
    Disallowed,
}

impl PasswordError {
    /// What helps: another password.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Empty | Self::TooLong | Self::Disallowed => Remedy::AskUser,
        }
    }
}
