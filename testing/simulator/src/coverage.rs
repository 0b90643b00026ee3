//! What a batch of runs must have met, or it has shown nothing (non-triviality).

use std::collections::BTreeMap;

/// Every act of the enemy, every kind of refusal, every rare state of a record.
pub const EXPECTED: [&str; 59] = [
    "a core was put in another's place",
    "a fresh start",
    "a memory was lost",
    "a memory was put back",
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

/// What was not met.
#[must_use]
pub fn missing(met: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    EXPECTED
        .into_iter()
        .filter(|what| !met.contains_key(what))
        .collect()
}
