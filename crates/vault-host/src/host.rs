//! A host: its core, its part in the group, and what it waits for.

use std::sync::Arc;

use keyhaven_secrets::Entropy;
use keyhaven_vault_core::{Core, Mac, Member, Report, Term};

use crate::lead::Lead;
use crate::message::{Ask, AskId, Effect, HostId, Input, Message, Notice, Said};

/// How many ticks a host waits for a leader before it stands itself: drawn between these two, so that
/// two seldom stand at once.
const PATIENCE: (u32, u32) = (6, 18);
/// For how many ticks a host that steps aside takes no part in elections.
const ASIDE: u32 = 40;

/// A host and its core.
#[derive(Debug)]
pub struct Host {
    pub(crate) core: Core,
    pub(crate) peers: Vec<HostId>,
    /// Whether it keeps a tail.
    pub(crate) tailed: bool,
    /// The name that the core had, if it forgot and asks to be taken in again.
    pub(crate) former: Option<Member>,
    /// The newest term that anybody spoke of.
    pub(crate) heard: Term,
    pub(crate) stage: Stage,
    /// Ticks until it stands.
    pub(crate) patience: u32,
    /// Ticks for which it takes no part in elections.
    pub(crate) aside: u32,
    /// The newest record that is on the disk.
    pub(crate) flushed: Option<Mac>,
    pub(crate) asking: Option<Asking>,
    asked: u64,
    out: Vec<Effect>,
}

/// A question that is not answered yet.
#[derive(Debug)]
pub(crate) struct Asking {
    id: AskId,
    ask: Arc<Ask>,
    /// It could not be answered: it is asked again at the next tick.
    again: bool,
}

#[derive(Debug)]
pub(crate) enum Stage {
    Following { leader: Option<HostId> },
    Calling { reports: Vec<Report> },
    Leading(Box<Lead>),
}

/// What a host does, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its core captures what a leader proposes.
    Following {
        /// The host of the leader, if it was heard of lately.
        leader: Option<HostId>,
    },
    /// Its core has called for reports.
    Calling,
    /// Its core leads, and the store is brought to where the cores are.
    Mending,
    /// Its core leads.
    Leading,
    /// The store cannot be brought to where the cores are with the tails of the hosts that were
    /// asked. They are asked again.
    Gone,
}

impl Host {
    /// A host that starts: with a core that resumed from its memory, or one that is new.
    ///
    /// `former` is the name of a core that forgot, in whose place this one asks to be taken.
    #[must_use]
    pub fn new(
        core: Core,
        peers: Vec<HostId>,
        former: Option<Member>,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let mut host = Self {
            heard: core.memory().promised(),
            core,
            tailed: !peers.is_empty(),
            peers,
            former,
            stage: Stage::Following { leader: None },
            patience: 0,
            aside: 0,
            flushed: None,
            asking: None,
            asked: 0,
            out: Vec::new(),
        };
        host.be_patient(entropy);
        host
    }

    /// The same, and it keeps a tail though it is alone: a backup of its store can then be led forward.
    /// A host that has others always keeps one.
    #[must_use]
    pub const fn keeping_tail(mut self) -> Self {
        self.tailed = true;
        self
    }

    /// From now on it keeps no tail, if it is alone.
    pub const fn give_up_tail(&mut self) {
        self.tailed = !self.peers.is_empty();
    }

