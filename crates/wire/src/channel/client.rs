//! The client's half of the channel.

use alloc::vec::Vec;

use keyhaven_secrets::Entropy;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::keys::{ChannelPublicKey, FollowKeys, KeyId, ReplyKey};
use super::{
    ChannelError, FIRST_BODY_BYTES, HEADER_BYTES, KIND_FIRST, KIND_SECOND, REPLY_BODY_BYTES,
    SEALED_REPLY_BYTES, SECOND_BODY_BYTES, VERSION, info, open_under, reply_aad, request_digest,
    seal_under, second_aad,
};
use crate::codec;
use crate::message::{DigestBytes, FleetId, Followup, LeafIndex, Reply, Request, Ticket};
use crate::suite::{Binding, Exported, Standard, Suite};

/// What opens the reply to one request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Awaiting {
    #[n(0)]
    key: ReplyKey,
    #[n(1)]
    leaf: LeafIndex,
    #[n(2)]
    request: DigestBytes,
}

/// A conversation that the client began. It can be stored, so that a client that is interrupted
/// goes on with the same conversation instead of spending a second guess.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Conversation {
    #[n(0)]
    awaiting: Awaiting,
    #[n(1)]
    follow: FollowKeys,
    #[n(2)]
    fleet: FleetId,
    #[n(3)]
    key_id: KeyId,
}

/// Seals a first request to a fleet's cores.
///
/// # Errors
/// [`ChannelError::InvalidKey`] for a channel key that is not valid.
pub fn seal_first(
    fleet: &FleetId,
    channel: &ChannelPublicKey,
    leaf: &LeafIndex,
    request: &Request,
    entropy: &mut dyn Entropy,
) -> Result<(Vec<u8>, Conversation), ChannelError> {
    seal_first_with(&Standard, fleet, channel, leaf, request, entropy)
}

/// As [`seal_first`], with another suite than the one that ships.
///
/// # Errors
/// As [`seal_first`].
pub fn seal_first_with(
    suite: &dyn Suite,
    fleet: &FleetId,
    channel: &ChannelPublicKey,
    leaf: &LeafIndex,
    request: &Request,
    entropy: &mut dyn Entropy,
) -> Result<(Vec<u8>, Conversation), ChannelError> {
    let body = codec::encode_padded(request, FIRST_BODY_BYTES)?;
    let key_id = channel.id();
    let header = header(KIND_FIRST, &key_id);
    let binding = Binding {
        info: &info(fleet),
        aad: &[header.as_slice(), leaf.as_bytes()].concat(),
    };
    let first = suite.seal_first(channel, &binding, &body, entropy)?;
    let Exported { reply, follow } = first.exported;
    let bytes = [header.as_slice(), &first.encapsulated, &first.sealed].concat();
    let conversation = Conversation {
        awaiting: Awaiting {
            key: reply,
            leaf: *leaf,
            request: DigestBytes::new(request_digest(&bytes)),
        },
        follow,
        fleet: *fleet,
        key_id,
    };
    Ok((bytes, conversation))
}

impl Awaiting {
    /// Opens the reply.
    ///
    /// # Errors
    /// [`ChannelError::DoesNotOpen`] when it is not the core's reply to this very request.
    pub fn open(&self, sealed: &[u8]) -> Result<Reply, ChannelError> {
        if sealed.len() != SEALED_REPLY_BYTES {
            return Err(ChannelError::Length {
                bytes: sealed.len(),
                expected: SEALED_REPLY_BYTES,
            });
        }
        let (version, sealed) = sealed.split_first().ok_or(ChannelError::DoesNotOpen)?;
        if *version != VERSION {
            return Err(ChannelError::Version { version: *version });
        }
        let aad = reply_aad(&self.leaf, self.request.as_bytes());
        let body = open_under(self.key.expose(), &aad, sealed)?;
        debug_assert_eq!(body.len(), REPLY_BODY_BYTES);
        Ok(codec::decode_padded(&body)?)
    }

    /// Its bytes, to be stored. Secret.
    ///
    /// # Errors
    /// None in practice: see [`codec::encode`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
        Ok(codec::encode(self)?)
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`ChannelError::Message`] when they are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChannelError> {
        Ok(codec::decode(bytes)?)
    }
}

impl Conversation {
    /// Opens the reply to the first request.
    ///
    /// # Errors
    /// [`ChannelError::DoesNotOpen`] when it is not the core's reply to this very request.
    pub fn open(&self, sealed: &[u8]) -> Result<Reply, ChannelError> {
        self.awaiting.open(sealed)
    }

    /// Seals the second request. It may be sent as often as it takes: it is the same request.
    ///
    /// # Errors
    /// None in practice: every follow-up fits.
    pub fn seal_second(
        &self,
        ticket: &Ticket,
        followup: &Followup,
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<u8>, Awaiting), ChannelError> {
        let body = codec::encode_padded(followup, SECOND_BODY_BYTES)?;
        let header = header(KIND_SECOND, &self.key_id);
        let leaf = &self.awaiting.leaf;
        let aad = second_aad(&header, ticket, &self.fleet, leaf);
        let sealed = seal_under(self.follow.request(), &aad, &body, entropy)?;
        let bytes = [header.as_slice(), ticket.as_bytes(), &sealed].concat();
        let awaiting = Awaiting {
            key: ReplyKey::new(*self.follow.reply()),
            leaf: *leaf,
            request: DigestBytes::new(request_digest(&bytes)),
        };
        Ok((bytes, awaiting))
    }

    /// Its bytes, to be stored before the first request is sent. Secret.
    ///
    /// # Errors
    /// None in practice: see [`codec::encode`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
        Ok(codec::encode(self)?)
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`ChannelError::Message`] when they are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChannelError> {
        Ok(codec::decode(bytes)?)
    }
}

fn header(kind: u8, key_id: &KeyId) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    for (slot, byte) in header
        .iter_mut()
        .zip([VERSION, kind].into_iter().chain(*key_id.as_bytes()))
    {
        *slot = byte;
    }
    header
}
