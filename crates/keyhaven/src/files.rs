//! Small files of local state, written so that a crash leaves the old one or the new one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Who may read a file of local state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only the owner: 0600.
    Private,
}

impl Mode {
    fn bits(self) -> u32 {
        match self {
            Self::Private => 0o600,
        }
    }
}

/// Replaces `path` by `bytes`: temporary file, flush, rename, flush of the folder.
///
/// BACKUP-2: a crash at any step leaves the old content or the new one, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let temporary = folder.join(temporary);
    // A file of this name can only be what a killed run left: nothing refers to it.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode.bits())
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_folder(folder)
}

/// Whether the operating system refused for want of room.
pub(crate) fn is_full(cause: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(cause.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Hands all bytes of a file to `each`, from its start to its end.
pub(crate) fn read_pieces(file: &File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut offset = 0_u64;
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                each(buffer.get(..read).unwrap_or_default());
                offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Flushes a folder, so that a rename in it outlives a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` and its parents, readable by the owner only.
///
/// BACKUP-2: it has its name for good when this returns. Flushing what is put into a folder later is no flush of the
/// folder's own name.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    create_folder(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_folder(parent)?;
            std::fs::create_dir(folder)?;
        }
        // A run that was killed may have made it, and flushed nothing. A parent that must not be read is not one of ours.
        Err(_) if folder.is_dir() => {
            return match sync_folder(parent) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                flushed => flushed,
            };
        }
        made => made?,
    }
    sync_folder(parent)
}

/// Reads a whole small file, refusing one above `bytes_max`.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |len| len > bytes_max) {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace(&path, b"one", Mode::Private).unwrap();
        std::fs::write(folder.path().join(".state.new"), b"left by a kill").unwrap();
        replace(&path, b"two", Mode::Private).unwrap();
        assert_eq!(read_small(&path, 3).unwrap(), b"two");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_grown_file_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(
            read_small(&path, 3).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
