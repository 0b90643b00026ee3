//! The long simulation of vault cores among hostile hosts, and the exhaustive search of small groups.

use std::process::Command;

use anyhow::{Context as _, bail};

/// Everything after the command's name goes to the program, which has its own `--help`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// For the program, for example `--seeds 100000` or `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Options {
    /// What goes to the program.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }
}

/// `cargo xtask sim`.
pub(crate) fn simulate(options: &Options) -> anyhow::Result<()> {
    run("keyhaven-simulator", options)
}

/// `cargo xtask exhaustive`.
pub(crate) fn exhaust(options: &Options) -> anyhow::Result<()> {
    run("keyhaven-exhaustive", options)
}

fn run(package: &str, options: &Options) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", package, "--"])
        .args(&options.arguments)
        .current_dir(crate::root())
        .status()
        .context("cannot run it")?;
    if !status.success() {
        bail!("a promise was broken");
    }
    Ok(())
}
