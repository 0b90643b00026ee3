//! SQLite's advisory locks, as another program of the same file sees them.
//!
//! SQLite locks bytes at 1 GiB into the database file (`os_unix.c`): readers share a range of 510
//! bytes; who writes the main file must have that range alone. A connection that uses a log shares
//! it for its whole life, and each such connection shares one byte of the log's index file too.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Taken before the shared range, so that a waiting writer is not starved.
const PENDING: Range = Range {
    start: 0x4000_0000,
    len: 1,
};
/// Held by the one program that prepares a change of the main file.
const RESERVED: Range = Range {
    start: 0x4000_0001,
    len: 1,
};
/// Shared by readers; held alone by who writes the main file.
const SHARED: Range = Range {
    start: 0x4000_0002,
    len: 510,
};
/// In the log's index file: shared by every live connection.
const LIVE: Range = Range { start: 128, len: 1 };
/// In the log's index file: the lock of its first mark; the next four bytes are those of the others.
const MARKS: Range = Range { start: 123, len: 1 };
/// A length of zero reaches to the end of the file, however far that is.
const WHOLE: Range = Range { start: 0, len: 0 };

/// How long between two tries to get a lock.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy)]
struct Range {
    start: i64,
    len: i64,
}

/// SQLite's shared lock on a database file: while it is held nobody changes the main file outside
/// a log, switches the journal mode, or removes a log.
///
/// The file must stay open until every connection of this process to the same file is closed:
/// closing it drops the process's POSIX locks. The lock goes with the file.
#[derive(Debug)]
pub(crate) struct SharedLock {
    _file: File,
}

impl SharedLock {
    /// Takes the lock, waiting at most `wait`. None when another program does not let it go.
    pub(crate) fn take(file: File, wait: Duration) -> io::Result<Option<Self>> {
        let until = Instant::now().checked_add(wait);
        loop {
            if try_lock(&file, Kind::Share, PENDING)? {
                let shared = try_lock(&file, Kind::Share, SHARED);
                set(&file, Kind::Unlock, PENDING)?;
                if shared? {
                    return Ok(Some(Self { _file: file }));
                }
            }
            if until.is_none_or(|until| Instant::now() >= until) {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether a program prepares a change of the main file: a journal beside it is then its own, and
/// not left over from one that died.
pub(crate) fn is_reserved(file: &File) -> io::Result<bool> {
    is_locked(file, RESERVED)
}

/// Whether a connection lives that uses the log, told by the log's index file.
pub(crate) fn has_live_connection(index: &File) -> io::Result<bool> {
    is_locked(index, LIVE)
}

/// Shares the byte of the log's index by which a connection that uses the log is known. Whoever comes first has it
/// alone for a moment, and empties the index.
pub(crate) fn share_live(index: &File) -> io::Result<bool> {
    try_lock(index, Kind::Share, LIVE)
}

/// The lock of one of the log's marks: who changes the mark has it alone, who reads by it shares it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MarkLock(Range);

impl MarkLock {
    /// That of the mark with this number, from 0 to 4.
    pub(crate) fn of(mark: u8) -> Self {
        Self(Range {
            start: MARKS.start.saturating_add(i64::from(mark)),
            ..MARKS
        })
    }

    pub(crate) fn try_own(self, index: &File) -> io::Result<bool> {
        try_lock(index, Kind::Own, self.0)
    }

    /// Shares it, also in the place of owning it.
    pub(crate) fn try_share(self, index: &File) -> io::Result<bool> {
        try_lock(index, Kind::Share, self.0)
    }

    pub(crate) fn release(self, index: &File) -> io::Result<()> {
        set(index, Kind::Unlock, self.0)
    }
}

/// Whether a program holds a lock on any byte of a file.
pub(crate) fn is_locked_anywhere(file: &File) -> io::Result<bool> {
    is_locked(file, WHOLE)
}

/// Who holds a lock on any byte of a file, if somebody does; and which process, if the system says so: a lock may belong to
/// an open file, or to another machine. On a file system without locks nobody does.
pub(crate) fn holder_anywhere(file: &File) -> io::Result<Option<Option<u32>>> {
    match conflict(file, WHOLE) {
        Ok(found) => Ok(found.map(|lock| u32::try_from(lock.l_pid).ok().filter(|pid| *pid > 0))),
        Err(error) => {
            let without_locks = [Errno::ENOLCK, Errno::ENOTSUP, Errno::ENOSYS, Errno::EINVAL];
            let told = error.raw_os_error().map(Errno::from_raw);
            match told {
                Some(told) if without_locks.contains(&told) => Ok(None),
                Some(_) | None => Err(error),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Share,
    Own,
    Unlock,
}

fn try_lock(file: &File, kind: Kind, range: Range) -> io::Result<bool> {
    match set(file, kind, range) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn set(file: &File, kind: Kind, range: Range) -> io::Result<()> {
    let kind = match kind {
        Kind::Share => narrow(libc::F_RDLCK),
        Kind::Own => narrow(libc::F_WRLCK),
        Kind::Unlock => narrow(libc::F_UNLCK),
    };
    let lock = describe(kind, range);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // A lock of the open file, not of the process: SQLite's own unlocking leaves it alone.
        match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
            Err(Errno::EINVAL) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
    fcntl(file, FcntlArg::F_SETLK(&lock))
        .map(drop)
        .map_err(io::Error::from)
}

fn is_locked(file: &File, range: Range) -> io::Result<bool> {
    Ok(conflict(file, range)?.is_some())
}

/// A lock that keeps the range from being locked by us alone.
fn conflict(file: &File, range: Range) -> io::Result<Option<libc::flock>> {
    let asked = describe(narrow(libc::F_WRLCK), range);
    let told = |lock: libc::flock| (lock.l_type != narrow(libc::F_UNLCK)).then_some(lock);
    let mut lock = asked;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        match fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)) {
            Err(Errno::EINVAL) => lock = asked,
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(told(lock)),
        }
    }
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).map_err(io::Error::from)?;
    Ok(told(lock))
}

fn describe(kind: libc::c_short, range: Range) -> libc::flock {
    libc::flock {
        l_type: kind,
        l_whence: narrow(libc::SEEK_SET),
        l_start: range.start,
        l_len: range.len,
        l_pid: 0,
    }
}

/// The constants have other integer types on other systems; all are below 128.
fn narrow(value: impl TryInto<libc::c_short>) -> libc::c_short {
    value.try_into().unwrap_or(libc::c_short::MAX)
}
