//! What tells, without reading a database, that nothing was committed to it since last time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::database::header::{MAGIC, SNIFF_BYTES, u32_at};
use crate::database::state::{Held, open_read_only, stat_of};
use crate::database::wal::WAL_HEADER_BYTES;
use crate::database::{DatabaseError, Patience};
use crate::sniff::{companion_path, looks_encrypted};
use crate::stat::{Stat, now_ns};

/// The state of a database's files, as far as a commit anywhere would change it.
///
/// A commit to a log leaves the main file untouched, and a log that begins anew keeps its size: so
/// the log's times, the salts in its header and the count of its frames belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    main: FileMark,
    change_counter: u32,
    log: Option<LogMark>,
    /// Whether a commit right after this was taken could leave all of it as it is.
    racy: bool,
    /// Whether the main file began as SQLite's files do.
    is_sqlite: bool,
    /// Whether its first bytes looked like a cipher's.
    is_cipher: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileMark {
    inode: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogMark {
    file: FileMark,
    /// How often the log has begun anew, and the salts of this time.
    generation: [u8; 12],
    /// From the log's index, where there is one: commits counted, frames, and their checksum.
    commits: u32,
    frames: u32,
    checksum: u64,
}

/// Bytes that are no signature of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signature of a database's state")]
pub struct NotASignature;

impl Signature {
    /// The longest encoding.
    pub const BYTES_MAX: usize = 128;

    /// Takes the signature of the database at `path`. Take it *before* reading pages: what is
    /// committed in between is then read now and once more next time, and never missed.
    ///
    /// # Errors
    /// When its files cannot be looked at.
    pub fn take(path: &Path, patience: Patience) -> Result<Self, DatabaseError> {
        Self::of(&Held::open(path, patience)?)
    }

    /// Whether nothing was committed since `earlier` was taken.
    #[must_use]
    pub fn is_unchanged_since(&self, earlier: &Self) -> bool {
        // Git's racy rule: what changed within the granularity of its time stamps before it was
        // looked at may change again and look the same.
        !earlier.racy
            && self.main == earlier.main
            && self.change_counter == earlier.change_counter
            && self.log == earlier.log
    }

    /// Whether the main file began as an SQLite database then. Not known of signatures that older versions took.
    #[must_use]
    pub fn is_of_sqlite(&self) -> bool {
        self.is_sqlite
    }

    /// Whether what stands there now, which is no SQLite database, cannot be a state of the encrypted one that this was taken of: its
    /// first bytes look like no cipher's any more, or it had a log and ends within a page. Not known of signatures that older
    /// versions took.
    #[must_use]
    pub fn is_of_a_cipher_that_is_not_in(&self, now: &Self) -> bool {
        let ends_within_a_page = now.main.size.checked_rem(SMALLEST_PAGE) != Some(0);
        self.is_cipher && (!now.is_cipher || self.log.is_some() && ends_within_a_page)
    }

    pub(crate) fn of(held: &Held) -> Result<Self, DatabaseError> {
        let now_ns = now_ns();
        let mut head = [0; SNIFF_BYTES];
        let read = held.read_head(&mut head)?;
        let log_path = companion_path(&held.path, "-wal");
        let log_stat = stat_of(&log_path)?;
        let log = match log_stat {
            Some(stat) => {
                let index = open_read_only(&companion_path(&held.path, "-shm"))?;
                Some(LogMark::of(&held.path, &stat, index.as_ref())?)
            }
            None => None,
        };
        let racy =
            held.stat.is_racy_at(now_ns) || log_stat.is_some_and(|log| log.is_racy_at(now_ns));
        Ok(Self {
            main: FileMark::from(&held.stat),
            change_counter: if read { u32_at(&head, 24) } else { 0 },
            log,
            racy,
            is_sqlite: head.starts_with(MAGIC),
            is_cipher: read && looks_encrypted(&head),
        })
    }

    /// Takes over the log's ctime once our own connection is open, if nothing else has changed.
    ///
    /// SQLite sets the owner of a log when a privileged program opens it, to the owner that it has;
    /// the ctime that this leaves is our own doing, and must not look like a commit next time.
    pub(crate) fn settle_log(
        &mut self,
        database: &Path,
        index: Option<&File>,
    ) -> Result<(), DatabaseError> {
        if let Some(before) = &mut self.log
            && let Some(stat) = stat_of(&companion_path(database, "-wal"))?
        {
            let now = LogMark::of(database, &stat, index)?;
            let file = FileMark {
                ctime_ns: before.file.ctime_ns,
                ..now.file
            };
            if (LogMark { file, ..now }) == *before {
                *before = now;
            }
        }
        Ok(())
    }

    /// The bytes to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES_MAX);
        let flags = [
            self.racy,
            self.log.is_some(),
            self.is_sqlite,
            self.is_cipher,
        ];
        let flags = flags
            .iter()
            .rfold(0, |flags, &is_set| (flags << 1) | u8::from(is_set));
        bytes.extend_from_slice(&[VERSION, flags]);
        bytes.extend_from_slice(&self.change_counter.to_be_bytes());
        self.main.encode(&mut bytes);
        if let Some(log) = &self.log {
            log.file.encode(&mut bytes);
            bytes.extend_from_slice(&log.generation);
            bytes.extend_from_slice(&log.commits.to_be_bytes());
            bytes.extend_from_slice(&log.frames.to_be_bytes());
            bytes.extend_from_slice(&log.checksum.to_be_bytes());
        }
        bytes
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// When the bytes are none of this version. The database is then read again.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotASignature> {
        let mut reader = Reader(bytes);
        let [version, flags] = reader.take()?;
        if version != VERSION || flags > 15 {
            return Err(NotASignature);
        }
        let change_counter = u32::from_be_bytes(reader.take()?);
        let main = FileMark::decode(&mut reader)?;
        let log = if flags & 2 == 0 {
            None
        } else {
            Some(LogMark {
                file: FileMark::decode(&mut reader)?,
                generation: reader.take()?,
                commits: u32::from_be_bytes(reader.take()?),
                frames: u32::from_be_bytes(reader.take()?),
                checksum: u64::from_be_bytes(reader.take()?),
            })
        };
        if reader.0.is_empty() {
            Ok(Self {
                main,
                change_counter,
                log,
                racy: flags & 1 != 0,
                is_sqlite: flags & 4 != 0,
                is_cipher: flags & 8 != 0,
            })
        } else {
            Err(NotASignature)
        }
    }
}

