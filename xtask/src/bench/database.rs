//! `cargo xtask bench database`: one chat database, small and large, through the whole engine.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::bail;
use clap::{Args, ValueEnum};
use keyhaven_corpus::{Corpus, Day, RowsDigest, Size, Wal};

use super::growth::{self, Source};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    growth: growth::Options,
    /// How the database is backed up.
    #[arg(long, value_enum, default_value_t = Tier::Pages)]
    tier: Tier,
}

/// How a database is backed up, and so what is compared after the restore: bytes or rows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    Pages,
    Rows,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    growth::run(&options.tier, &options.growth)
}

const DATABASE: &str = "Databases/msgstore.db";
/// So many messages are made up; more are these again.
const TOLD_MESSAGES: u32 = 1_000_000;
/// Messages of one more day.
const DAY_MESSAGES: u32 = 4_000;

impl Source for Tier {
    fn what(&self) -> &'static str {
        "messages"
    }

    /// 160 MB, and 20 GB.
    fn usual(&self) -> [u32; 2] {
        [400_000, 50_000_000]
    }

    /// As of files: an index pack, which a small database does not fill (8 MiB), and some unsteadiness.
    fn spread_bytes(&self) -> u64 {
        (8 + 3) << 20
    }

    fn backup_options(&self) -> &'static [&'static str] {
        match self {
            Self::Pages => &["--tier", "pages"],
            Self::Rows => &["--tier", "rows"],
        }
    }

    fn make(&self, at: &Path, count: u32) -> anyhow::Result<()> {
        let messages = count.min(TOLD_MESSAGES);
        let size = Size {
            messages,
            media_bytes: 0,
            seed: 1,
        };
        Corpus::create(at, size)?;
        let made = Corpus::repeat(at, count.checked_div(messages).unwrap_or(1))?;
        println!("{} MB of database", made.database_bytes / 1_000_000);
        Ok(())
    }

    fn change(&self, at: &Path) -> anyhow::Result<()> {
        let day = Day {
            messages: DAY_MESSAGES,
            media_files: 0,
            forwarded: 0,
            wal: Wal::Checkpoint,
        };
        Corpus::next_day(at, day)?;
        Ok(())
    }

    fn compare(&self, source: &Path, output: &Path) -> anyhow::Result<()> {
        let [here, there] = [source, output].map(|folder| folder.join(DATABASE));
        let is_same = match self {
            // Its log is folded in: the file is the image.
            Self::Pages => same_bytes(&here, &there)?,
            Self::Rows => RowsDigest::of_file(&here)? == RowsDigest::of_file(&there)?,
        };
        if !is_same {
            bail!("{} differs", there.display());
        }
        Ok(())
    }
}

fn same_bytes(one: &Path, other: &Path) -> anyhow::Result<bool> {
    let [one, other] = [File::open(one)?, File::open(other)?];
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let [mut one, mut other] = [one, other].map(|file| BufReader::with_capacity(1 << 20, file));
    let (mut here, mut there) = ([0; 4096], [0; 4096]);
    loop {
        let read = one.read(&mut here)?;
        let (here, there) = (here.get(..read), there.get_mut(..read));
        let (Some(here), Some(there)) = (here, there) else {
            return Ok(false);
        };
        other.read_exact(there)?;
        if read == 0 || here != there {
            return Ok(read == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_database_with_another_byte_or_row_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        for place in [&one, &other] {
            Tier::Pages.make(place, 300).unwrap();
        }
        for tier in [Tier::Pages, Tier::Rows] {
            tier.compare(&one, &other).unwrap();
        }
        Tier::Rows.change(&other).unwrap();
        for tier in [Tier::Pages, Tier::Rows] {
            assert!(tier.compare(&one, &other).is_err());
        }
    }
}
