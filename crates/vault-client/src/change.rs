//! Changes of a record that its owner authorises: devices, the freshness note, waits, the end.

use keyhaven_secrets::Entropy;
use keyhaven_wire::codec;
use keyhaven_wire::device::{DeviceSecret, Statement};
use keyhaven_wire::message::{
    Action, Authority, Change, DeviceKey, FleetId, Freshness, HostTime, LeafIndex, Outcome,
    Request, Standing, Wait,
};
use minicbor::{Decode, Encode};

use crate::denial;
use crate::error::VaultError;
use crate::journal::{Journal, Slot};
use crate::recover::Session;
use crate::transport::Transport;
use crate::vault::{Vault, encode};

/// Who authorises a change.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// A listed device signs it.
    Device(&'a DeviceSecret),
    /// The password was proven in this session.
    Session(&'a Session),
}

impl<T: Transport> Vault<T> {
    /// Lists another device's key.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn add_device(
        &self,
        journal: &mut dyn Journal,
        key: DeviceKey,
        by: By<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.change(journal, Action::DeviceAdd(key), by, entropy)
    }

    /// Strikes a device's key off the list.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn remove_device(
        &self,
        journal: &mut dyn Journal,
        key: DeviceKey,
        by: By<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.change(journal, Action::DeviceRemove(key), by, entropy)
    }

    /// Notes the newest backup that was read back, so that a new device can tell a store that goes
    /// back (BACKUP-4).
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn note_freshness(
        &self,
        journal: &mut dyn Journal,
        newest: Freshness,
        by: By<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.change(journal, Action::NoteFreshness(newest), by, entropy)
    }

    /// Destroys the record. The 64-digit key still opens the backup; the password no longer does.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn delete(
        &self,
        journal: &mut dyn Journal,
        by: By<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.change(journal, Action::Delete, by, entropy)
    }

    /// Cancels a wait that somebody began: only a listed device can, twice at most.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn cancel_wait(
        &self,
        journal: &mut dyn Journal,
        wait: Wait,
        device: &DeviceSecret,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.change(
            journal,
            Action::CancelWait(wait),
            By::Device(device),
            entropy,
        )
    }

    /// Lifts the lifetime cap on wrong guesses: only a listed device can.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn lift_cap(
        &self,
        journal: &mut dyn Journal,
        device: &DeviceSecret,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.change(journal, Action::LiftCap, By::Device(device), entropy)
    }

    /// Begins the wait after which a new line can be started without the password and without a
    /// device. The owner's devices are told, and can cancel it.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn begin_fresh_start(&self, entropy: &mut dyn Entropy) -> Result<HostTime, VaultError> {
        self.begin_wait(Wait::FreshStart, entropy)
    }

    /// Begins the wait after which the last three guesses may be used without a listed device.
    ///
    /// # Errors
    ///
    /// The vault's refusals, and what can go wrong on the way.
    pub fn begin_last_guesses(&self, entropy: &mut dyn Entropy) -> Result<HostTime, VaultError> {
        self.begin_wait(Wait::LastGuesses, entropy)
    }

    /// Settles a change that was interrupted: sends the same change again, under the same number.
    /// Every other change does so first.
    ///
    /// # Errors
    ///
    /// What can go wrong on the way; the change is still under way then.
    pub fn finish_change(
        &self,
        journal: &mut dyn Journal,
        entropy: &mut dyn Entropy,
    ) -> Result<(), VaultError> {
        let Some(entry) = journal.load(Slot::Change)? else {
            return Ok(());
        };
        let pending: Pending = codec::decode(&entry).map_err(|_| VaultError::DamagedJournal)?;
        if pending.fleet != self.parties.fleet || pending.leaf != self.parties.leaf {
            return Err(VaultError::DamagedJournal);
        }
        match self.send(journal, &pending, entropy) {
            Ok(_) => Ok(()),
            // The core has spoken: made before and overtaken since, or refused. Nothing is open.
            Err(_) if journal.load(Slot::Change)?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn begin_wait(&self, wait: Wait, entropy: &mut dyn Entropy) -> Result<HostTime, VaultError> {
        let (reply, _) = self.first(&Request::BeginWait { wait }, entropy)?;
        if let Outcome::WaitBegun { until } = reply.outcome {
            Ok(until)
        } else {
            Err(denial::instead(
                &reply.outcome,
                &reply.standing,
                "no wait was begun",
            ))
        }
    }

    fn change(
        &self,
        journal: &mut dyn Journal,
        action: Action,
        by: By<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        self.finish_change(journal, entropy)?;
        let no_number = VaultError::Misbehaved {
            what: "there is no change number after this one",
        };
        let number = self
            .standing(None, entropy)?
            .change
            .next()
            .ok_or(no_number)?;
        let change = Change { number, action };
        let authority = match by {
            By::Session(session) => Authority::Session(session.proof),
            By::Device(secret) => {
                let statement = Statement::Change(&change);
                Authority::Device(
                    secret
                        .sign(&self.parties.leaf, &statement)
                        .map_err(encode)?,
                )
            }
        };
        let pending = Pending {
            fleet: self.parties.fleet,
            leaf: self.parties.leaf,
            request: Request::Change { change, authority },
        };
        journal.store(Slot::Change, &codec::encode(&pending).map_err(encode)?)?;
        self.send(journal, &pending, entropy)
    }

    fn send(
        &self,
        journal: &mut dyn Journal,
        pending: &Pending,
        entropy: &mut dyn Entropy,
    ) -> Result<Standing, VaultError> {
        let (reply, _) = self.first(&pending.request, entropy)?;
        let settled = if let Outcome::Changed { .. } = reply.outcome {
            Ok(reply.standing)
        } else {
            Err(denial::instead(
                &reply.outcome,
                &reply.standing,
                "a change was not acknowledged",
            ))
        };
        // The core has spoken about this very change: either way there is nothing left to send.
        journal.clear(Slot::Change)?;
        settled
    }
}

/// A change that may have been sent, as it stands in the journal.
#[derive(Debug, Encode, Decode)]
struct Pending {
    #[n(0)]
    fleet: FleetId,
    #[n(1)]
    leaf: LeafIndex,
    #[n(2)]
    request: Request,
}
