//! What may happen to a group of hosts, and how often.

use keyhaven_vault_core::Touch;
use keyhaven_vault_host::Input;
use keyhaven_wire::message::HostTime;

use super::Group;
use crate::Step;
use crate::chance::Chance;
use crate::chronicle::Batch;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A host's clock ticks.
    Tick,
    /// A message arrives: the oldest, or any.
    Deliver,
    /// A message is lost.
    Drop,
    /// A message arrives, and will arrive again.
    Repeat,
    /// Store or disk answer a host.
    Say,
    /// Somebody makes a first request.
    Ask,
    /// Somebody makes a second request.
    FollowUp,
    /// Requests reach a leader.
    Batch,
    /// A host that is down starts.
    Start,
    /// A host stops, as if its power were cut.
    Stop,
    /// A host stops and starts with an older memory.
    RollBack,
    /// A host stops, and its core's memory is lost.
    Forget,
    /// A host stops, and its whole disk is lost.
    LoseDisk,
    /// A record on a disk rots.
    Rot,
    /// A host stands still.
    Pause,
    /// The network is cut somewhere.
    Cut,
    /// The network is whole again, every host goes on, and the store is back.
    Heal,
    /// The store is away.
    StoreAway,
    /// The store is backed up.
    BackUp,
    /// Older backups of the store are let go.
    Retire,
    /// The store loses its last commits: a backup is put back.
    PutBack,
    /// An append of a host that is gone lands.
    Land,
    /// The clock jumps.
    Clock,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Tick,
        Self::Deliver,
        Self::Drop,
        Self::Repeat,
        Self::Say,
        Self::Ask,
        Self::FollowUp,
        Self::Batch,
        Self::Start,
        Self::Stop,
        Self::RollBack,
        Self::Forget,
        Self::LoseDisk,
        Self::Rot,
        Self::Pause,
        Self::Cut,
        Self::Heal,
        Self::StoreAway,
        Self::BackUp,
        Self::Retire,
        Self::PutBack,
        Self::Land,
        Self::Clock,
    ];

    /// How often it happens in a usual run, against the others.
    const fn usual(self) -> u32 {
        match self {
            Self::Deliver => 900,
            Self::Say => 400,
            Self::Tick | Self::Batch => 200,
            Self::Ask => 80,
            Self::FollowUp => 60,
            Self::Drop | Self::Repeat => 30,
            Self::Start | Self::Heal => 24,
            Self::Clock | Self::Land => 10,
            Self::Stop | Self::Pause | Self::BackUp | Self::Retire => 4,
            Self::RollBack | Self::Cut | Self::StoreAway | Self::Rot | Self::PutBack => 2,
            Self::Forget | Self::LoseDisk => 1,
        }
    }

    const fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::Tick
                | Self::Deliver
                | Self::Say
                | Self::Ask
                | Self::FollowUp
                | Self::Batch
                | Self::Start
                | Self::Heal
        )
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tick => "host: tick",
            Self::Deliver => "host: deliver",
            Self::Drop => "host: drop",
            Self::Repeat => "host: repeat",
            Self::Say => "host: say",
            Self::Ask => "host: ask",
            Self::FollowUp => "host: follow up",
            Self::Batch => "host: batch",
            Self::Start => "host: start",
            Self::Stop => "host: stop",
            Self::RollBack => "host: roll back",
            Self::Forget => "host: forget",
            Self::LoseDisk => "host: lose a disk",
            Self::Rot => "host: rot",
            Self::Pause => "host: pause",
            Self::Cut => "host: cut",
            Self::Heal => "host: heal",
            Self::StoreAway => "host: store away",
            Self::BackUp => "host: back up",
            Self::Retire => "host: retire",
            Self::PutBack => "host: put back",
            Self::Land => "host: land",
            Self::Clock => "host: clock",
        }
    }
}

/// How bad the weather is in a run (swarm testing).
#[derive(Clone, Debug)]
pub struct Weather {
    weights: [u32; Act::ALL.len()],
    /// In how many of a hundred cases a host crashes between two effects.
    pub(super) crash: u8,
    /// In how many of a hundred cases a question to the store times out; and as often its answer.
    pub(super) timeout: u8,
    /// In how many of a hundred cases the power is cut while a record is flushed.
    pub(super) tear: u8,
    /// In how many of a hundred cases a flush fails.
    pub(super) flush_fails: u8,
    /// In how many of a hundred cases a record that is sent arrives with another bit.
    pub(super) bend: u8,
    /// In how many of a hundred cases it is not the oldest message that arrives.
    reorder: u8,
}

impl Weather {
    pub(super) fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::of_step(seed, u64::MAX - 3);
        let mut weights = [0; Act::ALL.len()];
        for (weight, act) in weights.iter_mut().zip(Act::ALL) {
            let usual = act.usual();
            *weight = match chance.below(5) {
                0 if act.is_fault() => 0,
                1 if act.is_fault() => usual * 4,
                2 => usual.div_ceil(2),
                _ => usual,
            };
        }
        Self {
            weights,
            crash: [0, 0, 1, 3][chance.below(4)],
            timeout: [0, 1, 5, 20][chance.below(4)],
            reorder: [0, 10, 50, 100][chance.below(4)],
            tear: [0, 0, 1, 5][chance.below(4)],
            bend: [0, 0, 1, 5][chance.below(4)],
            flush_fails: [0, 0, 1, 5][chance.below(4)],
        }
    }
}

