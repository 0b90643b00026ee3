//! The sealed channel between a client and a core, through a host that sees only lengths.
//!
//! HPKE (RFC 9180) in base mode: X-Wing as KEM (0x647a), HKDF-SHA256 (0x0001), ChaCha20-Poly1305
//! (0x0003). The first request is sealed with it; the reply goes back under a key exported from the
//! same context, with a fresh random nonce, as Oblivious HTTP does. A second request rides on two
//! more exported keys, which the core gets back in its own sealed [`Ticket`]: one key encapsulation
//! serves a whole recovery.
//!
//! ```text
//!   client                                             core
//!   seal_first ── version 1 key-id enc ciphertext ──▶ parse ─ FirstSealed::open ─▶ Opened
//!   Conversation::open ◀── version nonce ciphertext ── Answering::seal
//!   Conversation::seal_second ── version 2 key-id ticket nonce ciphertext ──▶ SecondSealed::open
//!   Awaiting::open ◀──────────────────────────────── Answering::seal
//! ```
//!
//! Bound as associated data: the fleet, the account's leaf (so a host that moves a request to
//! another account gets nothing), and in each reply the digest of the request it answers.
//!
//! What it does not give: protection from replay. A host can send any request again; generations,
//! change numbers and ids make that harmless, not the channel.

#[cfg(feature = "client")]
mod client;
pub mod core;
mod hpke;
mod keys;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use keyhaven_secrets::Entropy;
use zeroize::Zeroizing;

#[cfg(feature = "client")]
pub use self::client::{Awaiting, Conversation, seal_first, seal_first_with};
pub use self::core::{Answering, FirstSealed, Opened, Sealed, SecondSealed, parse};
pub(crate) use self::hpke::{hpke_open, hpke_seal};
pub use self::keys::{ChannelKey, ChannelPublicKey, FollowKeys, KeyId, OpeningKey, ReplyKey};

use crate::codec::{DecodeError, EncodeError};
use crate::message::{FleetId, LeafIndex, Ticket};

/// The protocol version that this crate speaks: the first byte of every request and reply.
pub const VERSION: u8 = 1;

/// The padded body of a first request.
pub const FIRST_BODY_BYTES: usize = 1024;
/// The padded body of a second request: what the first spends on the encapsulated key, the second
/// spends on ticket and nonce, and pads the rest.
pub const SECOND_BODY_BYTES: usize = 1736;
/// The padded body of a reply.
pub const REPLY_BODY_BYTES: usize = 2048;
/// Every sealed request has this length.
pub const SEALED_REQUEST_BYTES: usize = 2170;
/// Every sealed reply has this length.
pub const SEALED_REPLY_BYTES: usize = 2089;

const HEADER_BYTES: usize = 10;
const ENCAPSULATED_BYTES: usize = 1120;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const KIND_FIRST: u8 = 1;
const KIND_SECOND: u8 = 2;

const _: () = assert!(
    HEADER_BYTES + ENCAPSULATED_BYTES + FIRST_BODY_BYTES + TAG_BYTES == SEALED_REQUEST_BYTES
);
const _: () = assert!(
    HEADER_BYTES + Ticket::BYTES + NONCE_BYTES + SECOND_BODY_BYTES + TAG_BYTES
        == SEALED_REQUEST_BYTES
);
const _: () = assert!(1 + NONCE_BYTES + REPLY_BODY_BYTES + TAG_BYTES == SEALED_REPLY_BYTES);

/// Why sealed bytes were refused, or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Not the one length of its kind.
    #[error("sealed bytes have one length, {expected}; these have {bytes}")]
    Length {
        /// How long they are.
        bytes: usize,
        /// How long they should be.
        expected: usize,
    },
    /// A version or kind that this crate does not speak.
    #[error("protocol version {version} is not spoken here")]
    Version {
        /// The version byte.
        version: u8,
    },
    /// Sealed for another key of the fleet.
    #[error("sealed for a channel key that this core does not hold")]
    OtherKey,
    /// A public key or an encapsulated key that is not valid.
    #[error("the channel key is not valid")]
    InvalidKey,
    /// Does not open: another key, another account, another request, or changed on the way.
    #[error("the sealed message does not open")]
    DoesNotOpen,
    /// Opens, but what is inside is not a message.
    #[error("the sealed message opens, but {0}")]
    Message(#[from] DecodeError),
    /// The message does not fit.
    #[error(transparent)]
    TooLong(#[from] EncodeError),
}

impl ChannelError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> keyhaven_secrets::Remedy {
        match self {
            // A host that garbles a reply may do better next time; nothing is lost by asking.
            Self::Length { .. } | Self::DoesNotOpen | Self::Message(_) => {
                keyhaven_secrets::Remedy::RetryLater
            }
            Self::Version { .. } | Self::OtherKey | Self::InvalidKey | Self::TooLong(_) => {
                keyhaven_secrets::Remedy::Stop
            }
        }
    }
}

fn info(fleet: &FleetId) -> Vec<u8> {
    [b"keyhaven v1 vault channel\0".as_slice(), fleet.as_bytes()].concat()
}

fn second_aad(
    header: &[u8; HEADER_BYTES],
    ticket: &Ticket,
    fleet: &FleetId,
    leaf: &LeafIndex,
) -> Vec<u8> {
    [
        header.as_slice(),
        ticket.as_bytes(),
        fleet.as_bytes(),
        leaf.as_bytes(),
    ]
    .concat()
}

/// What a reply is bound to: the account, and the very request it answers.
fn reply_aad(leaf: &LeafIndex, request_digest: &[u8; 32]) -> Vec<u8> {
    [&[VERSION], leaf.as_bytes().as_slice(), request_digest].concat()
}

fn request_digest(sealed_request: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("keyhaven v1 vault sealed request digest");
    hasher.update(sealed_request);
    *hasher.finalize().as_bytes()
}

/// BACKUP-5: the nonce is random and 192 bits wide, so that a request sent again, a reply made
/// again after a crash, or a cloned core never repeats one.
fn seal_under(
    key: &[u8; 32],
    aad: &[u8],
    body: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, ChannelError> {
    let nonce: [u8; NONCE_BYTES] = keyhaven_secrets::random(entropy);
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), Payload { msg: body, aad })
        .map_err(|_| ChannelError::InvalidKey)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open_under(
    key: &[u8; 32],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(ChannelError::DoesNotOpen)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| ChannelError::DoesNotOpen)
}
