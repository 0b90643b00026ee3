//! `cargo xtask bench engine`: the backup engine beside the programs that people use today.
//!
//! Every program works on the same store, one after the other in each round, with warm files; the medians of the
//! rounds are compared. `cp -a` followed by `sync -f` is the measure of what the machine can do at all.
//! The programs compared encrypt, as ours does, and each keeps its own habit of flushing.

pub(crate) mod core;
pub(crate) mod files;
mod measure;
mod peers;
pub(crate) mod sizes;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use keyhaven_corpus::{Corpus, Day, Fingerprint, Size};

use crate::workspace;
use measure::{Cost, Stored};
use peers::{Peer, Places};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Messages of the store.
    #[arg(long, default_value_t = Size::BENCH.messages)]
    messages: u32,
    /// MiB of media of the store.
    #[arg(long, default_value_t = Size::BENCH.media_bytes >> 20)]
    media_mib: u64,
    /// How often each step is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure only these programs, by the beginning of their names.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The `keyhaven` program to measure, instead of the one built here.
    #[arg(long, value_name = "FILE")]
    keyhaven: Option<PathBuf>,
}

/// Everything measured of one program.
#[derive(Debug, Default)]
struct Results {
    first: Vec<Cost>,
    stored: Stored,
    unchanged: Vec<Cost>,
    /// A usual day, new media included.
    day: Option<(Cost, u64)>,
    /// A day of messages alone.
    messages_day: Option<(Cost, u64)>,
    restore: Vec<Cost>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = workspace::target(&crate::root())?.join("bench");
    fs::create_dir_all(&folder)?;
    let keyhaven = match &options.keyhaven {
        Some(file) => fs::canonicalize(file)?,
        None => build_keyhaven()?,
    };
    let mut peers = peers::available(&keyhaven)?;
    if !options.only.is_empty() {
        peers.retain(|peer| {
            options
                .only
                .iter()
                .any(|name| peer.name.starts_with(name.as_str()))
        });
    }
    let source = source(&folder, options)?;
    let mut results: Vec<Results> = peers.iter().map(|_| Results::default()).collect();
    measure_all(options, &folder, &source, &peers, &mut results)?;

    let text = table::write(&peers, &results, options.rounds);
    let file = folder.join("engine.md");
    fs::write(&file, &text)?;
    println!("\n{text}\nThis table is in {}.", file.display());
    Ok(())
}

fn measure_all(
    options: &Options,
    folder: &Path,
    source: &Path,
    peers: &[Peer],
    results: &mut [Results],
) -> anyhow::Result<()> {
    let places: Vec<Places> = peers
        .iter()
        .map(|peer| Places::new(folder, source, peer.name))
        .collect();
    for round in 1..=options.rounds {
        for ((peer, places), results) in peers.iter().zip(&places).zip(&mut *results) {
            places.clear()?;
            for line in &peer.prepare {
                measure::run(&line.command(peer, places), places)?;
            }
            measure::warm(source)?;
            let cost = measure::run(&peer.backup.command(peer, places), places)?;
            println!("round {round}: {} first backup: {cost}", peer.name);
            results.first.push(cost);
            results.stored = Stored::of(&places.repository)?;
        }
    }
    for round in 1..=options.rounds {
        for ((peer, places), results) in peers.iter().zip(&places).zip(&mut *results) {
            if peer.keeps_history {
                let cost = measure::run(&peer.backup.command(peer, places), places)?;
                println!("round {round}: {} unchanged: {cost}", peer.name);
                results.unchanged.push(cost);
            }
        }
    }
    for messages_only in [false, true] {
        let mut day = Day::of_use(options.messages.into());
        if messages_only {
            day = Day {
                media_files: 0,
                forwarded: 0,
                ..day
            };
        }
        Corpus::next_day(source, day)?;
        for ((peer, places), results) in peers.iter().zip(&places).zip(&mut *results) {
            if peer.keeps_history {
                let before = Stored::of(&places.repository)?;
                let cost = measure::run(&peer.backup.command(peer, places), places)?;
                let grown = Stored::of(&places.repository)?
                    .bytes
                    .saturating_sub(before.bytes);
                println!("{} next day: {cost}, {} more", peer.name, table::mib(grown));
                let slot = if messages_only {
                    &mut results.messages_day
                } else {
                    &mut results.day
                };
                *slot = Some((cost, grown));
            }
        }
    }
    for round in 1..=options.rounds {
        for ((peer, places), results) in peers.iter().zip(&places).zip(&mut *results) {
            places.clear_output()?;
            let cost = measure::run(&peer.restore.command(peer, places), places)?;
            println!("round {round}: {} restore: {cost}", peer.name);
            results.restore.push(cost);
        }
    }
    let expected = Fingerprint::of(source)?;
    for (peer, places) in peers.iter().zip(&places) {
        if peer.ours {
            let differences = expected.differences(&Fingerprint::of(&places.output)?);
            if !differences.is_empty() {
                bail!("what was restored differs: {differences:?}");
            }
            println!("{}: every byte and every row came back", peer.name);
        }
        places.clear()?;
    }
    Ok(())
}

/// The store to back up: a fresh copy of one that is made once and kept.
fn source(folder: &Path, options: &Options) -> anyhow::Result<PathBuf> {
    let kept = folder.join(format!("store-{}-{}", options.messages, options.media_mib));
    if !kept.exists() {
        println!(
            "making a store of {} messages and {} MiB",
            options.messages, options.media_mib
        );
        let making = folder.join("store-unfinished");
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        let media_bytes = options
            .media_mib
            .checked_mul(1 << 20)
            .context("too much media")?;
        Corpus::create(
            &making,
            Size {
                messages: options.messages,
                media_bytes,
                seed: 1,
            },
        )?;
        fs::rename(&making, &kept)?;
    }
    let source = folder.join("source");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&kept)
        .arg(&source)
        .status()?;
    if !copied.success() {
        bail!("the store cannot be copied to {}", source.display());
    }
    Ok(source)
}

/// Builds the command and returns where it is.
fn build_keyhaven() -> anyhow::Result<PathBuf> {
    let root = crate::root();
    workspace::output(
        &root,
        "cargo",
        &["build", "--release", "--package", "keyhaven-cli"],
    )?;
    Ok(workspace::target(&root)?.join("release/keyhaven"))
}
