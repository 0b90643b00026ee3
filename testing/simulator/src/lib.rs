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
pub mod chance;
pub mod chronicle;
pub mod coverage;
pub mod hands;
pub mod invariants;
pub mod ledger;
pub mod liveness;
pub mod model;
pub mod people;
pub mod shrink;
pub mod standin;
pub mod swarm;
pub mod world;

use std::collections::BTreeMap;

use crate::chance::Chance;
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
    /// The seed.
    pub seed: u64,
    /// At which act of the enemy.
    pub step: u64,
    /// Of how many.
    pub steps: u64,
    /// What was broken.
    pub broken: Broken,
}

/// Runs a seed for so many steps, which are calls of cores and messages of people, and then lets the
/// group go on in peace.
///
/// # Errors
/// [`Failure`] with the first promise that was broken.
pub fn run(seed: u64, steps: u64) -> Result<Report, Failure> {
    run_some(seed, steps, |_| true)
}

/// As [`run`], leaving out the acts that `takes` does not want.
///
/// # Errors
/// As [`run`].
pub fn run_some(seed: u64, steps: u64, takes: impl FnMut(u64) -> bool) -> Result<Report, Failure> {
    run_told(seed, steps, takes, None).0
}

/// As [`run_some`], and tells what happened if `story` is there.
pub fn run_told(
    seed: u64,
    steps: u64,
    takes: impl FnMut(u64) -> bool,
    story: Option<Vec<String>>,
) -> (Result<Report, Failure>, Vec<String>) {
    let failed = |step: u64| {
        move |broken: Broken| Failure {
            seed,
            step,
            steps,
            broken,
        }
    };
    let mut world = match World::new(seed) {
        Ok(world) => world,
        Err(broken) => return (Err(failed(0)(broken)), Vec::new()),
    };
    world.ledger.story = story;
    let done =
        live(&mut world, (seed, steps), takes).map_err(|(step, broken)| failed(step)(broken));
    let story = world.ledger.story.take().unwrap_or_default();
    let report = done.map(|()| Report {
        digest: world.ledger.digest(),
        met: world.ledger.met,
    });
    (report, story)
}

fn live(
    world: &mut World,
    (seed, steps): (u64, u64),
    mut takes: impl FnMut(u64) -> bool,
) -> Result<(), (u64, Broken)> {
    let steps = world.swarm.steps_of(steps);
    for act in 0.. {
        if world.taken >= steps {
            break;
        }
        if takes(act) {
            world.ledger.tell(|_| format!("act {act}"));
            let mut chance = Chance::of_step(seed, act);
            world.step(&mut chance).map_err(|broken| (act, broken))?;
        } else {
            // What is left out takes its time all the same.
            world.taken += 1;
        }
    }
    world.ledger.tell(|_| "the faults stop".to_owned());
    let mut chance = Chance::of_step(seed, u64::MAX - 2);
    liveness::settle(world, &mut chance).map_err(|broken| (steps, broken))
}
