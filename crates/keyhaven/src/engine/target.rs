//! The folder that is restored into.
//!
//! Nothing is ever written outside it: paths come out of the manifest as checked components, and no
//! link below the folder is followed. A file gets its name only when all its bytes are there, were checked
//! and are on the disk ([`super::naming`]), so a restore that is cut off leaves whole files and can be run again.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyhaven_repo::entry::Stat;
use keyhaven_repo::hash::ContentHasher;
use keyhaven_repo::path::Key;
use rustix::io::Errno;

use super::companions;
use super::crew::beside;
use super::error::{Misfit, RestoreError};
use super::lost::{Lost, LostPart};
use super::standing::{Names, Standing, has_bytes_of, is_there, name_anew};

/// How a file's name ends while it is being written.
const PART: &str = ".keyhaven-part";
const PART_DOMAIN: &[u8] = b"keyhaven v1 part\0";
const PART_DIGEST_BYTES: usize = 16;

/// The path of a key, relative to the source or the target.
pub(crate) fn relative(key: &Key) -> PathBuf {
    key.components().map(OsStr::from_bytes).collect()
}

/// A folder that is restored into.
#[derive(Debug)]
pub(crate) struct Target {
    root: PathBuf,
    /// Held from the first write on: a flush tells of what failed to reach the disk since this was opened.
    folder: File,
    parts: ContentHasher,
    names: Names,
}

/// A file that is being written and has no name of its own yet.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: File,
    unnamed: Unnamed,
}

/// A file that has all its bytes, its mode and its time, and no name of its own yet.
#[derive(Debug)]
pub(crate) struct Whole {
    unnamed: Unnamed,
    bytes: u64,
}

/// The same, once all of it is on the disk: it may have its name.
#[derive(Debug)]
pub(crate) struct Durable(Unnamed);

/// Where a file stands, and where it belongs. It is removed if it never gets there.
#[derive(Debug)]
struct Unnamed {
    part: PathBuf,
    key: Key,
    path: PathBuf,
    /// Whether what has that name may be replaced.
    replaces: bool,
    /// What SQLite would read beside it goes when it gets its name.
    is_database: bool,
    is_named: bool,
}

impl Target {
    /// The folder `root`, made if it is missing. With the store's own hasher it names files while they are written.
    pub(crate) fn create(root: &Path, parts: ContentHasher) -> Result<Self, RestoreError> {
        let made = std::fs::create_dir_all(root).and_then(|()| File::open(root));
        Ok(Self {
            root: root.to_path_buf(),
            folder: made.map_err(|cause| no_folder(root, cause))?,
            parts,
            names: Names::default(),
        })
    }

