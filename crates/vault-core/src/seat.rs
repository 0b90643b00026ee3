//! A core's seat in its group: whom it follows, and what it proposes when it leads.
//!
//! ```text
//!              call, and a quorum of reports to it
//!   Witness ───────────── Candidate ─────────────▶ Leader ── propose, capture, commit ──▶ …
//!      ▲                                              │
//!      └── promises a later term, captures a later leader's entry, is told to step down ──┘
//!          (its withheld answers are destroyed)
//! ```
//!
//! A leader has at most one entry under way. Within its term it never takes one back: two entries
//! of one term and index could each be captured by somebody, and a later leader could not tell
//! which of them was committed. Who must give an entry up steps down, and stands again.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use keyhaven_secrets::Entropy;

use crate::core::{Answer, CoreError};
use crate::log::{Call, Capture, Entry, Head, LogError, Memory, Place, Report, Tally, Term, elect};
use crate::membership::{Member, Membership, MembershipError};
use crate::secrets::FleetSecrets;
use crate::tree::Digest;
use crate::trusted::{Kept, NotKept, TrustedMemory};
use crate::withheld::Withheld;

pub(crate) struct Seat {
    memory: Kept,
    part: Part,
}

enum Part {
    /// Captures what a leader proposes.
    Witness,
    /// Has called for reports.
    Candidate(Call),
    Leader(Box<Leader>),
}

struct Leader {
    term: Term,
    /// What its next entry stands on.
    base: Head,
    /// The members after the next entry.
    membership: Membership,
    tip: Option<Proposal>,
}

/// An entry that was made and is not committed.
struct Proposal {
    entry: Entry,
    answers: Vec<Withheld<Answer>>,
}

/// What a core does in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It captures what the leader proposes.
    Witness,
    /// It has called for reports.
    Candidate {
        /// For this term.
        term: Term,
    },
    /// It executes batches.
    Leader {
        /// In this term.
        term: Term,
    },
}

impl Seat {
    /// A core that wakes up with this memory: it leads nothing.
    pub(crate) const fn resume(memory: Kept) -> Self {
        Self {
            memory,
            part: Part::Witness,
        }
    }

    /// The founder of a group: it leads the first term, from the genesis entry. Nobody else can be
    /// elected for that term, for the founder has promised it.
    pub(crate) fn found(memory: Memory, genesis: &Entry) -> Self {
        Self {
            memory: Kept::by_host(memory),
            part: Part::Leader(Box::new(Leader {
                term: genesis.term(),
                base: Head::of(genesis),
                membership: *genesis.membership(),
                tip: None,
            })),
        }
    }

    /// See [`Core::trust`](crate::Core::trust).
    pub(crate) fn trust(&mut self, trusted: Box<dyn TrustedMemory>) -> Result<(), NotKept> {
        self.memory.trust(trusted)
    }

    /// See [`dangerous::copy`](crate::dangerous::copy).
    pub(crate) fn copy(&self) -> Self {
        let part = match &self.part {
            Part::Witness => Part::Witness,
            Part::Candidate(call) => Part::Candidate(*call),
            Part::Leader(leader) => Part::Leader(Box::new(Leader {
                tip: leader.tip.as_ref().map(|tip| Proposal {
                    entry: tip.entry,
                    answers: tip.answers.iter().map(Withheld::copy).collect(),
                }),
                ..**leader
            })),
        };
        Self {
            memory: Kept::by_host(*self.memory),
            part,
        }
    }

