//! The cryptography of a recovery by itself, with no core around it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use keyhaven_secrets::Entropy;
use keyhaven_simulator::hands::cheap;
use keyhaven_wire::channel::{ChannelKey, ChannelPublicKey, FIRST_BODY_BYTES, OpeningKey};
use keyhaven_wire::message::{AttemptNumber, FleetId, LeafIndex};
use keyhaven_wire::opaque::client::{login_finish, login_start, register_finish, register_start};
use keyhaven_wire::opaque::server::GenerationKeys;
use keyhaven_wire::opaque::{Cost, Parties, RegistrationUpload};
use keyhaven_wire::suite::{Binding, Registered, Standard, Suite as _};

use crate::clock;
use crate::timed::Parts;

/// What a recovery has sealed and opened symmetrically, in bytes: twice a leaf, a reply and the account's
/// ticket, and the second request with its release and session proof.
const SEALED: [usize; 7] = [1623, 1623, 2048, 2048, 344, 192, 64];
const OPENED: [usize; 4] = [1623, 1623, 344, 1736];

/// The lengths of what the channel binds: of its name and the fleet's, of a header and a leaf's.
const INFO: [u8; 58] = [1; 58];
const AAD: [u8; 42] = [2; 42];
const PASSWORD: &[u8] = b"a password of somebody";

/// Registrations that no tree holds.
pub(crate) struct Raw {
    public: ChannelPublicKey,
    opening: OpeningKey,
    registered: Vec<One>,
    attempts: u64,
}

struct One {
    keys: GenerationKeys,
    upload: RegistrationUpload,
    parties: Parties,
}

impl Raw {
    pub(crate) fn new(people: usize, entropy: &mut dyn Entropy) -> anyhow::Result<Self> {
        let channel = ChannelKey::generate(entropy);
        let fleet = FleetId::new(keyhaven_secrets::random(entropy));
        let mut registered = Vec::new();
        for _ in 0..people {
            let leaf = LeafIndex::new(keyhaven_secrets::random(entropy));
            let parties = Parties { fleet, leaf };
            let keys = GenerationKeys::draw(entropy)?;
            let (state, request) = register_start(PASSWORD, entropy)?;
            let response = keys.evaluate(&parties, &request)?;
            let device = register_finish(&state, PASSWORD, &response, &cheap(), &parties, entropy)?;
            registered.push(One {
                keys,
                upload: device.upload,
                parties,
            });
        }
        Ok(Self {
            public: channel.public(),
            opening: channel.opening()?,
            registered,
            attempts: 0,
        })
    }

    /// One recovery of each; only the server's half is timed, each part in one go.
    pub(crate) fn round(&mut self, entropy: &mut dyn Entropy) -> anyhow::Result<Parts> {
        self.attempts = self.attempts.checked_add(1).context("too many attempts")?;
        let attempt = AttemptNumber::new(self.attempts);
        let cost = cheap();
        let binding = Binding {
            info: &INFO,
            aad: &AAD,
        };
        let body = [3; FIRST_BODY_BYTES];
        let mut sealed = Vec::new();
        let mut logins = Vec::new();
        for _ in &self.registered {
            sealed.push(Standard.seal_first(&self.public, &binding, &body, entropy)?);
            logins.push(login_start(PASSWORD, entropy)?);
        }
        let (opened, opening) = clock::time(|| {
            let one_by_one = sealed.iter().map(|first| {
                Standard.open_first(&self.opening, &binding, &first.encapsulated, &first.sealed)
            });
            one_by_one.collect::<Result<Vec<_>, _>>()
        });
        let (answered, ke2) = clock::time(|| {
            let one_by_one = self.registered.iter().zip(&logins).map(|(one, (_, ke1))| {
                Standard.respond(&one.registered(&cost), &one.parties, attempt, ke1)
            });
            one_by_one.collect::<Result<Vec<_>, _>>()
        });
        let answered = answered?;
        let mut devices = Vec::new();
        for ((one, (login, _)), (ke2, _)) in self.registered.iter().zip(&logins).zip(&answered) {
            let parties = &one.parties;
            devices.push(login_finish(login, PASSWORD, ke2, &cost, parties, entropy)?);
        }
        let (proven, ke3) = clock::time(|| {
            let one_by_one = answered.iter().zip(&devices);
            one_by_one
                .map(|((_, pending), device)| Standard.check(pending, &device.ke3))
                .collect::<Result<Vec<_>, _>>()
        });
        for (inside, _) in opened? {
            ensure!(inside.as_slice() == body, "another body came out");
        }
        for (session, device) in proven?.iter().zip(&devices) {
            let same = session.expose() == device.session.expose();
            ensure!(same, "the two sides have no key in common");
        }
        Ok(Parts { opening, ke2, ke3 })
    }
}

/// The symmetric sealing of so many recoveries, by itself.
pub(crate) fn sealing(people: usize, entropy: &mut dyn Entropy) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for _ in 0..people {
        let key: [u8; 32] = keyhaven_secrets::random(entropy);
        let nonce: [u8; 24] = keyhaven_secrets::random(entropy);
        let body = vec![4; 2048];
        let ready: Vec<Vec<u8>> = OPENED
            .into_iter()
            .map(|bytes| seal(&key, &nonce, body.get(..bytes).unwrap_or_default()))
            .collect::<Option<_>>()
            .context("sealing")?;
        let (done, took) = clock::time(|| {
            for bytes in SEALED {
                seal(&key, &nonce, body.get(..bytes).unwrap_or_default())?;
            }
            for sealed in &ready {
                let cipher = XChaCha20Poly1305::new((&key).into());
                let opened = cipher.decrypt((&nonce).into(), sealed.as_slice()).ok()?;
                std::hint::black_box(opened);
            }
            Some(())
        });
        done.context("what was sealed opens")?;
        sum = sum.saturating_add(took);
    }
    Ok(sum)
}

fn seal(key: &[u8; 32], nonce: &[u8; 24], body: &[u8]) -> Option<Vec<u8>> {
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.encrypt(nonce.into(), body).ok()
}

impl One {
    const fn registered<'a>(&'a self, cost: &'a Cost) -> Registered<'a> {
        Registered {
            keys: &self.keys,
            upload: &self.upload,
            cost,
        }
    }
}
