//! A fleet's secrets: made once, by its first core.

use alloc::boxed::Box;
use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::{ChannelKey, ChannelPublicKey, OpeningKey};
use keyhaven_wire::codec;
use keyhaven_wire::message::{FleetId, WrappedKey};
use keyhaven_wire::opaque::Cost;
use keyhaven_wire::opaque::server::decoy_upload;
use keyhaven_wire::suite::{Standard, Suite};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::log::GroupId;
use crate::policy::{Policy, PolicyError};
use crate::record::Live;

const MAGIC: &[u8] = b"keyhaven fleet secrets v1\0";
const CHECK_BYTES: usize = 32;

macro_rules! secret_key {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub(crate) struct $name(Box<Zeroizing<[u8; 32]>>);

        impl $name {
            fn generate(entropy: &mut dyn Entropy) -> Self {
                let mut key = Self(Box::new(Zeroizing::new([0; 32])));
                entropy.fill(key.0.as_mut_slice());
                key
            }

            pub(crate) fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(self.0.as_slice())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                <[u8; 32]>::try_from(d.bytes()?)
                    .map(|key| Self(Box::new(Zeroizing::new(key))))
                    .map_err(|_| minicbor::decode::Error::message("length of a key"))
            }
        }
    };
}

secret_key!(
    /// Seals the records.
    RecordKey
);
secret_key!(
    /// Authenticates the log.
    LogKey
);
secret_key!(
    /// Seals tickets and session proofs.
    TicketKey
);

#[derive(Clone, Encode, Decode)]
struct Body {
    #[n(0)]
    fleet: FleetId,
    #[cbor(n(1), with = "minicbor::bytes")]
    group: [u8; 16],
    #[n(2)]
    policy: Policy,
    #[n(3)]
    record: RecordKey,
    #[n(4)]
    log: LogKey,
    #[n(5)]
    ticket: TicketKey,
    #[n(6)]
    channel: ChannelKey,
}

/// A fleet's secrets. Whoever has them can make guesses without limit: a host that keeps them in a
/// file trusts everybody who can read that file.
#[derive(Clone)]
pub struct FleetSecrets {
    body: Body,
    suite: &'static dyn Suite,
    channel_public: Box<ChannelPublicKey>,
    opening: OpeningKey,
    decoy: Box<Live>,
}

/// Why bytes are not a fleet's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// Not a file of fleet secrets, or of a version that this core does not know.
    #[error("these are not a fleet's secrets")]
    NotSecrets,
    /// The check does not match: the file is damaged.
    #[error("the fleet's secrets are damaged")]
    Damaged,
    /// The rules in it are not ones that this core enforces.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl FleetSecrets {
    /// Draws a new fleet's secrets.
    ///
    /// # Errors
    /// [`SecretsError::Policy`].
    pub(crate) fn generate(
        suite: &'static dyn Suite,
        policy: Policy,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, SecretsError> {
        policy.check_sound()?;
        let body = Body {
            fleet: FleetId::new(keyhaven_secrets::random(entropy)),
            group: keyhaven_secrets::random(entropy),
            policy,
            record: RecordKey::generate(entropy),
            log: LogKey::generate(entropy),
            ticket: TicketKey::generate(entropy),
            channel: ChannelKey::generate(entropy),
        };
        Self::from_body(suite, body)
    }

    fn from_body(suite: &'static dyn Suite, body: Body) -> Result<Self, SecretsError> {
        let channel_public = Box::new(body.channel.public());
        let decoy = Live {
            keys: suite
                .draw(&mut DecoyStream::new(&body.ticket))
                .map_err(|_| SecretsError::Damaged)?,
            upload: decoy_upload(),
            wrapped: WrappedKey::new([0; WrappedKey::BYTES]),
            cost: Cost::DEFAULT,
            proven: None,
        };
        Ok(Self {
            opening: body.channel.opening().map_err(|_| SecretsError::Damaged)?,
            channel_public,
            decoy: Box::new(decoy),
            suite,
            body,
        })
    }

    /// Their bytes, for whoever keeps them. Secret.
    ///
    /// # Errors
    /// None in practice: encoding to memory does not fail.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
        let body = codec::encode(&self.body).map_err(|_| SecretsError::NotSecrets)?;
        let check = check(&body);
        Ok(Zeroizing::new([MAGIC, body.as_slice(), &check].concat()))
    }

    /// Reads kept bytes.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SecretsError> {
        let secrets = Self::decode_for(&Standard, bytes)?;
        secrets.body.policy.check()?;
        Ok(secrets)
    }

    pub(crate) fn decode_for(
        suite: &'static dyn Suite,
        bytes: &[u8],
    ) -> Result<Self, SecretsError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SecretsError::NotSecrets)?;
        let (body, stored) = rest
            .split_last_chunk::<CHECK_BYTES>()
            .ok_or(SecretsError::Damaged)?;
        if check(body) != *stored {
            return Err(SecretsError::Damaged);
        }
        let body: Body = codec::decode(body).map_err(|_| SecretsError::Damaged)?;
        body.policy.check_sound()?;
        Self::from_body(suite, body)
    }

    /// The fleet's name.
    #[must_use]
    pub const fn fleet(&self) -> FleetId {
        self.body.fleet
    }

    /// The rules.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.body.policy
    }

    /// The channel's public key, for the validation bundle.
    #[must_use]
    pub const fn channel_key(&self) -> &ChannelPublicKey {
        &self.channel_public
    }

    pub(crate) const fn group(&self) -> GroupId {
        GroupId::new(self.body.group)
    }

    pub(crate) const fn record(&self) -> &RecordKey {
        &self.body.record
    }

    pub(crate) const fn log(&self) -> &LogKey {
        &self.body.log
    }

    pub(crate) const fn ticket(&self) -> &TicketKey {
        &self.body.ticket
    }

    /// What is worked on where there is no record: nothing of it is ever released.
    pub(crate) const fn decoy(&self) -> &Live {
        &self.decoy
    }

    /// The public-key cryptography: the standard suite, but in simulations.
    pub(crate) const fn suite(&self) -> &'static dyn Suite {
        self.suite
    }

    pub(crate) const fn opening(&self) -> &OpeningKey {
        &self.opening
    }
}

