//! What SQLite reads beside a database file in the target: its log, its index, its journal.
//!
//! BACKUP-1: a log or a journal of another state is played into whatever file has its database's name, be it the one that was
//! just restored. So a database stands in the target as it was backed up only together with what stands beside it, and one that
//! a program has open is not replaced.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::hash::{ContentHasher, ContentId};
use keyhaven_repo::path::Key;
use keyhaven_source::{
    ImageShape, LiveDatabase, OpaqueDatabase, PageSink, PageSize, PageSource as _, SQLITE_MAGIC,
    user_of,
};

use super::error::RestoreError;
use super::target::refused;
use crate::files;

const ENDINGS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// Tells a file that has the name of a log, index or journal of a database of the same state. Paths come in their order.
///
/// BACKUP-1: whatever wrote it, SQLite would play it into that database.
#[derive(Default)]
pub(crate) struct Strays {
    /// Those with whose names the present one begins.
    databases: Vec<Key>,
}

/// What is said of a stray that is not restored.
pub(crate) const STRAY: &str = "it is a log or journal of another state of the database beside it, and would be played into that";

impl Strays {
    pub(crate) fn database(&mut self, key: Key) {
        self.databases.push(key);
    }

    /// Whether this entry is one.
    pub(crate) fn meets(&mut self, key: &Key, entry: &FileEntry) -> bool {
        if matches!(entry, FileEntry::Database { .. }) {
            self.database(key.clone());
        }
        matches!(entry, FileEntry::File { .. }) && self.has(key)
    }

    /// Whether a file there is one.
    pub(crate) fn has(&mut self, key: &Key) -> bool {
        let beyond = |database: &Key| key.as_bytes().strip_prefix(database.as_bytes());
        while self
            .databases
            .pop_if(|database| beyond(database).is_none())
            .is_some()
        {}
        let mut endings = self.databases.iter().filter_map(beyond);
        endings.any(|ending| ENDINGS.map(str::as_bytes).contains(&ending))
    }
}

fn companions(database: &Path) -> impl Iterator<Item = PathBuf> {
    ENDINGS.into_iter().map(|ending| {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    })
}

fn found(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        // Beside a name that is as long as names get, none has room.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A log or a journal beside the database, with something in it. An index alone means nothing: it is made anew.
pub(crate) fn in_the_way(database: &Path) -> io::Result<Option<PathBuf>> {
    for path in companions(database).take(2) {
        if found(&path)?.is_some_and(|found| !found.is_file() || found.len() > 0) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Refuses to replace a database that a program has open: it would go on writing into a file that has no name any more, and
/// its log would be played into the one that has it.
pub(crate) fn ensure_not_open(database: &Path) -> Result<(), RestoreError> {
    let looked = user_of(database);
    match looked.map_err(|cause| refused(database.to_path_buf(), cause))? {
        Some(by) => Err(RestoreError::InUse {
            path: database.to_path_buf(),
            by,
        }),
        None => Ok(()),
    }
}

/// The same where anything may stand that is to be replaced by a file or a link. A database is told there by how it begins, or by what
/// stands beside it.
pub(crate) fn ensure_no_open_database(path: &Path) -> Result<(), RestoreError> {
    let broken = |cause| refused(path.to_path_buf(), cause);
    if looks_like_database(path).map_err(broken)? {
        ensure_not_open(path)
    } else {
        Ok(())
    }
}

fn looks_like_database(path: &Path) -> io::Result<bool> {
    for beside in companions(path) {
        if found(&beside)?.is_some() {
            return Ok(true);
        }
    }
    if !found(path)?.is_some_and(|found| found.is_file()) {
        return Ok(false);
    }
    let mut begins = Vec::new();
    let head = u64::try_from(SQLITE_MAGIC.len()).unwrap_or(u64::MAX);
    // What may not be read is nobody's but its owner's: it is replaced as it was asked for.
    let read = File::open(path).and_then(|file| file.take(head).read_to_end(&mut begins));
    Ok(read.is_ok() && begins == SQLITE_MAGIC)
}

/// Removes what stands beside a database that is about to get its name, for good: a log that came back after a loss of power
/// would be played into it.
pub(crate) fn remove(database: &Path) -> Result<(), RestoreError> {
    let mut any = false;
    for path in companions(database) {
        let broken = |cause| refused(path.clone(), cause);
        if let Some(found) = found(&path).map_err(broken)? {
            if found.is_dir() {
                return Err(RestoreError::FolderInPlace(path));
            }
            std::fs::remove_file(&path).map_err(broken)?;
            any = true;
        }
    }
    match database.parent() {
        Some(folder) if any => {
            files::sync_folder(folder).map_err(|cause| refused(folder.to_path_buf(), cause))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a database, together with what stands beside it, is this image. What cannot be read as one state is not.
pub(crate) fn make_image(
    database: &Path,
    page_size: u32,
    image: &ContentId,
    hasher: &ContentHasher,
) -> bool {
    let mut sink = Hashing {
        begun: hasher.clone(),
        hasher: hasher.clone(),
    };
    let mut opaque = OpaqueDatabase::at(database).cut_as(PageSize::new(page_size));
    // What SQLite cannot read may be encrypted.
    let read = LiveDatabase::at(database).read_pages(&mut sink);
    let read = read.or_else(|_| opaque.read_pages(&mut sink));
    read.is_ok() && sink.hasher.finish() == *image
}

struct Hashing {
    begun: ContentHasher,
    hasher: ContentHasher,
}

impl PageSink for Hashing {
    fn begin(&mut self, _: ImageShape) -> ControlFlow<()> {
        self.hasher = self.begun.clone();
        ControlFlow::Continue(())
    }

    fn page(&mut self, _: u32, bytes: &[u8]) -> ControlFlow<()> {
        self.hasher.update(bytes);
        ControlFlow::Continue(())
    }
}
