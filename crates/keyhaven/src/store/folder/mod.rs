//! A store in a folder: another disk, a stick, a folder that some service carries elsewhere.

mod fault;
mod session;
mod syncer;
#[cfg(test)]
mod tests;
mod tree;

use std::fs::File;
use std::io::Write;
use std::ops::{ControlFlow, Range};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use keyhaven_repo::names::{SNAPSHOTS_DIR, SnapshotName};
use rustix::fs::Advice;
use rustix::io::Errno;

use self::fault::Place;
use self::session::{SPOOL, Session};
use self::syncer::{FlushFn, Syncer, Written};
use self::tree::{Found, Tree, WalkError};
use super::body::Body;
use super::error::{Action, StoreError};
use super::path::{ObjectFolder, ObjectPath};
use super::{LISTED_OBJECTS_MAX, Listed, Store};

/// From this size on, writing to the disk is begun before anybody asks for a flush.
const EARLY_WRITE_BYTES_MIN: u64 = 64 << 10;

/// Objects that are tried when one cannot be read, to know whether its disk is there.
const OTHERS_TRIED_MAX: u32 = 64;

/// A file system may keep smaller files beside their names, where they outlive their disk in memory.
const OTHER_BYTES_MIN: u64 = 64 << 10;

/// Pieces in which a spooled file is copied.
const COPY_BYTES: usize = 256 << 10;

/// A folder as a store.
#[derive(Debug)]
pub struct FolderStore {
    path: PathBuf,
    place: Place,
    tree: Arc<Tree>,
    flush: FlushFn,
    // A store that is only read begins no session, so it may stand on a read-only disk.
    beginning: Mutex<()>,
    writing: OnceLock<Syncer>,
}

