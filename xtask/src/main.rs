//! The project's own checks, benchmarks and generators.
//!
//! `cargo xtask tidy` holds what the architecture means: what a core crate may stand on, which
//! way arrows point, and that every promise is named by code and by a test. `cargo xtask corpus` makes a chat
//! store to play with, `cargo xtask bench engine` compares the backup engine with its peers, `bench core` a vault's core with the
//! cryptography that it needs.
//! `cargo xtask sim` lets a hostile world loose on the vault's cores, and `cargo xtask enclave` takes the
//! operating system from under one; `cargo xtask coverage` says which of its lines its tests reach, `cargo xtask mutants`
//! which mistakes they see.
//! `cargo xtask fuzz` throws bytes at every decoder. `cargo xtask long` runs the long forms of tests that
//! `cargo test` has in short.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "A command for the terminal prints what it found."
)]

mod bench;
mod corpus;
mod coverage;
mod enclave;
mod fuzz;
mod long;
mod mutants;
mod sabotage;
mod sim;
mod tidy;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks, benchmarks and generators of the project"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks what the architecture means; prints what is wrong and where.
    Tidy(tidy::Options),
    /// Makes a believable chat store, or lets a day pass over one.
    Corpus(corpus::Options),
    /// Simulates groups of vault cores among hostile hosts, seed by seed; with `--engine`, devices and their stores.
    Sim(sim::Options),
    /// Runs the long forms of tests that are short in `cargo test`.
    Long(long::Options),
    /// Explores every way to drive a small group of vault cores.
    Exhaustive(sim::Options),
    /// Builds the vault's core without an operating system, and counts the lines that are trusted.
    Enclave(enclave::Options),
    /// Says which lines of the vault's core its own tests reach; needs cargo-tarpaulin.
    Coverage(coverage::Options),
    /// Makes small mistakes in the vault's core, one at a time, and sees its tests find each; needs cargo-mutants.
    Mutants(sim::Options),
    /// Fuzzes every decoder that a stranger can reach, one target after the other.
    Fuzz(fuzz::Options),
    /// Plants known bugs in the vault's core, and sees the simulation find each.
    Sabotage(sabotage::Options),
    /// Measures, beside the programs that people use today.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// First backup, unchanged one, next day, restore and verification, against `cp -a`, borg, restic, rustic and bupstash.
    Engine(bench::Options),
    /// Few and many small files: memory must not grow with their number.
    Files(bench::growth::Options),
    /// A small and a large database: memory must not grow with its rows. Needs some 60 GB of disk and an hour.
    Database(bench::database::Options),
    /// What the sizes of a store's objects tell of the days: how often two habits can be told apart.
    Sizes(bench::sizes::Options),
    /// Whole recoveries by one vault core with ten million accounts, against the cryptography they need.
    Core(sim::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Tidy(options) => tidy::run(&options),
        Task::Corpus(options) => corpus::run(&options),
        Task::Sim(options) => sim::simulate(&options),
        Task::Exhaustive(options) => sim::exhaust(&options),
        Task::Long(options) => long::run(&options),
        Task::Enclave(options) => enclave::run(&options),
        Task::Coverage(options) => coverage::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Sabotage(options) => sabotage::run(&options),
        Task::Bench {
            what: Bench::Engine(options),
        } => bench::run(&options),
        Task::Bench {
            what: Bench::Files(options),
        } => bench::files::run(&options),
        Task::Bench {
            what: Bench::Database(options),
        } => bench::database::run(&options),
        Task::Bench {
            what: Bench::Sizes(options),
        } => bench::sizes::run(&options),
        Task::Bench {
            what: Bench::Core(options),
        } => bench::core::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}
