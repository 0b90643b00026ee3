//! What is backed up: live SQLite databases and media folders.
//!
//! This crate looks at a folder that other programs are using, and reads it so that everything it
//! gives is a state that really was: a file as it stood at one moment, a database as one of its
//! commits left it. It changes nothing there, not a byte and not a name in a listing.
//!
//! ```text
//!              walk(root)                            in the order of path keys, streaming
//!                  │
//!     ┌────────────┼───────────────┬───────────────────┬──────────────┐
//!     ▼            ▼               ▼                   ▼              ▼
//!   Dir,      Regular::content()                                   Skipped: a pipe, unreadable,
//!   Symlink        │                                               vanished, in use ...
//!          ┌───────┴───────┬──────────────────────┐
//!          ▼               ▼                      ▼
//!        File           Database               Opaque (encrypted)
//!     read_stable     LiveDatabase           OpaqueDatabase
//!          │               │                      │
//!     stat before     a connection is there?   the same, but where one is
//!     and after       yes: SQLite joins it     there we join it ourselves:
//!                     no:  the files, under    locks and log are in the
//!                     SQLite's shared lock     clear, only pages are not
//! ```
//!
//! What it refuses, each by a name of its own: a database whose program died in the middle of a
//! change (only that program may undo it), one that stays locked, one that is damaged, a file that
//! never rests. It never guesses, and never gives a mixture.
//!
//! What the caller must do: never point it at a database that this process has open itself. A
//! second copy of SQLite, or a plain `open` and `close`, drops the first one's locks, and two
//! writers then corrupt the database. Such a database is named in [`Rules::supplied`], and its
//! pages come from the program's own connection through [`PageSource`].
//!
//! # Example
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use keyhaven_source::{
//!     Content, ImageShape, Item, LiveDatabase, PageSink, PageSource, Rules,
//!     WrittenOut, read_stable, walk,
//! };
//!
//! /// Takes pages; a real one puts them aside.
//! struct Spool(Vec<u8>);
//!
//! impl PageSink for Spool {
//!     fn begin(&mut self, _: ImageShape) -> ControlFlow<()> {
//!         self.0.clear();
//!         ControlFlow::Continue(())
//!     }
//!     fn page(&mut self, _: u32, bytes: &[u8]) -> ControlFlow<()> {
//!         self.0.extend_from_slice(bytes);
//!         ControlFlow::Continue(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let root = folder.path();
//! # std::fs::write(root.join("photo.jpg"), b"...")?;
//! # rusqlite::Connection::open(root.join("chat.db"))?.execute_batch("CREATE TABLE message(text)")?;
//! let mut bytes = 0;
//! let written = WrittenOut::default();
//! for item in walk(root, &Rules::default())? {
//!     let Item::Regular(regular) = item else { continue };
//!     match regular.content()? {
//!         Content::Database => {
//!             let mut spool = Spool(Vec::new());
//!             let image = LiveDatabase::at(regular.path()).read_pages(&mut spool)?;
//!             assert_eq!(image.shape.bytes(), u64::try_from(spool.0.len())?);
//!             bytes += spool.0.len();
//!         }
//!         Content::File => {
//!             read_stable(regular.path(), regular.stat(), &written, &mut |part| {
//!                 bytes += part.len();
//!                 ControlFlow::Continue(())
//!             })?;
//!         }
//!         Content::Opaque | Content::Logged | Content::Supplied => {}
//!     }
//! }
//! # assert_eq!(bytes, 3 + 8192);
//! # Ok(())
//! # }
//! ```

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
pub mod rows;
mod sniff;
mod stat;
mod walk;
mod written;

pub use database::{
    ConnectionPages, DatabaseError, DatabaseUser, Image, ImageShape, LiveDatabase, NotASignature,
    OpaqueDatabase, PageSink, PageSize, PageSource, Patience, ReadBy, SQLITE_MAGIC, Signature,
    user_of,
};
pub use file::{FileError, StableFile, read_stable};
pub use item::{Item, Regular, SkipReason};
pub use key::{NotAPathKey, PathKey};
pub use leveldb::Watch;
pub use profile::{Detection, Opening, Profile};
pub use sniff::Content;
pub use stat::{Stat, UNSETTLED, now_ns};
pub use walk::{Rules, Walk, WalkError, walk};
pub use written::WrittenOut;
