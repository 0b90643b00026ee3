//! The device's half of OPAQUE, as the people of a simulation speak it.

use keyhaven_secrets::Entropy;
use keyhaven_wire::device::DeviceSecret;
use keyhaven_wire::message::{DeviceKey, Signature};
use keyhaven_wire::opaque::client::{
    self, LoggedIn, LoginState, Registered, RegistrationState, login_finish, register_finish,
};
use keyhaven_wire::opaque::{Cost, Ke1, Ke2, Parties, RegistrationRequest, RegistrationResponse};
use keyhaven_wire::suite::{Standard, Suite};

/// A stretching cost that a simulation can bear.
///
/// # Panics
/// Never: the constant is within bounds.
#[must_use]
pub fn cheap() -> Cost {
    Cost::parse(8, 1, 1).expect("within bounds")
}

/// A login that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// What was kept of KE1.
    pub state: &'a [u8],
    /// The password that was tried.
    pub password: &'a str,
    /// The answer.
    pub ke2: &'a Ke2,
    /// How it says that the password was stretched.
    pub cost: &'a Cost,
}

/// A suite with the device's half of it.
pub trait Hands: Suite {
    /// The public half of a device's key.
    fn device(&self, secret: &DeviceSecret) -> DeviceKey;

    /// Signs bytes.
    fn sign(&self, secret: &DeviceSecret, bytes: &[u8]) -> Signature;

    /// Blinds a password to be registered.
    fn enrol_start(
        &self,
        password: &str,
        entropy: &mut dyn Entropy,
    ) -> (Vec<u8>, RegistrationRequest);

    /// Makes the registration record.
    fn enrol_finish(
        &self,
        state: &[u8],
        password: &str,
        response: &RegistrationResponse,
        parties: &Parties,
        entropy: &mut dyn Entropy,
    ) -> Registered;

    /// Begins a login.
    fn login_start(&self, password: &str, entropy: &mut dyn Entropy) -> (Vec<u8>, Ke1);

    /// Finishes a login; nothing if the password was wrong.
    fn login_finish(
        &self,
        login: &Login<'_>,
        parties: &Parties,
        entropy: &mut dyn Entropy,
    ) -> Option<LoggedIn>;
}

impl Hands for Standard {
    fn device(&self, secret: &DeviceSecret) -> DeviceKey {
        secret.public()
    }

    fn sign(&self, secret: &DeviceSecret, bytes: &[u8]) -> Signature {
        secret.sign_bytes(bytes)
    }

    fn enrol_start(
        &self,
        password: &str,
        entropy: &mut dyn Entropy,
    ) -> (Vec<u8>, RegistrationRequest) {
        let (state, request) =
            client::register_start(password.as_bytes(), entropy).expect("a password");
        (state.expose().to_vec(), request)
    }

    fn enrol_finish(
        &self,
        state: &[u8],
        password: &str,
        response: &RegistrationResponse,
        parties: &Parties,
        entropy: &mut dyn Entropy,
    ) -> Registered {
        let state = RegistrationState::new(state.try_into().expect("kept whole"));
        let password = password.as_bytes();
        register_finish(&state, password, response, &cheap(), parties, entropy)
            .expect("a core's answer")
    }

    fn login_start(&self, password: &str, entropy: &mut dyn Entropy) -> (Vec<u8>, Ke1) {
        let (state, ke1) = client::login_start(password.as_bytes(), entropy).expect("a password");
        (state.expose().to_vec(), ke1)
    }

    fn login_finish(
        &self,
        login: &Login<'_>,
        parties: &Parties,
        entropy: &mut dyn Entropy,
    ) -> Option<LoggedIn> {
        let state = LoginState::new(login.state.try_into().expect("kept whole"));
        let password = login.password.as_bytes();
        login_finish(&state, password, login.ke2, login.cost, parties, entropy).ok()
    }
}
