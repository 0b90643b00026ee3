//! The client's half. It runs on the device and is the only place that sees a password.

use keyhaven_secrets::Entropy;
use opaque_ke::errors::InternalError;
use opaque_ke::generic_array::{ArrayLength, GenericArray};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration,
    ClientRegistrationFinishParameters, CredentialResponse, RegistrationResponse as EngineResponse,
};

use super::rng::FromEntropy;
use super::suite::{Bound, Stretch, Suite, failure};
use super::{
    Cost, ExportKey, Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest,
    RegistrationResponse, RegistrationUpload, SessionKey,
};
use crate::bytes::secret_bytes;

secret_bytes!(
    /// A client's state between the two steps of a registration.
    RegistrationState,
    64
);
secret_bytes!(
    /// A client's state between KE1 and KE3. A client stores it before it sends KE1, so that a
    /// dropped connection costs no second guess.
    LoginState,
    192
);

/// What a registration yields on the device.
#[derive(Debug)]
pub struct Registered {
    /// Goes to the server.
    pub upload: RegistrationUpload,
    /// Stays: wraps the backup key.
    pub export: ExportKey,
}

/// What a login with the right password yields on the device.
#[derive(Debug)]
pub struct LoggedIn {
    /// Goes to the server.
    pub ke3: Ke3,
    /// Shared with the server.
    pub session: SessionKey,
    /// Unwraps the backup key.
    pub export: ExportKey,
}

/// Blinds a password to be registered.
///
/// # Errors
/// [`OpaqueError::Password`] when it is empty or too long.
pub fn register_start(
    password: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(RegistrationState, RegistrationRequest), OpaqueError> {
    let started = ClientRegistration::<Suite>::start(&mut FromEntropy(entropy), password)
        .map_err(|_| OpaqueError::Password)?;
    Ok((
        RegistrationState::new(fixed(&started.state.serialize())?),
        RegistrationRequest::new(fixed(&started.message.serialize())?),
    ))
}

/// Makes the registration record from the server's answer. Stretches the password.
///
/// # Errors
/// [`OpaqueError::InvalidElement`] for a server that answers with an element that is not valid,
/// [`OpaqueError::Stretching`] when there is not enough memory.
pub fn register_finish(
    state: &RegistrationState,
    password: &[u8],
    response: &RegistrationResponse,
    cost: &Cost,
    parties: &Parties,
    entropy: &mut dyn Entropy,
) -> Result<Registered, OpaqueError> {
    let bound = Bound::new(parties, cost);
    register_finish_bound(
        state,
        password,
        response,
        &Stretch::Argon2id(*cost),
        &bound,
        entropy,
    )
}

pub(super) fn register_finish_bound(
    state: &RegistrationState,
    password: &[u8],
    response: &RegistrationResponse,
    stretch: &Stretch,
    bound: &Bound,
    entropy: &mut dyn Entropy,
) -> Result<Registered, OpaqueError> {
    let state = ClientRegistration::<Suite>::deserialize(state.expose())
        .map_err(|_| OpaqueError::DamagedState)?;
    let response = EngineResponse::<Suite>::deserialize(response.as_bytes())
        .map_err(|_| OpaqueError::InvalidElement)?;
    let finished = state
        .finish(
            &mut FromEntropy(entropy),
            password,
            response,
            ClientRegistrationFinishParameters::new(bound.identifiers(), Some(stretch)),
        )
        .map_err(failure)?;
    Ok(Registered {
        upload: RegistrationUpload::new(fixed(&finished.message.serialize())?),
        export: ExportKey::new(fixed(&finished.export_key)?),
    })
}

/// Begins a login.
///
/// # Errors
/// [`OpaqueError::Password`] when the password is empty or too long.
pub fn login_start(
    password: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(LoginState, Ke1), OpaqueError> {
    let started = ClientLogin::<Suite>::start(&mut FromEntropy(entropy), password)
        .map_err(|_| OpaqueError::Password)?;
    Ok((
        LoginState::new(fixed(&started.state.serialize())?),
        Ke1::new(fixed(&started.message.serialize())?),
    ))
}

/// Finishes a login from the server's answer. Stretches the password.
///
/// # Errors
/// [`OpaqueError::WrongPassword`] when the password is not the registered one; the client then
/// still sends a random KE3, so that the host does not learn it.
pub fn login_finish(
    state: &LoginState,
    password: &[u8],
    ke2: &Ke2,
    cost: &Cost,
    parties: &Parties,
    entropy: &mut dyn Entropy,
) -> Result<LoggedIn, OpaqueError> {
    let bound = Bound::new(parties, cost);
    login_finish_bound(
        state,
        password,
        ke2,
        &Stretch::Argon2id(*cost),
        &bound,
        entropy,
    )
}

pub(super) fn login_finish_bound(
    state: &LoginState,
    password: &[u8],
    ke2: &Ke2,
    stretch: &Stretch,
    bound: &Bound,
    entropy: &mut dyn Entropy,
) -> Result<LoggedIn, OpaqueError> {
    let state =
        ClientLogin::<Suite>::deserialize(state.expose()).map_err(|_| OpaqueError::DamagedState)?;
    let response = CredentialResponse::<Suite>::deserialize(ke2.as_bytes())
        .map_err(|_| OpaqueError::InvalidElement)?;
    let finished = state
        .finish(
            &mut FromEntropy(entropy),
            password,
            response,
            ClientLoginFinishParameters::new(
                Some(bound.context()),
                bound.identifiers(),
                Some(stretch),
            ),
        )
        .map_err(failure)?;
    Ok(LoggedIn {
        ke3: Ke3::new(fixed(&finished.message.serialize())?),
        session: SessionKey::new(fixed(&finished.session_key)?),
        export: ExportKey::new(fixed(&finished.export_key)?),
    })
}

/// The KE3 that a client sends after a wrong password: random, of the same size.
#[must_use]
pub fn decoy_ke3(entropy: &mut dyn Entropy) -> Ke3 {
    Ke3::new(keyhaven_secrets::random(entropy))
}

/// RFC 9807 fixes the Argon2id salt to 16 zero bytes: the OPRF's output is the salt in effect.
const SALT: [u8; 16] = [0; 16];

/// Stretches the OPRF's output (RFC 9106).
pub(super) fn argon2id<L: ArrayLength<u8>>(
    cost: &Cost,
    input: &GenericArray<u8, L>,
) -> Result<GenericArray<u8, L>, InternalError> {
    let mut output = GenericArray::default();
    let params = argon2::Params::new(
        cost.memory_kib(),
        cost.passes(),
        cost.lanes(),
        Some(output.len()),
    )
    .map_err(|_| InternalError::KsfError)?;
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(input, &SALT, &mut output)
        .map_err(|_| InternalError::KsfError)?;
    Ok(output)
}

/// The engine's arrays have the suite's lengths, which the types here repeat.
fn fixed<const N: usize, L: ArrayLength<u8>>(
    bytes: &GenericArray<u8, L>,
) -> Result<[u8; N], OpaqueError> {
    <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| OpaqueError::DamagedState)
}
