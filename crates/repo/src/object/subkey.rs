//! The subkey of one object and the frames under it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{BOUND_BYTES, Header, ObjectError, ObjectKind};
use crate::codec::{narrow, size};
use crate::layout::{FRAME_BYTES, HEADER_BYTES, Layout, TAG_BYTES};

const INFO: &[u8] = b"keyhaven v1 object";
/// Bound header bytes, kind, frame number, last mark.
const AAD_BYTES: usize = 38;

/// The key that seals one object and nothing else.
///
/// BACKUP-5: it is derived from a data key with the object's random 256-bit name as the salt, and a
/// name is drawn once, for one builder, which sealing consumes. So the frame counter may start at
/// zero in every object and no pair of key and nonce ever comes twice, also after a crash, a retry
/// or on a cloned device, without any counter having to be remembered.
pub(crate) struct Subkey {
    key: LessSafeKey,
    commitment: [u8; 32],
    bound: [u8; BOUND_BYTES],
    kind: ObjectKind,
}

impl Subkey {
    /// Derives the subkey of the object that `header` describes. The header's commitment is not
    /// looked at.
    pub(crate) fn derive(
        secret: &[u8; 32],
        header: &Header,
        kind: ObjectKind,
    ) -> Result<Self, ObjectError> {
        let bound = header.bound();
        let code = [kind.code()];
        let mut okm = Zeroizing::new([0_u8; 64]);
        let prk = Hkdf::<Sha256>::new(Some(&header.name), secret);
        prk.expand_multi_info(&[INFO, &bound, &code], okm.as_mut_slice())
            .map_err(|_| ObjectError::Cipher)?;
        let (key, commitment) = okm.split_at(32);
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| ObjectError::Cipher)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            commitment: <[u8; 32]>::try_from(commitment).map_err(|_| ObjectError::Cipher)?,
            bound,
            kind,
        })
    }

    pub(crate) fn commitment(&self) -> [u8; 32] {
        self.commitment
    }

    /// Whether the object was sealed under this very key, compared in constant time and before
    /// anything is decrypted: AES-GCM by itself does not commit to its key.
    pub(crate) fn opens(&self, header: &Header) -> bool {
        bool::from(self.commitment.ct_eq(&header.commitment))
    }

    fn aad(&self, frame: u32, last: bool) -> Aad<[u8; AAD_BYTES]> {
        let mut aad = [0; AAD_BYTES];
        let fields = self
            .bound
            .into_iter()
            .chain([self.kind.code()])
            .chain(frame.to_le_bytes())
            .chain([u8::from(last)]);
        for (slot, byte) in aad.iter_mut().zip(fields) {
            *slot = byte;
        }
        Aad::from(aad)
    }

    /// Seals the frames of an object in place: `data` is its plaintext, `tags` has room for a tag for
    /// each frame of it.
    pub(crate) fn seal_frames(&self, tags: &mut [u8], data: &mut [u8]) -> Result<(), ObjectError> {
        let places = tags.chunks_exact_mut(size(TAG_BYTES));
        let frames = data.chunks_mut(size(FRAME_BYTES));
        if places.len() != frames.len() {
            return Err(ObjectError::Cipher);
        }
        let last_number = frames.len().saturating_sub(1);
        for (number, (place, frame)) in places.zip(frames).enumerate() {
            let last = number == last_number;
            let number = narrow(number);
            let tag = self
                .key
                .seal_in_place_separate_tag(nonce(number, last), self.aad(number, last), frame)
                .map_err(|_| ObjectError::Cipher)?;
            place.copy_from_slice(tag.as_ref());
        }
        Ok(())
    }

    /// Opens frames in place. On success their plaintext stands where their ciphertext stood.
    pub(crate) fn open_frames(&self, frames: Frames<'_>) -> Result<(), ObjectError> {
        let Frames {
            layout,
            first,
            tags,
            data,
        } = frames;
        let last_number = layout.frames().saturating_sub(1);
        let mut tags = tags.chunks_exact(size(TAG_BYTES)).skip(size(first));
        let mut number = first;
        for frame in data.chunks_mut(size(FRAME_BYTES)) {
            let last = number == last_number;
            let tag = tags.next().unwrap_or_default();
            // The last frame is kept aside so that a failure can be told apart below.
            let aside = last.then(|| frame.to_vec());
            if !self.open_one(frame, tag, number, last) {
                let other =
                    aside.is_some_and(|mut copy| self.open_one(&mut copy, tag, number, false));
                return Err(if other {
                    ObjectError::LastMarkMissing { frame: number }
                } else {
                    ObjectError::FrameAltered { frame: number }
                });
            }
            number = number.saturating_add(1);
        }
        Ok(())
    }

    fn open_one(&self, frame: &mut [u8], tag: &[u8], number: u32, last: bool) -> bool {
        self.key
            .open_in_place_separate_tag(nonce(number, last), self.aad(number, last), tag, frame)
            .is_ok()
    }
}

/// Sealed frames of one object that stand one after the other.
pub(crate) struct Frames<'a> {
    /// How the object lies.
    pub(crate) layout: Layout,
    /// The number of the first of them.
    pub(crate) first: u32,
    /// The tags of all the object's frames.
    pub(crate) tags: &'a [u8],
    /// Their bytes.
    pub(crate) data: &'a mut [u8],
}

impl<'a> Frames<'a> {
    /// All frames of a whole object; nothing if it is shorter than its layout says.
    pub(crate) fn of(layout: Layout, object: &'a mut [u8]) -> Option<Self> {
        let (start, data) = object.split_at_mut_checked(size(layout.data_start()))?;
        Some(Self {
            layout,
            first: 0,
            tags: start.get(size(HEADER_BYTES)..)?,
            data,
        })
    }
}

/// Seals a whole object in place, its header among it: `object` has its plaintext where the layout
/// says, and room before it.
pub(crate) fn seal_object(
    header: &Header,
    subkey: &Subkey,
    object: &mut [u8],
) -> Result<(), ObjectError> {
    let (start, data) = object
        .split_at_mut_checked(size(header.layout().data_start()))
        .ok_or(ObjectError::Cipher)?;
    let (head, tags) = start
        .split_at_mut_checked(size(HEADER_BYTES))
        .ok_or(ObjectError::Cipher)?;
    head.copy_from_slice(&header.encode());
    subkey.seal_frames(tags, data)
}

/// Seven zeros, the frame number big-endian, the last mark: as STREAM lays it out.
fn nonce(frame: u32, last: bool) -> Nonce {
    let [a, b, c, d] = frame.to_be_bytes();
    let bytes: [u8; NONCE_LEN] = [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(last)];
    Nonce::assume_unique_for_key(bytes)
}
