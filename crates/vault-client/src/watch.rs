//! What a device remembers of its account's record, and when it raises the alarm.
//!
//! A hostile host can destroy a record, by guesses or by a fresh start; it can never replace one
//! *unseen*. Seeing it is this module's part: a device compares what it knew with what the vault
//! says, and tells its owner plainly. It never registers anything by itself (VAULT-7).

use keyhaven_secrets::Entropy;
use keyhaven_wire::codec;
use keyhaven_wire::device::DeviceSecret;
use keyhaven_wire::message::{
    ChangeNumber, ChangedBy, DeviceKey, Generation, Line, RecordState, Standing,
};
use minicbor::{Decode, Encode};

use crate::error::VaultError;
use crate::transport::Transport;
use crate::vault::Vault;

/// What a device knew of its account's record when it last looked. To be stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Known {
    #[n(0)]
    line: Line,
    #[n(1)]
    generation: Generation,
    #[n(2)]
    change: ChangeNumber,
    #[n(3)]
    devices: Vec<DeviceKey>,
}

/// Something that the owner must be told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Alarm {
    /// The record that this device knew is gone.
    #[error(
        "the vault no longer keeps your backup key: the record is gone, though this device did not delete it. Choose a password that you never used here, or use the 64-digit key"
    )]
    RecordGone {
        /// What is there instead.
        state: RecordState,
    },
    /// Somebody started the account afresh.
    #[error(
        "somebody with access to your account has started it afresh at the vault. If that was not you, choose a password that you never used here"
    )]
    LineChanged {
        /// How often the account was begun.
        line: Line,
    },
    /// A key that this device does not know has changed the record.
    #[error(
        "a device that this one does not know has changed your record at the vault. If it is not yours, change the password and remove it"
    )]
    UnknownDevice {
        /// Its key.
        key: DeviceKey,
    },
    /// The record was changed with the account's login alone.
    #[error("your record at the vault was replaced with nothing but the account's login")]
    ByTokenAlone,
    /// This device was struck off the list.
    #[error("this device is no longer on the list of your devices at the vault")]
    NotListed,
    /// The vault shows an older record than before.
    #[error("the vault shows an older state of your record than this device has seen")]
    WentBack,
}

impl<T: Transport> Vault<T> {
    /// Looks at the account as one of its devices, and compares with what the device knew. A device
    /// that is not listed any more, or whose record is gone, is told so by the alarm.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn watch(
        &self,
        device: &DeviceSecret,
        known: &Known,
        entropy: &mut dyn Entropy,
    ) -> Result<(Standing, Option<Alarm>), VaultError> {
        let standing = match self.standing(Some(device), entropy) {
            // The record does not know the device: what it says to anybody must do.
            Err(
                VaultError::DeviceNotListed | VaultError::NoRecord { .. } | VaultError::Exhausted,
            ) => self.standing(None, entropy)?,
            standing => standing?,
        };
        let alarm = known.alarm(&standing);
        Ok((standing, alarm))
    }
}

impl Known {
    /// What a standing says, to be remembered. The devices are remembered from an owner's standing
    /// only; pass the ones known before when it is not one.
    #[must_use]
    pub fn of(standing: &Standing, before: Option<&Self>) -> Self {
        let devices = match (&standing.owner, before) {
            (Some(owner), _) => owner.devices.clone(),
            (None, Some(before)) => before.devices.clone(),
            (None, None) => Vec::new(),
        };
        Self {
            line: standing.line,
            generation: standing.generation,
            change: standing.change,
            devices,
        }
    }

    /// Compares with a standing that this device asked for with its signature; see
    /// [`Vault::watch`].
    #[must_use]
    pub fn alarm(&self, standing: &Standing) -> Option<Alarm> {
        if standing.line != self.line {
            return Some(Alarm::LineChanged {
                line: standing.line,
            });
        }
        match standing.state {
            RecordState::Live => {}
            state @ (RecordState::Vacant | RecordState::Destroyed | RecordState::Deleted) => {
                return Some(Alarm::RecordGone { state });
            }
        }
        if standing.generation < self.generation || standing.change < self.change {
            return Some(Alarm::WentBack);
        }
        let Some(owner) = &standing.owner else {
            return Some(Alarm::NotListed);
        };
        if standing.generation == self.generation && standing.change == self.change {
            return None;
        }
        match owner.changed_by {
            ChangedBy::Password => None,
            ChangedBy::Device(key) if self.devices.contains(&key) => None,
            ChangedBy::Device(key) => Some(Alarm::UnknownDevice { key }),
            ChangedBy::Token | ChangedBy::Nobody => Some(Alarm::ByTokenAlone),
        }
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
            .map(|bytes| bytes.to_vec())
            .unwrap_or_default()
    }

    /// Reads stored bytes; nothing when they are damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        codec::decode(bytes).ok()
    }
}
