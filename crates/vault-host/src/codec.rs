//! The bytes of records and of what hosts send each other: `docs/host-bytes.md`.
//!
//! Each has one encoding; what decodes is encoded to the same bytes again. Whatever a stranger can
//! make long has a bound (VAULT-10), and a count reserves nothing: memory grows only with bytes that
//! are there. What decodes is well formed, no more: cores and digests decide whether it is believed.

use std::sync::Arc;

use keyhaven_vault_core::{
    CALL_BYTES, CAPTURE_BYTES, Call, Capture, ENTRY_BYTES, Entry, Index, LogError, Mac, Member,
    NODE_BYTES_MAX, NodeKey, REPORT_BYTES, Report, Term,
};

use crate::message::Message;
use crate::record::Record;

const VERSION: u8 = 1;

/// Entries in a record at most: as many as a store appends at once.
pub const RECORD_ENTRIES_MAX: usize = 1024;
/// Changed nodes and leaves in a record at most: as many as a store puts at once.
pub const RECORD_PUTS_MAX: usize = 65_536;
/// A record's length at most. The largest batch, of 1,024 accounts in a tree of two billion, changes
/// some 5 MiB; a record that carries others' entries is kept below this by its leader.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A message's length at most: a tail's answer with the longest record.
pub const MESSAGE_BYTES_MAX: usize = HEAD_BYTES + Mac::BYTES + 1 + RECORD_BYTES_MAX;

/// The longest node or leaf: a leaf.
const PUT_BYTES_MAX: usize = 1664;
const _: () = assert!(NODE_BYTES_MAX <= PUT_BYTES_MAX);

/// A record's version, and how many entries and puts there are.
const COUNTS_BYTES: usize = 1 + 2 + 4;
/// A put's key and length.
const PUT_HEAD_BYTES: usize = NodeKey::BYTES + 2;
/// A message's version and kind.
const HEAD_BYTES: usize = 2;

const CALL: u8 = 0;
const REPORT: u8 = 1;
const NEWER: u8 = 2;
const RECORD: u8 = 3;
const CAPTURED: u8 = 4;
const ALIVE: u8 = 5;
const NEED: u8 = 6;
const TAIL: u8 = 7;
const ADMIT: u8 = 8;

/// Between which entries a record leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The entry that it leads on from.
    pub(crate) from: Mac,
    /// The entry that it leads to, and its index.
    pub(crate) last: Mac,
    pub(crate) index: Index,
}

/// Why bytes are no record or no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Of a version that this host does not know.
    #[error("of a version that this host does not know")]
    Version,
    /// Of a kind that this host does not know.
    #[error("of a kind that this host does not know")]
    Kind,
    /// Cut short.
    #[error("cut short")]
    Truncated,
    /// Bytes are left over.
    #[error("bytes are left over")]
    Trailing,
    /// More entries, puts or bytes than a record may have.
    #[error("more than a record may hold")]
    TooLarge,
    /// A record without an entry.
    #[error("a record without an entry")]
    Empty,
    /// The keys of a record's puts do not rise.
    #[error("the keys of what a record changes do not rise")]
    Order,
    /// A mark that says whether something follows says neither.
    #[error("a mark is neither 00 nor 01")]
    Mark,
    /// An entry, a call, a report or a capture in it is none.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A record is longer than any may be, or has no entry: a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record has no entry, or more than it may hold")]
pub struct EncodeError;

impl Record {
    /// How many bytes it has.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let entries = self.entries.len().saturating_mul(ENTRY_BYTES);
        let puts = self.puts.values();
        puts.map(|bytes| PUT_HEAD_BYTES.saturating_add(bytes.len()))
            .fold(COUNTS_BYTES.saturating_add(entries), usize::saturating_add)
    }

    /// Its bytes: version 1, count of entries 2, count of puts 4, the entries 360 each; then each put,
    /// in the order of the keys: key 34, length 2, bytes.
    ///
    /// # Errors
    /// [`EncodeError`] for one that no host may keep or send (VAULT-10).
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let length = self.encoded_bytes();
        let bounded = (1..=RECORD_ENTRIES_MAX).contains(&self.entries.len())
            && self.puts.len() <= RECORD_PUTS_MAX
            && self.puts.values().all(|bytes| bytes.len() <= PUT_BYTES_MAX)
            && length <= RECORD_BYTES_MAX;
        if !bounded {
            return Err(EncodeError);
        }
        let entries = u16::try_from(self.entries.len()).map_err(|_| EncodeError)?;
        let puts = u32::try_from(self.puts.len()).map_err(|_| EncodeError)?;
        let mut bytes = Vec::with_capacity(length);
        bytes.push(VERSION);
        bytes.extend(entries.to_be_bytes());
        bytes.extend(puts.to_be_bytes());
        for entry in &self.entries {
            bytes.extend(entry.encode());
        }
        for (key, put) in &self.puts {
            bytes.extend(key.as_bytes());
            bytes.extend(
                u16::try_from(put.len())
                    .map_err(|_| EncodeError)?
                    .to_be_bytes(),
            );
            bytes.extend(put);
        }
        Ok(bytes)
    }

    /// Reads a record. Whether cores made its entries, and whether it changes what they changed, is
    /// checked by the host that it is shown to.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but the one encoding of a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(DecodeError::TooLarge);
        }
        let mut rest = Reader(bytes);
        let (entries, puts) = rest.counts()?;
        let mut record = Self::default();
        for _ in 0..entries {
            record.entries.push(Entry::decode(rest.take(ENTRY_BYTES)?)?);
        }
        for _ in 0..puts {
            let key = NodeKey::from_bytes(rest.array()?);
            let length = usize::from(u16::from_be_bytes(rest.array()?));
            if length > PUT_BYTES_MAX {
                return Err(DecodeError::TooLarge);
            }
            if record
                .puts
                .last_key_value()
                .is_some_and(|(last, _)| *last >= key)
            {
                return Err(DecodeError::Order);
            }
            record.puts.insert(key, rest.take(length)?.to_vec());
        }
        rest.end()?;
        Ok(record)
    }

    /// Between which entries the record in these bytes leads. Only its beginning is read.
    pub(crate) fn ends(bytes: &[u8]) -> Result<Ends, DecodeError> {
        let mut rest = Reader(bytes);
        let (entries, _) = rest.counts()?;
        let first = Entry::decode(rest.take(ENTRY_BYTES)?)?;
        let between = entries.saturating_sub(2).saturating_mul(ENTRY_BYTES);
        let last = match entries {
            1 => first,
            _ => {
                rest.take(between)?;
                Entry::decode(rest.take(ENTRY_BYTES)?)?
            }
        };
        Ok(Ends {
            from: first.previous(),
            last: last.mac(),
            index: last.index(),
        })
    }
}