impl Group {
    /// Something happens.
    ///
    /// # Errors
    /// [`Broken`](crate::Broken) when a promise is.
    pub fn step(&mut self, chance: &mut Chance) -> Step {
        let act = Act::ALL[chance.weighted(&self.weather.weights)];
        self.ledger.taken += 1;
        self.ledger.meet(act.name());
        self.ledger.tell(|_| act.name().to_owned());
        match act {
            Act::Tick => match self.awake(chance) {
                Some(at) => self.drive(at, Input::Tick, chance),
                None => Ok(()),
            },
            Act::Deliver => self.deliver_one(false, chance),
            Act::Repeat => self.deliver_one(true, chance),
            Act::Drop => {
                let at = chance.below(self.flights.len().max(1));
                if at < self.flights.len() {
                    self.flights.remove(at);
                }
                Ok(())
            }
            Act::Say => self.say_one(chance),
            Act::Ask => {
                let sent = self.ledger.people.ask(chance, &self.swarm.policy);
                self.ledger.made(sent)
            }
            Act::FollowUp => match self.ledger.people.follow_up(chance) {
                Some(sent) => self.ledger.made(sent),
                None => Ok(()),
            },
            Act::Batch => self.batch(chance),
            Act::Start => {
                let down: Vec<usize> = (0..self.machines.len())
                    .filter(|at| self.machines[*at].host.is_none())
                    .collect();
                match chance.one(&down).copied() {
                    Some(at) => self.start(at, chance),
                    None => Ok(()),
                }
            }
            Act::Stop => {
                let at = chance.below(self.machines.len());
                self.lose_power(at, chance);
                Ok(())
            }
            Act::RollBack => self.roll_back(chance),
            Act::Forget => self.forget(false, chance),
            Act::LoseDisk => self.forget(true, chance),
            Act::Rot => {
                self.rot(chance);
                Ok(())
            }
            Act::Pause => {
                let at = chance.below(self.machines.len());
                self.machines[at].paused = true;
                Ok(())
            }
            Act::Cut => {
                self.cut(chance);
                Ok(())
            }
            Act::Heal => {
                self.heal();
                Ok(())
            }
            Act::StoreAway => {
                self.store_away = true;
                Ok(())
            }
            Act::BackUp => {
                self.back_up(chance);
                Ok(())
            }
            Act::Retire => {
                self.retire(chance);
                Ok(())
            }
            Act::PutBack => self.put_back(chance),
            Act::Land => {
                self.land(chance);
                Ok(())
            }
            Act::Clock => {
                self.now = match chance.below(4) {
                    0 => self.now.saturating_sub(40),
                    1 => self.now.saturating_add(60),
                    _ => self.now.saturating_add(5),
                };
                Ok(())
            }
        }
    }

    /// A host that runs and does not stand still.
    fn awake(&self, chance: &mut Chance) -> Option<usize> {
        let awake: Vec<usize> = (0..self.machines.len())
            .filter(|at| self.machines[*at].host.is_some() && !self.machines[*at].paused)
            .collect();
        chance.one(&awake).copied()
    }

    fn deliver_one(&mut self, again: bool, chance: &mut Chance) -> Step {
        if self.flights.is_empty() {
            return Ok(());
        }
        let at = match chance.percent(self.weather.reorder) {
            true => chance.below(self.flights.len()),
            false => 0,
        };
        let flight = &self.flights[at];
        if self.machines[flight.to].paused {
            // It waits at the door, behind the others.
            let flight = self.flights.remove(at);
            self.flights.push(flight);
            return Ok(());
        }
        let flight = match again {
            true => flight.clone(),
            false => self.flights.remove(at),
        };
        if self.cut.contains(&(flight.from, flight.to)) {
            self.ledger.meet("a message was cut off");
            return Ok(());
        }
        self.deliver(flight, chance)
    }

    fn say_one(&mut self, chance: &mut Chance) -> Step {
        let asking: Vec<usize> = (0..self.machines.len())
            .filter(|at| !self.machines[*at].asks.is_empty() && !self.machines[*at].paused)
            .collect();
        let Some(at) = chance.one(&asking).copied() else {
            return Ok(());
        };
        let ask = chance.below(self.machines[at].asks.len());
        self.say(at, ask, chance)
    }

    /// Some of the requests: the newest, or older ones once more.
    fn batch(&mut self, chance: &mut Chance) -> Step {
        let ready: Vec<usize> = (0..self.machines.len())
            .filter(|at| {
                let machine = &self.machines[*at];
                let host = machine.host.as_ref();
                !machine.paused && host.is_some_and(keyhaven_vault_host::Host::wants_batch)
            })
            .collect();
        let Some(at) = chance.one(&ready).copied() else {
            return Ok(());
        };
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
            batch.touches.push(Touch {
                account: self.ledger.people.name(request.account).clone(),
                request: request.bytes.clone(),
            });
            batch.sent.push(Some(sent));
        }
        if batch.touches.is_empty() {
            return Ok(());
        }
        self.hand(at, batch, chance)
    }
}