    /// All that tells this seat from another: its memory, its part, and what it makes of it.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut bytes = self.memory.encode().to_vec();
        match &self.part {
            Part::Witness => bytes.push(0),
            Part::Candidate(call) => {
                bytes.push(1);
                bytes.extend(call.encode());
            }
            Part::Leader(leader) => {
                bytes.push(2);
                bytes.extend(leader.term.number().to_be_bytes());
                bytes.extend(leader.base.mac().as_bytes());
                bytes.push(u8::from(leader.membership.is_changing()));
                if let Some(tip) = &leader.tip {
                    bytes.extend(tip.entry.mac().as_bytes());
                }
            }
        }
        bytes
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) const fn role(&self) -> Role {
        match &self.part {
            Part::Witness => Role::Witness,
            Part::Candidate(call) => Role::Candidate { term: call.term() },
            Part::Leader(leader) => Role::Leader { term: leader.term },
        }
    }

    /// What the next entry will stand on.
    pub(crate) const fn base(&self) -> Option<&Head> {
        match &self.part {
            Part::Leader(leader) => Some(&leader.base),
            Part::Witness | Part::Candidate(_) => None,
        }
    }

    pub(crate) const fn is_pending(&self) -> bool {
        matches!(&self.part, Part::Leader(leader) if leader.tip.is_some())
    }

    /// The base to propose on, while nothing is under way.
    pub(crate) fn ready(&self) -> Result<Head, CoreError> {
        match &self.part {
            Part::Leader(leader) => leader.rests().map(|()| leader.base),
            Part::Witness | Part::Candidate(_) => Err(CoreError::NotLeading),
        }
    }

    /// The leader, while nothing of its own is under way.
    fn idle(&mut self) -> Result<&mut Leader, CoreError> {
        match &mut self.part {
            Part::Leader(leader) => leader.rests().map(|()| &mut **leader),
            Part::Witness | Part::Candidate(_) => Err(CoreError::NotLeading),
        }
    }

    /// Calls for reports, in a term above what it has promised and above what the host has heard of.
    /// Whatever it led before is over.
    pub(crate) fn stand(
        &mut self,
        secrets: &FleetSecrets,
        above: Term,
        entropy: &mut dyn Entropy,
    ) -> Result<Call, CoreError> {
        let group = self.memory.group().ok_or(LogError::NotMember)?;
        let newest = self.memory.promised().max(above);
        let term = newest.next().ok_or(CoreError::Bound)?;
        let call = Call::make(
            secrets.log(),
            group,
            term,
            keyhaven_secrets::random(entropy),
        );
        self.part = Part::Candidate(call);
        Ok(call)
    }

    /// Promises to take nothing of an older term than the call's, and reports.
    pub(crate) fn promise(
        &mut self,
        secrets: &FleetSecrets,
        call: &Call,
    ) -> Result<Report, LogError> {
        call.verify(secrets.log())?;
        if self
            .memory
            .group()
            .is_some_and(|group| group != call.group())
        {
            return Err(LogError::OtherGroup);
        }
        let memory = self.memory.promise(secrets.log(), call.term())?;
        self.memory.set(memory)?;
        match &self.part {
            Part::Candidate(own) if own == call => {}
            Part::Witness | Part::Candidate(_) | Part::Leader(_) => self.part = Part::Witness,
        }
        let (member, head) = (self.memory.member(), self.memory.head().copied());
        Ok(Report::make(secrets.log(), *call, member, head))
    }

    /// Leads, if a quorum has promised itself to its call, itself among them.
    pub(crate) fn lead(
        &mut self,
        secrets: &FleetSecrets,
        reports: &[Report],
    ) -> Result<Head, CoreError> {
        let Part::Candidate(call) = &self.part else {
            return Err(CoreError::NotElected);
        };
        if self.memory.promised() != call.term() {
            return Err(CoreError::NotElected);
        }
        let quorum = secrets.policy().quorum;
        let elected = elect(secrets.log(), quorum, call, reports)?.ok_or(CoreError::NotElected)?;
        let base = elected.head();
        if !base.membership().has_voter(self.memory.member()) {
            return Err(LogError::NotMember.into());
        }
        self.part = Part::Leader(Box::new(Leader {
            term: call.term(),
            base,
            membership: *base.membership(),
            tip: None,
        }));
        Ok(base)
    }

    /// Builds on an entry that an earlier leader made on top of this one's base and that stands in
    /// the store, though no report knew of it. It is as good as an entry of this leader's own: what
    /// it spent is spent, and what it would have answered was never released.
    pub(crate) fn adopt(&mut self, secrets: &FleetSecrets, entry: &Entry) -> Result<(), CoreError> {
        let leader = self.idle()?;
        let base = leader.base;
        entry.verify(secrets.log())?;
        if entry.group() != base.group() {
            return Err(LogError::OtherGroup.into());
        }
        let follows = base.index().next() == Some(entry.index())
            && entry.previous() == base.mac()
            && entry.term() >= base.term();
        if !follows || entry.term() >= leader.term {
            return Err(LogError::NotNext {
                index: entry.index().number(),
                head: base.index().number(),
            }
            .into());
        }
        leader.base = Head::of(entry);
        leader.membership = *entry.membership();
        Ok(())
    }

    /// Makes the next entry. Its answers stay inside until it is committed (VAULT-2).
    pub(crate) fn propose(
        &mut self,
        secrets: &FleetSecrets,
        root: Digest,
        answers: Vec<Withheld<Answer>>,
    ) -> Result<Entry, CoreError> {
        let leader = self.idle()?;
        let membership = leader.membership;
        leader.propose(secrets, membership, root, answers)
    }

    /// Makes the entry that puts one core in another's place (VAULT-9).
    pub(crate) fn replace(
        &mut self,
        secrets: &FleetSecrets,
        go: Member,
        come: Member,
    ) -> Result<Entry, CoreError> {
        let own = self.memory.member();
        let leader = self.idle()?;
        if go == own {
            return Err(MembershipError::Leading.into());
        }
        let membership = leader.membership.replace(go, come)?;
        leader.propose(secrets, membership, leader.base.root(), Vec::new())
    }

    /// Captures an entry that its host has made durable.
    pub(crate) fn capture(
        &mut self,
        secrets: &FleetSecrets,
        entry: &Entry,
    ) -> Result<Capture, LogError> {
        let memory = self.memory.capture(secrets.log(), entry)?;
        if let Part::Leader(leader) = &self.part
            && leader.term == entry.term()
        {
            leader.made(entry)?;
        }
        self.memory.set(memory)?;
        match &self.part {
            Part::Leader(leader) if leader.term < entry.term() => self.part = Part::Witness,
            Part::Candidate(call) if call.term() <= entry.term() => self.part = Part::Witness,
            Part::Witness | Part::Candidate(_) | Part::Leader(_) => {}
        }
        Ok(Capture::make(secrets.log(), self.memory.member(), entry))
    }

    /// Commits the entry under way, if these captures make a quorum, and opens its answers.
    pub(crate) fn commit(
        &mut self,
        secrets: &FleetSecrets,
        captures: &[Capture],
    ) -> Result<Vec<Answer>, CoreError> {
        let Part::Leader(leader) = &mut self.part else {
            return Err(CoreError::NothingPending);
        };
        let proposal = leader.tip.take().ok_or(CoreError::NothingPending)?;
        let entry = proposal.entry;
        let tally = Tally::count(secrets.log(), &entry, secrets.policy().quorum, captures);
        let Some(committed) = tally.committed() else {
            leader.tip = Some(proposal);
            return Err(CoreError::NotCommitted);
        };
        leader.base = Head::of(&entry);
        leader.membership = entry.membership().settled();
        Ok(proposal
            .answers
            .into_iter()
            .map(|answer| answer.release(committed))
            .collect())
    }

    /// Leads no more; what it had not released is destroyed.
    pub(crate) fn step_down(&mut self) {
        self.part = Part::Witness;
    }
}

