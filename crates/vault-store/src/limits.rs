//! VAULT-10: what one step may add, and how much of the log is kept.

use std::collections::BTreeSet;

use crate::{AppendError, Changes, Step};

/// The longest key: a tree position is at most 256 bits and a few bytes of kind and depth.
pub const KEY_BYTES_MAX: usize = 64;
/// The longest node: a sealed leaf is some kilobytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest entry: fixed fields and MACs.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024;
/// The most entries in one step: leaders that died one after the other before anybody captured what
/// they appended.
pub const ENTRIES_PER_STEP_MAX: usize = 1024;
/// The most nodes in one step: a batch of a thousand accounts with forty nodes each.
pub const NODES_PER_STEP_MAX: usize = 65_536;
/// How many of the newest entries are kept. The newest one is what the core resumes from; the
/// rest is for an operator who asks what happened. Older entries are dropped as newer ones come, so
/// that traffic alone cannot fill the disk.
pub const LOG_ENTRIES_KEPT: u64 = 16_384;

/// Refuses what no engine may take, before it is touched.
pub(crate) fn check(step: &Step<'_>) -> Result<(), AppendError> {
    let mut before = step.expected.map(|entry| entry.index);
    for entry in step.entries {
        if before.is_some_and(|before| before.next() != Some(entry.index)) {
            return Err(AppendError::NotNext {
                expected: before,
                index: entry.index,
            });
        }
        before = Some(entry.index);
    }
    let count = step.entries.len();
    let small = (1..=ENTRIES_PER_STEP_MAX).contains(&count)
        && step
            .entries
            .iter()
            .all(|entry| entry.bytes.len() <= ENTRY_BYTES_MAX)
        && step.nodes.len() <= NODES_PER_STEP_MAX
        && step.nodes.iter().all(|(key, value)| {
            !key.is_empty() && key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX
        });
    if small {
        Ok(())
    } else {
        Err(AppendError::TooLarge)
    }
}

/// What each entry of a step changes: the last one all, the others what they say together with it.
pub(crate) fn changes(step: &Step<'_>) -> Vec<Changes> {
    let last = step.entries.len().saturating_sub(1);
    let keys = |at: usize| {
        let keys: BTreeSet<&Vec<u8>> = step
            .nodes
            .iter()
            .filter(|_| at == last)
            .map(|(key, _)| key)
            .collect();
        keys.into_iter().cloned().collect()
    };
    (0..step.entries.len())
        .map(|at| Changes {
            first: step.first,
            keys: keys(at),
        })
        .collect()
}
