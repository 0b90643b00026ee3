//! What two groups say to each other when a range of accounts goes from one to the other.

use alloc::vec::Vec;

use super::{GroupId, LogError, Mac, VERSION, fixed};
use crate::secrets::LogKey;
use crate::tree::{Content, Given, Range, Turn};

const WISH_DOMAIN: &[u8] = b"keyhaven v2 range wish\0";
const TRANSFER_DOMAIN: &[u8] = b"keyhaven v2 range transfer\0";

/// How many bytes a wish has.
pub const WISH_BYTES: usize = 1 + 16 + Range::BYTES + Mac::BYTES;

/// How many bytes a transfer has.
pub const TRANSFER_BYTES: usize =
    1 + 2 * 16 + Range::BYTES + Turn::BYTES + Content::BYTES + Mac::BYTES;

/// A group's word that it is one of the fleet, and would have a range: a range that was given to a name
/// which no group bears would be lost. It promises nothing and may be said again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub(crate) by: GroupId,
    pub(crate) range: Range,
    mac: Mac,
}

impl Wish {
    pub(crate) fn make(key: &LogKey, by: GroupId, range: Range) -> Self {
        let mut wish = Self {
            by,
            range,
            mac: Mac::NONE,
        };
        wish.mac = Mac::compute(key, WISH_DOMAIN, &wish.body());
        wish
    }

    /// The group that would have it.
    #[must_use]
    pub const fn by(&self) -> GroupId {
        self.by
    }

    /// The range.
    #[must_use]
    pub const fn range(&self) -> Range {
        self.range
    }

    /// Its bytes: version 1, group 16, range 1, MAC 32.
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
            let (range, mac) = bytes.split_first_chunk()?;
            let wish = Self {
                by: GroupId::new(*by),
                range: Range::decode(*range),
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
        ]
        .concat()
    }
}

/// A group's word that a range is another's from here on, at which turn, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    from: GroupId,
    pub(crate) to: GroupId,
    pub(crate) range: Range,
    pub(crate) turn: Turn,
    pub(crate) content: Content,
    mac: Mac,
}

impl Transfer {
    pub(crate) fn make(key: &LogKey, from: GroupId, range: Range, given: &Given) -> Self {
        let mut transfer = Self {
            from,
            to: given.to,
            range,
            turn: given.turn,
            content: given.content,
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

    /// Its bytes: version 1, groups 16 and 16, range 1, turn 8, content 65, MAC 32.
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
            let (turn, bytes) = bytes.split_first_chunk()?;
            let (content, mac) = bytes.split_first_chunk()?;
            let transfer = Self {
                from: GroupId::new(*from),
                to: GroupId::new(*to),
                range: Range::decode(*range),
                turn: Turn::decode(*turn),
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
            &self.turn.encode(),
        ]
        .concat();
        self.content.encode(&mut bytes);
        bytes
    }
}
