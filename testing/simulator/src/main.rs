//! Runs seeds until one breaks a promise or the time is over.

#![expect(clippy::arithmetic_side_effects, reason = "counts of steps and seeds")]

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use keyhaven_simulator::coverage;
use keyhaven_simulator::shrink::shrink;
use keyhaven_simulator::{Failure, Hosts, run, run_told};

/// Simulates groups of vault cores among hostile hosts.
#[derive(Parser)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The hosts that ship, on machines that fail, instead of one enemy that plays them all.
    #[arg(long)]
    hosts: bool,
    /// How many steps of each.
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// Begin no seed after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Run each seed twice and compare the digests of all that happened.
    #[arg(long)]
    twice: bool,
    /// Say only whether a promise was broken, and by which seed.
    #[arg(long)]
    no_shrink: bool,
}

impl Args {
    const fn hosts(&self) -> Hosts {
        if self.hosts {
            Hosts::Shipping
        } else {
            Hosts::Hostile
        }
    }
}

/// From so many seeds on, every act and every rare state must have been met.
const SEEDS_FOR_ALL: u64 = 200;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let began = Instant::now();
    let next = AtomicU64::new(args.from);
    let end = args.from.saturating_add(args.seeds);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let outcomes: Vec<Worker> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| scope.spawn(|| work(&args, &next, end, began)))
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok())
            .collect()
    });
    let mut total = Worker::default();
    for outcome in outcomes {
        total.seeds += outcome.seeds;
        for (what, count) in outcome.met {
            *total.met.entry(what).or_default() += count;
        }
        total.failure = match (total.failure, outcome.failure) {
            (Some(one), Some(other)) if other.seed < one.seed => Some(other),
            (None, other) => other,
            (one, _) => one,
        };
    }
    if let Some(failure) = total.failure {
        return Err(explain(&failure, args.no_shrink));
    }
    let missing = coverage::missing(args.hosts(), &total.met);
    if total.seeds >= SEEDS_FOR_ALL && !missing.is_empty() {
        return Err(anyhow::anyhow!(
            "nothing was shown of: {}",
            missing.join("; ")
        ));
    }
    let seconds = began.elapsed().as_secs_f64();
    let steps = total.seeds * args.steps;
    let mut out = std::io::stdout().lock();
    for (what, count) in &total.met {
        writeln!(out, "{count:>14}  {what}")?;
    }
    let rate = steps.checked_div(began.elapsed().as_secs().max(1));
    writeln!(
        out,
        "{} seeds, {steps} steps, {seconds:.1} s, {} steps a second: no promise was broken",
        total.seeds,
        rate.unwrap_or(0)
    )?;
    Ok(())
}

#[derive(Default)]
struct Worker {
    seeds: u64,
    met: std::collections::BTreeMap<&'static str, u64>,
    failure: Option<Failure>,
}

fn work(args: &Args, next: &AtomicU64, end: u64, began: Instant) -> Worker {
    let limit = args.seconds.map(Duration::from_secs);
    let mut worker = Worker::default();
    while limit.is_none_or(|limit| began.elapsed() < limit) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        match run(args.hosts(), seed, args.steps) {
            Ok(report) => {
                worker.seeds += 1;
                for (what, count) in &report.met {
                    *worker.met.entry(what).or_default() += count;
                }
                let again = args.twice.then(|| run(args.hosts(), seed, args.steps));
                if again.is_some_and(|again| again.is_ok_and(|again| again.digest != report.digest))
                {
                    worker.failure = Some(Failure {
                        hosts: args.hosts(),
                        seed,
                        step: args.steps,
                        steps: args.steps,
                        broken: keyhaven_simulator::Broken("two runs of it differ".to_owned()),
                    });
                }
            }
            Err(failure) => worker.failure = Some(failure),
        }
        if worker.failure.is_some() {
            next.store(end, Ordering::Relaxed);
            break;
        }
    }
    worker
}

fn explain(failure: &Failure, no_shrink: bool) -> anyhow::Error {
    let seed = failure.seed;
    let replay = format!(
        "replay it with: cargo xtask sim{} --from {seed} --seeds 1 --steps {}",
        match failure.hosts {
            Hosts::Hostile => "",
            Hosts::Shipping => " --hosts",
        },
        failure.steps
    );
    if no_shrink {
        return anyhow::anyhow!("{failure}\n{replay}");
    }
    let shrunk = shrink(failure, 400);
    let (_, story) = run_told(
        failure.hosts,
        seed,
        failure.steps,
        |step| shrunk.steps.contains(&step),
        Some(Vec::new()),
    );
    anyhow::anyhow!(
        "{failure}\n{replay}\n{} of its steps are enough: {:?}\n{}\nand give: {}",
        shrunk.steps.len(),
        shrunk.steps,
        story.join("\n"),
        shrunk.failure
    )
}
