//! Whether others can read a file that holds a key. A file is made with mode 0600; a file system without modes (FAT, exFAT) has its own
//! for all of its files, so it is looked at.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Who may read and write a file, as its file system has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    mode: u32,
    is_ours: bool,
}

impl Permissions {
    pub(crate) fn of(file: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(file)?;
        let us = rustix::process::geteuid().as_raw();
        Ok(Self {
            mode: found.mode() & 0o7777,
            is_ours: found.uid() == us,
        })
    }

    /// Whether they keep out all but the user that we are, and root.
    pub(crate) fn are_private(self) -> bool {
        self.is_ours && self.mode & 0o077 == 0
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {:04o}", self.mode)?;
        match self.is_ours {
            true => Ok(()),
            false => f.write_str(", another user's"),
        }
    }
}

/// A file with a key that others can read, too. It says what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    file: PathBuf,
    permissions: Permissions,
}

impl Exposure {
    /// Looks at a file. None where only this user can read it, or there is nothing to read.
    #[must_use]
    pub fn of(file: &Path) -> Option<Self> {
        let permissions = Permissions::of(file).ok()?;
        (!permissions.are_private()).then(|| Self {
            file: file.to_path_buf(),
            permissions,
        })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "others on this machine can read {}, which holds a key ({}). Let only your user read it (chmod 600). Where the file system \
             keeps no modes (FAT, exFAT), keep it on another one, or mount that one for your user alone (umask=077)",
            self.file.display(),
            self.permissions
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_exposed_where_its_mode_lets_others_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        assert_eq!(Exposure::of(&file), None);
        std::fs::write(&file, "key").unwrap();
        for (mode, exposed) in [
            (0o600, false),
            (0o400, false),
            (0o700, false),
            (0o640, true),
            (0o604, true),
            (0o602, true),
            (0o610, true),
            (0o777, true),
        ] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = Exposure::of(&file);
            assert_eq!(found.is_some(), exposed, "{mode:o}");
            if let Some(found) = found {
                let told = found.to_string();
                assert!(told.contains(&format!("mode {mode:04o}")), "{told}");
                assert!(told.contains(file.to_str().unwrap()), "{told}");
            }
        }
    }

    #[test]
    fn a_file_of_another_user_is_exposed() {
        let other = Permissions {
            is_ours: false,
            mode: 0o600,
        };
        assert!(!other.are_private());
    }
}
