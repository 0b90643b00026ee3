//! A vault that has been checked against its pin, and the sealed exchange with its core.

use std::fmt;
use std::time::Duration;

use keyhaven_secrets::Entropy;
use keyhaven_wire::bundle::{Bundle, Group, Trust, UnixSeconds, VaultAddress};
use keyhaven_wire::channel::{self, ChannelPublicKey, Conversation};
use keyhaven_wire::device::DeviceSecret;
use keyhaven_wire::message::{
    AccountName, Followup, LeafIndex, Outcome, Reply, Request, Standing, Ticket,
};
use keyhaven_wire::opaque::{Cost, Parties};

use crate::denial;
use crate::error::VaultError;
use crate::memory::BundleMemory;
use crate::transport::{Transport, TransportError};

/// The longest pause that is waited out here; a longer one is the caller's to show.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a client insists on, whatever a vault says.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) cost: Cost,
    pub(crate) cost_floor: Cost,
    group_floor: Option<Group>,
    measurements: Option<Vec<[u8; 48]>>,
    resends: u8,
    pause: Duration,
}

impl Default for Policy {
    /// Argon2id with 64 MiB, three passes and four lanes for new passwords; nothing below
    /// [`Cost::FLOOR`] for old ones; any sound group; a lost answer is asked for twice more.
    fn default() -> Self {
        Self {
            cost: Cost::DEFAULT,
            cost_floor: Cost::FLOOR,
            group_floor: None,
            measurements: None,
            resends: 2,
            pause: Duration::from_millis(300),
        }
    }
}

impl Policy {
    /// Refuses vaults whose groups are smaller, or survive fewer rollbacks, than this.
    #[must_use]
    pub fn with_group_floor(mut self, group: Group) -> Self {
        self.group_floor = Some(group);
        self
    }

    /// Refuses vaults whose cores do not have one of these SHA-384 measurements. An app names the
    /// versions without known faults, and so enforces the oldest that it talks to.
    #[must_use]
    pub fn with_measurements(mut self, accepted: &[[u8; 48]]) -> Self {
        self.measurements = Some(accepted.to_vec());
        self
    }

    /// How often the same bytes are sent again when no answer came, and the pause between.
    #[must_use]
    pub fn with_resends(mut self, resends: u8, pause: Duration) -> Self {
        self.resends = resends;
        self.pause = pause;
        self
    }

    /// Stretches new passwords at this cost, and accepts it for old ones. A cost below
    /// [`Cost::FLOOR`] protects no password: for tests.
    #[must_use]
    pub fn dangerous_with_cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self.cost_floor = cost;
        self
    }
}

/// One account at one vault whose validation bundle was checked.
pub struct Vault<T> {
    transport: T,
    bundle: Bundle,
    channel: ChannelPublicKey,
    pub(crate) parties: Parties,
    pub(crate) policy: Policy,
}

impl<T: Transport> Vault<T> {
    /// Fetches the vault's validation bundle and checks it: signed under the address's pin, valid
    /// `now`, not older than one seen before, a guess budget of at most ten and a group no weaker
    /// than the policy's (VAULT-1), cores that the policy accepts.
    ///
    /// # Errors
    ///
    /// When there is no answer, or the bundle is refused.
    pub fn connect(
        address: &VaultAddress,
        account: &AccountName,
        transport: T,
        memory: &mut dyn BundleMemory,
        now: UnixSeconds,
        policy: Policy,
    ) -> Result<Self, VaultError> {
        let pin = address.pin();
        let mut trust = Trust::pinned(pin);
        if let Some(seen) = memory.newest(&pin)? {
            trust = trust.after(seen);
        }
        if let Some(group) = policy.group_floor {
            trust = trust.at_least(group);
        }
        if let Some(accepted) = &policy.measurements {
            trust = trust.with_measurements(accepted);
        }
        let note = again(&policy, &transport, || transport.bundle())?;
        let bundle = Bundle::open(&note, &trust, now)?;
        let channel = bundle.channel_key;
        // Remembered before it is used: a vault that was believed once is never believed older.
        memory.remember(&pin, bundle.seen())?;
        let fleet = bundle.fleet;
        let leaf = LeafIndex::of(&fleet, account);
        Ok(Self {
            transport,
            bundle,
            channel,
            parties: Parties { fleet, leaf },
            policy,
        })
    }

    /// The bundle that was accepted.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// How the account stands: guesses left, attempts, waits. Free. Signed by a listed device, the
    /// answer also has what only the owner is told.
    ///
    /// # Errors
    ///
    /// When there is no answer, or the device is not listed.
    pub fn standing(
        &self,
        device: Option<&DeviceSecret>,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        let device = match device {
            Some(secret) => Some(
                secret
                    .sign_status(&self.parties.leaf, entropy)
                    .map_err(encode)?,
            ),
            None => None,
        };
        let (reply, _) = self.first(&Request::Status { device }, entropy)?;
        if reply.outcome == Outcome::Standing {
            Ok(reply.standing)
        } else {
            Err(denial::instead(
                &reply.outcome,
                &reply.standing,
                "no standing",
            ))
        }
    }

    /// Sends a conversation's first request.
    pub(crate) fn first(
        &self,
        request: &Request,
        entropy: &mut dyn Entropy,
    ) -> Result<(Reply, Conversation), VaultError> {
        let Parties { fleet, leaf } = &self.parties;
        let (sealed, conversation) =
            channel::seal_first(fleet, &self.channel, leaf, request, entropy)?;
        let reply = self.exchange(&sealed, |reply| conversation.open(reply))?;
        Ok((reply, conversation))
    }

    /// Sends a conversation's second request.
    pub(crate) fn second(
        &self,
        conversation: &Conversation,
        ticket: &Ticket,
        followup: &Followup,
        entropy: &mut dyn Entropy,
    ) -> Result<Reply, VaultError> {
        let (sealed, awaiting) = conversation.seal_second(ticket, followup, entropy)?;
        self.exchange(&sealed, |reply| awaiting.open(reply))
    }

    /// The same bytes may be sent any number of times: the core answers the same request with the
    /// same effect, so asking again never costs a guess (VAULT-2, VAULT-7).
    fn exchange(
        &self,
        sealed: &[u8],
        open: impl Fn(&[u8]) -> Result<Reply, channel::ChannelError>,
    ) -> Result<Reply, VaultError> {
        let reply = again(&self.policy, &self.transport, || {
            self.transport.exchange(sealed)
        })?;
        Ok(open(&reply)?)
    }
}

impl<T> fmt::Debug for Vault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("parties", &self.parties)
            .finish_non_exhaustive()
    }
}

/// Tries again after what passes by itself: a broken connection, a time-out, a vault that restarts,
/// a short pause that it asks for.
fn again<T>(
    policy: &Policy,
    transport: &impl Transport,
    mut attempt: impl FnMut() -> Result<T, TransportError>,
) -> Result<T, TransportError> {
    let mut pause = policy.pause;
    for _ in 0..policy.resends {
        match attempt() {
            Err(
                TransportError::Unreachable
                | TransportError::TimedOut
                | TransportError::Unavailable,
            ) => {
                transport.pause(pause)?;
                pause = pause.saturating_mul(3);
            }
            Err(TransportError::Busy {
                retry_after: Some(asked),
            }) if asked <= PATIENCE => {
                transport.pause(asked)?;
            }
            answer => return answer,
        }
    }
    attempt()
}

pub(crate) fn encode(error: keyhaven_wire::codec::EncodeError) -> VaultError {
    VaultError::Channel(error.into())
}
