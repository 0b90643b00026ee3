//! Reading a database that no connection has open, from its files and without a trace.
//!
//! SQLite would make a log and an index to read a cleanly closed database that keeps a log, and a
//! read-only connection could not remove them again. So such a database is read from its files:
//! the main file, with the last commit of the log laid over it.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use crate::database::header::{HEADER_BYTES, Header, PageSize};
use crate::database::state::Held;
use crate::database::wal::LastCommit;
use crate::database::{DatabaseError, ImageShape, PageSink};

/// How much of the main file is read at once.
const BATCH_BYTES: u32 = 256 * 1024;

/// The page under SQLite's locks need not stand anywhere.
const SLACK_BYTES: u64 = 64 * 1024;

/// The files of a database at one commit.
pub(crate) struct Files<'a> {
    main: &'a File,
    main_bytes: u64,
    log: Option<(&'a File, &'a LastCommit)>,
    page_size: PageSize,
}

impl<'a> Files<'a> {
    pub(crate) fn new(
        held: &'a Held,
        page_size: PageSize,
        log: Option<(&'a File, &'a LastCommit)>,
    ) -> Result<Self, DatabaseError> {
        // SQLite never mixes page sizes: another size in the log is another database's log.
        if log.is_some_and(|(_, commit)| commit.page_size != page_size) {
            return Err(DatabaseError::Corrupt);
        }
        let main = held.file();
        // Now, and not when it was opened: a checkpoint may have made it longer.
        let stat = main.metadata();
        let main_bytes = stat.map_err(|error| DatabaseError::from_io(&error))?.len();
        Ok(Self {
            main,
            main_bytes,
            log,
            page_size,
        })
    }

    /// How many pages the database has, by the rules by which SQLite finds it out.
    pub(crate) fn page_count(&self) -> Result<u32, DatabaseError> {
        let available = match self.log {
            Some((_, commit)) => commit.page_count,
            None => u32::try_from(self.main_bytes.div_ceil(u64::from(self.page_size.bytes())))
                .map_err(|_| DatabaseError::Corrupt)?,
        };
        let mut first = vec![0; self.page_size.len()];
        self.page(1, &mut first)
            .map_err(|error| DatabaseError::from_io(&error))?;
        let head = first.get(..HEADER_BYTES).unwrap_or_default();
        let header = Header::parse(head).map_err(|_| DatabaseError::NotADatabase)?;
        if header.page_size != self.page_size {
            return Err(DatabaseError::Corrupt);
        }
        match header.page_count {
            Some(count) if count > available => Err(DatabaseError::Corrupt),
            Some(count) => Ok(count),
            None => Ok(available),
        }
    }

    /// Gives all pages to the sink.
    pub(crate) fn read(
        &self,
        page_count: u32,
        sink: &mut dyn PageSink,
    ) -> Result<(), DatabaseError> {
        let shape = ImageShape {
            page_size: self.page_size,
            page_count,
        };
        proceed(sink.begin(shape))?;
        self.each_page(page_count, &mut |number, page| {
            // SQLite shows the page under its locks as zeros, and so do we.
            if number == self.page_size.lock_page() {
                page.fill(0);
            }
            sink.page(number, page)
        })
    }

    /// Gives all pages to `take`, as they stand in the files.
    pub(crate) fn each_page(
        &self,
        page_count: u32,
        take: &mut dyn FnMut(u32, &mut [u8]) -> ControlFlow<()>,
    ) -> Result<(), DatabaseError> {
        let image = ImageShape {
            page_size: self.page_size,
            page_count,
        };
        if image.bytes() > self.plausible_bytes() {
            return Err(DatabaseError::Corrupt);
        }
        let per_batch = BATCH_BYTES
            .checked_div(self.page_size.bytes())
            .unwrap_or(1)
            .max(1);
        let batch_bytes = u64::from(per_batch).saturating_mul(u64::from(self.page_size.bytes()));
        let mut batch = vec![0; usize::try_from(batch_bytes).unwrap_or(0)];
        let mut number: u32 = 1;
        while number <= page_count {
            self.main_pages(number, &mut batch)
                .map_err(|error| DatabaseError::from_io(&error))?;
            for page in batch.chunks_exact_mut(self.page_size.len()) {
                if number > page_count {
                    break;
                }
                self.log_page(number, page)
                    .map_err(|error| DatabaseError::from_io(&error))?;
                proceed(take(number, page))?;
                let Some(next) = number.checked_add(1) else {
                    return Ok(());
                };
                number = next;
            }
        }
        Ok(())
    }

    /// How large the database can be, by the rule by which SQLite checks it before a checkpoint (`walCheckpoint` in
    /// `wal.c`): without it a log of a few bytes could claim terabytes of zeros.
    fn plausible_bytes(&self) -> u64 {
        let frames = self.log.map_or(0, |(_, commit)| commit.frames);
        let of_log = u64::from(frames).saturating_mul(self.page_size.bytes().into());
        self.main_bytes
            .saturating_add(of_log)
            .saturating_add(SLACK_BYTES)
    }

    fn page(&self, number: u32, page: &mut [u8]) -> io::Result<()> {
        self.main_pages(number, page)?;
        self.log_page(number, page)
    }

    /// Reads what the main file has from page `number` on; zeros beyond its end, as SQLite has it.
    fn main_pages(&self, number: u32, buffer: &mut [u8]) -> io::Result<()> {
        let index = u64::from(number.saturating_sub(1));
        let mut at = index.saturating_mul(u64::from(self.page_size.bytes()));
        let mut left = buffer;
        while !left.is_empty() {
            match self.main.read_at(left, at) {
                Ok(0) => {
                    left.fill(0);
                    return Ok(());
                }
                Ok(read) => {
                    at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
                    left = left.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn log_page(&self, number: u32, page: &mut [u8]) -> io::Result<()> {
        if let Some((log, commit)) = self.log
            && let Some(at) = commit.pages.get(&number)
        {
            log.read_exact_at(page, *at)?;
        }
        Ok(())
    }
}

/// Stops when the sink asks for it.
pub(crate) fn proceed(flow: ControlFlow<()>) -> Result<(), DatabaseError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(DatabaseError::Stopped),
    }
}