const VERSION: u8 = 1;
/// A database is whole pages of this many bytes, or of a multiple.
const SMALLEST_PAGE: u64 = 512;

impl FileMark {
    fn from(stat: &Stat) -> Self {
        Self {
            inode: stat.inode,
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.inode.to_be_bytes());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(&self.mtime_ns.to_be_bytes());
        bytes.extend_from_slice(&self.ctime_ns.to_be_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, NotASignature> {
        Ok(Self {
            inode: u64::from_be_bytes(reader.take()?),
            size: u64::from_be_bytes(reader.take()?),
            mtime_ns: i64::from_be_bytes(reader.take()?),
            ctime_ns: i64::from_be_bytes(reader.take()?),
        })
    }
}

impl LogMark {
    fn of(database: &Path, stat: &Stat, index: Option<&File>) -> Result<Self, DatabaseError> {
        // SQLite keeps no locks on the log itself, so it may be opened and closed at any time.
        let log = open_read_only(&companion_path(database, "-wal"))?;
        let header: [u8; WAL_HEADER_BYTES] = head_of(log.as_ref())?;
        let mut generation = [0; 12];
        generation.copy_from_slice(header.get(12..24).unwrap_or(&[0; 12]));
        // The index's header, in the machine's byte order: change counter at 8, frames at 16, and
        // the checksum of the last frame at 24 (SQLite's `WalIndexHdr`). Only compared, never used.
        let index: [u8; 48] = head_of(index)?;
        Ok(Self {
            file: FileMark::from(stat),
            generation,
            commits: u32_at(&index, 8),
            frames: u32_at(&index, 16),
            checksum: (u64::from(u32_at(&index, 24)) << 32) | u64::from(u32_at(&index, 28)),
        })
    }
}

/// The first bytes of a companion; zeros for what is not there.
fn head_of<const N: usize>(file: Option<&File>) -> Result<[u8; N], DatabaseError> {
    let mut head = [0; N];
    let Some(file) = file else {
        return Ok(head);
    };
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(head),
        // A shorter file is being made or cut at this moment: nothing that will be seen again.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok([0; N]),
        Err(error) => Err(DatabaseError::from_io(&error)),
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], NotASignature> {
        let (head, rest) = self.0.split_first_chunk().ok_or(NotASignature)?;
        self.0 = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signatures stand in manifests for ever: their bytes do not change.
    #[test]
    fn the_bytes_of_a_signature_are_fixed() {
        let mark = |n: u64| FileMark {
            inode: n,
            size: 4096,
            mtime_ns: 1_700_000_000_000_000_001,
            ctime_ns: -2,
        };
        let log = LogMark {
            file: mark(8),
            generation: *b"sequencesalt",
            commits: 3,
            frames: 4,
            checksum: 5,
        };
        let signature = Signature {
            main: mark(7),
            change_counter: 9,
            log: Some(log),
            racy: true,
            is_sqlite: false,
            is_cipher: false,
        };
        let expected = concat!(
            "0103",
            "00000009",
            "0000000000000007",
            "0000000000001000",
            "17979cfe362a0001",
            "fffffffffffffffe",
            "0000000000000008",
            "0000000000001000",
            "17979cfe362a0001",
            "fffffffffffffffe",
            "73657175656e636573616c74",
            "00000003",
            "00000004",
            "0000000000000005",
        );
        let hex: String = signature
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, expected);
        let short = Signature {
            log: None,
            racy: false,
            ..signature
        };
        let hex: String = short
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, format!("0100{}", &expected[4..76]));
        let of_sqlite = Signature {
            is_sqlite: true,
            ..short.clone()
        };
        let of_a_cipher = Signature {
            is_cipher: true,
            ..short
        };
        for (signature, flags) in [(of_sqlite, 4), (of_a_cipher, 8)] {
            let bytes = signature.encode();
            assert_eq!(bytes[..2], [1, flags]);
            assert_eq!(Signature::decode(&bytes), Ok(signature));
        }
    }
}
