//! What a snapshot says.

use super::SnapshotError;
use crate::codec::{CodecError, Reader, put_size, put_varint};
use crate::hash::NodeDigest;
use crate::layout::Extent;
use crate::names::{PackName, SnapshotDigest, SnapshotName, StoreId, WriterId};
use crate::node::NodeRef;

/// Predecessors that one snapshot may join.
pub const PREDECESSORS_MAX: usize = 16;
/// The longest profile name, in bytes.
pub const PROFILE_BYTES_MAX: usize = 255;

/// A snapshot that this one follows, named so that no other bytes can take its place (BACKUP-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Predecessor {
    /// Where it lies.
    pub name: SnapshotName,
    /// What its bytes are.
    pub digest: SnapshotDigest,
}

/// Why a snapshot does not hold all of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialReason {
    /// The backup was still running: a checkpoint of it.
    Checkpoint,
    /// The time or the bytes that the backup was given were used up, or it was cancelled.
    Budget,
    /// Some files could not be read as one state.
    Unreadable,
}

impl PartialReason {
    const fn code(self) -> u8 {
        match self {
            Self::Checkpoint => 1,
            Self::Budget => 2,
            Self::Unreadable => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Checkpoint, Self::Budget, Self::Unreadable]
            .into_iter()
            .find(|reason| reason.code() == code)
    }
}

/// How much of the source a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// All of it.
    Complete,
    /// Not all.
    Partial {
        /// Why not.
        reason: PartialReason,
        /// How many files are missing or outdated.
        pending_files: u64,
    },
}

/// What a snapshot holds, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files, databases not among them.
    pub files: u64,
    /// Bytes of files and database images together.
    pub bytes: u64,
    /// Databases.
    pub databases: u64,
}

/// What a snapshot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// One more than the highest of its predecessors', 1 for the first.
    pub sequence: u64,
    /// Which installation wrote it.
    pub writer: WriterId,
    /// What it follows: none for the first, two and more for a join.
    pub predecessors: Vec<Predecessor>,
    /// The device's clock when it was made, in seconds since 1970. For people; nothing depends on
    /// it.
    pub device_time_s: i64,
    /// How much of the source it holds.
    pub completeness: Completeness,
    /// The file tree; `None` for an empty source.
    pub root: Option<NodeRef>,
    /// What it holds, counted.
    pub totals: Totals,
    /// The name of the profile that said what belongs to the source.
    pub profile: String,
    /// Kept until a person lets it go: the source had shrunk suspiciously after it.
    pub pinned: bool,
}

const PINNED: u8 = 1;
const COMPLETE: u8 = 0;
const PARTIAL: u8 = 1;

impl From<CodecError> for SnapshotError {
    fn from(_: CodecError) -> Self {
        Self::Malformed
    }
}

