//! What a core remembers.

use alloc::vec::Vec;

use super::{Entry, GroupId, Head, LogError, Mac, Term, VERSION, fixed};
use crate::membership::Member;
use crate::secrets::LogKey;

const MEMORY_DOMAIN: &[u8] = b"keyhaven v2 core memory\0";

/// How many bytes a core's memory has, for any number of accounts (VAULT-10).
pub const MEMORY_BYTES: usize = 1 + Member::BYTES + 8 + 1 + Head::BYTES + Mac::BYTES;

/// What a core remembers: its name, the term that it promised itself to, and the last entry that it
/// captured, if any.
///
/// On one machine it is a file, which a backup of the machine can roll back: a weaker keeping than
/// an HSM's, and the documents say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    member: Member,
    promised: Term,
    head: Option<Head>,
    mac: Mac,
}

impl Memory {
    /// Of a core that has captured nothing yet.
    pub(crate) fn blank(key: &LogKey, member: Member) -> Self {
        Self::make(key, member, Term::new(0), None)
    }

    fn make(key: &LogKey, member: Member, promised: Term, head: Option<Head>) -> Self {
        let mut memory = Self {
            member,
            promised,
            head,
            mac: Mac::NONE,
        };
        memory.mac = Mac::compute(key, MEMORY_DOMAIN, &memory.body());
        memory
    }

    /// The core's name.
    #[must_use]
    pub const fn member(&self) -> Member {
        self.member
    }

    /// The newest term that it promised itself to.
    #[must_use]
    pub const fn promised(&self) -> Term {
        self.promised
    }

    /// What it captured last.
    #[must_use]
    pub const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(crate) fn group(&self) -> Option<GroupId> {
        self.head.map(|head| head.place.group)
    }

    /// How far it is: the promise, then the head. It only ever grows.
    #[must_use]
    pub fn reach(&self) -> (Term, Option<(Term, super::Index)>) {
        (self.promised, self.head.map(|head| head.reach()))
    }

    /// Its bytes: version 1, name 16, promised term 8, whether there is a head 1, the head 328 (an
    /// entry's first 264 bytes, its MAC, its root), MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; MEMORY_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
    }

    /// Reads a memory. Its MAC is not checked yet: [`Core::resume`](crate::Core::resume) does that.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (version, bytes) = bytes.split_first()?;
            let (member, bytes) = bytes.split_first_chunk()?;
            let (promised, bytes) = bytes.split_first_chunk()?;
            let (head, mac) = Head::decode_optional(bytes)?;
            let memory = Self {
                member: Member::from_bytes(*member),
                promised: Term::new(u64::from_be_bytes(*promised)),
                head,
                mac: Mac(mac.try_into().ok()?),
            };
            (*version == VERSION).then_some(memory)
        };
        read().ok_or(LogError::Malformed)
    }

    pub(crate) fn verify(&self, key: &LogKey) -> Result<(), LogError> {
        self.mac.check(key, MEMORY_DOMAIN, &self.body())
    }

    /// The memory after a promise to take nothing of an older term than this. Each term is promised
    /// to one leader only, so the term must be a newer one.
    pub(crate) fn promise(&self, key: &LogKey, term: Term) -> Result<Self, LogError> {
        if term <= self.promised {
            return Err(LogError::OldTerm {
                term: term.number(),
                promised: self.promised.number(),
            });
        }
        Ok(Self::make(key, self.member, term, self.head))
    }

    /// The memory after an entry was captured.
    ///
    /// The entry may lie further on than the next: the leader of its term knew everything that was
    /// committed before, so its word stands for all between. What a core never does is go back
    /// (VAULT-4): to an older term than it promised, to an older place, or to another entry of the
    /// same place (VAULT-8).
    pub(crate) fn capture(&self, key: &LogKey, entry: &Entry) -> Result<Self, LogError> {
        entry.verify(key)?;
        if self.group().is_some_and(|group| group != entry.group()) {
            return Err(LogError::OtherGroup);
        }
        if !entry.membership().has_voter(self.member) {
            return Err(LogError::NotMember);
        }
        if entry.term() < self.promised {
            return Err(LogError::OldTerm {
                term: entry.term().number(),
                promised: self.promised.number(),
            });
        }
        let next = Head::of(entry);
        if let Some(head) = &self.head {
            if next == *head {
                return Ok(*self);
            }
            if next.reach() < head.reach() {
                return Err(LogError::NotNext {
                    index: entry.index().number(),
                    head: head.index().number(),
                });
            }
            let same_leader = next.term() == head.term();
            let follows = head.index().next() == Some(entry.index());
            if next.reach() == head.reach()
                || (same_leader && follows && entry.previous() != head.mac)
            {
                return Err(LogError::Forked {
                    index: entry.index().number(),
                });
            }
        }
        Ok(Self::make(key, self.member, entry.term(), Some(next)))
    }

    fn body(&self) -> Vec<u8> {
        [
            [VERSION].as_slice(),
            self.member.as_bytes(),
            &self.promised.number().to_be_bytes(),
            &Head::encode_optional(self.head.as_ref()),
        ]
        .concat()
    }
}
