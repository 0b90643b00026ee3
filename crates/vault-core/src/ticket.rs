//! What a core hands out sealed and must get back: it remembers nothing between two requests.

use alloc::vec::Vec;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use keyhaven_secrets::Entropy;
use keyhaven_wire::channel::FollowKeys;
use keyhaven_wire::codec;
use keyhaven_wire::message::{
    AttemptNumber, DigestBytes, FleetId, Generation, LeafIndex, RegistrationId, SessionProof,
    Ticket,
};
use keyhaven_wire::opaque::server::{GenerationKeys, Pending};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::secrets::TicketKey;

const NONCE_BYTES: usize = 24;
const TICKET_BODY_BYTES: usize = 344;
const PROOF_BODY_BYTES: usize = 64;

const _: () = assert!(NONCE_BYTES + TICKET_BODY_BYTES + 16 == Ticket::BYTES);
const _: () = assert!(NONCE_BYTES + PROOF_BODY_BYTES + 16 == SessionProof::BYTES);

/// The core's notes between the two steps of a conversation.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) enum TicketBody {
    /// After step 1 of a registration, which stored nothing.
    #[n(0)]
    Register(#[n(0)] RegisterTicket),
    /// After KE2.
    #[n(1)]
    Recover(#[n(0)] RecoverTicket),
}

#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct RegisterTicket {
    #[n(0)]
    pub(crate) follow: FollowKeys,
    #[n(1)]
    pub(crate) id: RegistrationId,
    /// The record's generation at step 1: step 2 arms only if it is still this one (VAULT-7).
    #[n(2)]
    pub(crate) generation: Generation,
    #[n(3)]
    pub(crate) keys: GenerationKeys,
}

#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct RecoverTicket {
    #[n(0)]
    pub(crate) follow: FollowKeys,
    #[n(1)]
    pub(crate) generation: Generation,
    #[n(2)]
    pub(crate) attempt: AttemptNumber,
    #[n(3)]
    pub(crate) ke1: DigestBytes,
    #[n(4)]
    pub(crate) pending: Pending,
}

/// What a session proof says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ProofBody {
    #[n(0)]
    pub(crate) generation: Generation,
    #[n(1)]
    pub(crate) attempt: AttemptNumber,
}

impl TicketBody {
    /// The keys of the second exchange.
    pub(crate) const fn follow(&self) -> &FollowKeys {
        match self {
            Self::Register(ticket) => &ticket.follow,
            Self::Recover(ticket) => &ticket.follow,
        }
    }

    pub(crate) fn seal(
        &self,
        key: &TicketKey,
        fleet: &FleetId,
        leaf: &LeafIndex,
        entropy: &mut dyn Entropy,
    ) -> Option<Ticket> {
        let body = codec::encode_padded(self, TICKET_BODY_BYTES).ok()?;
        seal(key, &aad(b"ticket", fleet, leaf), &body, entropy).map(Ticket::new)
    }

    /// Opens a ticket of this fleet for this account; none for any other bytes.
    pub(crate) fn open(
        ticket: &Ticket,
        key: &TicketKey,
        fleet: &FleetId,
        leaf: &LeafIndex,
    ) -> Option<Self> {
        let body = open(key, &aad(b"ticket", fleet, leaf), ticket.as_bytes())?;
        codec::decode_padded(&body).ok()
    }
}

impl ProofBody {
    pub(crate) fn seal(
        &self,
        key: &TicketKey,
        fleet: &FleetId,
        leaf: &LeafIndex,
        entropy: &mut dyn Entropy,
    ) -> Option<SessionProof> {
        let body = codec::encode_padded(self, PROOF_BODY_BYTES).ok()?;
        seal(key, &aad(b"session", fleet, leaf), &body, entropy).map(SessionProof::new)
    }

    pub(crate) fn open(
        proof: &SessionProof,
        key: &TicketKey,
        fleet: &FleetId,
        leaf: &LeafIndex,
    ) -> Option<Self> {
        let body = open(key, &aad(b"session", fleet, leaf), proof.as_bytes())?;
        codec::decode_padded(&body).ok()
    }
}

/// The kind stands in the associated data, so that a ticket is never taken for a session proof.
fn aad(kind: &[u8], fleet: &FleetId, leaf: &LeafIndex) -> Vec<u8> {
    [
        b"keyhaven v1 core ",
        kind,
        b"\0",
        fleet.as_bytes(),
        leaf.as_bytes(),
    ]
    .concat()
}

fn seal<const N: usize>(
    key: &TicketKey,
    aad: &[u8],
    body: &[u8],
    entropy: &mut dyn Entropy,
) -> Option<[u8; N]> {
    let nonce: [u8; NONCE_BYTES] = keyhaven_secrets::random(entropy);
    let sealed = XChaCha20Poly1305::new(key.expose().into())
        .encrypt(&XNonce::from(nonce), Payload { msg: body, aad })
        .ok()?;
    <[u8; N]>::try_from([nonce.as_slice(), &sealed].concat()).ok()
}

fn open(key: &TicketKey, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .ok()
}
