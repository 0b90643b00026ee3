//! A tail: the records on a host's disk, as files that only grow. Without I/O.
//!
//! A tail is some *segments*, numbered without a gap. A record is written at the end of the newest one
//! and flushed; then the host has it. What is to be written is said as [`Write`]s; the shell does them
//! in order, each on the medium before the next begins, and stops the host when one fails.
//!
//! ```text
//!   segment 7   header, frame, frame, frame, …            whole, for segment 8 says how long it is
//!   segment 8   header, frame, frame, (torn frame)        a crash while a frame was written tears
//!                                                         the last one of all, which is dropped
//!   segment 9   header                                    begun behind a torn frame, when a segment is
//!                                                         full, and when a backup covers what is before
//! ```
//!
//! A frame that cannot be read and is not the last was flushed and is damaged: then the tail is not
//! gone by in silence, for a record is missing that this host said it has (VAULT-5). Segments are
//! removed, oldest first, once a backup of the store covers all their records; nothing is ever written
//! over. The bytes are specified in `docs/host-bytes.md`.

mod frame;

use std::collections::{BTreeMap, VecDeque};

use keyhaven_secrets::Remedy;
use keyhaven_vault_core::{Index, Mac};
use keyhaven_wire::message::FleetId;

use crate::codec::{DecodeError, EncodeError};
use crate::record::Record;

use self::frame::Frames;
pub use self::frame::{Frame, HEADER_BYTES, Header};

/// How long files may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailLimits {
    /// A segment that is longer is not written to any more. It is longer by one record at most.
    pub segment_bytes: u64,
    /// No record is taken that would make all segments together longer (VAULT-10).
    pub tail_bytes: u64,
}

impl TailLimits {
    /// 8 MiB and 512 MiB: a hundred thousand small batches.
    pub const DEFAULT: Self = Self {
        segment_bytes: 8 * 1024 * 1024,
        tail_bytes: 512 * 1024 * 1024,
    };
}

/// Something to be written. It is on the medium before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A whole segment, a new one or the newest again: these bytes under another name, flushed, renamed, the folder
    /// flushed.
    Begin {
        /// Its number.
        segment: u64,
        /// All its bytes.
        bytes: Vec<u8>,
    },
    /// Bytes at the end of a segment, flushed.
    Extend {
        /// The segment.
        segment: u64,
        /// How long it is before.
        at: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A segment that is not needed any more.
    Remove {
        /// The segment.
        segment: u64,
    },
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which segment.
    pub segment: u64,
    /// Where its frame begins.
    pub at: u64,
    /// How long its frame is.
    pub bytes: u64,
}

/// Why a tail cannot be used, or not be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// Bytes that were flushed are others now, or gone.
    #[error(
        "segment {segment} is damaged at byte {at}, and records that were flushed there are lost; \
         if the store is whole, move the tail's folder away, go on without it, and make a new backup \
         of the store, for an older one can no longer be led forward"
    )]
    Damaged {
        /// Which segment.
        segment: u64,
        /// Where what cannot be read begins.
        at: u64,
    },
    /// A segment in the middle is not there.
    #[error(
        "segment {segment} is missing; bring it back, or, if the store is whole, move the tail's \
         folder away, go on without it, and make a new backup of the store"
    )]
    Missing {
        /// Which one.
        segment: u64,
    },
    /// A segment is of another fleet, or its name is not its own.
    #[error(
        "segment {segment} belongs to another vault, or under another name; put it where it belongs"
    )]
    Misplaced {
        /// Under which number it was found.
        segment: u64,
    },
    /// A segment is of a version that this host does not know.
    #[error("segment {segment} is of a version that this program does not know; use a newer one")]
    Version {
        /// Which one.
        segment: u64,
    },
    /// A record is whole, and this host cannot read it.
    #[error("the record at byte {at} of segment {segment} cannot be read: {error}")]
    Record {
        /// In which segment.
        segment: u64,
        /// Where its frame begins.
        at: u64,
        /// Why.
        error: DecodeError,
    },
    /// The tail is as long as it may be.
    #[error(
        "the tail has {bytes} bytes and may not get longer; a new backup of the store trims it"
    )]
    Full {
        /// How long it is.
        bytes: u64,
    },
    /// A record that no host may keep: a bug of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl TailError {
    /// What helps.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::Misplaced { .. }
            | Self::Version { .. }
            | Self::Record { .. }
            | Self::Full { .. } => Remedy::AskUser,
            Self::Encode(_) => Remedy::Stop,
        }
    }
}

