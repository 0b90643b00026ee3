//! What a record should do, told a second time and as briefly as it can be.
//!
//! The model knows nothing of bytes, keys or trees. Where the core checks a signature or a KE3, the
//! model is told what the person who made it knows to be true.

use std::collections::BTreeSet;

use keyhaven_vault_core::Policy;
use keyhaven_wire::message::{
    Action, DEVICES_MAX, Denial, DeviceKey, HostTime, PasswordClaim, Wait,
};

/// A request, as whoever made it means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Asks how the account stands, with this device's signature.
    Status(Option<DeviceKey>),
    /// Step 1 of a registration.
    RegisterStart,
    /// Step 2.
    RegisterFinish(Arm),
    /// Sends this KE1, with this device's signature.
    RecoverStart {
        /// Which KE1: a number of its own.
        ke1: u64,
        /// Who signed it.
        device: Option<DeviceKey>,
    },
    /// Sends a KE3.
    RecoverFinish {
        /// The generation whose KE2 it answers.
        generation: u64,
        /// The attempt.
        attempt: u64,
        /// Its KE1.
        ke1: u64,
        /// Whether it was made with the right password.
        right: bool,
    },
    /// Changes the record.
    Change {
        /// Tells this very change from every other.
        id: [u8; 32],
        /// Its number.
        number: u64,
        /// What changes.
        action: Action,
        /// Who says so.
        by: By,
    },
    /// Begins a wait.
    BeginWait(Wait),
    /// Sends a KE1 with a signature that no device made.
    Forged,
    /// Sends the second step of something else than was begun.
    Misdirected,
}

/// What arms a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The registration's id.
    pub id: u64,
    /// Tells what is armed from everything else.
    pub what: u64,
    /// The generation of step 1.
    pub generation: u64,
    /// The device that registers.
    pub device: Option<DeviceKey>,
    /// Why.
    pub by: Why,
}

/// Why a generation should be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is there.
    First,
    /// A device says so, and what it says of the password.
    Device(DeviceKey, PasswordClaim),
    /// A session's proof.
    Session(Proof),
    /// The wait is over.
    FreshStart,
}

/// Who changes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A device.
    Device(DeviceKey),
    /// A session.
    Session(Proof),
}

/// What a session proves: which attempt of which generation was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The generation.
    pub generation: u64,
    /// The attempt.
    pub attempt: u64,
}

/// What should come of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Refused.
    Denied(Denial),
    /// How the account stands.
    Standing,
    /// Step 1 is answered.
    RegisterStarted,
    /// A generation is armed.
    Registered(u64),
    /// KE1 is answered as this attempt.
    RecoverStarted {
        /// Its number.
        attempt: u64,
    },
    /// The backup key that was armed under this number, and whether a session comes with it.
    Recovered {
        /// What was armed.
        what: u64,
        /// Whether this session may change the record.
        session: bool,
    },
    /// A wrong password.
    Wrong,
    /// The record is changed, and this is its number.
    Changed(u64),
    /// A wait runs.
    WaitBegun(HostTime),
}

/// Whether there is something to recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Never registered.
    Vacant,
    /// What was armed, and the attempt that proved its password last.
    Live {
        /// Which.
        what: u64,
        /// Proven by.
        proven: Option<u64>,
    },
    /// Guessed away.
    Destroyed,
    /// Deleted.
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spent {
    attempt: u64,
    ke1: u64,
    may_refill: bool,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What there is.
    pub life: Life,
    /// Its generation.
    pub generation: u64,
    /// Its line.
    pub line: u32,
    /// Its change number.
    pub change: u64,
    /// Guesses left.
    pub left: u8,
    /// Wrong guesses against the lifetime cap.
    pub since_lift: u32,
    /// All guesses ever answered.
    pub answered: u64,
    armed: Option<(u64, u64)>,
    last_change: Option<[u8; 32]>,
    devices: BTreeSet<DeviceKey>,
    spent: Vec<Spent>,
    last_guesses: Option<HostTime>,
    fresh_start: Option<HostTime>,
    cancels: u8,
}

impl Model {
    /// Of an account that never registered.
    #[must_use]
    pub const fn vacant(policy: &Policy) -> Self {
        Self {
            life: Life::Vacant,
            generation: 0,
            line: 0,
            change: 0,
            left: policy.guesses,
            since_lift: 0,
            answered: 0,
            armed: None,
            last_change: None,
            devices: BTreeSet::new(),
            spent: Vec::new(),
            last_guesses: None,
            fresh_start: None,
            cancels: 0,
        }
    }

