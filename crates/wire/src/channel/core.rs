//! The core's half of the channel.

use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use zeroize::Zeroizing;

use super::keys::{FollowKeys, OpeningKey, ReplyKey};
use super::{
    ChannelError, ENCAPSULATED_BYTES, HEADER_BYTES, KIND_FIRST, KIND_SECOND, REPLY_BODY_BYTES,
    SEALED_REQUEST_BYTES, VERSION, info, open_under, reply_aad, request_digest, seal_under,
    second_aad,
};
use crate::codec::{self, DecodeError};
use crate::message::{FleetId, Followup, LeafIndex, Reply, Request, Ticket};
use crate::suite::{Binding, Suite};

/// A sealed request, told apart by its kind. A host may parse too: it learns the kind and the key.
#[derive(Clone, Copy, Debug)]
pub enum Sealed<'a> {
    /// A conversation's first request.
    First(FirstSealed<'a>),
    /// A conversation's second request.
    Second(SecondSealed<'a>),
}

/// A first request, still sealed.
#[derive(Clone, Copy, Debug)]
pub struct FirstSealed<'a> {
    bytes: &'a [u8],
    header: &'a [u8; HEADER_BYTES],
    encapsulated: &'a [u8],
    sealed: &'a [u8],
}

/// A second request, still sealed.
#[derive(Clone, Copy, Debug)]
pub struct SecondSealed<'a> {
    bytes: &'a [u8],
    header: &'a [u8; HEADER_BYTES],
    ticket: &'a [u8; Ticket::BYTES],
    sealed: &'a [u8],
}

/// An opened request: its padded body, and what seals the reply.
#[derive(Debug)]
pub struct Opened {
    body: Zeroizing<Vec<u8>>,
    answering: Answering,
    follow: Option<FollowKeys>,
}

/// What seals the reply to one request.
#[derive(Debug)]
pub struct Answering {
    key: ReplyKey,
    leaf: LeafIndex,
    request: [u8; 32],
}

/// Tells what kind of request the bytes are.
///
/// # Errors
/// [`ChannelError::Length`] or [`ChannelError::Version`].
pub fn parse(bytes: &[u8]) -> Result<Sealed<'_>, ChannelError> {
    let wrong_length = ChannelError::Length {
        bytes: bytes.len(),
        expected: SEALED_REQUEST_BYTES,
    };
    if bytes.len() != SEALED_REQUEST_BYTES {
        return Err(wrong_length);
    }
    let (header, rest) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(wrong_length)?;
    match header {
        [VERSION, KIND_FIRST, ..] => {
            let (encapsulated, sealed) = rest
                .split_at_checked(ENCAPSULATED_BYTES)
                .ok_or(wrong_length)?;
            Ok(Sealed::First(FirstSealed {
                bytes,
                header,
                encapsulated,
                sealed,
            }))
        }
        [VERSION, KIND_SECOND, ..] => {
            let (ticket, sealed) = rest.split_first_chunk().ok_or(wrong_length)?;
            Ok(Sealed::Second(SecondSealed {
                bytes,
                header,
                ticket,
                sealed,
            }))
        }
        [version, ..] => Err(ChannelError::Version { version: *version }),
    }
}

impl FirstSealed<'_> {
    /// Opens the request with the fleet's channel key.
    ///
    /// # Errors
    /// [`ChannelError::OtherKey`], or [`ChannelError::DoesNotOpen`] for another account or bytes
    /// that were changed.
    pub fn open(
        &self,
        suite: &dyn Suite,
        fleet: &FleetId,
        key: &OpeningKey,
        leaf: &LeafIndex,
    ) -> Result<Opened, ChannelError> {
        if !self.header.ends_with(key.id().as_bytes()) {
            return Err(ChannelError::OtherKey);
        }
        let binding = Binding {
            info: &info(fleet),
            aad: &[self.header.as_slice(), leaf.as_bytes()].concat(),
        };
        let (body, exported) = suite.open_first(key, &binding, self.encapsulated, self.sealed)?;
        Ok(Opened {
            body,
            answering: Answering {
                key: exported.reply,
                leaf: *leaf,
                request: request_digest(self.bytes),
            },
            follow: Some(exported.follow),
        })
    }
}

impl SecondSealed<'_> {
    /// The core's own ticket, which came with the request.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        Ticket::new(*self.ticket)
    }

    /// Opens the request with the keys that the ticket held.
    ///
    /// # Errors
    /// [`ChannelError::DoesNotOpen`].
    pub fn open(
        &self,
        fleet: &FleetId,
        follow: &FollowKeys,
        leaf: &LeafIndex,
    ) -> Result<Opened, ChannelError> {
        let aad = second_aad(self.header, &self.ticket(), fleet, leaf);
        let body = open_under(follow.request(), &aad, self.sealed)?;
        Ok(Opened {
            body,
            answering: Answering {
                key: ReplyKey::new(*follow.reply()),
                leaf: *leaf,
                request: request_digest(self.bytes),
            },
            follow: None,
        })
    }
}

impl Opened {
    /// The body as a first request.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn request(&self) -> Result<Request, DecodeError> {
        codec::decode_padded(&self.body)
    }

    /// The body as a second request.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn followup(&self) -> Result<Followup, DecodeError> {
        codec::decode_padded(&self.body)
    }

    /// The keys of the second exchange, to be kept in a ticket; none after a second request.
    #[must_use]
    pub fn follow(&self) -> Option<&FollowKeys> {
        self.follow.as_ref()
    }

    /// Lets go of the request; what is left seals the reply.
    #[must_use]
    pub fn into_answering(self) -> Answering {
        self.answering
    }
}

impl Answering {
    /// Seals a reply. Every reply has one length, so that the host cannot tell them apart.
    ///
    /// # Errors
    /// None in practice: a reply whose lists keep their bounds fits.
    pub fn seal(&self, reply: &Reply, entropy: &mut dyn Entropy) -> Result<Vec<u8>, ChannelError> {
        let body = codec::encode_padded(reply, REPLY_BODY_BYTES)?;
        let aad = reply_aad(&self.leaf, &self.request);
        let sealed = seal_under(self.key.expose(), &aad, &body, entropy)?;
        Ok([&[VERSION], sealed.as_slice()].concat())
    }
}
