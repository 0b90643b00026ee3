//! LevelDB: a folder of files that make sense only together.
//!
//! Browsers and apps built on them keep such folders. There is no way to read one state of them
//! beside a program that has them open; but such a program holds a lock on the file `LOCK`, and
//! opening one always renames a log file, which stamps the folder.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};

use crate::key::PathKey;
use crate::lock::is_locked_anywhere;
use crate::names::Names;
use crate::stat::{Stat, now_ns};

const MANIFEST: &[u8] = b"MANIFEST-";

/// Whether a name is one of those by which such a folder is recognised.
pub(crate) fn is_mark(name: &[u8]) -> bool {
    name == b"CURRENT" || name == b"LOCK" || name.starts_with(MANIFEST)
}

/// A LevelDB folder as it was when it was listed.
#[derive(Debug, Clone)]
pub(crate) struct LevelDb {
    key: Option<PathKey>,
    path: PathBuf,
    listed: Stat,
    /// Whether no program had it open, certainly.
    pub(crate) is_quiet: bool,
}

impl LevelDb {
    /// Recognises a LevelDB folder by its names.
    pub(crate) fn recognise(
        fd: &OwnedFd,
        key: Option<&PathKey>,
        path: &Path,
        listed: Stat,
        names: &Names,
    ) -> Option<Self> {
        let is_one = names.told(b"CURRENT") && names.told(b"LOCK") && names.told_prefix(MANIFEST);
        is_one.then(|| Self {
            key: key.cloned(),
            path: path.to_owned(),
            listed,
            is_quiet: !listed.is_racy_at(now_ns()) && !is_open(fd),
        })
    }

    /// Whether no program has had it open since it was listed.
    fn stayed_quiet(&self) -> bool {
        let Ok(now) = statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::open(&self.path, flags, Mode::empty()) else {
            return false;
        };
        self.is_quiet && !is_open(&fd) && Stat::from(&now).is_unchanged_since(&self.listed)
    }
}

/// Watches folders whose files make sense only together (LevelDB), from when a walk lists them.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Vec<LevelDb>>>);

impl Watch {
    /// The folders whose files the walk gave, and which a program has opened since they were
    /// listed. Ask once everything is read: what was read in these folders is not one state, and is
    /// to be reported as pending. None stands for the root itself.
    #[must_use]
    pub fn disturbed(&self) -> Vec<Option<PathKey>> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched
            .iter()
            .filter(|leveldb| leveldb.is_quiet && !leveldb.stayed_quiet())
            .map(|leveldb| leveldb.key.clone())
            .collect()
    }

    pub(crate) fn extend(&self, leveldb: Option<LevelDb>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(leveldb);
    }
}

/// Whether a program has it open. What cannot be found out counts as open.
fn is_open(folder: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(folder, c"LOCK", flags, Mode::empty()).map_or(true, |lock| {
        is_locked_anywhere(&File::from(lock)).unwrap_or(true)
    })
}
