//! What a run has sent and no snapshot names yet: should it be killed, the next run does not send that again.
//!
//! ```text
//!   header    "KHSENT 1" | store id 16
//!   record    length u32 | first 8 bytes of BLAKE3 of the rest | kind 1 | body
//!     kind 1  a content of files:   id 32 | bytes u64 | its extents
//!     kind 2  a frame of pages:     digest 16 | its extent
//!   extent    pack 32 | offset u32 | length u32
//! ```
//!
//! Numbers are little-endian. BACKUP-2: the log answers for nothing. What is taken over from it are only those whose packs are
//! all found in the spool or in the store; so a record may be there before its pack, a log that is lost or torn costs no
//! more than sending again, and where sending is writing to a disk nobody waits for it to be flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyhaven_repo::hash::{ContentId, ExtentDigest};
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::{PackName, StoreId};

use super::contents::{decode_extents, encode_extents};

const MAGIC: &[u8; 8] = b"KHSENT 1";
const HEADER_BYTES: u64 = 8 + 16;
const CHECK_BYTES: usize = 8;
const CONTENT: u8 = 1;
const FRAME: u8 = 2;

/// How long a log becomes: that is some 200 GB of databases. What is sent after that is not remembered.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// A content that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentContent {
    pub(crate) id: ContentId,
    pub(crate) bytes: u64,
    pub(crate) extents: Vec<Extent>,
}

/// What an earlier run had sent when it was cut off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) contents: Vec<SentContent>,
    frames: BTreeMap<ExtentDigest, Extent>,
}

impl Left {
    /// The packs that hold it.
    pub(crate) fn packs(&self) -> BTreeSet<PackName> {
        let of_contents = self.contents.iter().flat_map(|content| &content.extents);
        let extents = of_contents.chain(self.frames.values());
        extents.map(|extent| extent.pack).collect()
    }

    /// Only what lies in packs that are there.
    pub(crate) fn within(mut self, there: &BTreeSet<PackName>) -> Self {
        let is_there = |extent: &Extent| there.contains(&extent.pack);
        self.contents
            .retain(|content| content.extents.iter().all(is_there));
        self.frames.retain(|_, extent| is_there(extent));
        self
    }

    /// Where a frame lies.
    pub(crate) fn frame(&self, digest: &ExtentDigest) -> Option<Extent> {
        self.frames.get(digest).copied()
    }

    fn take(&mut self, record: &[u8]) -> Option<()> {
        let (kind, body) = record.split_first()?;
        match *kind {
            CONTENT => {
                let (id, body) = body.split_first_chunk::<32>()?;
                let (bytes, extents) = body.split_first_chunk::<8>()?;
                self.contents.push(SentContent {
                    id: ContentId::from_bytes(*id),
                    bytes: u64::from_le_bytes(*bytes),
                    extents: decode_extents(extents)?,
                });
            }
            FRAME => {
                let (digest, extents) = body.split_first_chunk::<16>()?;
                let [extent] = decode_extents(extents)?.try_into().ok()?;
                self.frames
                    .insert(ExtentDigest::from_bytes(*digest), extent);
            }
            _ => return None,
        }
        Some(())
    }
}

/// The log of a run under way.
#[derive(Debug)]
pub(crate) struct SentLog {
    /// None once it could not be written: what is sent from then on is not remembered.
    open: Mutex<Option<Open>>,
    is_flushed: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    has_frames: bool,
}

impl SentLog {
    /// Opens the log at `path`, and reads what an earlier run left in it of that store. With `is_flushed` each record is on the
    /// disk before it counts, as before a store that takes long to send to.
    pub(crate) fn open(path: &Path, store: StoreId, is_flushed: bool) -> (Self, Left) {
        let mut left = Left::default();
        let open = Open::at(path, store, &mut left).ok();
        let log = Self {
            open: Mutex::new(open),
            is_flushed,
        };
        (log, left)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes contents, all of whose packs are on their way.
    pub(crate) fn contents<'a>(
        &self,
        contents: impl Iterator<Item = (&'a ContentId, u64, &'a [Extent])>,
    ) {
        let mut records = Vec::new();
        for (id, bytes, extents) in contents {
            let bytes = bytes.to_le_bytes();
            let body = [id.as_bytes().as_slice(), &bytes, &encode_extents(extents)];
            push(&mut records, CONTENT, &body.concat());
        }
        self.append(&records, false);
    }

    /// Notes frames of pages, whose pack is on its way.
    pub(crate) fn frames(&self, frames: &[(ExtentDigest, Extent)]) {
        let mut records = Vec::new();
        for (digest, extent) in frames {
            let body = [digest.as_bytes().as_slice(), &encode_extents(&[*extent])];
            push(&mut records, FRAME, &body.concat());
        }
        self.append(&records, true);
    }

    fn append(&self, records: &[u8], are_frames: bool) {
        let mut open = self.lock();
        if let Some(log) = open.as_mut()
            && !records.is_empty()
        {
            log.has_frames |= are_frames;
            // Behind a torn record nothing is read any more.
            if log.append(records, self.is_flushed).is_err() {
                *open = None;
            }
        }
    }

    /// Forgets all of it: a snapshot names it now.
    pub(crate) fn clear(&self) {
        let mut open = self.lock();
        if let Some(log) = open.as_mut()
            && log.clear().is_err()
        {
            *open = None;
        }
    }

    /// Forgets the contents, which are remembered elsewhere now. Of frames only a snapshot tells.
    pub(crate) fn clear_contents(&self) {
        let has_frames = self.lock().as_ref().is_none_or(|log| log.has_frames);
        if !has_frames {
            self.clear();
        }
    }
}

