//! The sealed objects of `docs/format.md` once more, written from the document and not from the
//! crate: a second reader of the golden store, and the hand that makes objects no writer makes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;

pub(crate) const MESSAGES: u8 = 1;
pub(crate) const MEDIA: u8 = 2;
pub(crate) const INDEX: u8 = 3;
pub(crate) const SNAPSHOT: u8 = 4;
pub(crate) const KEYRING: u8 = 5;

const HEADER: usize = 96;
const FRAME: usize = 65_536;
const TAG: usize = 16;

/// The secret that an object's subkey comes from.
pub(crate) type Secret = [u8; 32];

fn subkey(secret: &Secret, header: &[u8], kind: u8) -> (LessSafeKey, [u8; 32]) {
    let mut info = b"keyhaven v1 object".to_vec();
    info.extend_from_slice(&header[..32]);
    info.push(kind);
    let mut okm = [0; 64];
    Hkdf::<Sha256>::new(Some(&header[32..64]), secret)
        .expand(&info, &mut okm)
        .unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &okm[..32]).unwrap());
    (key, okm[32..].try_into().unwrap())
}

fn bound(header: &[u8], kind: u8, frame: u32, last: bool) -> (Nonce, Aad<Vec<u8>>) {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&frame.to_be_bytes());
    nonce[11] = u8::from(last);
    let mut aad = header[..32].to_vec();
    aad.push(kind);
    aad.extend_from_slice(&frame.to_le_bytes());
    aad.push(u8::from(last));
    (Nonce::assume_unique_for_key(nonce), Aad::from(aad))
}

/// Opens an object of which the secret and the kind are known.
pub(crate) fn open(secret: &Secret, kind: u8, object: &[u8]) -> Vec<u8> {
    let (header, body) = object.split_at(HEADER);
    let (key, commitment) = subkey(secret, header, kind);
    assert_eq!(commitment, header[64..], "the commitment");
    assert_eq!(
        object.len() as u32,
        u32::from_le_bytes(header[12..16].try_into().unwrap())
    );
    let frames = body.len().div_ceil(FRAME + TAG);
    let (tags, data) = body.split_at(frames * TAG);
    let mut plain = Vec::new();
    for (number, (frame, tag)) in data.chunks(FRAME).zip(tags.chunks(TAG)).enumerate() {
        let (nonce, aad) = bound(header, kind, number as u32, number + 1 == frames);
        let mut frame = [frame, tag].concat();
        plain.extend_from_slice(key.open_in_place(nonce, aad, &mut frame).unwrap());
    }
    plain
}

/// Seals `plain` again under the header of `like`, with its length, name and epoch; the last frame
/// is marked as the last, or not.
pub(crate) fn seal_like(
    like: &[u8],
    secret: &Secret,
    kind: u8,
    plain: &[u8],
    mark: bool,
) -> Vec<u8> {
    let (key, commitment) = subkey(secret, &like[..HEADER], kind);
    let mut out = like[..64].to_vec();
    out.extend_from_slice(&commitment);
    let frames = plain.chunks(FRAME).count();
    let mut data = Vec::new();
    for (number, frame) in plain.chunks(FRAME).enumerate() {
        let last = mark && number + 1 == frames;
        let (nonce, aad) = bound(like, kind, number as u32, last);
        let mut frame = frame.to_vec();
        let tag = key
            .seal_in_place_separate_tag(nonce, aad, &mut frame)
            .unwrap();
        out.extend_from_slice(tag.as_ref());
        data.extend_from_slice(&frame);
    }
    out.extend_from_slice(&data);
    assert_eq!(out.len(), like.len());
    out
}

/// The secret of a wrapped keyring.
pub(crate) fn wrapping(backup_key: &[u8; 32], name: &[u8]) -> Secret {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(name), backup_key)
        .expand(b"keyhaven v1 wrap-keyring", &mut out)
        .unwrap();
    out
}

/// Where the keyring ends and the body begins in a snapshot.
pub(crate) fn keyring_len(snapshot: &[u8]) -> usize {
    u32::from_le_bytes(snapshot[12..16].try_into().unwrap()) as usize
}

/// The first data key, the id key and the page key out of a snapshot.
pub(crate) fn keys(backup_key: &[u8; 32], snapshot: &[u8]) -> [Secret; 3] {
    let wrapped = &snapshot[..keyring_len(snapshot)];
    let plain = open(&wrapping(backup_key, &wrapped[32..64]), KEYRING, wrapped);
    assert_eq!(plain[..4], 1_u32.to_le_bytes(), "the current epoch");
    assert_eq!(plain[68], 1, "the number of epochs");
    let at = |start: usize| plain[start..start + 32].try_into().unwrap();
    [at(73), at(4), at(36)]
}
