//! Tests of what is backed up, with real files, real processes and real SQLite.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that goes wrong shall stop, and its numbers are small"
)]

mod beside_a_writer;
mod closed;
mod files;
mod in_the_way;
mod peer;
mod profiles;
mod read_only;
mod rows;
mod shapes;
mod signatures;
mod users;
mod walking;
mod world;
