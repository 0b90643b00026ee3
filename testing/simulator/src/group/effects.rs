//! What hosts want done, and how it is done here.

use keyhaven_vault_core::{Answer, Memory};
use keyhaven_vault_host::{Answered, Ask, Effect, HostId, Input, Message, Notice, Said};
use keyhaven_vault_node::desk;

use super::{Flight, Group, at as machine_of, id};
use crate::chance::Chance;
use crate::chronicle::Batch;
use crate::invariants::Event;
use crate::{Broken, Step};

/// Messages on their way at most; older ones are lost.
const FLIGHTS_MAX: usize = 256;
/// A message that is longer holds a record: a report, the longest that holds none, has 452 bytes.
const RECORD_AT_LEAST: usize = 500;

impl Group {
    /// Tells a host what has happened and does what it wants done; a crash may come between any two
    /// effects.
    pub(super) fn drive(&mut self, at: usize, input: Input, chance: &mut Chance) -> Step {
        let Some(host) = &mut self.machines[at].host else {
            return Ok(());
        };
        let effects = host.handle(input, chance);
        self.note_leading(at)?;
        let crashes = chance.percent(self.weather.crash);
        let cut = if crashes {
            Some(chance.below(effects.len() + 1))
        } else {
            None
        };
        let count = effects.len();
        for (done, effect) in effects.into_iter().enumerate() {
            if cut == Some(done) {
                break;
            }
            if !self.perform(at, effect, chance)? {
                // The power was cut, or a flush failed; nothing of the rest is done.
                self.stop(at);
                return Ok(());
            }
        }
        if let Some(done) = cut {
            self.ledger.meet(match done == count {
                true => "crashed after all effects",
                false => "crashed between effects",
            });
            self.lose_power(at, chance);
        }
        Ok(())
    }

    fn note_leading(&mut self, at: usize) -> Step {
        let term = self.term(at);
        if term.is_none() || term == self.machines[at].led {
            return Ok(());
        }
        self.machines[at].led = term;
        let host = self.machines[at].host.as_ref();
        let base = host.and_then(|host| host.core().base().copied());
        let page = base.and_then(|base| self.ledger.chronicle.find(base.mac()));
        let base = page.ok_or_else(|| Broken("a core leads from nothing known".to_owned()))?;
        self.ledger.meet("led");
        self.ledger.tell(|_| format!("  host {at} leads"));
        let term = term.unwrap_or(0);
        self.ledger.note(&Event::Led { term, base })
    }

    /// Does something that a host wants done, and says whether the host goes on.
    fn perform(&mut self, at: usize, effect: Effect, chance: &mut Chance) -> Result<bool, Broken> {
        match effect {
            Effect::KeepTail(record) => self.keep_tail(at, &record, chance),
            Effect::KeepMemory(memory) => self.keep_memory(at, &memory, chance),
            other => self.do_other(at, other, chance).map(|()| true),
        }
    }

    fn do_other(&mut self, at: usize, effect: Effect, chance: &mut Chance) -> Step {
        match effect {
            Effect::KeepTail(_) | Effect::KeepMemory(_) => Ok(()),
            Effect::Send { to, message } => self.post(at, machine_of(to), &message),
            Effect::SendTail { to, last } => {
                let record = self.read_tail(at, &last)?;
                self.post(at, machine_of(to), &Message::Tail { last, record })
            }
            Effect::Ask { id, ask } => {
                self.note_proposal(at, &ask)?;
                self.machines[at].asks.push((id, ask));
                Ok(())
            }
            Effect::Answer(answers) => self.answer(at, answers, chance),
            Effect::Notice(Notice::Gone { store, cores }) => {
                self.ledger.meet("gone: no tail leads to the base");
                self.ledger
                    .tell(|_| format!("  host {at}: gone, store {store:?}, cores {cores:?}"));
                Ok(())
            }
            Effect::Notice(Notice::Mended) => {
                self.ledger.meet("mended after it was gone");
                Ok(())
            }
            Effect::Notice(Notice::Forked) => {
                Err(Broken(format!("VAULT-8: host {at} sees a fork")))
            }
        }
    }

