//! The hosts, all of them, as one enemy (F5, F8-F12, F14).
//!
//! It holds everything but the cores' keys: every message that was ever sent, every image of every
//! memory, every state of the store. What honest hosts with faulty machines and networks can do to
//! the cores is a part of what it does: a lost message is one that it does not deliver, a partition
//! one that it delivers to some, a delay one that it delivers later, a crash a core that it starts
//! again.

use keyhaven_vault_core::{Call, Capture, Entry, Member, Report, Role, Term, Touch};
use keyhaven_wire::message::HostTime;

use crate::chance::Chance;
use crate::chronicle::Batch;
use crate::world::World;
use crate::{Broken, Step};

/// Something that a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Lets somebody make a first request.
    Ask,
    /// Lets somebody make a second request.
    FollowUp,
    /// Has a batch executed, captured by some, and released if it can be.
    Commit,
    /// Has a batch executed.
    Execute,
    /// Shows a core an entry.
    Capture,
    /// Hands a core captures.
    Release,
    /// Has a core call, others promise, and lead if it can.
    Elect,
    /// Has a core call.
    Stand,
    /// Shows a core a call.
    Promise,
    /// Hands a core reports.
    Lead,
    /// Has a leader build on an entry.
    Adopt,
    /// Has a leader step down.
    StepDown,
    /// Has a leader put a core in another's place.
    Replace,
    /// Stops a core and starts it with the memory it had.
    Restart,
    /// Stops a core and starts it with an older memory.
    RollBack,
    /// Stops a core, and its memory is lost.
    Forget,
    /// Says that it is later, or earlier.
    Clock,
    /// Changes a bit of something, or gives it to whom it was not meant for.
    Forge,
    /// Has a leader take a step with a range of accounts that goes to another group.
    Move,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Ask,
        Self::FollowUp,
        Self::Commit,
        Self::Execute,
        Self::Capture,
        Self::Release,
        Self::Elect,
        Self::Stand,
        Self::Promise,
        Self::Lead,
        Self::Adopt,
        Self::StepDown,
        Self::Replace,
        Self::Restart,
        Self::RollBack,
        Self::Forget,
        Self::Clock,
        Self::Forge,
        Self::Move,
    ];

    /// What there is where there is one group.
    pub const OF_A_GROUP: [Self; 18] = *Self::ALL.first_chunk().expect("all but the last");

    /// How often it happens in a usual run, against the others.
    #[must_use]
    pub const fn usual(self) -> u32 {
        match self {
            Self::Commit => 200,
            Self::Ask => 100,
            Self::FollowUp => 80,
            Self::Execute | Self::Capture | Self::Release => 60,
            Self::Promise | Self::Lead => 30,
            Self::Move => 25,
            Self::Elect | Self::Stand | Self::Adopt => 12,
            Self::Clock => 10,
            Self::Replace | Self::Restart | Self::RollBack | Self::Forge => 8,
            Self::StepDown => 4,
            Self::Forget => 2,
        }
    }

    /// Whether a run may do without it.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::Ask | Self::FollowUp | Self::Commit | Self::Elect
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ask => "act: ask",
            Self::FollowUp => "act: follow up",
            Self::Commit => "act: commit",
            Self::Execute => "act: execute",
            Self::Capture => "act: capture",
            Self::Release => "act: release",
            Self::Elect => "act: elect",
            Self::Stand => "act: stand",
            Self::Promise => "act: promise",
            Self::Lead => "act: lead",
            Self::Adopt => "act: adopt",
            Self::StepDown => "act: step down",
            Self::Replace => "act: replace",
            Self::Restart => "act: restart",
            Self::RollBack => "act: roll back",
            Self::Forget => "act: forget",
            Self::Clock => "act: clock",
            Self::Forge => "act: forge",
            Self::Move => "act: move",
        }
    }
}

