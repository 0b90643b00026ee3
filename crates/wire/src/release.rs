//! How the wrapped backup key travels: sealed once more, for one session.
//!
//! The device wraps the backup key under OPAQUE's export key, which the vault never has (how is the
//! client's own business); the vault stores the [`WrappedKey`]. After a proven password the core seals it, with its
//! [`SessionProof`], under OPAQUE's session key: only who finished the login can read the answer,
//! whoever holds the channel.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use keyhaven_secrets::Entropy;
use minicbor::{Decode, Encode};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::bytes::public_bytes;
use crate::codec;
use crate::message::{SessionProof, WrappedKey};
use crate::opaque::{Parties, SessionKey};

const NONCE_BYTES: usize = 24;
const BODY_BYTES: usize = 192;

public_bytes!(
    /// The answer to a proven password, sealed under OPAQUE's session key.
    Released,
    232
);

/// What a proven password releases.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// The backup key under the export key.
    #[n(0)]
    pub wrapped: WrappedKey,
    /// The core's word that this session proved the password. Absent when another attempt has
    /// proven it since: then the key is released, and nothing can be changed with it.
    #[n(1)]
    pub proof: Option<SessionProof>,
}

/// Why something sealed did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It was sealed under another key, for another account, or was changed.
    #[error("the release does not open")]
    DoesNotOpen,
}

impl Release {
    /// Seals the release for the session. The core's half.
    ///
    /// # Errors
    /// None in practice: the body has room.
    pub fn seal(
        &self,
        session: &SessionKey,
        parties: &Parties,
        entropy: &mut dyn Entropy,
    ) -> Result<Released, ReleaseError> {
        let body = codec::encode_padded(self, BODY_BYTES).map_err(|_| ReleaseError::DoesNotOpen)?;
        let cipher = cipher(session.expose(), b"keyhaven v1 release");
        seal(&cipher, parties, &body, entropy).map(Released::new)
    }

    /// Opens what the core sealed. The client's half.
    ///
    /// # Errors
    /// [`ReleaseError::DoesNotOpen`].
    pub fn open(
        released: &Released,
        session: &SessionKey,
        parties: &Parties,
    ) -> Result<Self, ReleaseError> {
        let cipher = cipher(session.expose(), b"keyhaven v1 release");
        let body = open(&cipher, parties, released.as_bytes())?;
        codec::decode_padded(&body).map_err(|_| ReleaseError::DoesNotOpen)
    }
}

fn cipher(secret: &[u8], label: &[u8]) -> XChaCha20Poly1305 {
    let mut key = Zeroizing::new([0; 32]);
    // HKDF yields 32 bytes for every input: its limit is 8,160.
    let expanded = Hkdf::<Sha256>::new(None, secret).expand(label, key.as_mut_slice());
    debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's limit");
    XChaCha20Poly1305::new((&*key).into())
}

fn seal<const N: usize>(
    cipher: &XChaCha20Poly1305,
    parties: &Parties,
    plain: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<[u8; N], ReleaseError> {
    // BACKUP-5: a fresh random 192-bit nonce each time, never a counter that a crash could repeat.
    let nonce: [u8; NONCE_BYTES] = keyhaven_secrets::random(entropy);
    let aad = bound(parties);
    let sealed = cipher
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: plain,
                aad: &aad,
            },
        )
        .map_err(|_| ReleaseError::DoesNotOpen)?;
    <[u8; N]>::try_from([nonce.as_slice(), &sealed].concat()).map_err(|_| ReleaseError::DoesNotOpen)
}

fn open(
    cipher: &XChaCha20Poly1305,
    parties: &Parties,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ReleaseError> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(ReleaseError::DoesNotOpen)?;
    let aad = bound(parties);
    cipher
        .decrypt(
            &XNonce::from(*nonce),
            Payload {
                msg: sealed,
                aad: &aad,
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| ReleaseError::DoesNotOpen)
}

fn bound(parties: &Parties) -> Vec<u8> {
    [parties.fleet.as_bytes().as_slice(), parties.leaf.as_bytes()].concat()
}
