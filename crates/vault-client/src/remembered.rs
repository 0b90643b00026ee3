//! What a device remembers of the password that is registered, bound to the registration.
//!
//! A verifier alone says of *some* password that a new one differs from it. Whether that was the
//! registered one is another question: another device may have changed it since. So what is kept
//! names the fleet, the account and the generation, and speaks for no other (VAULT-7).
//!
//! ```text
//!   offset  0         32          64               72                133
//!           fleet id  leaf index  generation (BE)  verifier (61 bytes)
//! ```

use std::fmt;

use keyhaven_secrets::{Entropy, Password};
use keyhaven_wire::message::{FleetId, Generation, LeafIndex};
use keyhaven_wire::opaque::Parties;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::transport::Transport;
use crate::vault::Vault;
use crate::verifier::{PasswordVerifier, VERIFIER_BYTES, VerifierError};

/// Bytes of a remembered password as it is stored.
pub const REMEMBERED_BYTES: usize = 72 + VERIFIER_BYTES;

/// What a device remembers of the password of one registration. Secret; wiped on drop.
pub struct RememberedPassword {
    parties: Parties,
    generation: Generation,
    verifier: PasswordVerifier,
}

/// Evidence that a password is not the one of a registration. Only
/// [`RememberedPassword::check_different`] makes one, so a device cannot claim it unchecked, and it
/// counts for the registration that it was checked against and for no later one.
#[derive(Debug, Clone, Copy)]
pub struct Different {
    parties: Parties,
    generation: Generation,
}

impl Different {
    /// Whether it was checked against the registration that stands.
    pub(crate) fn is_from(&self, parties: &Parties, generation: Generation) -> bool {
        self.parties.fleet == parties.fleet
            && self.parties.leaf == parties.leaf
            && self.generation == generation
    }
}

impl<T: Transport> Vault<T> {
    /// Remembers the password of a registration that the vault has acknowledged, or has just
    /// proven. Of any other the device must not remember one.
    ///
    /// # Errors
    ///
    /// When there is not enough memory to stretch it.
    pub fn remember(
        &self,
        password: &Password,
        generation: Generation,
        entropy: &mut dyn Entropy,
    ) -> Result<RememberedPassword, VerifierError> {
        Ok(RememberedPassword {
            parties: self.parties,
            generation,
            verifier: PasswordVerifier::new(password, self.policy.cost, entropy)?,
        })
    }
}

impl RememberedPassword {
    /// Evidence that a password is not the remembered one; nothing if it is.
    ///
    /// # Errors
    ///
    /// When there is not enough memory to stretch it.
    pub fn check_different(&self, password: &Password) -> Result<Option<Different>, VerifierError> {
        Ok((!self.verifier.matches(password)?).then_some(Different {
            parties: self.parties,
            generation: self.generation,
        }))
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(REMEMBERED_BYTES));
        bytes.extend_from_slice(self.parties.fleet.as_bytes());
        bytes.extend_from_slice(self.parties.leaf.as_bytes());
        bytes.extend_from_slice(&self.generation.number().to_be_bytes());
        bytes.extend_from_slice(&self.verifier.encode());
        bytes
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    ///
    /// [`VerifierError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, VerifierError> {
        let damaged = VerifierError::Damaged;
        let (fleet, rest) = bytes.split_first_chunk::<32>().ok_or(damaged)?;
        let (leaf, rest) = rest.split_first_chunk::<32>().ok_or(damaged)?;
        let (generation, verifier) = rest.split_first_chunk::<8>().ok_or(damaged)?;
        Ok(Self {
            parties: Parties {
                fleet: FleetId::new(*fleet),
                leaf: LeafIndex::new(*leaf),
            },
            generation: Generation::new(u64::from_be_bytes(*generation)),
            verifier: PasswordVerifier::decode(verifier)?,
        })
    }
}

impl ZeroizeOnDrop for RememberedPassword {}

impl fmt::Debug for RememberedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RememberedPassword(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyhaven_testkit::entropy::SeededEntropy;
    use keyhaven_wire::opaque::Cost;

    fn remembered() -> RememberedPassword {
        let cost = Cost::parse(64, 1, 1).unwrap();
        let password = Password::parse("walnut trapeze").unwrap();
        RememberedPassword {
            parties: Parties {
                fleet: FleetId::new([1; 32]),
                leaf: LeafIndex::new([2; 32]),
            },
            generation: Generation::new(7),
            verifier: PasswordVerifier::new(&password, cost, &mut SeededEntropy::new(1)).unwrap(),
        }
    }

    /// VAULT-7: only a checked difference can be claimed, and only from what it was checked against.
    #[test]
    fn the_same_password_is_never_evidence_of_a_different_one() {
        let same = Password::parse("walnut trapeze").unwrap();
        let other = Password::parse("walnut trapezes").unwrap();
        assert!(remembered().check_different(&same).unwrap().is_none());
        let different = remembered().check_different(&other).unwrap().unwrap();
        let parties = remembered().parties;
        assert!(different.is_from(&parties, Generation::new(7)));
        assert!(!different.is_from(&parties, Generation::new(8)));
        let leaf = LeafIndex::new([3; 32]);
        assert!(!different.is_from(&Parties { leaf, ..parties }, Generation::new(7)));
        let fleet = FleetId::new([3; 32]);
        assert!(!different.is_from(&Parties { fleet, ..parties }, Generation::new(7)));
    }

    /// Golden bytes: docs/keys.md says them. What a keystore holds is read by later versions; the
    /// hash was made with Python's `argon2-cffi`.
    #[test]
    fn the_stored_form_is_fixed() {
        let bytes = remembered().encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(bytes.len(), REMEMBERED_BYTES);
        let back = RememberedPassword::decode(&bytes).unwrap();
        assert_eq!(*back.encode(), *bytes);
        for end in 0..bytes.len() {
            assert!(RememberedPassword::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(RememberedPassword::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert_eq!(format!("{back:?}"), "RememberedPassword(redacted)");
    }

    const GOLDEN: &str = "01010101010101010101010101010101010101010101010101010101010101010202020202020202020202020202020202020202020202020202020202020202\
        0000000000000007010000004000000001000000019a3744504560639ec670b7a17d492b27\
        8dceb50894d37be6b91564ae485476be06750af1fc4dc07f357314094851ae90";
}
