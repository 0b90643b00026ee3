//! The server's half. It runs in the trusted core.

use keyhaven_secrets::Entropy;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::{
    CredentialFinalization, CredentialRequest, RegistrationRequest as EngineRequest,
    RegistrationUpload as EngineUpload, ServerLogin, ServerLoginParameters, ServerRegistration,
    ServerSetup,
};

use super::rng::{FromEntropy, FromKey};
use super::suite::{Bound, Suite, failure};
use super::{
    Cost, Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, SessionKey,
};
use crate::bytes::secret_bytes;
use crate::message::AttemptNumber;

secret_bytes!(
    /// A generation's own server keys (OPRF seed 64, key exchange key 32, the public half 32) and
    /// its attempt secret (32). Each generation of each account has its own, so that destroying a
    /// record destroys its keys.
    GenerationKeys,
    160
);
secret_bytes!(
    /// What the server must remember between KE2 and KE3: the session key and the MAC it expects.
    /// It travels in the core's own sealed ticket.
    Pending,
    128
);

const SETUP_BYTES: usize = 128;
const ATTEMPT_SECRET_BYTES: usize = 32;

/// Evidence that a KE3 verified. Only [`Pending::prove`] makes one: a refill cannot be written
/// without it (VAULT-3).
#[derive(Debug)]
pub struct Proven {
    session: SessionKey,
}

impl Proven {
    /// The session's shared key.
    #[must_use]
    pub fn session(&self) -> &SessionKey {
        &self.session
    }
}

impl GenerationKeys {
    /// Draws a generation's keys.
    ///
    /// # Errors
    /// None in practice: the engine's lengths are the suite's.
    pub fn draw(entropy: &mut dyn Entropy) -> Result<Self, OpaqueError> {
        let setup = ServerSetup::<Suite>::new(&mut FromEntropy(entropy)).serialize();
        let mut keys = [0; Self::BYTES];
        let (setup_part, secret_part) = keys.split_at_mut(SETUP_BYTES);
        setup_part.copy_from_slice(&setup);
        entropy.fill(secret_part);
        let drawn = Self::new(keys);
        zeroize::Zeroize::zeroize(&mut keys);
        Ok(drawn)
    }

    /// Evaluates a blinded password for a registration. Stores nothing.
    ///
    /// # Errors
    /// [`OpaqueError::InvalidElement`] for the identity or an encoding that is not canonical.
    pub fn evaluate(
        &self,
        parties: &Parties,
        request: &RegistrationRequest,
    ) -> Result<RegistrationResponse, OpaqueError> {
        let (setup, _) = self.parts()?;
        evaluate_bound(&setup, parties.leaf.as_bytes(), request)
    }

    /// Answers a KE1. All randomness comes from the generation's attempt secret, the attempt's
    /// number and KE1 itself, so that the same guess always has the same answer (VAULT-2): a
    /// second leader, or this one after a crash, makes the same bytes again.
    ///
    /// # Errors
    /// [`OpaqueError::InvalidElement`] for the identity or an encoding that is not canonical.
    pub fn respond(
        &self,
        parties: &Parties,
        upload: &RegistrationUpload,
        cost: &Cost,
        attempt: AttemptNumber,
        ke1: &Ke1,
    ) -> Result<(Ke2, Pending), OpaqueError> {
        let (setup, attempt_secret) = self.parts()?;
        let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault ke2 randomness");
        hasher.update(attempt_secret);
        hasher.update(&attempt.number().to_be_bytes());
        hasher.update(ke1.as_bytes());
        let bound = Bound::new(parties, cost);
        respond_bound(
            &setup,
            parties.leaf.as_bytes(),
            upload,
            ke1,
            &bound,
            &mut FromKey::new(&hasher),
        )
    }

    fn parts(&self) -> Result<(ServerSetup<Suite>, &[u8; ATTEMPT_SECRET_BYTES]), OpaqueError> {
        let (setup, secret) = self
            .expose()
            .split_first_chunk::<SETUP_BYTES>()
            .ok_or(OpaqueError::DamagedState)?;
        let secret = secret.try_into().map_err(|_| OpaqueError::DamagedState)?;
        let setup = ServerSetup::deserialize(setup).map_err(|_| OpaqueError::DamagedState)?;
        Ok((setup, secret))
    }
}

