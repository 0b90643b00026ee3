//! Signed notes: a text, a blank line, and signatures by name (C2SP `signed-note.md`).

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::{BundleError, Pin};

/// The name under which an operator signs. The key, not the name, says who it is.
const KEY_NAME: &str = "keyhaven-operator";
/// The algorithm byte of plain Ed25519 in a C2SP key id.
const ED25519: u8 = 0x01;
/// More signatures than this are not a bundle: one of the operator's, the rest witnesses'.
const SIGNATURES_MAX: usize = 16;

/// The operator's public Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorKey([u8; 32]);

impl OperatorKey {
    /// Takes the 32 bytes of RFC 8032. Whether they are a good key is judged when they are used.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The fingerprint that stands in a vault's address.
    #[must_use]
    pub fn pin(&self) -> Pin {
        let mut hash = Sha256::new();
        hash.update(b"keyhaven v1 operator pin\n");
        hash.update(self.0);
        Pin::from_bytes(hash.finalize().into())
    }

    /// The key as other signed-note tools take it (`name+id+base64`).
    #[must_use]
    pub fn vkey(&self) -> String {
        let id = u32::from_be_bytes(self.id());
        let mut typed = vec![ED25519];
        typed.extend_from_slice(&self.0);
        format!("{KEY_NAME}+{id:08x}+{}", BASE64.encode(typed))
    }

    /// The first four bytes of SHA-256(name, newline, algorithm, key).
    fn id(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(KEY_NAME.as_bytes());
        hash.update([b'\n', ED25519]);
        hash.update(self.0);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        [a, b, c, d]
    }
}

/// The operator's signing key. Wiped when dropped; `Debug` shows nothing of it.
pub struct OperatorSecret(SigningKey);

impl OperatorSecret {
    /// Takes the 32-byte seed of RFC 8032.
    #[must_use]
    pub fn from_bytes(mut seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        zeroize::Zeroize::zeroize(&mut seed);
        Self(key)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> OperatorKey {
        OperatorKey(self.0.verifying_key().to_bytes())
    }

    /// `text` must end in a newline and hold no control characters, as every bundle's does.
    pub(super) fn sign_note(&self, text: &str) -> String {
        let mut signed = self.public().id().to_vec();
        signed.extend_from_slice(&self.0.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {KEY_NAME} {}\n", BASE64.encode(signed))
    }
}

impl core::fmt::Debug for OperatorSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OperatorSecret")
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}

/// A note cut into its text and its signatures; nothing of it is believed yet.
pub(super) struct Note<'a> {
    pub(super) text: &'a str,
    signatures: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    pub(super) fn parse(note: &'a str) -> Result<Self, BundleError> {
        let bad = |reason| BundleError::NotANote { reason };
        if note.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(bad("a control character"));
        }
        // The text is separated from the signatures by the last empty line.
        let gap = note.rfind("\n\n").ok_or(bad("no blank line"))?;
        let (text, rest) = note
            .split_at_checked(gap.saturating_add(1))
            .ok_or(bad("no blank line"))?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'))
            .ok_or(bad("no signature line"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            let (name, value) = line
                .strip_prefix("\u{2014} ")
                .and_then(|line| line.split_once(' '))
                .ok_or(bad("a line that is not a signature"))?;
            if name.is_empty() || name.contains('+') || name.contains(char::is_whitespace) {
                return Err(bad("a key name that is none"));
            }
            let value = BASE64
                .decode(value)
                .map_err(|_| bad("a signature that is not base64"))?;
            signatures.push((name, value));
            if signatures.len() > SIGNATURES_MAX {
                return Err(bad("too many signatures"));
            }
        }
        Ok(Self { text, signatures })
    }

    /// Signatures of keys that are not `operator`'s are ignored, as the form demands: they may be
    /// witnesses'. One that claims to be the operator's and fails refuses the whole note.
    pub(super) fn verify(&self, operator: &OperatorKey) -> Result<(), BundleError> {
        let key = VerifyingKey::from_bytes(&operator.0).map_err(|_| BundleError::Signature)?;
        let id = operator.id();
        let mut good = false;
        for (name, value) in &self.signatures {
            let Some((value_id, signature)) = value.split_first_chunk::<4>() else {
                return Err(BundleError::NotANote {
                    reason: "a signature without a key id",
                });
            };
            if *name != KEY_NAME || *value_id != id {
                continue;
            }
            let signature = Signature::from_slice(signature).map_err(|_| BundleError::Signature)?;
            key.verify_strict(self.text.as_bytes(), &signature)
                .map_err(|_| BundleError::Signature)?;
            good = true;
        }
        if good {
            Ok(())
        } else {
            Err(BundleError::Signature)
        }
    }
}
