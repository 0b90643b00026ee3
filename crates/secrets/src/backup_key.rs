//! The backup key: the 32 random bytes that open a backup.

use alloc::boxed::Box;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::derived::{DerivedKey, Label};
use crate::digits::{Digits, DigitsError};
use crate::entropy::Entropy;
use crate::typos::{self, Neighbour};

/// The 32 random bytes that open a backup.
///
/// The bytes stand in a box of their own, so that moving the key leaves no copy behind, and are
/// wiped when it is dropped. It is never cloned and never printed; the person sees
/// [`BackupKey::digits`].
pub struct BackupKey(Box<[u8; 32]>);

impl BackupKey {
    /// Makes a new key from `entropy`.
    #[must_use]
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = Box::new([0; 32]);
        entropy.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// Takes the key's bytes, for example as they came out of a protector. The caller's own copy
    /// is wiped here; an earlier one is the caller's to wipe.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self(Box::new(bytes));
        bytes.zeroize();
        key
    }

    /// The key's bytes, to wrap them under a protector. Everything else uses
    /// [`BackupKey::derive`].
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 64-digit form: hexadecimal digits in any case with any spacing.
    ///
    /// # Errors
    ///
    /// When it is not exactly 64 hexadecimal digits. [`crate::typos::repair`] helps then.
    pub fn parse_digits(typed: &str) -> Result<Self, DigitsError> {
        crate::digits::parse(typed)
    }

    /// The 64-digit form, to be shown to its owner.
    #[must_use]
    pub fn digits(&self) -> Digits {
        Digits::of(&self.0)
    }

    /// Derives the key for one purpose: HKDF-SHA256 (RFC 5869) of this key with `salt` and the
    /// label's own string.
    #[must_use]
    pub fn derive(&self, label: Label, salt: &[u8]) -> DerivedKey {
        DerivedKey::from_secret(self.0.as_slice(), label, salt)
    }

    /// A short public name of this key, by which a sheet of paper and a backup are matched. It is
    /// derived from the key and tells nothing that helps to find it.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        let derived = self.derive(Label::KeyFingerprint, b"");
        let mut bytes = [0; 6];
        for (to, from) in bytes.iter_mut().zip(derived.expose()) {
            *to = *from;
        }
        KeyFingerprint(bytes)
    }

    /// Every key that differs from this one by one typing mistake: first all 64 × 15 changes of
    /// one digit, then all swaps of two unequal neighbouring digits.
    pub fn neighbours(&self) -> impl Iterator<Item = Neighbour> + use<> {
        typos::neighbours(self)
    }
}

impl PartialEq for BackupKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for BackupKey {}

impl Drop for BackupKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for BackupKey {}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey(redacted)")
    }
}

/// The public name of a backup key: six bytes derived from it, shown as `kf-` and 12 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint([u8; 6]);

impl KeyFingerprint {
    /// Takes stored bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kf-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
