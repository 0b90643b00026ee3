//! A database file that other programs may be writing to.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::database::connection::read_in_transaction;
use crate::database::header::PageSize;
use crate::database::quiet::Files;
use crate::database::state::{Held, LogState, SETTLE, Witness, open_read_only};
use crate::database::wal::{LastCommit, last_commit};
use crate::database::{
    DatabaseError, Image, ImageShape, PageSink, PageSource, Patience, ReadBy, Signature,
};
use crate::sniff::companion_path;

/// A database file, read beside whoever writes to it.
///
/// Not for a database that this process has open itself: see [`PageSource`].
#[derive(Debug, Clone)]
pub struct LiveDatabase {
    path: PathBuf,
    patience: Patience,
}

impl LiveDatabase {
    /// The database at `path`, read with the usual patience.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            patience: Patience::default(),
        }
    }

    /// The same, with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One attempt. None when the file was replaced meanwhile.
    fn attempt(&self, sink: &mut dyn PageSink) -> Result<Option<Image>, DatabaseError> {
        let held = Held::open(&self.path, self.patience)?;
        let mut signature = Signature::of(&held)?;
        let log = held.log_state()?;
        if held.stat.size == 0 {
            return self.empty(&held, log, signature, sink).map(Some);
        }
        let header = held.header()?;
        let witness = match log {
            LogState::Absent => Some(Witness::LogAbsent),
            LogState::Unused { witness, .. } => Some(witness),
            LogState::Shared { .. } => None,
        };
        if let Some(witness) = witness
            && let Some(shape) = self.files(&held, header.page_size, witness, sink)?
        {
            return Ok(Some(Image {
                shape,
                signature: Some(signature),
                by: ReadBy::Files,
            }));
        }
        // A connection is there, or came while the files were read. Either way there is a log now,
        // which nobody can take away while we share the file: SQLite finds all that it would make.
        if matches!(held.log_state()?, LogState::Absent) || !held.is_in_place()? {
            return Ok(None);
        }
        let shape = self.transaction(&held, &mut signature, sink)?;
        let by = ReadBy::Transaction;
        Ok(shape.map(|shape| Image {
            shape,
            signature: Some(signature),
            by,
        }))
    }

    /// SQLite would take an empty file's log for a leftover and delete it: it must not see it.
    fn empty(
        &self,
        held: &Held,
        log: LogState,
        signature: Signature,
        sink: &mut dyn PageSink,
    ) -> Result<Image, DatabaseError> {
        match log {
            LogState::Unused { log, .. } | LogState::Shared { log } if log.size > 0 => {
                return Err(DatabaseError::EmptyWithLog);
            }
            LogState::Absent | LogState::Unused { .. } | LogState::Shared { .. } => {}
        }
        held.refuse_hot_journal(self.patience)?;
        let page_size = PageSize::new(4096).ok_or(DatabaseError::BadSource)?;
        let shape = ImageShape {
            page_size,
            page_count: 0,
        };
        crate::database::quiet::proceed(sink.begin(shape))?;
        Ok(Image {
            shape,
            signature: Some(signature),
            by: ReadBy::Nothing,
        })
    }

    /// Reads through SQLite. BACKUP-1: one read transaction sees one commit, whoever writes.
    fn transaction(
        &self,
        held: &Held,
        signature: &mut Signature,
        sink: &mut dyn PageSink,
    ) -> Result<Option<ImageShape>, DatabaseError> {
        let sqlite = |error: rusqlite::Error| DatabaseError::from_sqlite(&error);
        // Closing the index drops the locks of our connection: it is opened first and closed last.
        let index = open_read_only(&companion_path(&held.path, "-shm"))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(sqlite)?;
        connection
            .busy_timeout(self.patience.lock_wait)
            .map_err(sqlite)?;
        // A read-only connection cannot checkpoint; this says it twice.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(sqlite)?;
        let read = read_in_transaction(&connection, sink, || {
            // SQLite opened by name what we hold by descriptor: it must be the same file.
            if !held.is_in_place()? {
                return Err(DatabaseError::Changed);
            }
            signature.settle_log(&held.path, index.as_ref())
        });
        match read {
            Ok(shape) => Ok(Some(shape)),
            Err(DatabaseError::Changed) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads from the files. None when a connection came in between.
    fn files(
        &self,
        held: &Held,
        page_size: PageSize,
        witness: Witness,
        sink: &mut dyn PageSink,
    ) -> Result<Option<ImageShape>, DatabaseError> {
        held.refuse_hot_journal(self.patience)?;
        if !held.can_tell_by(&witness)? {
            return Ok(None);
        }
        let log = committed_log(held)?;
        let log = log.as_ref().map(|(file, commit)| (file, commit));
        let read = Files::new(held, page_size, log).and_then(|files| {
            let page_count = files.page_count()?;
            files.read(page_count, sink)?;
            Ok(ImageShape {
                page_size,
                page_count,
            })
        });
        if read == Err(DatabaseError::Stopped) {
            return Err(DatabaseError::Stopped);
        }
        // BACKUP-1: what was read counts only if nobody could have written meanwhile; and what
        // looks damaged may only look so because somebody wrote.
        if held.still_holds(&witness)? {
            read.map(Some)
        } else {
            Ok(None)
        }
    }
}

impl PageSource for LiveDatabase {
    fn read_pages(&mut self, sink: &mut dyn PageSink) -> Result<Image, DatabaseError> {
        for _ in 0..self.patience.attempts_max {
            if let Some(image) = self.attempt(sink)? {
                return Ok(image);
            }
            std::thread::sleep(SETTLE);
        }
        Err(DatabaseError::Changed)
    }
}

/// The log and its last commit, if there is one.
pub(crate) fn committed_log(
    held: &Held,
) -> Result<Option<(std::fs::File, LastCommit)>, DatabaseError> {
    let Some(file) = open_read_only(&companion_path(&held.path, "-wal"))? else {
        return Ok(None);
    };
    let commit = last_commit(&file).map_err(|error| DatabaseError::from_io(&error))?;
    Ok(commit.map(|commit| (file, commit)))
}
