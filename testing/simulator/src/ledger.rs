//! What was asked, made and answered in a run, and what watches it.

use std::collections::{BTreeMap, BTreeSet};

use keyhaven_vault_core::{Answer as Sealed, Memory, Policy, RangeAnswer};
use keyhaven_wire::message::HostTime;

use crate::chance::Chance;
use crate::chronicle::{Asked, Chronicle};
use crate::invariants::{self, Answer, Event, Invariant, Ke2};
use crate::model::{Expected, Life, Model, Op, Why};
use crate::people::{Heard, People};
use crate::ranges::Statement;
use crate::swarm::Swarm;
use crate::{Broken, Step};

/// The record of a run. Whatever hosts there are, honest or not, tell it what they see.
#[derive(Debug)]
pub struct Ledger {
    /// The people.
    pub people: People,
    /// The entries.
    pub chronicle: Chronicle,
    /// What groups have said of ranges.
    pub statements: Vec<Statement>,
    /// How many steps were taken.
    pub taken: u64,
    /// How often each fault and each rare state was met.
    pub met: BTreeMap<&'static str, u64>,
    /// What happened, in words, if somebody wants to read it.
    pub story: Option<Vec<String>>,
    policy: Policy,
    lost: u8,
    authorised: BTreeSet<(usize, u64, u64)>,
    watch: Watch,
}

struct Watch {
    invariants: Vec<Box<dyn Invariant>>,
    trace: blake3::Hasher,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Ledger {
    /// Of a group that has made its first entry.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn open(swarm: &Swarm, people: People, chronicle: Chronicle) -> Result<Self, Broken> {
        let mut ledger = Self {
            people,
            chronicle,
            statements: Vec::new(),
            taken: 0,
            met: BTreeMap::new(),
            story: None,
            policy: swarm.policy,
            lost: swarm.lost,
            authorised: BTreeSet::new(),
            watch: Watch {
                invariants: invariants::all(),
                trace: blake3::Hasher::new(),
            },
        };
        ledger.note(&Event::Began {
            quorum: usize::from(swarm.policy.quorum.captures),
            guesses: u32::from(swarm.policy.guesses),
        })?;
        Ok(ledger)
    }

