//! F1, F2, F4, F5, F15, F16, F17, F19: the whole life of a device and its store, from one seed.
//!
//! ```text
//!   seed ──▶ plan: every step, drawn before the first one is made
//!              │
//!              ▼
//!   source ──▶ engine that ships ──▶ ledger ──▶ kill ──▶ weather ──▶ disk      after each step the oracle
//!   (files, databases in use)        (names)    (FailAt)  (Flaky)    (what a flush has not covered can go)
//! ```
//!
//! The steps are the seed's, and so are the states of the source. What the engine draws for itself is not: names and keys of
//! objects, and which of several threads comes first. So the same call of a run may be another one when a seed is run again.

mod back;
mod chance;
mod days;
mod disk;
mod local;
mod plan;
mod source;
mod steps;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::{Plan, Step};
use source::{Digest, State, is_mapped};
use world::{Broken, Held, World};

/// Seeds and steps in `cargo test`.
const SEEDS: u64 = 12;
const STEPS: usize = 30;
/// Seeds of the long form: `cargo xtask long life`.
const SEEDS_LONG: u64 = 500;
/// From so many seeds on, everything must have been met.
const SEEDS_FOR_ALL: u64 = 200;

/// What every long run meets, or it has shown nothing of it.
const ALL: [&str; 35] = [
    "a backup is complete",
    "a backup is killed",
    "a backup is killed that had come to a checkpoint",
    "a backup is partial",
    "a backup is unchanged",
    "a backup is verified",
    "a backup that is lost for good is given up",
    "a bit of local state is another",
    "a checkpoint is committed",
    "a database goes by rows",
    "a file changes without a sign",
    "a file of local state is cut",
    "a file of local state is gone",
    "a loss of power takes from the store",
    "a new device",
    "a restore is cut off",
    "a run commits several checkpoints",
    "a source is restored over",
    "a source that has shrunk is asked about",
    "a store that went back is refused",
    "all local state is gone",
    "an older backup is restored",
    "an older copy of a home is put back",
    "credentials expire in a backup",
    "faults strike a backup",
    "faults strike a restore",
    "packs are emptied",
    "the newest backup is restored",
    "what a source has shrunk from is pinned",
    "what days have left is gathered",
    "what kills cost is measured",
    "near",
    "far",
    "databases with a log",
    "databases with a journal",
];

/// What came of a life.
struct Lived {
    met: BTreeMap<&'static str, u64>,
    /// The state of all sources after each step.
    course: Vec<Digest>,
    broken: Option<(usize, Broken)>,
}

fn live(plan: &Plan) -> Lived {
    let mut world = World::new(plan.manner);
    world.meet(if plan.manner.far { "far" } else { "near" });
    world.meet(match plan.manner.log {
        true => "databases with a log",
        false => "databases with a journal",
    });
    let mut course = Vec::new();
    let mut broken = None;
    for (at, step) in plan.steps.iter().enumerate() {
        if let Err(what) = unless_it_panics(|| world.step(step)) {
            broken = Some((at, what));
            break;
        }
        course.push(world.sources());
    }
    if broken.is_none()
        && let Err(what) = unless_it_panics(|| world.ends_well())
    {
        broken = Some((plan.steps.len(), what));
    }
    Lived {
        met: world.met,
        course,
        broken,
    }
}

fn unless_it_panics(work: impl FnOnce() -> Held) -> Held {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Broken(format!(
            "a panic: {}",
            said.unwrap_or("of no words")
        )))
    })
}

impl World {
    /// A digest of what all sources hold, but for what SQLite draws for itself.
    fn sources(&self) -> Digest {
        let each = |device: &world::Device| {
            let mut state = State::clone(&device.state);
            state.retain(|path, _| !is_mapped(path));
            state
        };
        let states: Vec<_> = self.devices.iter().map(each).collect();
        *blake3::hash(format!("{states:?}").as_bytes()).as_bytes()
    }
}

/// Leaves out the steps that the failure does not need.
fn shrink(plan: &Plan, broken: &Broken) -> (Plan, Broken) {
    let promise = |broken: &Broken| {
        let promise = broken.0.split("BACKUP-").nth(1);
        promise
            .unwrap_or(&broken.0)
            .chars()
            .take(20)
            .collect::<String>()
    };
    let (mut best, mut told) = (plan.clone(), broken.clone());
    let mut size = best.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut fewer = best.clone();
            fewer.steps.drain(at..(at + size).min(best.steps.len()));
            match live(&fewer).broken {
                Some((last, what)) if promise(&what) == promise(broken) => {
                    fewer.steps.truncate(last + 1);
                    (best, told) = (fewer, what);
                }
                _ => at += size,
            }
        }
        size /= 2;
    }
    (best, told)
}

