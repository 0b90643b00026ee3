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
use keyhaven_source::{FileError, StableFile, Stat};

use super::contents::{Contents, ContentsError};
use super::outbox::{Outbox, SendError};

/// A file that the store has now.
pub(crate) struct StoredFile {
    pub(crate) stat: Stat,
    pub(crate) id: ContentId,
    pub(crate) extents: Vec<Extent>,
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
}

impl<'a> MediaWriter<'a> {
    pub(crate) fn new(outbox: &'a Outbox, keyring: &Keyring) -> Self {
        let hasher = keyring.content_hasher();
        Self {
            outbox,
            open: None,
            hasher,
            scratch: Vec::new(),
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
        let mut file = StableFile::open(path, listed)?;
        let mut extents = Vec::new();
        self.hasher.reset();
        let read = self
            .read(&mut file, &mut extents)
            .and_then(|()| Ok(file.finish()?));
        let stat = match read {
            Ok(stat) => stat,
            Err(error) => {
                // The bytes that an earlier pack took stay there, named by nothing.
                if let Some(pack) = &mut self.open {
                    pack.discard_open();
                }
                return Err(error);
            }
        };
        let id = self.end(&mut extents);
        contents.add(id, stat.size, extents.clone());
        Ok(StoredFile { stat, id, extents })
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
        if let Some(pack) = &mut self.open {
            extents.extend(pack.end_extent(ExtentKind::File, digest));
        }
        id
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
        let mut file = StableFile::open(path, listed)?;
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

    fn read(&mut self, file: &mut StableFile, extents: &mut Vec<Extent>) -> Result<(), MediaError> {
        // An empty file has no extents, and needs no pack.
        if file.size() == 0 {
            return Ok(());
        }
        loop {
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
            let read = file.read(spare);
            if let Ok(read) = read {
                self.hasher.update(pack.advance(read));
            }
            self.open = Some(pack);
            if read? == 0 {
                return Ok(());
            }
        }
    }
}
