//! A copy of a database on the device, encrypted page by page.
//!
//! ```text
//!   header, 64 bytes:  "KHSHADOW" | version u32 | page size u32 | salt 32 | zeros 16
//!   page i:            nonce 12 | AES-256-GCM of the page, page number as associated data | tag 16
//! ```
//!
//! BACKUP-5: each file has a key of its own, derived from a salt drawn when it is made, and each
//! writing of a page draws a fresh nonce of 96 bits. One file sees far less than 2^32 writings: a
//! chain of patches ends after 30, and its successor is a new file.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::database::{
    DatabaseError, Image, ImageShape, PageSink, PageSize, PageSource, ReadBy, Signature,
};

const MAGIC: &[u8; 8] = b"KHSHADOW";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 64;
/// Where the salt stands in the header.
const SALT_AT: u64 = 16;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// What a page takes beside its bytes.
const OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;
/// Where a database's header says whether it is to be used with a log.
const LOG_FORMAT: usize = 18;

/// Makes the key of one file from its salt.
pub type Derive<'a> = dyn Fn(&[u8; SALT_BYTES]) -> Zeroizing<[u8; 32]> + 'a;

/// A sealed copy of a database.
pub struct SealedFile {
    file: File,
    key: LessSafeKey,
    page_size: PageSize,
    pages: u64,
    /// The bytes at [`LOG_FORMAT`] as they are kept. SQLite is shown others: see [`Self::read_at`].
    log_format: Option<[u8; 2]>,
}

impl std::fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedFile({} pages)", self.pages)
    }
}

