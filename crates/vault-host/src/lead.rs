//! Leading: batch by batch, append, capture, release.

use std::collections::VecDeque;
use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{
    Answer, BATCH_MAX, Capture, CoreError, Entry, Executed, Member, Role, Term, Touch,
};
use keyhaven_wire::message::HostTime;

use crate::host::{Host, Stage, Standing};
use crate::mend::Mend;
use crate::message::{Answered, Append, Ask, Effect, Message, Proved};
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

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct Work {
    now: HostTime,
    /// How many requests there were.
    count: usize,
    /// Those that are left, in the groups in which they are executed: all together, or one by one
    /// where the store is damaged.
    groups: VecDeque<Vec<Touch>>,
    answers: Vec<Answered>,
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
        if let Some(lead) = self.lead_mut() {
            lead.work = Some(Work {
                now,
                count,
                // VAULT-10: what is carried and what a batch changes are bounded together.
                groups: match lead.carries_much() {
                    true => touches.into_iter().map(|touch| vec![touch]).collect(),
                    false => [touches].into(),
                },
                answers: Vec::with_capacity(count),
            });
        }
        self.go_on();
    }

    /// Asks for the proof of the next group, or answers when there is none left.
    pub(crate) fn go_on(&mut self) {
        let Some(lead) = self.lead_mut() else { return };
        let Doing::Ready(at) = &lead.doing else {
            return;
        };
        let at = *at;
        let Some(work) = &lead.work else { return };
        let Some(group) = work.groups.front() else {
            let answers = lead.work.take().map(|work| work.answers);
            self.effect(Effect::Answer(answers.unwrap_or_default()));
            return;
        };
        let accounts = group.iter().map(|touch| touch.account.clone()).collect();
        lead.doing = Doing::Prove(at);
        self.ask(Ask::Prove { accounts });
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
        let group = lead.work.as_ref().and_then(|work| {
            let group = work.groups.front()?.clone();
            Some((group, work.now))
        });
        let Some((group, now)) = group else { return };
        let executed = match proof {
            Some(proof) => self.core.execute(group, &proof, now, entropy),
            None => Err(CoreError::RecordDamaged),
        };
        match executed {
            Ok(executed) => self.propose(at, executed),
            Err(CoreError::Proof(_) | CoreError::RecordDamaged) => self.part_damaged(),
            Err(_) => self.fall(entropy),
        }
    }

    /// Something in the store that this group touches is damaged. One by one, so that whoever is not
    /// concerned is answered: a single bad sector must not stop everybody.
    fn part_damaged(&mut self) {
        if let Some(work) = self.lead_mut().and_then(|lead| lead.work.as_mut())
            && let Some(group) = work.groups.pop_front()
        {
            match group.len() {
                1 => work.answers.push(Answered::Damaged),
                _ => {
                    for touch in group.into_iter().rev() {
                        work.groups.push_front(vec![touch]);
                    }
                }
            }
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
        let alone = self.peers.is_empty();
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
        if !alone {
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
                if let Some(work) = &mut lead.work {
                    work.groups.pop_front();
                    work.answers.extend(answers.into_iter().map(Answered::from));
                }
                self.go_on();
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
        }
    }
}

#[cfg(test)]
mod tests;
