//! The same steps for a small source and for a large one.
//!
//! Time may grow with the source, memory must not. It fails where memory does, and where what is restored
//! differs. The large source is gone while it is restored: what it held is kept as a digest, so that the disk need
//! not have room for it a second time.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::measure::{self, Cost, Stored};
use super::peers::{Places, Run};
use crate::workspace;

/// How large the two are.
#[derive(Args)]
pub(crate) struct Options {
    /// How many of them the small source has, instead of the usual number.
    #[arg(long)]
    few: Option<u32>,
    /// How many the large one has.
    #[arg(long)]
    many: Option<u32>,
    /// The `keyhaven` program to measure, instead of the one built here.
    #[arg(long, value_name = "FILE")]
    keyhaven: Option<PathBuf>,
}

/// A source that can be made in any size.
pub(super) trait Source {
    /// What is compared of a source and of what came back: digests.
    type Content: PartialEq;
    /// What is counted, in plural.
    fn what(&self) -> &'static str;
    /// How many a small and a large one have.
    fn usual(&self) -> [u32; 2];
    /// What every backup is told beside the rest.
    fn backup_options(&self) -> &'static [&'static str];
    /// Makes one, in a folder that is not there.
    fn make(&self, at: &Path, count: u32) -> anyhow::Result<()>;
    /// Changes a little of it.
    fn change(&self, at: &Path) -> anyhow::Result<()>;
    /// What is in it.
    fn content(&self, at: &Path) -> anyhow::Result<Self::Content>;
}

/// The steps in their order, each a command of ours.
const STEPS: [(&str, &[&str]); 6] = [
    ("first backup", &["backup"]),
    ("unchanged", &["backup"]),
    (CHANGED, &["backup"]),
    ("status", &["status"]),
    (RESTORE, &["restore", "--to", "{output}"]),
    ("verify all", &["verify", "--depth", "all"]),
];
const CHANGED: &str = "a little changed";
const RESTORE: &str = "restore";

/// By so much may a peak differ from run to run: the allocator's and the sampling's unsteadiness.
const UNSTEADY_BYTES: u64 = 3 << 20;

/// What the peak of a large source may be where that of a small one is known: a fifth more.
const fn limit(few_bytes: u64) -> u64 {
    few_bytes
        .saturating_add(few_bytes.div_euclid(5))
        .saturating_add(UNSTEADY_BYTES)
}

pub(super) fn run(kind: &impl Source, options: &Options) -> anyhow::Result<()> {
    let folder = workspace::target(&crate::root())?.join("bench");
    fs::create_dir_all(&folder)?;
    let keyhaven = match &options.keyhaven {
        Some(file) => fs::canonicalize(file)?,
        None => super::build_keyhaven()?,
    };
    let [usual_few, usual_many] = kind.usual();
    let few = options.few.unwrap_or(usual_few);
    let many = options.many.unwrap_or(usual_many);
    let of_few = measure_all(kind, &keyhaven, &folder, few)?;
    let of_many = measure_all(kind, &keyhaven, &folder, many)?;
    let what = kind.what();
    let mut text =
        format!("| | {few} {what} | peak MiB | {many} {what} | peak MiB |\n|--|--:|--:|--:|--:|\n");
    let mut grown = Vec::new();
    for ((step, _), (few, many)) in STEPS.iter().zip(of_few.iter().zip(&of_many)) {
        writeln!(
            text,
            "| {step} | {:.2} s | {:.1} | {:.2} s | {:.1} |",
            few.wall.as_secs_f64(),
            mib(few.anonymous),
            many.wall.as_secs_f64(),
            mib(many.anonymous),
        )?;
        if many.anonymous > limit(few.anonymous) {
            grown.push(*step);
        }
    }
    println!("\n{text}");
    if !grown.is_empty() {
        bail!("memory grows with the number of {what}: {grown:?}");
    }
    println!("All of it came back, and memory does not grow with the number of {what}.");
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure with one decimal for people"
)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn measure_all(
    kind: &impl Source,
    keyhaven: &Path,
    folder: &Path,
    count: u32,
) -> anyhow::Result<Vec<Cost>> {
    let what = kind.what();
    let source = folder.join(format!("growing-{count}"));
    println!("making {count} {what}");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    kind.make(&source, count)?;
    let places = Places::new(folder, &source, "growing");
    places.clear()?;
    let home = places.folder.join("home/keyhaven").display().to_string();
    let command = |arguments: &[&str]| {
        let more: &[&str] = match arguments {
            ["backup", ..] => kind.backup_options(),
            _ => &[],
        };
        Run {
            program: keyhaven.into(),
            arguments: ["--home", home.as_str(), "--quiet"]
                .iter()
                .chain(arguments)
                .chain(more)
                .map(|argument| argument.replace("{output}", &places.output.display().to_string()))
                .collect(),
            environment: Vec::new(),
            folder: places.folder.clone(),
            flush: None,
            awaited: None,
        }
    };
    let digits = text(&places.folder.join("digits"))?;
    let (from, to) = (text(&source)?, text(&places.repository)?);
    let setup = ["setup", "--source", &from, "--store", &to, "--recovery-key"];
    let setup = [&setup[..], &["--recovery-key-file", &digits]].concat();
    measure::run(&command(&setup), &places)?;
    measure::warm(&source)?;
    let mut costs = Vec::new();
    let mut expected = None;
    for (step, arguments) in STEPS {
        if step == CHANGED {
            kind.change(&source)?;
            expected = Some(kind.content(&source)?);
        } else if step == RESTORE {
            fs::remove_dir_all(&source)?;
        }
        let cost = measure::run(&command(arguments), &places)?;
        println!("{count} {what}, {step}: {cost}");
        costs.push(cost);
    }
    let stored = Stored::of(&places.repository)?;
    println!(
        "{count} {what}: {:.1} MiB stored in {} objects",
        mib(stored.bytes),
        stored.objects
    );
    if Some(kind.content(&places.output)?) != expected {
        bail!("what came back in {} differs", places.output.display());
    }
    places.clear()?;
    Ok(costs)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().context("the folder's name is not UTF-8")?;
    Ok(text.to_owned())
}
