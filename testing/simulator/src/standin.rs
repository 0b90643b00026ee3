//! A stand-in for the public-key cryptography: of the same shape, without any security.
//!
//! What matters in a simulation is who can say what to whom, and that a wrong password opens
//! nothing. A few BLAKE3 digests give that for a hundredth of the price: an answer to KE1 lets its
//! holder test one password, a KE3 verifies only after a right one, and the same KE1 is answered
//! with the same bytes. Anybody who has a request could open it; nobody here tries.

use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::{ChannelError, ChannelPublicKey, FollowKeys, OpeningKey, ReplyKey};
use keyhaven_wire::device::DeviceSecret;
use keyhaven_wire::message::{AttemptNumber, DeviceKey, Signature};
use keyhaven_wire::opaque::client::{LoggedIn, Registered as Enrolled};
use keyhaven_wire::opaque::server::{GenerationKeys, Pending};
use keyhaven_wire::opaque::{
    Cost, ExportKey, Ke1, Ke2, Ke3, OpaqueError, Parties, RegistrationRequest,
    RegistrationResponse, RegistrationUpload, SessionKey,
};
use keyhaven_wire::suite::{Binding, Exported, Registered, SealedFirst, Suite};
use zeroize::Zeroizing;

use crate::hands::{Hands, Login};

const ENCAPSULATED_BYTES: usize = 1120;
const TAG_BYTES: usize = 16;

/// The suite without security.
#[derive(Clone, Copy, Debug)]
pub struct StandIn;

fn mix<const N: usize>(label: &[u8], parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(label);
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; N];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// The one key of a first request, from what both sides know.
fn shared(encapsulated: &[u8], id: &[u8], binding: &Binding<'_>) -> [u8; 32] {
    mix(b"channel", &[encapsulated, id, binding.info])
}

fn exported(key: &[u8; 32]) -> Exported {
    Exported {
        reply: ReplyKey::new(mix(b"reply", &[key])),
        follow: FollowKeys::new(mix(b"follow", &[key])),
    }
}

fn tag(key: &[u8; 32], aad: &[u8], body: &[u8]) -> [u8; TAG_BYTES] {
    mix(b"tag", &[key, aad, body])
}

impl Suite for StandIn {
    fn seal_first(
        &self,
        channel: &ChannelPublicKey,
        binding: &Binding<'_>,
        body: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<SealedFirst, ChannelError> {
        let mut encapsulated = vec![0; ENCAPSULATED_BYTES];
        entropy.fill(&mut encapsulated[..32]);
        let key = shared(&encapsulated, channel.id().as_bytes(), binding);
        let sealed = [body, &tag(&key, binding.aad, body)].concat();
        Ok(SealedFirst {
            encapsulated,
            sealed,
            exported: exported(&key),
        })
    }

    fn open_first(
        &self,
        key: &OpeningKey,
        binding: &Binding<'_>,
        encapsulated: &[u8],
        sealed: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Exported), ChannelError> {
        let key = shared(encapsulated, key.id().as_bytes(), binding);
        let (body, tagged) = sealed
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(ChannelError::DoesNotOpen)?;
        if tag(&key, binding.aad, body) != *tagged {
            return Err(ChannelError::DoesNotOpen);
        }
        Ok((Zeroizing::new(body.to_vec()), exported(&key)))
    }

    fn draw(&self, entropy: &mut dyn Entropy) -> Result<GenerationKeys, OpaqueError> {
        Ok(GenerationKeys::generate(entropy))
    }

    fn evaluate(
        &self,
        keys: &GenerationKeys,
        _parties: &Parties,
        request: &RegistrationRequest,
    ) -> Result<RegistrationResponse, OpaqueError> {
        Ok(RegistrationResponse::new(evaluate(
            keys,
            request.as_bytes(),
        )))
    }

    fn check_upload(&self, upload: &RegistrationUpload) -> Result<(), OpaqueError> {
        if upload.as_bytes().iter().all(|byte| *byte == 0) {
            return Err(OpaqueError::InvalidElement);
        }
        Ok(())
    }

    fn respond(
        &self,
        registered: &Registered<'_>,
        parties: &Parties,
        attempt: AttemptNumber,
        ke1: &Ke1,
    ) -> Result<(Ke2, Pending), OpaqueError> {
        let evaluated: [u8; 64] = evaluate(registered.keys, &ke1.as_bytes()[..32]);
        let number = attempt.number().to_be_bytes();
        let secret = &registered.keys.expose()[128..];
        let nonce: [u8; 32] = mix(b"nonce", &[secret, &number, ke1.as_bytes()]);
        let shown = Shown {
            evaluated: &evaluated,
            nonce: &nonce,
            ke1,
        };
        let session = Session::of(registered.upload, &shown, parties, registered.cost);
        let mut ke2 = [0; Ke2::BYTES];
        ke2[..64].copy_from_slice(&evaluated);
        ke2[64..96].copy_from_slice(&nonce);
        ke2[96..128].copy_from_slice(&session.mac);
        let mut pending = [0; Pending::BYTES];
        pending[..64].copy_from_slice(&session.ke3);
        pending[64..].copy_from_slice(&session.key);
        Ok((Ke2::new(ke2), Pending::new(pending)))
    }

    fn check(&self, pending: &Pending, ke3: &Ke3) -> Result<SessionKey, OpaqueError> {
        let (expected, key) = pending.expose().split_at(64);
        if expected != ke3.as_bytes() {
            return Err(OpaqueError::WrongPassword);
        }
        let key = key.try_into().map_err(|_| OpaqueError::DamagedState)?;
        Ok(SessionKey::new(key))
    }

    fn verifies(&self, key: &DeviceKey, bytes: &[u8], signature: &Signature) -> bool {
        *signature == Signature::new(mix(b"signature", &[key.as_bytes(), bytes]))
    }
}

fn evaluate(keys: &GenerationKeys, blinded: &[u8]) -> [u8; 64] {
    mix(b"evaluate", &[&keys.expose()[..128], blinded])
}

fn blind(password: &str) -> [u8; 32] {
    mix(b"blind", &[password.as_bytes()])
}

fn enrol(password: &str, evaluated: &[u8]) -> Enrolled {
    let randomized: [u8; 32] = mix(b"randomized", &[password.as_bytes(), evaluated]);
    Enrolled {
        upload: RegistrationUpload::new(mix(b"upload", &[&randomized])),
        export: ExportKey::new(mix(b"export", &[&randomized])),
    }
}

struct Shown<'a> {
    evaluated: &'a [u8],
    nonce: &'a [u8],
    ke1: &'a Ke1,
}

