//! Names, numbers and fixed byte strings of the protocol.

use alloc::boxed::Box;

use minicbor::{Decode, Encode};

use crate::bytes::public_bytes;

/// Device keys that a record lists at most.
pub const DEVICES_MAX: usize = 8;

public_bytes!(
    /// A fleet's name: random bytes, made when its secrets were.
    FleetId,
    32
);
public_bytes!(
    /// Where an account's record stands in the tree. A digest of fleet and account, so that the
    /// same account has unrelated leaves in two fleets.
    LeafIndex,
    32
);
public_bytes!(
    /// A registration's id, drawn by the client: the same id with the same bytes is the same
    /// registration, however often it is sent (VAULT-7).
    RegistrationId,
    16
);
public_bytes!(
    /// An Ed25519 public key of one of the owner's devices.
    DeviceKey,
    32
);
public_bytes!(
    /// An Ed25519 signature (RFC 8032).
    Signature,
    64
);
public_bytes!(
    /// Random bytes that make each signed status question its own.
    StatusNonce,
    32
);
public_bytes!(
    /// A 256-bit digest.
    DigestBytes,
    32
);
public_bytes!(
    /// What the core must get back with the second message: its own sealed notes about the first.
    /// Opaque to everybody else.
    Ticket,
    384
);
public_bytes!(
    /// The core's sealed word that this session's password was right. Opaque to everybody else; it
    /// holds until the next proven password or generation.
    SessionProof,
    104
);
public_bytes!(
    /// The backup key, wrapped on the device under OPAQUE's export key. See
    /// [`release`](crate::release).
    WrappedKey,
    72
);

macro_rules! number {
    ($(#[$meta:meta])* $name:ident, $int:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] $int);

        impl $name {
            /// Takes the number as it is.
            #[must_use]
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn number(self) -> $int {
                self.0
            }

            /// The number after this one, unless there is none.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// One registration of a record; a new password is a new generation. Never falls, also over a
    /// delete. Zero: nothing was ever registered.
    Generation,
    u64
);
number!(
    /// The life of an account's record between two fresh starts, and how many there were. Zero:
    /// nothing was ever registered.
    Line,
    u32
);
number!(
    /// A guess's number within the account; the first is 1. Never falls and never repeats.
    AttemptNumber,
    u64
);
number!(
    /// Rises by one with every change that was signed by a device or proven by the password, so
    /// that none can be replayed.
    ChangeNumber,
    u64
);
number!(
    /// Seconds since 1970 *as the host says*. No safety rests on it.
    HostTime,
    u64
);

/// Whom a record belongs to, as the identity provider names them: 1 to 255 bytes of UTF-8 without
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Box<str>);

/// Why a text is not an account's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// It is empty.
    #[error("an account's name has at least one character")]
    Empty,
    /// It is longer than 255 bytes.
    #[error("an account's name has at most 255 bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It holds a control character.
    #[error("an account's name holds no control characters")]
    ControlCharacter,
}

impl AccountName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Reads a name.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn parse(name: &str) -> Result<Self, AccountError> {
        if name.is_empty() {
            return Err(AccountError::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(AccountError::TooLong { bytes: name.len() });
        }
        if name.chars().any(char::is_control) {
            return Err(AccountError::ControlCharacter);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LeafIndex {
    /// The leaf of an account in a fleet: BLAKE3 in its key-derivation mode over the fleet's id
    /// and the account's name. The id has one length, so the two cannot run into each other.
    #[must_use]
    pub fn of(fleet: &FleetId, account: &AccountName) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault leaf index");
        hasher.update(fleet.as_bytes());
        hasher.update(account.as_str().as_bytes());
        Self::new(*hasher.finalize().as_bytes())
    }
}
