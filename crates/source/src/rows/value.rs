//! Values of rows as bytes.
//!
//! ```text
//!   0                        NULL
//!   1  zigzag varint         integer
//!   2  8 bytes, the bits     real
//!   3  varint length, bytes  text
//!   4  varint length, bytes  blob
//!   5                        the integer that is the row's rowid (in patches only)
//! ```

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};

use super::PatchMalformed;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;
const ROWID: u8 = 5;

/// A value out of a patch. Text is bytes: SQLite does not make sure that it is UTF-8, nor do we.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Real(u64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Owned::Null),
            Self::Integer(n) => ToSqlOutput::Owned(Owned::Integer(*n)),
            Self::Real(bits) => ToSqlOutput::Owned(Owned::Real(f64::from_bits(*bits))),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            Self::Blob(blob) => ToSqlOutput::Borrowed(ValueRef::Blob(blob)),
        })
    }
}

/// Whether two values are the same to the bit: 1 is not 1.0, and text is not its blob.
pub(super) fn same(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::Null, ValueRef::Null) => true,
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a == b,
        (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
        (ValueRef::Text(a), ValueRef::Text(b)) | (ValueRef::Blob(a), ValueRef::Blob(b)) => a == b,
        (
            ValueRef::Null
            | ValueRef::Integer(_)
            | ValueRef::Real(_)
            | ValueRef::Text(_)
            | ValueRef::Blob(_),
            _,
        ) => false,
    }
}

/// Appends a value. With `rowid`, an integer equal to it takes one byte.
pub(super) fn put(out: &mut Vec<u8>, value: ValueRef<'_>, rowid: Option<i64>) {
    match value {
        ValueRef::Null => out.push(NULL),
        ValueRef::Integer(n) if Some(n) == rowid => out.push(ROWID),
        ValueRef::Integer(n) => {
            out.push(INTEGER);
            put_signed(out, n);
        }
        ValueRef::Real(x) => {
            out.push(REAL);
            out.extend_from_slice(&x.to_bits().to_le_bytes());
        }
        ValueRef::Text(text) => {
            out.push(TEXT);
            put_bytes(out, text);
        }
        ValueRef::Blob(blob) => {
            out.push(BLOB);
            put_bytes(out, blob);
        }
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, u64::try_from(len).unwrap_or(u64::MAX));
}

pub(super) fn put_signed(out: &mut Vec<u8>, n: i64) {
    put_varint(
        out,
        n.wrapping_shl(1).cast_unsigned() ^ n.wrapping_shr(63).cast_unsigned(),
    );
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    loop {
        let [low, ..] = n.to_le_bytes();
        n >>= 7;
        if n == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads from the front of a patch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, PatchMalformed> {
        let (first, rest) = self.rest.split_first().ok_or(PatchMalformed)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], PatchMalformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(PatchMalformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// A number in its shortest spelling.
    pub(super) fn varint(&mut self) -> Result<u64, PatchMalformed> {
        let mut value = 0_u64;
        for shift in (0_u32..70).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            let placed = low.checked_shl(shift).unwrap_or(0);
            if placed.checked_shr(shift) != Some(low) {
                return Err(PatchMalformed);
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift != 0 {
                    Err(PatchMalformed)
                } else {
                    Ok(value)
                };
            }
        }
        Err(PatchMalformed)
    }

    pub(super) fn signed(&mut self) -> Result<i64, PatchMalformed> {
        let n = self.varint()?;
        Ok(n.wrapping_shr(1).cast_signed() ^ (n & 1).cast_signed().wrapping_neg())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], PatchMalformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| PatchMalformed)?;
        self.take(len)
    }

    /// How many things follow, of which each takes at least a byte.
    pub(super) fn count(&mut self) -> Result<usize, PatchMalformed> {
        let count = usize::try_from(self.varint()?).map_err(|_| PatchMalformed)?;
        if count > self.rest.len() {
            return Err(PatchMalformed);
        }
        Ok(count)
    }

    pub(super) fn value(&mut self, rowid: Option<i64>) -> Result<Value<'a>, PatchMalformed> {
        Ok(match self.u8()? {
            NULL => Value::Null,
            INTEGER => {
                let n = self.signed()?;
                if Some(n) == rowid {
                    return Err(PatchMalformed);
                }
                Value::Integer(n)
            }
            REAL => {
                let bits: [u8; 8] = self.take(8)?.try_into().map_err(|_| PatchMalformed)?;
                Value::Real(u64::from_le_bytes(bits))
            }
            TEXT => Value::Text(self.bytes()?),
            BLOB => Value::Blob(self.bytes()?),
            ROWID => Value::Integer(rowid.ok_or(PatchMalformed)?),
            _ => return Err(PatchMalformed),
        })
    }
}
