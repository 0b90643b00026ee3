//! Keys derived for one purpose each.

use alloc::boxed::Box;
use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What a derived key is for. Each purpose has a string of its own, which HKDF takes as its
/// `info`, so a key made for one purpose is unrelated to the key made for any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Label {
    /// From the backup key: wraps a backup's keyring, which holds its data keys.
    WrapKeyring,
    /// From the backup key: its short public name.
    KeyFingerprint,
    /// From OPAQUE's export key: seals the backup key that the vault keeps.
    VaultWrap,
    /// From OPAQUE's export key: commits the sealed backup key to the key that sealed it.
    VaultCommitment,
}

impl Label {
    /// Every label, for tests that compare them all.
    pub const ALL: [Self; 4] = [
        Self::WrapKeyring,
        Self::KeyFingerprint,
        Self::VaultWrap,
        Self::VaultCommitment,
    ];

    /// The domain string: `keyhaven v1 ` and the purpose. It is part of the format and never
    /// changes for a label that was released.
    #[must_use]
    pub fn domain(self) -> &'static str {
        match self {
            Self::WrapKeyring => "keyhaven v1 wrap-keyring",
            Self::KeyFingerprint => "keyhaven v1 key-fingerprint",
            Self::VaultWrap => "keyhaven v1 vault-wrap",
            Self::VaultCommitment => "keyhaven v1 vault-commitment",
        }
    }
}

/// 32 bytes derived from a secret for one purpose. Boxed, wiped on drop, compared in constant
/// time, never printed.
pub struct DerivedKey(Box<[u8; 32]>);

impl DerivedKey {
    /// HKDF-SHA256 (RFC 5869) of `secret` with `salt`, and the label's string as `info`.
    #[must_use]
    pub fn from_secret(secret: &[u8], label: Label, salt: &[u8]) -> Self {
        let mut key = Box::new([0; 32]);
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA256 refuses only outputs above 8,160 bytes; this one is 32"
        )]
        Hkdf::<Sha256>::new(Some(salt), secret)
            .expand(label.domain().as_bytes(), key.as_mut_slice())
            .expect("32 bytes are within HKDF's limit");
        Self(key)
    }

    /// The key's bytes, for the cipher that uses them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for DerivedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for DerivedKey {}

impl Drop for DerivedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for DerivedKey {}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey(redacted)")
    }
}
