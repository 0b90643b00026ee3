//! What can go wrong while a corpus is made.

use std::io;
use std::path::{Path, PathBuf};

/// A corpus could not be made, changed, written to or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// A new corpus is made only in a folder that is empty or does not exist.
    #[error("{} is not empty: a corpus is made only in an empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The folder holds no corpus made by this crate.
    #[error("{} holds no generated chat store", .0.display())]
    NotACorpus(PathBuf),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the chat database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The write-ahead log does not hold what SQLite said it holds.
    #[error("the write-ahead log of {} does not read as expected", .0.display())]
    WriteAheadLog(PathBuf),
    /// A line of the journal is not a digest.
    #[error("line {line} of {} is not a digest", .path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// Names the path in an I/O error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> CorpusError + '_ {
    move |source| CorpusError::Io {
        path: path.to_owned(),
        source,
    }
}
