//! One database on its way back, by pages or by rows.

use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use keyhaven_repo::entry::Stat;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::path::Key;
use keyhaven_source::rows::{Mounted, RowsError};

use super::{Done, hash_file, standing};
use crate::engine::companions;
use crate::engine::error::RestoreError;
use crate::engine::fetch::FetchError;
use crate::engine::lost::{Lost, ends_a_restore, told};
use crate::engine::naming::Naming;
use crate::engine::nodes::{Nodes, store_error};
use crate::engine::pages::{FrameReader, ReadBackError};
use crate::engine::replay::{Replayer, has_rows, write_out};
use crate::engine::standing::Standing;
use crate::engine::target::{Durable, Target, Whole, refused};

/// A database as the backup has it.
pub(super) struct Database<'a> {
    pub(super) key: &'a Key,
    pub(super) stat: &'a Stat,
    pub(super) pages: &'a PageMap,
    pub(super) rows: Option<&'a NodeRef>,
}

impl Database<'_> {
    pub(super) fn restore(
        &self,
        databases: &Replayer,
        keyring: &Arc<Keyring>,
        nodes: &mut Nodes<'_>,
        naming: &Naming<'_>,
        overwrite: bool,
    ) -> Result<Done, RestoreError> {
        let target = naming.target;
        let Self {
            key, pages, rows, ..
        } = *self;
        let bytes = pages.image_len();
        target.make_way(key)?;
        let standing = standing_of(target, key, pages, rows, keyring, nodes, overwrite)?;
        if standing == Standing::Same {
            let cleared = target.clear(key);
            cleared.map_err(|cause| refused(target.path(key), cause))?;
            return Ok(Done::AlreadyThere(bytes));
        }
        companions::ensure_not_open(&target.path(key))?;
        let written = match rows {
            None => self.by_pages(target, standing, keyring, &databases.frames, nodes),
            Some(rows) => self.by_rows(target, standing, rows, databases, nodes),
        };
        let not_named = match written {
            Ok(Written::Small(file)) => {
                naming.take(file)?;
                None
            }
            Ok(Written::Large(file)) => file.name(target)?,
            Err(error) => Some(lost(key, bytes, error, target)?),
        };
        Ok(match not_named {
            None => Done::Written(bytes),
            Some(lost) => Done::Lost(lost, bytes),
        })
    }

    fn by_pages(
        &self,
        target: &Target,
        standing: Standing,
        keyring: &Keyring,
        frames: &FrameReader,
        nodes: &mut Nodes<'_>,
    ) -> Result<Written, ReadBackError> {
        let part = target.begin(self.key)?.of_database().in_place_of(standing);
        part.file.set_len(self.pages.image_len())?;
        frames.scatter(self.pages, nodes, &|offset, run| {
            part.file.write_all_at(run, offset)
        })?;
        // Every page was checked where it stands; this checks that they make the image.
        let image = |file: &File| hash_file(file, keyring.content_hasher());
        let (file, image) = if self.pages.image_len() < LARGE_BYTES {
            let image = image(&part.file)?;
            (Written::Small(part.finish(self.stat)?), image)
        } else {
            let (file, image) = part.flush(self.stat, image)?;
            (Written::Large(file), image)
        };
        if image != *self.pages.image() {
            return Err(NodeError::PageAltered.into());
        }
        Ok(file)
    }

    fn by_rows(
        &self,
        target: &Target,
        standing: Standing,
        rows: &NodeRef,
        databases: &Replayer,
        nodes: &mut Nodes<'_>,
    ) -> Result<Written, ReadBackError> {
        let written = |copy: &Mounted| {
            let mut part = target.begin(self.key)?.of_database().in_place_of(standing);
            write_out(copy, &mut part.file)?;
            if self.pages.image_len() < LARGE_BYTES {
                return Ok(Written::Small(part.finish(self.stat)?));
            }
            let (file, ()) = part.flush(self.stat, |_| Ok(()))?;
            Ok(Written::Large(file))
        };
        let (_, file) = databases.replay(self.pages, rows, nodes, written)?;
        Ok(file)
    }
}

