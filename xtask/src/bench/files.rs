//! `cargo xtask bench files`: many small files through the whole engine.
//!
//! The same steps for few files and for many: time may grow with the count, memory must not. The
//! benchmark fails where it does, and where a restored byte differs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::measure::{self, Cost, Stored};
use super::peers::{Places, Run};
use crate::workspace;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The smaller count of files.
    #[arg(long, default_value_t = 20_000)]
    few: u32,
    /// The larger one.
    #[arg(long, default_value_t = 200_000)]
    many: u32,
    /// The `keyhaven` program to measure, instead of the one built here.
    #[arg(long, value_name = "FILE")]
    keyhaven: Option<PathBuf>,
}

/// Files of a folder.
const FOLDER_FILES: u32 = 500;

/// By so much may the peak of many files exceed that of few: an index pack, which few files do not fill
/// (8 MiB), and the allocator's and the sampling's own unsteadiness.
const SPREAD_BYTES: u64 = (8 + 3) << 20;

/// The steps in their order, each a command of ours.
const STEPS: [(&str, &[&str]); 5] = [
    ("first backup", &["backup"]),
    ("unchanged", &["backup"]),
    ("one more file", &["backup"]),
    ("restore", &["restore", "--to", "{output}"]),
    ("verify all", &["verify", "--depth", "all"]),
];

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = workspace::target(&crate::root())?.join("bench");
    fs::create_dir_all(&folder)?;
    let keyhaven = match &options.keyhaven {
        Some(file) => fs::canonicalize(file)?,
        None => super::build_keyhaven()?,
    };
    let few = measure_all(&keyhaven, &folder, options.few)?;
    let many = measure_all(&keyhaven, &folder, options.many)?;
    let mut text = format!(
        "| | {} files | peak MiB | {} files | peak MiB |\n|--|--:|--:|--:|--:|\n",
        options.few, options.many
    );
    let mut grown = Vec::new();
    for ((step, _), (few, many)) in STEPS.iter().zip(few.iter().zip(&many)) {
        writeln!(
            text,
            "| {step} | {:.2} s | {:.1} | {:.2} s | {:.1} |",
            few.wall.as_secs_f64(),
            mib(few.anonymous),
            many.wall.as_secs_f64(),
            mib(many.anonymous),
        )?;
        if many.anonymous > few.anonymous.saturating_add(SPREAD_BYTES) {
            grown.push(*step);
        }
    }
    println!("\n{text}");
    if !grown.is_empty() {
        bail!("memory grows with the number of files: {grown:?}");
    }
    println!("Every byte came back, and memory does not grow with the number of files.");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure with one decimal for people"
)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn measure_all(keyhaven: &Path, folder: &Path, count: u32) -> anyhow::Result<Vec<Cost>> {
    let source = folder.join(format!("files-{count}"));
    make(&source, count)?;
    let places = Places::new(folder, &source, "files");
    places.clear()?;
    let home = places.folder.join("home/keyhaven").display().to_string();
    let command = |arguments: &[&str]| Run {
        program: keyhaven.into(),
        arguments: ["--home", home.as_str(), "--quiet"]
            .iter()
            .chain(arguments)
            .map(|argument| argument.replace("{output}", &places.output.display().to_string()))
            .collect(),
        environment: Vec::new(),
        folder: places.folder.clone(),
        flush: None,
    };
    let digits = text(&places.folder.join("digits"))?;
    let (from, to) = (text(&source)?, text(&places.repository)?);
    let setup = ["setup", "--source", &from, "--store", &to, "--recovery-key"];
    let setup = [&setup[..], &["--recovery-key-file", &digits]].concat();
    measure::run(&command(&setup), &places)?;
    measure::warm(&source)?;
    let mut costs = Vec::new();
    for (step, arguments) in STEPS {
        if step == "one more file" {
            fs::write(source.join("0000/one-more.opus"), content(count))?;
        }
        let cost = measure::run(&command(arguments), &places)?;
        println!("{count} files, {step}: {cost}");
        costs.push(cost);
    }
    let stored = Stored::of(&places.repository)?;
    println!(
        "{count} files: {:.1} MiB stored in {} objects",
        mib(stored.bytes),
        stored.objects
    );
    let compared = compare(&source, &places.output)?;
    if compared != u64::from(count).saturating_add(1) {
        bail!("{compared} files came back of {count} and one");
    }
    places.clear()?;
    fs::remove_dir_all(&source)?;
    Ok(costs)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().context("the folder's name is not UTF-8")?;
    Ok(text.to_owned())
}

/// A folder of small files in folders of 500, as a chat app leaves voice notes and stickers.
fn make(source: &Path, count: u32) -> anyhow::Result<()> {
    println!("making {count} files");
    if source.exists() {
        fs::remove_dir_all(source)?;
    }
    for number in 0..count {
        let folder = number.div_euclid(FOLDER_FILES);
        let folder = source.join(format!("{folder:04}"));
        if number.is_multiple_of(FOLDER_FILES) {
            fs::create_dir_all(&folder)?;
        }
        fs::write(
            folder.join(format!("PTT-20261126-WA{number:06}.opus")),
            content(number),
        )?;
    }
    Ok(())
}

/// From 100 bytes to 2 KiB that nothing compresses, another content for each number.
fn content(number: u32) -> Vec<u8> {
    let mut word = u64::from(number)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = word
        .wrapping_shr(40)
        .checked_rem(1_948)
        .unwrap_or(0)
        .saturating_add(100);
    (0..len)
        .map(|_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()[0]
        })
        .collect()
}

/// Compares every file of two folders and counts them.
fn compare(one: &Path, other: &Path) -> anyhow::Result<u64> {
    let mut files = 0_u64;
    for entry in fs::read_dir(one)? {
        let entry = entry?;
        let (here, there) = (entry.path(), other.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            files = files.saturating_add(compare(&here, &there)?);
        } else if fs::read(&here)? == fs::read(&there)? {
            files = files.saturating_add(1);
        } else {
            bail!("{} differs", there.display());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_file_with_other_bytes_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        make(&one, 501).unwrap();
        make(&other, 501).unwrap();
        assert_eq!(compare(&one, &other).unwrap(), 501);
        let last = other.join("0001/PTT-20261126-WA000500.opus");
        fs::write(last, content(7)).unwrap();
        assert!(compare(&one, &other).is_err());
    }
}
