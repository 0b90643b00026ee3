//! Whole files into packs: read once, straight to where they are sealed.
//!
//! A file is stored once, however often it was forwarded: its content id is looked up before its
//! bytes go into a pack. Reading a file twice for that would cost as much as storing it, so only a
//! file whose *size* some stored content has is hashed first; every other file is new for certain
//! and is hashed while it is read into the pack.

use std::path::Path;

use keyhaven_repo::hash::{ContentHasher, ContentId, ExtentDigest};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::pack::{ExtentKind, PackBuilder, PackKind};
use keyhaven_repo::vacated::Vacated;
use keyhaven_source::{FileError, StableFile, Stat, WrittenOut};

use super::contents::{Contents, ContentsError};
use super::outbox::{Outbox, SendError};

/// A file that the store has now.
pub(crate) struct StoredFile {
    pub(crate) stat: Stat,
    pub(crate) id: ContentId,
    pub(crate) extents: Vec<Extent>,
}

/// A content as an older backup has it.
pub(crate) struct Known<'a> {
    pub(crate) content: ContentId,
    pub(crate) extents: &'a [Extent],
}

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MediaError {
    /// The file's own fault: it is reported as pending, and the run goes on.
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Contents(#[from] ContentsError),
}

/// Read at once when a file is only hashed: large enough for BLAKE3's full speed.
const HASH_BYTES: usize = 256 * 1024;

/// Puts files into Media packs.
pub(crate) struct MediaWriter<'a> {
    outbox: &'a Outbox,
    open: Option<PackBuilder>,
    hasher: ContentHasher,
    scratch: Vec<u8>,
    written: WrittenOut,
}

impl<'a> MediaWriter<'a> {
    pub(crate) fn new(outbox: &'a Outbox, keyring: &Keyring) -> Self {
        let hasher = keyring.content_hasher();
        Self {
            outbox,
            open: None,
            hasher,
            scratch: Vec::new(),
            written: WrittenOut::default(),
        }
    }

    /// Stores the file that a walk listed with `listed`, unless the store has its content.
    pub(crate) fn store(
        &mut self,
        path: &Path,
        listed: &Stat,
        contents: &mut Contents,
    ) -> Result<StoredFile, MediaError> {
        if contents.has_size(listed.size)? {
            let (stat, id) = self.hash(path, listed)?;
            if let Some(extents) = contents.find(&id)? {
                return Ok(StoredFile { stat, id, extents });
            }
        }
        let mut file = StableFile::open(path, listed, &self.written)?;
        let mut extents = Vec::new();
        self.hasher.reset();
        let size = file.size();
        let read = self
            .read(&mut file, size, &mut extents)
            .and_then(|()| Ok(file.finish()?));
        let stat = match read {
            Ok(stat) => stat,
            Err(error) => {
                self.discard();
                return Err(error);
            }
        };
        let id = self.end(&mut extents);
        contents.add(id, stat.size, extents.clone());
        Ok(StoredFile { stat, id, extents })
    }

    /// Stores again what of a content lies in packs that are emptied, and leaves the rest of it where it is: the file is
    /// read, and must still be all of that content.
    pub(crate) fn move_out(
        &mut self,
        path: &Path,
        listed: &Stat,
        known: Known<'_>,
        vacated: &Vacated,
    ) -> Result<Vec<Extent>, MediaError> {
        let mut file = StableFile::open(path, listed, &self.written)?;
        self.hasher.reset();
        let moved = self
            .read_moving(&mut file, known.extents, vacated)
            .and_then(|extents| {
                file.finish()?;
                // BACKUP-1: an extent of another content would be found out only by a restore.
                if self.hasher.finish() == known.content {
                    Ok(extents)
                } else {
                    Err(FileError::Changed.into())
                }
            });
        let mut extents = match moved {
            Ok(extents) => extents,
            Err(error) => {
                self.discard();
                return Err(error);
            }
        };
        let digest = if extents.is_empty() {
            known.content.extent_digest()
        } else {
            ExtentDigest::NONE
        };
        extents.extend(self.end_extent(digest));
        Ok(extents)
    }

    /// The extents of a content that is read through, but for the last one if it is still open.
    fn read_moving(
        &mut self,
        file: &mut StableFile,
        old: &[Extent],
        vacated: &Vacated,
    ) -> Result<Vec<Extent>, MediaError> {
        let mut extents = Vec::new();
        for extent in old {
            let bytes = u64::from(extent.len);
            if vacated.holds(extent) {
                self.read(file, bytes, &mut extents)?;
            } else {
                extents.extend(self.end_extent(ExtentDigest::NONE));
                self.pass(file, bytes)?;
                extents.push(*extent);
            }
        }
        Ok(extents)
    }

