//! `cargo xtask bench sizes`: what somebody who sees a store's objects can tell of the days.
//!
//! A cloud sees no names and no contents, but it sees when objects come, how many, and how large each is. People with
//! different habits back up once a day, the same in all else; then each pair of habits is handed to the best guesser that
//! there can be, who knows how often each habit shows each sight, and is shown one day. Half of the days told right is
//! no better than a coin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;
use keyhaven_corpus::{Corpus, Day, Size, Wal};

use crate::workspace;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Days of each habit.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Messages of the store that all begin with.
    #[arg(long, default_value_t = 40_000)]
    messages: u32,
    /// The `keyhaven` program to measure, instead of the one built here.
    #[arg(long, value_name = "FILE")]
    keyhaven: Option<PathBuf>,
}

/// What a person does on a day, about: from half of it to half as much again.
struct Habit {
    name: &'static str,
    messages: u32,
    photos: u32,
}

const HABITS: [Habit; 4] = [
    Habit {
        name: "20 messages",
        messages: 20,
        photos: 0,
    },
    Habit {
        name: "100 messages",
        messages: 100,
        photos: 0,
    },
    Habit {
        name: "500 messages",
        messages: 500,
        photos: 0,
    },
    Habit {
        name: "20 messages and two photos",
        messages: 20,
        photos: 2,
    },
];

/// The sizes of the objects that came on one day, the smallest first.
type Sight = Vec<u64>;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.days == 0 {
        bail!("of no days nothing can be told");
    }
    let folder = workspace::target(&crate::root())?
        .join("bench")
        .join("sizes");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let keyhaven = match &options.keyhaven {
        Some(file) => fs::canonicalize(file)?,
        None => super::build_keyhaven()?,
    };
    let begin = folder.join("begin");
    let size = Size {
        messages: options.messages,
        media_bytes: 8 << 20,
        seed: 1,
    };
    Corpus::create(&begin, size)?;
    let mut text = String::new();
    for tier in ["pages", "rows"] {
        let mut seen = Vec::new();
        for habit in &HABITS {
            println!("by {tier}, {} a day", habit.name);
            let person = Person::new(&folder, &begin, &keyhaven, tier)?;
            seen.push(person.live(habit, options.days)?);
        }
        tell(&mut text, tier, &seen)?;
    }
    fs::remove_dir_all(&folder)?;
    println!("\n{text}");
    Ok(())
}

/// Somebody who backs up once a day.
struct Person<'a> {
    keyhaven: &'a Path,
    tier: &'a str,
    folder: PathBuf,
}

impl<'a> Person<'a> {
    fn new(folder: &Path, begin: &Path, keyhaven: &'a Path, tier: &'a str) -> anyhow::Result<Self> {
        let person = Self {
            keyhaven,
            tier,
            folder: folder.join("person"),
        };
        if person.folder.exists() {
            fs::remove_dir_all(&person.folder)?;
        }
        fs::create_dir(&person.folder)?;
        let copied = Command::new("cp")
            .arg("-a")
            .arg(begin)
            .arg(person.folder.join("chats"))
            .status()?;
        if !copied.success() {
            bail!("the first store cannot be copied");
        }
        person.keyhaven(&[
            "setup",
            "--source",
            "chats",
            "--store",
            "store",
            "--recovery-key",
            "--recovery-key-file",
            "key",
        ])?;
        person.backup()?;
        Ok(person)
    }

