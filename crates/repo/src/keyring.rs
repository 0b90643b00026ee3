//! The keyring: a store's data keys, one per epoch, and its keys for ids.
//!
//! It is random, made with the store, and stands in every snapshot, wrapped under the backup key.
//! So the backup key can change without sealing terabytes again, and whoever has the backup key and
//! any one snapshot has everything.

use core::fmt;

use keyhaven_secrets::{BackupKey, Entropy, Label, Remedy};
use zeroize::Zeroizing;

use crate::codec::{CodecError, Reader, long, put_size, size};
use crate::hash::{ContentHasher, IdKeys, NodeDigest, PageKey};
use crate::layout::{HEADER_BYTES, TAG_BYTES, pad_up};
use crate::names::{Epoch, SnapshotName, StoreId};
use crate::object::{Frames, Header, ObjectError, ObjectKind, Subkey, seal_object};

/// How many epochs a keyring holds at most. A rotation a week for ten years stays below it.
pub const EPOCHS_MAX: usize = 1024;
/// The wrapped keyring's plaintext is padded to a multiple of this, so that its length does not
/// count the rotations (BACKUP-8).
const PAD_BYTES: u32 = 4096;
/// One epoch in the encoding: its number and its key.
const EPOCH_ENTRY_BYTES: usize = 36;

/// One epoch's data key.
#[derive(Clone)]
struct DataKey {
    epoch: Epoch,
    key: Box<Zeroizing<[u8; 32]>>,
}

/// A store's keys. `Debug` shows none of them.
#[derive(Clone)]
pub struct Keyring {
    store: StoreId,
    /// Ascending; the last one is the current epoch. Never empty.
    epochs: Vec<DataKey>,
    current: Epoch,
    id_key: Box<Zeroizing<[u8; 32]>>,
    page_key: Box<Zeroizing<[u8; 32]>>,
    ids: IdKeys,
}

fn secret(entropy: &mut dyn Entropy) -> Box<Zeroizing<[u8; 32]>> {
    let mut key = Box::new(Zeroizing::new([0; 32]));
    entropy.fill(key.as_mut_slice());
    key
}

impl Keyring {
    /// Makes the keys of a new store, in its first epoch.
    pub fn generate(store: StoreId, entropy: &mut dyn Entropy) -> Self {
        let key = secret(entropy);
        let id_key = secret(entropy);
        let page_key = secret(entropy);
        let ids = IdKeys::new(&id_key);
        Self {
            store,
            epochs: vec![DataKey {
                epoch: Epoch::FIRST,
                key,
            }],
            current: Epoch::FIRST,
            id_key,
            page_key,
            ids,
        }
    }

