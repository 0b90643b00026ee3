//! The authenticated log: entries, captures, and the memory that a core keeps.
//!
//! Every entry names the group, configuration, term and index, the MAC of the entry before it and
//! the root of the tree after it, under a MAC with the fleet's log key (VAULT-8). A core's memory
//! is the last entry that it captured. Everything here has one fixed length; all numbers are
//! big-endian.

mod capture;
#[cfg(test)]
mod tests;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

pub use self::capture::Capture;
pub(crate) use self::capture::Tally;
use crate::secrets::LogKey;
use crate::tree::Digest;

const ENTRY_DOMAIN: &[u8] = b"keyhaven v1 log entry\0";
const MEMORY_DOMAIN: &[u8] = b"keyhaven v1 core memory\0";
const VERSION: u8 = 1;

/// How many bytes an entry has.
pub const ENTRY_BYTES: usize = 133;
/// How many bytes a core's memory has, for any number of accounts (VAULT-10).
pub const MEMORY_BYTES: usize = 133;

macro_rules! log_number {
    ($(#[$meta:meta])* $name:ident, $int:ty) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            pub(crate) const fn new(number: $int) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn number(self) -> $int {
                self.0
            }
        }
    };
}

log_number!(
    /// Which membership of the group.
    Configuration,
    u32
);
log_number!(
    /// A leader's number.
    Term,
    u64
);
log_number!(
    /// An entry's place in the log. The genesis entry is 0.
    Index,
    u64
);
log_number!(
    /// A core's number within its group.
    Member,
    u32
);

/// A group's name: random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupId([u8; 16]);

impl GroupId {
    pub(crate) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The MAC of an entry, a capture or a memory. Compared in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Mac([u8; 32]);

impl Mac {
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
}

impl PartialEq for Mac {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Mac {}

/// Why an entry, a capture or a memory was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Not the one length of its kind, or a version that this core does not know.
    #[error("the bytes are not of this kind")]
    Malformed,
    /// The MAC does not verify: not made by this fleet's cores, or damaged.
    #[error("the MAC does not verify")]
    BadMac,
    /// Of another group or configuration.
    #[error("of another group or configuration")]
    OtherGroup,
    /// Does not follow what this core captured last: a gap, a fork, or an older state (VAULT-4).
    #[error("entry {index} does not follow entry {head}, which this core captured last")]
    NotNext {
        /// The entry's index.
        index: u64,
        /// The index captured last.
        head: u64,
    },
}

/// Where a log stands after an entry: what entries, captures and memories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: GroupId,
    pub(crate) configuration: Configuration,
    pub(crate) term: Term,
    pub(crate) index: Index,
}

impl Place {
    fn encode(&self) -> Vec<u8> {
        [
            [VERSION].as_slice(),
            self.group.as_bytes(),
            &self.configuration.number().to_be_bytes(),
            &self.term.number().to_be_bytes(),
            &self.index.number().to_be_bytes(),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (version, bytes) = bytes.split_first()?;
        let (group, bytes) = bytes.split_first_chunk()?;
        let (configuration, bytes) = bytes.split_first_chunk()?;
        let (term, bytes) = bytes.split_first_chunk()?;
        let (index, bytes) = bytes.split_first_chunk()?;
        let place = Self {
            group: GroupId(*group),
            configuration: Configuration(u32::from_be_bytes(*configuration)),
            term: Term(u64::from_be_bytes(*term)),
            index: Index(u64::from_be_bytes(*index)),
        };
        (*version == VERSION).then_some((place, bytes))
    }
}

/// One step of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    place: Place,
    previous: Mac,
    root: Digest,
    mac: Mac,
}

impl Index {
    /// The index after this one, unless there is none.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl Entry {
    /// Entry 0: nothing stands before it.
    pub(crate) fn genesis(key: &LogKey, place: Place, root: Digest) -> Self {
        Self::make(key, place, Mac([0; 32]), root)
    }

    pub(crate) fn make(key: &LogKey, place: Place, previous: Mac, root: Digest) -> Self {
        let mut entry = Self {
            place,
            previous,
            root,
            mac: Mac([0; 32]),
        };
        entry.mac = Mac::compute(key, ENTRY_DOMAIN, &entry.body());
        entry
    }

