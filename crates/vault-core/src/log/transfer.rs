//! What two groups say to each other when a range of accounts goes from one to the other.

use alloc::vec::Vec;

use super::{GroupId, LogError, Mac, VERSION, fixed};
use crate::secrets::LogKey;
use crate::tree::{Content, Nonce, Range};

const WISH_DOMAIN: &[u8] = b"keyhaven v2 range wish\0";
const TRANSFER_DOMAIN: &[u8] = b"keyhaven v2 range transfer\0";

/// How many bytes a wish has.
pub const WISH_BYTES: usize = 1 + 16 + Range::BYTES + Nonce::BYTES + Mac::BYTES;

/// How many bytes a transfer has.
pub const TRANSFER_BYTES: usize =
    1 + 2 * 16 + Range::BYTES + Nonce::BYTES + Content::BYTES + Mac::BYTES;

/// A group's word that it awaits a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub(crate) by: GroupId,
    pub(crate) range: Range,
    pub(crate) nonce: Nonce,
    mac: Mac,
}

impl Wish {
    pub(crate) fn make(key: &LogKey, by: GroupId, range: Range, nonce: Nonce) -> Self {
        let mut wish = Self {
            by,
            range,
            nonce,
            mac: Mac::NONE,
        };
        wish.mac = Mac::compute(key, WISH_DOMAIN, &wish.body());
        wish
    }

    /// The group that awaits it.
    #[must_use]
    pub const fn by(&self) -> GroupId {
        self.by
    }

    /// The range.
    #[must_use]
    pub const fn range(&self) -> Range {
        self.range
    }

    /// Its bytes: version 1, group 16, range 3, nonce 16, MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; WISH_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
    }

    /// Reads a wish. Its MAC is not checked yet: a core does that.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (version, bytes) = bytes.split_first()?;
            let (by, bytes) = bytes.split_first_chunk()?;
            let (range, bytes) = bytes.split_first_chunk()?;
            let (nonce, mac) = bytes.split_first_chunk()?;
            let wish = Self {
                by: GroupId::new(*by),
                range: Range::decode(*range)?,
                nonce: Nonce(*nonce),
                mac: Mac(mac.try_into().ok()?),
            };
            (*version == VERSION).then_some(wish)
        };
        read().ok_or(LogError::Malformed)
    }

    pub(crate) fn verify(&self, key: &LogKey) -> Result<(), LogError> {
        self.mac.check(key, WISH_DOMAIN, &self.body())
    }

    fn body(&self) -> Vec<u8> {
        [
            [VERSION].as_slice(),
            self.by.as_bytes(),
            &self.range.encode(),
            &self.nonce.0,
        ]
        .concat()
    }
}

/// A group's word that a range is another's from here on, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    from: GroupId,
    pub(crate) to: GroupId,
    pub(crate) range: Range,
    pub(crate) nonce: Nonce,
    pub(crate) content: Content,
    mac: Mac,
}

impl Transfer {
    pub(crate) fn make(key: &LogKey, from: GroupId, wish: &Wish, content: Content) -> Self {
        let mut transfer = Self {
            from,
            to: wish.by,
            range: wish.range,
            nonce: wish.nonce,
            content,
            mac: Mac::NONE,
        };
        transfer.mac = Mac::compute(key, TRANSFER_DOMAIN, &transfer.body());
        transfer
    }

    /// The group whose it was. Its store holds the nodes and leaves of the range as they are given.
    #[must_use]
    pub const fn from(&self) -> GroupId {
        self.from
    }

    /// The group whose it is to be.
    #[must_use]
    pub const fn to(&self) -> GroupId {
        self.to
    }

    /// The range.
    #[must_use]
    pub const fn range(&self) -> Range {
        self.range
    }

    /// Its bytes: version 1, groups 16 and 16, range 3, nonce 16, content 65, MAC 32.
    #[must_use]
    pub fn encode(&self) -> [u8; TRANSFER_BYTES] {
        fixed(&[&self.body(), &self.mac.0])
    }

    /// Reads a transfer. Its MAC is not checked yet: a core does that.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let read = || {
            let (version, bytes) = bytes.split_first()?;
            let (from, bytes) = bytes.split_first_chunk()?;
            let (to, bytes) = bytes.split_first_chunk()?;
            let (range, bytes) = bytes.split_first_chunk()?;
            let (nonce, bytes) = bytes.split_first_chunk()?;
            let (content, mac) = bytes.split_first_chunk()?;
            let transfer = Self {
                from: GroupId::new(*from),
                to: GroupId::new(*to),
                range: Range::decode(*range)?,
                nonce: Nonce(*nonce),
                content: Content::decode(content)?,
                mac: Mac(mac.try_into().ok()?),
            };
            (*version == VERSION).then_some(transfer)
        };
        read().ok_or(LogError::Malformed)
    }

    pub(crate) fn verify(&self, key: &LogKey) -> Result<(), LogError> {
        self.mac.check(key, TRANSFER_DOMAIN, &self.body())
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = [
            [VERSION].as_slice(),
            self.from.as_bytes(),
            self.to.as_bytes(),
            &self.range.encode(),
            &self.nonce.0,
        ]
        .concat();
        self.content.encode(&mut bytes);
        bytes
    }
}
