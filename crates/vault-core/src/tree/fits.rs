//! Whether what is handed on as changed is what was changed.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::node::{Content, Node, Slot, leaf_digest, node_digest};
use super::{Digest, NodeKey};

/// Whether all of these nodes and leaves hang, by their digests, under this root.
///
/// Whatever an entry changed does: a change rewrites every node above it. So a host checks what
/// another host, or its own disk, hands it, before it leans on it. It needs no key for that.
#[must_use]
pub fn fits(root: &Digest, changed: &BTreeMap<NodeKey, Vec<u8>>) -> bool {
    let mut seen = 0_usize;
    let mut open = vec![(NodeKey::root(), *root)];
    while let Some((key, digest)) = open.pop() {
        let Some(bytes) = changed.get(&key) else {
            continue;
        };
        seen = seen.saturating_add(1);
        let (true, Some(node)) = (node_digest(bytes) == digest, Node::decode(bytes)) else {
            return false;
        };
        for (slot, content) in node.slots() {
            let Slot::Own { content, .. } = content else {
                continue;
            };
            match content {
                Content::Empty => {}
                Content::Branch(digest) => {
                    let Some(below) = key.below(slot) else {
                        return false;
                    };
                    open.push((below, digest));
                }
                Content::Leaf { index, digest } => {
                    let Some(sealed) = changed.get(&NodeKey::leaf(&index)) else {
                        continue;
                    };
                    seen = seen.saturating_add(1);
                    if leaf_digest(&index, sealed) != digest {
                        return false;
                    }
                }
            }
        }
    }
    seen == changed.len()
}