    /// The group it belongs to.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.place.group
    }

    /// The group's membership that it was made under.
    #[must_use]
    pub const fn configuration(&self) -> Configuration {
        self.place.configuration
    }

    /// The leader's term.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.place.term
    }

    /// Its place in the log.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.place.index
    }

    /// The MAC of the entry before it; zeros for the genesis entry.
    #[must_use]
    pub const fn previous(&self) -> Mac {
        self.previous
    }

    /// The tree's root after it.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// Its MAC.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Its bytes: version 1, group 16, configuration 4, term 8, index 8, previous MAC 32, root 32,
    /// MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let all = self.body().into_iter().chain(self.mac.0);
        for (slot, byte) in bytes.iter_mut().zip(all) {
            *slot = byte;
        }
        bytes
    }

    /// Reads an entry. Its MAC is not checked yet: a core does that.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (place, bytes) = Place::decode(bytes)?;
            let (previous, bytes) = bytes.split_first_chunk()?;
            let (root, mac) = bytes.split_first_chunk()?;
            Some(Self {
                place,
                previous: Mac(*previous),
                root: Digest::new(*root),
                mac: Mac(mac.try_into().ok()?),
            })
        };
        read().ok_or(LogError::Malformed)
    }

    pub(crate) fn verify(&self, key: &LogKey) -> Result<(), LogError> {
        if Mac::compute(key, ENTRY_DOMAIN, &self.body()) == self.mac {
            Ok(())
        } else {
            Err(LogError::BadMac)
        }
    }

    fn body(&self) -> Vec<u8> {
        [
            self.place.encode().as_slice(),
            &self.previous.0,
            self.root.as_bytes(),
        ]
        .concat()
    }
}

/// What a core remembers: the last entry that it captured.
///
/// On one machine it is a file, which a backup of the machine can roll back: a weaker keeping than
/// an HSM's, and the documents say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub(crate) place: Place,
    pub(crate) head: Mac,
    pub(crate) root: Digest,
    mac: Mac,
}

impl Memory {
    pub(crate) fn of(key: &LogKey, entry: &Entry) -> Self {
        let mut memory = Self {
            place: entry.place,
            head: entry.mac,
            root: entry.root,
            mac: Mac([0; 32]),
        };
        memory.mac = Mac::compute(key, MEMORY_DOMAIN, &memory.body());
        memory
    }

    /// The index of the entry that was captured last.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.place.index
    }

    /// The MAC of that entry.
    #[must_use]
    pub const fn head(&self) -> Mac {
        self.head
    }

    /// The tree's root after that entry.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// Its bytes: version 1, group 16, configuration 4, term 8, index 8, entry MAC 32, root 32,
    /// MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; MEMORY_BYTES] {
        let mut bytes = [0; MEMORY_BYTES];
        let all = self.body().into_iter().chain(self.mac.0);
        for (slot, byte) in bytes.iter_mut().zip(all) {
            *slot = byte;
        }
        bytes
    }

    /// Reads a memory. Its MAC is not checked yet: [`Core::resume`](crate::Core::resume) does that.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (place, bytes) = Place::decode(bytes)?;
            let (head, bytes) = bytes.split_first_chunk()?;
            let (root, mac) = bytes.split_first_chunk()?;
            Some(Self {
                place,
                head: Mac(*head),
                root: Digest::new(*root),
                mac: Mac(mac.try_into().ok()?),
            })
        };
        read().ok_or(LogError::Malformed)
    }

    pub(crate) fn verify(&self, key: &LogKey) -> Result<(), LogError> {
        if Mac::compute(key, MEMORY_DOMAIN, &self.body()) == self.mac {
            Ok(())
        } else {
            Err(LogError::BadMac)
        }
    }

    /// The memory after an entry, if the entry is the next one: made by this fleet, of this group,
    /// one further, chained to the last. A core captures once per index and term, and never goes
    /// back (VAULT-4, VAULT-8).
    pub(crate) fn advance(&self, key: &LogKey, entry: &Entry) -> Result<Self, LogError> {
        entry.verify(key)?;
        if entry.place.group != self.place.group
            || entry.place.configuration != self.place.configuration
        {
            return Err(LogError::OtherGroup);
        }
        let next = self.place.index.0.checked_add(1) == Some(entry.place.index.0);
        if !next || entry.place.term < self.place.term || entry.previous != self.head {
            return Err(LogError::NotNext {
                index: entry.place.index.0,
                head: self.place.index.0,
            });
        }
        Ok(Self::of(key, entry))
    }

    fn body(&self) -> Vec<u8> {
        [
            self.place.encode().as_slice(),
            &self.head.0,
            self.root.as_bytes(),
        ]
        .concat()
    }
}
