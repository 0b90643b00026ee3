//! What a client asks.

use minicbor::{Decode, Encode};

use super::ids::{
    ChangeNumber, DeviceKey, DigestBytes, RegistrationId, SessionProof, Signature, StatusNonce,
    WrappedKey,
};
use crate::codec::{self, EncodeError};
use crate::opaque::{Cost, Ke1, Ke3, RegistrationRequest, RegistrationUpload};

/// The first message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// How does the account stand? Free: it spends no guess. With a listed device's signature the
    /// reply also carries what only the owner may see.
    #[n(0)]
    Status {
        /// A listed device's signature over the nonce.
        #[n(0)]
        device: Option<DeviceSigned<StatusNonce>>,
    },
    /// First step of registering: evaluates a password under a fresh key. Stores nothing.
    #[n(1)]
    RegisterStart {
        /// Drawn by the client.
        #[n(0)]
        id: RegistrationId,
        /// OPAQUE's first message.
        #[n(1)]
        request: RegistrationRequest,
    },
    /// First step of recovering: spends a guess, unless this KE1 has spent it already.
    #[n(2)]
    RecoverStart {
        /// OPAQUE's KE1. The same one again is the same guess.
        #[n(0)]
        ke1: Ke1,
        /// A listed device's signature over the KE1: the last three guesses need it, or a wait.
        #[n(1)]
        device: Option<DeviceSigned<()>>,
    },
    /// A change of the record that the owner authorises.
    #[n(3)]
    Change {
        /// What changes.
        #[n(0)]
        change: Change,
        /// Who says so.
        #[n(1)]
        authority: Authority,
    },
    /// Begins a wait of which the owner is told and which he can cancel. Needs no authority.
    #[n(4)]
    BeginWait {
        /// What for.
        #[n(0)]
        wait: Wait,
    },
}

/// The second message of a conversation; the core's ticket travels beside it.
#[expect(
    clippy::large_enum_variant,
    reason = "one request is alive at a time, and it is padded anyway"
)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Followup {
    /// Arms the new generation, if the record's generation is still the ticket's.
    #[n(0)]
    RegisterFinish(#[n(0)] RegisterFinish),
    /// Proves the password, or, with random bytes, ends the attempt after a wrong one.
    #[n(1)]
    RecoverFinish {
        /// OPAQUE's KE3, or 64 random bytes.
        #[n(0)]
        ke3: Ke3,
    },
}

/// What arms a generation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RegisterFinish {
    /// OPAQUE's registration record.
    #[n(0)]
    pub upload: RegistrationUpload,
    /// The backup key under the export key.
    #[n(1)]
    pub wrapped: WrappedKey,
    /// How the password was stretched.
    #[n(2)]
    pub cost: Cost,
    /// The key of the device that registers, to be listed.
    #[n(3)]
    pub device: Option<DeviceKey>,
    /// Why the core should obey.
    #[n(4)]
    pub authority: RegisterAuthority,
}

impl RegisterFinish {
    /// The digest of what is armed, the authority left out. A device signs it, and the record
    /// keeps it to know the same bytes again (VAULT-7).
    ///
    /// # Errors
    /// None in practice: see [`codec::encode`].
    pub fn digest(&self) -> Result<DigestBytes, EncodeError> {
        let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault registration digest");
        hasher.update(&codec::encode(&(
            &self.upload,
            &self.wrapped,
            &self.cost,
            &self.device,
        ))?);
        Ok(DigestBytes::new(*hasher.finalize().as_bytes()))
    }
}

/// Why the core should arm a new generation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RegisterAuthority {
    /// There is no record: the account's token is enough.
    #[n(0)]
    First,
    /// A listed device signs. The budget is full only if it says that the password is another one.
    #[n(1)]
    Device {
        /// What the device says about the password.
        #[n(0)]
        password: PasswordClaim,
        /// Its signature.
        #[n(1)]
        signed: DeviceSigned<()>,
    },
    /// This session proved the password.
    #[n(2)]
    Session(#[n(0)] SessionProof),
    /// The wait for a fresh start is over: a new line begins.
    #[n(3)]
    FreshStart,
}

/// What a device says about the password of a new generation (VAULT-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PasswordClaim {
    /// It may be the same as before: the new generation inherits what was spent.
    #[n(0)]
    MayBeSame,
    /// The device has checked that it is a different one: the budget begins full.
    #[n(1)]
    Different,
}

/// A change of the record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// One more than the record's change number: what was accepted once cannot be replayed.
    #[n(0)]
    pub number: ChangeNumber,
    /// What changes.
    #[n(1)]
    pub action: Action,
}

/// What can be changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// Lists a device key.
    #[n(0)]
    DeviceAdd(#[n(0)] DeviceKey),
    /// Strikes a device key off the list.
    #[n(1)]
    DeviceRemove(#[n(0)] DeviceKey),
    /// Notes the newest backup.
    #[n(2)]
    NoteFreshness(#[n(0)] Freshness),
    /// Destroys the record; a tombstone stays.
    #[n(3)]
    Delete,
    /// Cancels a wait. Only a listed device can.
    #[n(4)]
    CancelWait(#[n(0)] Wait),
    /// Lifts the lifetime cap on wrong guesses. Only a listed device can.
    #[n(5)]
    LiftCap,
}

/// Who authorises a change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Authority {
    /// A listed device.
    #[n(0)]
    Device(#[n(0)] DeviceSigned<()>),
    /// A session that the password just proved.
    #[n(1)]
    Session(#[n(0)] SessionProof),
}

/// A device's signature with what it needs beside the message to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeviceSigned<T> {
    /// Which device.
    #[n(0)]
    pub key: DeviceKey,
    /// Its signature over the [`Statement`](crate::device::Statement).
    #[n(1)]
    pub signature: Signature,
    /// What else was signed.
    #[n(2)]
    pub extra: T,
}

/// The newest backup that was read back: its snapshot's sequence number and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Freshness {
    /// The snapshot's sequence number.
    #[n(0)]
    pub sequence: u64,
    /// The snapshot's digest.
    #[n(1)]
    pub digest: DigestBytes,
}

/// What a person can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Wait {
    /// The last three guesses without a listed device.
    #[n(0)]
    LastGuesses,
    /// A fresh start: the old key is given up, a new line begins.
    #[n(1)]
    FreshStart,
}