impl World {
    /// Takes one step.
    ///
    /// # Errors
    /// [`Broken`] when a promise is.
    pub fn step(&mut self, chance: &mut Chance) -> Step {
        let act = Act::ALL[chance.weighted(&self.swarm.weights)];
        let taken = self.ledger.taken;
        self.ledger.meet(act.name());
        self.ledger.tell(|_| act.name().to_owned());
        let done = match act {
            Act::Ask => self.ask(chance),
            Act::FollowUp => self.follow_up(chance),
            Act::Commit => self.commit(chance),
            Act::Execute => self.batch(chance).map(drop),
            Act::Capture => self.show_entry(chance),
            Act::Release => self.hand_captures(chance),
            Act::Elect => self.elect(chance),
            Act::Stand => self.stand(chance).map(drop),
            Act::Promise => self.show_call(chance),
            Act::Lead => self.hand_reports(chance),
            Act::Adopt => self.adopt(chance),
            Act::StepDown => self.step_down(chance),
            Act::Replace => self.replace(chance),
            Act::Restart => self.restart_one(chance),
            Act::RollBack => self.roll_back(chance),
            Act::Forget => self.lose_memory(chance),
            Act::Clock => {
                self.now = match chance.below(4) {
                    0 => self.now.saturating_sub(40),
                    1 => self.now.saturating_add(60),
                    _ => self.now.saturating_add(5),
                };
                Ok(())
            }
            Act::Forge => self.forge(chance),
            Act::Move => self.move_range(chance),
        };
        // Whatever called no core is a step as well.
        self.ledger.taken = self.ledger.taken.max(taken + 1);
        done
    }

    fn any(&self, chance: &mut Chance) -> usize {
        chance.below(self.places.len())
    }

    /// One of the groups.
    pub fn some_group(&self, chance: &mut Chance) -> usize {
        match self.groups() {
            1 => 0,
            several => chance.below(several),
        }
    }

    /// Mostly the places of a group, and now and then one of another: a host can hand anything to
    /// anybody.
    fn around(&self, group: usize, chance: &mut Chance) -> Vec<usize> {
        (0..self.places.len())
            .filter(|at| self.places[*at].group == group || chance.percent(2))
            .collect()
    }

    fn leader(&self, chance: &mut Chance) -> Option<usize> {
        let group = self.some_group(chance);
        self.leader_of(group, chance)
    }

    /// Somebody who leads a group.
    pub fn leader_of(&self, group: usize, chance: &mut Chance) -> Option<usize> {
        let leaders: Vec<usize> = (0..self.places.len())
            .filter(|at| self.places[*at].group == group)
            .filter(|at| self.places[*at].core.base().is_some())
            .collect();
        // The newest term's, mostly: an older one's work is never committed.
        let newest = leaders
            .iter()
            .max_by_key(|at| match self.places[**at].core.role() {
                Role::Leader { term } => term.number(),
                Role::Witness | Role::Candidate { .. } => 0,
            })
            .copied();
        match chance.percent(75) {
            true => newest,
            false => chance.one(&leaders).copied(),
        }
    }

    fn ask(&mut self, chance: &mut Chance) -> Step {
        let policy = self.swarm.policy;
        let sent = self.ledger.people.ask(chance, &policy);
        self.ledger.made(sent)
    }

    fn follow_up(&mut self, chance: &mut Chance) -> Step {
        match self.ledger.people.follow_up(chance) {
            Some(sent) => self.ledger.made(sent),
            None => Ok(()),
        }
    }

    /// Some of the requests: the newest, or older ones once more.
    fn pick_batch(&self, chance: &mut Chance) -> Batch {
        let size = [1, 1, 1, 2, 4][chance.below(5)];
        let mut batch = Batch {
            touches: Vec::new(),
            sent: Vec::new(),
            now: HostTime::new(self.now),
        };
        for _ in 0..size {
            let replayed = self.swarm.replayed;
            let Some(sent) = self.ledger.people.some_request(replayed, chance) else {
                continue;
            };
            let request = &self.ledger.people.sent()[sent];
            let elsewhere = chance.below(self.ledger.people.accounts());
            let account = match chance.percent(2) {
                true => elsewhere,
                false => request.account,
            };
            batch.touches.push(Touch {
                account: self.ledger.people.name(account).clone(),
                request: request.bytes.clone(),
            });
            batch
                .sent
                .push((account == request.account).then_some(sent));
        }
        batch
    }

    fn batch(&mut self, chance: &mut Chance) -> Result<Option<usize>, Broken> {
        let Some(at) = self.leader(chance) else {
            return Ok(None);
        };
        self.batch_at(at, chance)
    }

