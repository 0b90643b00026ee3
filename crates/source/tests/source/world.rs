//! Valid worlds to test in: databases of every shape, and a sink that keeps what it is given.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use keyhaven_source::{
    DatabaseError, Image, ImageShape, LiveDatabase, PageSink, PageSource, Patience,
};
use rusqlite::Connection;

/// Keeps an image, and calls `at` before each page.
#[derive(Default)]
pub(crate) struct Spool<'a> {
    pub(crate) shape: Option<ImageShape>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) begun: u32,
    pub(crate) at: Option<&'a mut dyn FnMut(u32)>,
}

impl PageSink for Spool<'_> {
    fn begin(&mut self, shape: ImageShape) -> ControlFlow<()> {
        self.bytes.clear();
        self.shape = Some(shape);
        self.begun += 1;
        ControlFlow::Continue(())
    }

    fn page(&mut self, number: u32, bytes: &[u8]) -> ControlFlow<()> {
        let shape = self.shape.unwrap();
        assert_eq!(bytes.len() as u32, shape.page_size.bytes());
        assert_eq!(
            self.bytes.len() as u64,
            u64::from(number - 1) * bytes.len() as u64
        );
        if let Some(at) = self.at.as_mut() {
            at(number);
        }
        self.bytes.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }
}

/// Little patience, so that refusals come soon.
pub(crate) fn brief() -> Patience {
    Patience {
        lock_wait: Duration::from_millis(150),
        attempts_max: 3,
    }
}

/// Reads the database at `path`.
pub(crate) fn read(path: &Path) -> Result<(Image, Vec<u8>), DatabaseError> {
    read_from(&mut LiveDatabase::at(path).with_patience(brief()))
}

/// The same, of any source.
pub(crate) fn read_from(source: &mut dyn PageSource) -> Result<(Image, Vec<u8>), DatabaseError> {
    let mut spool = Spool::default();
    let image = source.read_pages(&mut spool)?;
    assert_eq!(spool.shape, Some(image.shape));
    assert_eq!(spool.bytes.len() as u64, image.shape.bytes());
    Ok((image, spool.bytes))
}

/// What stands in a folder: names, sizes, bytes.
pub(crate) fn listing(folder: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = if entry.file_type().unwrap().is_file() {
                fs::read(entry.path()).unwrap()
            } else {
                Vec::new()
            };
            (entry.file_name().as_bytes().to_vec(), bytes)
        })
        .collect()
}

/// The same without the log's index: it is memory that connections share, readers' marks included.
pub(crate) fn listing_without_index(folder: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut listing = listing(folder);
    for (name, bytes) in &mut listing {
        if name.ends_with(b"-shm") {
            bytes.clear();
        }
    }
    listing
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Make {
    pub(crate) page_size: u32,
    pub(crate) journal: &'static str,
    pub(crate) auto_vacuum: &'static str,
    pub(crate) rows: u32,
}

impl Default for Make {
    fn default() -> Self {
        Self {
            page_size: 4096,
            journal: "wal",
            auto_vacuum: "none",
            rows: 300,
        }
    }
}

/// The SQL of a chat store in small: a table, an index, full text, one without row ids.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE message(id INTEGER PRIMARY KEY, key TEXT UNIQUE, body TEXT, thumb BLOB);
    CREATE TABLE receipt(message INTEGER, who TEXT, at INTEGER, PRIMARY KEY(message, who)) WITHOUT ROWID;
    CREATE VIRTUAL TABLE fts USING fts5(body);
    CREATE VIRTUAL TABLE fts4 USING fts4(body);";

/// Makes a database and leaves the connection to the caller.
pub(crate) fn make(path: &Path, make: Make) -> Connection {
    let database = Connection::open(path).unwrap();
    database
        .execute_batch(&format!(
            "PRAGMA page_size={}; PRAGMA auto_vacuum={}; PRAGMA journal_mode={}; {SCHEMA}",
            make.page_size, make.auto_vacuum, make.journal
        ))
        .unwrap();
    fill(&database, 0, make.rows);
    database
}

/// Adds rows in one transaction.
pub(crate) fn fill(database: &Connection, from: u32, rows: u32) {
    let transaction = database.unchecked_transaction().unwrap();
    for id in from..from + rows {
        let body = format!(
            "message number {id} about {} and {}",
            id * 7919 % 101,
            id % 13
        );
        let key = format!("{:08x}", id.wrapping_mul(2_654_435_761));
        transaction
            .execute(
                "INSERT INTO message VALUES(?1, ?2, ?3, randomblob(200))",
                (id, &key, &body),
            )
            .unwrap();
        transaction
            .execute("INSERT INTO fts(rowid, body) VALUES(?1, ?2)", (id, &body))
            .unwrap();
        transaction
            .execute("INSERT INTO fts4(docid, body) VALUES(?1, ?2)", (id, &body))
            .unwrap();
        transaction
            .execute(
                "INSERT INTO receipt VALUES(?1, 'someone', ?2)",
                (id, id * 3),
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}

/// The image that SQLite itself makes of a copy of the files: it opens the copy, folds its log
/// into it and closes it.
pub(crate) fn image_by_sqlite(path: &Path) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(path, &copy).unwrap();
    let log = path.with_file_name(format!(
        "{}-wal",
        path.file_name().unwrap().to_str().unwrap()
    ));
    if log.exists() {
        fs::copy(log, folder.path().join("copy.db-wal")).unwrap();
    }
    let database = Connection::open(&copy).unwrap();
    let busy: i64 = database
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(busy, 0);
    drop(database);
    fs::read(copy).unwrap()
}

/// Opens an image as a database and has SQLite check all of it.
pub(crate) fn check(image: &[u8]) -> Connection {
    let folder = tempfile::tempdir().unwrap().keep();
    let path = folder.join("image.db");
    fs::write(&path, image).unwrap();
    let database = Connection::open(&path).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    // The connection keeps the files; their names are not needed any more.
    let _: i64 = database
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::remove_dir(folder).unwrap();
    database
}

/// Tries until something that must come soon after something else does: on a busy machine a moment
/// may be too long now and then.
pub(crate) fn soon_enough(mut attempt: impl FnMut() -> bool) {
    assert!((0..100).any(|_| attempt()), "never soon enough");
}
