//! Leading: batch by batch, append, capture, release.

use std::collections::VecDeque;
use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, BATCH_MAX, Capture, CoreError, Entry, Executed, Member, RangeStep, Role, Term, Touch,
};
use keyhaven_wire::message::HostTime;

use crate::host::{Host, Stage, Standing};
use crate::mend::Mend;
use crate::message::{Answered, Append, Ask, Effect, Message, Prove, Proved};
use crate::record::{Puts, Record};

/// After how many ticks without a quorum of captures a record is sent once more.
const SENT_AGAIN: u32 = 3;
/// A record that carries more than this, of entries that were left over, takes one request of a batch
/// and not all: so it keeps within the bound of records, however many leaders died before.
const CARRIED_BYTES: usize = 16 * 1024 * 1024;
/// The same for the nodes and leaves that it carries.
const CARRIED_PUTS: usize = 16 * 1024;

/// What a leader has under way.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(crate) term: Term,
    pub(crate) doing: Doing,
    pub(crate) work: Option<Work>,
    /// Entries of which nobody knows whether they are committed, and what they changed: the next
    /// record carries them.
    pub(crate) carried: Record,
}

#[derive(Debug)]
pub(crate) enum Doing {
    /// Brings the store to where the cores are.
    Mend(Box<Mend>),
    /// The store stands at this entry, and so does the core.
    Ready(Entry),
    /// Has asked for a proof.
    Prove(Entry),
    /// Has asked the store to append this.
    Append(Entry, Puts),
    /// Has shown the record, and gathers captures of its last entry.
    Gather {
        record: Arc<Record>,
        entry: Entry,
        captures: Vec<Capture>,
        ticks: u32,
    },
}

/// Work on its way.
#[derive(Debug)]
pub(crate) struct Work {
    /// How many answers are due.
    count: usize,
    /// What is left, in the parts in which it is executed: a batch all together, or one by one where
    /// the store is damaged.
    parts: VecDeque<Part>,
    answers: Vec<Answered>,
}

/// What makes one entry.
#[derive(Clone, Debug)]
enum Part {
    Batch(Vec<Touch>, HostTime),
    Range(RangeStep),
}

impl Part {
    /// Each request by itself.
    fn one_by_one(self) -> Vec<Self> {
        match self {
            Self::Batch(touches, now) => touches
                .into_iter()
                .map(|touch| Self::Batch(vec![touch], now))
                .collect(),
            Self::Range(_) => vec![self],
        }
    }

    fn proof(&self) -> Prove {
        match self {
            Self::Batch(touches, _) => {
                Prove::Accounts(touches.iter().map(|touch| touch.account.clone()).collect())
            }
            Self::Range(step) => Prove::Range(step.range()),
        }
    }
}

impl Lead {
    pub(crate) fn standing(&self) -> Standing {
        match &self.doing {
            Doing::Mend(mend) if mend.is_gone() => Standing::Gone,
            Doing::Mend(_) => Standing::Mending,
            Doing::Ready(_) | Doing::Prove(_) | Doing::Append(..) | Doing::Gather { .. } => {
                Standing::Leading
            }
        }
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.doing, Doing::Ready(_)) && self.work.is_none()
    }

    fn carries_much(&self) -> bool {
        self.carried.puts.len() > CARRIED_PUTS || self.carried.encoded_bytes() > CARRIED_BYTES
    }

    /// What those who wait are told when this leader leads no more.
    pub(crate) fn give_up(self) -> Option<Vec<Answered>> {
        let mut work = self.work?;
        work.answers.resize(work.count, Answered::Lost);
        Some(work.answers)
    }
}

impl Host {
    /// The core was elected: the store comes first.
    pub(crate) fn begin_to_lead(&mut self) {
        let (Role::Leader { term }, Some(base)) = (self.core.role(), self.core.base().copied())
        else {
            return;
        };
        self.stage = Stage::Leading(Box::new(Lead {
            term,
            doing: Doing::Mend(Box::new(Mend::new(base))),
            work: None,
            carried: Record::default(),
        }));
        self.broadcast(&Message::Alive(term));
        self.look();
    }

    pub(crate) fn lead_mut(&mut self) -> Option<&mut Lead> {
        match &mut self.stage {
            Stage::Leading(lead) => Some(lead),
            Stage::Following { .. } | Stage::Calling { .. } => None,
        }
    }

