//! What a walk comes upon.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::key::PathKey;
use crate::sniff::{Companions, Content};
use crate::stat::Stat;

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
    /// A folder could not be listed to its end. What an earlier backup knows in it from here on is not gone, it is unknown.
    CutOff {
        /// What was given last of the folder.
        key: PathKey,
        /// The folder; none is the root.
        folder: Option<PathKey>,
        /// What the file system said.
        kind: io::ErrorKind,
    },
}

impl Item {
    /// Where the item stands.
    #[must_use]
    pub fn key(&self) -> &PathKey {
        match self {
            Self::Regular(regular) => &regular.key,
            Self::Dir { key, .. }
            | Self::Symlink { key, .. }
            | Self::Skipped { key, .. }
            | Self::CutOff { key, .. } => key,
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
    /// It belongs to a database of many files (LevelDB) that another program has open. Such files
    /// make sense only together, and cannot be copied as one state.
    #[error("belongs to a database that another program has open")]
    InUse,
    /// Its folder could be listed up to here, and not to its end.
    #[error("is the last of its folder that could be listed ({0})")]
    CutOff(io::ErrorKind),
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
    pub(crate) key: PathKey,
    pub(crate) stat: Stat,
    pub(crate) path: PathBuf,
    pub(crate) companions: Companions,
    pub(crate) known: Option<Content>,
}

impl Regular {
    /// Where it stands.
    #[must_use]
    pub fn key(&self) -> &PathKey {
        &self.key
    }

    /// What the file system says about it. For a database this is the main file alone, which a
    /// commit to a log leaves as it is: [`Signature`](crate::Signature) tells whether it changed.
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
    /// A database never was a plain file, and is not told by it as long as the caller remembers it as one.
    #[must_use]
    pub fn is_unchanged_plain_file(&self, earlier: &Stat) -> bool {
        !matches!(
            self.known,
            Some(Content::Database | Content::Opaque | Content::Logged | Content::Supplied)
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
