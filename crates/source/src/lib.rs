//! What is backed up: live SQLite databases and media folders.
mod claim;
mod database;
mod file;
pub mod guard;
mod key;
mod lock;
mod names;
mod sniff;
mod stat;
mod walk;

pub use database::{
    ConnectionPages, DatabaseError, Image, ImageShape, LiveDatabase, NotASignature, PageSink,
    PageSize, PageSource, Patience, ReadBy, Signature, read_opaque,
};
pub use file::{FileError, StableFile, read_stable};
pub use key::{NotAPathKey, PathKey};
pub use sniff::Content;
pub use stat::{Stat, UNSETTLED, now_ns};
pub use walk::{Item, Regular, Rules, SkipReason, Walk, WalkError, walk};