    fn batch_at(&mut self, at: usize, chance: &mut Chance) -> Result<Option<usize>, Broken> {
        let batch = self.pick_batch(chance);
        if batch.touches.is_empty() {
            return Ok(None);
        }
        let Some(base) = self.base(at) else {
            return Ok(None);
        };
        let pages = self.ledger.chronicle.pages().len();
        let shown = match chance.percent(3) {
            true => chance.below(pages),
            false => base,
        };
        self.execute(at, batch, shown, chance)
    }

    fn commit(&mut self, chance: &mut Chance) -> Step {
        let Some(at) = self.leader(chance) else {
            return self.elect(chance);
        };
        let page = match self.places[at].pending {
            Some(page) => page,
            None => match self.batch_at(at, chance)? {
                Some(page) => page,
                None => return Ok(()),
            },
        };
        self.push_through(at, page, chance)
    }

    /// Shows some an entry, and its leader what they say of it.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn push_through(&mut self, at: usize, page: usize, chance: &mut Chance) -> Step {
        for witness in self.around(self.places[at].group, chance) {
            if chance.percent(self.swarm.reach) {
                self.capture(witness, page)?;
            }
        }
        let captures = self.captures_of(page);
        if !self.release(at, &captures, chance)? && chance.percent(30) {
            // A leader that does not get through gives up, as an honest host would have it.
            self.places[at].core.step_down();
            self.settle(at);
        }
        Ok(())
    }

    fn captures_of(&self, page: usize) -> Vec<Capture> {
        self.captures
            .iter()
            .rev()
            .take(64)
            .filter(|(of, _)| *of == page)
            .map(|(_, capture)| *capture)
            .collect()
    }

    fn show_entry(&mut self, chance: &mut Chance) -> Step {
        let at = self.any(chance);
        let pages = self.ledger.chronicle.pages().len();
        let reach = match chance.below(6) {
            0 => pages,
            _ => 3,
        };
        let page = pages - 1 - chance.below(reach.min(pages));
        self.capture(at, page)
    }

    fn hand_captures(&mut self, chance: &mut Chance) -> Step {
        let at = self.any(chance);
        let mut captures: Vec<Capture> = match self.places[at].pending {
            Some(page) => self.captures_of(page),
            None => Vec::new(),
        };
        captures.retain(|_| chance.percent(self.swarm.reach));
        // Others beside them: of other entries, and the same ones twice.
        for _ in 0..chance.below(4) {
            if let Some((_, capture)) = chance.recent(&self.captures) {
                captures.push(*capture);
            }
        }
        let twice = captures.first().copied();
        captures.extend(twice.filter(|_| chance.percent(50)));
        self.release(at, &captures, chance).map(drop)
    }

    fn stand(&mut self, chance: &mut Chance) -> Result<Option<(usize, Call)>, Broken> {
        let at = self.any(chance);
        let above = match chance.percent(40) {
            true => Term::new(0),
            false => self.newest_term(),
        };
        self.ledger.tell(|_| format!("  core {at} stands"));
        match self.places[at].core.stand(above, chance) {
            Ok(call) => {
                self.places[at].pending = None;
                self.calls.push(call);
                Ok(Some((at, call)))
            }
            Err(error) => self.refused(&error).map(|()| None),
        }
    }

    fn promise(&mut self, at: usize, call: &Call) -> Step {
        self.ledger.taken += 1;
        self.ledger
            .tell(|_| format!("  core {at} is called to term {}", call.term().number()));
        match self.places[at].core.promise(call) {
            Ok(report) => {
                self.reports.push(report);
                self.settle(at);
                self.keep(at)
            }
            Err(error) => self.refused(&error),
        }
    }

    fn show_call(&mut self, chance: &mut Chance) -> Step {
        let at = self.any(chance);
        match chance.recent(&self.calls).copied() {
            Some(call) => self.promise(at, &call),
            None => Ok(()),
        }
    }

    fn elect(&mut self, chance: &mut Chance) -> Step {
        let Some((at, call)) = self.stand(chance)? else {
            return Ok(());
        };
        for other in self.around(self.places[at].group, chance) {
            if other == at || chance.percent(self.swarm.reach) {
                self.promise(other, &call)?;
            }
        }
        let reports = self.reports_to(&call);
        self.lead(at, &reports)
    }

    fn reports_to(&self, call: &Call) -> Vec<Report> {
        let newest = self.reports.iter().rev().take(32);
        newest
            .filter(|report| report.term() == call.term())
            .copied()
            .collect()
    }

    /// Hands a core reports, and notes that it leads if it does.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn lead(&mut self, at: usize, reports: &[Report]) -> Step {
        let term = match self.places[at].core.role() {
            Role::Candidate { term } => term,
            Role::Leader { .. } | Role::Witness => Term::new(0),
        };
        match self.places[at].core.lead(reports) {
            Ok(_) => self.led(at, term),
            Err(error) => self.refused(&error),
        }
    }

    fn hand_reports(&mut self, chance: &mut Chance) -> Step {
        let candidates: Vec<usize> = (0..self.places.len())
            .filter(|at| matches!(self.places[*at].core.role(), Role::Candidate { .. }))
            .collect();
        let Some(at) = chance.one(&candidates).copied() else {
            return Ok(());
        };
        let mut reports: Vec<Report> = self.reports.iter().rev().take(24).copied().collect();
        reports.retain(|_| chance.percent(self.swarm.reach));
        let twice = reports.first().copied();
        reports.extend(twice);
        self.lead(at, &reports)
    }

    fn adopt(&mut self, chance: &mut Chance) -> Step {
        let Some(at) = self.leader(chance) else {
            return Ok(());
        };
        let base = self.base(at);
        let index = base.and_then(|base| {
            let index = self.ledger.chronicle.page(base).entry.index().number();
            index.checked_add(1)
        });
        // Those of the next index, most of which stand on the leader's base; or any other.
        let next: Vec<(usize, Entry)> = self
            .ledger
            .chronicle
            .pages()
            .iter()
            .enumerate()
            .rev()
            .take(256)
            .filter(|(_, page)| Some(page.entry.index().number()) == index)
            .map(|(page, entry)| (page, entry.entry))
            .collect();
        let follows =
            |(page, _): &&(usize, Entry)| self.ledger.chronicle.lineage().parent(*page) == base;
        let entry = match chance.below(20) {
            0 => chance
                .recent(self.ledger.chronicle.pages())
                .map(|page| page.entry),
            1..5 => chance.one(&next).map(|(_, entry)| *entry),
            _ => next.iter().find(follows).map(|(_, entry)| *entry),
        };
        let Some(entry) = entry else { return Ok(()) };
        self.ledger.tell(|_| {
            format!(
                "  core {at} is to build on index {}",
                entry.index().number()
            )
        });
        match self.places[at].core.adopt(&entry) {
            Ok(()) => {
                self.ledger.meet("adopted an entry of an earlier leader");
                let now = self.base(at);
                if now.and_then(|now| self.ledger.chronicle.lineage().parent(now)) != base {
                    return Err(Broken(
                        "VAULT-8: a leader builds on an entry that does not follow".to_owned(),
                    ));
                }
                Ok(())
            }
            Err(error) => self.refused(&error),
        }
    }

    fn step_down(&mut self, chance: &mut Chance) -> Step {
        if let Some(at) = self.leader(chance) {
            self.places[at].core.step_down();
            self.settle(at);
        }
        Ok(())
    }

    fn replace(&mut self, chance: &mut Chance) -> Step {
        let Some(at) = self.leader(chance) else {
            return Ok(());
        };
        let Some(base) = self.base(at) else {
            return Ok(());
        };
        let roster: Vec<Member> = self
            .ledger
            .chronicle
            .page(base)
            .entry
            .membership()
            .members()
            .copied()
            .collect();
        let group = self.places[at].group;
        let running: Vec<Member> = self
            .places
            .iter()
            .filter(|place| place.group == group)
            .map(crate::world::Place::name)
            .collect();
        // A core that forgot has a name that no roster has; the one it had before is nobody's.
        let lost: Vec<Member> = roster
            .iter()
            .filter(|name| !running.contains(name))
            .copied()
            .collect();
        let new: Vec<Member> = running
            .iter()
            .filter(|name| !roster.contains(name))
            .copied()
            .collect();
        let sensible = chance.percent(80);
        let go = match sensible {
            true => chance.one(&lost),
            false => chance.one(&roster),
        };
        let (Some(go), Some(come)) = (go.copied(), chance.one(&new).copied()) else {
            return Ok(());
        };
        match self.places[at].core.replace(go, come) {
            Ok(executed) => {
                let models = self.ledger.chronicle.page(base).models.clone();
                let page = self
                    .ledger
                    .chronicle
                    .write(base, executed, models, Vec::new());
                self.places[at].pending = Some(page);
                self.ledger.meet("a core was put in another's place");
                Ok(())
            }
            Err(error) => self.refused(&error),
        }
    }

    fn restart_one(&mut self, chance: &mut Chance) -> Step {
        let at = self.any(chance);
        let name = self.places[at].name();
        // Now and then an earlier name's last memory, which is as good as it was.
        let other = chance.percent(20);
        let images = &self.places[at].images;
        let newest = images
            .iter()
            .rev()
            .find(|image| (image.member() == name) != other);
        match newest.copied() {
            Some(memory) => self.restart(at, memory),
            None => Ok(()),
        }
    }

    fn roll_back(&mut self, chance: &mut Chance) -> Step {
        let victims: Vec<usize> = (0..self.places.len())
            .filter(|at| self.places[*at].victim || self.places[*at].nvram.is_some())
            .collect();
        let Some(at) = chance.one(&victims).copied() else {
            return Ok(());
        };
        let Some(memory) = chance.one(&self.places[at].images).copied() else {
            return Ok(());
        };
        self.ledger.meet("a memory was put back");
        self.restart(at, memory)
    }

    fn lose_memory(&mut self, chance: &mut Chance) -> Step {
        // No more than the policy allows to be away, or the group stops and stays so: that is a
        // run of its own, and rare.
        let group = self.some_group(chance);
        let chronicle = &self.ledger.chronicle;
        let root = self.roots[group];
        let base = chronicle
            .pages()
            .iter()
            .enumerate()
            .rev()
            .find(|(page, _)| chronicle.lineage().root(*page) == root)
            .map(|(_, page)| page);
        let roster: Vec<Member> = base
            .map(|page| page.entry.membership().members().copied().collect())
            .unwrap_or_default();
        let here = self
            .places
            .iter()
            .filter(|place| roster.contains(&place.name()))
            .count();
        if here > usize::from(self.swarm.policy.quorum.captures) || chance.percent(1) {
            let of_group: Vec<usize> = (0..self.places.len())
                .filter(|at| self.places[*at].group == group)
                .collect();
            let at = of_group[chance.below(of_group.len())];
            self.ledger.meet("a memory was lost");
            return self.forget(at, chance);
        }
        Ok(())
    }

    fn forge(&mut self, chance: &mut Chance) -> Step {
        let at = self.any(chance);
        let taken = match chance.below(4) {
            0 => chance
                .recent(self.ledger.chronicle.pages())
                .and_then(|page| {
                    let bytes = flip(page.entry.encode().to_vec(), chance);
                    let forged = Entry::decode(&bytes).ok()?;
                    self.places[at]
                        .core
                        .capture(&forged)
                        .ok()
                        .map(|_| "an entry")
                }),
            1 => chance.recent(&self.calls).copied().and_then(|call| {
                let forged = Call::decode(&flip(call.encode().to_vec(), chance)).ok()?;
                self.places[at].core.promise(&forged).ok().map(|_| "a call")
            }),
            2 => {
                let pending = self.places[at].pending;
                let forged: Vec<Capture> = pending
                    .map(|page| self.captures_of(page))
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|capture| {
                        Capture::decode(&flip(capture.encode().to_vec(), chance)).ok()
                    })
                    .collect();
                let released = self.places[at].core.release(&forged);
                released.ok().map(|_| "captures")
            }
            _ => {
                let forged: Vec<Report> = self
                    .reports
                    .iter()
                    .rev()
                    .take(8)
                    .filter_map(|report| {
                        Report::decode(&flip(report.encode().to_vec(), chance)).ok()
                    })
                    .collect();
                let led = self.places[at].core.lead(&forged);
                led.ok().map(|_| "reports")
            }
        };
        match taken {
            Some(what) => Err(Broken(format!(
                "VAULT-8: a core took {what} that nobody made"
            ))),
            None => Ok(()),
        }
    }
}

/// Changes a bit.
pub fn flip(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = chance.below(bytes.len());
    bytes[at] ^= 1 << chance.below(8);
    bytes
}
