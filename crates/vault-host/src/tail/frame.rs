//! The bytes of a segment: a header, and a frame around each record.

use keyhaven_vault_core::{Index, Mac};
use keyhaven_wire::message::FleetId;

use super::{Place, TailError};
use crate::codec::RECORD_BYTES_MAX;
use crate::record::Record;

const SEGMENT_MARK: &[u8; 8] = b"KHTAIL\0\x01";
/// The mark without its last byte, which is the version.
const MARK_BYTES: usize = 7;
const FRAME_MARK: &[u8; 4] = b"KHTR";

const COVERED_BYTES: usize = 8 + Mac::BYTES;
const CHECK_BYTES: usize = 32;
/// Of a header, without its check.
const BODY_BYTES: usize = SEGMENT_MARK.len() + 32 + 8 + 8 + COVERED_BYTES;
/// How many bytes a header has.
pub const HEADER_BYTES: u64 = 128;
const _: () = assert!(BODY_BYTES + CHECK_BYTES == 128);

const HEAD_CHECK_BYTES: usize = 16;
/// Mark, length and check of the record, and the check of these.
const HEAD_BYTES: usize = FRAME_MARK.len() + 4 + CHECK_BYTES + HEAD_CHECK_BYTES;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose records these are.
    pub fleet: FleetId,
    /// The segment's number.
    pub segment: u64,
    /// How many bytes of the segment before were whole when this one was begun.
    pub before: u64,
    /// The newest entry of the backup of the store that covers what was trimmed, if there was one.
    pub covered: Option<(Index, Mac)>,
}

impl Header {
    /// Its bytes: mark and version 8, fleet 32, number 8, bytes of the segment before 8, index of the
    /// backup's newest entry 8 and its MAC 32, or zeros, check 32.
    #[must_use]
    pub fn encode(&self) -> [u8; 128] {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.extend(SEGMENT_MARK);
        body.extend(self.fleet.as_bytes());
        body.extend(self.segment.to_be_bytes());
        body.extend(self.before.to_be_bytes());
        match &self.covered {
            Some((index, mac)) => {
                body.extend(index.number().to_be_bytes());
                body.extend(mac.as_bytes());
            }
            None => body.extend([0; COVERED_BYTES]),
        }
        let check = header_check(&body);
        let mut bytes = [0; 128];
        for (to, byte) in bytes.iter_mut().zip(body.iter().chain(&check)) {
            *to = *byte;
        }
        bytes
    }

    /// Reads the header of a segment, of which more may follow.
    ///
    /// # Errors
    /// [`TailError::Version`], or [`TailError::Damaged`]: a header is on the medium before the segment
    /// has its name, so one that cannot be read was not torn.
    pub fn decode(segment: u64, bytes: &[u8]) -> Result<Self, TailError> {
        let damaged = TailError::Damaged { segment, at: 0 };
        let (body, rest) = bytes.split_first_chunk::<BODY_BYTES>().ok_or(damaged)?;
        let check = rest.first_chunk::<CHECK_BYTES>().ok_or(damaged)?;
        if header_check(body) != *check {
            let known = body.first_chunk::<MARK_BYTES>() == SEGMENT_MARK.first_chunk();
            let version = body.get(MARK_BYTES) != SEGMENT_MARK.get(MARK_BYTES);
            return Err(match known && version {
                true => TailError::Version { segment },
                false => damaged,
            });
        }
        Self::read(body).ok_or(TailError::Version { segment })
    }

    fn read(body: &[u8; BODY_BYTES]) -> Option<Self> {
        let (mark, rest) = body.split_first_chunk::<8>()?;
        let (fleet, rest) = rest.split_first_chunk::<32>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (before, covered) = rest.split_first_chunk::<8>()?;
        let (index, mac) = covered.split_first_chunk::<8>()?;
        let covered = match covered == [0; COVERED_BYTES] {
            true => None,
            false => Some((
                Index::new(u64::from_be_bytes(*index)),
                Mac::from_bytes(mac.try_into().ok()?),
            )),
        };
        (mark == SEGMENT_MARK).then_some(Self {
            fleet: FleetId::new(*fleet),
            segment: u64::from_be_bytes(*number),
            before: u64::from_be_bytes(*before),
            covered,
        })
    }
}

