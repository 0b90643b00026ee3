//! Who has a database open, asked before it is replaced.
//!
//! A file that is replaced lives on, without a name, for whoever has it open: what that program writes from then on is
//! lost, and its log, which has a name, is played into the file that took the place. Two things betray a program:
//!
//! - SQLite's locks. With a log each connection that has read or written holds two for its whole life; with a journal only
//!   while it reads or writes.
//! - What the system says of open files, where it says so (`/proc` on Linux and Android): a program that may write to the
//!   database, its log or its index. It says so of programs of the same user, or, to the superuser, of all.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::claim::Claim;
use crate::database::state::{SETTLE, open_read_only};
use crate::item::open_listed;
use crate::lock;
use crate::sniff::companion_path;
use crate::stat::Stat;

/// A program that has a database open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUser {
    /// Its process, where the system says which.
    pub process: Option<u32>,
    /// What it calls itself, without control characters.
    pub program: Option<String>,
}

impl fmt::Display for DatabaseUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.program, self.process) {
            (Some(program), Some(process)) => write!(f, "{program} (process {process})"),
            (Some(program), None) => f.write_str(program),
            (None, Some(process)) => write!(f, "process {process}"),
            (None, None) => f.write_str("another program"),
        }
    }
}

/// Somebody who has the database at `path` open and may write to it, if there is somebody. Links are not followed.
///
/// It says nothing of a moment later, and nothing of a program of another user that has a database with a journal open and
/// is neither reading nor writing.
///
/// # Errors
/// When the files cannot be looked at. One that may not be read is looked at as far as that goes.
pub fn user_of(path: &Path) -> io::Result<Option<DatabaseUser>> {
    let mut files = Vec::new();
    for file in std::iter::once(path.to_path_buf())
        .chain(["-wal", "-shm"].map(|ending| companion_path(path, ending)))
    {
        files.push(lstat(&file)?);
    }
    if files.iter().all(Option::is_none) {
        return Ok(None);
    }
    // First, because it opens none of them: where it is this very program, opening and closing would drop its locks.
    if open_files::writer_of(path, &files).is_some() {
        // A process that was just begun has for a moment what its parent had open.
        std::thread::sleep(SETTLE);
        if let Some(process) = open_files::writer_of(path, &files) {
            return Ok(Some(DatabaseUser::of(process)));
        }
    }
    let mut claim = None;
    if let Some(Some(main)) = files.first() {
        claim = Some(Claim::wait_for(main).ok_or(io::ErrorKind::ResourceBusy)?);
        if let Ok(file) = open_listed(path, main)
            && let Some(user) = by_lock(&file)?
        {
            return Ok(Some(user));
        }
    }
    let index = open_read_only(&companion_path(path, "-shm")).ok().flatten();
    let user = index.map_or(Ok(None), |index| by_lock(&index));
    drop(claim);
    user
}

/// What stands at `path`, if it is a file.
fn lstat(path: &Path) -> io::Result<Option<Stat>> {
    match rustix::fs::lstat(path) {
        Ok(found) => {
            let kind = rustix::fs::FileType::from_raw_mode(found.st_mode);
            Ok(kind.is_file().then(|| Stat::from(&found)))
        }
        // Beside a name that is as long as names get, none has room.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn by_lock(file: &File) -> io::Result<Option<DatabaseUser>> {
    let holder = lock::holder_anywhere(file)?;
    Ok(holder.map(|process| match process {
        Some(process) => DatabaseUser::of(process),
        None => DatabaseUser {
            process: None,
            program: None,
        },
    }))
}

impl DatabaseUser {
    fn of(process: u32) -> Self {
        Self {
            process: Some(process),
            program: open_files::name_of(process),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod open_files {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};

    use crate::stat::Stat;

    /// A process that has one of these files open and may write to it. What may not be looked at is passed over.
    pub(super) fn writer_of(database: &Path, files: &[Option<Stat>]) -> Option<u32> {
        let name = database.file_name()?;
        fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
            let number: u32 = process.file_name().to_str()?.parse().ok()?;
            let place = process.path();
            let open = fs::read_dir(place.join("fd")).ok()?;
            open.flatten()
                .any(|one| {
                    is_one_of(&one.path(), name, files) && is_writable(&place, &one.file_name())
                })
                .then_some(number)
        })
    }

    /// The link is read first: to ask for the file behind it could wait for a server that is gone.
    fn is_one_of(link: &Path, database: &OsStr, files: &[Option<Stat>]) -> bool {
        let Ok(leads_to) = fs::read_link(link) else {
            return false;
        };
        let is_named_so = leads_to
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(database.as_bytes()));
        is_named_so
            && fs::metadata(link).is_ok_and(|found| {
                let (device, inode) = (found.dev(), found.ino());
                let is_it = |file: &Stat| (file.device, file.inode) == (device, inode);
                files.iter().flatten().any(is_it)
            })
    }

    /// Whether it was opened to be written to: who only reads it loses nothing.
    fn is_writable(process: &Path, descriptor: &OsStr) -> bool {
        const ACCESS: u32 = 0o3;
        let mut place = PathBuf::from(process);
        place.push("fdinfo");
        place.push(descriptor);
        let told = fs::read_to_string(place).unwrap_or_default();
        let flags = told.lines().find_map(|line| line.strip_prefix("flags:"));
        flags
            .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
            .is_none_or(|flags| flags & ACCESS != 0)
    }

    pub(super) fn name_of(process: u32) -> Option<String> {
        let told = fs::read(format!("/proc/{process}/comm")).ok()?;
        // A program chooses its name: nothing in it may steer a terminal.
        let name = String::from_utf8_lossy(&told).replace(char::is_control, "");
        (!name.is_empty()).then_some(name)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod open_files {
    use std::path::Path;

    use crate::stat::Stat;

    pub(super) fn writer_of(_: &Path, _: &[Option<Stat>]) -> Option<u32> {
        None
    }

    pub(super) fn name_of(_: u32) -> Option<String> {
        None
    }
}