/// Whether a registration record is one that a login could be answered from.
///
/// # Errors
/// [`OpaqueError::InvalidElement`] when its public key is not valid.
pub fn check_upload(upload: &RegistrationUpload) -> Result<(), OpaqueError> {
    EngineUpload::<Suite>::deserialize(upload.as_bytes())
        .map(|_| ())
        .map_err(|_| OpaqueError::InvalidElement)
}

/// A registration of nobody: well formed, and no password opens it. A core answers from it where
/// there is no record, so that the answer that it then throws away takes the usual time.
#[must_use]
pub fn decoy_upload() -> RegistrationUpload {
    let mut upload = [0; RegistrationUpload::BYTES];
    for (slot, byte) in upload.iter_mut().zip(RISTRETTO_BASEPOINT) {
        *slot = byte;
    }
    RegistrationUpload::new(upload)
}

/// The canonical encoding of ristretto255's generator (RFC 9496, appendix A.1).
const RISTRETTO_BASEPOINT: [u8; 32] = [
    0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f,
    0x58, 0xe3, 0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
];

impl Pending {
    /// Checks a KE3, and makes the evidence that it verified.
    ///
    /// # Errors
    /// [`OpaqueError::WrongPassword`] when it does not verify.
    pub fn prove(&self, suite: &dyn crate::suite::Suite, ke3: &Ke3) -> Result<Proven, OpaqueError> {
        suite.check(self, ke3).map(|session| Proven { session })
    }
}

/// Checks a KE3 in constant time, and returns the session's key.
pub(crate) fn check_ke3(pending: &Pending, ke3: &Ke3) -> Result<SessionKey, OpaqueError> {
    let state = ServerLogin::<Suite>::deserialize(pending.expose())
        .map_err(|_| OpaqueError::DamagedState)?;
    let finalization = CredentialFinalization::<Suite>::deserialize(ke3.as_bytes())
        .map_err(|_| OpaqueError::WrongPassword)?;
    // Identities and context are inside the expected MAC already.
    let finished = state
        .finish(finalization, ServerLoginParameters::default())
        .map_err(failure)?;
    Ok(SessionKey::new(fixed(&finished.session_key)?))
}

pub(super) fn evaluate_bound(
    setup: &ServerSetup<Suite>,
    credential: &[u8],
    request: &RegistrationRequest,
) -> Result<RegistrationResponse, OpaqueError> {
    let request = EngineRequest::<Suite>::deserialize(request.as_bytes())
        .map_err(|_| OpaqueError::InvalidElement)?;
    let started =
        ServerRegistration::<Suite>::start(setup, request, credential).map_err(failure)?;
    Ok(RegistrationResponse::new(fixed(
        &started.message.serialize(),
    )?))
}

pub(super) fn respond_bound(
    setup: &ServerSetup<Suite>,
    credential: &[u8],
    upload: &RegistrationUpload,
    ke1: &Ke1,
    bound: &Bound,
    rng: &mut (impl opaque_ke::rand::RngCore + opaque_ke::rand::CryptoRng),
) -> Result<(Ke2, Pending), OpaqueError> {
    let record = ServerRegistration::<Suite>::deserialize(upload.as_bytes())
        .map_err(|_| OpaqueError::DamagedState)?;
    let request = CredentialRequest::<Suite>::deserialize(ke1.as_bytes())
        .map_err(|_| OpaqueError::InvalidElement)?;
    let started = ServerLogin::<Suite>::start(
        rng,
        setup,
        Some(record),
        request,
        credential,
        ServerLoginParameters {
            context: Some(bound.context()),
            identifiers: bound.identifiers(),
        },
    )
    .map_err(failure)?;
    Ok((
        Ke2::new(fixed(&started.message.serialize())?),
        Pending::new(fixed(&started.state.serialize())?),
    ))
}

/// The engine's arrays have the suite's lengths, which the types here repeat.
fn fixed<const N: usize, L: ArrayLength<u8>>(
    bytes: &GenericArray<u8, L>,
) -> Result<[u8; N], OpaqueError> {
    <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| OpaqueError::DamagedState)
}
