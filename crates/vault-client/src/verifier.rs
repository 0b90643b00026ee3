//! Tells whether a new password is the one that is registered, without the vault.
//!
//! A new password begins with a full budget of guesses only when a listed device says that it is a
//! *different* one (VAULT-7). The device can say so only if it remembers something of the old one:
//! a [`PasswordVerifier`], a salted Argon2id hash, which
//! [`RememberedPassword`](crate::RememberedPassword) binds to the registration. Whoever has the verifier can try passwords
//! against it without limit, slowed only by Argon2id; so it belongs where the device's key is, and
//! only a device that wants to change passwords without asking for the old one keeps it.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use keyhaven_secrets::{Entropy, Password, random};
use keyhaven_wire::opaque::Cost;
use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Bytes of a verifier as it is stored.
pub const VERIFIER_BYTES: usize = 61;

/// What a device remembers of the password it registered. Secret; wiped on drop.
pub struct PasswordVerifier {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    hash: Zeroizing<[u8; HASH_BYTES]>,
}

impl PasswordVerifier {
    /// Remembers a password.
    ///
    /// # Errors
    ///
    /// When there is not enough memory to stretch it.
    pub fn new(
        password: &Password,
        cost: Cost,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, VerifierError> {
        let salt = random(entropy);
        Ok(Self {
            cost,
            salt,
            hash: stretch(password, &cost, &salt)?,
        })
    }

    /// Whether this is the remembered password.
    ///
    /// # Errors
    ///
    /// When there is not enough memory to stretch it.
    pub fn matches(&self, password: &Password) -> Result<bool, VerifierError> {
        let hash = stretch(password, &self.cost, &self.salt)?;
        Ok(hash.as_slice().ct_eq(self.hash.as_slice()).into())
    }

    /// The bytes to store: format, Argon2id's memory, passes and lanes (big-endian), salt, hash.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(VERIFIER_BYTES));
        bytes.push(FORMAT);
        for number in [
            self.cost.memory_kib(),
            self.cost.passes(),
            self.cost.lanes(),
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(self.hash.as_slice());
        bytes
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    ///
    /// When they are not a verifier of a format known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, VerifierError> {
        let damaged = VerifierError::Damaged;
        let (format, rest) = bytes.split_first().ok_or(damaged)?;
        let (numbers, rest) = rest.split_first_chunk::<12>().ok_or(damaged)?;
        let (salt, hash) = rest.split_first_chunk::<SALT_BYTES>().ok_or(damaged)?;
        let hash = <[u8; HASH_BYTES]>::try_from(hash).map_err(|_| damaged)?;
        let (numbers, _) = numbers.as_chunks::<4>();
        let [memory, passes, lanes] = numbers else {
            return Err(damaged);
        };
        let [memory, passes, lanes] = [memory, passes, lanes].map(|n| u32::from_be_bytes(*n));
        let cost = Cost::parse(memory, passes, lanes).map_err(|_| damaged)?;
        if *format != FORMAT {
            return Err(damaged);
        }
        Ok(Self {
            cost,
            salt: *salt,
            hash: Zeroizing::new(hash),
        })
    }
}

impl ZeroizeOnDrop for PasswordVerifier {}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordVerifier(redacted)")
    }
}

fn stretch(
    password: &Password,
    cost: &Cost,
    salt: &[u8; SALT_BYTES],
) -> Result<Zeroizing<[u8; HASH_BYTES]>, VerifierError> {
    let params = Params::new(
        cost.memory_kib(),
        cost.passes(),
        cost.lanes(),
        Some(HASH_BYTES),
    )
    .map_err(|_| VerifierError::Stretching)?;
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose_bytes(), salt, hash.as_mut_slice())
        .map_err(|_| VerifierError::Stretching)?;
    Ok(hash)
}

/// Why a verifier could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// The stored bytes are not a verifier.
    #[error("what this device remembers of the password is damaged")]
    Damaged,
    /// Not enough memory.
    #[error("there is not enough memory to stretch the password")]
    Stretching,
}

impl VerifierError {
    /// What helps: without a verifier a password is changed by proving the old one.
    #[must_use]
    pub fn remedy(&self) -> keyhaven_secrets::Remedy {
        match self {
            Self::Damaged => keyhaven_secrets::Remedy::AskUser,
            Self::Stretching => keyhaven_secrets::Remedy::RetryLater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyhaven_testkit::entropy::SeededEntropy;

    fn verifier() -> PasswordVerifier {
        let cost = Cost::parse(64, 1, 1).unwrap();
        let password = Password::parse("walnut trapeze").unwrap();
        PasswordVerifier::new(&password, cost, &mut SeededEntropy::new(1)).unwrap()
    }

    #[test]
    fn a_verifier_reads_back_and_damage_is_refused() {
        let bytes = verifier().encode();
        assert_eq!(bytes.len(), VERIFIER_BYTES);
        let back = PasswordVerifier::decode(&bytes).unwrap();
        assert!(
            back.matches(&Password::parse("walnut trapeze").unwrap())
                .unwrap()
        );
        for end in 0..bytes.len() {
            assert!(PasswordVerifier::decode(&bytes[..end]).is_err());
        }
        let mut other_format = bytes.to_vec();
        other_format[0] = 2;
        assert_eq!(
            PasswordVerifier::decode(&other_format).unwrap_err(),
            VerifierError::Damaged
        );
        assert_eq!(format!("{back:?}"), "PasswordVerifier(redacted)");
    }
}