    /// Applies a request.
    pub fn apply(&mut self, op: &Op, policy: &Policy, now: HostTime) -> Expected {
        let done = match op {
            Op::Status(device) => self.signed(*device).map(|()| Expected::Standing),
            Op::RegisterStart => Ok(Expected::RegisterStarted),
            Op::RegisterFinish(arm) => self.arm(arm, policy, now),
            Op::RecoverStart { ke1, device } => self.guess(*ke1, *device, policy, now),
            Op::RecoverFinish { generation, .. } => match self.life {
                Life::Live { .. } if self.generation == *generation => self.judge(op, policy),
                Life::Destroyed if self.generation == *generation => Err(Denial::Destroyed),
                Life::Live { .. } | Life::Destroyed | Life::Vacant | Life::Deleted => {
                    Err(Denial::Stale)
                }
            },
            Op::Change {
                id,
                number,
                action,
                by,
            } => self.change(*id, *number, action, *by, policy),
            Op::BeginWait(wait) => self.wait(*wait, policy, now),
            Op::Forged => match self.life {
                Life::Live { .. } => Err(Denial::BadSignature),
                Life::Vacant | Life::Deleted => Err(Denial::NoRecord),
                Life::Destroyed => Err(Denial::Destroyed),
            },
            Op::Misdirected => Err(Denial::UnknownTicket),
        };
        done.unwrap_or_else(Expected::Denied)
    }

    fn signed(&self, device: Option<DeviceKey>) -> Result<(), Denial> {
        match device {
            Some(device) if !self.devices.contains(&device) => Err(Denial::DeviceNotListed),
            Some(_) | None => Ok(()),
        }
    }

    fn in_session(&self, proof: Proof) -> Result<(), Denial> {
        match self.life {
            Life::Live { proven, .. }
                if proof.generation == self.generation && proven == Some(proof.attempt) =>
            {
                Ok(())
            }
            Life::Live { .. } | Life::Vacant | Life::Destroyed | Life::Deleted => {
                Err(Denial::SessionOver)
            }
        }
    }

    fn guess(
        &mut self,
        ke1: u64,
        device: Option<DeviceKey>,
        policy: &Policy,
        now: HostTime,
    ) -> Result<Expected, Denial> {
        match self.life {
            Life::Live { .. } => {}
            Life::Vacant | Life::Deleted => return Err(Denial::NoRecord),
            Life::Destroyed => return Err(Denial::Destroyed),
        }
        if let Some(spent) = self.spent.iter().find(|spent| spent.ke1 == ke1) {
            let attempt = spent.attempt;
            return Ok(Expected::RecoverStarted { attempt });
        }
        self.signed(device)?;
        if self.since_lift >= policy.lifetime_guesses {
            return Err(Denial::CapReached);
        }
        let waited = self.last_guesses.is_some_and(|until| until <= now);
        if self.left <= policy.reserved && device.is_none() && !waited {
            let until = self.last_guesses;
            return Err(Denial::LastGuessesReserved { until });
        }
        if self.left == 0 {
            self.life = Life::Destroyed;
            return Err(Denial::Destroyed);
        }
        self.left -= 1;
        self.answered += 1;
        self.since_lift += 1;
        let attempt = self.answered;
        self.spent.push(Spent {
            attempt,
            ke1,
            may_refill: true,
        });
        Ok(Expected::RecoverStarted { attempt })
    }

    fn judge(&mut self, op: &Op, policy: &Policy) -> Result<Expected, Denial> {
        let (
            Life::Live { what, proven },
            Op::RecoverFinish {
                attempt,
                ke1,
                right,
                ..
            },
        ) = (&mut self.life, op)
        else {
            return Err(Denial::Stale);
        };
        if !right {
            for spent in &mut self.spent {
                spent.may_refill &= spent.attempt != *attempt;
            }
            let last = self.spent.last().map(|spent| spent.attempt);
            if self.left == 0 && last == Some(*attempt) {
                self.life = Life::Destroyed;
                return Err(Denial::Destroyed);
            }
            return Ok(Expected::Wrong);
        }
        let at = self
            .spent
            .iter()
            .position(|spent| spent.attempt == *attempt && spent.ke1 == *ke1 && spent.may_refill);
        if let Some(at) = at {
            self.spent.drain(..=at);
            for later in &mut self.spent {
                later.may_refill = false;
            }
            self.left = policy.guesses - u8::try_from(self.spent.len()).unwrap_or(u8::MAX);
            self.since_lift = self.since_lift.saturating_sub(1);
            self.last_guesses = None;
            self.fresh_start = None;
            self.cancels = 0;
            *proven = Some(*attempt);
        }
        Ok(Expected::Recovered {
            what: *what,
            session: *proven == Some(*attempt),
        })
    }

