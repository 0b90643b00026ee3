//! The backup key as the vault keeps it: sealed on the device under OPAQUE's export key.
//!
//! ```text
//!   offset  0       1      8                 40               72
//!           version salt   backup key XOR pad HMAC-SHA256 tag
//! ```
//!
//! Pad and tag key are derived from the export key (HKDF-SHA256, a label each) with a salt that
//! names version, random salt, fleet, account and generation: what was sealed for one of them opens
//! for no other. The export key is new with every registration and seals once, so the pad is used
//! once (BACKUP-5). The tag is as wide as a hash and depends on the whole export key: nobody can
//! make sealed bytes that open under two passwords (key commitment).

use hmac::{Hmac, Mac as _};
use keyhaven_secrets::{BackupKey, DerivedKey, Entropy, Label, random};
use keyhaven_wire::message::{Generation, WrappedKey};
use keyhaven_wire::opaque::{ExportKey, Parties};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::mac;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 7;

/// Whom and which registration a sealed key belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Belongs {
    /// The fleet and the account.
    pub parties: Parties,
    /// The registration.
    pub generation: Generation,
}

/// The sealed key is of another password, account or generation, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed backup key does not open")]
pub struct DoesNotOpen;

/// Seals the backup key under the export key of the registration that it belongs to.
pub fn seal(
    key: &BackupKey,
    export: &ExportKey,
    belongs: &Belongs,
    entropy: &mut dyn Entropy,
) -> WrappedKey {
    let salt: [u8; SALT_BYTES] = random(entropy);
    let keys = Keys::derive(export, &salt, belongs);
    let mut hidden = *key.expose();
    keys.mask(&mut hidden);
    let tag = keys.tag(&salt, &hidden).finalize().into_bytes();
    let mut sealed = [0; WrappedKey::BYTES];
    let parts = std::iter::once(VERSION)
        .chain(salt)
        .chain(hidden)
        .chain(tag);
    for (slot, byte) in sealed.iter_mut().zip(parts) {
        *slot = byte;
    }
    WrappedKey::new(sealed)
}

/// Opens what [`seal`] made.
///
/// # Errors
///
/// [`DoesNotOpen`].
pub fn open(
    wrapped: &WrappedKey,
    export: &ExportKey,
    belongs: &Belongs,
) -> Result<BackupKey, DoesNotOpen> {
    let (version, rest) = wrapped.as_bytes().split_first().ok_or(DoesNotOpen)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(DoesNotOpen)?;
    let (hidden, tag) = rest.split_first_chunk::<32>().ok_or(DoesNotOpen)?;
    if *version != VERSION {
        return Err(DoesNotOpen);
    }
    let keys = Keys::derive(export, salt, belongs);
    // The commitment first, in constant time: nothing is unmasked that was not sealed so.
    keys.tag(salt, hidden)
        .verify_slice(tag)
        .map_err(|_| DoesNotOpen)?;
    let mut key = Zeroizing::new(*hidden);
    keys.mask(&mut key);
    Ok(BackupKey::from_bytes(*key))
}

struct Keys {
    pad: DerivedKey,
    tag: DerivedKey,
}

impl Keys {
    fn derive(export: &ExportKey, salt: &[u8; SALT_BYTES], belongs: &Belongs) -> Self {
        let bound = [
            &[VERSION],
            salt.as_slice(),
            belongs.parties.fleet.as_bytes(),
            belongs.parties.leaf.as_bytes(),
            &belongs.generation.number().to_be_bytes(),
        ]
        .concat();
        Self {
            pad: DerivedKey::from_secret(export.expose(), Label::VaultWrap, &bound),
            tag: DerivedKey::from_secret(export.expose(), Label::VaultCommitment, &bound),
        }
    }

    fn mask(&self, key: &mut [u8; 32]) {
        for (byte, pad) in key.iter_mut().zip(self.pad.expose()) {
            *byte ^= pad;
        }
    }

    fn tag(&self, salt: &[u8; SALT_BYTES], hidden: &[u8; 32]) -> Hmac<Sha256> {
        let mut mac = mac::keyed(self.tag.expose());
        mac.update(&[VERSION]);
        mac.update(salt);
        mac.update(hidden);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyhaven_testkit::entropy::SeededEntropy;
    use keyhaven_wire::message::{FleetId, LeafIndex};

    fn belongs(fleet: u8, leaf: u8, generation: u64) -> Belongs {
        Belongs {
            parties: Parties {
                fleet: FleetId::new([fleet; 32]),
                leaf: LeafIndex::new([leaf; 32]),
            },
            generation: Generation::new(generation),
        }
    }

    fn sealed() -> WrappedKey {
        let key = BackupKey::from_bytes([0x42; 32]);
        let export = ExportKey::new([3; 64]);
        seal(&key, &export, &belongs(1, 2, 7), &mut SeededEntropy::new(1))
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_account_and_generation_only() {
        let export = ExportKey::new([3; 64]);
        let opened = open(&sealed(), &export, &belongs(1, 2, 7)).unwrap();
        assert!(opened == BackupKey::from_bytes([0x42; 32]));
        for other in [belongs(9, 2, 7), belongs(1, 9, 7), belongs(1, 2, 8)] {
            assert_eq!(open(&sealed(), &export, &other).unwrap_err(), DoesNotOpen);
        }
        let other = ExportKey::new([4; 64]);
        assert_eq!(
            open(&sealed(), &other, &belongs(1, 2, 7)).unwrap_err(),
            DoesNotOpen
        );
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for bit in 0..WrappedKey::BYTES * 8 {
            let mut bent = *sealed().as_bytes();
            bent[bit / 8] ^= 1 << (bit % 8);
            let export = ExportKey::new([3; 64]);
            assert!(
                open(&WrappedKey::new(bent), &export, &belongs(1, 2, 7)).is_err(),
                "bit {bit}"
            );
        }
    }

    /// BACKUP-5: sealing the same key twice never masks it with the same pad.
    #[test]
    fn sealing_again_is_masked_anew() {
        let again = seal(
            &BackupKey::from_bytes([0x42; 32]),
            &ExportKey::new([3; 64]),
            &belongs(1, 2, 7),
            &mut SeededEntropy::new(2),
        );
        assert_ne!(again.as_bytes()[8..40], sealed().as_bytes()[8..40]);
    }

    /// Golden bytes: what a vault holds must open for ever. Made with Python's `hmac` module.
    #[test]
    fn the_sealed_form_is_fixed() {
        let sealed = sealed();
        let salt = &sealed.as_bytes()[1..8];
        assert_eq!(salt, random::<7>(&mut SeededEntropy::new(1)));
        let hex: String = sealed
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "019a3744504560637c20b8001b0e922506931bb842965f557d4e0febb7dac2e36dbe2ab540fd3e69\
        2877d437d2ced92f7e60acc27796e6f2e671d055331acc6f7841ea000ff63426";
}
