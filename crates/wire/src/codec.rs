//! One encoding of each message: deterministic CBOR (RFC 8949, section 4.2), padded to one length.
//!
//! A padded body is a big-endian length of two bytes, that many bytes of CBOR, and zeros up to the
//! end. Bytes that decode but would be encoded otherwise are refused: a digest or a signature over
//! a message then stands for one meaning only.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// Bytes that the length prefix takes.
const PREFIX_BYTES: usize = 2;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body is shorter than its own length prefix says, or has no prefix.
    #[error("the message is cut short")]
    Truncated,
    /// The CBOR is not of this message, or holds a value out of bounds.
    #[error("the message is malformed")]
    Malformed,
    /// The CBOR decodes, but is not the one encoding of its meaning.
    #[error("the message is not in its one encoding")]
    NotCanonical,
    /// What follows the message is not zeros.
    #[error("the padding is not zeros")]
    Padding,
}

/// Why a message could not be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message is longer than its body. No message of this crate is, as long as its lists keep
    /// their bounds.
    #[error("the message does not fit its body of {body_bytes} bytes")]
    TooLong {
        /// The size of the body.
        body_bytes: usize,
    },
}

/// The one encoding of a value, without padding. What is signed and hashed.
///
/// # Errors
/// None in practice: writing to memory does not fail.
pub fn encode<T: Encode<()>>(value: &T) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    append(value, Vec::with_capacity(512))
}

/// Writes a value behind what is there. With room for it from the start, no copy of a secret is left
/// behind in memory that was given back.
fn append<T: Encode<()>>(value: &T, start: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let mut bytes = Zeroizing::new(start);
    minicbor::encode(value, &mut *bytes).map_err(|_| EncodeError::TooLong {
        body_bytes: usize::MAX,
    })?;
    Ok(bytes)
}

/// Reads a value that takes all of `bytes`, in its one encoding.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let value: T = minicbor::decode(bytes).map_err(|_| DecodeError::Malformed)?;
    let room = Vec::with_capacity(bytes.len());
    let again = append(&value, room).map_err(|_| DecodeError::Malformed)?;
    if again.as_slice() == bytes {
        Ok(value)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

/// Encodes a value into a body of exactly `body_bytes`.
///
/// # Errors
/// [`EncodeError::TooLong`] when it does not fit.
pub fn encode_padded<T: Encode<()>>(
    value: &T,
    body_bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let too_long = EncodeError::TooLong { body_bytes };
    let mut start = Vec::with_capacity(body_bytes);
    start.extend_from_slice(&[0; PREFIX_BYTES]);
    let mut body = append(value, start)?;
    if body.len() > body_bytes {
        return Err(too_long);
    }
    let (prefix, cbor) = body
        .split_first_chunk_mut::<PREFIX_BYTES>()
        .ok_or(too_long)?;
    *prefix = u16::try_from(cbor.len())
        .map_err(|_| too_long)?
        .to_be_bytes();
    body.resize(body_bytes, 0);
    Ok(body)
}

/// Reads a value from a padded body.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_padded<T: Encode<()> + for<'b> Decode<'b, ()>>(
    body: &[u8],
) -> Result<T, DecodeError> {
    let (prefix, rest) = body
        .split_first_chunk::<PREFIX_BYTES>()
        .ok_or(DecodeError::Truncated)?;
    let (cbor, padding) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*prefix)))
        .ok_or(DecodeError::Truncated)?;
    // All of it, without a branch for each byte: most of a body is padding.
    if padding.iter().fold(0, |all, byte| all | byte) != 0 {
        return Err(DecodeError::Padding);
    }
    decode(cbor)
}
