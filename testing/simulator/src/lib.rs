//! A hostile world around the shipping vault cores, replayed from a seed.
//!
//! # What it is for
//!
//! A run owns every message, memory, store, clock and random bit of a group of cores, and everybody
//! who asks them. One enemy ([`adversary`]) plays all hosts, networks, disks and databases at once.
//! The cores are those that ship; what they say is compared, step by step, with what the promises
//! allow ([`invariants`]) and with a second telling of the rules ([`model`]).
//!
//! ```text
//!   seed ─▶ swarm (what kind of run) ─▶ adversary, step by step ─▶ cores (keyhaven-vault-core)
//!                                            ▲                        │ entries, captures,
//!                                            └── chronicle, people ◀──┤ reports, answers
//!                                                                     ▼
//!                                                   invariants: VAULT-1 … 9, one file each
//!        then: all faults stop, and the group must go on (VAULT-11, liveness)
//! ```
//!
//! The same seed makes the same run, on every machine: [`Report::digest`] says so. A seed that
//! breaks a promise prints how to replay it, and [`shrink`] leaves out the steps it does not need.
//!
//! # What it refuses to do
//!
//! It never looks inside a core, and no core knows that it is simulated. In 95 of 100 runs the
//! public-key cryptography is a stand-in ([`standin`]); the rest of the core runs as it ships.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::match_bool,
    clippy::wildcard_enum_match_arm,
    reason = "a simulation of small numbers: what does not work out must stop it"
)]

pub mod adversary;
pub mod beginning;
pub mod chance;
pub mod chronicle;
pub mod coverage;
pub mod group;
pub mod hands;
pub mod invariants;
pub mod ledger;
pub mod liveness;
pub mod model;
pub mod nvram;
pub mod people;
pub mod ranges;
pub mod shrink;
pub mod standin;
pub mod swarm;
pub mod world;

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::group::Group;
use crate::ledger::Ledger;
use crate::swarm::Swarm;
use crate::world::World;

/// A promise that was broken, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// What a step comes to.
pub type Step = Result<(), Broken>;

/// A run that broke no promise.
#[derive(Clone, Debug)]
pub struct Report {
    /// The digest of all that happened.
    pub digest: [u8; 32],
    /// How often each act, fault and rare state was met.
    pub met: BTreeMap<&'static str, u64>,
}

/// A run that broke one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}, act {step}, of {steps} steps: {broken}")]
pub struct Failure {
    /// Who the hosts were.
    pub hosts: Hosts,
    /// The seed.
    pub seed: u64,
    /// At which act of the enemy.
    pub step: u64,
    /// Of how many.
    pub steps: u64,
    /// What was broken.
    pub broken: Broken,
}

/// Who the hosts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// One enemy that plays them all ([`adversary`]).
    Hostile,
    /// Those that ship, on machines that fail ([`group`]).
    Shipping,
}

/// A run that goes on act by act.
trait Play {
    fn act(&mut self, chance: &mut Chance) -> Step;
    fn settle(&mut self, chance: &mut Chance) -> Step;
    fn ledger(&mut self) -> &mut Ledger;
}

impl Play for World {
    fn act(&mut self, chance: &mut Chance) -> Step {
        self.step(chance)
    }

    fn settle(&mut self, chance: &mut Chance) -> Step {
        liveness::settle(self, chance)
    }

    fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

impl Play for Group {
    fn act(&mut self, chance: &mut Chance) -> Step {
        self.step(chance)
    }

    fn settle(&mut self, chance: &mut Chance) -> Step {
        group::settle(self, chance)
    }

    fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

/// Runs a seed for so many steps, and then lets the group go on in peace. A step is a call of a core,
/// a message that somebody makes, or something that happens to a host.
///
/// # Errors
/// [`Failure`] with the first promise that was broken.
pub fn run(hosts: Hosts, seed: u64, steps: u64) -> Result<Report, Failure> {
    run_some(hosts, seed, steps, |_| true)
}

/// As [`run`], leaving out the acts that `takes` does not want.
///
/// # Errors
/// As [`run`].
pub fn run_some(
    hosts: Hosts,
    seed: u64,
    steps: u64,
    takes: impl FnMut(u64) -> bool,
) -> Result<Report, Failure> {
    run_told(hosts, seed, steps, takes, None).0
}

/// As [`run_some`], and tells what happened if `story` is there.
pub fn run_told(
    hosts: Hosts,
    seed: u64,
    steps: u64,
    takes: impl FnMut(u64) -> bool,
    story: Option<Vec<String>>,
) -> (Result<Report, Failure>, Vec<String>) {
    let play: Result<Box<dyn Play>, Broken> = match hosts {
        Hosts::Hostile => World::new(seed).map(boxed),
        Hosts::Shipping => Group::new(seed).map(boxed),
    };
    let failed = |step: u64| {
        move |broken: Broken| Failure {
            hosts,
            seed,
            step,
            steps,
            broken,
        }
    };
    let mut play = match play {
        Ok(play) => play,
        Err(broken) => return (Err(failed(0)(broken)), Vec::new()),
    };
    play.ledger().story = story;
    let done =
        live(&mut *play, (seed, steps), takes).map_err(|(step, broken)| failed(step)(broken));
    let ledger = play.ledger();
    let story = ledger.story.take().unwrap_or_default();
    let report = done.map(|()| Report {
        digest: ledger.digest(),
        met: std::mem::take(&mut ledger.met),
    });
    (report, story)
}

fn boxed(play: impl Play + 'static) -> Box<dyn Play> {
    Box::new(play)
}

fn live(
    play: &mut dyn Play,
    (seed, steps): (u64, u64),
    mut takes: impl FnMut(u64) -> bool,
) -> Result<(), (u64, Broken)> {
    let steps = Swarm::of_seed(seed).steps_of(steps);
    for act in 0.. {
        if play.ledger().taken >= steps {
            break;
        }
        if takes(act) {
            play.ledger().tell(|_| format!("act {act}"));
            let mut chance = Chance::of_step(seed, act);
            play.act(&mut chance).map_err(|broken| (act, broken))?;
        } else {
            // What is left out takes its time all the same.
            play.ledger().taken += 1;
        }
    }
    play.ledger().tell(|_| "the faults stop".to_owned());
    let mut chance = Chance::of_step(seed, u64::MAX - 2);
    play.settle(&mut chance).map_err(|broken| (steps, broken))
}
