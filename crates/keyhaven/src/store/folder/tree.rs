//! The store's folder, walked one component at a time so that nothing in it leads out of it.
//!
//! Whoever can write to the store (a sync service, a shared disk) may plant links, pipes and
//! devices under the names of objects. So every component is opened relative to the last one
//! without following links, and a file is looked at before and after it is opened.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::fault::is_of_the_disk;
use crate::store::path::{ObjectFolder, ObjectPath, PATH_DEPTH_MAX};

/// Files of a store are their owner's alone, also where the folder is shared.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_MODE: Mode = Mode::RWXU;

const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Entries of the root that are looked at for folders; a hostile store could plant millions.
const UPPER_ENTRIES_MAX: usize = 1_000;

/// An open store folder.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

/// Why a walk through the tree stopped.
#[derive(Debug)]
pub(super) enum WalkError {
    /// The operating system failed.
    Os(Errno),
    /// More entries than the limit.
    TooMany,
}

impl From<Errno> for WalkError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

/// What stands under an object's name.
pub(super) enum Found {
    /// A regular file of so many bytes.
    File(File, u64),
    /// A link, pipe, folder or device.
    SomethingElse,
}

impl Tree {
    /// Opens the store's folder. The path itself is the person's own and may lead through links.
    pub(super) fn open(path: &std::path::Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map(|root| Self { root })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether the store's folder was removed while it was open.
    pub(super) fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.root).map_or(true, |stat| stat.st_nlink == 0)
    }

    /// Opens `folder`; for the root this is a second handle on it.
    pub(super) fn open_folder(&self, folder: &ObjectFolder) -> Result<OwnedFd, Errno> {
        let mut at = None;
        for component in folder.components() {
            let base = at.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
            at = Some(open_below(base, component)?);
        }
        at.map_or_else(|| open_below(self.root.as_fd(), "."), Ok)
    }

    /// Opens `folder`, making what is missing. `made` hears of each folder that got a new entry.
    pub(super) fn make_folder(
        &self,
        folder: &ObjectFolder,
        made: &mut dyn FnMut(ObjectFolder),
    ) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut path = String::new();
        for component in folder.components() {
            let base = at.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
            let next = match open_below(base, component) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(base, component, FOLDER_MODE) {
                        // Another writer was quicker: the folder is there all the same.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    if let Ok(parent) = ObjectFolder::parse(&path) {
                        made(parent);
                    }
                    open_below(base, component)?
                }
                other => other?,
            };
            at = Some(next);
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(component);
        }
        at.map_or_else(|| open_below(self.root.as_fd(), "."), Ok)
    }

    /// Opens an object for reading. Never waits for a pipe, never follows a link.
    pub(super) fn open_object(&self, path: &ObjectPath) -> Result<Found, Errno> {
        let folder = match self.open_folder(&path.folder()) {
            Ok(folder) => folder,
            // A link or a file stands where a folder should be.
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Found::SomethingElse),
            Err(errno) => return Err(errno),
        };
        let stat = rustix::fs::statat(&folder, path.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Found::SomethingElse);
        }
        // Between the look and the opening the file may have become a pipe: NONBLOCK keeps the
        // opening from waiting, and the second look finds it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&folder, path.name(), flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::LOOP) => return Ok(Found::SomethingElse),
            Err(errno) => return Err(errno),
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Found::SomethingElse);
        }
        Ok(Found::File(file, u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Whether a folder stands under an object's name. Anything else gives way to the object.
    pub(super) fn is_folder(&self, path: &ObjectPath) -> bool {
        self.open_folder(&path.folder())
            .and_then(|folder| rustix::fs::statat(&folder, path.name(), AtFlags::SYMLINK_NOFOLLOW))
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// Deletes an object; tells whether there was one.
    pub(super) fn unlink(&self, path: &ObjectPath) -> Result<bool, Errno> {
        let folder = match self.open_folder(&path.folder()) {
            Err(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        match rustix::fs::unlinkat(&folder, path.name(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Visits every regular file in and below `folder` whose name an object may have.
    pub(super) fn visit(
        &self,
        folder: &ObjectFolder,
        entries_max: u64,
        each: &mut dyn FnMut(ObjectPath, u64) -> ControlFlow<()>,
    ) -> Result<(), WalkError> {
        let mut entries: u64 = 0;
        // Depth first; what waits are names, never open folders. The depth of an object's path is
        // bounded, so a chain of folders cannot lead on for ever.
        let mut waiting = vec![folder.clone()];
        while let Some(folder) = waiting.pop() {
            let fd = match self.open_folder(&folder) {
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
                other => other?,
            };
            for entry in Dir::read_from(&fd)? {
                let entry = entry?;
                entries = entries.saturating_add(1);
                if entries > entries_max {
                    return Err(WalkError::TooMany);
                }
                let name = entry.file_name().to_str();
                let Some(path) = name.ok().and_then(|name| folder.object(name).ok()) else {
                    continue;
                };
                let stat = match rustix::fs::statat(&fd, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    // Its name is there and nothing else. Whoever wants it learns why.
                    Err(errno)
                        if is_of_the_disk(errno) && entry.file_type() == FileType::RegularFile =>
                    {
                        if each(path, 0).is_break() {
                            return Ok(());
                        }
                        continue;
                    }
                    other => other?,
                };
                let kind = FileType::from_raw_mode(stat.st_mode);
                if kind == FileType::Directory {
                    if path.components().count() < PATH_DEPTH_MAX
                        && let Ok(below) = ObjectFolder::parse(path.as_str())
                    {
                        waiting.push(below);
                    }
                } else if kind == FileType::RegularFile {
                    let len = u64::try_from(stat.st_size).unwrap_or(0);
                    if each(path, len).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The root and the folders in it that objects may stand in, not what is below them.
    pub(super) fn upper_folders(&self) -> Result<Vec<ObjectFolder>, Errno> {
        let mut folders = vec![ObjectFolder::root()];
        for entry in Dir::read_from(&self.root)?.take(UPPER_ENTRIES_MAX) {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            let Some(folder) = name.and_then(|name| ObjectFolder::parse(name).ok()) else {
                continue;
            };
            match self.open_folder(&folder) {
                Ok(_) => folders.push(folder),
                // A file, a link, one that is gone by now, or one that is not ours.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT | Errno::ACCESS) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(folders)
    }

    /// Whether the folder holds nothing but what we ourselves leave in it.
    pub(super) fn is_empty(&self, ours: &str) -> Result<bool, Errno> {
        for entry in Dir::read_from(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            // A fresh ext4 file system has this folder, and nobody means it as a file of theirs.
            if !matches!(name, b"." | b".." | b"lost+found") && name != ours.as_bytes() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn open_below(base: BorrowedFd<'_>, component: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(base, component, FOLDER_FLAGS, Mode::empty())
}

/// Makes `name` below `base` if it is missing, and opens it.
pub(super) fn make_private(base: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(base, name, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => open_below(base, name),
        Err(errno) => Err(errno),
    }
}
