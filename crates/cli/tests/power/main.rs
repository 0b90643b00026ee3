//! F1, F2, F4: the command's files and its store on a disk that loses its power, or fails.
//!
//! [`record`] writes down what a run of the command does to files, [`disk`] says what a loss of power may leave of it,
//! and [`check`] what must hold of that. [`scenarios`] are the runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a test program, helpers included: a failure is a panic"
)]

mod check;
mod disk;
mod effort;
mod faults;
mod guarded;
mod house;
mod image;
mod known;
mod passwords;
mod record;
mod rule;
mod scenarios;
#[path = "../../../../testing/hostile-store/tests/common/servers.rs"]
mod servers;
mod story;
mod told;
#[path = "../common/tracee.rs"]
mod tracee;
#[path = "../cli/world.rs"]
#[expect(dead_code, reason = "the tests of the command ask for more")]
mod world;