/// A database that is whole.
enum Written {
    /// It waits for the flush of many files.
    Small(Whole),
    Large(Durable),
}

/// From so many bytes on a database is flushed by itself: that costs some hundredths of a second.
const LARGE_BYTES: u64 = 1 << 20;

/// What the target has of this database. Something else in its place, or beside it, is an error, unless it may be overwritten.
fn standing_of(
    target: &Target,
    key: &Key,
    pages: &PageMap,
    rows: Option<&NodeRef>,
    keyring: &Arc<Keyring>,
    nodes: &mut Nodes<'_>,
    overwrite: bool,
) -> Result<Standing, RestoreError> {
    let path = target.path(key);
    let found = target.existing(key)?;
    let beside = companions::in_the_way(&path).map_err(|cause| refused(path.clone(), cause))?;
    match (found, beside, rows) {
        // BACKUP-1: it would be played into what is restored.
        (None, Some(beside), _) if beside.is_dir() => Err(RestoreError::FolderInPlace(beside)),
        (None, Some(_), _) if overwrite => Ok(Standing::Other),
        (None, Some(beside), _) => Err(RestoreError::Differs(beside)),
        (None, None, _) => Ok(Standing::Nothing),
        (Some(found), _, Some(rows)) => {
            rows_standing(target, key, &found, rows, keyring, nodes, overwrite)
        }
        (Some(_), None, None) => {
            let (bytes, image) = (pages.image_len(), pages.image());
            standing(
                target,
                key,
                bytes,
                image,
                keyring.content_hasher(),
                overwrite,
            )
        }
        (Some(found), Some(_), None) => {
            let (size, image) = (pages.page_size(), pages.image());
            let hasher = keyring.content_hasher();
            if found.is_file() && companions::make_image(&path, size, image, &hasher) {
                return target.is_the_same(key);
            }
            target.differs(key, &found, overwrite)
        }
    }
}

/// The same of a database with exactly these rows.
fn rows_standing(
    target: &Target,
    key: &Key,
    found: &Metadata,
    rows: &NodeRef,
    keyring: &Arc<Keyring>,
    nodes: &mut Nodes<'_>,
    overwrite: bool,
) -> Result<Standing, RestoreError> {
    if found.is_file() {
        match has_rows(&target.path(key), rows, target.root(), keyring, nodes) {
            Ok(true) => return target.is_the_same(key),
            Ok(false) => {}
            Err(error) => {
                lost(key, found.len(), error, target)?;
            }
        }
    }
    target.differs(key, found, overwrite)
}

/// What a database that was not restored means: lost, or the end of the run.
fn lost(
    key: &Key,
    bytes: u64,
    error: ReadBackError,
    target: &Target,
) -> Result<Lost, RestoreError> {
    match error {
        ReadBackError::Write(cause) => Err(refused(target.path(key), cause)),
        ReadBackError::Fetch(FetchError::Store(cause)) if ends_a_restore(&cause) => {
            Err(cause.into())
        }
        ReadBackError::Node(cause) if store_error(&cause).is_some_and(ends_a_restore) => {
            Err(cause.into())
        }
        ReadBackError::Rows(RowsError::Sealed(cause)) => Err(refused(target.path(key), cause)),
        cause @ (ReadBackError::Fetch(_) | ReadBackError::Node(_) | ReadBackError::Rows(_)) => {
            let by = match &cause {
                ReadBackError::Fetch(FetchError::Store(cause)) => Some(cause),
                ReadBackError::Node(cause) => store_error(cause),
                ReadBackError::Fetch(_) | ReadBackError::Rows(_) | ReadBackError::Write(_) => None,
            };
            Ok(Lost::file(key, bytes, told(&cause)).by(by))
        }
    }
}