impl Snapshot {
    pub(super) fn encode(
        &self,
        store: StoreId,
        name: &SnapshotName,
    ) -> Result<Vec<u8>, SnapshotError> {
        if self.predecessors.len() > PREDECESSORS_MAX
            || self.profile.len() > PROFILE_BYTES_MAX
            || !self.is_numbered()
        {
            return Err(SnapshotError::DoesNotFit);
        }
        let mut out = Vec::new();
        out.extend_from_slice(store.as_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(self.writer.as_bytes());
        out.extend_from_slice(&self.device_time_s.to_le_bytes());
        out.push(if self.pinned { PINNED } else { 0 });
        match self.completeness {
            Completeness::Complete => out.push(COMPLETE),
            Completeness::Partial {
                reason,
                pending_files,
            } => {
                out.extend_from_slice(&[PARTIAL, reason.code()]);
                put_varint(&mut out, pending_files);
            }
        }
        put_size(&mut out, self.predecessors.len());
        for predecessor in &self.predecessors {
            out.extend_from_slice(predecessor.name.as_bytes());
            out.extend_from_slice(predecessor.digest.as_bytes());
        }
        put_varint(&mut out, self.totals.files);
        put_varint(&mut out, self.totals.bytes);
        put_varint(&mut out, self.totals.databases);
        put_size(&mut out, self.profile.len());
        out.extend_from_slice(self.profile.as_bytes());
        out.push(u8::from(self.root.is_some()));
        if let Some(root) = &self.root {
            out.extend_from_slice(root.extent.pack.as_bytes());
            out.extend_from_slice(&root.extent.offset.to_le_bytes());
            out.extend_from_slice(&root.extent.len.to_le_bytes());
            out.extend_from_slice(&root.raw_len.to_le_bytes());
            out.extend_from_slice(root.digest.as_bytes());
        }
        Ok(out)
    }

    pub(super) fn decode(
        plain: &[u8],
        store: StoreId,
        name: &SnapshotName,
    ) -> Result<Self, SnapshotError> {
        let mut reader = Reader::new(plain);
        if reader.array()? != *store.as_bytes() || reader.array()? != *name.as_bytes() {
            return Err(SnapshotError::Malformed);
        }
        let sequence = reader.u64()?;
        let writer = WriterId::from_bytes(reader.array()?);
        let device_time_s = reader.i64()?;
        let pinned = match reader.u8()? {
            0 => false,
            PINNED => true,
            _ => return Err(SnapshotError::Malformed),
        };
        let completeness = match reader.u8()? {
            COMPLETE => Completeness::Complete,
            PARTIAL => Completeness::Partial {
                reason: PartialReason::from_code(reader.u8()?).ok_or(SnapshotError::Malformed)?,
                pending_files: reader.varint()?,
            },
            _ => return Err(SnapshotError::Malformed),
        };
        let predecessors = read_predecessors(&mut reader)?;
        let totals = Totals {
            files: reader.varint()?,
            bytes: reader.varint()?,
            databases: reader.varint()?,
        };
        let profile = read_profile(&mut reader)?;
        let root = match reader.u8()? {
            0 => None,
            1 => Some(read_root(&mut reader)?),
            _ => return Err(SnapshotError::Malformed),
        };
        if reader.take(reader.left())?.iter().any(|&byte| byte != 0) {
            return Err(SnapshotError::BadPadding);
        }
        let snapshot = Self {
            sequence,
            writer,
            predecessors,
            device_time_s,
            completeness,
            root,
            totals,
            profile,
            pinned,
        };
        if snapshot.is_numbered() {
            Ok(snapshot)
        } else {
            Err(SnapshotError::Malformed)
        }
    }

    /// The first snapshot is number 1, and each later one follows something.
    fn is_numbered(&self) -> bool {
        match self.sequence {
            0 => false,
            1 => self.predecessors.is_empty(),
            _ => !self.predecessors.is_empty(),
        }
    }
}

fn read_predecessors(reader: &mut Reader<'_>) -> Result<Vec<Predecessor>, SnapshotError> {
    let count = reader.count(64)?;
    if count > PREDECESSORS_MAX {
        return Err(SnapshotError::Malformed);
    }
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(Predecessor {
            name: SnapshotName::from_bytes(reader.array()?),
            digest: SnapshotDigest::from_bytes(reader.array()?),
        });
    }
    Ok(out)
}

fn read_profile(reader: &mut Reader<'_>) -> Result<String, SnapshotError> {
    let len = reader.count(1)?;
    if len > PROFILE_BYTES_MAX {
        return Err(SnapshotError::Malformed);
    }
    let bytes = reader.take(len)?.to_vec();
    String::from_utf8(bytes).map_err(|_| SnapshotError::Malformed)
}

fn read_root(reader: &mut Reader<'_>) -> Result<NodeRef, SnapshotError> {
    let extent = Extent {
        pack: PackName::from_bytes(reader.array()?),
        offset: reader.u32()?,
        len: reader.u32()?,
    };
    if extent.len == 0 || extent.end().is_none() {
        return Err(SnapshotError::Malformed);
    }
    Ok(NodeRef {
        extent,
        raw_len: reader.u32()?,
        digest: NodeDigest::from_bytes(reader.array()?),
    })
}