    /// Its core.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// What it does.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.stage {
            Stage::Following { leader } => Standing::Following { leader: *leader },
            Stage::Calling { .. } => Standing::Calling,
            Stage::Leading(lead) => lead.standing(),
        }
    }

    /// Whether it leads and has nothing under way.
    #[must_use]
    pub fn wants_batch(&self) -> bool {
        matches!(&self.stage, Stage::Leading(lead) if lead.is_ready())
    }

    /// Takes what has happened and says what is to be done.
    #[must_use = "a host leans on its effects being done, in order"]
    pub fn handle(&mut self, input: Input, entropy: &mut dyn Entropy) -> Vec<Effect> {
        match input {
            Input::Tick => self.tick(entropy),
            Input::Message { from, message } => self.hear(from, message, entropy),
            Input::Said { id, said } => self.said(id, said, entropy),
            Input::Batch { touches, now } => self.take_batch(touches, now),
            Input::Range(step) => self.take_range(step),
            Input::Replace { go, come } => self.replace(go, come, entropy),
        }
        std::mem::take(&mut self.out)
    }

    fn hear(&mut self, from: HostId, message: Message, entropy: &mut dyn Entropy) {
        match message {
            Message::Call(call) => self.promise(from, &call, entropy),
            Message::Report(report) => self.take_report(*report, entropy),
            Message::Newer(term) => self.hear_of_newer(term, entropy),
            Message::Record(record) => self.witness(from, record, entropy),
            Message::Captured(capture) => self.take_capture(capture, entropy),
            Message::Alive(term) => self.hear_leader(from, term, entropy),
            Message::Need(last) => self.effect(Effect::SendTail { to: from, last }),
            Message::Tail { last, record } => self.found_there(from, last, record),
            Message::Admit { go, come } => self.replace(go, come, entropy),
        }
    }

    fn tick(&mut self, entropy: &mut dyn Entropy) {
        self.aside = self.aside.saturating_sub(1);
        if self.asking.as_ref().is_some_and(|asking| asking.again)
            && let Some(asking) = self.asking.take()
        {
            self.ask_shared(asking.ask);
        }
        match &self.stage {
            Stage::Leading(_) => self.tick_leading(entropy),
            Stage::Following { .. } | Stage::Calling { .. } => {
                self.patience = self.patience.saturating_sub(1);
                if self.patience == 0 {
                    self.stand(entropy);
                }
            }
        }
    }

    fn said(&mut self, id: AskId, said: Said, entropy: &mut dyn Entropy) {
        let Some(asking) = self.asking.take_if(|asking| asking.id == id) else {
            return;
        };
        match said {
            Said::Trouble => {
                self.asking = Some(Asking {
                    again: true,
                    ..asking
                });
            }
            Said::Looked(looked) => self.looked(*looked, entropy),
            Said::Tail(record) => self.found_here(record),
            Said::Proved(proved) => self.proved(*proved, entropy),
            Said::Appended => self.appended(entropy),
            Said::Moved => self.moved(entropy),
        }
    }

    /// Leads no more, if the core does not: whoever waits for an answer asks again.
    pub(crate) fn follow_core(&mut self, entropy: &mut dyn Entropy) {
        if self.core.base().is_none() && matches!(self.stage, Stage::Leading(_)) {
            self.fall(entropy);
        }
    }

    /// Leads no more.
    pub(crate) fn fall(&mut self, entropy: &mut dyn Entropy) {
        self.core.step_down();
        self.asking = None;
        let before = std::mem::replace(&mut self.stage, Stage::Following { leader: None });
        if let Stage::Leading(lead) = before
            && let Some(answers) = lead.give_up()
        {
            self.effect(Effect::Answer(answers));
        }
        self.be_patient(entropy);
    }

    /// Leads no more, and lets the others elect one of them without its core's report. To keep a
    /// report back costs time, and nothing else.
    pub(crate) fn step_aside(&mut self, entropy: &mut dyn Entropy) {
        self.fall(entropy);
        self.aside = ASIDE;
    }

    pub(crate) fn be_patient(&mut self, entropy: &mut dyn Entropy) {
        // One that is alone waits for nobody.
        let (least, most) = match self.peers.is_empty() {
            true => (1, 1),
            false => PATIENCE,
        };
        let [drawn] = keyhaven_secrets::random::<1>(entropy);
        let span = most.saturating_sub(least).saturating_add(1);
        let more = u32::from(drawn).checked_rem(span).unwrap_or(0);
        self.patience = least.saturating_add(more);
    }

    /// Whether it waits for an answer of store or disk.
    pub(crate) const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.out.push(effect);
    }

    pub(crate) fn send(&mut self, to: HostId, message: Message) {
        self.effect(Effect::Send { to, message });
    }

    pub(crate) fn broadcast(&mut self, message: &Message) {
        for to in self.peers.clone() {
            self.send(to, message.clone());
        }
    }

    pub(crate) fn keep_memory(&mut self) {
        self.effect(Effect::KeepMemory(Box::new(*self.core.memory())));
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.effect(Effect::Notice(notice));
    }

    pub(crate) fn ask(&mut self, ask: Ask) {
        self.ask_shared(Arc::new(ask));
    }

    fn ask_shared(&mut self, ask: Arc<Ask>) {
        self.asked = self.asked.wrapping_add(1);
        let id = AskId(self.asked);
        self.asking = Some(Asking {
            id,
            ask: Arc::clone(&ask),
            again: false,
        });
        self.effect(Effect::Ask { id, ask });
    }
}
