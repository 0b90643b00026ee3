//! Why a database cannot go by rows.

use std::io;

use rusqlite::ErrorCode;

use super::Setting;

/// Why a database, or one of its changes, does not go by rows. Its pages do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Its text is UTF-16, which SQLite would hand over in another form than it is stored in.
    #[error("its text is UTF-16")]
    Encoding,
    /// Columns of this table hide every name of its rowid.
    #[error("the rowids of table {0:?} cannot be named")]
    HiddenRowid(String),
    /// A table of SQLite's own that is not known here.
    #[error("table {0:?} is SQLite's own")]
    Internal(String),
    /// Tables, indexes or triggers are others than before.
    #[error("its schema has changed")]
    SchemaChanged,
    /// A number that an app or a person chose in the header is another.
    #[error("its {0} has changed")]
    HeaderChanged(Setting),
    /// A row is too long to be held in memory with what it was and what it is to be. Patches that have such rows are applied.
    #[error("a row of it is longer than 4 MiB")]
    RowTooLong,
    /// The change is so large that pages weigh no more.
    #[error("too much of it has changed")]
    TooLarge,
    /// A table cannot be read by its key, or written, with what SQLite has built in: it needs a collation or a function
    /// of the app.
    #[error("table {table:?} needs something that only its own app has ({cause})")]
    NeedsItsApp {
        /// The table.
        table: String,
        /// What SQLite said. It names parts of the schema, and no row.
        cause: String,
    },
    /// An index over an expression, a condition with a function, or a column that is generated and stored: a restore makes them anew from the
    /// rows, and another version of SQLite may make them otherwise.
    #[error("table {0:?} keeps what functions made of its rows")]
    Computed(String),
    /// An index of this table is ordered as SQLite would not order it here: its app has a collation of its own under SQLite's name.
    /// A restore makes such an index from the rows.
    #[error("an index of table {0:?} has an order that only its own app knows")]
    OrderDiffers(String),
    /// After the patch, the rows were not those of the source.
    #[error("its rows could not be told from a trial")]
    Mismatch,
}

/// Why rows could not be compared, applied or counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// It goes by pages instead.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A patch that makes no sense.
    #[error(transparent)]
    Malformed(#[from] super::PatchMalformed),
    /// SQLite refused.
    #[error("SQLite could not work on a copy of the database (result code {0})")]
    Sqlite(i32),
    /// The sealed copy could not be read or written.
    #[error("the sealed copy of the database cannot be used")]
    Sealed(#[from] io::Error),
}

impl From<rusqlite::Error> for RowsError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(failure) if failure.code == ErrorCode::TooBig => Unfit::RowTooLong.into(),
            // The text may quote a value: only the code is kept (BACKUP-3).
            Some(failure) => Self::Sqlite(failure.extended_code),
            None => Self::Sqlite(-1),
        }
    }
}
