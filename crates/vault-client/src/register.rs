//! Putting the backup key under a password, for the first time or anew.

use keyhaven_secrets::{BackupKey, Entropy, Password, random};
use keyhaven_wire::channel::Conversation;
use keyhaven_wire::codec;
use keyhaven_wire::device::{DeviceSecret, Statement};
use keyhaven_wire::message::{
    DeviceKey, FleetId, Followup, Generation, LeafIndex, Outcome, PasswordClaim, RegisterAuthority,
    RegisterFinish, RegistrationId, Reply, Request, Standing, Ticket,
};
use keyhaven_wire::opaque::{OpaqueError, client};
use minicbor::{Decode, Encode};

use crate::denial;
use crate::error::VaultError;
use crate::journal::{Journal, Slot};
use crate::recover::Session;
use crate::remembered::Different;
use crate::transport::Transport;
use crate::vault::{Vault, encode};
use crate::wrap::{self, Belongs};

/// Why the vault should take a registration.
#[derive(Debug, Clone, Copy)]
pub enum RegisterBy<'a> {
    /// The account has no record yet: its token is enough.
    First,
    /// A listed device signs. Only with evidence that the password is a different one does it
    /// begin with a full budget; otherwise it inherits what was spent (VAULT-7).
    Device {
        /// The device's key.
        secret: &'a DeviceSecret,
        /// The evidence, from [`RememberedPassword`](crate::RememberedPassword). It counts only if
        /// the record still has the generation that it was checked against.
        different: Option<Different>,
    },
    /// The old password was proven in this session.
    Session(&'a Session),
    /// The wait for a fresh start is over: a new line begins, and the old key is given up.
    FreshStart,
}

/// A registration that the vault has acknowledged.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its number.
    pub generation: Generation,
    /// How the account stands now.
    pub standing: Standing,
}