    fn arm(&mut self, arm: &Arm, policy: &Policy, now: HostTime) -> Result<Expected, Denial> {
        if let Some((_, what)) = self.armed.filter(|(id, _)| *id == arm.id) {
            return match self.life {
                _ if what != arm.what => Err(Denial::IdReused),
                Life::Live { .. } => Ok(Expected::Registered(self.generation)),
                Life::Destroyed => Err(Denial::Destroyed),
                Life::Vacant | Life::Deleted => Err(Denial::Stale),
            };
        }
        if arm.generation != self.generation {
            return Err(Denial::Stale);
        }
        let refills = match arm.by {
            Why::First => match self.life {
                Life::Vacant | Life::Deleted => false,
                Life::Destroyed => return Err(Denial::Destroyed),
                Life::Live { .. } => return Err(Denial::AlreadyRegistered),
            },
            Why::Device(device, claim) => {
                self.signed(Some(device))?;
                claim == PasswordClaim::Different
            }
            Why::Session(proof) => {
                self.in_session(proof)?;
                true
            }
            Why::FreshStart => {
                let until = self.fresh_start;
                if until.is_none_or(|until| until > now) {
                    return Err(Denial::WaitNotOver { until });
                }
                true
            }
        };
        let afresh = arm.by == Why::FreshStart;
        if !refills && self.left == 0 {
            return Err(Denial::NoGuessesLeft);
        }
        let mut devices = self.devices.clone();
        if afresh {
            devices.clear();
        }
        devices.extend(arm.device);
        if devices.len() > DEVICES_MAX {
            return Err(Denial::TooManyDevices);
        }
        if afresh {
            self.since_lift = 0;
        }
        if afresh || self.line == 0 {
            self.line += 1;
        }
        if refills {
            self.left = policy.guesses;
        }
        self.spent.clear();
        self.devices = devices;
        self.last_guesses = None;
        self.fresh_start = None;
        self.cancels = 0;
        self.generation += 1;
        self.change += 1;
        self.last_change = None;
        self.armed = Some((arm.id, arm.what));
        self.life = Life::Live {
            what: arm.what,
            proven: None,
        };
        Ok(Expected::Registered(self.generation))
    }

    fn change(
        &mut self,
        id: [u8; 32],
        number: u64,
        action: &Action,
        by: By,
        policy: &Policy,
    ) -> Result<Expected, Denial> {
        if self.last_change == Some(id) && self.change == number {
            return Ok(Expected::Changed(number));
        }
        if matches!(self.life, Life::Vacant | Life::Deleted) {
            return Err(Denial::NoRecord);
        }
        match by {
            By::Device(device) => self.signed(Some(device))?,
            By::Session(proof) => {
                self.in_session(proof)?;
                if matches!(action, Action::CancelWait(_) | Action::LiftCap) {
                    return Err(Denial::DeviceOnly);
                }
            }
        }
        if number != self.change + 1 {
            return Err(Denial::WrongChangeNumber);
        }
        match action {
            Action::DeviceAdd(key) => {
                if !self.devices.contains(key) && self.devices.len() >= DEVICES_MAX {
                    return Err(Denial::TooManyDevices);
                }
                self.devices.insert(*key);
            }
            Action::DeviceRemove(key) => {
                if !self.devices.remove(key) {
                    return Err(Denial::DeviceNotListed);
                }
            }
            Action::NoteFreshness(_) => {}
            Action::Delete => {
                self.generation += 1;
                self.life = Life::Deleted;
                self.devices.clear();
                self.spent.clear();
                self.last_guesses = None;
                self.fresh_start = None;
                self.cancels = 0;
            }
            Action::CancelWait(wait) => {
                let slot = match wait {
                    Wait::LastGuesses => &mut self.last_guesses,
                    Wait::FreshStart => &mut self.fresh_start,
                };
                if slot.is_none() {
                    return Err(Denial::NoWait);
                }
                if self.cancels >= policy.cancels {
                    return Err(Denial::CancelsSpent);
                }
                self.cancels += 1;
                *slot = None;
            }
            Action::LiftCap => self.since_lift = 0,
        }
        self.change = number;
        self.last_change = Some(id);
        Ok(Expected::Changed(number))
    }

    fn wait(&mut self, wait: Wait, policy: &Policy, now: HostTime) -> Result<Expected, Denial> {
        match (self.life, wait) {
            (Life::Vacant, _) | (Life::Deleted, Wait::LastGuesses) => return Err(Denial::NoRecord),
            (Life::Destroyed, Wait::LastGuesses) => return Err(Denial::Destroyed),
            (Life::Live { .. }, _) | (Life::Destroyed | Life::Deleted, Wait::FreshStart) => {}
        }
        let slot = match wait {
            Wait::LastGuesses => &mut self.last_guesses,
            Wait::FreshStart => &mut self.fresh_start,
        };
        let until = HostTime::new(now.number().saturating_add(policy.wait_seconds));
        Ok(Expected::WaitBegun(*slot.get_or_insert(until)))
    }
}
