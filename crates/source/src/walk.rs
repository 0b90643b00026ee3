//! The sorted, streaming walk over what is backed up.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};

use crate::key::PathKey;
use crate::names::Names;
use crate::sniff::{Companions, Content, Siblings};
use crate::stat::Stat;

/// What a walk leaves out, and where it stops.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Items that are left out, with all below them. Each is reported as skipped.
    pub exclude: BTreeSet<PathKey>,
    /// Databases whose pages the caller supplies from its own connection. They are never opened
    /// by the walk: closing a second descriptor of a database drops the locks of the first.
    pub supplied: BTreeSet<PathKey>,
    /// Whether folders on which another file system is mounted are left out.
    pub stay_on_device: bool,
    /// How deep folders may nest. Each level costs one file descriptor.
    pub depth_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        // Chat folders nest some ten levels; 128 descriptors fit in every system's limit.
        Self {
            exclude: BTreeSet::new(),
            supplied: BTreeSet::new(),
            stay_on_device: false,
            depth_max: 128,
        }
    }
}

/// One item of a walk.
#[derive(Debug)]
pub enum Item {
    /// A file or a database: [`Regular::content`] tells which.
    Regular(Regular),
    /// A folder. What it holds follows.
    Dir {
        /// Where it stands.
        key: PathKey,
        /// What the file system says about it.
        stat: Stat,
    },
    /// A symbolic link. It is never followed.
    Symlink {
        /// Where it stands.
        key: PathKey,
        /// What the file system says about it.
        stat: Stat,
        /// What it points to, as it is written in the link.
        target: OsString,
    },
    /// Something that is not backed up. When it is a folder, nothing below it was seen: what an
    /// earlier backup knows there is not gone, it is unknown.
    Skipped {
        /// Where it stands.
        key: PathKey,
        /// Why.
        reason: SkipReason,
    },
}

impl Item {
    /// Where the item stands.
    #[must_use]
    pub fn key(&self) -> &PathKey {
        match self {
            Self::Regular(regular) => &regular.key,
            Self::Dir { key, .. } | Self::Symlink { key, .. } | Self::Skipped { key, .. } => key,
        }
    }
}

/// Why an item is not backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// A named pipe holds no content.
    #[error("is a named pipe")]
    Pipe,
    /// A socket holds no content.
    #[error("is a socket")]
    Socket,
    /// A device is not content of this folder.
    #[error("is a device")]
    Device,
    /// The file system names a type that is not known here.
    #[error("is of an unknown type")]
    UnknownType,
    /// It was listed and gone a moment later.
    #[error("vanished while it was looked at")]
    Vanished,
    /// It was replaced by something else between two looks.
    #[error("was replaced while it was looked at")]
    Replaced,
    /// We may not read it.
    #[error("may not be read")]
    Denied,
    /// The disk or the file system failed.
    #[error("could not be read ({0})")]
    Io(io::ErrorKind),
    /// Folders nest deeper than the rules allow.
    #[error("nests deeper than the limit")]
    TooDeep,
    /// Another file system is mounted there and the rules say to stay.
    #[error("is on another file system")]
    OtherDevice,
    /// The rules leave it out.
    #[error("is left out by the rules")]
    Excluded,
}

impl SkipReason {
    pub(crate) fn from_io(error: &io::Error) -> Self {
        // `O_NOFOLLOW` on what has become a link, `O_DIRECTORY` on what is no folder any more.
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return Self::Replaced;
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's enum grows"
        )]
        match error.kind() {
            io::ErrorKind::NotFound => Self::Vanished,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::NotADirectory => Self::Replaced,
            kind => Self::Io(kind),
        }
    }
}

/// A file or a database, not yet told apart.
#[derive(Debug)]
pub struct Regular {
    key: PathKey,
    stat: Stat,
    path: PathBuf,
    companions: Companions,
    known: Option<Content>,
}

impl Regular {
    /// Where it stands.
    #[must_use]
    pub fn key(&self) -> &PathKey {
        &self.key
    }

    /// What the file system says about it. For a database this is the main file alone.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Where it can be opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file stands beside it that is named like a database's log, index or journal.
    #[must_use]
    pub fn has_companions(&self) -> bool {
        self.companions.any()
    }

