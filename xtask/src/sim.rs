//! The long simulation of vault cores among hostile hosts, that of the backup engine, and the exhaustive search of small groups.

use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Parser as _;

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

/// Lives of devices and their stores, from seeds.
#[derive(clap::Parser)]
#[command(name = "cargo xtask sim", about)]
struct Engine {
    /// The backup engine, instead of the vault's cores.
    #[arg(long)]
    engine: bool,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// How many steps of each.
    #[arg(long, default_value_t = 30)]
    steps: u64,
    /// Begin no seed after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Say only which promise was broken, by which seed, and all of its steps.
    #[arg(long)]
    no_shrink: bool,
}

/// `cargo xtask sim`.
pub(crate) fn simulate(options: &Options) -> anyhow::Result<()> {
    if options.arguments.iter().any(|one| one == "--engine") {
        let name = std::iter::once("sim".to_owned());
        return live(&Engine::parse_from(
            name.chain(options.arguments.iter().cloned()),
        ));
    }
    run("keyhaven-simulator", options)
}

/// `cargo xtask sim --engine`.
fn live(options: &Engine) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--quiet", "--release", "--package", "keyhaven"])
        .args(["--test", "hostile", "life::a_life", "--", "--nocapture"])
        .env("KEYHAVEN_LIFE_FROM", options.from.to_string())
        .env("KEYHAVEN_LIFE_SEEDS", options.seeds.to_string())
        .env("KEYHAVEN_LIFE_STEPS", options.steps.to_string())
        .current_dir(crate::root());
    if let Some(seconds) = options.seconds {
        command.env("KEYHAVEN_LIFE_SECONDS", seconds.to_string());
    }
    if !options.no_shrink {
        command.env("KEYHAVEN_LIFE_SHRINK", "1");
    }
    if !command.status().context("cannot run it")?.success() {
        bail!("a promise was broken");
    }
    Ok(())
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
