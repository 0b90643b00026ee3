//! What the file tree says about one path.

use crate::extents::total_len;
use crate::hash::ContentId;
use crate::layout::Extent;
use crate::node::NodeRef;
use crate::page_map::PageMap;

/// The longest symbolic link target, in bytes.
pub const TARGET_BYTES_MAX: usize = 4096;
/// The longest signature of a database's write-ahead log, in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 256;
/// Extents that stand in the entry itself; a longer list goes into nodes of its own.
pub const EXTENTS_INLINE_MAX: usize = 32;

/// What the file system said about a file when it was read. The tree *is* the local state: a file
/// is unchanged if the walk sees the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Length in bytes.
    pub size: u64,
    /// Time of the last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of content or attributes, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
    /// File type and permissions, as Unix has them.
    pub mode: u32,
}

/// Where a file's bytes lie, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtentList {
    /// At most [`EXTENTS_INLINE_MAX`] extents.
    Inline(Vec<Extent>),
    /// A longer list, in nodes of its own: see [`crate::extents`].
    Far {
        /// How many extents.
        count: u32,
        /// The root of the list.
        root: NodeRef,
    },
}

/// What the file tree says about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEntry {
    /// A file, kept whole.
    File {
        /// As the walk saw it.
        stat: Stat,
        /// The id of its content.
        content: ContentId,
        /// Its bytes.
        extents: ExtentList,
    },
    /// A database, kept as the page image of one commit, or as such a base and patches of its rows.
    Database {
        /// As the walk saw the main file.
        stat: Stat,
        /// What told that nothing was committed: opaque here, at most [`SIGNATURE_BYTES_MAX`].
        signature: Vec<u8>,
        /// Its pages; by rows, those of its base.
        pages: PageMap,
        /// By rows, the patches on the base: see [`crate::rows`].
        rows: Option<NodeRef>,
    },
    /// A folder.
    Dir {
        /// As the walk saw it.
        stat: Stat,
    },
    /// A symbolic link. It is never followed.
    Symlink {
        /// As the walk saw it.
        stat: Stat,
        /// Where it points, at most [`TARGET_BYTES_MAX`] bytes.
        target: Vec<u8>,
    },
}

impl FileEntry {
    /// What the file system said.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        match self {
            Self::File { stat, .. }
            | Self::Database { stat, .. }
            | Self::Dir { stat }
            | Self::Symlink { stat, .. } => stat,
        }
    }

    /// Whether a reader will accept it: every writer asks before it stores an entry, so that no
    /// backup is made that cannot be read.
    #[must_use]
    pub fn fits(&self) -> bool {
        match self {
            Self::File { stat, extents, .. } => match extents {
                ExtentList::Inline(extents) => {
                    extents.len() <= EXTENTS_INLINE_MAX
                        && extents.iter().all(|extent| extent.len > 0)
                        && total_len(extents) == Some(stat.size)
                }
                ExtentList::Far { .. } => true,
            },
            Self::Database { signature, .. } => signature.len() <= SIGNATURE_BYTES_MAX,
            Self::Dir { .. } => true,
            Self::Symlink { target, .. } => target.len() <= TARGET_BYTES_MAX,
        }
    }
}
