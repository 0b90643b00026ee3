//! What a batch of runs must have met, or it has shown nothing (non-triviality).

use std::collections::BTreeMap;

use crate::Hosts;

/// Every act of the enemy, every kind of refusal, every rare state of a record.
const HOSTILE: [&str; 65] = [
    "a core went on from its own memory",
    "refused: a trusted memory failed",
    "a core was put in another's place",
    "a fresh start",
    "a memory was lost",
    "a memory was put back",
    "a range was taken",
    "act: adopt",
    "act: ask",
    "act: capture",
    "act: clock",
    "act: commit",
    "act: elect",
    "act: execute",
    "act: follow up",
    "act: forge",
    "act: forget",
    "act: lead",
    "act: move",
    "act: promise",
    "act: release",
    "act: replace",
    "act: restart",
    "act: roll back",
    "act: stand",
    "act: step down",
    "adopted an entry of an earlier leader",
    "an answer was lost",
    "deleted",
    "denied: already registered",
    "denied: bad signature",
    "denied: cancels spent",
    "denied: cap reached",
    "denied: destroyed",
    "denied: device not listed",
    "denied: device only",
    "denied: id reused",
    "denied: last guesses reserved",
    "denied: no guesses left",
    "denied: no record",
    "denied: no wait",
    "denied: session over",
    "denied: stale",
    "denied: too many devices",
    "denied: unknown ticket",
    "denied: wait not over",
    "denied: wrong change number",
    "destroyed by a wrong last KE3",
    "destroyed by one KE1 too many",
    "led",
    "recovered too late to refill",
    "recovered, with a session",
    "refilled to nothing: as many later guesses",
    "refused: a store that was put back",
    "refused: a step of a range",
    "refused: an account of another group",
    "refused: an older entry",
    "refused: an older term than promised",
    "refused: not a member",
    "registered by a device, another password",
    "registered by a device, maybe the same password",
    "registered by the token",
    "registered in a session",
    "released",
    "too many cores forgot: the group stopped",
];

/// Every misfortune of hosts, and every way in which they come out of one.
const SHIPPING: [&str; 37] = [
    "a backup let go of what it covers",
    "a backup whose newest entry may not be committed covers nothing",
    "a batch was lost with its leader",
    "a bent message was refused",
    "a core was put in another's place",
    "a damaged tail was told at a start, and put aside",
    "a disk was lost",
    "a late append arrived",
    "a memory was lost",
    "a memory was put back",
    "a message was cut off",
    "a question to the store timed out",
    "a record carried entries of leaders that died",
    "a record that rotted was not believed",
    "a record was bent on its way",
    "a tail rotted",
    "a torn record was dropped at a start",
    "an append lost a race",
    "crashed after all effects",
    "crashed between effects",
    "host: clock",
    "host: cut",
    "host: drop",
    "host: heal",
    "host: pause",
    "host: put back",
    "host: repeat",
    "host: start",
    "host: stop",
    "host: store away",
    "led",
    "recovered, with a session",
    "released",
    "the power was cut in a flush",
    "the store lost commits",
    "the store was led forward from a tail",
    "the store's answer was lost, after it had done what it was asked",
];

/// What was not met.
#[must_use]
pub fn missing(hosts: Hosts, met: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    let expected: &[&str] = match hosts {
        Hosts::Hostile => &HOSTILE,
        Hosts::Shipping => &SHIPPING,
    };
    expected
        .iter()
        .filter(|what| !met.contains_key(*what))
        .copied()
        .collect()
}
