//! Fuzzing of every decoder that a stranger can reach, one target after the other.
//!
//! The targets are functions of `testing/fuzz-targets`; `fuzz/` hands them to libFuzzer, which needs
//! nightly Rust. Without it, `cargo test -p keyhaven-fuzz-targets` still replays the corpora.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;

/// What no target may take: all of it is bounded by what a stranger may send (VAULT-10, A12).
const MEMORY_MIB_MAX: u32 = 1024;

#[derive(Args)]
pub(crate) struct Options {
    /// Only this target; all without it.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// `cargo xtask fuzz`.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::root();
    let all = targets(&root)?;
    let chosen: Vec<&String> = match &options.target {
        None => all.iter().collect(),
        Some(name) => all.iter().filter(|target| *target == name).collect(),
    };
    if chosen.is_empty() {
        bail!("there is no such target; there are {}", all.join(", "));
    }
    tools(&root)?;
    let mut broken = Vec::new();
    for target in chosen {
        let begun = Instant::now();
        let new = scratch(&root, target)?;
        let corpus = root.join("fuzz/corpus").join(target);
        let status = cargo_fuzz(&root)
            .args(["run", "--sanitizer", "none", target])
            .args([&new, &corpus])
            .arg("--")
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"])
            .status()
            .context("cannot run cargo-fuzz")?;
        let took = begun.elapsed().as_secs();
        if status.success() {
            println!("{target}: held, {took} s with building");
        } else {
            println!("{target}: found something ({status})");
            found(&root, target)?;
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        bail!("did not hold: {}", broken.join(", "))
    }
}

/// Says which inputs broke the target, and how to see it again.
fn found(root: &Path, target: &str) -> anyhow::Result<()> {
    let folder = root.join("fuzz/artifacts").join(target);
    let Ok(inputs) = std::fs::read_dir(&folder) else {
        println!("  no input was kept: the target did not build, or broke before the first");
        return Ok(());
    };
    for input in inputs {
        let path = input?.path();
        println!("  input:  {}", path.display());
        println!(
            "  replay: cp {} fuzz/corpus/{target}/ && cargo test --release -p keyhaven-fuzz-targets {target}",
            path.display()
        );
    }
    Ok(())
}

/// Where new inputs go: the committed corpus stays as it is until somebody minimises into it.
fn scratch(root: &Path, target: &str) -> anyhow::Result<PathBuf> {
    let folder = root.join("fuzz/target/found").join(target);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// The targets: one file each.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn cargo_fuzz(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    // The toolchain of this process would win over `+nightly`.
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .args(["+nightly", "fuzz"])
        .current_dir(root);
    command
}

fn tools(root: &Path) -> anyhow::Result<()> {
    let works = |command: &mut Command| command.output().is_ok_and(|ran| ran.status.success());
    let mut nightly = Command::new("cargo");
    nightly
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["+nightly", "--version"]);
    if !works(&mut nightly) {
        bail!("nightly Rust is missing: `rustup toolchain install nightly`");
    }
    if !works(cargo_fuzz(root).arg("--version")) {
        bail!("cargo-fuzz is missing: `cargo install --locked cargo-fuzz`");
    }
    Ok(())
}
