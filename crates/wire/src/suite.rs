//! The public-key cryptography that a conversation rests on, behind one trait.
//!
//! There is one suite, [`Standard`]: X-Wing under HPKE for the channel, OPAQUE for the password,
//! Ed25519 for the devices. The
//! trait is there for the simulator, which runs the shipping core millions of times and cannot
//! spend half a millisecond on each step: it brings a stand-in of the same shape, without any
//! security, in a crate that nothing in production may depend on. What is symmetric (leaves,
//! tickets, replies, the log) is not behind it, and runs in the simulator as it ships.

use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use zeroize::Zeroizing;

use crate::channel::{ChannelError, ChannelPublicKey, FollowKeys, OpeningKey, ReplyKey};
use crate::device;
use crate::message::{AttemptNumber, DeviceKey, Signature};
use crate::opaque::server::{self, GenerationKeys, Pending};
use crate::opaque::{
    Cost, Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, SessionKey,
};

/// What both sides of a channel bind into the sealing of a first request.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// HPKE's `info`.
    pub info: &'a [u8],
    /// HPKE's `aad`.
    pub aad: &'a [u8],
}

/// What a context of the channel exports, on either side.
#[derive(Debug)]
pub struct Exported {
    /// The key of the reply.
    pub reply: ReplyKey,
    /// The keys of the second exchange.
    pub follow: FollowKeys,
}

/// A first request as the device sealed it.
#[derive(Debug)]
pub struct SealedFirst {
    /// The encapsulated key.
    pub encapsulated: Vec<u8>,
    /// The sealed body.
    pub sealed: Vec<u8>,
    /// What the device keeps.
    pub exported: Exported,
}

/// The public-key cryptography of devices and cores.
pub trait Suite: core::fmt::Debug + Send + Sync {
    /// Seals a first request. The device's half.
    ///
    /// # Errors
    /// [`ChannelError::InvalidKey`].
    fn seal_first(
        &self,
        channel: &ChannelPublicKey,
        binding: &Binding<'_>,
        body: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<SealedFirst, ChannelError>;

    /// Opens a first request. The core's half, like all that follows.
    ///
    /// # Errors
    /// [`ChannelError::InvalidKey`] or [`ChannelError::DoesNotOpen`].
    fn open_first(
        &self,
        key: &OpeningKey,
        binding: &Binding<'_>,
        encapsulated: &[u8],
        sealed: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Exported), ChannelError>;

    /// Draws a generation's keys.
    ///
    /// # Errors
    /// None in practice.
    fn draw(&self, entropy: &mut dyn Entropy) -> Result<GenerationKeys, OpaqueError>;

    /// Evaluates a blinded password for a registration.
    ///
    /// # Errors
    /// [`OpaqueError::InvalidElement`].
    fn evaluate(
        &self,
        keys: &GenerationKeys,
        parties: &Parties,
        request: &RegistrationRequest,
    ) -> Result<RegistrationResponse, OpaqueError>;

    /// Whether a login could be answered from a registration.
    ///
    /// # Errors
    /// [`OpaqueError::InvalidElement`].
    fn check_upload(&self, upload: &RegistrationUpload) -> Result<(), OpaqueError>;

    /// Answers a KE1: the same one always with the same bytes (VAULT-2).
    ///
    /// # Errors
    /// [`OpaqueError::InvalidElement`].
    fn respond(
        &self,
        registered: &Registered<'_>,
        parties: &Parties,
        attempt: AttemptNumber,
        ke1: &Ke1,
    ) -> Result<(Ke2, Pending), OpaqueError>;

    /// Checks a KE3, in constant time. [`Pending::prove`] makes the evidence of it.
    ///
    /// # Errors
    /// [`OpaqueError::WrongPassword`].
    fn check(&self, pending: &Pending, ke3: &Ke3) -> Result<SessionKey, OpaqueError>;

    /// Whether a device's signature over these bytes is good, by the strict rules: no small-order
    /// keys, no malleable encodings. [`device::verify`] makes the evidence of it.
    fn verifies(&self, key: &DeviceKey, bytes: &[u8], signature: &Signature) -> bool;
}

/// What a login is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    /// The generation's keys.
    pub keys: &'a GenerationKeys,
    /// The registration record.
    pub upload: &'a RegistrationUpload,
    /// How the password was stretched.
    pub cost: &'a Cost,
}

/// The suite that ships.
#[derive(Clone, Copy, Debug)]
pub struct Standard;

impl Suite for Standard {
    fn seal_first(
        &self,
        channel: &ChannelPublicKey,
        binding: &Binding<'_>,
        body: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<SealedFirst, ChannelError> {
        crate::channel::hpke_seal(channel, binding, body, entropy)
    }

    fn open_first(
        &self,
        key: &OpeningKey,
        binding: &Binding<'_>,
        encapsulated: &[u8],
        sealed: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Exported), ChannelError> {
        crate::channel::hpke_open(key, binding, encapsulated, sealed)
    }

    fn draw(&self, entropy: &mut dyn Entropy) -> Result<GenerationKeys, OpaqueError> {
        GenerationKeys::draw(entropy)
    }

    fn evaluate(
        &self,
        keys: &GenerationKeys,
        parties: &Parties,
        request: &RegistrationRequest,
    ) -> Result<RegistrationResponse, OpaqueError> {
        keys.evaluate(parties, request)
    }

    fn check_upload(&self, upload: &RegistrationUpload) -> Result<(), OpaqueError> {
        server::check_upload(upload)
    }

    fn respond(
        &self,
        registered: &Registered<'_>,
        parties: &Parties,
        attempt: AttemptNumber,
        ke1: &Ke1,
    ) -> Result<(Ke2, Pending), OpaqueError> {
        let Registered { keys, upload, cost } = registered;
        keys.respond(parties, upload, cost, attempt, ke1)
    }

    fn check(&self, pending: &Pending, ke3: &Ke3) -> Result<SessionKey, OpaqueError> {
        server::check_ke3(pending, ke3)
    }

    fn verifies(&self, key: &DeviceKey, bytes: &[u8], signature: &Signature) -> bool {
        device::ed25519_verifies(key, bytes, signature)
    }
}
