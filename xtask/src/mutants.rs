//! Small mistakes in the vault's core, made one at a time: its own tests must see each.
//!
//! Cargo-mutants makes them, in a copy of the source. Which are left out, and why, stands in `.cargo/mutants.toml`:
//! a mistake that survives is either a test that is missing or a line there with its reason.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{sim, workspace};

/// Cases of a property test for each mistake: the many mistakes make up for the few cases.
const CASES: &str = "16";

/// `cargo xtask mutants`.
pub(crate) fn run(options: &sim::Options) -> anyhow::Result<()> {
    let root = crate::root();
    for tool in ["mutants", "nextest"] {
        if workspace::output(&root, "cargo", &[tool, "--version"]).is_err() {
            bail!("cargo-{tool} is missing: `cargo install cargo-{tool}`");
        }
    }
    let status = Command::new(env!("CARGO"))
        .args(["mutants", "--package", "keyhaven-vault-core"])
        .args(options.arguments())
        .env("PROPTEST_CASES", CASES)
        .current_dir(&root)
        .status()
        .context("cannot run cargo-mutants")?;
    if !status.success() {
        bail!("a mistake was not seen, or not all could be tried");
    }
    Ok(())
}
