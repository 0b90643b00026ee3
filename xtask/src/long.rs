//! The long forms of tests that are short in `cargo test`.

use std::process::Command;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

/// What is tried for longer than every change needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// 1,000 backups by pages and 1,000 by rows beside an app that commits 200 times a second (BACKUP-1, F18).
    Writer,
    /// 100 kills of the command `keyhaven`, and one at every change of a file (BACKUP-2, F17).
    Kills,
    /// Every mutation of a store of 200 objects, and 100,000 that are drawn (BACKUP-1, BACKUP-4, F15).
    Malicious,
    /// Every run of the command with the power lost at every point of it: each subset of up to ten changes that were not
    /// flushed, 20 seeds of more; and each change of a file that fails (BACKUP-1, BACKUP-2, F1, F2, F4).
    Power,
    /// 500 seeds of a store and of a cloud that fail in passing (BACKUP-1, BACKUP-2, F16).
    Flaky,
    /// 500 lives of a device and its store, each from a seed (BACKUP-1, BACKUP-2, BACKUP-4, BACKUP-5). `cargo xtask sim
    /// --engine` takes other seeds.
    Life,
}

impl What {
    /// Package, test program and the beginning of the tests' names.
    fn tests(self) -> [&'static str; 3] {
        match self {
            Self::Writer => ["keyhaven", "beside_a_writer", "every_backup"],
            Self::Kills => ["keyhaven-cli", "cli", "killed::"],
            Self::Malicious => ["keyhaven", "hostile", "malicious"],
            Self::Power => ["keyhaven-cli", "power", ""],
            Self::Flaky => ["keyhaven", "hostile", "flaky"],
            Self::Life => ["keyhaven", "hostile", "life"],
        }
    }
}

#[derive(Args)]
pub(crate) struct Options {
    /// Only these; all without it.
    #[arg(value_enum)]
    what: Vec<What>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let all = What::value_variants();
    let chosen = if options.what.is_empty() {
        all
    } else {
        &options.what
    };
    for what in chosen {
        let [package, program, name] = what.tests();
        let status = Command::new(env!("CARGO"))
            .args(["test", "--release", "--package", package])
            .args(["--test", program, name, "--", "--nocapture"])
            .env("KEYHAVEN_LONG", "1")
            .current_dir(crate::root())
            .status()
            .context("cannot run the tests")?;
        if !status.success() {
            bail!("{what:?} did not hold");
        }
    }
    Ok(())
}
