//! Writing a tree: the old one and a sorted stream of changes go in, a new one comes out.

use std::collections::VecDeque;

use super::codec::{Value, encode};
use super::cursor::{Head, Walk};
use crate::codec::size;
use crate::entry::FileEntry;
use crate::node::{LEVEL_MAX, NODE_BYTES_MAX, NodeError, NodeKind, NodeRef, NodeStore};
use crate::path::Key;

/// What a node aims at: half of the most, so that it has room to grow and a change rewrites little.
const TARGET_BYTES: usize = 32 * 1024;
/// Below this a node is filled up from its right neighbour before it is written.
const LEAST_BYTES: usize = 8 * 1024;
/// A rest of up to this becomes one node, a longer one two even halves. Halves rather than one full
/// node and a crumb: a crumb would swallow its right neighbour, leave the next crumb, and so rewrite
/// the whole tree for one inserted path.
const WHOLE_BYTES: usize = 48 * 1024;
/// Level, counts and one pack that the estimate of a later item counted for an earlier one.
const FRONT_BYTES: usize = 64;

const _: () = assert!(WHOLE_BYTES < NODE_BYTES_MAX as usize);

/// Items of one level that are not in a node yet.
#[derive(Debug)]
struct Pending<T> {
    items: VecDeque<(Key, T, usize)>,
    bytes: usize,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T: Value> Pending<T> {
    fn push(&mut self, key: Key, value: T) {
        let bytes = value
            .size_max()
            .saturating_add(key.as_bytes().len())
            .saturating_add(3);
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push_back((key, value, bytes));
    }

    /// Writes one node of about `target` bytes from the front.
    fn emit(
        &mut self,
        level: u8,
        target: usize,
        nodes: &mut dyn NodeStore,
    ) -> Result<Option<(Key, NodeRef)>, NodeError> {
        let mut count = 0_usize;
        let mut bytes = FRONT_BYTES;
        for (_, _, item) in &self.items {
            let with = bytes.saturating_add(*item);
            // The first item always goes in; each is far below a node's limit.
            if count > 0 && with > target {
                break;
            }
            bytes = with;
            count = count.saturating_add(1);
        }
        let part: Vec<_> = self.items.drain(..count).collect();
        let taken = part
            .iter()
            .fold(0_usize, |sum, item| sum.saturating_add(item.2));
        self.bytes = self.bytes.saturating_sub(taken);
        let raw = encode(
            level,
            count,
            part.iter().map(|(key, value, _)| (key, value)),
        );
        if raw.len() > size(NODE_BYTES_MAX) {
            return Err(NodeError::TooLong);
        }
        let Some((first, ..)) = part.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some((first, nodes.save(NodeKind::Tree, &raw)?)))
    }
}

/// Makes a new tree of an old one and sorted changes. Memory holds the path to where it works and
/// two nodes for each level.
#[derive(Debug)]
pub struct TreeWriter {
    root: Option<NodeRef>,
    walk: Walk,
    entries: Pending<FileEntry>,
    /// Level 1 and up: what level `i + 1`'s next node will refer to.
    inner: Vec<Pending<NodeRef>>,
    last: Option<Key>,
}

impl TreeWriter {
    /// Begins with the old tree; `None` is an empty one.
    #[must_use]
    pub fn new(root: Option<NodeRef>) -> Self {
        Self {
            root,
            walk: Walk::default(),
            entries: Pending::default(),
            inner: Vec::new(),
            last: None,
        }
    }

