//! Live SQLite databases: one commit's page image, read beside whoever writes.

mod connection;
mod error;
pub(crate) mod header;
mod live;
mod member;
mod opaque;
mod pages;
mod quiet;
mod signature;
pub(crate) mod state;
mod user;
pub(crate) mod wal;

pub use connection::ConnectionPages;
pub use error::DatabaseError;
pub use header::{MAGIC as SQLITE_MAGIC, PageSize};
pub use live::LiveDatabase;
pub use opaque::OpaqueDatabase;
pub use pages::{Image, ImageShape, PageSink, PageSource, Patience, ReadBy};
pub use signature::{NotASignature, Signature};
pub use user::{DatabaseUser, user_of};
