//! The row tier: a database's change as rows, made and tried between two sealed copies.
//!
//! ```text
//!   source ──pages, one read transaction──▶ new copy (sealed)
//!                                              │ diff, row by row
//!   shadow: the last state (sealed) ───────────┤
//!      ▲                                       ▼
//!      └──────────── apply ◀──────────────── patch ──▶ the store
//!      then: digest of the shadow = digest of the new copy?
//! ```
//!
//! BACKUP-1: the source is read as the page tier reads it and touched by nothing else; everything
//! here happens on copies. A patch counts only if the shadow, after it was applied as a restore will
//! apply it, has the digest of the new copy: every row, every rowid, every type.
//!
//! BACKUP-3: the copies are encrypted page by page, and SQLite reaches them through a file system of
//! ours that knows no other file: there is no journal, no temporary file and no spill on the disk.

mod apply;
mod condition;
mod connect;
mod diff;
mod digest;
mod error;
mod patch;
mod schema;
mod sealed;
mod setting;
mod value;
mod vfs;

pub use apply::apply;
pub use connect::Mounted;
pub use diff::{Beyond, Diffed, TableRows, diff};
pub use digest::digest;
pub use error::{RowsError, Unfit};
pub use patch::{PATCH_BYTES_MAX, PatchMalformed};
pub use sealed::{CopyError, Derive, SealedFile};
pub use setting::Setting;
