//! Reading the tree in order.

use super::codec::Node;
use crate::entry::FileEntry;
use crate::node::{NodeError, NodeRef, NodeStore};
use crate::path::Key;

/// One node on the way from the root to where a reader stands.
#[derive(Debug)]
pub(super) struct Step {
    node: Node,
    next: usize,
    /// No key in this node reaches it.
    upper: Option<Key>,
}

/// What comes next in a tree, before it is taken.
pub(super) enum Head<'a> {
    Entry(&'a Key),
    Child(Child),
}

/// A subtree that has not been entered.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) first: Key,
    pub(super) node: NodeRef,
    pub(super) level: u8,
    /// No key below reaches it; `None` at the right edge of the tree.
    pub(super) upper: Option<Key>,
}

/// A place in a tree.
#[derive(Debug, Default)]
pub(super) struct Walk {
    steps: Vec<Step>,
}

impl Walk {
    pub(super) fn enter_root(
        &mut self,
        root: &NodeRef,
        nodes: &mut dyn NodeStore,
    ) -> Result<(), NodeError> {
        let node = Node::decode(&nodes.load(root)?)?;
        self.steps.push(Step {
            node,
            next: 0,
            upper: None,
        });
        Ok(())
    }

    /// Enters a child that [`head`](Self::head) showed, checking that it is where it must be: one
    /// level down, beginning with the key that the parent says and ending before the next sibling.
    pub(super) fn enter(
        &mut self,
        child: Child,
        nodes: &mut dyn NodeStore,
    ) -> Result<(), NodeError> {
        let node = Node::decode(&nodes.load(&child.node)?)?;
        if node.level() != child.level {
            return Err(NodeError::TooDeep {
                expected: child.level,
                found: node.level(),
            });
        }
        let ends_before = match (node.last_key(), &child.upper) {
            (Some(last), Some(upper)) => last < upper,
            (_, None) => true,
            (None, Some(_)) => false,
        };
        if node.first_key() != Some(&child.first) || !ends_before {
            return Err(NodeError::Unsorted);
        }
        self.skip();
        self.steps.push(Step {
            node,
            next: 0,
            upper: child.upper,
        });
        Ok(())
    }

    /// Passes over what [`head`](Self::head) showed.
    pub(super) fn skip(&mut self) {
        if let Some(top) = self.steps.last_mut() {
            top.next = top.next.saturating_add(1);
        }
    }

    pub(super) fn head(&mut self) -> Option<Head<'_>> {
        while let Some(top) = self.steps.last() {
            let len = match &top.node {
                Node::Leaf(items) => items.len(),
                Node::Inner(_, items) => items.len(),
            };
            if top.next < len {
                break;
            }
            self.steps.pop();
        }
        let top = self.steps.last()?;
        match &top.node {
            Node::Leaf(items) => items.get(top.next).map(|(key, _)| Head::Entry(key)),
            Node::Inner(level, items) => {
                let (first, node) = items.get(top.next)?;
                let sibling = items.get(top.next.saturating_add(1));
                Some(Head::Child(Child {
                    first: first.clone(),
                    node: *node,
                    level: level.saturating_sub(1),
                    upper: sibling
                        .map(|(key, _)| key.clone())
                        .or_else(|| top.upper.clone()),
                }))
            }
        }
    }

    /// Takes the entry that [`head`](Self::head) showed.
    pub(super) fn take(&mut self) -> Option<(Key, FileEntry)> {
        let top = self.steps.last_mut()?;
        match &mut top.node {
            Node::Leaf(items) => {
                let (key, entry) = items.get_mut(top.next)?;
                top.next = top.next.saturating_add(1);
                let stat = *entry.stat();
                let entry = core::mem::replace(entry, FileEntry::Dir { stat });
                Some((key.clone(), entry))
            }
            Node::Inner(..) => None,
        }
    }
}

/// The keys of a part of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first: Key,
    /// None of them reaches this one; `None` for the last part of the tree.
    pub before: Option<Key>,
}

/// Reads a tree in order of its keys.
#[derive(Debug)]
pub struct Cursor {
    root: Option<NodeRef>,
    walk: Walk,
}

impl Cursor {
    /// A cursor before the first entry.
    #[must_use]
    pub fn new(root: Option<NodeRef>) -> Self {
        Self {
            root,
            walk: Walk::default(),
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`NodeError`] if a node cannot be read or is not what its parent says.
    pub fn next(
        &mut self,
        nodes: &mut dyn NodeStore,
    ) -> Result<Option<(Key, FileEntry)>, NodeError> {
        if let Some(root) = self.root.take() {
            self.walk.enter_root(&root, nodes)?;
        }
        loop {
            match self.walk.head() {
                None => return Ok(None),
                Some(Head::Entry(_)) => return Ok(self.walk.take()),
                Some(Head::Child(child)) => self.walk.enter(child, nodes)?,
            }
        }
    }

    /// Passes over the part of the tree that [`next`](Self::next) or [`seek`](Self::seek) has just
    /// failed to read, and says which keys lie there: the cursor goes on behind it. `None` if it was
    /// the root, without which nothing can be read.
    pub fn pass_over(&mut self) -> Option<Gap> {
        let Some(Head::Child(child)) = self.walk.head() else {
            return None;
        };
        self.walk.skip();
        Some(Gap {
            first: child.first,
            before: child.upper,
        })
    }

    /// Moves forward to the first entry whose key is `key` or comes after it. Subtrees in between
    /// are not read. It never moves back.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn seek(&mut self, key: &Key, nodes: &mut dyn NodeStore) -> Result<(), NodeError> {
        if let Some(root) = self.root.take() {
            self.walk.enter_root(&root, nodes)?;
        }
        loop {
            match self.walk.head() {
                None => return Ok(()),
                Some(Head::Entry(found)) if found >= key => return Ok(()),
                Some(Head::Entry(_)) => self.walk.skip(),
                Some(Head::Child(child)) if child.first >= *key => return Ok(()),
                Some(Head::Child(child)) => {
                    if child.upper.as_ref().is_some_and(|upper| upper <= key) {
                        self.walk.skip();
                    } else {
                        self.walk.enter(child, nodes)?;
                    }
                }
            }
        }
    }
}

/// Looks one path up.
///
/// # Errors
/// [`NodeError`] if a node cannot be read or is not what its parent says.
pub fn find(
    root: Option<NodeRef>,
    key: &Key,
    nodes: &mut dyn NodeStore,
) -> Result<Option<FileEntry>, NodeError> {
    let mut cursor = Cursor::new(root);
    cursor.seek(key, nodes)?;
    Ok(cursor
        .next(nodes)?
        .and_then(|(found, entry)| (found == *key).then_some(entry)))
}
