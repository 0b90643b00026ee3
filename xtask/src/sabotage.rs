//! Plants known bugs in the vault's core and in its hosts, one at a time, and sees the simulation find each.
//!
//! A checker that was never seen to fire is not yet a checker. The bugs are changes of the source
//! ([`switches`]) in a copy of the tree: the trusted core itself has no branch that a test could
//! throw.

mod switches;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};

use switches::{SWITCHES, Switch};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Plants only the bugs whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Seeds to look through for each bug.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// Steps of each seed.
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// Seconds to look for each bug, at most.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
}

/// What the simulation said of a planted bug.
struct Found {
    seed: u64,
    broken: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::root();
    let work = root.join("target").join("sabotage");
    let tree = work.join("tree");
    copy(&root, &tree)?;
    let wanted = |switch: &&Switch| {
        let only = options.only.as_deref().unwrap_or_default();
        switch.name.contains(only)
    };
    println!("| planted bug | found by | at seed | as |");
    println!("|---|---|---|---|");
    let mut unfound = Vec::new();
    for switch in SWITCHES.iter().filter(wanted) {
        let began = Instant::now();
        match plant(&root, &tree, &work, switch, options)? {
            Some(Found { seed, broken }) => println!(
                "| {} | {} | {seed} | {} |",
                switch.name,
                promise(&broken),
                broken
                    .split_once(": ")
                    .map_or(broken.as_str(), |(_, what)| what)
            ),
            None => unfound.push(switch.name),
        }
        eprintln!("{}: {:.0} s", switch.name, began.elapsed().as_secs_f64());
    }
    if !unfound.is_empty() {
        bail!("the simulation did not find: {}", unfound.join("; "));
    }
    Ok(())
}

fn promise(broken: &str) -> &str {
    broken.split(':').next().unwrap_or(broken)
}

/// Copies what Git knows of the tree, so that nothing that is built there touches this one.
fn copy(root: &Path, tree: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("cannot list the tree with git")?;
    for name in String::from_utf8_lossy(&listed.stdout).split('\0') {
        let from = root.join(name);
        if name.is_empty() || !from.is_file() {
            continue;
        }
        let to = tree.join(name);
        let content = std::fs::read(&from)?;
        // What is the same stays as it is, so that it is not built again.
        if std::fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&to, content).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

/// Plants a bug, lets the simulation look for it, and takes it out again.
fn plant(
    root: &Path,
    tree: &Path,
    work: &Path,
    switch: &Switch,
    options: &Options,
) -> anyhow::Result<Option<Found>> {
    let file = tree.join(switch.file);
    let whole = std::fs::read_to_string(root.join(switch.file))
        .with_context(|| format!("cannot read {}", switch.file))?;
    if whole.matches(switch.sound).count() != 1 {
        bail!(
            "the bug '{}' has no place any more: {} does not hold its code exactly once",
            switch.name,
            switch.file
        );
    }
    std::fs::write(&file, whole.replacen(switch.sound, switch.broken, 1))?;
    let found = simulate(tree, &work.join("target"), switch, options);
    std::fs::write(&file, whole)?;
    found
}

fn simulate(
    tree: &Path,
    target: &PathBuf,
    switch: &Switch,
    options: &Options,
) -> anyhow::Result<Option<Found>> {
    let cargo = |action: &str| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args([
                action,
                "--quiet",
                "--release",
                "--package",
                "keyhaven-simulator",
            ])
            .env("CARGO_TARGET_DIR", target)
            // A planted bug may leave something unused.
            .env("RUSTFLAGS", "-Awarnings")
            .current_dir(tree);
        command
    };
    let built = cargo("build").output().context("cannot build")?;
    if !built.status.success() {
        bail!(
            "the bug '{}' does not compile:\n{}",
            switch.name,
            String::from_utf8_lossy(&built.stderr)
        );
    }
    let ran = cargo("run")
        .args(["--", "--no-shrink", "--seeds", &options.seeds.to_string()])
        .args(switch.among_hosts_that_ship().then_some("--hosts"))
        .args(["--steps", &options.steps.to_string()])
        .args(["--seconds", &options.seconds.to_string()])
        .env("RUST_BACKTRACE", "0")
        .output()
        .context("cannot run the simulator")?;
    if ran.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let line = said
        .lines()
        .find(|line| line.contains("seed "))
        .with_context(|| {
            format!(
                "the simulator stopped at '{}' without a word: {said}",
                switch.name
            )
        })?;
    let (_, rest) = line.split_once("seed ").context("a seed")?;
    let (seed, rest) = rest.split_once(',').context("a seed")?;
    let (_, broken) = rest.split_once(": ").context("a promise")?;
    Ok(Some(Found {
        seed: seed.parse().context("a seed")?,
        broken: broken.to_owned(),
    }))
}
