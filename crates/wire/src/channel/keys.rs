//! The channel's keys.

use core::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, Serializable as _};
use keyhaven_secrets::Entropy;

use super::ChannelError;
use crate::bytes::{public_bytes, secret_bytes};

pub(super) type Aead = ChaCha20Poly1305;
pub(super) type Kdf = HkdfSha256;
pub(super) type PublicKey = <XWing as Kem>::PublicKey;
pub(super) type PrivateKey = <XWing as Kem>::PrivateKey;

public_bytes!(
    /// Tells a fleet's channel keys apart: the first bytes of a digest of the public key.
    KeyId,
    8
);
public_bytes!(
    /// A fleet's X-Wing public key, as the validation bundle carries it.
    ChannelPublicKey,
    1216
);
secret_bytes!(
    /// A fleet's X-Wing private key: the 32-byte seed. Only cores hold it.
    ChannelKey,
    32
);
secret_bytes!(
    /// The two keys of a conversation's second exchange: for the request, and for its reply.
    FollowKeys,
    64
);

secret_bytes!(
    /// The key under which the reply to one request goes.
    ReplyKey,
    32
);

impl ChannelPublicKey {
    /// Takes the key from a validation bundle.
    ///
    /// # Errors
    /// [`ChannelError::InvalidKey`] when it is not an X-Wing public key.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChannelError> {
        let key = <[u8; Self::BYTES]>::try_from(bytes).map_err(|_| ChannelError::InvalidKey)?;
        let key = Self::new(key);
        key.engine()?;
        Ok(key)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault channel key id");
        hasher.update(self.as_bytes());
        let mut id = [0; KeyId::BYTES];
        hasher.finalize_xof().fill(&mut id);
        KeyId::new(id)
    }

    pub(super) fn engine(&self) -> Result<PublicKey, ChannelError> {
        PublicKey::from_bytes(self.as_bytes()).map_err(|_| ChannelError::InvalidKey)
    }
}

/// A fleet's private key, made ready to open requests: making it ready costs a key generation
/// (about 0.1 ms), so a core keeps it.
#[derive(Clone)]
pub struct OpeningKey {
    private: PrivateKey,
    id: KeyId,
}

impl OpeningKey {
    /// The id of the key's public half.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(super) const fn engine(&self) -> &PrivateKey {
        &self.private
    }
}

impl core::fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpeningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl ChannelKey {
    /// Makes the key ready to open requests.
    ///
    /// # Errors
    /// None in practice: every 32 bytes are a seed.
    pub fn opening(&self) -> Result<OpeningKey, ChannelError> {
        Ok(OpeningKey {
            private: self.engine()?,
            id: self.public().id(),
        })
    }

    /// The public half.
    ///
    /// It costs a key generation (about 0.1 ms): keep it.
    #[must_use]
    pub fn public(&self) -> ChannelPublicKey {
        let mut bytes = [0; ChannelPublicKey::BYTES];
        if let Ok(private) = self.engine() {
            XWing::sk_to_pk(&private).write_exact(&mut bytes);
        }
        ChannelPublicKey::new(bytes)
    }

    fn engine(&self) -> Result<PrivateKey, ChannelError> {
        PrivateKey::from_bytes(self.expose()).map_err(|_| ChannelError::InvalidKey)
    }
}

impl FollowKeys {
    pub(super) fn request(&self) -> &[u8; 32] {
        self.halves().0
    }

    pub(super) fn reply(&self) -> &[u8; 32] {
        self.halves().1
    }

    fn halves(&self) -> (&[u8; 32], &[u8; 32]) {
        const ZERO: &[u8; 32] = &[0; 32];
        // Both halves are there: the type has 64 bytes.
        let bytes = self.expose();
        (
            bytes.first_chunk().unwrap_or(ZERO),
            bytes.last_chunk().unwrap_or(ZERO),
        )
    }
}

/// An [`Entropy`] as HPKE's random source.
pub(super) struct FromEntropy<'a>(pub(super) &'a mut dyn Entropy);

impl TryRng for FromEntropy<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for FromEntropy<'_> {}

/// What is exported from an HPKE context, by label.
pub(super) const EXPORT_REPLY: &[u8] = b"keyhaven v1 vault reply";
pub(super) const EXPORT_FOLLOW: &[u8] = b"keyhaven v1 vault second exchange";