impl SealedFile {
    /// Makes one of `file`, which can be read and written, in place of whatever was in it. Each of its pages is to be
    /// written before it can be read.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn create(file: File, shape: ImageShape, derive: &Derive<'_>) -> io::Result<Self> {
        let (page_size, pages) = (shape.page_size, u64::from(shape.page_count));
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(io::Error::other)?;
        file.set_len(0)?;
        let mut header = Vec::with_capacity(64);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&page_size.bytes().to_le_bytes());
        header.extend_from_slice(&salt);
        header.extend_from_slice(&[0; 16]);
        file.write_all_at(&header, 0)?;
        Self::with(file, page_size, pages, &salt, derive)
    }

    /// Copies one image of a source into a new one, made of `place` as by [`Self::create`].
    ///
    /// # Errors
    /// [`CopyError::Source`] if no committed state could be read, [`CopyError::Device`] if the copy
    /// could not be written.
    pub fn copy(
        source: &mut dyn PageSource,
        place: &File,
        derive: &Derive<'_>,
    ) -> Result<(Self, Image), CopyError> {
        let mut copying = Copying {
            place,
            derive,
            file: None,
            failed: None,
        };
        let read = source.read_pages(&mut copying);
        if let Some(error) = copying.failed {
            return Err(CopyError::Device(error));
        }
        let image = read?;
        let file = copying.file.ok_or(DatabaseError::BadSource)?;
        Ok((file, image))
    }

    /// Opens the one at `path`.
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::InvalidData`] if it is not such a file.
    pub fn open(path: &Path, derive: &Derive<'_>) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0)?;
        let (magic, rest) = header.split_first_chunk::<8>().ok_or_else(invalid)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
        let (page_size, rest) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
        let (salt, _) = rest.split_first_chunk::<SALT_BYTES>().ok_or_else(invalid)?;
        if magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
            return Err(invalid());
        }
        let page_size = PageSize::new(u32::from_le_bytes(*page_size)).ok_or_else(invalid)?;
        let stored = file.metadata()?.len().saturating_sub(HEADER_BYTES);
        let pages = stored.checked_div(record_bytes(page_size)).unwrap_or(0);
        Self::with(file, page_size, pages, salt, derive)
    }

    fn with(
        file: File,
        page_size: PageSize,
        pages: u64,
        salt: &[u8; SALT_BYTES],
        derive: &Derive<'_>,
    ) -> io::Result<Self> {
        let key =
            UnboundKey::new(&AES_256_GCM, derive(salt).as_slice()).map_err(io::Error::other)?;
        Ok(Self {
            file,
            key: LessSafeKey::new(key),
            page_size,
            pages,
            log_format: None,
        })
    }

    /// The size of its pages.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages.saturating_mul(u64::from(self.page_size.bytes()))
    }

    /// Writes page `index`, counted from 0, of those that it has. Several threads may write, each its own pages.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write_page(&self, index: u64, page: &[u8]) -> io::Result<()> {
        if page.len() != self.page_size.len() || index >= self.pages {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.seal(index, page)
    }

    /// Makes it so long, with pages of zeros.
    fn grow(&mut self, pages: u64) -> io::Result<()> {
        let zeros = vec![0; self.page_size.len()];
        while self.pages < pages {
            self.seal(self.pages, &zeros)?;
            self.pages = self.pages.saturating_add(1);
        }
        Ok(())
    }

    fn seal(&self, index: u64, page: &[u8]) -> io::Result<()> {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(io::Error::other)?;
        let mut record = Vec::with_capacity(page.len().saturating_add(OVERHEAD));
        record.extend_from_slice(&nonce);
        record.extend_from_slice(page);
        let Some((_, body)) = record.split_at_mut_checked(NONCE_BYTES) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(index.to_le_bytes()),
                body,
            )
            .map_err(io::Error::other)?;
        record.extend_from_slice(tag.as_ref());
        self.file
            .write_all_at(&record, place(self.page_size, index))
    }

    /// Reads page `index` into `page`.
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::InvalidData`] if it does not open.
    pub fn read_page(&self, index: u64, page: &mut [u8]) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        if index >= self.pages {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if page.len() != self.page_size.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // What is sealed: it need not be wiped.
        let mut record = vec![0; page.len().saturating_add(OVERHEAD)];
        self.file
            .read_exact_at(&mut record, place(self.page_size, index))?;
        let (nonce, rest) = record
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(invalid)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(invalid)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let position = Aad::from(index.to_le_bytes());
        self.key
            .open_separate_gather(nonce, position, body, tag, page)
            .map_err(|_| invalid())
    }

    /// Reads for SQLite. A database that is used with a log is shown as one that is not: here is
    /// one reader and no log, and SQLite would ask for memory to share.
    pub(crate) fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let size = u64::from(self.page_size.bytes());
        if let (index @ 1.., 0) = split(offset, size)
            && out.len() == self.page_size.len()
            && index < self.pages
        {
            return self.read_page(index, out);
        }
        let mut page = Zeroizing::new(vec![0; self.page_size.len()]);
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let (index, within) = split(at, size);
            if let Err(error) = self.read_page(index, &mut page) {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    rest.fill(0);
                }
                return Err(error);
            }
            if index == 0 {
                show_without_log(&mut page);
            }
            let from = page.get(within..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            rest = later;
        }
        Ok(())
    }

    /// Writes for SQLite, keeping the bytes that it was not shown.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let size = u64::from(self.page_size.bytes());
        let mut page = Zeroizing::new(vec![0; self.page_size.len()]);
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (index, within) = split(at, size);
            let len = self.page_size.len().saturating_sub(within).min(rest.len());
            let is_whole = len == self.page_size.len();
            page.fill(0);
            if index < self.pages && (!is_whole || (index == 0 && self.log_format.is_none())) {
                self.read_page(index, &mut page)?;
                if index == 0 {
                    self.log_format = log_format_of(&page);
                }
            }
            let (now, later) = rest.split_at(len);
            if let Some(slot) = page.get_mut(within..within.saturating_add(len)) {
                slot.copy_from_slice(now);
            }
            if index == 0
                && let Some(kept) = self.log_format
                && let Some(slot) = page.get_mut(LOG_FORMAT..LOG_FORMAT + 2)
            {
                slot.copy_from_slice(&kept);
            }
            self.grow(index)?;
            self.seal(index, &page)?;
            self.pages = self.pages.max(index.saturating_add(1));
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            rest = later;
        }
        Ok(())
    }

    /// Cuts or extends for SQLite, to whole pages.
    pub(crate) fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        let pages = bytes.div_ceil(u64::from(self.page_size.bytes()));
        self.grow(pages)?;
        if pages < self.pages {
            self.file.set_len(place(self.page_size, pages))?;
            self.pages = pages;
        }
        Ok(())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Tells `take` the salt and, in the order of its pages, what each is sealed with: nonce and tag. Whoever knows a hash of
    /// these knows the file again, without opening a page.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn seals(&self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut salt = [0; SALT_BYTES];
        self.file.read_exact_at(&mut salt, SALT_AT)?;
        take(&salt);
        // The tag of a page and the nonce of the next one lie side by side.
        let mut seals = [0; TAG_BYTES + NONCE_BYTES];
        for index in 0..=self.pages {
            let tag = if index == 0 { 0 } else { TAG_BYTES };
            let nonce = if index == self.pages { 0 } else { NONCE_BYTES };
            let seals = seals.get_mut(..tag.saturating_add(nonce));
            let seals = seals.unwrap_or_default();
            let at = place(self.page_size, index).saturating_sub(tag as u64);
            self.file.read_exact_at(seals, at)?;
            take(seals);
        }
        Ok(())
    }

    /// Its pages, as a source of one image, with the signature of what it was copied from.
    #[must_use]
    pub fn pages(&self, signature: Option<Signature>) -> impl PageSource + '_ {
        Pages {
            file: self,
            signature,
        }
    }
}

