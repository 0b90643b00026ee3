//! From the operating system's error numbers to errors that a person can act on.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::store::error::{Action, StoreError};
use crate::store::path::ObjectPath;

/// The store's address, as errors name it.
#[derive(Debug, Clone)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn new(path: &std::path::Path) -> Self {
        Self(path.display().to_string())
    }

    pub(super) fn text(&self) -> String {
        self.0.clone()
    }

    /// The error for `errno` while doing `action`. The sizes of [`StoreError::Full`] are
    /// filled in by [`Place::sized`].
    pub(super) fn fault(&self, action: Action, errno: Errno) -> StoreError {
        let place = self.text();
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => StoreError::Full {
                needed: 0,
                free: None,
            },
            Errno::ACCESS | Errno::PERM => StoreError::Denied { action, place },
            Errno::ROFS => StoreError::ReadOnly { place },
            // The folder was opened and is gone: its disk was pulled, or its server forgot it.
            Errno::NOENT | Errno::STALE | Errno::NODEV | Errno::NXIO | Errno::NOTCONN => {
                StoreError::Missing { place }
            }
            errno if is_of_the_disk(errno) && matches!(action, Action::Open | Action::List) => {
                StoreError::FolderUnreadable {
                    action,
                    place,
                    code: errno.raw_os_error(),
                }
            }
            errno => {
                let error = io::Error::from(errno);
                StoreError::Disk {
                    action,
                    kind: error.kind(),
                    code: error.raw_os_error(),
                }
            }
        }
    }

    /// The error for `errno` while an object was read: a fault of the disk is told of that object.
    pub(super) fn fault_at(&self, path: &ObjectPath, errno: Errno) -> StoreError {
        if is_of_the_disk(errno) {
            StoreError::Unreadable {
                path: path.clone(),
                code: errno.raw_os_error(),
            }
        } else {
            self.fault(Action::Get, errno)
        }
    }

    /// As [`Place::fault`], for the standard library's errors.
    pub(super) fn io_fault(&self, action: Action, error: &io::Error) -> StoreError {
        match Errno::from_io_error(error) {
            Some(errno) => self.fault(action, errno),
            None => StoreError::Disk {
                action,
                kind: error.kind(),
                code: None,
            },
        }
    }

    /// `fault`, with its sizes filled in if it says that the store is full.
    pub(super) fn sized(&self, fault: StoreError, needed: u64, root: BorrowedFd<'_>) -> StoreError {
        if matches!(fault, StoreError::Full { .. }) {
            let free = self.free(root).ok();
            StoreError::Full { needed, free }
        } else {
            fault
        }
    }

    /// The bytes that are free for us.
    pub(super) fn free(&self, root: BorrowedFd<'_>) -> Result<u64, StoreError> {
        let stat =
            rustix::fs::fstatvfs(root).map_err(|errno| self.fault(Action::Measure, errno))?;
        // A file system with more than 2^64 free bytes has room enough.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Whether a disk, or the file system on it, says that it cannot give what stands at one place.
pub(super) fn is_of_the_disk(errno: Errno) -> bool {
    // Linux's words for a file system's own structures, and for a disk far away.
    #[cfg(target_os = "linux")]
    if matches!(errno, Errno::UCLEAN | Errno::REMOTEIO) {
        return true;
    }
    matches!(
        errno,
        Errno::IO | Errno::BADMSG | Errno::NODATA | Errno::ILSEQ | Errno::TIMEDOUT
    )
}
