//! What a folder holds, small enough to keep when the folder is gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OpenFlags, types::ValueRef};

use crate::corpus::{checkpoint, close};
use crate::error::{CorpusError, at};
use crate::image::{ImageDigest, beside};

/// The first bytes of every SQLite database.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// A database's state: its page image, and its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabasePrint {
    /// The page image, the write-ahead log folded in.
    pub image: ImageDigest,
    /// Rows of all tables, row ids included.
    pub rows: u64,
    rows_digest: RowsDigest,
}

/// A digest of every row of every ordinary table of a database, row ids included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowsDigest([u8; 32]);

/// Digests of everything in a folder: the bytes of each file, and of each database the page image and the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    files: BTreeMap<PathBuf, [u8; 32]>,
    databases: BTreeMap<PathBuf, DatabasePrint>,
}

/// One way in which two folders differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The first folder has it, the second one not.
    Missing(PathBuf),
    /// The second folder has it, the first one not.
    Unexpected(PathBuf),
    /// The files' bytes, or the databases' pages, differ.
    Bytes(PathBuf),
    /// The databases' rows differ.
    Rows(PathBuf),
}

impl Fingerprint {
    /// Reads everything in `root`, in which nobody may be writing.
    ///
    /// Databases are copied to the system's folder for temporary files and read there, so that the originals
    /// and what stands beside them stay as they are.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn of(root: &Path) -> Result<Self, CorpusError> {
        let mut print = Self::default();
        print.add(root, root)?;
        Ok(print)
    }

    /// In what the two differ; nothing when they hold the same.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (path, digest) in &self.files {
            match other.files.get(path) {
                None => found.push(Difference::Missing(path.clone())),
                Some(other) if other != digest => found.push(Difference::Bytes(path.clone())),
                Some(_) => {}
            }
        }
        for (path, print) in &self.databases {
            match other.databases.get(path) {
                None => found.push(Difference::Missing(path.clone())),
                Some(other) => {
                    if other.image != print.image {
                        found.push(Difference::Bytes(path.clone()));
                    }
                    if other.rows_digest != print.rows_digest {
                        found.push(Difference::Rows(path.clone()));
                    }
                }
            }
        }
        let new_files = other
            .files
            .keys()
            .filter(|path| !self.files.contains_key(*path));
        let new_databases = other
            .databases
            .keys()
            .filter(|path| !self.databases.contains_key(*path));
        found.extend(
            new_files
                .chain(new_databases)
                .cloned()
                .map(Difference::Unexpected),
        );
        found
    }

    /// How many files were compared, databases apart.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The databases, by their path in the folder.
    pub fn databases(&self) -> impl Iterator<Item = (&Path, &DatabasePrint)> {
        self.databases
            .iter()
            .map(|(path, print)| (path.as_path(), print))
    }

    fn add(&mut self, root: &Path, folder: &Path) -> Result<(), CorpusError> {
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let path = entry.map_err(at(folder))?.path();
            let meta = fs::symlink_metadata(&path).map_err(at(&path))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
            if meta.is_dir() {
                self.add(root, &path)?;
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).map_err(at(&path))?;
                let hash = blake3::hash(target.as_os_str().as_encoded_bytes());
                self.files.insert(name, *hash.as_bytes());
            } else if belongs_to_a_database(&path) {
                continue;
            } else if is_database(&path)? {
                self.databases.insert(name, database(&path)?);
            } else {
                let file = File::open(&path).map_err(at(&path))?;
                let mut hash = blake3::Hasher::new();
                hash.update_reader(file).map_err(at(&path))?;
                self.files.insert(name, *hash.finalize().as_bytes());
            }
        }
        Ok(())
    }
}

fn is_database(path: &Path) -> Result<bool, CorpusError> {
    let mut head = Vec::with_capacity(SQLITE.len());
    let file = File::open(path).map_err(at(path))?;
    file.take(SQLITE.len() as u64)
        .read_to_end(&mut head)
        .map_err(at(path))?;
    Ok(head == SQLITE)
}

/// Whether the file is a log, index or journal that stands beside a database.
fn belongs_to_a_database(path: &Path) -> bool {
    let name = path.to_string_lossy();
    ["-wal", "-shm", "-journal"].iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|database| Path::new(database).is_file())
    })
}

fn database(path: &Path) -> Result<DatabasePrint, CorpusError> {
    static COPIES: AtomicU64 = AtomicU64::new(0);
    let number = COPIES.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("keyhaven-corpus-{}-{number}", std::process::id()));
    fs::create_dir(&folder).map_err(at(&folder))?;
    let print = read_copy(path, &folder.join("copy.db"));
    fs::remove_dir_all(&folder).map_err(at(&folder))?;
    print
}

fn read_copy(path: &Path, copy: &Path) -> Result<DatabasePrint, CorpusError> {
    for suffix in ["", "-wal", "-journal"] {
        let from = beside(path, suffix);
        if from.is_file() {
            fs::copy(&from, beside(copy, suffix)).map_err(at(&from))?;
        }
    }
    let db = Connection::open(copy)?;
    let (rows, rows_digest) = RowsDigest::count(&db)?;
    checkpoint(&db)?;
    close(db)?;
    Ok(DatabasePrint {
        image: ImageDigest::of_file(copy)?,
        rows,
        rows_digest,
    })
}

impl RowsDigest {
    /// Of a database in which nobody is writing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, CorpusError> {
        Self::of(&Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?)
    }

    /// Of what this connection sees.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn of(db: &Connection) -> Result<Self, CorpusError> {
        Ok(Self::count(db)?.1)
    }

    /// Hashes the rows of every ordinary table, in the order of their keys, and counts them.
    fn count(db: &Connection) -> Result<(u64, Self), CorpusError> {
        let mut tables = db.prepare(
            "SELECT name, wr FROM pragma_table_list
         WHERE schema = 'main' AND type IN ('table', 'shadow') ORDER BY name",
        )?;
        let tables: Vec<(String, bool)> = tables
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut hash = blake3::Hasher::new();
        let mut count = 0;
        for (table, without_rowid) in tables {
            put(&mut hash, b'n', table.as_bytes());
            let key = if without_rowid { "" } else { "_rowid_, " };
            let quoted = table.replace('"', "\"\"");
            let mut select = db.prepare(&format!("SELECT {key}* FROM \"{quoted}\""))?;
            let columns = select.column_count();
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                count += 1;
                for column in 0..columns {
                    match row.get_ref(column)? {
                        ValueRef::Null => put(&mut hash, b'0', &[]),
                        ValueRef::Integer(n) => put(&mut hash, b'i', &n.to_le_bytes()),
                        ValueRef::Real(x) => put(&mut hash, b'r', &x.to_bits().to_le_bytes()),
                        ValueRef::Text(text) => put(&mut hash, b't', text),
                        ValueRef::Blob(bytes) => put(&mut hash, b'b', bytes),
                    }
                }
            }
        }
        Ok((count, Self(*hash.finalize().as_bytes())))
    }
}

/// One value, with its kind and length before it.
fn put(hash: &mut blake3::Hasher, kind: u8, bytes: &[u8]) {
    hash.update(&[kind]);
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}
