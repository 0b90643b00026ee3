//! A device's own key, and what it signs. The device's half.

use ed25519_dalek::{Signer as _, SigningKey};
use keyhaven_secrets::Entropy;

use super::Statement;
use crate::bytes::secret_bytes;
use crate::codec::EncodeError;
use crate::message::{DeviceKey, DeviceSigned, LeafIndex, Signature, StatusNonce};

secret_bytes!(
    /// A device's signing key: the 32-byte seed of an Ed25519 key.
    DeviceSecret,
    32
);

impl DeviceSecret {
    /// The public half, as a record lists it.
    #[must_use]
    pub fn public(&self) -> DeviceKey {
        DeviceKey::new(
            SigningKey::from_bytes(self.expose())
                .verifying_key()
                .to_bytes(),
        )
    }

    /// Signs a statement for an account.
    ///
    /// # Errors
    /// None in practice: see [`codec::encode`].
    pub fn sign(
        &self,
        leaf: &LeafIndex,
        statement: &Statement<'_>,
    ) -> Result<DeviceSigned<()>, EncodeError> {
        Ok(DeviceSigned {
            key: self.public(),
            signature: self.sign_bytes(&statement.encode(leaf)?),
            extra: (),
        })
    }

    /// Signs the bytes of a [`Statement`].
    #[must_use]
    pub fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        let signature = SigningKey::from_bytes(self.expose()).sign(bytes);
        Signature::new(signature.to_bytes())
    }

    /// Signs a question for the account's standing.
    ///
    /// # Errors
    /// None in practice: see [`codec::encode`].
    pub fn sign_status(
        &self,
        leaf: &LeafIndex,
        entropy: &mut dyn Entropy,
    ) -> Result<DeviceSigned<StatusNonce>, EncodeError> {
        let nonce = StatusNonce::new(keyhaven_secrets::random(entropy));
        let DeviceSigned { key, signature, .. } =
            self.sign(leaf, &Statement::Status { nonce: &nonce })?;
        Ok(DeviceSigned {
            key,
            signature,
            extra: nonce,
        })
    }
}
