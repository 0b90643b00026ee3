//! How a core comes to lead: it calls, others report and promise, and a quorum of reports elects.
//!
//! ```text
//!   candidate                          each core of the group, the candidate too
//!   Call { term, nonce } ────────────▶ promises: takes nothing of an older term from now on
//!            ◀──────────────────────── Report { term, nonce, what it captured last }
//!   a quorum of reports: leads from the furthest head among them
//! ```
//!
//! Why that is enough (VAULT-1, VAULT-8). An entry is committed by captures of a quorum. A later
//! leader has reports of a quorum. By the policy, `2q > n + f`, so the two share more than `f`
//! cores, one of which was not rolled back. It captured the entry *before* it promised the later
//! term, for afterwards it would have refused; so its report has the entry, or one that was made on
//! top of it. The furthest head among the reports is therefore on top of everything committed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{GroupId, Head, LogError, Mac, Term, VERSION, fixed};
use crate::membership::Member;
use crate::policy::Quorum;
use crate::secrets::LogKey;

const CALL_DOMAIN: &[u8] = b"keyhaven v2 log call\0";
const REPORT_DOMAIN: &[u8] = b"keyhaven v2 log report\0";

const NONCE_BYTES: usize = 16;

/// How many bytes a call has.
pub const CALL_BYTES: usize = 1 + 16 + 8 + NONCE_BYTES + Mac::BYTES;

/// How many bytes a report has.
pub const REPORT_BYTES: usize = CALL_BYTES + Member::BYTES + 1 + Head::BYTES + Mac::BYTES;

/// A candidate's call: who takes part promises to take nothing of an older term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    group: GroupId,
    term: Term,
    /// Random, so that reports of an earlier call of the same core are not taken for this one's.
    nonce: [u8; NONCE_BYTES],
    mac: Mac,
}

impl Call {
    pub(crate) fn make(key: &LogKey, group: GroupId, term: Term, nonce: [u8; NONCE_BYTES]) -> Self {
        let mut call = Self {
            group,
            term,
            nonce,
            mac: Mac::NONE,
        };
        call.mac = Mac::compute(key, CALL_DOMAIN, &call.body());
        call
    }

    /// The term that is called for.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    pub(crate) const fn group(&self) -> GroupId {
        self.group
    }

    /// Its bytes: version 1, group 16, term 8, nonce 16, MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; CALL_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
    }

    /// Reads a call. Its MAC is checked by the core that it is shown to.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        match Self::read(bytes) {
            Some((call, [])) => Ok(call),
            Some(_) | None => Err(LogError::Malformed),
        }
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (version, bytes) = bytes.split_first()?;
        let (group, bytes) = bytes.split_first_chunk()?;
        let (term, bytes) = bytes.split_first_chunk()?;
        let (nonce, bytes) = bytes.split_first_chunk()?;
        let (mac, bytes) = bytes.split_first_chunk()?;
        let call = Self {
            group: GroupId::new(*group),
            term: Term::new(u64::from_be_bytes(*term)),
            nonce: *nonce,
            mac: Mac(*mac),
        };
        (*version == VERSION).then_some((call, bytes))
    }

    pub(crate) fn verify(&self, key: &LogKey) -> Result<(), LogError> {
        self.mac.check(key, CALL_DOMAIN, &self.body())
    }

    fn body(&self) -> Vec<u8> {
        [
            [VERSION].as_slice(),
            self.group.as_bytes(),
            &self.term.number().to_be_bytes(),
            &self.nonce,
        ]
        .concat()
    }
}

/// A core's promise to a call, with what it captured last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    call: Call,
    member: Member,
    head: Option<Head>,
    mac: Mac,
}

impl Report {
    pub(crate) fn make(key: &LogKey, call: Call, member: Member, head: Option<Head>) -> Self {
        let mut report = Self {
            call,
            member,
            head,
            mac: Mac::NONE,
        };
        report.mac = Mac::compute(key, REPORT_DOMAIN, &report.body());
        report
    }

    /// The term that was promised.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.call.term
    }

    /// Which core reports.
    #[must_use]
    pub const fn member(&self) -> Member {
        self.member
    }

    /// Its bytes: the call 73, member 16, whether there is a head 1, the head 328, MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; REPORT_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
    }

    /// Reads a report. Its MAC is checked by the candidate.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (call, bytes) = Call::read(bytes)?;
            let (member, bytes) = bytes.split_first_chunk()?;
            let (head, mac) = Head::decode_optional(bytes)?;
            Some(Self {
                call,
                member: Member::from_bytes(*member),
                head,
                mac: Mac(mac.try_into().ok()?),
            })
        };
        read().ok_or(LogError::Malformed)
    }

    fn answers(&self, key: &LogKey, call: &Call) -> bool {
        self.call == *call && Mac::compute(key, REPORT_DOMAIN, &self.body()) == self.mac
    }

    fn body(&self) -> Vec<u8> {
        [
            self.call.encode().as_slice(),
            self.member.as_bytes(),
            &Head::encode_optional(self.head.as_ref()),
        ]
        .concat()
    }
}

/// Evidence that a quorum promised itself to a call. A leader's log goes on from its head.
pub(crate) struct Elected {
    head: Head,
}

impl Elected {
    /// The furthest head that was reported: on top of everything that was ever committed.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }
}

/// Counts reports to a call: each member once, and only those that verify and answer this very
/// call. Nothing while they are not a quorum of the furthest head's membership (VAULT-9).
///
/// # Errors
/// [`LogError::Forked`] when two reports speak of different entries in one place.
pub(crate) fn elect(
    key: &LogKey,
    quorum: Quorum,
    call: &Call,
    reports: &[Report],
) -> Result<Option<Elected>, LogError> {
    let mut heads: BTreeMap<_, Head> = BTreeMap::new();
    let mut members = BTreeSet::new();
    for report in reports.iter().filter(|report| report.answers(key, call)) {
        members.insert(report.member);
        let Some(head) = report.head else { continue };
        if heads
            .insert(head.reach(), head)
            .is_some_and(|other| other != head)
        {
            return Err(LogError::Forked {
                index: head.index().number(),
            });
        }
    }
    Ok(heads
        .into_values()
        .next_back()
        .filter(|head| head.membership().is_quorum(&members, quorum))
        .map(|head| Elected { head }))
}