    pub(crate) fn take_batch(&mut self, touches: Vec<Touch>, now: HostTime) {
        let count = touches.len();
        if !self.wants_batch() || !(1..=BATCH_MAX).contains(&count) {
            self.effect(Effect::Answer(vec![Answered::Lost; count]));
            return;
        }
        self.begin_work(count, Part::Batch(touches, now));
    }

    /// Moves a range, if this host leads and has nothing under way.
    pub(crate) fn take_range(&mut self, step: RangeStep) {
        if !self.wants_batch() {
            self.effect(Effect::Answer(vec![Answered::Lost]));
            return;
        }
        self.begin_work(1, Part::Range(step));
    }

    fn begin_work(&mut self, count: usize, part: Part) {
        if let Some(lead) = self.lead_mut() {
            // VAULT-10: what is carried and what a batch changes are bounded together.
            let parts = match lead.carries_much() {
                true => part.one_by_one().into(),
                false => [part].into(),
            };
            lead.work = Some(Work {
                count,
                parts,
                answers: Vec::with_capacity(count),
            });
        }
        self.go_on();
    }

    /// Asks for the proof of the next part, or answers when there is none left.
    pub(crate) fn go_on(&mut self) {
        let Some(lead) = self.lead_mut() else { return };
        let Doing::Ready(at) = &lead.doing else {
            return;
        };
        let at = *at;
        let Some(work) = &lead.work else { return };
        let Some(part) = work.parts.front() else {
            let answers = lead.work.take().map(|work| work.answers);
            self.effect(Effect::Answer(answers.unwrap_or_default()));
            return;
        };
        let proof = part.proof();
        lead.doing = Doing::Prove(at);
        self.ask(Ask::Prove(proof));
    }

    pub(crate) fn proved(&mut self, proved: Proved, entropy: &mut dyn Entropy) {
        let Proved { head, proof } = proved;
        let Some(base) = self.core.base().copied() else {
            return;
        };
        let Some(lead) = self.lead_mut() else { return };
        let Doing::Prove(at) = &lead.doing else {
            return;
        };
        let at = *at;
        if head != Some(at) {
            // The store has moved, forwards or back. Nothing is under way: what is to be done is what
            // a leader does that was just elected.
            lead.doing = Doing::Mend(Box::new(Mend::new(base)));
            return self.look();
        }
        lead.doing = Doing::Ready(at);
        let part = lead.work.as_ref().and_then(|work| work.parts.front());
        let Some(part) = part.cloned() else { return };
        let executed = match (part, proof) {
            (Part::Batch(touches, now), Some(proof)) => {
                self.core.execute(touches, &proof, now, entropy)
            }
            (Part::Range(step), Some(proof)) => self.core.range(&step, &proof),
            (_, None) => Err(CoreError::RecordDamaged),
        };
        match executed {
            Ok(executed) => self.propose(at, executed),
            Err(CoreError::Proof(_) | CoreError::RecordDamaged) => self.part_damaged(),
            Err(CoreError::Range(error)) => self.part_done([Answered::Refused(error)]),
            Err(_) => self.fall(entropy),
        }
    }

    /// Something in the store that this part touches is damaged. One by one, so that whoever is not
    /// concerned is answered: a single bad sector must not stop everybody.
    fn part_damaged(&mut self) {
        let work = self.lead_mut().and_then(|lead| lead.work.as_mut());
        if let Some(work) = work
            && let Some(Part::Batch(touches, _)) = work.parts.front()
            && touches.len() > 1
            && let Some(part) = work.parts.pop_front()
        {
            for part in part.one_by_one().into_iter().rev() {
                work.parts.push_front(part);
            }
            return self.go_on();
        }
        self.part_done([Answered::Damaged]);
    }

    /// The part under way has these answers.
    fn part_done(&mut self, answers: impl IntoIterator<Item = Answered>) {
        if let Some(work) = self.lead_mut().and_then(|lead| lead.work.as_mut()) {
            work.parts.pop_front();
            work.answers.extend(answers);
        }
        self.go_on();
    }

    fn propose(&mut self, at: Entry, executed: Executed) {
        let Executed { entry, puts } = executed;
        let puts: Puts = puts.into_iter().collect();
        let Some(lead) = self.lead_mut() else { return };
        let first = lead.carried.first().unwrap_or(entry.index());
        lead.doing = Doing::Append(entry, puts.clone());
        self.ask(Ask::Append(Box::new(Append {
            expected: Some(at),
            entries: vec![entry],
            first,
            puts,
        })));
    }