    /// Keeps a memory; says whether the host goes on. VAULT-5: what it captured last has its record on the same disk.
    fn keep_memory(
        &mut self,
        at: usize,
        memory: &Memory,
        chance: &mut Chance,
    ) -> Result<bool, Broken> {
        if let Some(head) = memory.head()
            && self.machines[at].disk.memory().head() != Some(head)
            && self.tailed
            && !self.has_record(at, head)
        {
            return Err(Broken(format!(
                "VAULT-5: host {at} captured entry {} without its record",
                head.index().number()
            )));
        }
        let fails = self.flush_fails(chance);
        self.machines[at].disk.keep_memory(memory, fails);
        if fails {
            self.ledger.meet("a flush failed");
            return Ok(false);
        }
        self.note_kept(at, memory)?;
        Ok(true)
    }

    /// A memory is on its disk for certain: from now on its core's word may be gone by.
    pub(super) fn note_kept(&mut self, at: usize, memory: &Memory) -> Step {
        if let Some(head) = memory.head()
            && let Some(page) = self.ledger.chronicle.find(head.mac())
        {
            self.ledger.chronicle.captured(page, memory.member());
        }
        self.ledger
            .tell(|_| format!("  host {at} remembers {:?}", memory.reach()));
        self.ledger.kept(memory)
    }

    fn post(&mut self, from: usize, to: usize, message: &Message) -> Step {
        let bytes = message
            .encode()
            .map_err(|error| Broken(format!("VAULT-10: {error}")))?;
        if self.flights.len() >= FLIGHTS_MAX {
            self.flights.remove(0);
        }
        self.flights.push(Flight { from, to, bytes });
        Ok(())
    }

    /// A host that asks to append an entry which nobody knew has made it.
    fn note_proposal(&mut self, at: usize, ask: &Ask) -> Step {
        let Ask::Append(append) = ask else {
            return Ok(());
        };
        let [entry] = append.entries.as_slice() else {
            return Ok(());
        };
        if self.ledger.chronicle.find(entry.mac()).is_some() {
            return Ok(());
        }
        let base = self.ledger.chronicle.find(entry.previous());
        let base = base.ok_or_else(|| Broken("a core builds on nothing known".to_owned()))?;
        self.ledger.trace(entry.mac().as_bytes());
        let (models, asked) = match self.machines[at].batch.clone() {
            Some((sent, now)) => self.ledger.expect(base, &sent, now),
            None => {
                self.ledger.meet("a core was put in another's place");
                (self.ledger.chronicle.page(base).models.clone(), Vec::new())
            }
        };
        let executed = keyhaven_vault_core::Executed {
            entry: *entry,
            puts: append
                .puts
                .iter()
                .map(|(key, bytes)| (*key, bytes.clone()))
                .collect(),
        };
        let page = self.ledger.chronicle.write(base, executed, models, asked);
        self.machines[at].page = Some(page);
        self.ledger
            .tell(|ledger| format!("  host {at} makes {}", ledger.named(page)));
        Ok(())
    }