    /// Whether it is certainly the plain file with these attributes that an earlier backup read.
    /// This opens nothing, and so costs nothing in a folder of 200,000 photos.
    ///
    /// A database is never told by this: a commit to its log leaves the main file untouched.
    #[must_use]
    pub fn is_unchanged_plain_file(&self, earlier: &Stat) -> bool {
        !matches!(
            self.known,
            Some(Content::Database | Content::Opaque | Content::Supplied)
        ) && !self.has_companions()
            && self.stat.is_unchanged_since(earlier)
    }

    /// What it is, told by its content: this opens the file, reads its first bytes and closes it.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was listed any more.
    pub fn content(&self) -> Result<Content, SkipReason> {
        match self.known {
            Some(content) => Ok(content),
            None => crate::sniff::sniff(&self.path, &self.stat, self.companions),
        }
    }
}

/// Why a walk could not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// Nothing stands at the root: the disk is not mounted, or the folder was moved or deleted.
    #[error("the folder to back up is not there")]
    Missing,
    /// What stands at the root is no folder.
    #[error("what is to be backed up is not a folder")]
    NotAFolder,
    /// We may not read the root.
    #[error("the folder to back up may not be read")]
    Denied,
    /// The disk or the file system failed.
    #[error("the folder to back up cannot be read ({0})")]
    Io(io::ErrorKind),
}

impl WalkError {
    fn from_io(error: &io::Error) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's enum grows"
        )]
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::NotADirectory => Self::NotAFolder,
            io::ErrorKind::PermissionDenied => Self::Denied,
            kind => Self::Io(kind),
        }
    }

    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> keyhaven_secrets::Remedy {
        match self {
            Self::Missing | Self::NotAFolder | Self::Denied => keyhaven_secrets::Remedy::AskUser,
            Self::Io(_) => keyhaven_secrets::Remedy::RetryLater,
        }
    }
}

/// Walks all below `root` in the bytewise order of path keys. Symbolic links are not followed,
/// except that the root itself may be reached through one.
///
/// Memory grows with the names of the folders on the way down to the current item, and with
/// nothing else. What cannot be read is reported as an item, and the walk goes on.
///
/// # Errors
/// When the root itself cannot be listed.
pub fn walk(root: &Path, rules: &Rules) -> Result<Walk, WalkError> {
    let error = |error: rustix::io::Errno| WalkError::from_io(&error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(error)?;
    let stat = Stat::from(&rustix::fs::fstat(&fd).map_err(error)?);
    let folder = Folder::list(fd, None, root.to_owned()).map_err(|reason| {
        if let SkipReason::Io(kind) = reason {
            WalkError::Io(kind)
        } else {
            WalkError::Denied
        }
    })?;
    Ok(Walk {
        rules: rules.clone(),
        device: stat.device,
        folders: vec![folder],
    })
}

/// A walk under way: see [`walk`].
#[derive(Debug)]
pub struct Walk {
    rules: Rules,
    device: u64,
    folders: Vec<Folder>,
}

impl Iterator for Walk {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let depth = self.folders.len();
            let folder = self.folders.last_mut()?;
            let Some(name) = folder.names.next() else {
                self.folders.pop();
                continue;
            };
            let name = name.to_vec();
            let key = PathKey::child(folder.key.as_ref(), &name);
            if self.rules.exclude.contains(&key) {
                return Some(Item::Skipped {
                    key,
                    reason: SkipReason::Excluded,
                });
            }
            match folder.look(&name, &key, &self.rules) {
                Ok(Seen::Companion) => {}
                Ok(Seen::Regular(regular)) => return Some(Item::Regular(regular)),
                Ok(Seen::Symlink(stat, target)) => {
                    return Some(Item::Symlink { key, stat, target });
                }
                Ok(Seen::Dir(stat)) => {
                    if self.rules.stay_on_device && stat.device != self.device {
                        return Some(Item::Skipped {
                            key,
                            reason: SkipReason::OtherDevice,
                        });
                    }
                    if depth >= self.rules.depth_max {
                        return Some(Item::Skipped {
                            key,
                            reason: SkipReason::TooDeep,
                        });
                    }
                    return Some(match folder.enter(&name, &key, &stat) {
                        Ok(below) => {
                            self.folders.push(below);
                            Item::Dir { key, stat }
                        }
                        Err(reason) => Item::Skipped { key, reason },
                    });
                }
                Err(reason) => return Some(Item::Skipped { key, reason }),
            }
        }
    }
}

/// What stands under one name.
enum Seen {
    Regular(Regular),
    Dir(Stat),
    Symlink(Stat, OsString),
    /// A log, index or journal: part of the database beside it.
    Companion,
}