impl<T: Transport> Vault<T> {
    /// Registers a password for a backup key, and the key of this device to be listed, if any.
    ///
    /// Nothing is armed before the second message, and that message is in the journal before it is
    /// sent. When no acknowledgement comes, [`Vault::finish_registration`] sends the same bytes
    /// again; a second registration is refused until then. The same password is never registered a
    /// second time by itself: a host that swallows acknowledgements would gain ten guesses each
    /// time (VAULT-7).
    ///
    /// # Errors
    ///
    /// [`VaultError::Unfinished`] when an earlier one is not settled; the vault's refusals; and
    /// what can go wrong on the way.
    pub fn register(
        &self,
        journal: &mut dyn Journal,
        password: &Password,
        key: &BackupKey,
        device: Option<DeviceKey>,
        by: RegisterBy<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Registered, VaultError> {
        if journal.load(Slot::Registration)?.is_some() {
            return Err(VaultError::Unfinished);
        }
        let id = RegistrationId::new(random(entropy));
        let password = password.expose_bytes();
        let (state, request) = client::register_start(password, entropy).map_err(opaque)?;
        let (reply, conversation) = self.first(&Request::RegisterStart { id, request }, entropy)?;
        let Reply { outcome, standing } = reply;
        let Outcome::RegisterStarted { response, ticket } = outcome else {
            return Err(denial::instead(
                &outcome,
                &standing,
                "no registration response",
            ));
        };
        let cost = self.policy.cost;
        let registered =
            client::register_finish(&state, password, &response, &cost, &self.parties, entropy)
                .map_err(opaque)?;
        let no_number = VaultError::Misbehaved {
            what: "there is no generation after this one",
        };
        let generation = standing.generation.next().ok_or(no_number)?;
        let belongs = Belongs {
            parties: self.parties,
            generation,
        };
        let wrapped = wrap::seal(key, &registered.export, &belongs, entropy);
        let finish = RegisterFinish {
            upload: registered.upload,
            wrapped,
            cost,
            device,
            authority: RegisterAuthority::First,
        };
        let finish = self.authorise(id, finish, by, standing.generation)?;
        let pending = Pending {
            fleet: self.parties.fleet,
            leaf: self.parties.leaf,
            generation,
            conversation,
            ticket,
            followup: Followup::RegisterFinish(finish),
        };
        // VAULT-7: on disk before it is sent, so that only these bytes are ever sent again.
        journal.store(
            Slot::Registration,
            &codec::encode(&pending).map_err(encode)?,
        )?;
        self.arm(journal, &pending, entropy)
    }

    /// Settles a registration that was interrupted: sends the same bytes again. Nothing when none
    /// was under way. What was typed for it is not known here, so the person proves the password
    /// afterwards.
    ///
    /// # Errors
    ///
    /// [`VaultError::RegistrationLost`] when the record moved on without it; what can go wrong on
    /// the way, after which it is still under way.
    pub fn finish_registration(
        &self,
        journal: &mut dyn Journal,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Registered>, VaultError> {
        let Some(entry) = journal.load(Slot::Registration)? else {
            return Ok(None);
        };
        let pending: Pending = codec::decode(&entry).map_err(|_| VaultError::DamagedJournal)?;
        if pending.fleet != self.parties.fleet || pending.leaf != self.parties.leaf {
            return Err(VaultError::DamagedJournal);
        }
        self.arm(journal, &pending, entropy).map(Some)
    }

    fn authorise(
        &self,
        id: RegistrationId,
        mut finish: RegisterFinish,
        by: RegisterBy<'_>,
        replaced: Generation,
    ) -> Result<RegisterFinish, VaultError> {
        finish.authority = match by {
            RegisterBy::First => RegisterAuthority::First,
            RegisterBy::FreshStart => RegisterAuthority::FreshStart,
            RegisterBy::Session(session) => RegisterAuthority::Session(session.proof),
            RegisterBy::Device { secret, different } => {
                // VAULT-7: another device may have changed the password since the check. The ticket
                // binds this generation, so a later change makes the vault refuse the whole.
                let checked =
                    different.is_some_and(|different| different.is_from(&self.parties, replaced));
                let password = if checked {
                    PasswordClaim::Different
                } else {
                    PasswordClaim::MayBeSame
                };
                let statement = Statement::Register {
                    id: &id,
                    password,
                    finish: &finish,
                };
                let signed = secret
                    .sign(&self.parties.leaf, &statement)
                    .map_err(encode)?;
                RegisterAuthority::Device { password, signed }
            }
        };
        Ok(finish)
    }

    fn arm(
        &self,
        journal: &mut dyn Journal,
        pending: &Pending,
        entropy: &mut dyn Entropy,
    ) -> Result<Registered, VaultError> {
        let Pending {
            conversation,
            ticket,
            followup,
            ..
        } = pending;
        let Reply { outcome, standing } = self.second(conversation, ticket, followup, entropy)?;
        // The core has spoken about these very bytes: either way there is nothing left to send.
        journal.clear(Slot::Registration)?;
        let armed = Outcome::Registered {
            generation: pending.generation,
        };
        if outcome != armed {
            return Err(denial::instead(
                &outcome,
                &standing,
                "a registration was not acknowledged",
            ));
        }
        // A seed belongs to guesses at the record that was.
        journal.clear(Slot::Guess)?;
        Ok(Registered {
            generation: pending.generation,
            standing,
        })
    }
}

/// A registration whose second message may have been sent, as it stands in the journal.
#[derive(Debug, Encode, Decode)]
struct Pending {
    #[n(0)]
    fleet: FleetId,
    #[n(1)]
    leaf: LeafIndex,
    #[n(2)]
    generation: Generation,
    #[n(3)]
    conversation: Conversation,
    #[n(4)]
    ticket: Ticket,
    #[n(5)]
    followup: Followup,
}

fn opaque(error: OpaqueError) -> VaultError {
    if error == OpaqueError::Stretching {
        VaultError::Stretching
    } else {
        VaultError::Misbehaved {
            what: "the registration response is not valid",
        }
    }
}