    /// The digest of all that happened: two runs of one seed have the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *self.watch.trace.finalize().as_bytes()
    }

    /// Something was met.
    pub fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Tells what happens, if somebody wants to read it.
    pub fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = what(self);
            self.story.get_or_insert_default().push(line);
        }
    }

    /// An entry, in words.
    #[must_use]
    pub fn named(&self, page: usize) -> String {
        let entry = &self.chronicle.page(page).entry;
        let (term, index) = (entry.term().number(), entry.index().number());
        let on = self.chronicle.lineage().parent(page);
        format!("entry {page} (term {term}, index {index}, on {on:?})")
    }

    /// Lets all who watch see what happened.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn note(&mut self, event: &Event) -> Step {
        self.tell(|_| match event {
            Event::Kept { reach, .. } => format!("    keeps {reach:?}"),
            Event::Led { term, base } => format!("    leads term {term} on entry {base}"),
            Event::Released {
                page, captured_by, ..
            } => {
                format!("    releases entry {page}, captured by {captured_by}")
            }
            Event::Began { .. }
            | Event::Ke2(_)
            | Event::Authorised { .. }
            | Event::Answer(_)
            | Event::RolledBack { .. } => format!("    {event:?}"),
        });
        for invariant in &mut self.watch.invariants {
            invariant
                .observe(event, self.chronicle.lineage())
                .map_err(Broken)?;
        }
        Ok(())
    }

    /// Adds to the digest of all that happened.
    pub fn trace(&mut self, what: &[u8]) {
        self.watch.trace.update(what);
    }

    /// A host kept a core's memory.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn kept(&mut self, memory: &Memory) -> Step {
        let (promised, head) = memory.reach();
        self.trace(&promised.number().to_be_bytes());
        if let Some(head) = memory.head() {
            self.trace(head.mac().as_bytes());
        }
        self.note(&Event::Kept {
            core: memory.member(),
            reach: (
                promised.number(),
                head.map(|(term, index)| (term.number(), index.number())),
            ),
            page: memory
                .head()
                .and_then(|head| self.chronicle.find(head.mac())),
        })
    }

    /// What the model says of a batch on top of an entry.
    pub fn expect(
        &mut self,
        base: usize,
        sent: &[Option<usize>],
        now: HostTime,
    ) -> (rpds::RedBlackTreeMap<usize, Model>, Vec<Asked>) {
        let policy = self.policy;
        let mut models = self.chronicle.page(base).models.clone();
        let holds = self.chronicle.page(base).holds.clone();
        let mut asked = Vec::with_capacity(sent.len());
        for sent in sent {
            let Some(request) = sent.map(|sent| &self.people.sent()[sent]) else {
                asked.push(Asked {
                    sent: None,
                    here: true,
                    expected: Expected::Standing,
                    model: Model::vacant(&policy),
                });
                continue;
            };
            let account = request.account;
            let here = holds.has(self.people.leaf(account));
            let mut model = models
                .get(&account)
                .cloned()
                .unwrap_or_else(|| Model::vacant(&policy));
            if !here {
                asked.push(Asked {
                    sent: *sent,
                    here,
                    expected: Expected::Standing,
                    model,
                });
                continue;
            }
            let before = model.life;
            let expected = model.apply(&request.op, &policy, now);
            if let Some(rare) = rare(before, &model, &request.op, &expected) {
                *self.met.entry(rare).or_default() += 1;
            }
            models.insert_mut(account, model.clone());
            asked.push(Asked {
                sent: *sent,
                here,
                expected,
                model,
            });
        }
        (models, asked)
    }

    /// A host put out what a core released of an entry.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn released(
        &mut self,
        term: u64,
        page: usize,
        answers: Vec<Sealed>,
        chance: &mut Chance,
    ) -> Step {
        let captured_by = self.chronicle.page(page).captured.len();
        self.note(&Event::Released {
            term,
            page,
            captured_by,
            held: self.chronicle.page(page).holds.held(),
        })?;
        self.meet("released");
        if self.chronicle.page(page).moves {
            return self.stated(page, &answers);
        }
        let asked = self.chronicle.page(page).asked.clone();
        if asked.len() != answers.len() {
            return Err(Broken(
                "VAULT-2: not one answer for each request".to_owned(),
            ));
        }
        for (asked, answer) in asked.into_iter().zip(answers) {
            match (asked.sent, answer) {
                (None, Sealed::Unreadable) => {}
                (Some(_), Sealed::Elsewhere) if !asked.here => {
                    self.meet("refused: an account of another group");
                }
                (Some(_), Sealed::Sealed(_)) if !asked.here => {
                    return Err(Broken(
                        "VAULT-1: a group answered for an account that it does not hold".to_owned(),
                    ));
                }
                (Some(sent), Sealed::Sealed(reply)) => self.answer(sent, asked, &reply, chance)?,
                (None, Sealed::Sealed(_)) => {
                    return Err(Broken("a request for another account was read".to_owned()));
                }
                (Some(_), Sealed::Unreadable) => {
                    return Err(Broken(
                        "a request that somebody made was not read".to_owned(),
                    ));
                }
                (_, Sealed::Elsewhere | Sealed::Range(_)) => {
                    return Err(Broken(
                        "VAULT-11: a group does not answer for an account that it holds".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a group says of a range left.
    fn stated(&mut self, page: usize, answers: &[Sealed]) -> Step {
        let [Sealed::Range(answer)] = answers else {
            return Err(Broken("a step of a range has another answer".to_owned()));
        };
        match answer {
            RangeAnswer::Given(transfer) => {
                self.statements.push(Statement::Transfer(*transfer, page));
            }
            RangeAnswer::Taken(_) => self.meet("a range was taken"),
        }
        Ok(())
    }

    fn answer(
        &mut self,
        sent: usize,
        asked: Asked,
        reply: &[u8],
        chance: &mut Chance,
    ) -> Result<(), Broken> {
        let heard = self.people.open(sent, reply).map_err(Broken)?;
        self.trace(format!("{:?}", heard.what).as_bytes());
        let account = self.people.sent()[sent].account;
        if let (Some(digest), Expected::RecoverStarted { attempt }, Op::RecoverStart { ke1, .. }) =
            (heard.ke2, &heard.what, &self.people.sent()[sent].op)
        {
            let ke2 = Ke2 {
                account,
                generation: heard.reply.standing.generation.number(),
                attempt: *attempt,
                ke1: *ke1,
                digest,
            };
            self.note(&Event::Ke2(ke2))?;
        }
        let Heard {
            what,
            ke2: _,
            reply,
        } = &heard;
        self.note(&Event::Answer(Box::new(Answer {
            expected: asked.expected,
            came: what.clone(),
            model: asked.model,
            standing: reply.standing.clone(),
        })))?;
        if chance.percent(self.lost) {
            self.meet("an answer was lost");
        } else {
            self.people.hear(sent, &heard, chance);
        }
        Ok(())
    }

    /// Somebody made a request: notes it if it may refill a budget.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn made(&mut self, sent: usize) -> Step {
        let request = &self.people.sent()[sent];
        let account = request.account;
        let refill = match &request.op {
            Op::RecoverFinish {
                right: true,
                generation,
                attempt,
                ..
            } => Some((account, *generation, *attempt)),
            Op::RegisterFinish(arm) => match arm.by {
                Why::First => None,
                Why::Device(_, keyhaven_wire::message::PasswordClaim::MayBeSame) => None,
                Why::Device(..) | Why::Session(_) | Why::FreshStart => {
                    Some((account, u64::MAX, arm.what))
                }
            },
            Op::RecoverFinish { .. }
            | Op::Status(_)
            | Op::RegisterStart
            | Op::RecoverStart { .. }
            | Op::Change { .. }
            | Op::BeginWait(_)
            | Op::Forged
            | Op::Misdirected => None,
        };
        if refill.is_some_and(|refill| self.authorised.insert(refill)) {
            return self.note(&Event::Authorised { account });
        }
        Ok(())
    }
}

/// The rare states of a record that a batch of runs must have met.
fn rare(before: Life, model: &Model, op: &Op, expected: &Expected) -> Option<&'static str> {
    match (expected, op) {
        (_, Op::RecoverFinish { right: false, .. })
            if model.life == Life::Destroyed && before != Life::Destroyed =>
        {
            Some("destroyed by a wrong last KE3")
        }
        (_, Op::RecoverStart { .. })
            if model.life == Life::Destroyed && before != Life::Destroyed =>
        {
            Some("destroyed by one KE1 too many")
        }
        (Expected::Recovered { session: true, .. }, _) if model.left == 0 => {
            Some("refilled to nothing: as many later guesses")
        }
        (Expected::Recovered { session: true, .. }, _) => Some("recovered, with a session"),
        (Expected::Recovered { session: false, .. }, _) => Some("recovered too late to refill"),
        (Expected::Registered(_), Op::RegisterFinish(arm)) => Some(match arm.by {
            Why::First => "registered by the token",
            Why::Device(_, keyhaven_wire::message::PasswordClaim::MayBeSame) => {
                "registered by a device, maybe the same password"
            }
            Why::Device(..) => "registered by a device, another password",
            Why::Session(_) => "registered in a session",
            Why::FreshStart => "a fresh start",
        }),
        (Expected::Denied(denial), _) => Some(denied(*denial)),
        (Expected::Changed(_), _) if model.life == Life::Deleted && before != Life::Deleted => {
            Some("deleted")
        }
        _ => None,
    }
}

const fn denied(denial: keyhaven_wire::message::Denial) -> &'static str {
    use keyhaven_wire::message::Denial;
    match denial {
        Denial::Malformed => "denied: malformed",
        Denial::NoRecord => "denied: no record",
        Denial::Destroyed => "denied: destroyed",
        Denial::AlreadyRegistered => "denied: already registered",
        Denial::Stale => "denied: stale",
        Denial::IdReused => "denied: id reused",
        Denial::UnknownTicket => "denied: unknown ticket",
        Denial::DeviceNotListed => "denied: device not listed",
        Denial::BadSignature => "denied: bad signature",
        Denial::SessionOver => "denied: session over",
        Denial::WrongChangeNumber => "denied: wrong change number",
        Denial::DeviceOnly => "denied: device only",
        Denial::TooManyDevices => "denied: too many devices",
        Denial::LastGuessesReserved { .. } => "denied: last guesses reserved",
        Denial::CapReached => "denied: cap reached",
        Denial::WaitNotOver { .. } => "denied: wait not over",
        Denial::NoWait => "denied: no wait",
        Denial::CancelsSpent => "denied: cancels spent",
        Denial::NoGuessesLeft => "denied: no guesses left",
    }
}
