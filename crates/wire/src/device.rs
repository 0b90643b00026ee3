//! How a device signs: Ed25519 (RFC 8032) over a statement that says what it is.
//!
//! A statement names its kind, the account's leaf (and so the fleet), and all that it asks for. A
//! signature over one kind is therefore never one over another, nor one for another account.

#[cfg(feature = "client")]
mod secret;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use ed25519_dalek::VerifyingKey;

#[cfg(feature = "client")]
pub use self::secret::DeviceSecret;

use crate::codec::{self, EncodeError};
use crate::message::{
    Change, DeviceKey, DeviceSigned, LeafIndex, PasswordClaim, RegisterFinish, RegistrationId,
    Signature, StatusNonce,
};
use crate::opaque::Ke1;
use crate::suite::Suite;

const DOMAIN: &[u8] = b"keyhaven v1 device statement\0";

/// What a device can sign.
#[derive(Clone, Copy, Debug)]
pub enum Statement<'a> {
    /// "I ask how the account stands."
    Status {
        /// Makes the question its own.
        nonce: &'a StatusNonce,
    },
    /// "This guess is the owner's."
    Recover {
        /// The guess.
        ke1: &'a Ke1,
    },
    /// "Change the record so."
    Change(&'a Change),
    /// "Arm this generation."
    Register {
        /// The registration.
        id: &'a RegistrationId,
        /// What the device says about the password.
        password: PasswordClaim,
        /// What is armed. Its `authority` is not signed: the signature stands in it.
        finish: &'a RegisterFinish,
    },
}

impl Statement<'_> {
    /// The bytes that are signed: the domain, the kind, the leaf, and the content.
    ///
    /// # Errors
    /// None in practice: see [`codec::encode`].
    pub fn encode(&self, leaf: &LeafIndex) -> Result<Vec<u8>, EncodeError> {
        let (kind, content): (u8, Vec<u8>) = match self {
            Self::Status { nonce } => (0, nonce.as_bytes().to_vec()),
            Self::Recover { ke1 } => (1, ke1.as_bytes().to_vec()),
            Self::Change(change) => (2, codec::encode(*change)?.to_vec()),
            Self::Register {
                id,
                password,
                finish,
            } => {
                let claim = match password {
                    PasswordClaim::MayBeSame => 0,
                    PasswordClaim::Different => 1,
                };
                let mut content = id.as_bytes().to_vec();
                content.push(claim);
                content.extend_from_slice(finish.digest()?.as_bytes());
                (3, content)
            }
        };
        let mut bytes = DOMAIN.to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(leaf.as_bytes());
        bytes.extend_from_slice(&content);
        Ok(bytes)
    }
}

/// Evidence that the key in it signed the statement it was checked against. Only [`verify`] makes
/// one, so that skipping the check does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    key: DeviceKey,
}

impl Verified {
    /// Who signed. Whether the record lists it is another question.
    #[must_use]
    pub const fn key(&self) -> DeviceKey {
        self.key
    }
}

/// Checks a signature.
#[must_use]
pub fn verify<T>(
    suite: &dyn Suite,
    leaf: &LeafIndex,
    statement: &Statement<'_>,
    signed: &DeviceSigned<T>,
) -> Option<Verified> {
    let bytes = statement.encode(leaf).ok()?;
    suite
        .verifies(&signed.key, &bytes, &signed.signature)
        .then_some(Verified { key: signed.key })
}

/// Ed25519 by the strict rules.
pub(crate) fn ed25519_verifies(key: &DeviceKey, bytes: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    VerifyingKey::from_bytes(key.as_bytes())
        .is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
}
