//! A process that appends is killed at any moment; the store it leaves is at a whole index.
//!
//! The parent's test starts a child whose only work is [`append_until_killed`], reads the numbers it
//! acknowledges, kills it, and looks. One step writes the same number under many keys and into its
//! entry, so a half-taken step shows.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::ops::ControlFlow;

use super::{Broken, Medium, Violation, demand};
use crate::{Index, LogEntry, Step, Store};

/// Nodes that every step rewrites: more than one page of any engine.
const NODES: u16 = 48;
const NODE_BYTES: usize = 400;

/// Appends without end and writes each acknowledged index as a line to `acknowledged`. Returns only
/// when the store or the pipe fails: the parent is expected to kill this process.
///
/// # Errors
/// The rule `a_child_appends`, with what failed.
pub fn append_until_killed(
    store: &dyn Store,
    acknowledged: &mut dyn Write,
) -> Result<(), Violation> {
    let mut appending = || -> Result<(), Broken> {
        let mut expected = store.snapshot()?.head()?;
        loop {
            let before = expected.as_ref().map(|entry| entry.index);
            let index = before.map_or(Some(Index::new(1)), Index::next);
            let index = index.ok_or_else(|| Broken("no index is left".into()))?;
            let nodes: Vec<_> = (0..NODES)
                .map(|key| (key.to_be_bytes().to_vec(), value(index)))
                .collect();
            let entry = LogEntry {
                index,
                bytes: value(index),
            };
            store.append(&Step::one(expected.as_ref(), &entry, &nodes))?;
            writeln!(acknowledged, "{index}")
                .and_then(|()| acknowledged.flush())
                .map_err(|error| Broken(error.to_string()))?;
            expected = Some(entry);
        }
    };
    appending().map_err(|broken| Violation {
        rule: "a_child_appends",
        detail: broken.0,
    })
}

/// A process that runs [`append_until_killed`] on the medium that is reopened.
pub struct Victim {
    /// Its acknowledgements.
    pub acknowledged: Box<dyn Read>,
    /// Kills it (`SIGKILL`) and waits until it is gone.
    pub kill: Box<dyn FnOnce()>,
}

/// Kills one victim after each of these numbers of acknowledgements, all on one medium, and demands
/// after each that nothing acknowledged is lost and nothing is half there (VAULT-5).
///
/// # Errors
/// The rule that was broken.
pub fn survives_kills(
    kill_after: &[u32],
    start: &mut dyn FnMut() -> std::io::Result<Victim>,
    medium: &mut dyn Medium,
) -> Result<(), Violation> {
    let mut newest = 0_u64;
    for acknowledgements in kill_after {
        let mut round = || -> Result<u64, Broken> {
            let victim = start().map_err(|error| Broken(error.to_string()))?;
            let mut last = newest;
            let mut lines = BufReader::new(victim.acknowledged).lines();
            for _ in 0..*acknowledgements {
                let line = lines.next().and_then(Result::ok);
                let index = line.and_then(|line| line.parse().ok());
                last = index.ok_or_else(|| Broken("the child stopped by itself".into()))?;
            }
            (victim.kill)();
            // What the child wrote to the pipe before it died was acknowledged too.
            for line in lines.map_while(Result::ok) {
                last = line.parse().unwrap_or(last);
            }
            check(medium, last)
        };
        newest = round().map_err(|broken| Violation {
            rule: "a_killed_store_is_whole",
            detail: broken.0,
        })?;
    }
    Ok(())
}

/// Returns the index that the store stands at.
fn check(medium: &mut dyn Medium, acknowledged: u64) -> Result<u64, Broken> {
    let store = medium.open()?;
    let snapshot = store.snapshot()?;
    let Some(head) = snapshot.head()? else {
        demand(acknowledged == 0, || {
            format!("empty, but {acknowledged} was acknowledged")
        })?;
        return Ok(0);
    };
    let at = head.index.number();
    // The one step under way when the child died may stand or not.
    demand(
        at == acknowledged || at.checked_sub(1) == Some(acknowledged),
        || format!("at {at}, but {acknowledged} was acknowledged"),
    )?;
    demand(head.bytes == value(head.index), || {
        format!("entry {at} is another")
    })?;
    let mut whole = 0_u16;
    snapshot.for_each_node(&mut |_, node| {
        if node == value(head.index) {
            whole = whole.saturating_add(1);
        }
        ControlFlow::Continue(())
    })?;
    demand(whole == NODES, || {
        format!("{whole} of {NODES} nodes are of entry {at}")
    })?;
    Ok(at)
}

fn value(index: Index) -> Vec<u8> {
    index.number().to_be_bytes().repeat(NODE_BYTES.div_ceil(8))
}
