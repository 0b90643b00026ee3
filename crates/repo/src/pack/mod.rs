//! Packs: immutable objects of one size class, each holding many extents.
//!
//! ```text
//!   plaintext  | extents, one after the other | zeros | table of contents | footer |
//! ```

mod builder;
mod error;
mod open;
mod reader;
mod toc;

pub use builder::{PackBuffer, PackBuilder, SealedPack};
pub use error::PackError;
pub use open::OpenPack;
pub use reader::PackReader;
pub use toc::{ExtentKind, Footer, TocEntry};

use crate::object::ObjectKind;

/// What a pack holds. A pack holds one kind of thing, so that a restore reads messages first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackKind {
    /// Database pages.
    Messages,
    /// Whole files.
    Media,
    /// Tree nodes, page map nodes and lists of extents.
    Index,
}

impl PackKind {
    /// Every kind of pack.
    pub const ALL: [Self; 3] = [Self::Messages, Self::Media, Self::Index];

    pub(crate) fn object_kind(self) -> ObjectKind {
        match self {
            Self::Messages => ObjectKind::Messages,
            Self::Media => ObjectKind::Media,
            Self::Index => ObjectKind::Index,
        }
    }
}
