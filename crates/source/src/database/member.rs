//! Reading beside those who use a log, without understanding what lies in the pages.
//!
//! SQLite's readers and writers keep out of each other's way through the log's index (SQLite's `walformat.html`,
//! and `walTryBeginRead` in `wal.c`): a reader takes one of the marks, and as long as it shares that mark's lock
//! nobody begins the log anew, and no checkpoint writes what lies behind the mark into the main file. All of that
//! is in the clear, also where the pages are not: an encrypted database keeps the same log, index and locks. So a
//! reader that keeps the rules reads one commit beside any number of writers, and needs no key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};

use crate::database::header::{PageSize, u32_at};
use crate::database::state::{Held, open_read_only};
use crate::database::wal::{Checksum, FORMAT, FRAME_HEADER_BYTES, LastCommit, WAL_HEADER_BYTES};
use crate::database::{DatabaseError, Patience};
use crate::lock::{self, MarkLock};
use crate::sniff::companion_path;

/// The index begins with its header twice, so that a reader sees when it is being changed.
const HEADER_BYTES: usize = 48;
/// What the header's own checksum covers.
const SUMMED_BYTES: usize = 40;
/// Where the five marks stand.
const MARKS_AT: u64 = 100;
/// The marks that a reader of the log may take. The first is for those who read the main file alone.
const MARKS: std::ops::RangeInclusive<u8> = 1..=4;
/// How long between two tries to join.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// A reader among those who use a log, at one commit.
pub(crate) struct Member {
    /// Its locks go with it.
    _index: File,
    pub(crate) log: File,
    /// None where nothing was ever committed to the log: all is in the main file, and nobody writes to that.
    pub(crate) commit: Option<LastCommit>,
}

