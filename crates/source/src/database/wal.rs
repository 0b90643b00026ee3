//! The write-ahead log's bytes (SQLite file format, section 4): which pages of which frames make
//! up the last commit.
//!
//! Only the files of a database that no connection has open are read this way; beside one, the log's index says
//! which frames count (`member.rs`). The rules are those
//! of SQLite's own recovery: a frame counts while its salts are the header's and the running
//! checksum holds, and only up to the last frame that ends a commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::database::header::{PageSize, u32_at};

/// What a log begins with; the last bit says in which byte order its checksums are computed.
pub(crate) const WAL_MAGICS: [u32; 2] = [0x377f_0682, 0x377f_0683];

/// The size of a log's header.
pub(crate) const WAL_HEADER_BYTES: usize = 32;

/// The size of the header before each frame's page.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

/// The one version of the format.
pub(crate) const FORMAT: u32 = 3_007_000;

/// The last commit in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastCommit {
    pub(crate) page_size: PageSize,
    /// How many pages the database has after this commit.
    pub(crate) page_count: u32,
    /// How many frames lead up to it.
    pub(crate) frames: u32,
    /// Where in the log the newest committed content of a page stands.
    pub(crate) pages: BTreeMap<u32, u64>,
}

/// Reads a log up to its last commit. None when nothing in it is committed.
pub(crate) fn last_commit(log: &File) -> io::Result<Option<LastCommit>> {
    let mut reader = BufReader::with_capacity(256 * 1024, log);
    let mut head = [0; WAL_HEADER_BYTES];
    if !read_whole(&mut reader, &mut head)? {
        return Ok(None);
    }
    let Some((page_size, mut sum)) = parse_header(&head) else {
        return Ok(None);
    };
    let salts = head.get(16..24).unwrap_or_default().to_vec();
    let mut commit = None;
    let mut committed = BTreeMap::new();
    let mut open = Vec::new();
    let mut frame = vec![0; FRAME_HEADER_BYTES.saturating_add(page_size.len())];
    let frame_bytes = u64::from(page_size.bytes()).saturating_add(24);
    let mut at: u64 = 32;
    let mut frames: u32 = 0;
    while read_whole(&mut reader, &mut frame)? {
        let Some((header, page)) = frame.split_at_checked(FRAME_HEADER_BYTES) else {
            break;
        };
        sum.add(header.get(..8).unwrap_or_default());
        sum.add(page);
        let number = u32_at(header, 0);
        let is_valid = header.get(8..16) == Some(salts.as_slice())
            && (u32_at(header, 16), u32_at(header, 20)) == (sum.first, sum.second)
            && number != 0;
        if !is_valid {
            break;
        }
        open.push((number, at.saturating_add(24)));
        at = at.saturating_add(frame_bytes);
        frames = frames.saturating_add(1);
        let page_count = u32_at(header, 4);
        if page_count != 0 {
            committed.extend(open.drain(..));
            commit = Some((page_count, frames));
        }
    }
    Ok(commit.map(|(page_count, frames)| LastCommit {
        page_size,
        page_count,
        frames,
        pages: committed,
    }))
}

fn parse_header(head: &[u8; WAL_HEADER_BYTES]) -> Option<(PageSize, Checksum)> {
    let magic = u32_at(head, 0);
    if !WAL_MAGICS.contains(&magic) || u32_at(head, 4) != FORMAT {
        return None;
    }
    let page_size = PageSize::new(u32_at(head, 8))?;
    let mut sum = Checksum {
        first: 0,
        second: 0,
        big_endian: magic & 1 == 1,
    };
    sum.add(head.get(..24)?);
    ((u32_at(head, 24), u32_at(head, 28)) == (sum.first, sum.second)).then_some((page_size, sum))
}

/// The running checksum over header and frames.
pub(crate) struct Checksum {
    pub(crate) first: u32,
    pub(crate) second: u32,
    pub(crate) big_endian: bool,
}

impl Checksum {
    /// Adds bytes, whose number is a multiple of eight.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let (pairs, _) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in pairs {
            let (x, y) = if self.big_endian {
                (
                    u32::from_be_bytes([*a, *b, *c, *d]),
                    u32::from_be_bytes([*e, *f, *g, *h]),
                )
            } else {
                (
                    u32::from_le_bytes([*a, *b, *c, *d]),
                    u32::from_le_bytes([*e, *f, *g, *h]),
                )
            };
            self.first = self.first.wrapping_add(x).wrapping_add(self.second);
            self.second = self.second.wrapping_add(y).wrapping_add(self.first);
        }
    }
}

/// Fills `buffer`, or says that the end came first.
fn read_whole(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
