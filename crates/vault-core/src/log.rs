//! The authenticated log: what cores say to each other, and what each remembers.
//!
//! Every entry names the group, its membership, term and index, the MAC of the entry before it and
//! the root of the tree after it, under a MAC with the fleet's log key (VAULT-8). A core's memory
//! is its name, the newest term that it promised itself to, and the last entry that it captured.
//! Everything here has one fixed length; all numbers are big-endian.

mod capture;
mod election;
mod entry;
mod memory;
#[cfg(test)]
mod tests;
mod transfer;

use hmac::{Hmac, KeyInit as _, Mac as _};
use keyhaven_secrets::Entropy;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

pub(crate) use self::capture::Tally;
pub use self::capture::{CAPTURE_BYTES, Capture};
pub(crate) use self::election::elect;
pub use self::election::{CALL_BYTES, Call, REPORT_BYTES, Report};
pub(crate) use self::entry::Place;
pub use self::entry::{ENTRY_BYTES, Entry, Head};
pub use self::memory::{MEMORY_BYTES, Memory};
pub use self::transfer::{TRANSFER_BYTES, Transfer, WISH_BYTES, Wish};
use crate::secrets::LogKey;
use crate::trusted::NotKept;

const VERSION: u8 = 2;

macro_rules! log_number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The one with this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn number(self) -> u64 {
                self.0
            }

            /// The one after this, unless there is none.
            pub(crate) fn next(self) -> Option<Self> {
                self.0.checked_add(1).map(Self)
            }
        }
    };
}

log_number!(
    /// A leader's number. Each has one leader at most.
    Term
);
log_number!(
    /// An entry's place in the log. The genesis entry is 0.
    Index
);

/// A group's name: random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupId([u8; 16]);

impl GroupId {
    pub(crate) fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(keyhaven_secrets::random(entropy))
    }

    pub(crate) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The MAC of an entry or a statement. Compared in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Mac([u8; 32]);

impl Mac {
    /// How many bytes a MAC has.
    pub const BYTES: usize = 32;
    const NONE: Self = Self([0; Self::BYTES]);

    /// Takes a MAC's bytes, to name an entry by. What they vouch for is checked where it is believed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn compute(key: &LogKey, domain: &[u8], body: &[u8]) -> Self {
        let bytes = match Hmac::<Sha256>::new_from_slice(key.expose()) {
            Ok(mut mac) => {
                mac.update(domain);
                mac.update(body);
                mac.finalize().into_bytes().into()
            }
            // HMAC takes keys of every length: this arm is never reached, and would match nothing.
            Err(_) => [0; 32],
        };
        Self(bytes)
    }

    /// VAULT-8: whether a core of this fleet made it, over these bytes.
    fn check(&self, key: &LogKey, domain: &[u8], body: &[u8]) -> Result<(), LogError> {
        if Self::compute(key, domain, body) == *self {
            Ok(())
        } else {
            Err(LogError::BadMac)
        }
    }
}

impl PartialEq for Mac {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Mac {}

/// Bytes of one fixed length from parts that add up to it.
fn fixed<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    for (slot, byte) in bytes.iter_mut().zip(parts.iter().copied().flatten()) {
        *slot = *byte;
    }
    bytes
}

/// Why an entry, a statement or a memory was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Not the one length of its kind, or a version that this core does not know.
    #[error("the bytes are not of this kind")]
    Malformed,
    /// The MAC does not verify: not made by this fleet's cores, or damaged.
    #[error("the MAC does not verify")]
    BadMac,
    /// Of another group.
    #[error("of another group")]
    OtherGroup,
    /// This core is not one of the group's: not admitted yet, or replaced.
    #[error("this core is not a member of the group")]
    NotMember,
    /// This core has promised to take nothing of so old a term (VAULT-2).
    #[error("of term {term}, and this core has promised itself to term {promised}")]
    OldTerm {
        /// The term of what was shown.
        term: u64,
        /// The term promised.
        promised: u64,
    },
    /// Does not follow what this core captured last: a fork, or an older state (VAULT-4).
    #[error("entry {index} does not follow entry {head}, which this core captured last")]
    NotNext {
        /// The entry's index.
        index: u64,
        /// The index captured last.
        head: u64,
    },
    /// Two different entries of one term and index: a core's memory was copied. The group must not
    /// go on (secrecy before liveness).
    #[error("two different entries {index} of one term: the memory of a core was copied")]
    Forked {
        /// Their index.
        index: u64,
    },
    /// The core's trusted memory failed: nothing was said, and nothing is remembered.
    #[error(transparent)]
    NotKept(#[from] NotKept),
}
