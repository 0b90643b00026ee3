//! What is backed up: live SQLite databases and media folders.
mod claim;
mod database;
mod file;
mod folder;
pub mod guard;
mod item;
mod key;
mod leveldb;
mod lock;
mod names;
mod profile;
mod sniff;
mod stat;
mod walk;

pub use database::{
    ConnectionPages, DatabaseError, Image, ImageShape, LiveDatabase, NotASignature, PageSink,
    PageSize, PageSource, Patience, ReadBy, Signature, read_opaque,
};
pub use file::{FileError, StableFile, read_stable};
pub use item::{Item, Regular, SkipReason};
pub use key::{NotAPathKey, PathKey};
pub use profile::{Detection, Opening, Profile};
pub use sniff::Content;
pub use stat::{Stat, UNSETTLED, now_ns};
pub use walk::{Rules, Walk, WalkError, walk};