    /// Where a key stands.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, key: &Key) -> PathBuf {
        self.root.join(relative(key))
    }

    /// Makes the folders above a key.
    pub(crate) fn make_way(&self, key: &Key) -> Result<(), RestoreError> {
        let path = self.path(key);
        path.parent()
            .map_or(Ok(()), |parent| self.make_folder(parent))
    }

    /// Makes the folder of a key.
    pub(crate) fn make_dir(&self, key: &Key) -> Result<(), RestoreError> {
        self.make_folder(&self.path(key))
    }

    fn make_folder(&self, folder: &Path) -> Result<(), RestoreError> {
        if folder == self.root || !folder.starts_with(&self.root) {
            return Ok(());
        }
        match std::fs::symlink_metadata(folder) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => {
                self.ensure_own_name(folder)?;
                // A12: a link here could lead anywhere.
                return Err(in_the_way(folder));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(not_named(folder, error)),
        }
        if let Some(parent) = folder.parent() {
            self.make_folder(parent)?;
        }
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(not_named(folder, error))
            }
            _ => Ok(()),
        }
    }

    /// What stands at a key's path, not following links.
    pub(crate) fn existing(&self, key: &Key) -> Result<Option<Metadata>, RestoreError> {
        let path = self.path(key);
        match std::fs::symlink_metadata(&path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(not_named(&path, error)),
        }
    }

    /// What it means that something else stands at a key's path: it may be replaced, or why not.
    pub(crate) fn differs(
        &self,
        key: &Key,
        found: &Metadata,
        overwrite: bool,
    ) -> Result<Standing, RestoreError> {
        let path = self.path(key);
        self.ensure_own_name(&path)?;
        match overwrite {
            _ if found.is_dir() => Err(RestoreError::FolderInPlace(path)),
            true => Ok(Standing::Other),
            false => Err(RestoreError::Differs(path)),
        }
    }

    /// That just what belongs there stands at a key's path, unless it is there by another name.
    pub(crate) fn is_the_same(&self, key: &Key) -> Result<Standing, RestoreError> {
        let path = self.path(key);
        if !self.names.is_plain(&path) {
            self.each_name(&path, &|path| self.names.other_case(path))?;
            let seen = self.names.note_plain(&path);
            seen.map_err(|cause| refused(path, cause))?;
        }
        Ok(Standing::Same)
    }

    /// That what stands at a path has this name, and not one that is the same here.
    fn ensure_own_name(&self, path: &Path) -> Result<(), RestoreError> {
        self.each_name(path, &|path| self.names.other(path))
    }

    /// Asks for the other names of a path and of the folders above it, as far as the target.
    fn each_name(
        &self,
        path: &Path,
        other: &dyn Fn(&Path) -> io::Result<Option<PathBuf>>,
    ) -> Result<(), RestoreError> {
        let below = |path: &&Path| path.starts_with(&self.root) && *path != self.root;
        for part in path.ancestors().take_while(below) {
            let other = other(part).map_err(|cause| refused(part.to_path_buf(), cause))?;
            if let Some(other) = other {
                return Err(misfit(path, Misfit::SameName(other)));
            }
        }
        Ok(())
    }

    /// Begins to write the file of a key.
    pub(crate) fn begin(&self, key: &Key) -> io::Result<Part> {
        let (path, part) = (self.path(key), self.part(key));
        remove_if_there(&part)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)?;
        let unnamed = Unnamed {
            part,
            key: key.clone(),
            path,
            replaces: false,
            is_database: false,
            is_named: false,
        };
        Ok(Part { file, unnamed })
    }

    /// Removes what a restore that was cut off may have left beside the file of a key, which is whole.
    pub(crate) fn clear(&self, key: &Key) -> io::Result<()> {
        remove_if_there(&self.part(key))
    }

    /// What the file of a key is called before it has its name: the same each time, so that the next restore finds it.
    /// It waits there while others are written, so no two files may share it, nor may one that was backed up have it: whoever
    /// sends files chooses their names (A12), and cannot foresee a keyed digest.
    fn part(&self, key: &Key) -> PathBuf {
        let mut hasher = self.parts.clone();
        hasher.update(PART_DOMAIN);
        hasher.update(key.as_bytes());
        let digest = hasher.finish();
        let mut name = String::from(".");
        for byte in digest.as_bytes().iter().take(PART_DIGEST_BYTES) {
            name.push_str(&format!("{byte:02x}"));
        }
        name.push_str(PART);
        self.path(key).with_file_name(name)
    }

    /// Makes the link of a key.
    pub(crate) fn link(&self, key: &Key, target: &[u8]) -> Result<(), RestoreError> {
        let path = self.path(key);
        let made = std::os::unix::fs::symlink(OsStr::from_bytes(target), &path);
        made.map_err(|cause| {
            let kind = cause.kind();
            let is_not_permitted = cause.raw_os_error() == Some(Errno::PERM.raw_os_error());
            // POSIX.1-2024 `symlink`.
            if is_not_permitted || kind == io::ErrorKind::Unsupported {
                misfit(&path, Misfit::Link(cause))
            } else if kind == io::ErrorKind::PermissionDenied {
                refused(path, cause)
            } else if kind == io::ErrorKind::AlreadyExists {
                RestoreError::Differs(path)
            } else {
                not_named(&path, cause)
            }
        })
    }

    /// Gives a folder the mode and the time that it had.
    pub(crate) fn finish_dir(&self, key: &Key, stat: &Stat) -> io::Result<()> {
        let folder = File::open(self.path(key))?;
        folder.set_permissions(permissions(stat, 0o700))?;
        folder.set_modified(time(stat.mtime_ns))
    }

    /// The bytes that are free on its disk.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        // A file system with more than 2^64 free bytes has room enough.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Makes files durable, and everything else that was written.
    pub(crate) fn flush_all(
        &self,
        files: Vec<Whole>,
    ) -> Result<impl Iterator<Item = Durable> + use<>, RestoreError> {
        self.flush()?;
        Ok(files.into_iter().map(|file| Durable(file.unnamed)))
    }

    /// Makes everything that was written durable.
    pub(crate) fn flush(&self) -> Result<(), RestoreError> {
        rustix::fs::syncfs(&self.folder).map_err(|errno| refused(self.root.clone(), errno.into()))
    }
}