/// What both sides derive from a login, once they agree on the registration.
struct Session {
    mac: [u8; 32],
    ke3: [u8; 64],
    key: [u8; 64],
}

impl Session {
    fn of(upload: &RegistrationUpload, shown: &Shown<'_>, parties: &Parties, cost: &Cost) -> Self {
        let seed: [u8; 32] = mix(
            b"session",
            &[
                upload.as_bytes(),
                shown.evaluated,
                shown.nonce,
                shown.ke1.as_bytes(),
                parties.fleet.as_bytes(),
                parties.leaf.as_bytes(),
                &cost.memory_kib().to_be_bytes(),
            ],
        );
        Self {
            mac: mix(b"mac", &[&seed]),
            ke3: mix(b"ke3", &[&seed]),
            key: mix(b"key", &[&seed]),
        }
    }
}

impl Hands for StandIn {
    fn device(&self, secret: &DeviceSecret) -> DeviceKey {
        DeviceKey::new(mix(b"device", &[secret.expose()]))
    }

    fn sign(&self, secret: &DeviceSecret, bytes: &[u8]) -> Signature {
        Signature::new(mix(b"signature", &[self.device(secret).as_bytes(), bytes]))
    }

    fn enrol_start(
        &self,
        password: &str,
        _entropy: &mut dyn Entropy,
    ) -> (Vec<u8>, RegistrationRequest) {
        (Vec::new(), RegistrationRequest::new(blind(password)))
    }

    fn enrol_finish(
        &self,
        _state: &[u8],
        password: &str,
        response: &RegistrationResponse,
        _parties: &Parties,
        _entropy: &mut dyn Entropy,
    ) -> Enrolled {
        enrol(password, response.as_bytes())
    }

    fn login_start(&self, password: &str, entropy: &mut dyn Entropy) -> (Vec<u8>, Ke1) {
        let mut ke1 = [0; Ke1::BYTES];
        ke1[..32].copy_from_slice(&blind(password));
        entropy.fill(&mut ke1[32..]);
        (ke1.to_vec(), Ke1::new(ke1))
    }

    fn login_finish(
        &self,
        login: &Login<'_>,
        parties: &Parties,
        _entropy: &mut dyn Entropy,
    ) -> Option<LoggedIn> {
        let ke1 = Ke1::new(login.state.try_into().ok()?);
        let ke2 = login.ke2.as_bytes();
        let (evaluated, rest) = ke2.split_at(64);
        let (nonce, rest) = rest.split_at(32);
        let enrolled = enrol(login.password, evaluated);
        let shown = Shown {
            evaluated,
            nonce,
            ke1: &ke1,
        };
        let session = Session::of(&enrolled.upload, &shown, parties, login.cost);
        (session.mac == rest[..32]).then(|| LoggedIn {
            ke3: Ke3::new(session.ke3),
            session: SessionKey::new(session.key),
            export: enrolled.export,
        })
    }
}