    pub(crate) fn appended(&mut self, entropy: &mut dyn Entropy) {
        let tailed = self.tailed;
        let Some(lead) = self.lead_mut() else { return };
        let ready = Doing::Ready(match &lead.doing {
            Doing::Append(entry, _) => *entry,
            Doing::Mend(_) => return self.mended_on(),
            Doing::Ready(_) | Doing::Prove(_) | Doing::Gather { .. } => return,
        });
        let Doing::Append(entry, puts) = std::mem::replace(&mut lead.doing, ready) else {
            return;
        };
        let mut record = std::mem::take(&mut lead.carried);
        record.entries.push(entry);
        record.puts.extend(puts);
        let record = Arc::new(record);
        let Ok(capture) = self.core.capture(&entry) else {
            return self.fall(entropy);
        };
        if tailed {
            self.flushed = Some(entry.mac());
            self.effect(Effect::KeepTail(Arc::clone(&record)));
        }
        self.keep_memory();
        self.broadcast(&Message::Record(Arc::clone(&record)));
        if let Some(lead) = self.lead_mut() {
            lead.doing = Doing::Gather {
                record,
                entry,
                captures: vec![capture],
                ticks: 0,
            };
        }
        self.release(entropy);
    }

    pub(crate) fn take_capture(&mut self, capture: Capture, entropy: &mut dyn Entropy) {
        let most = self.peers.len();
        if let Some(lead) = self.lead_mut()
            && let Doing::Gather { captures, .. } = &mut lead.doing
            && !captures.contains(&capture)
        {
            // Of an earlier entry, mostly; the core counts only those of this one.
            if captures.len() > most.saturating_mul(2) {
                captures.truncate(1);
            }
            captures.push(capture);
            self.release(entropy);
        }
    }

    fn release(&mut self, entropy: &mut dyn Entropy) {
        let Stage::Leading(lead) = &mut self.stage else {
            return;
        };
        let Doing::Gather {
            entry, captures, ..
        } = &lead.doing
        else {
            return;
        };
        let entry = *entry;
        match self.core.release(captures) {
            Ok(answers) => {
                lead.doing = Doing::Ready(entry);
                self.part_done(answers.into_iter().map(Answered::from));
            }
            Err(CoreError::NotCommitted) => {}
            Err(_) => self.fall(entropy),
        }
    }

    /// The store's newest entry is another than this leader built on: another leader was faster, or
    /// commits were lost. What this one made cannot be taken back in its term: it stands anew.
    pub(crate) fn moved(&mut self, entropy: &mut dyn Entropy) {
        match &self.stage {
            Stage::Leading(lead) if matches!(lead.doing, Doing::Mend(_)) => self.mend_anew(),
            Stage::Leading(_) => {
                self.fall(entropy);
                self.patience = 1;
            }
            Stage::Following { .. } | Stage::Calling { .. } => {}
        }
    }

    /// Puts one core in another's place, if this host leads and has nothing under way.
    pub(crate) fn replace(&mut self, go: Member, come: Member, entropy: &mut dyn Entropy) {
        let Some(Doing::Ready(at)) = self.lead_mut().map(|lead| &lead.doing) else {
            return;
        };
        let at = *at;
        if !self.wants_batch() {
            return;
        }
        match self.core.replace(go, come) {
            Ok(executed) => self.propose(at, executed),
            // Done already, or another change is under way; a wish for what cannot be.
            Err(CoreError::Membership(_)) => {}
            Err(_) => self.fall(entropy),
        }
    }

    pub(crate) fn tick_leading(&mut self, entropy: &mut dyn Entropy) {
        let Some(lead) = self.lead_mut() else { return };
        let term = lead.term;
        let again = match &mut lead.doing {
            Doing::Gather { record, ticks, .. } => {
                *ticks = ticks.saturating_add(1);
                ticks.is_multiple_of(SENT_AGAIN).then(|| Arc::clone(record))
            }
            Doing::Mend(_) | Doing::Ready(_) | Doing::Prove(_) | Doing::Append(..) => None,
        };
        self.tick_mending(entropy);
        if self.lead_mut().is_some() {
            self.broadcast(&Message::Alive(term));
        }
        if let Some(record) = again {
            self.broadcast(&Message::Record(record));
        }
    }
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Sealed(reply) => Self::Sealed(reply),
            Answer::Unreadable => Self::Unreadable,
            Answer::Elsewhere => Self::Elsewhere,
            Answer::Range(answer) => Self::Range(answer),
        }
    }
}

#[cfg(test)]
mod tests;
