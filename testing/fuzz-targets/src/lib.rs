//! What a fuzzer calls for each decoder that a stranger can reach.
//!
//! Each target is a plain function of bytes. `fuzz/` hands it to libFuzzer on nightly Rust;
//! `tests/replay.rs` hands it every input of `fuzz/corpus` on stable. A target panics when its
//! decoder panics, and when what it checks beyond that does not hold: what decodes is encoded to the
//! same bytes again, and nothing is believed that a key did not vouch for.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a target that panics has found something"
)]

pub mod backup;
pub mod between;
pub mod device;
pub mod door;
pub mod edits;
pub mod host;
pub mod messages;
pub mod rows;
pub mod sequence;
pub mod tail;

/// A target: its name, which is its corpus's too, what is called, and real messages to begin with.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What the fuzzer calls.
    pub run: fn(&[u8]),
    /// Real messages, of which a corpus is grown.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("accounts", door::accounts, door::accounts_seeds),
    target("between", between::between, between::between_seeds),
    target("bundle", device::bundle, device::bundle_seeds),
    target("channel", host::channel, host::channel_seeds),
    target("digits", device::digits, device::digits_seeds),
    target("http", door::http, door::http_seeds),
    target("log", host::log, host::log_seeds),
    target("marker", backup::marker, backup::marker_seeds),
    target("node", backup::node, backup::node_seeds),
    target("pack", backup::pack, backup::pack_seeds),
    target("patch", rows::patch, rows::patch_seeds),
    target("proof", host::proof, host::proof_seeds),
    target("remembered", device::remembered, device::remembered_seeds),
    target("reply", messages::reply, messages::reply_seeds),
    target("request", messages::request, messages::request_seeds),
    target("secrets", host::secrets, host::secrets_seeds),
    target("sequence", sequence::sequence, sequence::sequence_seeds),
    target("snapshot", backup::snapshot, backup::snapshot_seeds),
    target("tail", tail::tail, tail::tail_seeds),
];

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}