    fn keyhaven(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let arguments = [&["--home", "home", "--quiet"], arguments].concat();
        let output = Command::new(self.keyhaven)
            .args(&arguments)
            .current_dir(&self.folder)
            .output()
            .context("keyhaven cannot be run")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("keyhaven {}: {}", arguments.join(" "), said.trim());
        }
        Ok(())
    }

    /// Backs up, and says how large the objects are that came to the store.
    fn backup(&self) -> anyhow::Result<Sight> {
        let store = self.folder.join("store");
        let before: BTreeSet<PathBuf> = objects(&store)?.into_keys().collect();
        self.keyhaven(&["backup", "--tier", self.tier])?;
        let mut sight: Sight = objects(&store)?
            .into_iter()
            .filter(|(path, _)| !before.contains(path))
            .map(|(_, bytes)| bytes)
            .collect();
        sight.sort_unstable();
        Ok(sight)
    }

    fn live(&self, habit: &Habit, days: u32) -> anyhow::Result<Vec<Sight>> {
        let chats = self.folder.join("chats");
        let mut seen = Vec::new();
        for day in 0..days {
            // From 50 to 149 of a hundred, in an order that does not show.
            let share = day
                .wrapping_mul(37)
                .checked_rem(100)
                .unwrap_or(0)
                .saturating_add(50);
            let messages = habit.messages.saturating_mul(share).div_ceil(100);
            let day = Day {
                messages,
                media_files: habit.photos,
                forwarded: 0,
                wal: Wal::Keep,
            };
            Corpus::next_day(&chats, day)?;
            seen.push(self.backup()?);
        }
        Ok(seen)
    }
}

/// The objects of a store in a folder, with their sizes.
fn objects(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(objects(&entry.path())?);
        } else {
            found.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(found)
}

fn tell(text: &mut String, tier: &str, seen: &[Vec<Sight>]) -> anyhow::Result<()> {
    writeln!(
        text,
        "| by {tier}, a day of | objects | KiB in all, least, median, most | different sights |\n|--|--:|--:|--:|"
    )?;
    for (habit, days) in HABITS.iter().zip(seen) {
        let mut sums: Vec<u64> = days.iter().map(|sight| sight.iter().sum()).collect();
        sums.sort_unstable();
        let kib = |at: usize| sums.get(at).map_or(0, |bytes| bytes.div_ceil(1024));
        let objects: BTreeSet<usize> = days.iter().map(Vec::len).collect();
        let (few, many) = (objects.first(), objects.last());
        let (few, many) = few.zip(many).context("no day")?;
        let objects = if few == many {
            few.to_string()
        } else {
            format!("{few} to {many}")
        };
        let last = sums.len().saturating_sub(1);
        writeln!(
            text,
            "| {} | {objects} | {}, {}, {} | {} |",
            habit.name,
            kib(0),
            kib(last / 2),
            kib(last),
            days.iter().collect::<BTreeSet<_>>().len(),
        )?;
    }
    writeln!(
        text,
        "\n| by {tier}, told apart | days told right, of 100 |\n|--|--:|"
    )?;
    for (at, (one, days)) in HABITS.iter().zip(seen).enumerate() {
        for (other, others) in HABITS.iter().zip(seen).skip(at).skip(1) {
            let right = told_right(days, others).context("as many days of each")?;
            writeln!(text, "| {}, {} | {right} |", one.name, other.name)?;
        }
    }
    writeln!(text)?;
    Ok(())
}

/// Of a hundred days, half of each kind, how many the best guesser tells right, who is shown a day's sight. None when
/// there are not as many days of each.
///
/// Of a sight that both show, the guesser says the one that shows it more often.
fn told_right(one: &[Sight], other: &[Sight]) -> Option<usize> {
    if one.len() != other.len() {
        return None;
    }
    let count = |days: &[Sight], sight: &Sight| days.iter().filter(|day| *day == sight).count();
    let sights: BTreeSet<&Sight> = one.iter().chain(other).collect();
    let right: usize = sights
        .into_iter()
        .map(|sight| count(one, sight).max(count(other, sight)))
        .sum();
    right
        .checked_mul(100)?
        .checked_div(one.len().checked_add(other.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sights_are_a_coin_and_others_are_told_apart() {
        let days = |sizes: &[u64]| -> Vec<Sight> { sizes.iter().map(|size| vec![*size]).collect() };
        assert_eq!(told_right(&days(&[1, 2]), &days(&[2, 1])), Some(50));
        assert_eq!(told_right(&days(&[1, 2]), &days(&[3, 4])), Some(100));
        assert_eq!(told_right(&days(&[1, 1]), &days(&[1, 2])), Some(75));
        assert_eq!(told_right(&days(&[1]), &days(&[1, 2])), None);
        assert_eq!(told_right(&[], &[]), None);
    }
}
