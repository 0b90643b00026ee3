//! The bytes of tree nodes.

use crate::codec::{Reader, put_size, put_varint, size};
use crate::entry::{
    EXTENTS_INLINE_MAX, ExtentList, FileEntry, SIGNATURE_BYTES_MAX, Stat, TARGET_BYTES_MAX,
};
use crate::extents::total_len;
use crate::hash::ContentId;
use crate::node::{Front, NODE_BYTES_MAX, NodeError, NodeRef, PackTable};
use crate::page_map::PageMap;
use crate::path::{KEY_BYTES_MAX, Key};

/// A node as read back: never empty, keys ascending.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(Vec<(Key, FileEntry)>),
    /// Each child with the first key below it.
    Inner(u8, Vec<(Key, NodeRef)>),
}

impl Node {
    pub(super) fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(level, _) => *level,
        }
    }

    pub(super) fn first_key(&self) -> Option<&Key> {
        match self {
            Self::Leaf(items) => items.first().map(|(key, _)| key),
            Self::Inner(_, items) => items.first().map(|(key, _)| key),
        }
    }

    pub(super) fn last_key(&self) -> Option<&Key> {
        match self {
            Self::Leaf(items) => items.last().map(|(key, _)| key),
            Self::Inner(_, items) => items.last().map(|(key, _)| key),
        }
    }

    pub(super) fn decode(raw: &[u8]) -> Result<Self, NodeError> {
        if raw.len() > size(NODE_BYTES_MAX) {
            return Err(NodeError::TooLong);
        }
        let mut reader = Reader::new(raw);
        let front = Front::read(&mut reader)?;
        let node = if front.level == 0 {
            Self::Leaf(items(&mut reader, |reader| entry(&front, reader))?)
        } else {
            Self::Inner(
                front.level,
                items(&mut reader, |reader| front.node(reader))?,
            )
        };
        reader.end()?;
        Ok(node)
    }
}

