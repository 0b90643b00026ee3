//! The file tree: a copy-on-write B-tree by path. The manifest *is* the state: what a backup knows
//! about the source stands here and nowhere else.
//!
//! ```text
//!              [ "a" → ● │ "media\0img3" → ● ]            level 1
//!                     ╱               ╲
//!     [ "a" dir │ "a\0x" file … ]   [ "media\0img3" file … ]   level 0
//! ```
//!
//! A change costs the nodes on its path. [`TreeWriter`] takes changes as a sorted stream and reads
//! the old tree along with it, so memory does not grow with the tree; untouched subtrees are taken
//! over by reference, without being read.

mod codec;
mod cursor;
mod writer;

pub use cursor::{Cursor, Gap, find};
pub use writer::TreeWriter;

use crate::entry::FileEntry;
use crate::node::{NodeError, NodeRef, NodeStore};
use crate::path::Key;

/// Applies sorted changes at once: `None` removes a path. Returns the new root, or `None` for a tree
/// that has become empty.
///
/// # Errors
/// [`NodeError`] if nodes cannot be read or stored, or the changes are not in ascending order.
pub fn update(
    root: Option<NodeRef>,
    changes: impl IntoIterator<Item = (Key, Option<FileEntry>)>,
    nodes: &mut dyn NodeStore,
) -> Result<Option<NodeRef>, NodeError> {
    let mut writer = TreeWriter::new(root);
    for (key, change) in changes {
        writer.push(key, change, nodes)?;
    }
    writer.finish(nodes)
}
