//! The long simulation of vault cores among hostile hosts.

use std::process::Command;

use anyhow::{Context as _, bail};

/// `cargo xtask sim`: everything after it goes to the simulator, which has its own `--help`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// For the simulator, for example `--seeds 100000` or `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "keyhaven-simulator",
            "--",
        ])
        .args(&options.arguments)
        .current_dir(crate::root())
        .status()
        .context("cannot run the simulator")?;
    if !status.success() {
        bail!("the simulation found something");
    }
    Ok(())
}
