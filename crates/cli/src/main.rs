//! The `keyhaven` command.

mod args;
mod backup;
mod browse;
mod demo;
mod failure;
mod interrupt;
mod password;
mod protect;
mod restore;
mod setup;
mod status;
mod ui;
mod vault;
mod verify;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use failure::Outcome;
use ui::Voice;
use world::World;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let voice = Voice {
        json: cli.json,
        quiet: cli.quiet,
    };
    match run(cli, voice) {
        Ok(code) if ui::is_untold() => {
            voice.warn("keyhaven: what there was to tell could not be written to standard output");
            match code == ExitCode::SUCCESS {
                true => ExitCode::FAILURE,
                false => code,
            }
        }
        Ok(code) => code,
        Err(failure) => {
            voice.warn(format!("keyhaven: {:#}", failure.cause));
            voice.warn(failure.advice());
            voice.answer(&serde_json::json!({
                "ok": false,
                "error": format!("{:#}", failure.cause),
                "remedy": failure.remedy_word(),
            }));
            failure.exit()
        }
    }
}

fn run(cli: Cli, voice: Voice) -> Outcome {
    let Cli {
        home,
        embedded_vault,
        command,
        ..
    } = cli;
    let world = || World::new(home, embedded_vault, voice);
    match command {
        Command::VaultProcess { args } => Ok(vault::process(args)),
        Command::WriterProcess { root, journal } => demo::writer_process(&root, &journal),
        Command::Demo(args) => demo::run(&args, voice),
        Command::Setup(args) => setup::run(&world()?, &args),
        Command::Backup(args) => backup::run(&world()?, &args),
        Command::Restore(args) => restore::run(&world()?, &args),
        Command::Browse(args) => browse::run(&world()?, &args),
        Command::Verify(args) => verify::run(&world()?, &args),
        Command::Password { action } => password::run(&world()?, &action),
        Command::Device { action } => password::device(&world()?, &action),
        Command::Key { action } => protect::key(&world()?, &action),
        Command::Status => status::run(&world()?),
    }
}