fn tell(plan: &Plan, broken: &Broken) -> String {
    let steps = plan.steps.iter().enumerate();
    let steps: String = steps
        .map(|(at, step)| format!("  {at:3} {step:?}\n"))
        .collect();
    format!(
        "seed {}: {}\n  {:?}\n{steps}",
        plan.seed, broken.0, plan.manner
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// BACKUP-1, BACKUP-2, BACKUP-4, BACKUP-5: whatever befalls a device and its store, every backup that was told to be complete
/// gives back just what the source held.
///
/// `KEYHAVEN_LIFE_FROM`, `_SEEDS`, `_STEPS` and `_SECONDS` choose the seeds, `_SHRINK` leaves out what a failure does not need:
/// `cargo xtask sim --engine`.
#[test]
fn a_life_of_backups_loses_nothing_that_was_told_to_be_safe() {
    let from = number("KEYHAVEN_LIFE_FROM").unwrap_or(0);
    let usual = match std::env::var_os("KEYHAVEN_LONG") {
        Some(_) => SEEDS_LONG,
        None => SEEDS,
    };
    let seeds = number("KEYHAVEN_LIFE_SEEDS").unwrap_or(usual);
    let steps = number("KEYHAVEN_LIFE_STEPS").map_or(STEPS, |steps| steps as usize);
    let seconds = number("KEYHAVEN_LIFE_SECONDS").map(Duration::from_secs);
    let (next, began) = (AtomicU64::new(from), Instant::now());
    let found: Mutex<(BTreeMap<&str, u64>, u64, Vec<String>)> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            let is_over = seconds.is_some_and(|seconds| began.elapsed() >= seconds);
            if seed >= from + seeds || is_over || !found.lock().unwrap().2.is_empty() {
                return;
            }
            let plan = Plan::draw(seed, steps);
            let lived = live(&plan);
            let failure = lived.broken.map(|(last, broken)| {
                let mut plan = plan;
                plan.steps.truncate(last + 1);
                match std::env::var_os("KEYHAVEN_LIFE_SHRINK") {
                    Some(_) => {
                        let (plan, broken) = shrink(&plan, &broken);
                        tell(&plan, &broken)
                    }
                    None => tell(&plan, &broken),
                }
            });
            let mut found = found.lock().unwrap();
            for (what, count) in lived.met {
                *found.0.entry(what).or_default() += count;
            }
            found.1 += 1;
            found.2.extend(failure);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let (met, lives, failures) = found.into_inner().unwrap();
    for (what, count) in &met {
        println!("{count:>9}  {what}");
    }
    println!(
        "{lives} lives of {steps} steps, {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(
        failures.is_empty(),
        "{}again: cargo xtask sim --engine --from SEED --seeds 1 --steps {steps}",
        failures.concat()
    );
    let missing: Vec<_> = ALL
        .into_iter()
        .filter(|what| !met.contains_key(what))
        .collect();
    assert!(
        lives < SEEDS_FOR_ALL || missing.is_empty(),
        "nothing was shown of: {missing:?}"
    );
}

/// A seed gives the same steps, and the same states of the source, each time.
#[test]
fn a_seed_is_one_course_of_steps() {
    for seed in [3, 5] {
        let plan = Plan::draw(seed, STEPS);
        assert_eq!(plan, Plan::draw(seed, STEPS));
        assert!(plan.steps != Plan::draw(seed + 1, STEPS).steps);
        // A restore over the source brings the state of a backup, and which those are may differ.
        let is_own = |step: &&Step| !matches!(step, Step::GoBack { .. } | Step::NewDevice);
        let own = plan.steps.iter().take_while(is_own).count();
        let plan = Plan {
            steps: plan.steps[..own].to_vec(),
            ..plan
        };
        let (one, other) = (live(&plan), live(&plan));
        assert!(one.broken.is_none() && other.broken.is_none());
        assert!(
            one.course.len() == own && one.course == other.course,
            "seed {seed}"
        );
    }
}
