//! What one vault core carries out, beside the cryptography that it needs.
//!
//! # What it is for
//!
//! A whole recovery is two requests: the core opens the channel and answers a KE1, then checks a KE3. The
//! cryptography of that has a price which nothing saves. This program says what the shipping core takes on top
//! (tree, leaves, tickets, replies, log), with ten million accounts in its tree.
//!
//! ```text
//!   round:   the cryptography alone   opening, KE2, KE3 of N recoveries
//!            the core                 execute, capture, release of the same number, in batches
//! ```
//!
//! Both are measured in turn, in processor time of the one thread that does the work, and the medians of the
//! rounds are compared.
//!
//! # What it refuses to do
//!
//! The devices' halves and the host's reading of the store are not in the figures: they run elsewhere.

#![expect(
    clippy::print_stdout,
    reason = "a command for the terminal prints what it found"
)]

mod clock;
mod people;
mod raw;
mod table;
mod timed;
mod vault;

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Parser;
use keyhaven_simulator::standin::StandIn;
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_core::{BATCH_MAX, FleetSecrets, dangerous};

use crate::raw::Raw;
use crate::table::{Round, Tables};
use crate::timed::TIMED;
use crate::vault::Vault;

/// Measures whole recoveries by one vault core, beside the cryptography that they need.
#[derive(Parser)]
struct Args {
    /// Accounts in the tree.
    #[arg(long, default_value_t = 10_000_000)]
    accounts: u32,
    /// How many of them have a password, and recover in turn.
    #[arg(long, default_value_t = 1024)]
    people: u32,
    /// Requests in a batch.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// How often each side is measured, with a batch of recoveries each time.
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Keep the filled tree in this folder, or take it from there.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        (1..=BATCH_MAX).contains(&args.batch),
        "a batch holds 1 to {BATCH_MAX} requests"
    );
    ensure!(
        args.people <= args.accounts && args.batch <= args.people.try_into()? && args.rounds > 0,
        "a batch is of some of the people, who are some of the accounts, and there is a round"
    );
    let mut entropy = SeededEntropy::new(1);
    let mut vault = prepared(&args, &mut entropy)?;
    let accounts = people::names(args.accounts, args.people)?;
    let mut raw = Raw::new(args.batch, &mut entropy)?;

    let secrets = vault.secrets().to_vec();
    let shipping = || FleetSecrets::decode(&secrets).context("the fleet's secrets");
    let watched = || dangerous::decode(&TIMED, &secrets).context("the fleet's secrets");

    let mut rounds = Vec::new();
    // Whole batches only, one a round, and one more round before the others to warm up.
    let batches = accounts.chunks_exact(args.batch).cycle();
    for (number, batch) in (0..=args.rounds).zip(batches) {
        let alone = raw.round(&mut entropy)?;
        vault.take_over(shipping()?, &mut entropy)?;
        let core = people::recover(&mut vault, batch, &mut entropy)?;
        // Once more, with a clock around each call of the suite: it says where the time goes, and
        // is not compared with anything.
        vault.take_over(watched()?, &mut entropy)?;
        timed::take();
        let inside = people::recover(&mut vault, batch, &mut entropy)?;
        let round = Round {
            alone,
            core,
            inside,
            parts: timed::take(),
            sealing: raw::sealing(args.batch, &mut entropy)?,
        };
        if number > 0 {
            println!("round {number}: {}", round.line(args.batch));
            rounds.push(round);
        }
    }
    let tables = Tables {
        rounds,
        people: args.people,
        accounts: args.accounts,
        batch: args.batch,
    };
    println!("\n{}", tables.write(&vault)?);
    Ok(())
}

/// A vault with all accounts in its tree: made, or as it was kept.
fn prepared(args: &Args, entropy: &mut SeededEntropy) -> anyhow::Result<Vault> {
    let kept = args.keep.as_ref().map(|folder| {
        let name = format!("core-{}-{}.tree", args.accounts, args.people);
        folder.join(name)
    });
    if let Some(file) = kept.as_ref().filter(|file| file.exists()) {
        println!("taking the tree from {}", file.display());
        return Vault::load(file);
    }
    let mut vault = Vault::new(entropy)?;
    let accounts = people::names(args.accounts, args.people)?;
    people::register(&mut vault, &accounts, args.batch, entropy)?;
    let secrets = vault.secrets().to_vec();
    let stand_in = dangerous::decode(&StandIn, &secrets).context("the fleet's secrets")?;
    vault.take_over(stand_in, entropy)?;
    vault.fill(args.accounts, &accounts, entropy)?;
    if let Some(file) = kept {
        vault.save(&file)?;
    }
    Ok(vault)
}