fn items<T>(
    reader: &mut Reader<'_>,
    mut value: impl FnMut(&mut Reader<'_>) -> Result<T, NodeError>,
) -> Result<Vec<(Key, T)>, NodeError> {
    // Shortest item: a key of one byte with its length, and a folder of seven.
    let count = reader.count(9)?;
    if count == 0 {
        return Err(NodeError::Malformed);
    }
    let mut out: Vec<(Key, T)> = Vec::with_capacity(count);
    for _ in 0..count {
        let len = size(reader.varint32()?);
        if len > KEY_BYTES_MAX {
            return Err(NodeError::BadPath);
        }
        let key = Key::parse(reader.take(len)?).map_err(|_| NodeError::BadPath)?;
        if out.last().is_some_and(|(before, _)| *before >= key) {
            return Err(NodeError::Unsorted);
        }
        out.push((key, value(reader)?));
    }
    Ok(out)
}

/// What can stand in a node behind its key.
pub(super) trait Value {
    /// At least as many bytes as it will take, its share of the pack table included.
    fn size_max(&self) -> usize;
    fn put(&self, table: &mut PackTable, out: &mut Vec<u8>);
}

/// A pack name in the table and a place in it.
const PACK_COST: usize = 32;
/// Place, offset and length.
const EXTENT_COST: usize = 15;
/// An extent, the raw length and the digest.
const NODE_REF_COST: usize = PACK_COST + EXTENT_COST + 5 + 32;
/// Six numbers, and tags.
const STAT_COST: usize = 64;

impl Value for NodeRef {
    fn size_max(&self) -> usize {
        NODE_REF_COST
    }

    fn put(&self, table: &mut PackTable, out: &mut Vec<u8>) {
        table.put_node(out, self);
    }
}

impl Value for FileEntry {
    fn size_max(&self) -> usize {
        let more = match self {
            Self::File {
                extents: ExtentList::Inline(extents),
                ..
            } => extents
                .len()
                .saturating_mul(PACK_COST + EXTENT_COST)
                .saturating_add(40),
            Self::File {
                extents: ExtentList::Far { .. },
                ..
            } => NODE_REF_COST + 48,
            Self::Database { signature, .. } => {
                signature.len().saturating_add(2 * NODE_REF_COST + 64)
            }
            Self::Dir { .. } => 0,
            Self::Symlink { target, .. } => target.len().saturating_add(5),
        };
        more.saturating_add(STAT_COST)
    }

    fn put(&self, table: &mut PackTable, out: &mut Vec<u8>) {
        match self {
            Self::File {
                stat,
                content,
                extents,
            } => {
                out.push(FILE);
                put_stat(out, stat);
                out.extend_from_slice(content.as_bytes());
                match extents {
                    ExtentList::Inline(extents) => {
                        out.push(INLINE);
                        put_size(out, extents.len());
                        for extent in extents {
                            table.put_extent(out, extent);
                        }
                    }
                    ExtentList::Far { count, root } => {
                        out.push(FAR);
                        put_varint(out, u64::from(*count));
                        table.put_node(out, root);
                    }
                }
            }
            Self::Database {
                stat,
                signature,
                pages,
                rows,
            } => {
                out.push(rows.map_or(DATABASE, |_| DATABASE_BY_ROWS));
                put_stat(out, stat);
                put_size(out, signature.len());
                out.extend_from_slice(signature);
                put_varint(out, u64::from(pages.page_size()));
                put_varint(out, u64::from(pages.page_count()));
                out.extend_from_slice(pages.image().as_bytes());
                if let Some(root) = pages.root() {
                    table.put_node(out, root);
                }
                if let Some(rows) = rows {
                    table.put_node(out, rows);
                }
            }
            Self::Dir { stat } => {
                out.push(DIR);
                put_stat(out, stat);
            }
            Self::Symlink { stat, target } => {
                out.push(SYMLINK);
                put_stat(out, stat);
                put_size(out, target.len());
                out.extend_from_slice(target);
            }
        }
    }
}

const FILE: u8 = 1;
const DATABASE: u8 = 2;
const DIR: u8 = 3;
const SYMLINK: u8 = 4;
const DATABASE_BY_ROWS: u8 = 5;
const INLINE: u8 = 0;
const FAR: u8 = 1;

fn entry(front: &Front, reader: &mut Reader<'_>) -> Result<FileEntry, NodeError> {
    let tag = reader.u8()?;
    let stat = read_stat(reader)?;
    match tag {
        FILE => {
            let content = ContentId::from_bytes(reader.array()?);
            let extents = read_extents(front, reader, &stat)?;
            Ok(FileEntry::File {
                stat,
                content,
                extents,
            })
        }
        DATABASE | DATABASE_BY_ROWS => {
            let signature = bytes(reader, SIGNATURE_BYTES_MAX)?;
            let page_size = reader.varint32()?;
            let page_count = reader.varint32()?;
            let image = ContentId::from_bytes(reader.array()?);
            let root = match page_count {
                0 => None,
                _ => Some(front.node(reader)?),
            };
            let pages = PageMap::new(page_size, page_count, root, image)?;
            let rows = match tag {
                DATABASE_BY_ROWS => Some(front.node(reader)?),
                _ => None,
            };
            Ok(FileEntry::Database {
                stat,
                signature,
                pages,
                rows,
            })
        }
        DIR => Ok(FileEntry::Dir { stat }),
        SYMLINK => Ok(FileEntry::Symlink {
            stat,
            target: bytes(reader, TARGET_BYTES_MAX)?,
        }),
        _ => Err(NodeError::Malformed),
    }
}

fn bytes(reader: &mut Reader<'_>, max: usize) -> Result<Vec<u8>, NodeError> {
    let len = reader.count(1)?;
    if len > max {
        return Err(NodeError::Malformed);
    }
    Ok(reader.take(len)?.to_vec())
}

fn read_extents(
    front: &Front,
    reader: &mut Reader<'_>,
    stat: &Stat,
) -> Result<ExtentList, NodeError> {
    match reader.u8()? {
        INLINE => {
            let count = reader.count(3)?;
            if count > EXTENTS_INLINE_MAX {
                return Err(NodeError::Malformed);
            }
            let mut extents = Vec::with_capacity(count);
            for _ in 0..count {
                extents.push(front.extent(reader)?);
            }
            if total_len(&extents) != Some(stat.size) {
                return Err(NodeError::Malformed);
            }
            Ok(ExtentList::Inline(extents))
        }
        FAR => Ok(ExtentList::Far {
            count: reader.varint32()?,
            root: front.node(reader)?,
        }),
        _ => Err(NodeError::Malformed),
    }
}

fn put_stat(out: &mut Vec<u8>, stat: &Stat) {
    put_varint(out, stat.size);
    put_varint(out, zigzag(stat.mtime_ns));
    put_varint(out, zigzag(stat.ctime_ns));
    put_varint(out, stat.inode);
    put_varint(out, stat.device);
    put_varint(out, u64::from(stat.mode));
}

fn read_stat(reader: &mut Reader<'_>) -> Result<Stat, NodeError> {
    Ok(Stat {
        size: reader.varint()?,
        mtime_ns: unzigzag(reader.varint()?),
        ctime_ns: unzigzag(reader.varint()?),
        inode: reader.varint()?,
        device: reader.varint()?,
        mode: reader.varint32()?,
    })
}

/// Signed to unsigned so that small numbers of either sign are short.
fn zigzag(n: i64) -> u64 {
    n.wrapping_shl(1).cast_unsigned() ^ n.wrapping_shr(63).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    n.wrapping_shr(1).cast_signed() ^ (n & 1).cast_signed().wrapping_neg()
}

/// Encodes a node of the given items.
pub(super) fn encode<'a, T: Value + 'a>(
    level: u8,
    count: usize,
    items: impl Iterator<Item = (&'a Key, &'a T)>,
) -> Vec<u8> {
    let mut table = PackTable::default();
    let mut body = Vec::new();
    put_size(&mut body, count);
    for (key, value) in items {
        put_size(&mut body, key.as_bytes().len());
        body.extend_from_slice(key.as_bytes());
        value.put(&mut table, &mut body);
    }
    let mut raw = Vec::with_capacity(body.len().saturating_add(256));
    table.put_front(&mut raw, level);
    raw.extend_from_slice(&body);
    raw
}
