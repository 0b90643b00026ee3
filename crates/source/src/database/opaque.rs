//! Databases whose pages cannot be understood without a key, read all the same.

use std::path::PathBuf;

use crate::database::live::committed_log;
use crate::database::member::Member;
use crate::database::quiet::{Files, proceed};
use crate::database::state::{Held, LogState, SETTLE, Witness};
use crate::database::wal::LastCommit;
use crate::database::{
    DatabaseError, Image, ImageShape, PageSink, PageSize, PageSource, Patience, ReadBy, Signature,
};

/// An encrypted database file (SQLCipher), read beside whoever writes to it.
///
/// SQLCipher encrypts what lies in the pages, and keeps SQLite's locks, log and index as they are. So one commit's
/// page image is read as of any other database, and its bytes are those that its app needs, with its key.
#[derive(Debug, Clone)]
pub struct OpaqueDatabase {
    path: PathBuf,
    patience: Patience,
    cut: Option<PageSize>,
}

impl OpaqueDatabase {
    /// The database at `path`, read with the usual patience.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            patience: Patience::default(),
            cut: None,
        }
    }

    /// The same, with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The same, cut into pages of this size where nothing tells the true one: how it was cut last time.
    #[must_use]
    pub fn cut_as(self, cut: Option<PageSize>) -> Self {
        Self { cut, ..self }
    }

    /// One attempt. None when somebody came in between, or the file was replaced.
    fn attempt(&self, sink: &mut dyn PageSink) -> Result<Option<Image>, DatabaseError> {
        let held = Held::open(&self.path, self.patience)?;
        let signature = Some(Signature::of(&held)?);
        held.refuse_hot_journal(self.patience)?;
        let witness = match held.log_state()? {
            LogState::Absent => Some(Witness::LogAbsent),
            LogState::Unused { witness, .. } => Some(witness),
            LogState::Shared { .. } => None,
        };
        if let Some(witness) = witness
            && let Some(shape) = self.files(&held, &witness, sink)?
        {
            return Ok(Some(Image {
                shape,
                signature,
                by: ReadBy::Files,
            }));
        }
        // As for any database: nobody can take the log away while we share the file.
        if !matches!(held.log_state()?, LogState::Shared { .. }) || !held.is_in_place()? {
            return Ok(None);
        }
        let member = Member::join(&held, self.patience)?;
        let log = member.commit.as_ref();
        let log = log.map(|commit| (&member.log, commit));
        // Before the mark was taken, a checkpoint may have written to the main file.
        if !held.is_as_opened()? {
            return Ok(None);
        }
        let shape = read(&held, log, self.cut, sink)?;
        Ok(held.is_in_place()?.then_some(Image {
            shape,
            signature,
            by: ReadBy::Member,
        }))
    }

    /// Reads from the files. None when a connection came in between.
    fn files(
        &self,
        held: &Held,
        witness: &Witness,
        sink: &mut dyn PageSink,
    ) -> Result<Option<ImageShape>, DatabaseError> {
        if !held.can_tell_by(witness)? {
            return Ok(None);
        }
        let log = committed_log(held)?;
        let log = log.as_ref().map(|(file, commit)| (file, commit));
        let read = read(held, log, self.cut, sink);
        if read == Err(DatabaseError::Stopped) {
            return Err(DatabaseError::Stopped);
        }
        // BACKUP-1: what was read counts only if nobody could have written meanwhile.
        if held.still_holds(witness)? {
            read.map(Some)
        } else {
            Ok(None)
        }
    }
}

impl PageSource for OpaqueDatabase {
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

/// The main file with a commit of the log laid over it, as they stand in the files.
fn read(
    held: &Held,
    log: Option<(&std::fs::File, &LastCommit)>,
    cut: Option<PageSize>,
    sink: &mut dyn PageSink,
) -> Result<ImageShape, DatabaseError> {
    let shape = match log {
        Some((_, commit)) => ImageShape {
            page_size: commit.page_size,
            page_count: commit.page_count,
        },
        None => {
            // A header in the clear tells it.
            let told = held.header().ok().map(|header| header.page_size);
            cut_into_pages(held.stat.size, told.or(cut))?
        }
    };
    let files = Files::new(held, shape.page_size, log)?;
    proceed(sink.begin(shape))?;
    files.each_page(shape.page_count, &mut |number, page| {
        sink.page(number, page)
    })?;
    Ok(shape)
}

/// Pages of a file of which nothing tells how large they are: as they were cut last time, or as SQLCipher has them
/// unless it is told otherwise, or the largest that fit.
fn cut_into_pages(bytes: u64, before: Option<PageSize>) -> Result<ImageShape, DatabaseError> {
    let usual = [4096, 2048, 1024, 512];
    let sizes = before
        .into_iter()
        .chain(usual.into_iter().filter_map(PageSize::new));
    for page_size in sizes {
        let each = u64::from(page_size.bytes());
        if bytes.checked_rem(each) == Some(0) {
            let page_count = bytes
                .checked_div(each)
                .and_then(|count| count.try_into().ok());
            return Ok(ImageShape {
                page_size,
                page_count: page_count.ok_or(DatabaseError::Corrupt)?,
            });
        }
    }
    // No database ends within a page.
    Err(DatabaseError::NotADatabase)
}