/// What a killed restore left under such a name is worth nothing.
fn remove_if_there(part: &Path) -> io::Result<()> {
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Part {
    /// The same, as a database.
    pub(crate) fn of_database(mut self) -> Self {
        self.unnamed.is_database = true;
        self
    }

    /// The same, in the place of what was found there.
    pub(crate) fn in_place_of(mut self, standing: Standing) -> Self {
        self.unnamed.replaces = standing == Standing::Other;
        self
    }

    /// Gives the file its mode and its time.
    pub(crate) fn finish(self, stat: &Stat) -> io::Result<Whole> {
        self.settle(stat)?;
        let bytes = self.file.metadata()?.len();
        let unnamed = self.unnamed;
        Ok(Whole { unnamed, bytes })
    }

    /// Gives the file its mode and its time, and makes it durable by itself; `check` reads it in the meantime.
    pub(crate) fn flush<T>(
        self,
        stat: &Stat,
        check: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<(Durable, T)> {
        self.settle(stat)?;
        let (checked, flushed) = beside(|| check(&self.file), || self.file.sync_all());
        flushed?;
        Ok((Durable(self.unnamed), checked?))
    }

    fn settle(&self, stat: &Stat) -> io::Result<()> {
        self.file.set_permissions(permissions(stat, 0o600))?;
        self.file.set_modified(time(stat.mtime_ns))
    }
}

impl Whole {
    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Durable {
    /// Gives the file its name, or says that the target cannot have it.
    pub(crate) fn name(mut self, target: &Target) -> Result<Option<Lost>, RestoreError> {
        match self.0.give_name(target) {
            Ok(()) => Ok(None),
            Err(error) => {
                let bytes = std::fs::symlink_metadata(&self.0.part).map_or(0, |part| part.len());
                Lost::misfit(&self.0.key, LostPart::File { bytes }, error).map(Some)
            }
        }
    }
}

impl Unnamed {
    fn give_name(&mut self, target: &Target) -> Result<(), RestoreError> {
        let Self { part, path, .. } = &*self;
        let broken = |cause| refused(path.clone(), cause);
        if self.is_database {
            // Again, because it was a while ago that it was looked.
            companions::ensure_not_open(path)?;
            if !self.replaces {
                if let Some(beside) = companions::in_the_way(path).map_err(broken)? {
                    return Err(RestoreError::Differs(beside));
                }
                if is_there(path).map_err(|cause| not_named(path, cause))? {
                    return self.is_taken(target);
                }
            }
            companions::remove(path)?;
        }
        let named = match self.replaces {
            true => std::fs::rename(part, path),
            false => name_anew(part, path),
        };
        match named {
            Ok(()) => self.is_named = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !self.replaces => {
                return self.is_taken(target);
            }
            Err(error) if is_there(part).is_ok_and(|is_there| is_there) => {
                return Err(not_named(path, error));
            }
            Err(error) => return Err(broken(error)),
        }
        Ok(())
    }

    /// That something has the name by now: it is another's, unless it is the same.
    fn is_taken(&self, target: &Target) -> Result<(), RestoreError> {
        let broken = |cause| refused(self.path.clone(), cause);
        target.ensure_own_name(&self.path)?;
        if has_bytes_of(&self.path, &self.part).map_err(broken)? {
            return Ok(());
        }
        Err(RestoreError::Differs(self.path.clone()))
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.is_named {
            // What did not check is not left lying about.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// What it means that the target does not take something.
pub(crate) fn refused(path: PathBuf, cause: io::Error) -> RestoreError {
    if crate::files::is_full(&cause) {
        return RestoreError::TargetFilled(path);
    }
    let is_ill_spelt = cause.raw_os_error() == Some(Errno::ILSEQ.raw_os_error());
    if cause.kind() == io::ErrorKind::InvalidFilename || is_ill_spelt {
        return misfit(&path, Misfit::Name(cause));
    }
    RestoreError::Target { path, cause }
}

/// The same where a folder was to be made with those above it: a file often has the name of one, or a link that leads nowhere.
fn no_folder(folder: &Path, cause: io::Error) -> RestoreError {
    let mut above = folder.ancestors();
    let there = above.find(|path| is_there(path).unwrap_or(false));
    match there.filter(|there| !there.is_dir()) {
        Some(other) => in_the_way(other),
        None => refused(folder.to_path_buf(), cause),
    }
}

fn in_the_way(path: &Path) -> RestoreError {
    let cause = io::Error::other("something that is not a folder stands in the way");
    refused(path.to_path_buf(), cause)
}

/// The same where it was to look for a name, or to give it: a file system that does not take it often says something else.
fn not_named(path: &Path, cause: io::Error) -> RestoreError {
    let kind = cause.kind();
    let is_unknown = kind == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir);
    if is_unknown || kind == io::ErrorKind::InvalidInput {
        return misfit(path, Misfit::Name(cause));
    }
    refused(path.to_path_buf(), cause)
}

fn misfit(path: &Path, misfit: Misfit) -> RestoreError {
    let path = path.to_path_buf();
    RestoreError::Misfit { path, misfit }
}

/// The permissions that a file had. The owner can always read what he restored; set-user-id bits do
/// not come back.
fn permissions(stat: &Stat, least: u32) -> Permissions {
    Permissions::from_mode(stat.mode & 0o777 | least)
}

fn time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    let time = if ns < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::engine::entropy::OsEntropy;
    use keyhaven_repo::keyring::Keyring;
    use keyhaven_repo::names::StoreId;

    fn target(root: &Path) -> Target {
        let keyring = Keyring::generate(StoreId::generate(&mut OsEntropy), &mut OsEntropy);
        Target::create(root, keyring.content_hasher()).unwrap()
    }

    fn key(path: &[&[u8]]) -> Key {
        Key::from_components(path.iter().copied()).unwrap()
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let target = target(&folder.path().join("to"));
        std::os::unix::fs::symlink(outside.path(), folder.path().join("to/media")).unwrap();
        assert!(target.make_way(&key(&[b"media", b"a.jpg"])).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_part_that_is_dropped_leaves_nothing_and_a_finished_one_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let key = key(&[b"a"]);
        drop(target.begin(&key).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let stat = Stat {
            mtime_ns: 1_500_000_000,
            mode: 0o100_644,
            ..Stat::default()
        };
        let part = target.begin(&key).unwrap();
        let (durable, ()) = part.flush(&stat, |_| Ok(())).unwrap();
        assert!(!folder.path().join("a").exists());
        assert_eq!(durable.name(&target).unwrap(), None);
        let found = std::fs::metadata(folder.path().join("a")).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o644);
        let modified = found
            .modified()
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap();
        assert_eq!(modified, Duration::from_millis(1500));
    }

    /// BACKUP-1: between the first look and the name lie a download and a flush.
    #[test]
    fn a_database_that_is_opened_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let part = target.begin(&key(&[b"chats.db"])).unwrap().of_database();
        let (durable, ()) = part.flush(&Stat::default(), |_| Ok(())).unwrap();
        let opened = rusqlite::Connection::open(folder.path().join("chats.db")).unwrap();
        opened
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE message(text)")
            .unwrap();
        let named = durable.name(&target);
        assert!(
            matches!(named, Err(RestoreError::InUse { .. })),
            "{named:?}"
        );
        opened
            .execute_batch("INSERT INTO message VALUES ('hello')")
            .unwrap();
        assert!(folder.path().join("chats.db-wal").exists());
        drop(opened);
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 1, "a part was left");
    }

    /// BACKUP-1: nor is anything else that came to stand there since it was looked, unless what was seen there may be replaced.
    #[test]
    fn what_came_to_stand_there_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let at = |name: &str| folder.path().join(name);
        let whole = |name: &str| {
            let mut part = target.begin(&key(&[name.as_bytes()])).unwrap();
            part.file.write_all(b"restored").unwrap();
            part
        };
        let name = |part: Part| {
            let (durable, ()) = part.flush(&Stat::default(), |_| Ok(())).unwrap();
            durable.name(&target)
        };
        let differs = |named, path| {
            assert!(
                matches!(&named, Err(RestoreError::Differs(differs)) if *differs == path),
                "{named:?}"
            );
        };
        for is_database in [false, true] {
            let whole = |name: &str| match is_database {
                true => whole(name).of_database(),
                false => whole(name),
            };
            let part = whole("file");
            std::fs::write(at("file"), "of another program").unwrap();
            differs(name(part), at("file"));
            assert_eq!(std::fs::read(at("file")).unwrap(), b"of another program");
            let replacing = whole("file").in_place_of(Standing::Other);
            assert_eq!(name(replacing).unwrap(), None);
            assert_eq!(std::fs::read(at("file")).unwrap(), b"restored");
            // Another restore was faster.
            assert_eq!(name(whole("file")).unwrap(), None);
            std::fs::remove_file(at("file")).unwrap();
        }
        let part = whole("file").of_database();
        std::fs::write(at("file-wal"), "of another program").unwrap();
        differs(name(part), at("file-wal"));
        assert_eq!(
            std::fs::read(at("file-wal")).unwrap(),
            b"of another program"
        );
        assert!(!at("file").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// BACKUP-1: what stands there by another name is another file, also where files may be overwritten. A thread's folder has its number
    /// for a name, and is not in the list of `/proc`.
    #[test]
    fn what_has_another_name_is_neither_replaced_nor_gone_through() {
        let seen = std::thread::spawn(|| {
            let target = target(Path::new("/proc"));
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            let own = own.file_name().unwrap().as_bytes();
            let below = key(&[own, b"comm"]);
            [key(&[own]), below].map(|key| {
                let found = target.existing(&key).unwrap().unwrap();
                target.differs(&key, &found, true)
            })
        });
        for refused in seen.join().unwrap() {
            assert!(
                matches!(
                    refused,
                    Err(RestoreError::Misfit {
                        misfit: Misfit::SameName(_),
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn a_name_as_long_as_names_get_can_be_restored() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let name = [b'x'; 255];
        let part = target.begin(&key(&[&name])).unwrap();
        let (durable, ()) = part.flush(&Stat::default(), |_| Ok(())).unwrap();
        assert_eq!(durable.name(&target).unwrap(), None);
        assert!(folder.path().join(OsStr::from_bytes(&name)).exists());
    }

    #[test]
    fn what_a_restore_that_was_cut_off_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let key = key(&[b"a"]);
        std::fs::write(target.part(&key), "left").unwrap();
        target.clear(&key).unwrap();
        target.clear(&key).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
