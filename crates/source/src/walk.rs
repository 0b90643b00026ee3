//! The sorted, streaming walk over what is backed up.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstat};

use crate::folder::{Folder, Seen};
use crate::item::{Item, SkipReason};
use crate::key::PathKey;
use crate::leveldb::Watch;
use crate::names::CutOff;
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
    /// About how many bytes of memory the names of one folder may take. A folder of more names is listed again for the next of
    /// them. Names like a database's log or journal do not count: they are all kept.
    pub names_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        // Chat folders nest some ten levels; 128 descriptors fit in every system's limit.
        Self {
            exclude: BTreeSet::new(),
            supplied: BTreeSet::new(),
            stay_on_device: false,
            depth_max: 128,
            // Some 250,000 photos of one folder.
            names_bytes_max: 8 << 20,
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
/// Memory grows with the depth of folders: each on the way down to the current item holds a limited part of its names. What cannot be read is reported as an item, and the walk goes on.
///
/// # Errors
/// When the root itself cannot be listed.
pub fn walk(root: &Path, rules: &Rules) -> Result<Walk, WalkError> {
    let error = |error: rustix::io::Errno| WalkError::from_io(&error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(error)?;
    let stat = Stat::from(&fstat(&fd).map_err(error)?);
    let folder = Folder::list(fd, None, root.to_owned(), rules).map_err(|reason| {
        if let SkipReason::Io(kind) = reason {
            WalkError::Io(kind)
        } else {
            WalkError::Denied
        }
    })?;
    let mut walk = Walk {
        rules: rules.clone(),
        device: stat.device,
        folders: Vec::new(),
        watch: Watch::default(),
    };
    walk.go_into(folder);
    Ok(walk)
}

/// A walk under way: see [`walk`].
#[derive(Debug)]
pub struct Walk {
    rules: Rules,
    device: u64,
    folders: Vec<Folder>,
    watch: Watch,
}

impl Walk {
    /// A watch over the folders of this walk whose files make sense only together.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn go_into(&mut self, folder: Folder) {
        self.watch.extend(folder.leveldb.clone());
        self.folders.push(folder);
    }
}

impl Iterator for Walk {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let depth = self.folders.len();
            let folder = self.folders.last_mut()?;
            let name = match folder.next() {
                Ok(Some(name)) => name,
                Ok(None) => {
                    self.folders.pop();
                    continue;
                }
                Err(CutOff { after, error }) => {
                    let folder = self.folders.pop()?.key;
                    let key = PathKey::child(folder.as_ref(), &after);
                    let kind = std::io::Error::from(error).kind();
                    return Some(Item::CutOff { key, folder, kind });
                }
            };
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
                    return Some(match folder.enter(&name, &key, &stat, &self.rules) {
                        Ok(below) => {
                            self.go_into(below);
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
