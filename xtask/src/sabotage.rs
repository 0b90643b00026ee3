//! Plants known bugs in the vault's core, in its hosts and in the backup engine, one at a time, and sees each found: by
//! the simulation, or by the engine's tests.
//!
//! A checker that was never seen to fire is not yet a checker, and one that fires at anything is none: the tests are run
//! without a bug first. The bugs are changes of the source
//! ([`switches`], [`engine`], [`power`], [`start`]) in a copy of the tree: what ships has no branch that a test could throw.

mod engine;
mod power;
mod start;
mod switches;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use engine::ENGINE;
use power::POWER;
use start::START;
use switches::{Checker, SWITCHES, Switch};

/// What is told instead of a planted bug's name where there is none.
const NOTHING: &str = "nothing planted";
/// A profile of its own: much is built, and each once.
const PROFILE: &str = "planted";

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

/// What was said of a planted bug.
enum Found {
    /// By the simulation: which promise was broken, and at which seed.
    BySeed { seed: u64, broken: String },
    /// By a test of this name.
    ByTest(String),
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
    let all = SWITCHES.iter().chain(ENGINE).chain(POWER).chain(START);
    let wanted: Vec<&Switch> = all.filter(wanted).collect();
    see_sound(&tree, &work.join("target"), &wanted, options)?;
    println!("| planted bug | found by | at seed | as |");
    println!("|---|---|---|---|");
    let mut unfound = Vec::new();
    for switch in wanted {
        let began = Instant::now();
        match plant(&root, &tree, &work, switch, options) {
            Ok(Some(Found::ByTest(test))) => println!("| {} | `{test}` | | |", switch.name),
            Ok(Some(Found::BySeed { seed, broken })) => println!(
                "| {} | {} | {seed} | {} |",
                switch.name,
                promise(&broken),
                broken
                    .split_once(": ")
                    .map_or(broken.as_str(), |(_, what)| what)
            ),
            Ok(None) => unfound.push(format!("not found: {}", switch.name)),
            // The others are still looked for.
            Err(error) => unfound.push(format!("{error:#}")),
        }
        eprintln!("{}: {:.0} s", switch.name, began.elapsed().as_secs_f64());
    }
    if !unfound.is_empty() {
        bail!("{}", unfound.join("\n"));
    }
    Ok(())
}

/// Fails where a test of those that are to find the bugs fails without any.
fn see_sound(
    tree: &Path,
    target: &Path,
    wanted: &[&Switch],
    options: &Options,
) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    for switch in wanted {
        let Checker::Tests(chosen) = switch.checker() else {
            continue;
        };
        if seen.contains(&chosen) {
            continue;
        }
        seen.push(chosen);
        if let Some(Found::ByTest(name)) = test(tree, target, NOTHING, chosen, options)? {
            bail!("`{name}` fails before anything is planted");
        }
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

/// Plants a bug, has it looked for, and takes it out again.
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
    let target = work.join("target");
    let found = match switch.checker() {
        Checker::Simulation { hosts } => simulate(tree, &target, switch, hosts, options),
        Checker::Tests(chosen) => test(tree, &target, switch.name, chosen, options),
    };
    std::fs::write(&file, whole)?;
    found
}

/// Cargo in the copy.
fn cargo(tree: &Path, target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .env("CARGO_TARGET_DIR", target)
        .env("RUST_BACKTRACE", "0")
        .current_dir(tree);
    command
}

fn build(mut command: Command, planted: &str) -> anyhow::Result<()> {
    let built = command.output().context("cannot build")?;
    if !built.status.success() {
        bail!(
            "'{planted}' does not compile:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    Ok(())
}

/// Runs the chosen tests until one of them fails.
fn test(
    tree: &Path,
    target: &Path,
    planted: &str,
    chosen: &[&str],
    options: &Options,
) -> anyhow::Result<Option<Found>> {
    let cargo = || {
        let mut command = cargo(tree, target);
        command.args(["test", "--quiet", "--profile", PROFILE]);
        command.args(chosen);
        command
    };
    let mut building = cargo();
    building.arg("--no-run");
    build(building, planted)?;
    let said = target.with_file_name("said");
    let out = std::fs::File::create(&said).context("cannot keep what tests say")?;
    let mut child = cargo()
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .process_group(0)
        .spawn()
        .context("cannot run the tests")?;
    let (began, limit) = (Instant::now(), Duration::from_secs(options.seconds));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() >= limit {
            // The tests, and what they started, are in a group of their own.
            let group = Pid::from_raw(i32::try_from(child.id())?);
            killpg(group, Signal::SIGKILL)?;
            child.wait()?;
            bail!("the tests with '{planted}' did not end in time");
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if status.success() {
        return Ok(None);
    }
    // A list of names, each on a line of its own, comes after the line `failures:`; the last such list is it.
    let said = std::fs::read_to_string(&said)?;
    let (_, names) = said
        .rsplit_once("failures:\n")
        .with_context(|| format!("the tests stopped at '{planted}' without a word: {said}"))?;
    let name = names.trim_start().lines().next().unwrap_or_default();
    Ok(Some(Found::ByTest(name.trim().to_owned())))
}

/// Lets the simulation look for it.
fn simulate(
    tree: &Path,
    target: &Path,
    switch: &Switch,
    hosts: bool,
    options: &Options,
) -> anyhow::Result<Option<Found>> {
    let cargo = |action: &str| {
        let mut command = cargo(tree, target);
        command.args([action, "--quiet", "--profile", PROFILE]);
        command.args(["--package", "keyhaven-simulator"]);
        command
    };
    build(cargo("build"), switch.name)?;
    let ran = cargo("run")
        .args(["--", "--no-shrink", "--seeds", &options.seeds.to_string()])
        .args(hosts.then_some("--hosts"))
        .args(["--steps", &options.steps.to_string()])
        .args(["--seconds", &options.seconds.to_string()])
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
    Ok(Some(Found::BySeed {
        seed: seed.parse().context("a seed")?,
        broken: broken.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_bug_has_its_place() {
        let root = crate::root();
        let homeless = SWITCHES.iter().chain(ENGINE).chain(POWER).chain(START);
        let homeless = homeless.filter(|switch| {
            let whole = std::fs::read_to_string(root.join(switch.file)).unwrap_or_default();
            whole.matches(switch.sound).count() != 1
        });
        let homeless: Vec<_> = homeless.map(|switch| (switch.name, switch.file)).collect();
        assert!(homeless.is_empty(), "{homeless:?}");
    }
}