    fn answer(&mut self, at: usize, answers: Vec<Answered>, chance: &mut Chance) -> Step {
        let machine = &mut self.machines[at];
        let (batch, page, term) = (machine.batch.take(), machine.page.take(), machine.led);
        if batch.is_none() {
            return Err(Broken(format!("host {at} answers what nobody asked")));
        }
        let mut released = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Answered::Sealed(reply) => released.push(Answer::Sealed(reply)),
                Answered::Unreadable => released.push(Answer::Unreadable),
                Answered::Elsewhere | Answered::Range(_) | Answered::Refused(_) => {
                    return Err(Broken(format!(
                        "VAULT-5: host {at} says that an account is not its group's"
                    )));
                }
                Answered::Lost => {
                    self.ledger.meet("a batch was lost with its leader");
                    return Ok(());
                }
                Answered::Damaged => {
                    return Err(Broken(format!(
                        "VAULT-5: host {at} finds a record damaged that nobody damaged"
                    )));
                }
            }
        }
        let page = page.ok_or_else(|| Broken("VAULT-2: answers left twice".to_owned()))?;
        self.ledger
            .released(term.unwrap_or(0), page, released, chance)
    }

    /// Store or disk answer a host.
    pub(super) fn say(&mut self, at: usize, ask: usize, chance: &mut Chance) -> Step {
        let (id, ask) = self.machines[at].asks.remove(ask);
        let said = match &*ask {
            Ask::Tail(last) => {
                let last = *last;
                Said::Tail(self.read_tail(at, &last)?)
            }
            Ask::Look { .. } | Ask::Prove(_) | Ask::Append(_) => self.ask_store(&ask, chance),
        };
        self.ledger.tell(|_| {
            let what = match &*ask {
                Ask::Look { .. } => "a look",
                Ask::Prove(_) => "a proof",
                Ask::Append(_) => "an append",
                Ask::Tail(_) => "a tail",
            };
            let how = match &said {
                Said::Moved => "moved",
                Said::Trouble => "trouble",
                Said::Tail(None) => "none",
                Said::Looked(_) | Said::Proved(_) | Said::Appended | Said::Tail(Some(_)) => "done",
            };
            format!("  host {at}: {what} of the store: {how}")
        });
        self.drive(at, Input::Said { id, said }, chance)
    }

    /// Time-outs come before and after the store has done what it was asked.
    fn ask_store(&mut self, ask: &Ask, chance: &mut Chance) -> Said {
        if self.store_away || chance.percent(self.weather.timeout) {
            self.ledger.meet("a question to the store timed out");
            return Said::Trouble;
        }
        let said = self.answer_of_store(ask);
        if chance.percent(self.weather.timeout) {
            self.ledger
                .meet("the store's answer was lost, after it had done what it was asked");
            return Said::Trouble;
        }
        said
    }

    pub(super) fn answer_of_store(&mut self, ask: &Ask) -> Said {
        match desk::answer(&self.store, &self.secrets.fleet(), ask) {
            Ok(said) => {
                if matches!(said, Said::Moved) {
                    self.ledger.meet("an append lost a race");
                }
                if let (Ask::Append(append), Said::Appended) = (ask, &said)
                    && append.entries.iter().all(|entry| {
                        let page = self.ledger.chronicle.find(entry.mac());
                        page.is_some_and(|page| {
                            !self.ledger.chronicle.page(page).captured.is_empty()
                        })
                    })
                {
                    self.ledger.meet("the store was led forward from a tail");
                }
                said
            }
            Err(error) => {
                self.ledger.tell(|_| format!("    the store says: {error}"));
                Said::Trouble
            }
        }
    }

    pub(super) fn deliver(&mut self, flight: Flight, chance: &mut Chance) -> Step {
        let Flight {
            from,
            to,
            mut bytes,
        } = flight;
        let is_bent = self.bend(&mut bytes, chance);
        let from: HostId = id(from);
        match Message::decode(&bytes) {
            Ok(message) => self.drive(to, Input::Message { from, message }, chance),
            Err(_) if is_bent => {
                self.ledger.meet("a bent message was refused");
                Ok(())
            }
            Err(error) => Err(Broken(format!("a host's message is none: {error}"))),
        }
    }

    /// F14: a bit of a record is another when it arrives: its sender's memory is bad, or its sender is.
    /// (What else another host says costs time only, and no host is believed for ever to say it.)
    fn bend(&mut self, bytes: &mut [u8], chance: &mut Chance) -> bool {
        let holds_record = bytes.len() > RECORD_AT_LEAST;
        if !holds_record || !chance.percent(self.weather.bend) {
            return false;
        }
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
        self.ledger.meet("a record was bent on its way");
        true
    }

    /// Hands requests to a host that wants them.
    pub(super) fn hand(&mut self, at: usize, batch: Batch, chance: &mut Chance) -> Step {
        let Batch { touches, sent, now } = batch;
        self.machines[at].batch = Some((sent, now));
        self.drive(at, Input::Batch { touches, now }, chance)
    }
}