impl Message {
    /// Its bytes: version 1, kind 1, and what the kind says.
    ///
    /// # Errors
    /// [`EncodeError`] for a record that no host may keep or send (VAULT-10).
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let (kind, body) = match self {
            Self::Call(call) => (CALL, call.encode().to_vec()),
            Self::Report(report) => (REPORT, report.encode().to_vec()),
            Self::Newer(term) => (NEWER, term.number().to_be_bytes().to_vec()),
            Self::Record(record) => (RECORD, record.encode()?),
            Self::Captured(capture) => (CAPTURED, capture.encode().to_vec()),
            Self::Alive(term) => (ALIVE, term.number().to_be_bytes().to_vec()),
            Self::Need(last) => (NEED, last.as_bytes().to_vec()),
            Self::Tail { last, record } => {
                let record = record.as_ref().map(|record| record.encode()).transpose()?;
                let mut body = last.as_bytes().to_vec();
                body.push(u8::from(record.is_some()));
                body.extend(record.unwrap_or_default());
                (TAIL, body)
            }
            Self::Admit { go, come } => {
                (ADMIT, [go.as_bytes().as_slice(), come.as_bytes()].concat())
            }
        };
        Ok([[VERSION, kind].as_slice(), &body].concat())
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but the one encoding of a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = Reader(bytes);
        rest.version()?;
        let [kind] = rest.array()?;
        let message = match kind {
            CALL => Self::Call(Call::decode(rest.take(CALL_BYTES)?)?),
            REPORT => Self::Report(Box::new(Report::decode(rest.take(REPORT_BYTES)?)?)),
            NEWER => Self::Newer(rest.term()?),
            RECORD => Self::Record(Arc::new(Record::decode(rest.all())?)),
            CAPTURED => Self::Captured(Capture::decode(rest.take(CAPTURE_BYTES)?)?),
            ALIVE => Self::Alive(rest.term()?),
            NEED => Self::Need(Mac::from_bytes(rest.array()?)),
            TAIL => Self::Tail {
                last: Mac::from_bytes(rest.array()?),
                record: match rest.array()? {
                    [0] => None,
                    [1] => Some(Arc::new(Record::decode(rest.all())?)),
                    [_] => return Err(DecodeError::Mark),
                },
            },
            ADMIT => Self::Admit {
                go: Member::from_bytes(rest.array()?),
                come: Member::from_bytes(rest.array()?),
            },
            _ => return Err(DecodeError::Kind),
        };
        rest.end()?;
        Ok(message)
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A record's version and counts, within their bounds.
    fn counts(&mut self) -> Result<(usize, usize), DecodeError> {
        self.version()?;
        let entries = usize::from(u16::from_be_bytes(self.array()?));
        let puts = u32::from_be_bytes(self.array()?);
        let puts = usize::try_from(puts).map_err(|_| DecodeError::TooLarge)?;
        if entries == 0 {
            return Err(DecodeError::Empty);
        }
        if entries > RECORD_ENTRIES_MAX || puts > RECORD_PUTS_MAX {
            return Err(DecodeError::TooLarge);
        }
        Ok((entries, puts))
    }

    fn version(&mut self) -> Result<(), DecodeError> {
        match self.array()? {
            [VERSION] => Ok(()),
            [_] => Err(DecodeError::Version),
        }
    }

    fn term(&mut self) -> Result<Term, DecodeError> {
        Ok(Term::new(u64::from_be_bytes(self.array()?)))
    }

    const fn end(&self) -> Result<(), DecodeError> {
        match self.0 {
            [] => Ok(()),
            [..] => Err(DecodeError::Trailing),
        }
    }
}

#[cfg(test)]
mod tests;