impl Open {
    fn at(path: &Path, store: StoreId, left: &mut Left) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).mode(0o600);
        let file = options.open(path)?;
        let mut log = Self {
            file,
            bytes: 0,
            has_frames: false,
        };
        match log.read(store, left) {
            Ok(whole) => {
                log.has_frames = !left.frames.is_empty();
                log.cut(whole)?;
            }
            Err(_) => {
                *left = Left::default();
                log.cut(0)?;
                log.file.write_all(MAGIC)?;
                log.file.write_all(store.as_bytes())?;
                log.bytes = HEADER_BYTES;
            }
        }
        Ok(log)
    }

    /// Reads up to the first record that is not whole, and says where that is.
    fn read(&self, store: StoreId, left: &mut Left) -> io::Result<u64> {
        let mut input = BufReader::new((&self.file).take(LOG_BYTES_MAX));
        let mut header = [0; 8 + 16];
        input.read_exact(&mut header)?;
        if !header.starts_with(MAGIC) || !header.ends_with(store.as_bytes()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut whole = HEADER_BYTES;
        while let Ok(record) = read_record(&mut input) {
            if left.take(&record).is_none() {
                break;
            }
            let bytes = record.len().saturating_add(4 + CHECK_BYTES);
            whole = whole.saturating_add(bytes as u64);
        }
        Ok(whole)
    }

    fn append(&mut self, records: &[u8], is_flushed: bool) -> io::Result<()> {
        let bytes = self.bytes.saturating_add(records.len() as u64);
        if bytes > LOG_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all(records)?;
        if is_flushed {
            self.file.sync_data()?;
        }
        self.bytes = bytes;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.has_frames = false;
        self.cut(HEADER_BYTES)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes))?;
        self.bytes = bytes;
        Ok(())
    }
}

fn push(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let record = [&[kind], body].concat();
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&check(&record));
    out.extend_from_slice(&record);
}

fn read_record(input: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let (mut len, mut sum) = ([0; 4], [0; CHECK_BYTES]);
    input.read_exact(&mut len)?;
    input.read_exact(&mut sum)?;
    let len = u64::from(u32::from_le_bytes(len));
    let mut record = Vec::new();
    input.take(len).read_to_end(&mut record)?;
    if record.len() as u64 != len || check(&record) != sum {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(record)
}

fn check(record: &[u8]) -> [u8; CHECK_BYTES] {
    let sum = blake3::hash(record);
    sum.as_bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(byte: u8) -> Extent {
        Extent {
            pack: PackName::from_bytes([byte; 32]),
            offset: 7,
            len: 9,
        }
    }

    fn content(byte: u8) -> SentContent {
        SentContent {
            id: ContentId::from_bytes([byte; 32]),
            bytes: byte.into(),
            extents: vec![extent(byte), extent(!byte)],
        }
    }

    fn note(log: &SentLog, byte: u8) {
        let SentContent { id, bytes, extents } = &content(byte);
        log.contents(std::iter::once((id, *bytes, extents.as_slice())));
    }

    fn frame(byte: u8) -> (ExtentDigest, Extent) {
        (ExtentDigest::from_bytes([byte; 16]), extent(byte))
    }

    /// A kill or a loss of power may cut it anywhere, and a disk may change it anywhere: what stands before that is read.
    #[test]
    fn a_torn_or_spoilt_log_is_read_up_to_there_and_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent");
        let store = StoreId::from_bytes([1; 16]);
        let open = || SentLog::open(&path, store, true);
        let (log, left) = open();
        assert_eq!(left, Left::default());
        note(&log, 1);
        log.frames(&[frame(2), frame(3)]);
        note(&log, 4);
        let whole = std::fs::read(&path).unwrap();
        let (_, all) = open();
        assert_eq!(all.contents, [content(1), content(4)]);
        assert_eq!(all.frames, BTreeMap::from([frame(2), frame(3)]));
        assert_eq!(all.packs().len(), 6);
        for at in 0..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0x40;
            for bytes in [&whole[..at], &spoilt] {
                std::fs::write(&path, bytes).unwrap();
                let (log, left) = open();
                assert!(all.contents.starts_with(&left.contents), "{at}");
                assert!(
                    left.frames
                        .iter()
                        .all(|frame| all.frames.iter().any(|of| of == frame))
                );
                assert!(left.contents.len() < 2, "{at}");
                log.frames(&[frame(9)]);
                assert_eq!(open().1.frame(&frame(9).0), Some(frame(9).1), "{at}");
            }
        }
    }

    #[test]
    fn contents_are_forgotten_when_they_are_kept_and_frames_when_a_snapshot_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent");
        let store = StoreId::from_bytes([1; 16]);
        let left = || SentLog::open(&path, store, false).1;
        let (log, _) = SentLog::open(&path, store, false);
        note(&log, 1);
        log.clear_contents();
        assert_eq!(left(), Left::default());
        log.frames(&[frame(2)]);
        log.clear_contents();
        assert_eq!(left().packs(), BTreeSet::from([extent(2).pack]));
        log.clear();
        assert_eq!(left(), Left::default());
        note(&log, 3);
        assert_eq!(left().contents, [content(3)]);
        let other = StoreId::from_bytes([2; 16]);
        assert_eq!(SentLog::open(&path, other, false).1, Left::default());
    }

    #[test]
    fn a_log_has_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent");
        let store = StoreId::from_bytes([1; 16]);
        let (log, _) = SentLog::open(&path, store, false);
        for _ in 0..30 {
            log.frames(&vec![frame(2); 10_000]);
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= LOG_BYTES_MAX);
        let (_, left) = SentLog::open(&path, store, false);
        assert_eq!(left.frame(&frame(2).0), Some(frame(2).1));
    }
}
