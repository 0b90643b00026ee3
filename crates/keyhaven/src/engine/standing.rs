//! What stands in the target already: it is never replaced unasked, nor taken for a file of another name.
//!
//! BACKUP-1: between the look at a place and the name that is given there lie a download and a flush, and other programs write there, too. So
//! the name is given only where nothing has it by then.
//!
//! Some file systems take two names for one: exFAT and many others do not tell large letters from small, some not the ways to write an
//! accent. Of two files of a backup that have such names the first has the place, and the second must neither replace it nor pass for it.
//! What a file is truly called is seen in the list of its folder alone.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::files;

/// What was found where something belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Just that.
    Same,
    Nothing,
    /// Something else, which may be replaced.
    Other,
}

/// Gives the file `part` the name `path`, which must be free.
pub(crate) fn name_anew(part: &Path, path: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE) {
        // So says a file system, or a system, that cannot rename like that; and one that does not take the name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_anew(part, path),
        renamed => Ok(renamed?),
    }
}

/// The same by a second name, which is never given to two files either.
fn link_anew(part: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(part, path) {
        Ok(()) => std::fs::remove_file(part),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Where a file has one name only.
        Err(_) => look_and_rename(part, path),
    }
}

/// The same by a last look: what comes between it and the next call is not seen.
fn look_and_rename(part: &Path, path: &Path) -> io::Result<()> {
    if is_there(path)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(part, path)
}

/// Whether anything stands at `path`, not following links.
pub(crate) fn is_there(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file stands at `path` that has the bytes of `part`.
pub(crate) fn has_bytes_of(path: &Path, part: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(false);
    }
    let (part, found) = (File::open(part)?, File::open(path)?);
    let mut is_same = part.metadata()?.len() == found.metadata()?.len();
    let mut offset = 0_u64;
    files::read_pieces(&part, |piece| {
        let mut other = vec![0; piece.len()];
        is_same = is_same && found.read_exact_at(&mut other, offset).is_ok() && other == piece;
        offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    })?;
    Ok(is_same)
}

/// What the files of the target are truly called.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The last folder that was listed: where one name must be looked up, others of its folder must be, too.
    listed: Mutex<Option<(PathBuf, BTreeSet<OsString>)>>,
    /// The last folder that was seen to tell large letters from small, as it does then for all that is in it.
    plain: Mutex<Option<PathBuf>>,
}

impl Names {
    /// Where what stands at `path` is called otherwise: so.
    pub(crate) fn other(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        if name.as_bytes().is_ascii() && tells_cases_apart(folder, name)? == Some(true) {
            return Ok(None);
        }
        self.listed(folder, name)
    }

    /// The same, seen only where large letters are not told from small.
    pub(crate) fn other_case(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) if tells_cases_apart(folder, name)? == Some(false) => {
                self.listed(folder, name)
            }
            _ => Ok(None),
        }
    }

    /// Whether it is known that [`Self::other_case`] has none for this path and those of the folders above it.
    pub(crate) fn is_plain(&self, path: &Path) -> bool {
        let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        plain.is_some() && path.parent() == plain.as_deref()
    }

    /// Remembers that for what stands beside a path that was looked at, as its folders were.
    pub(crate) fn note_plain(&self, path: &Path) -> io::Result<()> {
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
            && tells_cases_apart(folder, name)? == Some(true)
        {
            let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            *plain = Some(folder.to_path_buf());
        }
        Ok(())
    }

    fn listed(&self, folder: &Path, name: &OsStr) -> io::Result<Option<PathBuf>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, names)) = listed.as_ref()
            && last == folder
            && names.contains(name)
        {
            return Ok(None);
        }
        let entries = std::fs::read_dir(folder)?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.collect::<io::Result<BTreeSet<_>>>()?;
        let other = (!names.contains(name)).then(|| {
            let plain = |name: &OsStr| name.to_string_lossy().to_lowercase();
            let mut others = names.iter();
            let other = others.find(|other| plain(other) == plain(name));
            folder.join(other.map_or(name, OsString::as_os_str))
        });
        *listed = Some((folder.to_path_buf(), names));
        Ok(other)
    }
}

