//! `cargo xtask bench database`: one chat database, small and large, through the whole engine.

use std::path::Path;

use clap::{Args, ValueEnum};
use keyhaven_corpus::{Corpus, Day, ImageDigest, RowsDigest, Size, Wal};

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

/// How a database is backed up.
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

/// What is compared: every page, or every row.
#[derive(PartialEq)]
enum Content {
    Image(ImageDigest),
    Rows(RowsDigest),
}

impl Source for Tier {
    type Content = Content;

    fn what(&self) -> &'static str {
        "messages"
    }

    /// 1.6 GB, as much as the store that is compared with peers, and 20 GB.
    fn usual(&self) -> [u32; 2] {
        [4_000_000, 50_000_000]
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

    fn content(&self, at: &Path) -> anyhow::Result<Content> {
        let database = at.join(DATABASE);
        Ok(match self {
            Self::Pages => Content::Image(ImageDigest::of_file(&database)?),
            Self::Rows => Content::Rows(RowsDigest::of_file(&database)?),
        })
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
        let differ = |tier: Tier| tier.content(&one).unwrap() != tier.content(&other).unwrap();
        for tier in [Tier::Pages, Tier::Rows] {
            assert!(!differ(tier));
        }
        Tier::Rows.change(&other).unwrap();
        for tier in [Tier::Pages, Tier::Rows] {
            assert!(differ(tier));
        }
    }
}
