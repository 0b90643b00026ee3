//! Snapshots: small objects that alone commit a backup.
//!
//! ```text
//!   snapshots/<name>   | keyring, sealed under the backup key | body, sealed under a data key |
//! ```
//!
//! Both parts are sealed objects of their own, under the snapshot's name as the salt. So whoever has
//! the backup key and any one snapshot has the keyring, and with it the body and the rest.

mod body;
mod history;

pub use body::{
    Completeness, PREDECESSORS_MAX, PROFILE_BYTES_MAX, PartialReason, Predecessor, Snapshot, Totals,
};
pub use history::{Freshness, History, Judgement, Link, Note};

use core::fmt;

use keyhaven_secrets::{BackupKey, Entropy, Remedy};

use crate::codec::{long, size};
use crate::keyring::{Keyring, KeyringError};
use crate::layout::{HEADER_BYTES, Layout, TAG_BYTES, pad_up};
use crate::names::{Epoch, SnapshotDigest, SnapshotName, StoreId};
use crate::object::{Frames, Header, ObjectError, ObjectKind, seal_object};

/// The length of a snapshot is a multiple of this (BACKUP-8).
pub const SNAPSHOT_CLASS_BYTES: u32 = 4096;
/// The longest snapshot that is read.
pub const SNAPSHOT_BYTES_MAX: u32 = 128 * 1024;

/// Why a snapshot does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The keyring in it does not open. [`ObjectError::WrongKey`] inside means that the backup key
    /// is another one.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The body does not open.
    #[error(transparent)]
    Body(#[from] ObjectError),
    /// It is longer than any snapshot.
    #[error("a snapshot of {found} bytes: none is that long")]
    TooLong {
        /// Its length.
        found: u64,
    },
    /// The body makes no sense.
    #[error("the snapshot's content makes no sense")]
    Malformed,
    /// Something stands where zeros belong.
    #[error("the snapshot's padding is not zeros")]
    BadPadding,
    /// A number without its predecessors, or a field longer than the format allows; only writers
    /// meet it.
    #[error("the snapshot's number, predecessors or profile name do not fit the format")]
    DoesNotFit,
}

impl SnapshotError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Keyring(cause) => cause.remedy(),
            Self::Body(cause) => cause.remedy(),
            Self::TooLong { .. } | Self::Malformed | Self::BadPadding | Self::DoesNotFit => {
                Remedy::Stop
            }
        }
    }

    /// The outcome's name in the test vectors and in machine-readable reports.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Keyring(cause) => cause.outcome(),
            Self::Body(cause) => cause.outcome(),
            Self::TooLong { .. } => "snapshot-too-long",
            Self::Malformed => "snapshot-malformed",
            Self::BadPadding => "bad-padding",
            Self::DoesNotFit => "snapshot-does-not-fit",
        }
    }

    /// Whether the backup key did not open it: the 64-digit key may have a typing mistake.
    #[must_use]
    pub fn is_wrong_key(&self) -> bool {
        matches!(
            self,
            Self::Keyring(KeyringError::Object(ObjectError::WrongKey))
        )
    }
}

/// A sealed snapshot, ready for the store.
#[derive(Debug, Clone)]
pub struct SealedSnapshot {
    /// The name under which it lies in the store.
    pub name: SnapshotName,
    /// What its successors and the vault's freshness note will name it by.
    pub digest: SnapshotDigest,
    /// The bytes for the store.
    pub bytes: Vec<u8>,
}

/// A snapshot that has opened.
pub struct OpenSnapshot {
    /// The name under which it lay.
    pub name: SnapshotName,
    /// The digest of its bytes.
    pub digest: SnapshotDigest,
    /// The store's keys.
    pub keyring: Keyring,
    /// What it says.
    pub snapshot: Snapshot,
}

