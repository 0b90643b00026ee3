//! What is put: bytes that are lent, a buffer that is handed over, or a file.

use std::fs::File;

use bytes::Bytes;

use super::buffers::PooledBuffer;

/// The bytes of an object on their way into a store.
#[derive(Debug)]
pub enum Body<'a> {
    /// Bytes that the caller keeps. A cloud store copies them once.
    Bytes(&'a [u8]),
    /// A buffer that is handed over, written without copying, and given back to its pool.
    Buffer(PooledBuffer),
    /// Bytes that several holders share, as a retried upload needs.
    Shared(Bytes),
    /// The first `len` bytes of a file, such as a spooled object.
    File {
        /// The file; its position is of no account.
        file: File,
        /// How many bytes.
        len: u64,
    },
}

impl Body<'_> {
    /// How many bytes the object will have.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            // A buffer's length always fits: it is an object in memory.
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Buffer(buffer) => buffer.len() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether the object will be empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<PooledBuffer> for Body<'_> {
    fn from(buffer: PooledBuffer) -> Self {
        Self::Buffer(buffer)
    }
}

impl From<Vec<u8>> for Body<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Buffer(bytes.into())
    }
}
