//! A record as the store holds it: sealed, of one size.
//!
//! XChaCha20-Poly1305 under the fleet's record key, with a fresh random 192-bit nonce at every
//! touch, bound to fleet and account; the generation stands inside. Bytes: version 1, nonce 24,
//! ciphertext, tag 16: together 1,664.

use alloc::vec::Vec;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use keyhaven_secrets::Entropy;
use keyhaven_wire::codec;
use keyhaven_wire::message::{FleetId, LeafIndex};
use zeroize::Zeroizing;

use crate::record::Record;
use crate::secrets::RecordKey;

/// Every leaf has this length.
pub(crate) const LEAF_BYTES: usize = 1664;
pub(crate) const BODY_BYTES: usize = 1623;
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

const _: () = assert!(1 + NONCE_BYTES + BODY_BYTES + 16 == LEAF_BYTES);

/// Seals a record.
pub(crate) fn seal(
    key: &RecordKey,
    fleet: &FleetId,
    index: &LeafIndex,
    record: &Record,
    entropy: &mut dyn Entropy,
) -> Option<Vec<u8>> {
    let body = codec::encode_padded(record, BODY_BYTES).ok()?;
    // BACKUP-5: random and 192 bits wide, so that neither a crash nor a core that was rolled back
    // ever repeats one.
    let nonce: [u8; NONCE_BYTES] = keyhaven_secrets::random(entropy);
    let aad = aad(fleet, index);
    let sealed = XChaCha20Poly1305::new(key.expose().into())
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: &body,
                aad: &aad,
            },
        )
        .ok()?;
    Some([[VERSION].as_slice(), &nonce, &sealed].concat())
}

/// Opens a sealed record.
pub(crate) fn open(
    key: &RecordKey,
    fleet: &FleetId,
    index: &LeafIndex,
    leaf: &[u8],
) -> Option<Record> {
    let (version, rest) = leaf.split_first()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
    if *version != VERSION || leaf.len() != LEAF_BYTES {
        return None;
    }
    let aad = aad(fleet, index);
    let body = XChaCha20Poly1305::new(key.expose().into())
        .decrypt(
            &XNonce::from(*nonce),
            Payload {
                msg: sealed,
                aad: &aad,
            },
        )
        .map(Zeroizing::new)
        .ok()?;
    codec::decode_padded(&body).ok()
}

fn aad(fleet: &FleetId, index: &LeafIndex) -> Vec<u8> {
    [
        b"keyhaven v1 vault leaf\0".as_slice(),
        fleet.as_bytes(),
        index.as_bytes(),
    ]
    .concat()
}
