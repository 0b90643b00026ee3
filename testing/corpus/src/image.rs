//! The page image of a database, as a digest that can follow a busy write-ahead log.
//!
//! A committed state of a database is its pages in order. The digest of a state is the sum of one hash for
//! each page, so that a commit which changes five pages of forty thousand changes the digest at the cost of five.
//! Nothing here goes through SQLite: what the writer records is told by the bytes in the files, and so it can judge
//! a reader that goes through SQLite.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{CorpusError, at};

/// How much of a database file is read at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes before the first frame of a write-ahead log.
const LOG_HEADER: usize = 32;
/// Bytes before the page of a frame.
const FRAME_HEADER: usize = 24;

/// Names one page image: page size, number of pages, and every byte of them.
///
/// It tells committed states apart from torn ones. It is no protection against somebody who
/// looks for collisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageDigest([u8; 32]);

impl ImageDigest {
    /// The digest of a database file that nobody has open and that has no write-ahead log beside it.
    ///
    /// # Errors
    /// When the file cannot be read, or a write-ahead log stands beside it.
    pub fn of_file(path: &Path) -> Result<Self, CorpusError> {
        Ok(PageImage::of_file(path)?.digest())
    }

    /// Reads 64 hex digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        blake3::Hash::from_hex(hex)
            .ok()
            .map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// A sum of page hashes, lane by lane.
type Lanes = [u64; 4];

/// The hashes of all pages of a state.
#[derive(Debug, Clone)]
pub(crate) struct PageImage {
    page_bytes: usize,
    pages: Vec<Lanes>,
    sum: Lanes,
}

impl PageImage {
    pub(crate) fn of_file(path: &Path) -> Result<Self, CorpusError> {
        let log = beside(path, "-wal");
        if fs::metadata(&log).is_ok_and(|meta| meta.len() > 0) {
            return Err(CorpusError::WriteAheadLog(path.to_owned()));
        }
        let file = File::open(path).map_err(at(path))?;
        Self::read(BufReader::with_capacity(READ_BYTES, file)).map_err(at(path))
    }

    /// Of a whole database file, of which no more than a page is held at once.
    fn read(mut file: impl BufRead) -> io::Result<Self> {
        let page_bytes = match file.fill_buf()?.get(16..18) {
            Some(&[0, 1]) => 65_536,
            Some(&[high, low]) => u16::from_be_bytes([high, low]).into(),
            _ => 0,
        };
        let mut image = Self {
            page_bytes: page_bytes.max(512),
            pages: Vec::new(),
            sum: [0; 4],
        };
        let mut page = Vec::with_capacity(image.page_bytes);
        for number in 1.. {
            let mut next = file.by_ref().take(image.page_bytes as u64);
            if next.read_to_end(&mut page)? == 0 {
                break;
            }
            image.put(number, &page);
            page.clear();
        }
        Ok(image)
    }

    pub(crate) fn digest(&self) -> ImageDigest {
        let mut hash = blake3::Hasher::new();
        hash.update(&(self.page_bytes as u64).to_le_bytes());
        hash.update(&(self.pages.len() as u64).to_le_bytes());
        for lane in self.sum {
            hash.update(&lane.to_le_bytes());
        }
        ImageDigest(*hash.finalize().as_bytes())
    }

    /// Page `number`, counted from 1, now has these bytes.
    fn put(&mut self, number: u32, page: &[u8]) {
        let index = (number as usize).saturating_sub(1);
        if self.pages.len() <= index {
            self.pages.resize(index + 1, [0; 4]);
        }
        let mut hash = blake3::Hasher::new();
        hash.update(&number.to_le_bytes());
        hash.update(page);
        let bytes = *hash.finalize().as_bytes();
        let mut new: Lanes = [0; 4];
        for (lane, eight) in new.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *lane = u64::from_le_bytes(*eight);
        }
        if let Some(old) = self.pages.get_mut(index) {
            let gone = std::mem::replace(old, new);
            add(&mut self.sum, new);
            subtract(&mut self.sum, gone);
        }
    }

    /// The database now has `count` pages.
    fn cut(&mut self, count: u32) {
        for gone in self.pages.drain(self.pages.len().min(count as usize)..) {
            subtract(&mut self.sum, gone);
        }
    }
}

fn add(sum: &mut Lanes, lanes: Lanes) {
    for (to, from) in sum.iter_mut().zip(lanes) {
        *to = to.wrapping_add(from);
    }
}

