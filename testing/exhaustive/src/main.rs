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
    /// Cores of the group: 3 (two commit, none is put back) or 4 (three commit, one may be put back).
    #[arg(long, default_value_t = 3)]
    cores: u8,
    /// Of three cores one may be put back, and all commit.
    #[arg(long)]
    put_back: bool,
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
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let usual = match (args.cores, args.put_back) {
        (3, false) => Bounds::THREE,
        (3, true) => Bounds::THREE_PUT_BACK,
        (4, _) => Bounds::FOUR,
        (cores, _) => bail!("a group of {cores} cores is not modelled: 3 or 4"),
    };
    let bounds = Bounds {
        term_max: args.terms.unwrap_or(usual.term_max),
        entries_max: args.entries.unwrap_or(usual.entries_max),
        crashes_max: args.crashes.unwrap_or(usual.crashes_max),
        every_name: args.every_name,
        ..usual
    };
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
