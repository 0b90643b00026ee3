//! The engine against stores that lie, fail, flicker and die: one room for each kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::integer_division,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test program, helpers included: a failure is a panic"
)]

mod altering;
mod asked;
mod by_hand;
mod checkpoint;
mod crash;
mod damaged;
mod flaky;
mod killed;
mod lagging;
mod lengths;
mod life;
mod malicious;
mod mended;
mod overwritten;
#[path = "../../../source/tests/source/peer.rs"]
#[expect(dead_code, reason = "the tests of sources ask more of it")]
mod peer;
mod refused;
mod repack;
mod set_up;
mod strays;
mod unlike_rows;
mod usage;
mod verified;
mod withheld;
mod world;