impl FolderStore {
    /// Opens the store in the folder `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::NotAFolder`], [`StoreError::NotAStore`],
    /// [`StoreError::Denied`], and others of the operating system.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::at(path)?;
        match store.tree.open_object(&ObjectPath::marker()) {
            Ok(Found::File(..)) => Ok(store),
            // The snapshots say which store it is, too.
            Ok(Found::SomethingElse) | Err(Errno::NOENT) if store.has_snapshots() => Ok(store),
            Ok(Found::SomethingElse) | Err(Errno::NOENT) => Err(StoreError::NotAStore {
                place: store.place.text(),
            }),
            Err(errno) => Err(store.place.fault(Action::Open, errno)),
        }
    }

    /// Prepares the folder `path` for a new store, making it (not its parents) if it is missing.
    /// It becomes a store when its marker is put.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotEmpty`], [`StoreError::AlreadyAStore`], and as [`FolderStore::open`].
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let place = Place::new(path);
        match rustix::fs::mkdir(path, rustix::fs::Mode::RWXU) {
            Ok(()) => {
                flush_parent(path).map_err(|error| place.io_fault(Action::Open, &error))?;
            }
            // One that was killed may have made it. Whose folder it stands in is nothing to refuse it for.
            Err(Errno::EXIST) => drop(flush_parent(path)),
            Err(Errno::NOENT) => {
                return Err(StoreError::Missing {
                    place: place.text(),
                });
            }
            Err(errno) => return Err(place.fault(Action::Open, errno)),
        }
        match Self::open(path) {
            Ok(store) => Err(StoreError::AlreadyAStore {
                place: store.place.text(),
            }),
            Err(StoreError::NotAStore { .. }) => {
                let store = Self::at(path)?;
                match store.tree.is_empty(SPOOL) {
                    Ok(true) => Ok(store),
                    Ok(false) => Err(StoreError::NotEmpty {
                        place: store.place.text(),
                    }),
                    Err(errno) => Err(store.place.fault(Action::Open, errno)),
                }
            }
            Err(other) => Err(other),
        }
    }

    /// A folder of this device's own, made if it is missing and closed to others, that uses a
    /// store's care for its files without being one: the spool.
    pub(crate) fn private(path: &Path) -> Result<Self, StoreError> {
        let place = Place::new(path);
        match rustix::fs::mkdir(path, rustix::fs::Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(place.fault(Action::Open, errno)),
        }
        let store = Self::at(path)?;
        rustix::fs::fchmod(store.tree.root(), rustix::fs::Mode::RWXU)
            .map_err(|errno| place.fault(Action::Open, errno))?;
        Ok(store)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(path: &Path) -> Result<Self, StoreError> {
        let place = Place::new(path);
        let tree = Tree::open(path).map_err(|errno| match errno {
            Errno::NOENT => StoreError::Missing {
                place: place.text(),
            },
            Errno::NOTDIR => StoreError::NotAFolder {
                place: place.text(),
            },
            errno => place.fault(Action::Open, errno),
        })?;
        Ok(Self {
            path: path.to_owned(),
            place,
            tree: Arc::new(tree),
            flush: syncer::flush,
            beginning: Mutex::new(()),
            writing: OnceLock::new(),
        })
    }

    fn has_snapshots(&self) -> bool {
        let mut any = false;
        let Ok(snapshots) = ObjectFolder::parse(SNAPSHOTS_DIR) else {
            return any;
        };
        let visited = self
            .tree
            .visit(&snapshots, LISTED_OBJECTS_MAX, &mut |path, _| {
                any = SnapshotName::parse_path(path.as_str()).is_ok();
                if any {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        visited.is_ok() && any
    }

    /// Flushes the folders whose names and entries stand here already.
    ///
    /// BACKUP-2: a run that was killed may have made them and flushed nothing. Packs that anything refers to were
    /// flushed before that; the folders that they stand in, and snapshots, may not have been.
    fn flush_found(&self) -> Result<(), StoreError> {
        let flushed = self.tree.upper_folders().and_then(|found| {
            let mut folders = found.iter();
            folders.try_for_each(|folder| (self.flush)(self.tree.open_folder(folder)?.as_fd()))
        });
        flushed.map_err(|errno| self.place.fault(Action::Flush, errno))
    }

    /// The session and its threads, begun at the first write.
    fn writing(&self) -> Result<&Syncer, StoreError> {
        if let Some(syncer) = self.writing.get() {
            return Ok(syncer);
        }
        let _beginning = self
            .beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(syncer) = self.writing.get() {
            return Ok(syncer);
        }
        let session =
            Session::begin(&self.tree).map_err(|errno| self.place.fault(Action::Put, errno))?;
        let (tree, place) = (Arc::clone(&self.tree), self.place.clone());
        let syncer = Syncer::begin(tree, session, place, self.flush)?;
        // BACKUP-2: what stands here already is flushed with what comes, as in `flush_found`.
        let found = self.tree.upper_folders();
        let found = found.map_err(|errno| self.place.fault(Action::Put, errno))?;
        found.into_iter().for_each(|folder| syncer.touch(folder));
        Ok(self.writing.get_or_init(|| syncer))
    }

    fn settle(&self, path: Option<&ObjectPath>) -> Result<(), StoreError> {
        self.writing
            .get()
            .map_or(Ok(()), |syncer| syncer.settle(path))
    }

    fn open_object(&self, path: &ObjectPath) -> Result<(File, u64), StoreError> {
        self.settle(Some(path))?;
        match self.tree.open_object(path) {
            Ok(Found::File(file, len)) => Ok((file, len)),
            Ok(Found::SomethingElse) => Err(StoreError::NotAnObject { path: path.clone() }),
            // An object that is not there, or nothing that is there: the difference matters to
            // somebody who is about to be told that a backup is damaged.
            Err(Errno::NOENT) if self.tree.is_gone() => Err(StoreError::Missing {
                place: self.place.text(),
            }),
            Err(Errno::NOENT) => Err(StoreError::NotFound { path: path.clone() }),
            Err(errno) => Err(self.place.fault_at(path, errno)),
        }
    }

    /// Reads of one object. A fault of the disk that a second try meets again is damage of that object, as long as the
    /// disk gives others; else the disk is gone, and no object may be called damaged for it.
    fn twice<T>(
        &self,
        path: &ObjectPath,
        mut read: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let first = read();
        if !matches!(first, Err(StoreError::Unreadable { .. })) {
            return first;
        }
        match read() {
            Err(StoreError::Unreadable { .. }) if self.gives_nothing_but(path) => {
                Err(StoreError::DiskGone {
                    place: self.place.text(),
                })
            }
            done => done,
        }
    }

    fn read(
        &self,
        path: &ObjectPath,
        file: &File,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), StoreError> {
        let mut done = 0_usize;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            match file.read_at(rest, at) {
                // Somebody cut the file while it was read.
                Ok(0) => {
                    return Err(StoreError::WrongLength {
                        path: path.clone(),
                        expected: offset.saturating_add(out.len() as u64),
                        got: at,
                    });
                }
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(match Errno::from_io_error(&error) {
                        Some(errno) => self.place.fault_at(path, errno),
                        None => self.place.io_fault(Action::Get, &error),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether others were tried beside this object, and the disk gave none of them.
    fn gives_nothing_but(&self, path: &ObjectPath) -> bool {
        let (mut tried, mut given) = (0, false);
        let root = ObjectFolder::root();
        let listed = self
            .tree
            .visit(&root, LISTED_OBJECTS_MAX, &mut |other, len| {
                if other == *path || len < OTHER_BYTES_MIN {
                    return ControlFlow::Continue(());
                }
                let Some(is_there) = self.is_on_the_disk(&other) else {
                    return ControlFlow::Continue(());
                };
                given = is_there;
                tried = u32::saturating_add(tried, 1);
                if given || tried == OTHERS_TRIED_MAX {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        !given && (tried > 0 || listed.is_err())
    }

    /// Whether the disk itself gives the beginning of an object, and not the memory that keeps it. Of one that was deleted
    /// meanwhile there is nothing to say.
    fn is_on_the_disk(&self, path: &ObjectPath) -> Option<bool> {
        let file = match self.tree.open_object(path) {
            Ok(Found::File(file, _)) => file,
            Ok(Found::SomethingElse) | Err(Errno::NOENT) => return None,
            Err(_) => return Some(false),
        };
        // It is advice: where it is not taken, the disk is believed to be there.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        Some(matches!(file.read_at(&mut [0], 0), Ok(1)))
    }

    fn sized(&self, fault: StoreError, needed: u64) -> StoreError {
        self.place.sized(fault, needed, self.tree.root())
    }
}

impl Store for FolderStore {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        let syncer = self.writing()?;
        // Once it is written there is no way back: a session that could not give one object its name has failed.
        if self.tree.is_folder(path) {
            return Err(StoreError::NotAnObject { path: path.clone() });
        }
        let len = body.len();
        let (mut file, name) = syncer
            .session()
            .file()
            .map_err(|errno| self.sized(self.place.fault(Action::Put, errno), len))?;
        let written = write_body(&mut file, body).map_err(|error| match error {
            WriteError::Io(error) => self.sized(self.place.io_fault(Action::Put, &error), len),
            WriteError::Short(got) => StoreError::WrongLength {
                path: path.clone(),
                expected: len,
                got,
            },
        });
        if let Err(error) = written {
            syncer.session().discard(&name);
            return Err(error);
        }
        if len >= EARLY_WRITE_BYTES_MIN {
            // On Linux this starts writing the file's pages out without waiting for them, which is
            // what a later flush would otherwise begin with. It is advice: a refusal is no error.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
        syncer.push(Written {
            file,
            name,
            path: path.clone(),
            len,
        })
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.twice(path, || {
            let (file, len) = self.open_object(path)?;
            let range = range.clone().unwrap_or(0..len);
            let bytes = super::check_range(path, &range, len)?;
            let mut out = vec![0; bytes];
            self.read(path, &file, range.start, &mut out)?;
            Ok(out)
        })
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.twice(path, || {
            let (file, len) = self.open_object(path)?;
            let end = offset.saturating_add(out.len() as u64);
            if end > len {
                return Err(StoreError::WrongLength {
                    path: path.clone(),
                    expected: end,
                    got: len,
                });
            }
            self.read(path, &file, offset, out)
        })
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.twice(path, || self.open_object(path).map(|(_, len)| len))
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.settle(None)?;
        if self.tree.is_gone() {
            return Err(StoreError::Missing {
                place: self.place.text(),
            });
        }
        self.tree
            .visit(folder, LISTED_OBJECTS_MAX, &mut |path, len| {
                each(Listed { path, len })
            })
            .map_err(|error| match error {
                WalkError::Os(errno) => self.place.fault(Action::List, errno),
                WalkError::TooMany => StoreError::ListTooLong {
                    objects_max: LISTED_OBJECTS_MAX,
                },
            })
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let syncer = self.writing()?;
        syncer.settle(Some(path))?;
        match self.tree.unlink(path) {
            Ok(true) => {
                syncer.touch(path.folder());
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(Errno::ISDIR | Errno::LOOP | Errno::NOTDIR) => {
                Err(StoreError::NotAnObject { path: path.clone() })
            }
            Err(errno) => Err(self.place.fault(Action::Delete, errno)),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        match self.writing.get() {
            Some(syncer) => syncer.flush(),
            None => self.flush_found(),
        }
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.writing()?.touch(path.folder());
        Ok(())
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.place.free(self.tree.root()).map(Some)
    }

    fn describe(&self) -> String {
        self.place.text()
    }
}

/// Makes a folder's own name outlive a loss of power.
fn flush_parent(path: &Path) -> std::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = File::open(parent)?;
    Ok(syncer::flush(parent.as_fd())?)
}

enum WriteError {
    Io(std::io::Error),
    Short(u64),
}

fn write_body(out: &mut File, body: Body<'_>) -> Result<(), WriteError> {
    match body {
        Body::Bytes(bytes) => out.write_all(bytes).map_err(WriteError::Io),
        Body::Buffer(buffer) => out.write_all(buffer.as_slice()).map_err(WriteError::Io),
        Body::Shared(bytes) => out.write_all(&bytes).map_err(WriteError::Io),
        Body::File { file, len } => {
            let mut piece = vec![0; COPY_BYTES];
            let mut done = 0_u64;
            while done < len {
                let want = usize::try_from(len.saturating_sub(done)).unwrap_or(COPY_BYTES);
                let piece = piece.get_mut(..want.min(COPY_BYTES)).unwrap_or_default();
                match file.read_at(piece, done) {
                    Ok(0) => return Err(WriteError::Short(done)),
                    Ok(read) => {
                        out.write_all(piece.get(..read).unwrap_or_default())
                            .map_err(WriteError::Io)?;
                        done = done.saturating_add(read as u64);
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(WriteError::Io(error)),
                }
            }
            Ok(())
        }
    }
}

impl Drop for FolderStore {
    fn drop(&mut self) {
        // The threads finish what was put; the session's lock goes last.
        drop(self.writing.take());
    }
}
