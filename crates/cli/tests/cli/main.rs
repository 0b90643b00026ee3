//! The command `keyhaven` as a stranger uses it: by its arguments, its exit codes, and its output.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test program, helpers included: a failure is a panic"
)]

#[cfg(target_arch = "x86_64")]
mod bad_disk;
mod bad_input;
#[cfg(target_arch = "x86_64")]
mod bad_sectors;
mod clouds;
mod demo;
mod encrypted;
mod exposed;
mod full;
mod interrupted;
mod journey;
mod killed;
mod line;
mod nested;
mod password;
mod secrets;
#[path = "../../../../testing/hostile-store/tests/common/servers.rs"]
mod servers;
mod tiers;
mod told;
mod traced;
#[path = "../common/tracee.rs"]
#[expect(dead_code, reason = "the loss of power looks into more")]
mod tracee;
mod vaults;
mod world;