    /// The store that these keys belong to.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The epoch that new objects are sealed under.
    #[must_use]
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// Every epoch that this keyring opens, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.epochs.iter().map(|data| data.epoch)
    }

    /// Begins a new epoch with a fresh random data key; what older epochs sealed stays readable.
    ///
    /// # Errors
    /// [`KeyringError::Full`] after [`EPOCHS_MAX`] epochs.
    pub fn begin_epoch(&mut self, entropy: &mut dyn Entropy) -> Result<Epoch, KeyringError> {
        let next = self.current.next().ok_or(KeyringError::Full)?;
        if self.epochs.len() >= EPOCHS_MAX {
            return Err(KeyringError::Full);
        }
        self.epochs.push(DataKey {
            epoch: next,
            key: secret(entropy),
        });
        self.current = next;
        Ok(next)
    }

    /// A hasher for the id of one content.
    #[must_use]
    pub fn content_hasher(&self) -> ContentHasher {
        self.ids.content_hasher()
    }

    /// The digest of a node's raw bytes.
    #[must_use]
    pub fn node_digest(&self, raw: &[u8]) -> NodeDigest {
        self.ids.node_digest(raw)
    }

    /// The key of one sealed copy of a database on a device, by the copy's random salt.
    #[must_use]
    pub fn shadow_key(&self, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        self.ids.shadow_key(salt)
    }

    /// The key for page hashes.
    #[must_use]
    pub fn page_key(&self) -> PageKey {
        PageKey::new(&self.page_key)
    }

    /// The subkey of the object that `header` describes, by the data key of the header's epoch.
    pub(crate) fn subkey(&self, header: &Header, kind: ObjectKind) -> Result<Subkey, ObjectError> {
        let data = self
            .epochs
            .iter()
            .rev()
            .find(|data| data.epoch == header.epoch)
            .ok_or(ObjectError::UnknownEpoch {
                found: header.epoch,
            })?;
        Subkey::derive(&data.key, header, kind)
    }

    /// The subkey by which an object opens as `expected`. A failed commitment is looked into, so
    /// that an object of another kind is named as such.
    pub(crate) fn open(
        &self,
        header: &Header,
        expected: ObjectKind,
    ) -> Result<Subkey, ObjectError> {
        let subkey = self.subkey(header, expected)?;
        if subkey.opens(header) {
            return Ok(subkey);
        }
        for found in ObjectKind::ALL {
            if found != expected && self.subkey(header, found)?.opens(header) {
                return Err(ObjectError::WrongKind { expected, found });
            }
        }
        Err(ObjectError::WrongKey)
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(
            self.epochs
                .len()
                .saturating_mul(EPOCH_ENTRY_BYTES)
                .saturating_add(128),
        ));
        out.extend_from_slice(&self.current.number().to_le_bytes());
        out.extend_from_slice(self.id_key.as_slice());
        out.extend_from_slice(self.page_key.as_slice());
        put_size(&mut out, self.epochs.len());
        for data in &self.epochs {
            out.extend_from_slice(&data.epoch.number().to_le_bytes());
            out.extend_from_slice(data.key.as_slice());
        }
        out
    }

    fn decode(store: StoreId, plain: &[u8]) -> Result<Self, KeyringError> {
        let mut reader = Reader::new(plain);
        let current = Epoch::from_number(reader.u32()?);
        let id_key = Box::new(Zeroizing::new(reader.array()?));
        let page_key = Box::new(Zeroizing::new(reader.array()?));
        let count = reader.count(EPOCH_ENTRY_BYTES)?;
        if count == 0 || count > EPOCHS_MAX {
            return Err(KeyringError::Malformed);
        }
        let mut epochs: Vec<DataKey> = Vec::with_capacity(count);
        for _ in 0..count {
            let epoch = Epoch::from_number(reader.u32()?);
            let key = Box::new(Zeroizing::new(reader.array()?));
            if epochs.last().is_some_and(|before| before.epoch >= epoch) {
                return Err(KeyringError::Malformed);
            }
            epochs.push(DataKey { epoch, key });
        }
        if epochs.last().map(|data| data.epoch) != Some(current) {
            return Err(KeyringError::Malformed);
        }
        if reader.take(reader.left())?.iter().any(|&byte| byte != 0) {
            return Err(KeyringError::BadPadding);
        }
        let ids = IdKeys::new(&id_key);
        Ok(Self {
            store,
            epochs,
            current,
            id_key,
            page_key,
            ids,
        })
    }

    /// Wraps the keyring under the backup key, for the snapshot of that name.
    ///
    /// BACKUP-5: a snapshot's name is drawn for one snapshot, and it salts this key too.
    pub(crate) fn wrap(
        &self,
        backup_key: &BackupKey,
        name: &SnapshotName,
    ) -> Result<Vec<u8>, ObjectError> {
        let plain = self.encode();
        let object_len = HEADER_BYTES
            .saturating_add(TAG_BYTES)
            .saturating_add(pad_up(plain.len(), PAD_BYTES));
        let mut header = Header {
            epoch: Epoch::from_number(0),
            object_len,
            store: self.store,
            name: *name.as_bytes(),
            commitment: [0; 32],
        };
        let subkey = wrapping_subkey(backup_key, &header)?;
        header.commitment = subkey.commitment();
        let mut object = Vec::with_capacity(size(object_len));
        object.resize(size(header.layout().data_start()), 0);
        object.extend_from_slice(&plain);
        object.resize(size(object_len), 0);
        seal_object(&header, &subkey, &mut object)?;
        Ok(object)
    }

    /// Opens a wrapped keyring. `floor` is the highest epoch that the caller knows of: a keyring
    /// that ends below it is an old one, served again.
    pub(crate) fn unwrap(
        backup_key: &BackupKey,
        store: StoreId,
        name: &SnapshotName,
        floor: Epoch,
        wrapped: &[u8],
    ) -> Result<Self, KeyringError> {
        let header = Header::parse(wrapped)?;
        header.expect(store, name.as_bytes(), long(wrapped.len()))?;
        // EPOCHS_MAX epochs fit one frame, so a longer keyring is nobody's.
        if header.layout().frames() != 1 {
            return Err(KeyringError::Malformed);
        }
        let subkey = wrapping_subkey(backup_key, &header)?;
        if !subkey.opens(&header) {
            return Err(KeyringError::Object(ObjectError::WrongKey));
        }
        let mut object = Zeroizing::new(wrapped.to_vec());
        let layout = header.layout();
        let frames = Frames::of(layout, &mut object).ok_or(KeyringError::Malformed)?;
        subkey.open_frames(frames)?;
        let plain = object.get(size(layout.data_start())..).unwrap_or_default();
        let keyring = Self::decode(store, plain)?;
        if keyring.current < floor {
            return Err(KeyringError::EpochTooLow {
                known: floor,
                found: keyring.current,
            });
        }
        Ok(keyring)
    }
}

fn wrapping_subkey(backup_key: &BackupKey, header: &Header) -> Result<Subkey, ObjectError> {
    let wrapping = backup_key.derive(Label::WrapKeyring, &header.name);
    Subkey::derive(wrapping.expose(), header, ObjectKind::Keyring)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("store", &self.store)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

/// Why a keyring does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// It is sealed, and the seal does not open. [`ObjectError::WrongKey`] here means that the
    /// backup key is another one.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Its plaintext is not a keyring.
    #[error("the keyring's content makes no sense")]
    Malformed,
    /// Something stands where zeros belong.
    #[error("the keyring's padding is not zeros")]
    BadPadding,
    /// It ends in an epoch below one that is already known: an old keyring, served again.
    #[error("the keyring ends in epoch {found}, but epoch {known} is already known")]
    EpochTooLow {
        /// The highest epoch that the caller knows of.
        known: Epoch,
        /// The highest epoch of this keyring.
        found: Epoch,
    },
    /// No further epoch fits.
    #[error("the keyring has no room for another epoch")]
    Full,
}

impl From<CodecError> for KeyringError {
    fn from(_: CodecError) -> Self {
        Self::Malformed
    }
}

impl KeyringError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Object(cause) => cause.remedy(),
            Self::Malformed | Self::BadPadding | Self::EpochTooLow { .. } | Self::Full => {
                Remedy::Stop
            }
        }
    }

    /// The outcome's name in the test vectors and in machine-readable reports.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Object(cause) => cause.outcome(),
            Self::Malformed => "keyring-malformed",
            Self::BadPadding => "bad-padding",
            Self::EpochTooLow { .. } => "epoch-too-low",
            Self::Full => "keyring-full",
        }
    }
}