/// The records on a disk: where each stands, and where the next one goes.
#[derive(Clone, Debug)]
pub struct Tail {
    fleet: FleetId,
    limits: TailLimits,
    /// All segments, oldest first; there is always one.
    segments: VecDeque<Segment>,
    /// Each record by the MAC of its last entry.
    records: BTreeMap<[u8; Mac::BYTES], Kept>,
    covered: Option<(Index, Mac)>,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    /// How many of its bytes are whole.
    bytes: u64,
    /// How long its file is: longer if a crash tore what is behind them.
    length: u64,
    /// The furthest index that a record of it leads to.
    newest: Option<Index>,
}

impl Segment {
    const fn is_torn(&self) -> bool {
        self.bytes < self.length
    }
}

/// What is known of a record.
#[derive(Clone, Copy, Debug)]
struct Kept {
    place: Place,
    /// The entry that it leads on from. Its leader knew that it is committed.
    from: Mac,
}

impl Tail {
    /// A tail without a record: a first segment. `covered` is the newest entry of a backup of the store,
    /// from which the records that come lead on.
    #[must_use]
    pub fn begin(
        fleet: FleetId,
        limits: TailLimits,
        covered: Option<(Index, Mac)>,
    ) -> (Self, Write) {
        let mut tail = Self {
            fleet,
            limits,
            segments: VecDeque::new(),
            records: BTreeMap::new(),
            covered,
        };
        let write = tail.begin_segment();
        (tail, write)
    }

    /// A tail whose segments are read one by one, oldest first.
    #[must_use]
    pub const fn open(fleet: FleetId, limits: TailLimits) -> Opening {
        Opening {
            tail: Self {
                fleet,
                limits,
                segments: VecDeque::new(),
                records: BTreeMap::new(),
                covered: None,
            },
            newest: Vec::new(),
        }
    }

    /// What is to be written so that this host has a record; nothing if it has it.
    ///
    /// # Errors
    /// [`TailError::Full`] when there is no room (VAULT-10); the host cannot capture then.
    pub fn keep(&mut self, record: &Record) -> Result<Vec<Write>, TailError> {
        let (Some(last), Some(from)) = (record.last(), record.from()) else {
            return Err(EncodeError.into());
        };
        if self.records.contains_key(last.mac().as_bytes()) {
            return Ok(Vec::new());
        }
        let record = record.encode()?;
        let room = self.limits.tail_bytes.saturating_sub(self.bytes());
        if frame::length(&record) > room {
            return Err(TailError::Full {
                bytes: self.bytes(),
            });
        }
        let mut writes = Vec::new();
        // VAULT-5: nothing is written behind a torn frame, or it would be taken for torn as well.
        let full = |newest: &Segment| newest.is_torn() || newest.bytes >= self.limits.segment_bytes;
        if self.segments.back().is_none_or(full) {
            writes.push(self.begin_segment());
        }
        let Some(newest) = self.segments.back_mut() else {
            return Ok(writes);
        };
        let frame = Frame::make(newest.number, newest.bytes, &record);
        let place = Place {
            segment: newest.number,
            at: newest.bytes,
            bytes: frame::length(&record),
        };
        newest.bytes = newest.bytes.saturating_add(place.bytes);
        newest.length = newest.bytes;
        newest.newest = newest.newest.max(Some(last.index()));
        writes.push(Write::Extend {
            segment: place.segment,
            at: place.at,
            bytes: frame,
        });
        self.records
            .insert(*last.mac().as_bytes(), Kept { place, from });
        Ok(writes)
    }

    /// Where the record stands that ends with this entry.
    #[must_use]
    pub fn find(&self, last: &Mac) -> Option<Place> {
        self.records.get(last.as_bytes()).map(|kept| kept.place)
    }

