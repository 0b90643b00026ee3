//! Captures, and when they make a commit.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Entry, GroupId, Index, LogError, Mac, Term, VERSION, fixed};
use crate::membership::Member;
use crate::policy::Quorum;
use crate::secrets::LogKey;
use crate::withheld::Committed;

const CAPTURE_DOMAIN: &[u8] = b"keyhaven v2 log capture\0";

/// How many bytes a capture has.
pub const CAPTURE_BYTES: usize = 1 + 16 + 8 + 8 + Member::BYTES + 2 * Mac::BYTES;

/// A core's word that it has captured an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    group: GroupId,
    term: Term,
    index: Index,
    member: Member,
    /// The entry's, which stands for its membership, its root and all before it.
    entry: Mac,
    mac: Mac,
}

impl Capture {
    pub(crate) fn make(key: &LogKey, member: Member, entry: &Entry) -> Self {
        let mut capture = Self {
            group: entry.group(),
            term: entry.term(),
            index: entry.index(),
            member,
            entry: entry.mac(),
            mac: Mac::NONE,
        };
        capture.mac = Mac::compute(key, CAPTURE_DOMAIN, &capture.body());
        capture
    }

    /// The term of the captured entry.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// The index of the captured entry.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.index
    }

    /// Which core captured it.
    #[must_use]
    pub const fn member(&self) -> Member {
        self.member
    }

    /// Its bytes: version 1, group 16, term 8, index 8, member 16, the entry's MAC 32, MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; CAPTURE_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
    }

    /// Reads a capture. Its MAC is checked when it is counted.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (version, bytes) = bytes.split_first()?;
            let (group, bytes) = bytes.split_first_chunk()?;
            let (term, bytes) = bytes.split_first_chunk()?;
            let (index, bytes) = bytes.split_first_chunk()?;
            let (member, bytes) = bytes.split_first_chunk()?;
            let (entry, mac) = bytes.split_first_chunk()?;
            let capture = Self {
                group: GroupId::new(*group),
                term: Term::new(u64::from_be_bytes(*term)),
                index: Index::new(u64::from_be_bytes(*index)),
                member: Member::from_bytes(*member),
                entry: Mac(*entry),
                mac: Mac(mac.try_into().ok()?),
            };
            (*version == VERSION).then_some(capture)
        };
        read().ok_or(LogError::Malformed)
    }

    fn is_of(&self, key: &LogKey, entry: &Entry) -> bool {
        self.group == entry.group()
            && self.term == entry.term()
            && self.index == entry.index()
            && self.entry == entry.mac()
            && Mac::compute(key, CAPTURE_DOMAIN, &self.body()) == self.mac
    }

    fn body(&self) -> Vec<u8> {
        [
            [VERSION].as_slice(),
            self.group.as_bytes(),
            &self.term.number().to_be_bytes(),
            &self.index.number().to_be_bytes(),
            self.member.as_bytes(),
            &self.entry.0,
        ]
        .concat()
    }
}

/// A count of the cores that captured one entry.
pub(crate) struct Tally {
    is_quorum: bool,
}

impl Tally {
    /// Counts captures of `entry`: each member once, and only statements that verify and name the
    /// MAC that this core made itself.
    pub(crate) fn count(key: &LogKey, entry: &Entry, quorum: Quorum, captures: &[Capture]) -> Self {
        let members: BTreeSet<Member> = captures
            .iter()
            .filter(|capture| capture.is_of(key, entry))
            .map(|capture| capture.member)
            .collect();
        Self {
            is_quorum: entry.membership().is_quorum(&members, quorum),
        }
    }

    /// The evidence that the entry is committed, when a quorum captured it.
    pub(crate) fn committed(&self) -> Option<Committed> {
        self.is_quorum.then(|| Committed::by_quorum(self))
    }
}

#[cfg(test)]
impl Capture {
    /// Makes it a statement that no core made.
    pub(super) fn forge(&mut self) {
        self.mac = Mac::NONE;
    }
}