impl Leader {
    /// Whether nothing of its own is under way.
    fn rests(&self) -> Result<(), CoreError> {
        if self.tip.is_some() {
            return Err(CoreError::Pending);
        }
        Ok(())
    }

    /// Makes the entry on top of the base. One that cannot be made leaves all as it was: what its members
    /// would have been is known from the entry alone until it is committed.
    fn propose(
        &mut self,
        secrets: &FleetSecrets,
        membership: Membership,
        root: Digest,
        answers: Vec<Withheld<Answer>>,
    ) -> Result<Entry, CoreError> {
        let place = Place {
            group: self.base.group(),
            membership,
            term: self.term,
            index: self.base.index().next().ok_or(CoreError::Bound)?,
        };
        let entry = Entry::make(secrets.log(), place, self.base.mac(), root);
        self.tip = Some(Proposal { entry, answers });
        Ok(entry)
    }

    /// Whether an entry of this term is the one under way, or the one that was committed last. An
    /// earlier one comes too late. Any other is the work of a copy of this core, which alone makes
    /// entries of its term.
    fn made(&self, entry: &Entry) -> Result<(), LogError> {
        let index = entry.index().number();
        let tip = self.tip.as_ref().map(|tip| Head::of(&tip.entry));
        if tip == Some(Head::of(entry)) || self.base == Head::of(entry) {
            Ok(())
        } else if entry.index() < self.base.index() {
            Err(LogError::NotNext {
                index,
                head: self.base.index().number(),
            })
        } else {
            Err(LogError::Forked { index })
        }
    }
}
