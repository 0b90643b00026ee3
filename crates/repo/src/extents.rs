//! Lists of extents: short ones stand in a file's entry, long ones in nodes of their own.

use crate::codec::{Reader, narrow, put_size, size};
use crate::entry::{EXTENTS_INLINE_MAX, ExtentList};
use crate::layout::Extent;
use crate::node::{Front, NodeError, NodeKind, NodeRef, NodeStore, PackTable};

/// Extents in one leaf of a long list: below half of a node even if each lies in its own pack.
const LEAF_EXTENTS: usize = 512;
/// Children of one interior node of a long list.
const FANOUT: usize = 256;
/// The longest list that is read: 2^22 extents of a full pack each are 32 TiB.
pub const EXTENTS_MAX: u32 = 1 << 22;

impl ExtentList {
    /// Makes the list of a file's extents, storing it apart if it is long.
    ///
    /// # Errors
    /// [`NodeError`] if nodes cannot be stored, or there are more than [`EXTENTS_MAX`] extents.
    pub fn store(extents: Vec<Extent>, nodes: &mut dyn NodeStore) -> Result<Self, NodeError> {
        if extents.len() <= EXTENTS_INLINE_MAX {
            return Ok(Self::Inline(extents));
        }
        let count = narrow(extents.len());
        if count > EXTENTS_MAX {
            return Err(NodeError::TooLong);
        }
        let mut level = 0;
        let mut refs = Vec::new();
        for part in extents.chunks(LEAF_EXTENTS) {
            let mut table = PackTable::default();
            let mut body = Vec::new();
            put_size(&mut body, part.len());
            for extent in part {
                table.put_extent(&mut body, extent);
            }
            refs.push(save(nodes, level, &table, &body)?);
        }
        loop {
            match refs.as_slice() {
                &[root] => return Ok(Self::Far { count, root }),
                more => {
                    level = level.saturating_add(1);
                    let mut parents = Vec::new();
                    for part in more.chunks(FANOUT) {
                        let mut table = PackTable::default();
                        let mut body = Vec::new();
                        put_size(&mut body, part.len());
                        for child in part {
                            table.put_node(&mut body, child);
                        }
                        parents.push(save(nodes, level, &table, &body)?);
                    }
                    refs = parents;
                }
            }
        }
    }

    /// The extents, in order. Together they must hold `total` bytes.
    ///
    /// # Errors
    /// [`NodeError`] if the list cannot be read or is not what its entry says.
    pub fn load(&self, total: u64, nodes: &mut dyn NodeStore) -> Result<Vec<Extent>, NodeError> {
        let extents = match self {
            Self::Inline(extents) => extents.clone(),
            Self::Far { count, root } => {
                let mut out = Vec::new();
                collect(root, None, size((*count).min(EXTENTS_MAX)), &mut out, nodes)?;
                if narrow(out.len()) != *count {
                    return Err(NodeError::Malformed);
                }
                out
            }
        };
        if total_len(&extents) == Some(total) {
            Ok(extents)
        } else {
            Err(NodeError::Malformed)
        }
    }
}

/// Bytes that the extents hold together.
pub(crate) fn total_len(extents: &[Extent]) -> Option<u64> {
    extents
        .iter()
        .try_fold(0_u64, |sum, extent| sum.checked_add(u64::from(extent.len)))
}

fn save(
    nodes: &mut dyn NodeStore,
    level: u8,
    table: &PackTable,
    body: &[u8],
) -> Result<NodeRef, NodeError> {
    let mut raw = Vec::new();
    table.put_front(&mut raw, level);
    raw.extend_from_slice(body);
    nodes.save(NodeKind::List, &raw)
}

/// A12: the level falls by one at each step and the count is bounded, so this ends.
fn collect(
    node: &NodeRef,
    expected: Option<u8>,
    max: usize,
    out: &mut Vec<Extent>,
    nodes: &mut dyn NodeStore,
) -> Result<(), NodeError> {
    let raw = nodes.load(node)?;
    let mut reader = Reader::new(&raw);
    let front = Front::read(&mut reader)?;
    if let Some(expected) = expected
        && expected != front.level
    {
        return Err(NodeError::TooDeep {
            expected,
            found: front.level,
        });
    }
    let count = reader.count(3)?;
    match front.level.checked_sub(1) {
        None => {
            for _ in 0..count {
                if out.len() >= max {
                    return Err(NodeError::Malformed);
                }
                out.push(front.extent(&mut reader)?);
            }
        }
        Some(below) => {
            for _ in 0..count {
                let child = front.node(&mut reader)?;
                let before = out.len();
                collect(&child, Some(below), max, out, nodes)?;
                // An empty child would let a small list make a long walk.
                if out.len() == before {
                    return Err(NodeError::Malformed);
                }
            }
        }
    }
    reader.end()?;
    Ok(())
}