/// Why a sealed copy was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source's fault.
    #[error(transparent)]
    Source(#[from] DatabaseError),
    /// The device's.
    #[error("the sealed copy of the database cannot be written")]
    Device(#[source] io::Error),
}

/// Takes an image into a copy.
struct Copying<'a> {
    place: &'a File,
    derive: &'a Derive<'a>,
    file: Option<SealedFile>,
    failed: Option<io::Error>,
}

impl Copying<'_> {
    fn note(&mut self, done: io::Result<()>) -> ControlFlow<()> {
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl PageSink for Copying<'_> {
    fn begin(&mut self, shape: ImageShape) -> ControlFlow<()> {
        // Whatever an image before this one left is cut away, and its key with it.
        let made = self.place.try_clone();
        let made = made.and_then(|file| SealedFile::create(file, shape, self.derive));
        let done = made.map(|file| self.file = Some(file));
        self.note(done)
    }

    fn page(&mut self, number: u32, bytes: &[u8]) -> ControlFlow<()> {
        let index = u64::from(number.saturating_sub(1));
        let done = match &self.file {
            Some(file) => file.write_page(index, bytes),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        self.note(done)
    }
}

fn record_bytes(page_size: PageSize) -> u64 {
    u64::from(page_size.bytes()).saturating_add(28)
}

fn place(page_size: PageSize, index: u64) -> u64 {
    index
        .saturating_mul(record_bytes(page_size))
        .saturating_add(HEADER_BYTES)
}

/// The page that an offset is in, and where in it.
fn split(at: u64, size: u64) -> (u64, usize) {
    let index = at.checked_div(size).unwrap_or(0);
    let within = at.checked_rem(size).unwrap_or(0);
    (index, usize::try_from(within).unwrap_or(0))
}

fn log_format_of(page: &[u8]) -> Option<[u8; 2]> {
    page.get(LOG_FORMAT..LOG_FORMAT + 2)?.try_into().ok()
}

fn show_without_log(page: &mut [u8]) {
    if let Some(slot) = page.get_mut(LOG_FORMAT..LOG_FORMAT + 2)
        && *slot == [2, 2]
    {
        slot.copy_from_slice(&[1, 1]);
    }
}

/// A sealed copy's pages.
struct Pages<'a> {
    file: &'a SealedFile,
    signature: Option<Signature>,
}

impl PageSource for Pages<'_> {
    fn read_pages(&mut self, sink: &mut dyn PageSink) -> Result<Image, DatabaseError> {
        let shape = ImageShape {
            page_size: self.file.page_size,
            page_count: u32::try_from(self.file.pages).map_err(|_| DatabaseError::BadSource)?,
        };
        let stop = |flow| match flow {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DatabaseError::Stopped),
        };
        stop(sink.begin(shape))?;
        let mut page = Zeroizing::new(vec![0; self.file.page_size.len()]);
        for number in 1..=shape.page_count {
            let index = u64::from(number.saturating_sub(1));
            self.file
                .read_page(index, &mut page)
                .map_err(|error| DatabaseError::from_io(&error))?;
            stop(sink.page(number, &page))?;
        }
        let by = match shape.page_count {
            0 => ReadBy::Nothing,
            _ => ReadBy::Transaction,
        };
        Ok(Image {
            shape,
            signature: self.signature.take(),
            by,
        })
    }
}
