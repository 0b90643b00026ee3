//! Explores all states within bounds, and says how many there were.

#![expect(
    clippy::print_stdout,
    reason = "a command for the terminal prints what it found"
)]

use std::time::Instant;

use anyhow::bail;
use clap::Parser;
use keyhaven_exhaustive::{Bounds, explore};

/// Explores every way in which hostile hosts can drive a small group of vault cores.
#[derive(Parser)]
struct Args {
    /// Cores of the group: 3 (none is put back), 4 or 5 (one may be).
    #[arg(long, default_value_t = 3)]
    cores: u8,
    /// Of three cores, all commit, and one may be put back.
    #[arg(long)]
    all: bool,
    /// The newest term.
    #[arg(long)]
    terms: Option<u64>,
    /// Entries on one line.
    #[arg(long)]
    entries: Option<u64>,
    /// Crashes, puttings-back of a memory included.
    #[arg(long)]
    crashes: Option<u8>,
    /// Visit also what differs in the names of cores and guesses only.
    #[arg(long)]
    every_name: bool,
    /// Take every step by itself, also those that cost the hosts nothing.
    #[arg(long)]
    every_step: bool,
    /// Cores whose memory may be put back, whatever the group bears.
    #[arg(long)]
    put_back: Option<u8>,
    /// Not the founder's, which leads at the beginning.
    #[arg(long)]
    spare_founder: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let usual = match args.cores {
        3 if args.all => Bounds::ALL_THREE,
        3 => Bounds::THREE,
        4 => Bounds::FOUR,
        5 => Bounds::FIVE,
        cores => bail!("a group of {cores} cores is not modelled: 3 to 5"),
    };
    let bounds = Bounds {
        term_max: args.terms.unwrap_or(usual.term_max),
        entries_max: args.entries.unwrap_or(usual.entries_max),
        crashes_max: args.crashes.unwrap_or(usual.crashes_max),
        put_back: args.put_back.unwrap_or(usual.put_back),
        spare_founder: args.spare_founder,
        every_name: args.every_name,
        every_step: args.every_step,
        ..usual
    };
    if usize::from(args.cores) < bounds.victims().end {
        bail!("a group of {} cores has not so many memories", args.cores);
    }
    let began = Instant::now();
    let explored = explore(bounds);
    println!("{bounds:?}");
    println!("{explored:?} in {:.1} s", began.elapsed().as_secs_f64());
    if !explored.broken.is_empty() {
        bail!("broken: {:?}", explored.broken);
    }
    if let Some(states) = bounds.known().filter(|states| *states != explored.states) {
        bail!("there were {states} states within these bounds");
    }
    Ok(())
}
