//! The files of a folder, held in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder { mode: u32 },
    File { mode: u32, bytes: Rc<Vec<u8>> },
}

impl Entry {
    /// Bytes of it, if it is a file.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::File { bytes, .. } => Some(bytes.len()),
            Self::Folder { .. } => None,
        }
    }
}

/// Everything in a folder, by its path in it. A folder comes before what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image(BTreeMap<PathBuf, Entry>);

impl Image {
    /// What is in a folder now, but for what stands below `without`.
    pub(crate) fn of(root: &Path, without: &[&str]) -> Self {
        let mut image = Self::default();
        image.read(root, Path::new(""), without);
        image
    }

    fn read(&mut self, root: &Path, at: &Path, without: &[&str]) {
        for entry in fs::read_dir(root.join(at)).unwrap() {
            let path = at.join(entry.unwrap().file_name());
            if without.iter().any(|name| path == Path::new(name)) {
                continue;
            }
            let found = fs::symlink_metadata(root.join(&path)).unwrap();
            let mode = found.mode() & 0o7777;
            if found.is_dir() {
                self.insert(path.clone(), Entry::Folder { mode });
                self.read(root, &path, without);
            } else {
                assert!(found.is_file(), "{} is no file", path.display());
                let bytes = Rc::new(fs::read(root.join(&path)).unwrap());
                self.insert(path, Entry::File { mode, bytes });
            }
        }
    }

    pub(crate) fn insert(&mut self, path: PathBuf, entry: Entry) {
        self.0.insert(path, entry);
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        match self.0.get(Path::new(path))? {
            Entry::File { bytes, .. } => Some(bytes),
            Entry::Folder { .. } => None,
        }
    }

    /// Makes it in an empty folder.
    pub(crate) fn write(&self, root: &Path) {
        for (path, entry) in self.entries() {
            let path = root.join(path);
            let mode = match entry {
                Entry::Folder { mode } => {
                    fs::create_dir(&path).unwrap();
                    mode
                }
                Entry::File { mode, bytes } => {
                    fs::write(&path, bytes.as_slice()).unwrap();
                    mode
                }
            };
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }

    /// Tells it from every other.
    pub(crate) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, entry) in self.entries() {
            let path = path.as_os_str().as_bytes();
            hasher.update(&path.len().to_le_bytes()).update(path);
            if let Entry::File { bytes, .. } = entry {
                hasher.update(&bytes.len().to_le_bytes()).update(bytes);
            }
        }
        hasher.finalize()
    }

    /// Where it differs from another.
    pub(crate) fn differences(&self, other: &Self) -> Vec<PathBuf> {
        let all = self.0.keys().chain(other.0.keys());
        let mut differ: Vec<PathBuf> = all
            .filter(|path| self.0.get(*path) != other.0.get(*path))
            .cloned()
            .collect();
        differ.dedup();
        differ
    }
}
