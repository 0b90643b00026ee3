//! `cargo xtask corpus`: a chat store to play with.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use keyhaven_corpus::{Corpus, Day, Pace, Size, Wal, Writer};

/// What to make, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// The store's folder. It is made if it is not there.
    dir: PathBuf,
    /// Messages in the chat database.
    #[arg(long, default_value_t = Size::DEMO.messages)]
    messages: u32,
    /// MiB of media.
    #[arg(long, default_value_t = Size::DEMO.media_bytes >> 20)]
    media_mib: u64,
    /// Equal seeds and sizes make equal stores.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let a day pass over the store that is there, instead of making one.
    #[arg(long, conflicts_with_all = ["messages", "media_mib", "seed"])]
    next_day: bool,
    /// At the end of the day, fold the write-ahead log into the database.
    #[arg(long, requires = "next_day")]
    checkpoint: bool,
    /// Write to the store that is there until this file exists; the journal of committed states
    /// is written beside it, with `.journal` added to the name.
    #[arg(long, value_name = "FILE", conflicts_with = "next_day")]
    write_until: Option<PathBuf>,
    /// Commits in a second, with `--write-until`; 0 for as many as go.
    #[arg(long, default_value_t = Pace::default().commits_per_second)]
    commits_per_second: u32,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(stop) = &options.write_until {
        let mut journal = stop.clone().into_os_string();
        journal.push(".journal");
        let pace = Pace {
            commits_per_second: options.commits_per_second,
            ..Pace::default()
        };
        let written = Writer::run(&options.dir, pace, journal.as_ref(), || !stop.exists())?;
        println!(
            "{} commits, {} states in the journal",
            written.commits, written.states
        );
        return Ok(());
    }
    let report = if options.next_day {
        let mut day = Day::of_use(Corpus::report(&options.dir)?.messages);
        if options.checkpoint {
            day.wal = Wal::Checkpoint;
        }
        Corpus::next_day(&options.dir, day)?
    } else {
        let media_bytes = options
            .media_mib
            .checked_mul(1 << 20)
            .context("that is more media than there is")?;
        let size = Size {
            messages: options.messages,
            media_bytes,
            seed: options.seed,
        };
        Corpus::create(&options.dir, size)?
    };
    println!(
        "{} messages in {} MiB of databases, {} media files in {} MiB, day {}",
        report.messages,
        report.database_bytes >> 20,
        report.media_files,
        report.media_bytes >> 20,
        report.days
    );
    Ok(())
}