/// A record in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where it stands.
    pub place: Place,
    /// The record's bytes.
    pub record: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The bytes around a record, at a place of a segment: mark 4, length 4, check of the record 32,
    /// check of all this at this place 16, the record.
    pub(super) fn make(segment: u64, at: u64, record: &[u8]) -> Vec<u8> {
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let head = [
            FRAME_MARK.as_slice(),
            &length.to_be_bytes(),
            &record_check(record),
        ]
        .concat();
        let check = head_check(segment, at, &head);
        [head.as_slice(), &check, record].concat()
    }

    /// Reads the frame that stands at a place of a segment, and nothing else there.
    ///
    /// # Errors
    /// [`TailError::Damaged`] or [`TailError::Record`].
    pub fn open(place: Place, bytes: &'a [u8]) -> Result<Record, TailError> {
        let Place { segment, at, .. } = place;
        match Self::read(segment, at, bytes) {
            Some(frame) if frame.place == place => Record::decode(frame.record)
                .map_err(|error| TailError::Record { segment, at, error }),
            Some(_) | None => Err(TailError::Damaged { segment, at }),
        }
    }

    /// The whole frame that begins here.
    fn read(segment: u64, at: u64, bytes: &'a [u8]) -> Option<Self> {
        let (length, check, rest) = head(segment, at, bytes)?;
        let record = rest.get(..length)?;
        if record_check(record) != check {
            return None;
        }
        Some(Self {
            place: Place {
                segment,
                at,
                bytes: self::length(record),
            },
            record,
        })
    }
}

/// How long the frame around a record is.
pub(super) fn length(record: &[u8]) -> u64 {
    u64::try_from(record.len().saturating_add(HEAD_BYTES)).unwrap_or(u64::MAX)
}

/// The frames of a segment, in order. It ends behind the last whole one.
pub(super) struct Frames<'a> {
    segment: u64,
    bytes: &'a [u8],
    at: u64,
}

impl<'a> Frames<'a> {
    pub(super) const fn of(segment: u64, bytes: &'a [u8]) -> Self {
        Self {
            segment,
            bytes,
            at: HEADER_BYTES,
        }
    }

    /// How many bytes are whole.
    pub(super) const fn whole(&self) -> u64 {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        self.bytes.get(at..).unwrap_or_default()
    }

    /// Whether a later frame was begun. A frame is begun when the one before is on the medium.
    fn goes_on(&self) -> bool {
        let rest = self.rest();
        let later = rest.windows(FRAME_MARK.len()).zip(self.at..).skip(1);
        later.filter(|(mark, _)| mark == FRAME_MARK).any(|(_, at)| {
            let from = at
                .checked_sub(self.at)
                .and_then(|from| usize::try_from(from).ok());
            let bytes = from.and_then(|from| rest.get(from..));
            bytes.is_some_and(|bytes| head(self.segment, at, bytes).is_some())
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, TailError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        match Frame::read(self.segment, self.at, rest) {
            Some(frame) => {
                self.at = self.at.saturating_add(frame.place.bytes);
                Some(Ok(frame))
            }
            // VAULT-5: only the last frame can have been torn. One that others follow was on the medium,
            // and this host has said so.
            None if self.goes_on() => Some(Err(TailError::Damaged {
                segment: self.segment,
                at: self.at,
            })),
            None => None,
        }
    }
}

/// The length and the check of the record whose frame begins here, and what follows its head.
fn head(segment: u64, at: u64, bytes: &[u8]) -> Option<(usize, [u8; CHECK_BYTES], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let (body, check) = head.split_at_checked(HEAD_BYTES - HEAD_CHECK_BYTES)?;
    if head_check(segment, at, body) != check {
        return None;
    }
    let (mark, body) = body.split_first_chunk::<4>()?;
    let (length, record) = body.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let sound = mark == FRAME_MARK && length <= RECORD_BYTES_MAX;
    sound.then_some((length, record.try_into().ok()?, rest))
}

fn header_check(body: &[u8]) -> [u8; CHECK_BYTES] {
    blake3::derive_key("keyhaven v1 tail segment", body)
}

fn record_check(record: &[u8]) -> [u8; CHECK_BYTES] {
    blake3::derive_key("keyhaven v1 tail record", record)
}

/// Of a head at its place: what was written elsewhere is not taken for it.
fn head_check(segment: u64, at: u64, head: &[u8]) -> [u8; HEAD_CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 tail frame");
    hasher.update(&segment.to_be_bytes());
    hasher.update(&at.to_be_bytes());
    hasher.update(head);
    let mut check = [0; HEAD_CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}
