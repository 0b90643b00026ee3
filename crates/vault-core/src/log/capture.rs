//! Captures, and when they make a commit.

use std::collections::BTreeSet;

use super::{Entry, Index, Mac, Member, Place};
use crate::secrets::LogKey;
use crate::withheld::Committed;

const CAPTURE_DOMAIN: &[u8] = b"keyhaven v1 log capture\0";

/// A core's word that it has captured an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    place: Place,
    member: Member,
    entry: Mac,
    mac: Mac,
}

impl Capture {
    pub(crate) fn make(key: &LogKey, member: Member, entry: &Entry) -> Self {
        let mut capture = Self {
            place: entry.place,
            member,
            entry: entry.mac,
            mac: Mac([0; 32]),
        };
        capture.mac = Mac::compute(key, CAPTURE_DOMAIN, &capture.body());
        capture
    }

    /// The index of the captured entry.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.place.index
    }

    /// Which core captured it.
    #[must_use]
    pub const fn member(&self) -> Member {
        self.member
    }

    fn body(&self) -> Vec<u8> {
        [
            self.place.encode().as_slice(),
            &self.member.number().to_be_bytes(),
            &self.entry.0,
        ]
        .concat()
    }
}

/// A count of the cores that captured one entry.
pub(crate) struct Tally {
    members: BTreeSet<Member>,
    quorum: u8,
}

impl Tally {
    /// Counts captures of `entry`: each member once, and only statements that verify and name the
    /// MAC that this core made itself.
    pub(crate) fn count(key: &LogKey, entry: &Entry, quorum: u8, captures: &[Capture]) -> Self {
        let members = captures
            .iter()
            .filter(|capture| {
                capture.place == entry.place
                    && capture.entry == entry.mac
                    && Mac::compute(key, CAPTURE_DOMAIN, &capture.body()) == capture.mac
            })
            .map(|capture| capture.member)
            .collect();
        Self { members, quorum }
    }

    /// The evidence that the entry is committed, when a quorum captured it.
    pub(crate) fn committed(&self) -> Option<Committed> {
        (self.members.len() >= usize::from(self.quorum)).then(|| Committed::by_quorum(self))
    }
}

#[cfg(test)]
impl Capture {
    /// Makes it a statement that no core made.
    pub(super) fn forge(&mut self) {
        self.mac = Mac([0; 32]);
    }
}
