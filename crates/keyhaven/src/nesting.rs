//! How folders stand to each other. The source, the store and the home must not stand inside each other, and no key stands in
//! the first two, whichever links and mounts lead there.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use keyhaven_secrets::Remedy;
use keyhaven_source::Stat;

/// The home or the store was found inside the source: a backup would take it, with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NestedError {
    /// The device's home, with its keys.
    #[error(
        "this device's home stands inside the folder that is backed up, at {}: a backup would take it, with its keys. Nothing \
         was read. Move it out of there and give its new place with --home, or unmount it there", .0.display()
    )]
    Home(PathBuf),
    /// The store.
    #[error(
        "the store stands inside the folder that is backed up, at {}: each backup would back up all that were made before. Nothing \
         was read. Move one of them away, or unmount it there", .0.display()
    )]
    Store(PathBuf),
    /// The other way round.
    #[error(
        "the folder that is backed up stands inside the store {}. Nothing was read. Move one of them away, or unmount it there", .0.display()
    )]
    Source(PathBuf),
}

impl NestedError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Home(_) | Self::Store(_) | Self::Source(_) => Remedy::AskUser,
        }
    }
}

/// The 64 digits are not to be written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Into the source.
    #[error(
        "the file with the 64 digits must not stand in the folder that is backed up: whatever takes that takes both"
    )]
    InSource,
    /// Into the store.
    #[error(
        "the file with the 64 digits must not stand in the store: whoever has the store could read it"
    )]
    InStore,
}

impl KeyFileError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::InSource | Self::InStore => Remedy::AskUser,
        }
    }
}

/// BACKUP-3: a file that holds the key is made neither in what is backed up nor in the store, if that is a folder.
pub(crate) fn check_key_file(
    file: &Path,
    source: &Path,
    store: Option<&Path>,
) -> Result<(), KeyFileError> {
    if stands_in(file, source) {
        return Err(KeyFileError::InSource);
    }
    match store {
        Some(store) if stands_in(file, store) => Err(KeyFileError::InStore),
        Some(_) | None => Ok(()),
    }
}

/// Whether a place, which need not be there yet, is a folder or stands inside it.
pub(crate) fn stands_in(place: &Path, folder: &Path) -> bool {
    let (place, folder) = (settled(place), settled(folder));
    // A folder that is mounted at two places has two paths and one number.
    let is_above =
        || Held::open(&folder).is_some_and(|folder| place.ancestors().any(|at| folder.is_at(at)));
    place.starts_with(&folder) || is_above()
}

/// Whether one of two folders is the other or stands inside it.
pub(crate) fn are_nested(one: &Path, other: &Path) -> bool {
    stands_in(one, other) || stands_in(other, one)
}

/// A folder that is held open, so that no other has its number meanwhile.
#[derive(Debug)]
struct Held {
    _open: File,
    device: u64,
    inode: u64,
}

impl Held {
    /// None where it is not there, or may not be read: then its path alone tells.
    fn open(folder: &Path) -> Option<Self> {
        let open = File::open(folder).ok()?;
        let found = open.metadata().ok().filter(Metadata::is_dir)?;
        Some(Self {
            _open: open,
            device: found.dev(),
            inode: found.ino(),
        })
    }

    fn is_at(&self, path: &Path) -> bool {
        let found = std::fs::metadata(path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }

    fn is(&self, stat: &Stat) -> bool {
        (stat.device, stat.inode) == (self.device, self.inode)
    }
}

/// The home and the store of a backup, which must not be met in its source.
#[derive(Debug)]
pub(crate) struct Kept {
    home: Vec<Held>,
    store: Vec<Held>,
}

/// What of a home is as bad to back up as the home.
const OF_HOME: [&str; 3] = ["", "device", "state"];
/// The same of a store.
const OF_STORE: [&str; 3] = ["", "packs", "snapshots"];

impl Kept {
    /// Holds them, unless their paths say already that they stand inside the source, or it in the store.
    pub(crate) fn apart_from(
        source: &Path,
        home: &Path,
        store: Option<&Path>,
    ) -> Result<Self, NestedError> {
        if stands_in(home, source) {
            return Err(NestedError::Home(settled(home)));
        }
        if let Some(store) = store {
            if stands_in(store, source) {
                return Err(NestedError::Store(settled(store)));
            }
            if stands_in(source, store) {
                return Err(NestedError::Source(settled(store)));
            }
        }
        let hold = |folder: &Path, parts: [&str; 3]| {
            let parts = parts
                .into_iter()
                .filter_map(|part| Held::open(&folder.join(part)));
            parts.collect::<Vec<_>>()
        };
        Ok(Self {
            home: hold(home, OF_HOME),
            store: store.map_or_else(Vec::new, |store| hold(store, OF_STORE)),
        })
    }

    /// Whether a folder that a walk through the source came upon is one of them: such a one is mounted there.
    pub(crate) fn check(
        &self,
        stat: &Stat,
        at: impl FnOnce() -> PathBuf,
    ) -> Result<(), NestedError> {
        let is_in = |held: &[Held]| held.iter().any(|held| held.is(stat));
        if is_in(&self.home) {
            return Err(NestedError::Home(at()));
        }
        if is_in(&self.store) {
            return Err(NestedError::Store(at()));
        }
        Ok(())
    }
}

/// Where a folder stands, links followed, also if its last parts are not there yet.
pub(crate) fn settled(folder: &Path) -> PathBuf {
    let mut place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    // What is not there is no link, so the folder above it can be told; what follows may be there again.
    while let Some(at) = first_step_up(&place) {
        place = at;
    }
    place
        .ancestors()
        .find_map(|there| {
            let rest = place.strip_prefix(there).ok()?;
            Some(there.canonicalize().ok()?.join(rest))
        })
        .unwrap_or(place)
}

/// The same place without its first step up (`..`).
fn first_step_up(place: &Path) -> Option<PathBuf> {
    let mut components = place.components();
    let mut before = PathBuf::new();
    loop {
        let component = components.next()?;
        if component == Component::ParentDir {
            break;
        }
        before.push(component);
    }
    let mut before = before.canonicalize().unwrap_or(before);
    before.pop();
    Some(before.join(components.as_path()))
}
