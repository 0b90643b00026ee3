//! A database by rows brought back: its base, and the patches on it.
//!
//! BACKUP-3: the patches are applied to a sealed copy, which nothing on the disk names. BACKUP-1: the digest of all rows
//! must be that of the snapshot, or nothing comes of it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven_repo::compress::Expander;
use keyhaven_repo::hash::ContentId;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::rows::{Patch, load_patches};
use keyhaven_source::rows::{Mounted, SealedFile, apply, digest};
use keyhaven_source::{ImageShape, LiveDatabase, PageSize};
use zeroize::Zeroizing;

use super::crew::beside;
use super::fetch::Fetcher;
use super::nodes::Nodes;
use super::pages::{FrameReader, ReadBackError};

/// A key that nobody keeps, and a file in `folder` that has no name: neither a kill nor a loss of power leaves it behind.
fn unkept(folder: &Path) -> std::io::Result<(Zeroizing<[u8; 32]>, File)> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice())
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok((key, tempfile::tempfile_in(folder)?))
}

/// What databases are brought back with, one after the other.
pub(crate) struct Replayer {
    /// Reads the pages of those that go by pages, and of the bases of the others.
    pub(crate) frames: FrameReader,
    fetcher: Fetcher,
    keyring: Arc<Keyring>,
    /// Where sealed copies are kept meanwhile.
    folder: PathBuf,
}

impl Replayer {
    pub(crate) fn new(fetcher: &Fetcher, keyring: &Arc<Keyring>, folder: &Path) -> Self {
        Self {
            frames: FrameReader::new(fetcher, keyring),
            fetcher: fetcher.clone(),
            keyring: Arc::clone(keyring),
            folder: folder.to_path_buf(),
        }
    }

    /// The database of a base and its patches, checked, as a sealed copy; and what `meanwhile` made of it while it was
    /// being checked.
    pub(crate) fn replay<T>(
        &self,
        base: &PageMap,
        rows: &NodeRef,
        nodes: &mut Nodes<'_>,
        meanwhile: impl FnOnce(&Mounted) -> Result<T, ReadBackError>,
    ) -> Result<(Mounted, T), ReadBackError> {
        let page_size = PageSize::new(base.page_size()).ok_or(NodeError::Malformed)?;
        let (key, place) = unkept(&self.folder)?;
        let shape = ImageShape {
            page_size,
            page_count: base.page_count(),
        };
        let file = SealedFile::create(place, shape, &|_| key.clone())?;
        let page_bytes = page_size.bytes();
        let len = usize::try_from(page_bytes).map_err(|_| NodeError::TooLong)?;
        self.frames.scatter(base, nodes, &|offset, run| {
            let index = offset.checked_div(page_bytes.into()).unwrap_or(0);
            let mut pages = (index..).zip(run.chunks(len));
            pages.try_for_each(|(index, page)| file.write_page(index, page))
        })?;
        let mut copy = Mounted::new(file)?;
        let patches = load_patches(rows, nodes)?;
        let mut fetcher = self.fetcher.clone();
        for patch in &patches {
            copy = apply(copy, &bytes_of(patch, &mut fetcher, &self.keyring)?)?;
        }
        drop(fetcher);
        let (made, state) = beside(|| meanwhile(&copy), || state_of(&copy, &self.keyring));
        if patches.last().map(|patch| patch.state) == Some(state?) {
            Ok((copy, made?))
        } else {
            Err(NodeError::PageAltered.into())
        }
    }
}

/// The digest of all rows of a copy.
fn state_of(copy: &Mounted, keyring: &Keyring) -> Result<ContentId, ReadBackError> {
    let mut hasher = keyring.content_hasher();
    digest(copy, &mut |bytes| hasher.update(bytes))?;
    Ok(hasher.finish())
}

/// A patch's bytes, which must be those that were stored.
pub(crate) fn bytes_of(
    patch: &Patch,
    fetcher: &mut Fetcher,
    keyring: &Keyring,
) -> Result<Vec<u8>, ReadBackError> {
    let mut expander = Expander::new().map_err(NodeError::from)?;
    let len = |bytes: u64| usize::try_from(bytes).map_err(|_| NodeError::TooLong);
    let mut out = vec![0; len(patch.raw_len())?];
    let mut rest = out.as_mut_slice();
    for frame in &patch.frames {
        let stored = fetcher.extent(&frame.extent, PackKind::Messages)?;
        let (raw, behind) = rest
            .split_at_mut_checked(len(frame.raw_len.into())?)
            .ok_or(NodeError::TooLong)?;
        expander.expand(stored, raw).map_err(NodeError::from)?;
        rest = behind;
    }
    let mut hasher = keyring.content_hasher();
    hasher.update(&out);
    if hasher.finish() == patch.content {
        Ok(out)
    } else {
        Err(NodeError::Swapped.into())
    }
}

/// Whether the database file at `path` has exactly the rows after the last patch.
pub(crate) fn has_rows(
    path: &Path,
    rows: &NodeRef,
    folder: &Path,
    keyring: &Arc<Keyring>,
    nodes: &mut Nodes<'_>,
) -> Result<bool, ReadBackError> {
    let Some(state) = load_patches(rows, nodes)?.last().map(|patch| patch.state) else {
        return Ok(false);
    };
    let (key, place) = unkept(folder)?;
    let copied = SealedFile::copy(&mut LiveDatabase::at(path), &place, &|_| key.clone());
    let Ok((file, _)) = copied else {
        return Ok(false);
    };
    let copy = Mounted::new(file)?;
    Ok(state_of(&copy, keyring).is_ok_and(|found| found == state))
}

/// Writes a copy out, page by page.
pub(crate) fn write_out(copy: &Mounted, out: &mut dyn Write) -> Result<(), ReadBackError> {
    copy.with_file(|file| {
        let len = usize::try_from(file.page_size().bytes()).map_err(|_| NodeError::TooLong)?;
        let pages = file
            .bytes()
            .checked_div(u64::from(file.page_size().bytes()));
        let mut page = vec![0; len];
        for index in 0..pages.unwrap_or(0) {
            file.read_page(index, &mut page)?;
            out.write_all(&page)?;
        }
        Ok(())
    })
}