    /// Takes the next change: an entry to put, or `None` to remove the path. Removing a path that
    /// is not there changes nothing.
    ///
    /// # Errors
    /// [`NodeError::ChangesUnsorted`] unless each key comes after the one before,
    /// [`NodeError::EntryUnfit`] for an entry that no reader would accept; others if nodes cannot be
    /// read or stored.
    pub fn push(
        &mut self,
        key: Key,
        change: Option<FileEntry>,
        nodes: &mut dyn NodeStore,
    ) -> Result<(), NodeError> {
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(NodeError::ChangesUnsorted);
        }
        // BACKUP-1: what is stored must be readable, so the reader's limits hold here too.
        if change.as_ref().is_some_and(|entry| !entry.fits()) {
            return Err(NodeError::EntryUnfit);
        }
        if self.last.is_none()
            && let Some(root) = &self.root
        {
            self.walk.enter_root(root, nodes)?;
        }
        self.last = Some(key.clone());
        self.pass(Some(&key), nodes)?;
        self.drop_old(&key, nodes)?;
        if let Some(entry) = change {
            self.put_entry(key, entry, nodes)?;
        }
        Ok(())
    }

    /// Takes over the rest of the old tree and returns the new root, `None` for an empty tree. With
    /// no change at all the old root comes back.
    ///
    /// # Errors
    /// [`NodeError`] if nodes cannot be read or stored.
    pub fn finish(mut self, nodes: &mut dyn NodeStore) -> Result<Option<NodeRef>, NodeError> {
        if self.last.is_none() {
            return Ok(self.root);
        }
        self.pass(None, nodes)?;
        self.flush_entries(nodes)?;
        let mut at = 0_usize;
        loop {
            let above = self.inner.iter().skip(at.saturating_add(1));
            let top = above.map(|pending| pending.items.len()).all(|len| len == 0);
            let Some(pending) = self.inner.get(at) else {
                return Ok(None);
            };
            if top && pending.items.len() == 1 {
                return Ok(pending.items.front().map(|(_, node, _)| *node));
            }
            self.flush_inner(at, nodes)?;
            at = at.saturating_add(1);
        }
    }

    /// Carries the old tree over up to `bound` (exclusive), whole subtrees where that is possible.
    fn pass(&mut self, bound: Option<&Key>, nodes: &mut dyn NodeStore) -> Result<(), NodeError> {
        loop {
            match self.walk.head() {
                None => return Ok(()),
                Some(Head::Entry(key)) => {
                    if bound.is_some_and(|bound| key >= bound) {
                        return Ok(());
                    }
                    if let Some((key, entry)) = self.walk.take() {
                        self.put_entry(key, entry, nodes)?;
                    }
                }
                Some(Head::Child(child)) => {
                    if bound.is_some_and(|bound| child.first >= *bound) {
                        return Ok(());
                    }
                    let before = match (bound, &child.upper) {
                        (None, _) => true,
                        (Some(bound), Some(upper)) => upper <= bound,
                        (Some(_), None) => false,
                    };
                    if before && self.takes_whole(child.level) {
                        self.flush_through(child.level, nodes)?;
                        self.walk.skip();
                        self.put_node(usize::from(child.level), child.first, child.node, nodes)?;
                    } else {
                        self.walk.enter(child, nodes)?;
                    }
                }
            }
        }
    }

    /// Drops the old tree's entry of that key.
    fn drop_old(&mut self, key: &Key, nodes: &mut dyn NodeStore) -> Result<(), NodeError> {
        loop {
            match self.walk.head() {
                Some(Head::Entry(found)) if found == key => {
                    self.walk.skip();
                    return Ok(());
                }
                Some(Head::Child(child)) if child.first == *key => {
                    self.walk.enter(child, nodes)?;
                }
                Some(Head::Entry(_) | Head::Child(_)) | None => return Ok(()),
            }
        }
    }

    /// Whether a subtree of that level can be taken over as it is: what is pending at its level and
    /// below must be enough for nodes of their own.
    fn takes_whole(&self, level: u8) -> bool {
        let enough = |bytes: usize| bytes >= LEAST_BYTES;
        let mut carries = !self.entries.items.is_empty();
        if carries && !enough(self.entries.bytes) {
            return false;
        }
        for pending in self.inner.iter().take(usize::from(level)) {
            if pending.items.is_empty() && !carries {
                continue;
            }
            if !enough(pending.bytes) {
                return false;
            }
            carries = true;
        }
        true
    }

    fn flush_through(&mut self, level: u8, nodes: &mut dyn NodeStore) -> Result<(), NodeError> {
        self.flush_entries(nodes)?;
        for at in 0..usize::from(level) {
            self.flush_inner(at, nodes)?;
        }
        Ok(())
    }

    fn put_entry(
        &mut self,
        key: Key,
        entry: FileEntry,
        nodes: &mut dyn NodeStore,
    ) -> Result<(), NodeError> {
        self.entries.push(key, entry);
        if self.entries.bytes > TARGET_BYTES.saturating_mul(2)
            && let Some((first, node)) = self.entries.emit(0, TARGET_BYTES, nodes)?
        {
            self.put_node(0, first, node, nodes)?;
        }
        Ok(())
    }

    /// Puts a node of level `at` where its parent will be made.
    fn put_node(
        &mut self,
        at: usize,
        first: Key,
        node: NodeRef,
        nodes: &mut dyn NodeStore,
    ) -> Result<(), NodeError> {
        while self.inner.len() <= at {
            self.inner.push(Pending::default());
        }
        let level = level_above(at)?;
        let Some(pending) = self.inner.get_mut(at) else {
            return Ok(());
        };
        pending.push(first, node);
        if pending.bytes > TARGET_BYTES.saturating_mul(2)
            && let Some((first, node)) = pending.emit(level, TARGET_BYTES, nodes)?
        {
            self.put_node(at.saturating_add(1), first, node, nodes)?;
        }
        Ok(())
    }

    fn flush_entries(&mut self, nodes: &mut dyn NodeStore) -> Result<(), NodeError> {
        for target in shares(self.entries.bytes) {
            if let Some((first, node)) = self.entries.emit(0, target, nodes)? {
                self.put_node(0, first, node, nodes)?;
            }
        }
        Ok(())
    }

    fn flush_inner(&mut self, at: usize, nodes: &mut dyn NodeStore) -> Result<(), NodeError> {
        let level = level_above(at)?;
        for target in shares(self.inner.get(at).map_or(0, |pending| pending.bytes)) {
            let made = match self.inner.get_mut(at) {
                Some(pending) => pending.emit(level, target, nodes)?,
                None => None,
            };
            if let Some((first, node)) = made {
                self.put_node(at.saturating_add(1), first, node, nodes)?;
            }
        }
        Ok(())
    }
}

/// The level of the parents of nodes of level `at`.
fn level_above(at: usize) -> Result<u8, NodeError> {
    let level = u8::try_from(at.saturating_add(1)).unwrap_or(u8::MAX);
    if level > LEVEL_MAX {
        return Err(NodeError::TooDeep {
            expected: LEVEL_MAX,
            found: level,
        });
    }
    Ok(level)
}

/// How large the nodes should be that a rest of `bytes` is divided into: even shares, of which the
/// last takes whatever rounding left.
fn shares(bytes: usize) -> impl Iterator<Item = usize> {
    let parts = bytes.saturating_add(FRONT_BYTES).div_ceil(WHOLE_BYTES);
    let share = bytes.div_ceil(parts.max(1)).saturating_add(FRONT_BYTES);
    let parts = if bytes == 0 { 0 } else { parts };
    (1..=parts).map(move |part| if part == parts { usize::MAX } else { share })
}