fn subtract(sum: &mut Lanes, lanes: Lanes) {
    for (to, from) in sum.iter_mut().zip(lanes) {
        *to = to.wrapping_sub(from);
    }
}

/// A page image that is kept up to date from the write-ahead log.
///
/// It holds its own handle of the database file until it is dropped, which must be after SQLite's
/// connections of this process were closed: POSIX drops a process's locks on a file when any handle of it
/// is closed.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    database: File,
    image: PageImage,
    log: Option<File>,
    /// The salts of the log's present round, and how many of its frames have been read.
    round: Option<([u8; 8], u64)>,
}

/// How far a log is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// So many frames: those that a commit of our own has seen.
    Frame(u64),
    /// To its end. Only while nobody can write: a frame that is being written looks like one.
    End,
}

impl Follower {
    /// Opens the files. Nothing is known until the first [`Self::begin`].
    pub(crate) fn open(path: &Path) -> Result<Self, CorpusError> {
        let database = File::open(path).map_err(at(path))?;
        let image = PageImage {
            page_bytes: 512,
            pages: Vec::new(),
            sum: [0; 4],
        };
        Ok(Self {
            path: path.to_owned(),
            database,
            image,
            log: None,
            round: None,
        })
    }

    /// Reads the present state, while the caller keeps everybody from writing.
    pub(crate) fn begin(&mut self) -> Result<(), CorpusError> {
        let file = BufReader::with_capacity(READ_BYTES, &self.database);
        self.image = PageImage::read(file).map_err(at(&self.path))?;
        self.follow(Until::End, |_| Ok(()))
    }

    pub(crate) fn digest(&self) -> ImageDigest {
        self.image.digest()
    }

    /// Reads the log and tells every state that was committed since the last call.
    pub(crate) fn follow(
        &mut self,
        until: Until,
        mut committed: impl FnMut(ImageDigest) -> Result<(), CorpusError>,
    ) -> Result<(), CorpusError> {
        let path = beside(&self.path, "-wal");
        if self.log.is_none() && path.is_file() {
            self.log = Some(File::open(&path).map_err(at(&path))?);
        }
        let Some(log) = &self.log else { return Ok(()) };
        let Some(salts) = round(log, self.image.page_bytes).map_err(at(&path))? else {
            return Ok(());
        };
        let mut read = match self.round {
            Some((same, read)) if same == salts => read,
            _ => 0,
        };
        let mut frame = vec![0; FRAME_HEADER + self.image.page_bytes];
        let mut group = BTreeMap::new();
        for next in read.. {
            if matches!(until, Until::Frame(frames) if next >= frames) {
                break;
            }
            let place = LOG_HEADER as u64 + next * frame.len() as u64;
            match log.read_exact_at(&mut frame, place) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                outcome => outcome.map_err(at(&path))?,
            }
            let (head, page) = frame.split_at_checked(FRAME_HEADER).unwrap_or_default();
            if self::salts(head, 8) != Some(salts) {
                break;
            }
            group.insert(number(head, 0), page.to_vec());
            // A frame that carries the database's size ends a commit.
            let size = number(head, 4);
            if size > 0 {
                for (number, page) in std::mem::take(&mut group) {
                    self.image.put(number, &page);
                }
                self.image.cut(size);
                read = next + 1;
                committed(self.image.digest())?;
            }
        }
        if matches!(until, Until::Frame(frames) if read < frames) {
            return Err(CorpusError::WriteAheadLog(self.path.clone()));
        }
        self.round = Some((salts, read));
        Ok(())
    }
}

/// The salts of the log's present round; `None` when the log is empty or is of other pages.
fn round(log: &File, page_bytes: usize) -> io::Result<Option<[u8; 8]>> {
    let mut header = [0; LOG_HEADER];
    match log.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let same_pages = usize::try_from(number(&header, 8)).is_ok_and(|bytes| bytes == page_bytes);
    Ok(if same_pages { salts(&header, 16) } else { None })
}

fn salts(header: &[u8], from: usize) -> Option<[u8; 8]> {
    header.get(from..)?.first_chunk().copied()
}

fn number(header: &[u8], from: usize) -> u32 {
    let bytes = header.get(from..).and_then(|rest| rest.first_chunk());
    u32::from_be_bytes(bytes.copied().unwrap_or_default())
}

/// The file of SQLite's that stands beside a database.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
