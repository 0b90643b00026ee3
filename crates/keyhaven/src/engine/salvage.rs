//! What of a damaged backup may still be referred to.
//!
//! Every entry of its index is held against the store. One that can be read, and whose content and own part of the index
//! (a page map, a list) are in packs that the store lists with a length that a pack has and that begin as they must, is taken over.
//! Packs that a verification found damaged are read once more in whole, and those that still are count as
//! gone. A database by rows that refers to any of these is not taken over, whatever they are by now: its patches prove themselves only
//! one upon the other. All others, and the paths whose part of the index is gone, are left to the run that follows, to
//! which they are new.
//! Nothing of the damaged backup is changed: the index of what is sound is written anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::TreeWriter;

use super::backup::Start;
use super::contents::Contents;
use super::error::BackupError;
use super::history::Access;
use super::lost::told;
use super::nodes::{Nodes, is_damage};
use super::outbox::{Outbox, Sent};
use super::packs::{Packs, visit_extents};
use super::restore::{Plan, visit};
use crate::progress::Cancel;

/// Contents that are learnt between two writes of the local state.
const LEARN_BATCH: u64 = 4096;

/// What a damaged backup was found to be.
pub(crate) struct Salvaged {
    /// What is wrong with it, by the first damage that was met.
    pub(crate) reason: String,
    /// What was sent to write the new index.
    pub(crate) sent: Sent,
}

/// Lets `start` and the local state refer to nothing but what the store has. None if nothing was found
/// to be damaged: all stays as it is.
pub(crate) fn salvage(
    access: &Access,
    start: &mut Start,
    contents: &mut Contents,
    suspects: &BTreeSet<PackName>,
    cancel: &Cancel,
) -> Result<Option<Salvaged>, BackupError> {
    let mut packs = Packs::of(access.store.as_ref())?;
    packs.read_starts(access.store.as_ref(), &start.keyring, cancel)?;
    packs.read_suspects(access.store.as_ref(), suspects, &start.keyring, cancel)?;
    contents.forget_all_but(&|pack| packs.fault(pack).is_none())?;
    // What is kept on this device proves nothing about the store.
    let keyring = || Arc::clone(&start.keyring);
    let mut reading =
        Nodes::new(Arc::clone(&access.store), keyring(), None).map_err(NodeError::from)?;
    let plan = Plan {
        root: start.root,
        below: None,
        overwrite: false,
        does_without: false,
        cancel,
    };
    let known = (&packs, suspects);
    let mut learnt = 0_u64;
    let found = sift(&plan, known, &mut reading, &mut |_, entry, nodes| {
        if let FileEntry::File {
            stat,
            content,
            extents,
        } = entry
        {
            contents.add(content, stat.size, extents.load(stat.size, nodes)?);
            learnt = learnt.saturating_add(1);
            if learnt.is_multiple_of(LEARN_BATCH) {
                contents.keep_sent(None)?;
            }
        }
        Ok(())
    });
    contents.keep_sent(None)?;
    let (reason, has_root) = match found {
        Ok(None) => return Ok(None),
        Ok(Some(reason)) => (reason, true),
        Err(BackupError::Index(cause)) if is_damage(&cause) => (told(&cause), false),
        Err(error) => return Err(error),
    };
    let outbox = Outbox::open(keyring(), Arc::clone(&access.store), 1);
    let mut writing = Nodes::new(
        Arc::clone(&access.store),
        keyring(),
        access.cache.as_deref(),
    )
    .map_err(NodeError::from)?
    .writing(&outbox);
    let mut tree = TreeWriter::new(None);
    if has_root {
        sift(&plan, known, &mut reading, &mut |key, entry, _| {
            Ok(tree.push(key, Some(entry), &mut writing)?)
        })?;
    }
    let root = tree.finish(&mut writing)?;
    writing.finish()?;
    let sent = writing.sent();
    start.root = root;
    Ok(Some(Salvaged { reason, sent }))
}

/// What is wrong with a database by rows whose packs are whole by now.
const DOUBTED: &str =
    "a verification found the patches of a database damaged, or what they stand on";

/// Takes an entry that is sound.
type Take<'a, 'n> = dyn FnMut(Key, FileEntry, &mut Nodes<'n>) -> Result<(), BackupError> + 'a;

/// Hands every entry that is sound to `each`, and says what is wrong with the first that is not. A
/// damaged root is an error.
fn sift<'n>(
    plan: &Plan<'_>,
    (packs, suspects): (&Packs, &BTreeSet<PackName>),
    nodes: &mut Nodes<'n>,
    each: &mut Take<'_, 'n>,
) -> Result<Option<String>, BackupError> {
    let mut reason = None;
    let gaps = visit(plan, nodes, &mut |key, entry, nodes| {
        if plan.cancel.is_cancelled() {
            return Err(BackupError::Cancelled);
        }
        // The tree itself is written anew.
        if let Some(fault) = first_fault(packs, &nodes.take_asked()) {
            reason.get_or_insert(fault);
        }
        let (mut gone, mut is_doubted) = (None, false);
        let visited = visit_extents(&entry, nodes, &mut |one| {
            gone = gone.take().or_else(|| packs.fault(&one.pack));
            is_doubted |= suspects.contains(&one.pack);
        });
        let own = nodes.take_asked();
        is_doubted |= !own.is_disjoint(suspects);
        let is_by_rows = matches!(&entry, FileEntry::Database { rows: Some(_), .. });
        let doubt = (is_by_rows && is_doubted).then(|| DOUBTED.to_owned());
        let fault = match visited {
            Ok(()) => gone.or_else(|| first_fault(packs, &own)).or(doubt),
            Err(cause) if is_damage(&cause) => Some(told(&cause)),
            Err(cause) => return Err(cause.into()),
        };
        match fault {
            None => each(key, entry, nodes)?,
            Some(fault) => {
                reason.get_or_insert(fault);
            }
        }
        Ok(())
    })?;
    let gap = gaps.values().next().map(|(_, cause)| told(cause));
    Ok(gap.or(reason))
}

fn first_fault(packs: &Packs, among: &BTreeSet<PackName>) -> Option<String> {
    among.iter().find_map(|pack| packs.fault(pack))
}