    /// A backup of the store was made whose newest entry is `head`, was read back, and is kept; older
    /// ones need not be. Says what is to be written so that the records that it covers are gone; none
    /// while it is not known that `head` is committed: the store may come to be led along another line,
    /// and then only what is kept here leads there from an older backup.
    ///
    /// That it is committed is known from a record that leads on from it, or otherwise, as `committed`
    /// says: on a machine that is alone, from its core's memory.
    pub fn cover(&mut self, head: (Index, Mac), committed: bool) -> Option<Vec<Write>> {
        let (index, mac) = head;
        let known = committed || self.records.values().any(|kept| kept.from == mac);
        if !known || self.covered.is_some_and(|(before, _)| index < before) {
            return None;
        }
        self.covered = Some(head);
        let mut writes = vec![self.begin_segment()];
        while let Some(oldest) = self.segments.front().copied()
            && self.segments.len() > 1
            && oldest.newest <= Some(index)
        {
            self.segments.pop_front();
            self.records
                .retain(|_, kept| kept.place.segment != oldest.number);
            writes.push(Write::Remove {
                segment: oldest.number,
            });
        }
        Some(writes)
    }

    /// The newest entry of the backup of the store that the records lead on from, if there was one.
    #[must_use]
    pub const fn covered(&self) -> Option<(Index, Mac)> {
        self.covered
    }

    /// How many bytes its segments have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self.segments.iter().map(|segment| segment.length);
        bytes.fold(0, u64::saturating_add)
    }

    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Whether its last frame was torn by a crash, and dropped.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.segments.back().is_some_and(Segment::is_torn)
    }

    /// The numbers of its segments.
    pub fn segments(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().map(|segment| segment.number)
    }

    fn begin_segment(&mut self) -> Write {
        let before = self.segments.back().copied();
        let header = Header {
            fleet: self.fleet,
            segment: before.map_or(1, |before| before.number.saturating_add(1)),
            before: before.map_or(0, |before| before.bytes),
            covered: self.covered,
        };
        self.segments.push_back(Segment {
            number: header.segment,
            bytes: HEADER_BYTES,
            length: HEADER_BYTES,
            newest: None,
        });
        Write::Begin {
            segment: header.segment,
            bytes: header.encode().to_vec(),
        }
    }
}

/// A tail that is being read.
#[derive(Debug)]
pub struct Opening {
    tail: Tail,
    /// The bytes of the segment that was read last.
    newest: Vec<u8>,
}

impl Opening {
    /// Takes the next segment's bytes.
    ///
    /// # Errors
    /// [`TailError`] says which segment is not what this host wrote, and what to do.
    pub fn segment(&mut self, segment: u64, bytes: Vec<u8>) -> Result<(), TailError> {
        let header = Header::decode(segment, &bytes)?;
        if header.fleet != self.tail.fleet || header.segment != segment {
            return Err(TailError::Misplaced { segment });
        }
        if let Some(before) = self.tail.segments.back() {
            let next = before.number.saturating_add(1);
            if next != segment {
                return Err(TailError::Missing { segment: next });
            }
            // This one was begun when the one before had so many whole bytes.
            if before.bytes != header.before {
                return Err(TailError::Damaged {
                    segment: before.number,
                    at: before.bytes.min(header.before),
                });
            }
        }
        self.tail.covered = header.covered;
        let mut frames = Frames::of(segment, &bytes);
        let mut newest = None;
        for frame in &mut frames {
            let frame = frame?;
            let record = Record::ends(frame.record).map_err(|error| TailError::Record {
                segment,
                at: frame.place.at,
                error,
            })?;
            newest = newest.max(Some(record.index));
            self.tail.records.insert(
                *record.last.as_bytes(),
                Kept {
                    place: frame.place,
                    from: record.from,
                },
            );
        }
        self.tail.segments.push_back(Segment {
            number: segment,
            bytes: frames.whole(),
            length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            newest,
        });
        self.newest = bytes;
        Ok(())
    }

    /// The tail, if there was a segment, and what is to be written before anything else: the newest segment again.
    ///
    /// VAULT-5: the last write of all may be one whose flush failed. What was read of it is not on the medium then, and no
    /// later flush brings it there: what comes would stand behind a hole. Every older segment was whole on the medium
    /// before the next was begun.
    #[must_use]
    pub fn done(self) -> Option<(Tail, Write)> {
        let newest = self.tail.segments.back()?;
        let again = Write::Begin {
            segment: newest.number,
            bytes: self.newest,
        };
        Some((self.tail, again))
    }
}

#[cfg(test)]
mod tests;
