//! In which of its states a database's files are, and so how they can be read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, statat};

use crate::claim::Claim;
use crate::database::header::{HEADER_BYTES, Header};
use crate::database::{DatabaseError, Patience};
use crate::item::open_listed;
use crate::lock::{self, SharedLock};
use crate::sniff::companion_path;
use crate::stat::{Stat, now_ns};

/// Longer than the granularity of time stamps.
pub(crate) const SETTLE: Duration = Duration::from_millis(80);

/// A database file that this process alone has open, under SQLite's shared lock.
///
/// While the lock is held nobody writes the main file outside a log, switches the journal mode, or
/// removes a log or its index. So what is found out about those files stays true, except that a
/// connection may *add* a log or an index.
#[derive(Debug)]
pub(crate) struct Held {
    // Dropped in this order: the lock goes with the file, and the claim only after both.
    file: File,
    _lock: SharedLock,
    _claim: Claim,
    pub(crate) path: PathBuf,
    pub(crate) stat: Stat,
}

impl Held {
    /// Opens and locks the database file at `path`.
    pub(crate) fn open(path: &Path, patience: Patience) -> Result<Self, DatabaseError> {
        let stat = stat_of(path)?.ok_or(DatabaseError::Vanished)?;
        let claim = Claim::wait_for(&stat).ok_or(DatabaseError::Locked)?;
        let file = open_listed(path, &stat).map_err(DatabaseError::from_skip)?;
        let io = |error: io::Error| DatabaseError::from_io(&error);
        let locked = file.try_clone().map_err(io)?;
        let lock = SharedLock::take(locked, patience.lock_wait)
            .map_err(io)?
            .ok_or(DatabaseError::Locked)?;
        let stat = Stat::from(&rustix::fs::fstat(&file).map_err(|error| io(error.into()))?);
        Ok(Self {
            file,
            _lock: lock,
            _claim: claim,
            path: path.to_owned(),
            stat,
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The header, if the file begins with one.
    pub(crate) fn header(&self) -> Result<Header, DatabaseError> {
        let mut head = [0; HEADER_BYTES];
        if !self.read_head(&mut head)? {
            return Err(DatabaseError::NotADatabase);
        }
        Header::parse(&head).map_err(|_| DatabaseError::NotADatabase)
    }

    /// Reads the first bytes, or says that there are fewer.
    pub(crate) fn read_head(&self, head: &mut [u8]) -> Result<bool, DatabaseError> {
        match self.file.read_exact_at(head, 0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(DatabaseError::from_io(&error)),
        }
    }

    /// Whether the file has the length with which it was opened.
    pub(crate) fn is_as_opened(&self) -> Result<bool, DatabaseError> {
        let now = rustix::fs::fstat(&self.file);
        let now = now.map_err(|error| DatabaseError::from_io(&error.into()))?;
        Ok(Stat::from(&now).size == self.stat.size)
    }

    /// Whether the path still leads to this file.
    pub(crate) fn is_in_place(&self) -> Result<bool, DatabaseError> {
        Ok(stat_of(&self.path)?.is_some_and(|stat| stat.is_same_file(&self.stat)))
    }

    /// Refuses a journal that a dead program left: the main file then holds a half-made change.
    ///
    /// A journal whose writer lives is no hindrance: the writer has reserved the file, and cannot
    /// change it while we share it. It reserves before it makes the journal and lets go after it is
    /// done with it, so a journal that was there before and after nobody had reserved is a dead
    /// program's, as long as it is certain that it was one journal and not two.
    pub(crate) fn refuse_hot_journal(&self, patience: Patience) -> Result<(), DatabaseError> {
        for _ in 0..patience.attempts_max.max(1) {
            let Some(before) = self.journal()? else {
                return Ok(());
            };
            if lock::is_reserved(&self.file).map_err(|error| DatabaseError::from_io(&error))? {
                return Ok(());
            }
            let is_certain = !before.is_racy_at(now_ns());
            if is_certain
                && self
                    .journal()?
                    .is_some_and(|now| now.is_unchanged_since(&before))
            {
                return Err(DatabaseError::HotJournal);
            }
            std::thread::sleep(SETTLE);
        }
        Err(DatabaseError::Locked)
    }

    /// The journal, unless it is done with: removed, emptied, or its header zeroed.
    fn journal(&self) -> Result<Option<Stat>, DatabaseError> {
        let io = |error: io::Error| DatabaseError::from_io(&error);
        let Some(mut journal) = open_read_only(&companion_path(&self.path, "-journal"))? else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&journal).map_err(|error| io(error.into()))?;
        let mut first = [0];
        let read = journal.read(&mut first).map_err(io)?;
        Ok((read == 1 && first != [0]).then_some(Stat::from(&stat)))
    }

    /// Finds out how the log's users can be told, and whether there are any.
    pub(crate) fn log_state(&self) -> Result<LogState, DatabaseError> {
        let log = stat_of(&companion_path(&self.path, "-wal"))?;
        let index_path = companion_path(&self.path, "-shm");
        let index = stat_of(&index_path)?;
        Ok(match (log, index) {
            (None, _) => LogState::Absent,
            (Some(log), None) => LogState::Unused {
                log,
                witness: Witness::IndexAbsent,
            },
            (Some(log), Some(index)) => {
                if has_live(&index_path)? {
                    LogState::Shared { log }
                } else {
                    LogState::Unused {
                        log,
                        witness: Witness::IndexUntouched(index),
                    }
                }
            }
        })
    }

    /// Whether a connection that comes from now on would show. Time stamps that are too fresh to
    /// tell are given the time to settle.
    pub(crate) fn can_tell_by(&self, witness: &Witness) -> Result<bool, DatabaseError> {
        match witness {
            Witness::LogAbsent | Witness::IndexAbsent => Ok(true),
            Witness::IndexUntouched(stat) => {
                if stat.is_racy_at(now_ns()) {
                    std::thread::sleep(SETTLE);
                }
                Ok(!stat.is_racy_at(now_ns()) && self.still_holds(witness)?)
            }
        }
    }

    /// Whether what the witness stands for has held since it was made, and the main file is as it was.
    ///
    /// BACKUP-1: who knows the file by another name (a hard link, a mount of this one file) has its log there, and who copies over
    /// it takes no lock. Both change its times.
    pub(crate) fn still_holds(&self, witness: &Witness) -> Result<bool, DatabaseError> {
        let index = companion_path(&self.path, "-shm");
        let holds = match witness {
            Witness::LogAbsent => stat_of(&companion_path(&self.path, "-wal"))?.is_none(),
            Witness::IndexAbsent => stat_of(&index)?.is_none(),
            Witness::IndexUntouched(before) => {
                stat_of(&index)?.is_some_and(|now| now.is_unchanged_since(before))
                    && !has_live(&index)?
            }
        };
        let main = stat_of(&self.path)?;
        let is_as_it_was = main
            .is_some_and(|now| now.is_same_file(&self.stat) && now.is_unchanged_since(&self.stat));
        Ok(holds && is_as_it_was)
    }
}

/// Who uses a database's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogState {
    /// There is none.
    Absent,
    /// There is one, and no connection.
    Unused { log: Stat, witness: Witness },
    /// There is one, and a connection: only SQLite can join it.
    Shared { log: Stat },
}

/// What proves, at the end of a reading, that no connection came in between.
///
/// BACKUP-1: under the shared lock nobody can take a log or an index away, so a connection that
/// came and wrote is still betrayed when the reading is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Witness {
    /// Who writes to a database with a log first makes the log.
    LogAbsent,
    /// Who writes to a log first makes its index.
    IndexAbsent,
    /// The first connection after a time without any empties the index, which stamps its ctime.
    IndexUntouched(Stat),
}

/// What the file system says about `path`, if something is there. Links are not followed.
pub(crate) fn stat_of(path: &Path) -> Result<Option<Stat>, DatabaseError> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Stat::from(&stat))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(DatabaseError::from_io(&error.into())),
    }
}

/// Opens a file beside a database, if it is there.
pub(crate) fn open_read_only(path: &Path) -> Result<Option<File>, DatabaseError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(DatabaseError::from_io(&error.into())),
    }
}

/// Whether a connection uses the log. Closing the index drops this process's locks on it, so this
/// is only asked while no connection of ours is open.
fn has_live(index: &Path) -> Result<bool, DatabaseError> {
    match open_read_only(index)? {
        Some(index) => {
            lock::has_live_connection(&index).map_err(|error| DatabaseError::from_io(&error))
        }
        None => Ok(false),
    }
}
