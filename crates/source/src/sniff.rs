//! What a regular file is, told by its content and never by its name alone.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::database::header::{Header, MAGIC, SNIFF_BYTES, distinct, is_encrypted_behind};
use crate::database::state::open_read_only;
use crate::database::wal::WAL_MAGICS;
use crate::item::{SkipReason, open_listed};
use crate::stat::Stat;

/// What a regular file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A plain file: its bytes are read as they are.
    File,
    /// An SQLite database: one commit's page image is read, whoever writes to it meanwhile.
    Database,
    /// A database that SQLite's locks protect and whose pages cannot be understood without its
    /// key (SQLCipher). One commit's page image is read all the same.
    Opaque,
    /// What begins neither as SQLite's databases nor as encrypted ones do, but has SQLite's log beside it: a database of a cipher
    /// that is not known here, or one whose first bytes are destroyed. It can be read as an opaque one.
    Logged,
    /// A database that the caller supplies from its own connection. It was not opened.
    Supplied,
}

/// The endings of the files that SQLite keeps beside a database.
const COMPANION_ENDINGS: [&[u8]; 3] = [b"-journal", b"-shm", b"-wal"];

/// The endings that databases commonly have. They only say where it is worth looking for an
/// encrypted database; an SQLite database is told by its content under any name.
const DATABASE_ENDINGS: [&str; 6] = ["db", "db3", "sqlite", "sqlite3", "sqlitedb", "sqlcipher"];

/// Which companions stand beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Companions {
    pub(crate) journal: bool,
    pub(crate) index: bool,
    pub(crate) log: bool,
}

/// The names in a folder, as far as companions need them.
pub(crate) trait Siblings {
    fn has(&self, name: &[u8]) -> bool;
    fn may_have_companions(&self) -> bool;
}

impl Companions {
    pub(crate) fn of(name: &[u8], siblings: &impl Siblings) -> Self {
        if !siblings.may_have_companions() {
            return Self::default();
        }
        let has = |ending: &[u8]| siblings.has(&[name, ending].concat());
        Self {
            journal: has(b"-journal"),
            index: has(b"-shm"),
            log: has(b"-wal"),
        }
    }

    pub(crate) fn any(self) -> bool {
        self.journal || self.index || self.log
    }
}

/// The name of the file beside which `name` would be a companion.
pub(crate) fn owner_of(name: &[u8]) -> Option<&[u8]> {
    COMPANION_ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(*ending))
        .filter(|owner| !owner.is_empty())
}

/// The path of a companion: SQLite appends to the whole name.
pub(crate) fn companion_path(database: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(database.as_os_str());
    path.push(ending);
    PathBuf::from(path)
}

/// Tells what a file is. It is opened and closed before this returns, so it must not be a
/// database that this process has open.
pub(crate) fn sniff(
    path: &Path,
    listed: &Stat,
    companions: Companions,
) -> Result<Content, SkipReason> {
    // A log or a journal beside an empty file may hold what the file does not; the reader decides.
    if listed.size == 0 {
        let holds_more = companions.log && has_log_magic(path);
        return Ok(
            if holds_more || companions.journal && has_journal_magic(path) {
                Content::Database
            } else {
                Content::File
            },
        );
    }
    let claim =
        crate::claim::Claim::wait_for(listed).ok_or(SkipReason::Io(io::ErrorKind::ResourceBusy))?;
    let read = |error: io::Error| SkipReason::from_io(&error);
    let head = {
        let mut file = open_listed(path, listed)?;
        read_head(&mut file).map_err(read)?
    };
    drop(claim);
    let whole_pages = listed.size.checked_rem(512) == Some(0);
    let begins_as_database = head.starts_with(MAGIC);
    if begins_as_database && let Ok(header) = Header::parse(&head) {
        let is_encrypted = whole_pages && is_encrypted_behind(&header, &head);
        return Ok(match is_encrypted {
            true => Content::Opaque,
            false => Content::Database,
        });
    }
    let named = path.extension().is_some_and(|ending| {
        DATABASE_ENDINGS
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    });
    let encrypted = (named || companions.any()) && looks_encrypted(&head);
    // A file that begins like a database and that SQLite itself would not open is nobody's, unless all behind that is a cipher's: its
    // bytes are copied.
    Ok(if whole_pages && encrypted {
        Content::Opaque
    } else if whole_pages && !begins_as_database && companions.log && has_log_magic(path) {
        Content::Logged
    } else {
        Content::File
    })
}

fn read_head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    let limit = u64::try_from(SNIFF_BYTES).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut head)?;
    Ok(head)
}

fn has_log_magic(database: &Path) -> bool {
    let begins = beginning(&companion_path(database, "-wal"));
    begins.is_some_and(|magic| WAL_MAGICS.contains(&u32::from_be_bytes(magic)))
}

/// What a journal begins with that is not done with (SQLite file format, section 3).
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

fn has_journal_magic(database: &Path) -> bool {
    beginning(&companion_path(database, "-journal")) == Some(JOURNAL_MAGIC)
}

/// The first bytes of a companion; none of what is no file, or shorter.
fn beginning<const N: usize>(companion: &Path) -> Option<[u8; N]> {
    let mut file = open_read_only(companion).ok()??;
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether bytes look like a cipher's: 512 random bytes have about 221 distinct values (standard
/// deviation 5), while the headers of known formats have far fewer.
pub(crate) fn looks_encrypted(head: &[u8]) -> bool {
    head.len() >= SNIFF_BYTES && distinct(head) >= 190
}
