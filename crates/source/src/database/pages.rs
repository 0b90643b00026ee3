//! What gives pages and what takes them.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::database::{DatabaseError, PageSize, Signature};

/// The size of a page image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// The size of each page.
    pub page_size: PageSize,
    /// How many pages there are. Zero for a database in which nothing was ever committed.
    pub page_count: u32,
}

impl ImageShape {
    /// The size of the image.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.page_size.bytes()).saturating_mul(u64::from(self.page_count))
    }
}

/// Takes the pages of one image.
///
/// The source's read transaction stays open until the last page is taken, and while it is open the
/// writer's log cannot be reset: put the pages aside quickly (spool them), upload later.
pub trait PageSink {
    /// An image begins. When this is called again, the image before was not one state after all:
    /// forget all that was taken and begin anew.
    fn begin(&mut self, shape: ImageShape) -> ControlFlow<()>;

    /// Takes page `number`. Numbers come in order, from 1 to the page count, without a gap; `bytes`
    /// is exactly one page.
    fn page(&mut self, number: u32, bytes: &[u8]) -> ControlFlow<()>;
}

/// Gives the pages of one committed state of a database.
///
/// [`LiveDatabase`](crate::LiveDatabase) reads a database file of another process. A program that
/// has the database open itself must not let a second copy of SQLite, or a plain `open` and
/// `close`, touch the file (that drops the program's own locks, and two writers then corrupt it):
/// it implements this trait over its own connection instead, as
/// [`ConnectionPages`](crate::ConnectionPages) does.
pub trait PageSource {
    /// Reads all pages, in order, in one read transaction that ends before this returns.
    ///
    /// # Errors
    /// When no committed state could be read. What the sink took is then worth nothing.
    fn read_pages(&mut self, sink: &mut dyn PageSink) -> Result<Image, DatabaseError>;
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its size.
    pub shape: ImageShape,
    /// What to compare next time, taken before the reading began. None when a connection of the
    /// caller supplied the pages: such a database is read every time.
    pub signature: Option<Signature>,
    /// How it was read.
    pub by: ReadBy,
}

/// How an image was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBy {
    /// Through SQLite, in a read transaction.
    Transaction,
    /// From the files, under SQLite's shared lock, with proof that no connection was there.
    Files,
    /// From the files, as a reader that the users of its log know of.
    Member,
    /// Nothing to read: the database file is empty.
    Nothing,
}

/// How long to wait for a database that is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one lock is waited for.
    pub lock_wait: Duration,
    /// How often a reading begins anew because a connection came in its way.
    pub attempts_max: u32,
}

impl Default for Patience {
    fn default() -> Self {
        // A transaction of a chat app takes milliseconds; five seconds cover a migration's batches.
        Self {
            lock_wait: Duration::from_secs(5),
            attempts_max: 5,
        }
    }
}
