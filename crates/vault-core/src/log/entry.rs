//! Entries: the steps of the log.

use alloc::vec;
use alloc::vec::Vec;

use super::{GroupId, Index, LogError, Mac, Term, VERSION, fixed};
use crate::membership::Membership;
use crate::secrets::LogKey;
use crate::tree::Digest;

const ENTRY_DOMAIN: &[u8] = b"keyhaven v2 log entry\0";

/// How many bytes an entry has.
pub const ENTRY_BYTES: usize = Place::BYTES + 2 * Mac::BYTES + 32;

/// Where a log stands after an entry: what entries, captures and memories are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: GroupId,
    pub(crate) membership: Membership,
    pub(crate) term: Term,
    pub(crate) index: Index,
}

impl Place {
    pub(crate) const BYTES: usize = 1 + 16 + Membership::BYTES + 8 + 8;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.push(VERSION);
        bytes.extend(self.group.as_bytes());
        self.membership.encode(&mut bytes);
        bytes.extend(self.term.number().to_be_bytes());
        bytes.extend(self.index.number().to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (version, bytes) = bytes.split_first()?;
        let (group, bytes) = bytes.split_first_chunk()?;
        let (membership, bytes) = bytes.split_first_chunk()?;
        let (term, bytes) = bytes.split_first_chunk()?;
        let (index, bytes) = bytes.split_first_chunk()?;
        let place = Self {
            group: GroupId::new(*group),
            membership: Membership::decode(membership)?,
            term: Term::new(u64::from_be_bytes(*term)),
            index: Index::new(u64::from_be_bytes(*index)),
        };
        (*version == VERSION).then_some((place, bytes))
    }
}

/// One step of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) place: Place,
    previous: Mac,
    root: Digest,
    mac: Mac,
}

impl Entry {
    /// Entry 0: nothing stands before it.
    pub(crate) fn genesis(key: &LogKey, place: Place, root: Digest) -> Self {
        Self::make(key, place, Mac::NONE, root)
    }

    pub(crate) fn make(key: &LogKey, place: Place, previous: Mac, root: Digest) -> Self {
        let mut entry = Self {
            place,
            previous,
            root,
            mac: Mac::NONE,
        };
        entry.mac = Mac::compute(key, ENTRY_DOMAIN, &entry.body());
        entry
    }

    /// The group it belongs to.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.place.group
    }

    /// Who may capture it, and what a quorum of it is.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.place.membership
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

    /// Its bytes: version 1, group 16, membership 231, term 8, index 8, previous MAC 32, root 32,
    /// MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
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
        self.mac.check(key, ENTRY_DOMAIN, &self.body())
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

/// The end of a log: what its last entry says, without what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub(crate) place: Place,
    pub(crate) mac: Mac,
    pub(crate) root: Digest,
}

impl Head {
    pub(crate) const BYTES: usize = Place::BYTES + Mac::BYTES + 32;

    pub(crate) const fn of(entry: &Entry) -> Self {
        Self {
            place: entry.place,
            mac: entry.mac,
            root: entry.root,
        }
    }

    /// The term of the last entry.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.place.term
    }

    /// The index of the last entry.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.place.index
    }

    /// The MAC of the last entry.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The tree's root.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.place.group
    }

    /// The group's members after the last entry.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.place.membership
    }

    /// How far this log is: a later term's is further, whatever the index. The leader of a term
    /// knows everything that was committed before it, so its entries stand for all of that.
    #[must_use]
    pub const fn reach(&self) -> (Term, Index) {
        (self.place.term, self.place.index)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [
            self.place.encode().as_slice(),
            &self.mac.0,
            self.root.as_bytes(),
        ]
        .concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (place, bytes) = Place::decode(bytes)?;
        let (mac, bytes) = bytes.split_first_chunk()?;
        let (root, bytes) = bytes.split_first_chunk()?;
        let head = Self {
            place,
            mac: Mac(*mac),
            root: Digest::new(*root),
        };
        Some((head, bytes))
    }

    /// A head, or that there is none yet: one byte, and the head or as many zeros.
    pub(super) fn encode_optional(head: Option<&Self>) -> Vec<u8> {
        match head {
            Some(head) => [[1].as_slice(), &head.encode()].concat(),
            None => vec![0; 1 + Self::BYTES],
        }
    }

    pub(super) fn decode_optional(bytes: &[u8]) -> Option<(Option<Self>, &[u8])> {
        let (there, bytes) = bytes.split_first()?;
        match there {
            0 => {
                let (none, bytes) = bytes.split_at_checked(Self::BYTES)?;
                none.iter().all(|byte| *byte == 0).then_some((None, bytes))
            }
            1 => Self::decode(bytes).map(|(head, bytes)| (Some(head), bytes)),
            _ => None,
        }
    }
}