impl Snapshot {
    /// Seals the snapshot under a fresh random name (BACKUP-5: the name salts both subkeys, and a
    /// retry sends the same bytes again).
    ///
    /// # Errors
    /// [`SnapshotError::DoesNotFit`] if a field is longer than the format allows, or the number is not
    /// 1 exactly for a snapshot that follows nothing.
    pub fn seal(
        &self,
        keyring: &Keyring,
        backup_key: &BackupKey,
        entropy: &mut dyn Entropy,
    ) -> Result<SealedSnapshot, SnapshotError> {
        let name = SnapshotName::draw(entropy);
        let mut bytes = keyring.wrap(backup_key, &name)?;
        let plain = self.encode(keyring.store(), &name)?;
        let least = bytes
            .len()
            .saturating_add(size(HEADER_BYTES))
            .saturating_add(plain.len())
            .saturating_add(size(TAG_BYTES));
        let total = pad_up(least, SNAPSHOT_CLASS_BYTES);
        let object_len = total
            .checked_sub(crate::codec::narrow(bytes.len()))
            .ok_or(SnapshotError::DoesNotFit)?;
        // A body is far below one frame: see the limits in `body`.
        if Layout::new(object_len).frames() != 1 || total > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::DoesNotFit);
        }
        let mut header = Header {
            epoch: keyring.current(),
            object_len,
            store: keyring.store(),
            name: *name.as_bytes(),
            commitment: [0; 32],
        };
        let subkey = keyring.subkey(&header, ObjectKind::Snapshot)?;
        header.commitment = subkey.commitment();
        let body_at = bytes.len();
        let plain_at = body_at.saturating_add(size(header.layout().data_start()));
        bytes.resize(plain_at, 0);
        bytes.extend_from_slice(&plain);
        bytes.resize(size(total), 0);
        let body = bytes.get_mut(body_at..).unwrap_or_default();
        seal_object(&header, &subkey, body)?;
        Ok(SealedSnapshot {
            name,
            digest: SnapshotDigest::of(&bytes),
            bytes,
        })
    }
}

impl OpenSnapshot {
    /// Opens the object that lay under `name` in the store `store`. `floor` is the highest epoch
    /// that the caller knows of ([`Epoch::FIRST`] if none).
    ///
    /// # Errors
    /// [`SnapshotError`] naming what is wrong with it.
    pub fn open(
        name: SnapshotName,
        store: StoreId,
        backup_key: &BackupKey,
        floor: Epoch,
        object: &[u8],
    ) -> Result<Self, SnapshotError> {
        let found = long(object.len());
        if found > u64::from(SNAPSHOT_BYTES_MAX) {
            return Err(SnapshotError::TooLong { found });
        }
        let first = Header::parse(object)?;
        let keyring_len = size(first.object_len());
        let (wrapped, sealed) = object
            .split_at_checked(keyring_len)
            .unwrap_or((object, &[]));
        let keyring = Keyring::unwrap(backup_key, store, &name, floor, wrapped)?;
        let header = Header::parse(sealed)?;
        header.expect(store, name.as_bytes(), long(sealed.len()))?;
        if header.layout().frames() != 1 || header.epoch() != keyring.current() {
            return Err(SnapshotError::Malformed);
        }
        let subkey = keyring.open(&header, ObjectKind::Snapshot)?;
        let mut body = sealed.to_vec();
        let layout = header.layout();
        let frames = Frames::of(layout, &mut body).ok_or(SnapshotError::Malformed)?;
        subkey.open_frames(frames)?;
        let plain = body.get(size(layout.data_start())..).unwrap_or_default();
        Ok(Self {
            name,
            digest: SnapshotDigest::of(object),
            snapshot: Snapshot::decode(plain, store, &name)?,
            keyring,
        })
    }

    /// What its place in the history is.
    #[must_use]
    pub fn link(&self) -> Link {
        Link {
            name: self.name,
            digest: self.digest,
            sequence: self.snapshot.sequence,
            writer: self.snapshot.writer,
            device_time_s: self.snapshot.device_time_s,
            complete: matches!(self.snapshot.completeness, Completeness::Complete),
            pinned: self.snapshot.pinned,
            predecessors: self.snapshot.predecessors.clone(),
        }
    }
}

impl fmt::Debug for OpenSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSnapshot")
            .field("name", &self.name)
            .field("sequence", &self.snapshot.sequence)
            .finish_non_exhaustive()
    }
}
