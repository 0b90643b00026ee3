//! Pages through a connection, by SQLite's `sqlite_dbpage` table.

use rusqlite::Connection;

use crate::database::quiet::proceed;
use crate::database::{DatabaseError, Image, ImageShape, PageSink, PageSize, PageSource, ReadBy};

/// The pages of a database that the program itself has open, through its own connection.
///
/// This is also the example to follow for a program that uses another build of SQLite: one read
/// transaction, pages in order, nothing else. The connection must not be in a transaction of its
/// own, whose uncommitted changes the pages would show.
#[derive(Debug)]
pub struct ConnectionPages<'c> {
    connection: &'c Connection,
}

impl<'c> ConnectionPages<'c> {
    /// The main database of `connection`.
    #[must_use]
    pub fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }
}

impl PageSource for ConnectionPages<'_> {
    fn read_pages(&mut self, sink: &mut dyn PageSink) -> Result<Image, DatabaseError> {
        let shape = read_in_transaction(self.connection, sink, || Ok(()))?;
        let by = if shape.page_count == 0 {
            ReadBy::Nothing
        } else {
            ReadBy::Transaction
        };
        Ok(Image {
            shape,
            signature: None,
            by,
        })
    }
}

/// Reads all pages in one read transaction. `begun` is called once it stands, before any page.
pub(crate) fn read_in_transaction(
    connection: &Connection,
    sink: &mut dyn PageSink,
    begun: impl FnOnce() -> Result<(), DatabaseError>,
) -> Result<ImageShape, DatabaseError> {
    let sqlite = |error: rusqlite::Error| DatabaseError::from_sqlite(&error);
    if !has_page_access(connection)? {
        return Err(DatabaseError::PageAccessMissing);
    }
    if !connection.is_autocommit() {
        return Err(DatabaseError::InTransaction);
    }
    // Rolls back when it is dropped: the transaction ends on every way out.
    let transaction = connection.unchecked_transaction().map_err(sqlite)?;
    // The first statement that reads begins the read transaction; all below see its state.
    let page_count: u32 = transaction
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .map_err(sqlite)?;
    let page_size: u32 = transaction
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(sqlite)?;
    begun()?;
    let page_size = PageSize::new(page_size).ok_or(DatabaseError::Corrupt)?;
    let shape = ImageShape {
        page_size,
        page_count,
    };
    proceed(sink.begin(shape))?;
    let mut taken: u32 = 0;
    {
        let mut pages = transaction
            .prepare("SELECT pgno, data FROM sqlite_dbpage")
            .map_err(sqlite)?;
        let mut rows = pages.query([]).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            let number: u32 = row.get(0).map_err(sqlite)?;
            let page = row.get_ref(1).map_err(sqlite)?;
            let page = page.as_blob().map_err(|_| DatabaseError::BadSource)?;
            taken = taken.checked_add(1).ok_or(DatabaseError::BadSource)?;
            if number != taken || page.len() != page_size.len() {
                return Err(DatabaseError::BadSource);
            }
            proceed(sink.page(number, page))?;
        }
    }
    if taken != page_count {
        return Err(DatabaseError::BadSource);
    }
    Ok(shape)
}

/// Whether this SQLite was built with `sqlite_dbpage`.
fn has_page_access(connection: &Connection) -> Result<bool, DatabaseError> {
    connection
        .query_row(
            "SELECT sqlite_compileoption_used('ENABLE_DBPAGE_VTAB')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| DatabaseError::from_sqlite(&error))
}
