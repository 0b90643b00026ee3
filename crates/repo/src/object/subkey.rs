//! The subkey of one object and the frames under it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{BOUND_BYTES, Header, ObjectError, ObjectKind};
use crate::codec::size;
use crate::layout::{Layout, SEALED_FRAME_BYTES, TAG_BYTES};

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

    /// Seals the frames of an object in place: `body` is everything after the header, laid out with
    /// room for each tag.
    pub(crate) fn seal_frames(&self, body: &mut [u8]) -> Result<(), ObjectError> {
        let mut frames = body
            .chunks_mut(size(SEALED_FRAME_BYTES))
            .enumerate()
            .peekable();
        while let Some((number, frame)) = frames.next() {
            let number = crate::codec::narrow(number);
            let last = frames.peek().is_none();
            let at = frame.len().saturating_sub(size(TAG_BYTES));
            let (plain, tag_place) = frame.split_at_mut(at);
            let tag = self.key.seal_in_place_separate_tag(
                nonce(number, last),
                self.aad(number, last),
                plain,
            );
            tag_place.copy_from_slice(tag.map_err(|_| ObjectError::Cipher)?.as_ref());
        }
        Ok(())
    }

    /// Opens frames in place. On success each frame's plaintext stands where its ciphertext stood.
    pub(crate) fn open_frames(&self, frames: Frames<'_>) -> Result<(), ObjectError> {
        let Frames {
            layout,
            first,
            sealed,
        } = frames;
        let last_number = layout.frames().saturating_sub(1);
        let mut number = first;
        for frame in sealed.chunks_mut(size(SEALED_FRAME_BYTES)) {
            let last = number == last_number;
            // The last frame is kept aside so that a failure can be told apart below.
            let aside = last.then(|| frame.to_vec());
            if self.open_one(frame, number, last).is_err() {
                let other =
                    aside.is_some_and(|mut copy| self.open_one(&mut copy, number, false).is_ok());
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

    fn open_one(&self, frame: &mut [u8], number: u32, last: bool) -> Result<(), ()> {
        let at = frame.len().checked_sub(size(TAG_BYTES)).ok_or(())?;
        let (cipher, tag) = frame.split_at_mut_checked(at).ok_or(())?;
        self.key
            .open_in_place_separate_tag(nonce(number, last), self.aad(number, last), tag, cipher)
            .map(|_| ())
            .map_err(|_| ())
    }
}

/// Sealed frames of one object that stand one after the other.
pub(crate) struct Frames<'a> {
    /// How the object lies.
    pub(crate) layout: Layout,
    /// The number of the first of them.
    pub(crate) first: u32,
    /// Their bytes, tags included.
    pub(crate) sealed: &'a mut [u8],
}

/// Seven zeros, the frame number big-endian, the last mark: as STREAM lays it out.
fn nonce(frame: u32, last: bool) -> Nonce {
    let [a, b, c, d] = frame.to_be_bytes();
    let bytes: [u8; NONCE_LEN] = [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(last)];
    Nonce::assume_unique_for_key(bytes)
}
