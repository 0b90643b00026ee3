//! Bytes in and bytes out: a reader that cannot run past its end and a writer beside it.
//!
//! Integers are little-endian when their width is fixed and LEB128 when it is not. LEB128 has one
//! spelling per number here (no padding zeros), so that one value has one encoding.

/// Why bytes could not be read. Every decoder of this crate turns it into its own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodecError {
    /// The bytes end before the value does.
    Ends,
    /// A number is spelled longer than it needs to be, or does not fit.
    Number,
    /// Bytes are left over after the last value.
    Trailing,
}

/// Widens a stored 32-bit size. Every machine that this crate runs on has at least 32-bit sizes.
pub(crate) fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Narrows a size that is known to be below the limit of some format field; saturates otherwise,
/// so that a wrong caller meets the limit check and never a wrapped number.
pub(crate) fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Widens a size to the format's 64 bits.
pub(crate) fn long(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Reads values from the front of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], CodecError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(CodecError::Ends)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Ends)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, CodecError> {
        self.array().map(i64::from_le_bytes)
    }

    /// An unsigned LEB128 number of at most ten bytes, in its shortest spelling.
    pub(crate) fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0_u32..70).step_by(7) {
            let byte = self.u8()?;
            let low = u64::from(byte & 0x7f);
            let placed = low.checked_shl(shift).unwrap_or(0);
            if placed.checked_shr(shift) != Some(low) {
                return Err(CodecError::Number);
            }
            value |= placed;
            if byte & 0x80 == 0 {
                if byte == 0 && shift != 0 {
                    return Err(CodecError::Number);
                }
                return Ok(value);
            }
        }
        Err(CodecError::Number)
    }

    /// A varint that must fit 32 bits.
    pub(crate) fn varint32(&mut self) -> Result<u32, CodecError> {
        u32::try_from(self.varint()?).map_err(|_| CodecError::Number)
    }

    /// A count of things of which each takes at least `each` bytes: refused before anything is
    /// allocated if that many cannot follow.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, CodecError> {
        let n = usize::try_from(self.varint()?).map_err(|_| CodecError::Number)?;
        match n.checked_mul(each.max(1)) {
            Some(bytes) if bytes <= self.left() => Ok(n),
            Some(_) | None => Err(CodecError::Ends),
        }
    }

    pub(crate) fn end(self) -> Result<(), CodecError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Trailing)
        }
    }
}

/// Appends an unsigned LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a count or length.
pub(crate) fn put_size(out: &mut Vec<u8>, value: usize) {
    put_varint(out, long(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(CodecError::Number));
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(CodecError::Number));
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&max).varint(), Ok(u64::MAX));
        let above = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Reader::new(&above).varint(), Err(CodecError::Number));
    }

    #[test]
    fn a_count_that_cannot_follow_is_refused_before_allocating() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 1 << 40);
        assert_eq!(Reader::new(&bytes).count(1), Err(CodecError::Ends));
    }

    proptest! {
        #[test]
        fn varints_come_back(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
