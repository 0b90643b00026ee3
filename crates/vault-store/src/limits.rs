//! VAULT-10: what one step may add, and how much of the log is kept.

use crate::{AppendError, Step};

/// The longest key: a tree position is at most 256 bits and a few bytes of kind and depth.
pub const KEY_BYTES_MAX: usize = 64;
/// The longest node: a sealed leaf is some kilobytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest entry: fixed fields and MACs.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024;
/// The most nodes in one step: a batch of a thousand accounts with forty nodes each.
pub const NODES_PER_STEP_MAX: usize = 65_536;
/// How many of the newest entries are kept. The newest one is what the core resumes from; the
/// rest is for an operator who asks what happened. Older entries are dropped as newer ones come, so
/// that traffic alone cannot fill the disk.
pub const LOG_ENTRIES_KEPT: u64 = 16_384;

/// Refuses what no engine may take, before it is touched.
pub(crate) fn check(step: &Step<'_>) -> Result<(), AppendError> {
    let follows = match step.expected {
        None => true,
        Some(expected) => expected.next() == Some(step.entry.index),
    };
    if !follows {
        return Err(AppendError::NotNext {
            expected: step.expected,
            index: step.entry.index,
        });
    }
    let small = step.entry.bytes.len() <= ENTRY_BYTES_MAX
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
