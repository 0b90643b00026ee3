//! The trusted core, driven as hosts drive it, good ones and bad ones. One program, so that a change of the core is
//! linked into its tests once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test program, helpers included: a failure is a panic"
)]

mod commit;
mod edges;
mod group;
mod guesses;
mod meter;
mod models;
mod past_faults;
mod ranges;
mod refusals;
mod registration;
mod trusted;
