//! Connections to sealed copies.

use std::io;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::vfs::{Mount, NAME};
use super::{RowsError, SealedFile};

/// A sealed copy that SQLite can open.
pub struct Mounted(Mount);

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mounted({:?})", &*self.0.file())
    }
}

impl Mounted {
    /// Makes a copy open to SQLite, and to nothing outside this process.
    ///
    /// # Errors
    /// SQLite did not take the file system.
    pub fn new(file: SealedFile) -> io::Result<Self> {
        Mount::new(file).map(Self)
    }

    /// Reads the file itself. Connections may read it at the same time; one that writes waits.
    pub fn with_file<T>(&self, work: impl FnOnce(&SealedFile) -> T) -> T {
        work(&self.0.file())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn reader(&self) -> Result<Connection, RowsError> {
        self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    pub(crate) fn writer(&self) -> Result<Connection, RowsError> {
        self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open(&self, mode: OpenFlags) -> Result<Connection, RowsError> {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags_and_vfs(self.name(), flags, NAME)?;
        // What an app built into its schema is data here and must not run: no triggers, no views.
        // A function that an index needs does run, if SQLite itself has it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
        // BACKUP-3: what SQLite puts aside stays in memory, so it puts nothing aside to go back by. Rows
        // that an app once let in against its own constraints are rows all the same.
        connection.execute_batch(
            "PRAGMA temp_store = MEMORY;
             PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             PRAGMA foreign_keys = OFF;
             PRAGMA recursive_triggers = OFF;
             PRAGMA ignore_check_constraints = ON;",
        )?;
        Ok(connection)
    }
}