impl core::fmt::Debug for FleetSecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FleetSecrets")
            .field("fleet", &self.body.fleet)
            .field("policy", &self.body.policy)
            .finish_non_exhaustive()
    }
}

/// Random bytes for the decoy's keys, from a key that the fleet has anyway.
struct DecoyStream(blake3::OutputReader);

impl DecoyStream {
    fn new(key: &TicketKey) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault decoy");
        hasher.update(key.expose());
        Self(hasher.finalize_xof())
    }
}

impl Entropy for DecoyStream {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 fleet secrets check");
    hasher.update(body);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use keyhaven_testkit::entropy::SeededEntropy;

    use super::*;
    use crate::policy::Quorum;

    /// VAULT-1, VAULT-9: whatever core joins takes the rules that the fleet was made with, or is no core. Rules
    /// below the floor are refused, though the check of the bytes that hold them is right.
    #[test]
    fn secrets_with_rules_below_the_floor_are_none() {
        let mut entropy = SeededEntropy::new(1);
        let made = FleetSecrets::generate(&Standard, Policy::DEFAULT, &mut entropy).unwrap();
        let with = |change: fn(&mut Policy)| {
            let mut secrets = made.clone();
            change(&mut secrets.body.policy);
            FleetSecrets::decode(&secrets.encode().unwrap()).map(|read| *read.policy())
        };
        assert_eq!(with(|_| ()), Ok(Policy::DEFAULT));
        let refused = |because| Err(SecretsError::Policy(because));
        for change in [
            |policy: &mut Policy| policy.guesses = 11,
            |policy: &mut Policy| policy.guesses = 0,
            |policy: &mut Policy| policy.reserved = 11,
        ] {
            assert_eq!(with(change), refused(PolicyError::Guesses));
        }
        for change in [
            |policy: &mut Policy| policy.quorum.captures = 0,
            |policy: &mut Policy| policy.quorum.rollbacks = 1,
            // Sound, and of a size that does not ship.
            |policy: &mut Policy| {
                policy.quorum = Quorum {
                    members: 4,
                    captures: 3,
                    rollbacks: 1,
                }
            },
        ] {
            assert_eq!(with(change), refused(PolicyError::Quorum));
        }
        assert_eq!(
            with(|policy| policy.lifetime_guesses = 1_000_001),
            refused(PolicyError::Lifetime)
        );
    }
}