/// A folder that is being walked.
#[derive(Debug)]
struct Folder {
    fd: OwnedFd,
    key: Option<PathKey>,
    path: PathBuf,
    names: Names,
    /// The databases of this folder that have companions, so that those can be told.
    databases: BTreeSet<Vec<u8>>,
}

impl Folder {
    fn list(fd: OwnedFd, key: Option<PathKey>, path: PathBuf) -> Result<Self, SkipReason> {
        let names = read_names(&fd).map_err(|error| SkipReason::from_io(&error.into()))?;
        Ok(Self {
            fd,
            key,
            path,
            names,
            databases: BTreeSet::new(),
        })
    }

    fn enter(&self, name: &[u8], key: &PathKey, stat: &Stat) -> Result<Self, SkipReason> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let reason = |error: rustix::io::Errno| SkipReason::from_io(&error.into());
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(reason)?;
        let opened = Stat::from(&rustix::fs::fstat(&fd).map_err(reason)?);
        if !opened.is_same_file(stat) {
            return Err(SkipReason::Replaced);
        }
        Self::list(
            fd,
            Some(key.clone()),
            self.path.join(OsStr::from_bytes(name)),
        )
    }

    fn look(&mut self, name: &[u8], key: &PathKey, rules: &Rules) -> Result<Seen, SkipReason> {
        let reason = |error: rustix::io::Errno| SkipReason::from_io(&error.into());
        let raw = statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(reason)?;
        let stat = Stat::from(&raw);
        match FileType::from_raw_mode(raw.st_mode) {
            FileType::RegularFile => self.regular(name, key, stat, rules),
            FileType::Directory => Ok(Seen::Dir(stat)),
            FileType::Symlink => {
                let target = readlinkat(&self.fd, name, Vec::new()).map_err(reason)?;
                Ok(Seen::Symlink(stat, OsString::from_vec(target.into_bytes())))
            }
            FileType::Fifo => Err(SkipReason::Pipe),
            FileType::Socket => Err(SkipReason::Socket),
            FileType::CharacterDevice | FileType::BlockDevice => Err(SkipReason::Device),
            FileType::Unknown => Err(SkipReason::UnknownType),
        }
    }

    fn regular(
        &mut self,
        name: &[u8],
        key: &PathKey,
        stat: Stat,
        rules: &Rules,
    ) -> Result<Seen, SkipReason> {
        if self.is_companion(name) {
            return Ok(Seen::Companion);
        }
        let companions = Companions::of(name, &self.names);
        let path = self.path.join(OsStr::from_bytes(name));
        // Only where a companion stands beside it must the content be known now, to tell whether
        // the companion is an item of its own. That is rare, so that a folder of photos costs none.
        let known = if rules.supplied.contains(key) {
            Some(Content::Supplied)
        } else if companions.any() {
            Some(crate::sniff::sniff(&path, &stat, companions)?)
        } else {
            None
        };
        if companions.any() && known.is_some_and(|content| content != Content::File) {
            self.databases.insert(name.to_vec());
        }
        Ok(Seen::Regular(Regular {
            key: key.clone(),
            stat,
            path,
            companions,
            known,
        }))
    }

    fn is_companion(&self, name: &[u8]) -> bool {
        crate::sniff::owner_of(name).is_some_and(|owner| self.databases.contains(owner))
    }
}

impl Siblings for Names {
    fn has(&self, name: &[u8]) -> bool {
        self.contains(name)
    }

    fn may_have_companions(&self) -> bool {
        self.has_companion_names()
    }
}

fn read_names(fd: &OwnedFd) -> rustix::io::Result<Names> {
    let mut names = Names::default();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Opens a regular file for reading and makes sure that it is the one that was listed. Never
/// follows a link in the last place, and never hangs on a pipe that has taken the file's place.
pub(crate) fn open_listed(path: &Path, listed: &Stat) -> Result<File, SkipReason> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reason = |error: rustix::io::Errno| SkipReason::from_io(&error.into());
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(reason)?;
    let raw = rustix::fs::fstat(&fd).map_err(reason)?;
    let is_file = FileType::from_raw_mode(raw.st_mode) == FileType::RegularFile;
    if is_file && Stat::from(&raw).is_same_file(listed) {
        Ok(File::from(fd))
    } else {
        Err(SkipReason::Replaced)
    }
}
