//! `cargo xtask bench engine`: the backup engine beside the programs that people use today.
//!
//! Every program works on the same store, one after the other in each round, with warm files; the medians of the
//! rounds are compared. `cp -a` followed by `sync -f` is the measure of what the machine can do at all.
//! The programs compared encrypt, as ours does, and each keeps its own habit of flushing.
//!
//! ```text
//!   install ──► peers ──► steps ──► figures ──► table, goals, plot
//!                           └──► measure
//! ```

pub(crate) mod core;
pub(crate) mod database;
mod figures;
pub(crate) mod files;
mod goals;
pub(crate) mod growth;
mod install;
mod measure;
mod peers;
mod plot;
mod record;
pub(crate) mod sizes;
mod steps;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use keyhaven_corpus::{Corpus, Size};

use crate::workspace;
use figures::Figures;
use record::Setting;
use steps::Entrant;

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
    /// Write table and plot into `bench/`, instead of those of an earlier measurement.
    #[arg(long)]
    record: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.rounds == 0 {
        bail!("of no rounds there is no median");
    }
    let root = crate::root();
    let folder = workspace::target(&root)?.join("bench");
    fs::create_dir_all(&folder)?;
    let keyhaven = match &options.keyhaven {
        Some(file) => fs::canonicalize(file)?,
        None => build_keyhaven()?,
    };
    let peers = peers::available(&keyhaven, &folder, &options.only)?;
    let source = source(&folder, options)?;
    let setting = Setting::now(options)?;
    let mut entrants: Vec<Entrant> = peers
        .into_iter()
        .map(|peer| Entrant::new(peer, &folder, &source))
        .collect();
    steps::measure(options, &source, &mut entrants)?;

    let figures = Figures::of(&entrants);
    let text = record::text(&setting, &figures);
    let plot = plot::draw(&setting.to_string(), &figures);
    let (table_file, plot_file) = (folder.join("engine.md"), folder.join(record::PLOT));
    fs::write(&table_file, &text)?;
    fs::write(&plot_file, &plot)?;
    println!("\n{text}");
    println!(
        "This is in {} and {}.",
        table_file.display(),
        plot_file.display()
    );
    if options.record {
        record::keep(&root.join("bench"), &text, &plot)?;
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