impl Member {
    /// Joins the users of a database's log at its newest commit.
    ///
    /// # Errors
    /// `Locked` when the index did not come to rest, or no mark was free, within the patience.
    pub(crate) fn join(held: &Held, patience: Patience) -> Result<Self, DatabaseError> {
        let io = |error: io::Error| DatabaseError::from_io(&error);
        let index = open_index(held)?;
        let log = open_read_only(&companion_path(&held.path, "-wal"))?;
        let log = log.ok_or(DatabaseError::Changed)?;
        let until = Instant::now().checked_add(patience.lock_wait);
        let mut is_known = false;
        loop {
            is_known = is_known || lock::share_live(&index).map_err(io)?;
            if is_known && let Some(header) = try_begin(&index).map_err(io)? {
                let commit = header.commit(&log)?;
                return Ok(Self {
                    _index: index,
                    log,
                    commit,
                });
            }
            if until.is_none_or(|until| Instant::now() >= until) {
                return Err(DatabaseError::Locked);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// The index, to be read and, where that is allowed, to be marked.
fn open_index(held: &Held) -> Result<File, DatabaseError> {
    let path = companion_path(&held.path, "-shm");
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(fd) => Ok(File::from(fd)),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS | rustix::io::Errno::PERM) => {
            open_read_only(&path)?.ok_or(DatabaseError::Changed)
        }
        Err(rustix::io::Errno::NOENT) => Err(DatabaseError::Changed),
        Err(error) => Err(DatabaseError::from_io(&error.into())),
    }
}

/// What the index says of the newest commit.
#[derive(PartialEq, Eq)]
struct IndexHeader {
    bytes: [u8; HEADER_BYTES],
    /// None in an index that was made beside an empty log, until something is committed to that.
    page_size: Option<PageSize>,
    /// The last frame of the newest commit; none when the log was begun anew and nothing was committed since.
    frames: u32,
    page_count: u32,
}

/// Takes a mark at the newest commit and shares its lock. None when that has to be tried again.
fn try_begin(index: &File) -> io::Result<Option<IndexHeader>> {
    let Some(header) = IndexHeader::read(index)? else {
        return Ok(None);
    };
    let Some((mark, at)) = choose(index, header.frames)? else {
        return Ok(None);
    };
    let lock = MarkLock::of(mark);
    if !lock.try_share(index)? {
        return Ok(None);
    }
    // Between the look and the lock somebody may have moved the mark, or begun the log anew.
    if read_mark(index, mark)? == Some(at)
        && IndexHeader::read(index)?.is_some_and(|now| now == header)
    {
        return Ok(Some(header));
    }
    lock.release(index)?;
    Ok(None)
}

/// The mark to read by, and where it stands: one at the newest commit, made so if need be; else the newest before
/// it, behind which the log stays as well.
fn choose(index: &File, frames: u32) -> io::Result<Option<(u8, u32)>> {
    let mut best: Option<(u8, u32)> = None;
    for mark in MARKS {
        if let Some(at) = read_mark(index, mark)?.filter(|at| *at <= frames)
            && best.is_none_or(|(_, other)| other <= at)
        {
            best = Some((mark, at));
        }
    }
    if best.is_some_and(|(_, at)| at == frames) {
        return Ok(best);
    }
    for mark in MARKS {
        let lock = MarkLock::of(mark);
        match lock.try_own(index) {
            Ok(true) => {
                let written = index.write_all_at(&frames.to_ne_bytes(), mark_at(mark));
                lock.release(index)?;
                written?;
                return Ok(Some((mark, frames)));
            }
            Ok(false) => {}
            // An index that may only be read cannot be marked.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBADF) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(best)
}

fn mark_at(mark: u8) -> u64 {
    MARKS_AT.saturating_add(u64::from(mark).saturating_mul(4))
}

fn read_mark(index: &File, mark: u8) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    Ok(read_whole(index, &mut bytes, mark_at(mark))?.then(|| u32::from_ne_bytes(bytes)))
}

/// Fills `bytes` from `at` on, or says that the file ends before.
fn read_whole(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

impl IndexHeader {
    /// The header, unless it is being changed, or was never made.
    fn read(index: &File) -> io::Result<Option<Self>> {
        let (mut first, mut second) = ([0; HEADER_BYTES], [0; HEADER_BYTES]);
        // A writer changes the second one first.
        let is_there = read_whole(index, &mut first, 0)?
            && read_whole(index, &mut second, HEADER_BYTES as u64)?;
        Ok((is_there && first == second)
            .then(|| Self::parse(first))
            .flatten())
    }

    /// Numbers are in the machine's byte order, as the index never leaves it.
    fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
            word.map_or(0, |word| u32::from_ne_bytes(*word))
        };
        let mut sum = Checksum {
            first: 0,
            second: 0,
            big_endian: cfg!(target_endian = "big"),
        };
        sum.add(bytes.get(..SUMMED_BYTES)?);
        let is_made = bytes.get(12) == Some(&1);
        if word(0) != FORMAT || !is_made || (word(40), word(44)) != (sum.first, sum.second) {
            return None;
        }
        let page_size = match bytes
            .get(14..)?
            .first_chunk()
            .map(|size| u16::from_ne_bytes(*size))?
        {
            1 => 65_536,
            size => u32::from(size),
        };
        let frames = word(16);
        let page_size = match (page_size, frames) {
            (0, 0) => None,
            (size, _) => Some(PageSize::new(size)?),
        };
        Some(Self {
            page_size,
            frames,
            page_count: word(20),
            bytes,
        })
    }

    /// Which page is where, as of this commit: every frame up to its last counts.
    fn commit(&self, log: &File) -> Result<Option<LastCommit>, DatabaseError> {
        let Some(page_size) = self.page_size else {
            return Ok(None);
        };
        let salts = self.bytes.get(32..40);
        let frame_bytes = u64::from(page_size.bytes()).saturating_add(FRAME_HEADER_BYTES as u64);
        let mut pages = BTreeMap::new();
        let mut at = WAL_HEADER_BYTES as u64;
        for _ in 0..self.frames {
            let mut header = [0; FRAME_HEADER_BYTES];
            let is_there =
                read_whole(log, &mut header, at).map_err(|error| DatabaseError::from_io(&error))?;
            // No frame of another time can stand there while the mark is held.
            if !is_there || header.get(8..16) != salts {
                return Err(DatabaseError::Corrupt);
            }
            pages.insert(
                u32_at(&header, 0),
                at.saturating_add(FRAME_HEADER_BYTES as u64),
            );
            at = at.saturating_add(frame_bytes);
        }
        Ok(Some(LastCommit {
            page_size,
            page_count: self.page_count,
            frames: self.frames,
            pages,
        }))
    }
}