/// Whether a name that stands in `folder` is another one there with its large letters small and its small ones large; none if it has
/// none of either.
fn tells_cases_apart(folder: &Path, name: &OsStr) -> io::Result<Option<bool>> {
    let swap = |byte: &u8| match byte {
        small if small.is_ascii_lowercase() => small.to_ascii_uppercase(),
        other => other.to_ascii_lowercase(),
    };
    let swapped: Vec<u8> = name.as_bytes().iter().map(swap).collect();
    if swapped == name.as_bytes() {
        return Ok(None);
    }
    let swapped = folder.join(OsString::from_vec(swapped));
    is_there(&swapped).map(|is_there| Some(!is_there))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BACKUP-1: by each of the ways, for file systems know one or another.
    #[test]
    fn a_name_that_is_not_free_stays_whose_it_is() {
        for name in [name_anew, link_anew, look_and_rename] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            std::fs::write(at("part"), "restored").unwrap();
            std::fs::write(at("taken"), "of another program").unwrap();
            std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
            for taken in ["taken", "link"] {
                let refused = name(&at("part"), &at(taken)).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            }
            let taken = std::fs::read(at("taken")).unwrap();
            assert_eq!(taken, b"of another program");
            assert!(at("link").is_symlink());
            name(&at("part"), &at("free")).unwrap();
            assert_eq!(std::fs::read(at("free")).unwrap(), b"restored");
            assert!(!is_there(&at("part")).unwrap());
        }
    }

    /// A folder has one name everywhere, as a file has it on exFAT.
    #[test]
    fn what_can_have_one_name_only_gets_it_after_a_last_look() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("part")).unwrap();
        std::fs::create_dir(at("taken")).unwrap();
        let refused = link_anew(&at("part"), &at("taken")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        link_anew(&at("part"), &at("free")).unwrap();
        assert!(at("free").is_dir() && !at("part").exists());
    }

    #[test]
    fn bytes_are_compared_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut bytes = vec![7; 600_000];
        std::fs::write(at("part"), &bytes).unwrap();
        std::fs::write(at("same"), &bytes).unwrap();
        assert!(has_bytes_of(&at("same"), &at("part")).unwrap());
        std::fs::write(at("longer"), [&bytes[..], b"x"].concat()).unwrap();
        *bytes.last_mut().unwrap() = 8;
        std::fs::write(at("other"), &bytes).unwrap();
        std::os::unix::fs::symlink("same", at("link")).unwrap();
        for other in ["longer", "other", "link"] {
            assert!(!has_bytes_of(&at(other), &at("part")).unwrap(), "{other}");
        }
    }

    /// A thread's folder is found in `/proc` by its number and is not in its list: as with a file of another name.
    #[test]
    fn what_is_not_listed_by_its_name_has_another() {
        let seen = std::thread::spawn(|| {
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            let own = Path::new("/proc").join(own.file_name().unwrap());
            (is_there(&own).unwrap(), Names::default().other(&own))
        });
        let (is_there, other) = seen.join().unwrap();
        assert!(is_there && other.unwrap().is_some());
        let folder = tempfile::tempdir().unwrap();
        let names = Names::default();
        // A name without letters that are large or small says nothing of its folder.
        for (name, is_plain) in [
            ("1", false),
            ("Å", false),
            ("IMG.jpg", true),
            ("img.jpg", true),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            assert_eq!(names.other(&path).unwrap(), None, "{name}");
            assert_eq!(names.other_case(&path).unwrap(), None, "{name}");
            names.note_plain(&path).unwrap();
            assert_eq!(names.is_plain(&path), is_plain, "{name}");
            assert!(!names.is_plain(folder.path()));
        }
    }
}
