//! Where an object stands until it is whole: the spool folder inside the store.
//!
//! Every run that writes has a session: a lock file `<id>.lock`, held locked for as long as the
//! run lives, and temporary files `<id>.<n>`. The operating system drops the lock when a run dies,
//! however it dies. So the next run can tell a dead session's files from a living one's, and
//! removes only the dead ones. Where a file system knows no locks (some network ones), files are
//! left alone until they are a week old.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FlockOperation, OFlags};
use rustix::io::Errno;

use super::tree::{FILE_MODE, Tree, make_private};

/// The spool's name. It begins with a dot, as no object's name does.
pub(super) const SPOOL: &str = ".spool";

/// Leftovers without a lock that tells are kept this long: longer than any backup runs.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Entries of the spool that one run looks at; a hostile store could plant millions.
const LEFTOVERS_LOOKED_AT_MAX: usize = 10_000;

/// A session of this process. Dropping it gives up the lock.
#[derive(Debug)]
pub(super) struct Session {
    spool: OwnedFd,
    id: String,
    files: AtomicU64,
    // Held for its lock only.
    _lock: File,
}

impl Session {
    /// Begins a session, and removes what dead ones left.
    pub(super) fn begin(tree: &Tree) -> Result<Self, Errno> {
        let spool = make_private(tree.root(), SPOOL)?;
        remove_leftovers(&spool);
        loop {
            let mut random = [0_u8; 8];
            getrandom::fill(&mut random).map_err(|_| Errno::IO)?;
            let id = format!("{:016x}", u64::from_le_bytes(random));
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let name = format!("{id}.lock");
            let lock = match rustix::fs::openat(&spool, &name, flags, FILE_MODE) {
                Ok(lock) => lock,
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno),
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                // A cleaner came between the making and the locking, and is about to remove it.
                Err(Errno::WOULDBLOCK) => continue,
                // No locks here: the age of the files protects them.
                Err(_) => {}
            }
            if rustix::fs::fstat(&lock)?.st_nlink == 0 {
                continue;
            }
            return Ok(Self {
                spool,
                id,
                files: AtomicU64::new(0),
                _lock: File::from(lock),
            });
        }
    }

    /// A new temporary file, open for writing, and its name in the spool.
    pub(super) fn file(&self) -> Result<(File, String), Errno> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{number}", self.id);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.spool, &name, flags, FILE_MODE)?;
        Ok((File::from(file), name))
    }

    /// The spool folder.
    pub(super) fn spool(&self) -> std::os::fd::BorrowedFd<'_> {
        self.spool.as_fd()
    }

    /// Removes a temporary file that will not become an object.
    pub(super) fn discard(&self, name: &str) {
        // If this fails too, the next run's cleaning takes it.
        let _ = rustix::fs::unlinkat(&self.spool, name, AtFlags::empty());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.discard(&format!("{}.lock", self.id));
    }
}

/// Removes the files of dead sessions. Whatever fails here is left for the next run: a store with
/// a leftover works as well as one without.
fn remove_leftovers(spool: &OwnedFd) {
    let Ok(dir) = Dir::read_from(spool) else {
        return;
    };
    let mut names: Vec<(String, String)> = dir
        .take(LEFTOVERS_LOOKED_AT_MAX)
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().ok().and_then(parse_name))
        .collect();
    // Per session, numbers before `lock`: the lock file goes last, so that a cleaning that is
    // itself interrupted leaves a session that can still be told.
    names.sort_unstable();
    for session in names.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((id, _)) = session.first() else {
            continue;
        };
        let lock = rustix::fs::openat(
            spool,
            format!("{id}.lock"),
            OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
            FILE_MODE,
        );
        // The lock is held, by this variable, until the session's files are gone.
        let dead = match &lock {
            Ok(lock) => match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => true,
                Err(Errno::WOULDBLOCK) => false,
                Err(_) => is_old(spool, session),
            },
            Err(_) => is_old(spool, session),
        };
        if dead {
            for (id, end) in session {
                let _ = rustix::fs::unlinkat(spool, format!("{id}.{end}"), AtFlags::empty());
            }
        }
    }
}

/// Splits `<16 hex digits>.<number or lock>`; anything else in the spool is not ours to remove.
fn parse_name(name: &str) -> Option<(String, String)> {
    let (id, end) = name.split_once('.')?;
    let ours = id.len() == 16
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (end == "lock" || (!end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())));
    ours.then(|| (id.to_owned(), end.to_owned()))
}

fn is_old(spool: &OwnedFd, session: &[(String, String)]) -> bool {
    session.iter().all(|(id, end)| {
        let name = format!("{id}.{end}");
        let Ok(stat) = rustix::fs::statat(spool, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return true;
        };
        let modified = u64::try_from(stat.st_mtime)
            .ok()
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        // A clock that stands before the file's time says nothing: the file is kept.
        modified
            .and_then(|modified| SystemTime::now().duration_since(modified).ok())
            .is_some_and(|age| age >= LEFTOVER_AGE_MIN)
    })
}
