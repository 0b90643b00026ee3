//! What SQLite reads beside a database file in the target: its log, its index, its journal.
//!
//! BACKUP-1: a log or a journal of another state is played into whatever file has its database's name, be it the one that was
//! just restored. So a database stands in the target as it was backed up only together with what stands beside it.

use std::fs::Metadata;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use keyhaven_repo::hash::{ContentHasher, ContentId};
use keyhaven_source::{
    ImageShape, LiveDatabase, OpaqueDatabase, PageSink, PageSize, PageSource as _,
};

use crate::files;

const ENDINGS: [&str; 3] = ["-wal", "-journal", "-shm"];

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

/// Removes what stands beside a database that is about to get its name, for good: a log that came back after a loss of power
/// would be played into it.
pub(crate) fn remove(database: &Path) -> io::Result<()> {
    let mut any = false;
    for path in companions(database) {
        if found(&path)?.is_some() {
            std::fs::remove_file(&path)?;
            any = true;
        }
    }
    match database.parent() {
        Some(folder) if any => files::sync_folder(folder),
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
