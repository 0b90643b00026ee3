//! Patches of a database's rows: what stands on a page image, day by day.
//!
//! A database by rows is a page map, its *base*, and a short list of patches in one node. What a
//! patch says is opaque here; it is kept in frames like pages, and bound by the id of its bytes and
//! by the digest of all rows after it.

use crate::codec::{Reader, narrow, put_size, put_varint};
use crate::hash::ContentId;
use crate::layout::Extent;
use crate::node::{Front, NodeError, NodeKind, NodeRef, NodeStore, PackTable};

/// Patches that may stand on one base. Writers begin a new base earlier.
pub const PATCHES_MAX: usize = 64;
/// Frames of one patch.
pub const PATCH_FRAMES_MAX: usize = 16;
/// The most raw bytes in a frame of a patch.
pub const PATCH_FRAME_RAW_MAX: u32 = 1 << 20;

/// A part of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchFrame {
    /// Where its compressed bytes lie.
    pub extent: Extent,
    /// How long it is raw.
    pub raw_len: u32,
}

/// One patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The id of its raw bytes.
    pub content: ContentId,
    /// The digest of all rows once it is applied.
    pub state: ContentId,
    /// Its bytes, in order.
    pub frames: Vec<PatchFrame>,
}

impl Patch {
    /// Bytes of all its frames, raw.
    #[must_use]
    pub fn raw_len(&self) -> u64 {
        let lens = self.frames.iter().map(|frame| u64::from(frame.raw_len));
        lens.fold(0, u64::saturating_add)
    }

    /// Bytes of all its frames as they are stored.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        let lens = self.frames.iter().map(|frame| u64::from(frame.extent.len));
        lens.fold(0, u64::saturating_add)
    }

    fn fits(&self) -> bool {
        (1..=PATCH_FRAMES_MAX).contains(&self.frames.len())
            && self
                .frames
                .iter()
                .all(|frame| (1..=PATCH_FRAME_RAW_MAX).contains(&frame.raw_len))
    }
}

/// Stores the patches of a base, oldest first.
///
/// # Errors
/// [`NodeError`] if the node cannot be stored, or no reader would accept it.
pub fn store_patches(patches: &[Patch], nodes: &mut dyn NodeStore) -> Result<NodeRef, NodeError> {
    if !(1..=PATCHES_MAX).contains(&patches.len()) || !patches.iter().all(Patch::fits) {
        return Err(NodeError::EntryUnfit);
    }
    let mut table = PackTable::default();
    let mut body = Vec::new();
    put_size(&mut body, patches.len());
    for patch in patches {
        body.extend_from_slice(patch.content.as_bytes());
        body.extend_from_slice(patch.state.as_bytes());
        put_size(&mut body, patch.frames.len());
        for frame in &patch.frames {
            table.put_extent(&mut body, &frame.extent);
            put_varint(&mut body, u64::from(frame.raw_len));
        }
    }
    let mut raw = Vec::new();
    table.put_front(&mut raw, 0);
    raw.extend_from_slice(&body);
    if narrow(raw.len()) > NodeKind::Rows.bytes_max() {
        return Err(NodeError::TooLong);
    }
    nodes.save(NodeKind::Rows, &raw)
}

/// Reads the patches of a base, oldest first.
///
/// # Errors
/// [`NodeError`] if the node cannot be read or is not what it must be.
pub fn load_patches(node: &NodeRef, nodes: &mut dyn NodeStore) -> Result<Vec<Patch>, NodeError> {
    let raw = nodes.load(node)?;
    let mut reader = Reader::new(&raw);
    let front = Front::read(&mut reader)?;
    if front.level != 0 {
        return Err(NodeError::TooDeep {
            expected: 0,
            found: front.level,
        });
    }
    // Two digests, and a frame of at least four bytes.
    let count = reader.count(69)?;
    if !(1..=PATCHES_MAX).contains(&count) {
        return Err(NodeError::Malformed);
    }
    let mut patches = Vec::with_capacity(count);
    for _ in 0..count {
        let content = ContentId::from_bytes(reader.array()?);
        let state = ContentId::from_bytes(reader.array()?);
        let count = reader.count(4)?;
        if count > PATCH_FRAMES_MAX {
            return Err(NodeError::Malformed);
        }
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            frames.push(PatchFrame {
                extent: front.extent(&mut reader)?,
                raw_len: reader.varint32()?,
            });
        }
        let patch = Patch {
            content,
            state,
            frames,
        };
        if !patch.fits() {
            return Err(NodeError::Malformed);
        }
        patches.push(patch);
    }
    reader.end()?;
    Ok(patches)
}