    /// Hashes what is not stored.
    fn pass(&mut self, file: &mut StableFile, mut bytes: u64) -> Result<(), FileError> {
        self.scratch.resize(HASH_BYTES, 0);
        while bytes > 0 {
            let want = usize::try_from(bytes).unwrap_or(usize::MAX);
            let want = want.min(self.scratch.len());
            let read = file.read(self.scratch.get_mut(..want).unwrap_or_default())?;
            if read == 0 {
                return Err(FileError::Changed);
            }
            self.hasher
                .update(self.scratch.get(..read).unwrap_or_default());
            bytes = bytes.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Closes the last extent of a content.
    fn end(&mut self, extents: &mut Vec<Extent>) -> ContentId {
        let id = self.hasher.finish();
        // The digest in the table of contents can stand for the whole content only where one
        // extent holds it.
        let digest = if extents.is_empty() {
            id.extent_digest()
        } else {
            ExtentDigest::NONE
        };
        extents.extend(self.end_extent(digest));
        id
    }

    fn end_extent(&mut self, digest: ExtentDigest) -> Option<Extent> {
        self.open.as_mut()?.end_extent(ExtentKind::File, digest)
    }

    /// Forgets what was read of a file. The bytes that an earlier pack took stay there, named by nothing.
    fn discard(&mut self) {
        if let Some(pack) = &mut self.open {
            pack.discard_open();
        }
    }

    /// Sends the last pack, however full it is.
    pub(crate) fn finish(&mut self) {
        if let Some(pack) = self.open.take()
            && !pack.is_empty()
        {
            self.outbox.send(pack);
        }
    }

    /// The pack that is being filled.
    pub(crate) fn open_pack(&self) -> Option<PackName> {
        self.open.as_ref().map(PackBuilder::name)
    }

    fn hash(&mut self, path: &Path, listed: &Stat) -> Result<(Stat, ContentId), FileError> {
        let mut file = StableFile::open(path, listed, &self.written)?;
        self.hasher.reset();
        self.scratch.resize(HASH_BYTES, 0);
        loop {
            let read = file.read(&mut self.scratch)?;
            if read == 0 {
                return Ok((file.finish()?, self.hasher.finish()));
            }
            self.hasher
                .update(self.scratch.get(..read).unwrap_or_default());
        }
    }

    /// Reads so many bytes into packs. The extent in the pack that is open stays open.
    fn read(
        &mut self,
        file: &mut StableFile,
        mut bytes: u64,
        extents: &mut Vec<Extent>,
    ) -> Result<(), MediaError> {
        // An empty file has no extents, and needs no pack.
        while bytes > 0 {
            let mut pack = match self.open.take() {
                Some(pack) => pack,
                None => self.outbox.begin(PackKind::Media)?,
            };
            let spare = pack.spare_mut();
            if spare.is_empty() {
                extents.extend(pack.end_extent(ExtentKind::File, ExtentDigest::NONE));
                self.outbox.send(pack);
                continue;
            }
            let want = usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .min(spare.len());
            let read = file.read(spare.get_mut(..want).unwrap_or_default());
            if let Ok(read) = read {
                self.hasher.update(pack.advance(read));
            }
            self.open = Some(pack);
            let read = read?;
            if read == 0 {
                return Err(FileError::Changed.into());
            }
            bytes = bytes.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use keyhaven_repo::names::StoreId;

    use super::*;
    use crate::engine::entropy::OsEntropy;
    use crate::store::FolderStore;

    /// BACKUP-1: what is moved is what was backed up, whatever the file system says of the file.
    #[test]
    fn a_file_of_another_content_is_not_moved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        let listed = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Stat::from(&rustix::fs::lstat(&path).unwrap())
        };
        let store = Arc::new(FolderStore::private(&folder.path().join("store")).unwrap());
        let keyring = Keyring::generate(StoreId::from_bytes([1; 16]), &mut OsEntropy);
        let outbox = Outbox::open(Arc::new(keyring.clone()), store.clone(), 1);
        let mut contents = Contents::open(&folder.path().join("contents"), store.clone()).unwrap();
        let mut writer = MediaWriter::new(&outbox, &keyring);
        let stat = listed(b"as it was");
        let stored = writer.store(&path, &stat, &mut contents).unwrap();
        writer.finish();
        let old = stored.extents;
        let vacated = Vacated::new(BTreeSet::from([old[0].pack]));
        let known = || Known {
            content: stored.id,
            extents: &old,
        };
        let stat = listed(b"as it isn");
        let moved = writer.move_out(&path, &stat, known(), &vacated);
        assert!(matches!(moved, Err(MediaError::File(FileError::Changed))));
        let stat = listed(b"as it was");
        let moved = writer.move_out(&path, &stat, known(), &vacated).unwrap();
        assert_eq!((moved.len(), moved[0].len), (1, 9));
        assert!(!vacated.holds(&moved[0]));
        // What was read of the other content is not in between.
        assert_eq!(moved[0].offset, 0);
    }
}
