//! The folder that is backed up, the app that has its databases open, and what stands in a folder.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::plan::{Change, Manner};
use crate::world::{noise, scratch};

pub(crate) type Digest = [u8; 32];

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Folder,
    Link(PathBuf),
    File(Digest),
    Database {
        /// The page image of the newest commit, the log folded in.
        image: Digest,
        /// All rows of all tables, with their numbers.
        rows: Digest,
    },
}

/// All that stands in a folder, by path.
pub(crate) type State = BTreeMap<PathBuf, Thing>;

/// The name of a file that a program has mapped. What it writes there changes neither size nor times.
const MAPPED: &str = "mapped";

/// Whether the file at this path may change without a sign, so that a backup may have it as it was.
pub(crate) fn is_mapped(path: &Path) -> bool {
    path == Path::new(MAPPED)
}

/// A source folder in use.
pub(crate) struct Source {
    folder: PathBuf,
    apps: BTreeMap<PathBuf, Connection>,
    /// A database beside the source. SQLite has the index of its log mapped, of which the source holds a second name.
    beside: Option<Connection>,
    manner: Manner,
}

impl Source {
    pub(crate) fn furnish(folder: &Path, manner: Manner) -> Self {
        std::fs::create_dir_all(folder.join("d0")).unwrap();
        let mut source = Self {
            folder: folder.to_path_buf(),
            apps: BTreeMap::new(),
            beside: None,
            manner,
        };
        // Where days follow each other, each has a page of its own to change.
        let rows = if manner.days { 4000 } else { 700 };
        source.new_database(Path::new("chats.db"), rows);
        for file in 0..9 {
            let bytes = noise(file, 1 + file as usize * 2900);
            std::fs::write(folder.join(format!("d0/f{file}")), bytes).unwrap();
        }
        source
    }

    /// A source that a restore has brought back.
    pub(crate) fn adopt(folder: &Path, manner: Manner) -> Self {
        let mut source = Self {
            folder: folder.to_path_buf(),
            apps: BTreeMap::new(),
            beside: None,
            manner,
        };
        source.open();
        source
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The app is closed: nothing stands beside its databases any more.
    pub(crate) fn close(&mut self) {
        self.apps.clear();
    }

    pub(crate) fn open(&mut self) {
        for path in walk(&self.folder)
            .into_keys()
            .filter(|path| is_database(path))
        {
            let app = Connection::open(self.folder.join(&path)).unwrap();
            // Its log is there, and what is known of it, as while an app is at work.
            count(&app, "sqlite_master");
            self.apps.insert(path, app);
        }
    }

    fn new_database(&mut self, path: &Path, rows: u64) {
        let app = Connection::open(self.folder.join(path)).unwrap();
        let journal = if self.manner.log { "WAL" } else { "DELETE" };
        app.execute_batch(&format!(
            "PRAGMA page_size = {}; PRAGMA journal_mode = {journal};
             CREATE TABLE message(id INTEGER PRIMARY KEY, text TEXT);",
            self.manner.page_size
        ))
        .unwrap();
        insert(&app, rows, 7);
        self.apps.insert(path.to_path_buf(), app);
    }

    /// What stands in it now.
    pub(crate) fn state(&self) -> State {
        let mut state = walk(&self.folder);
        state.retain(|path, _| !stands_beside_a_database(path));
        let thing = |path: &PathBuf| {
            let app = &self.apps[path];
            Thing::Database {
                image: image(&self.folder.join(path)),
                rows: rows(app),
            }
        };
        let things = state.into_iter().map(|(path, found)| {
            let thing = found.unwrap_or_else(|| match is_database(&path) {
                true => thing(&path),
                false => Thing::File(digest_of(&self.folder.join(&path))),
            });
            (path, thing)
        });
        things.collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = walk(&self.folder);
        let files = all.into_iter().filter(|(path, found)| {
            let is_other = is_database(path) || stands_beside_a_database(path) || is_mapped(path);
            found.is_none() && !is_other
        });
        files.map(|(path, _)| path).collect()
    }

    /// The folders, the source itself first.
    fn folders(&self) -> Vec<PathBuf> {
        let all = walk(&self.folder);
        let folders = all
            .into_iter()
            .filter(|(_, found)| *found == Some(Thing::Folder));
        let below = folders.map(|(path, _)| path);
        [PathBuf::new()].into_iter().chain(below).collect()
    }

    pub(crate) fn change(&mut self, change: &Change) {
        let at = |path: &Path| self.folder.join(path);
        let files = || self.files();
        let databases: Vec<&PathBuf> = self.apps.keys().collect();
        let app =
            |database: &super::chance::Pick| database.of(&databases).map(|path| &self.apps[*path]);
        match change {
            Change::Write {
                name,
                bytes,
                noise: seed,
            } => {
                let bytes = noise(*seed, *bytes as usize);
                std::fs::write(at(Path::new(&format!("f{name}"))), bytes).unwrap();
            }
            Change::Films { films, noise: seed } => {
                for film in 0..*films {
                    let bytes = noise(seed.wrapping_add(film), 3_000_000);
                    std::fs::write(at(Path::new(&format!("f{film}.mp4"))), bytes).unwrap();
                }
            }
            Change::Edit { file, at: place } => {
                if let Some(file) = file.of(&files()) {
                    let mut bytes = std::fs::read(at(file)).unwrap();
                    if let Some(place) = place.index(bytes.len()) {
                        bytes[place] ^= 0x55;
                    }
                    std::fs::write(at(file), bytes).unwrap();
                }
            }
            Change::Append {
                file,
                bytes,
                noise: seed,
            } => {
                if let Some(file) = file.of(&files()) {
                    let mut whole = std::fs::read(at(file)).unwrap();
                    whole.extend(noise(*seed, *bytes as usize));
                    std::fs::write(at(file), whole).unwrap();
                }
            }
            Change::Move { file, folder } => {
                if let (Some(file), Some(folder)) = (file.of(&files()), folder.of(&self.folders()))
                {
                    let to = at(folder).join(file.file_name().unwrap());
                    std::fs::rename(at(file), to).unwrap();
                }
            }
            Change::Copy { file, name } => {
                if let Some(file) = file.of(&files()) {
                    let bytes = std::fs::read(at(file)).unwrap();
                    std::fs::write(at(Path::new(&format!("f{name}"))), bytes).unwrap();
                }
            }
            Change::Delete { file } => {
                if let Some(file) = file.of(&files()) {
                    std::fs::remove_file(at(file)).unwrap();
                }
            }
            Change::DeleteMany => {
                let all = files();
                for file in all.iter().take(all.len() * 3 / 4) {
                    std::fs::remove_file(at(file)).unwrap();
                }
            }
            Change::MakeFolder { below, name } => {
                if let Some(below) = below.of(&self.folders()) {
                    std::fs::create_dir_all(at(below).join(format!("d{name}"))).unwrap();
                }
            }
            Change::MoveFolder { folder, name } => {
                let to = self.folder.join(format!("e{name}"));
                if let Some(folder) = folder.of(&self.folders()[1..])
                    && !to.exists()
                {
                    std::fs::rename(at(folder), to).unwrap();
                }
            }
            Change::RemoveFolder { folder } => {
                if let Some(folder) = folder.of(&self.folders()[1..]) {
                    std::fs::remove_dir_all(at(folder)).unwrap();
                }
            }
            Change::Link { name, to } => {
                let link = at(Path::new(&format!("l{name}")));
                if std::fs::symlink_metadata(&link).is_ok() {
                    std::fs::remove_file(&link).unwrap();
                }
                std::os::unix::fs::symlink(format!("f{to}"), link).unwrap();
            }
            Change::NewDatabase { name } => {
                let path = PathBuf::from(format!("s{name}.db"));
                if self.apps.contains_key(&path) {
                    // The app throws it away.
                    self.apps.remove(&path);
                    std::fs::remove_file(self.folder.join(&path)).unwrap();
                } else {
                    self.new_database(&path, 40);
                }
            }
            Change::Insert {
                database,
                rows,
                noise,
            } => {
                if let Some(app) = app(database) {
                    insert(app, *rows, *noise);
                }
            }
            Change::Update {
                database,
                every,
                noise,
            } => {
                if let Some(app) = app(database) {
                    app.execute(
                        "UPDATE message SET text = printf('edited %d', id + ?2) WHERE id % ?1 = 0",
                        [every.cast_signed(), (noise % 1_000_000).cast_signed()],
                    )
                    .unwrap();
                }
            }
            Change::EditRow {
                database,
                row,
                noise,
            } => {
                if let Some(app) = app(database) {
                    let last: Option<u32> = app
                        .query_row("SELECT max(id) FROM message", [], |row| row.get(0))
                        .unwrap();
                    let row = row.index(last.unwrap_or(0) as usize).unwrap_or(0);
                    app.execute(
                        "UPDATE message SET text = printf('again %d', ?2)
                         WHERE id = (SELECT min(id) FROM message WHERE id >= ?1)",
                        [row.cast_signed() as i64, (noise % 1_000_000).cast_signed()],
                    )
                    .unwrap();
                }
            }
            Change::DeleteRows { database, every } => {
                if let Some(app) = app(database) {
                    let every = every.cast_signed();
                    app.execute("DELETE FROM message WHERE id % ?1 = 1", [every])
                        .unwrap();
                }
            }
            Change::NewTable { database, name } => {
                if let Some(app) = app(database) {
                    app.execute_batch(&format!(
                        "CREATE TABLE IF NOT EXISTS t{name}(id INTEGER PRIMARY KEY, a, b BLOB);
                         INSERT INTO t{name}(a, b) SELECT id, text FROM message WHERE id % 7 = 0;"
                    ))
                    .unwrap();
                }
            }
            Change::Vacuum { database } => {
                if let Some(app) = app(database) {
                    app.execute_batch("VACUUM").unwrap();
                }
            }
            Change::FoldLog { database } => {
                if let Some(app) = app(database) {
                    app.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                        .unwrap();
                }
            }
            Change::Reopen => {
                self.close();
                self.open();
            }
            Change::Unseen => self.write_mapped(),
        }
    }

    /// What the file system says of the mapped file, and what it holds.
    pub(crate) fn mapped(&self) -> Option<([i64; 6], Digest)> {
        let path = self.folder.join(MAPPED);
        let found = path.metadata().ok()?;
        let times = [
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
            found.ino().cast_signed(),
            found.size().cast_signed(),
        ];
        Some((times, digest_of(&path)))
    }

    fn write_mapped(&mut self) {
        let database = self.folder.with_extension("beside");
        let beside = self.beside.get_or_insert_with(|| {
            let beside = Connection::open(&database).unwrap();
            beside
                .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE one(at);")
                .unwrap();
            beside
        });
        beside.execute("INSERT INTO one VALUES(0)", []).unwrap();
        let (index, mapped) = (beside_of(&database, "-shm"), self.folder.join(MAPPED));
        let is_it = |found: std::fs::Metadata| found.ino() == index.metadata().unwrap().ino();
        // A restore puts a file of its own in its place.
        if !mapped.metadata().is_ok_and(is_it) {
            let _ = std::fs::remove_file(&mapped);
            std::fs::hard_link(&index, &mapped).unwrap();
        }
    }
}

fn insert(app: &Connection, rows: u64, seed: u64) {
    app.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO message(text) SELECT printf('message %d of %d', i, ?2) FROM n",
        [rows.cast_signed(), (seed % 1_000_000).cast_signed()],
    )
    .unwrap();
}

fn count(app: &Connection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    app.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// What a restore has brought back.
pub(crate) fn restored_state(folder: &Path) -> State {
    let things = walk(folder).into_iter().map(|(path, found)| {
        let whole = folder.join(&path);
        let thing = found.unwrap_or_else(|| match is_database(&path) {
            true => Thing::Database {
                image: digest_of(&whole),
                rows: rows(&as_it_is(&whole)),
            },
            false => Thing::File(digest_of(&whole)),
        });
        (path, thing)
    });
    things.collect()
}

/// A database that nothing is written beside while it is read.
fn as_it_is(path: &Path) -> Connection {
    let address = format!("file:{}?immutable=1", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(address, flags).unwrap()
}

/// A file that SQLite keeps beside a database.
fn beside_of(database: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", database.display()))
}

fn is_database(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "db")
}

fn stands_beside_a_database(path: &Path) -> bool {
    let name = path.to_string_lossy();
    ["-wal", "-shm", "-journal"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Folders and links as they are; of what is neither, the name.
fn walk(root: &Path) -> BTreeMap<PathBuf, Option<Thing>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_path_buf();
            let thing = if kind.is_dir() {
                open.push(entry.path());
                Some(Thing::Folder)
            } else if kind.is_symlink() {
                Some(Thing::Link(std::fs::read_link(entry.path()).unwrap()))
            } else {
                None
            };
            found.insert(path, thing);
        }
    }
    found
}

fn digest_of(path: &Path) -> Digest {
    *blake3::hash(&std::fs::read(path).unwrap()).as_bytes()
}

/// The page image of a database in use, as SQLite itself makes it of a copy. Another process makes the copy: who closes a file
/// that this one has open lets go of its locks.
fn image(database: &Path) -> Digest {
    let copy = scratch();
    let log = beside_of(database, "-wal");
    let mut command = Command::new("cp");
    command.arg(database).arg(copy.path());
    // SAFETY of the state: nobody writes meanwhile, so the two belong together.
    if log.exists() {
        Command::new("cp")
            .arg(&log)
            .arg(copy.path())
            .status()
            .unwrap();
    }
    assert!(command.status().unwrap().success());
    let path = copy.path().join(database.file_name().unwrap());
    let folding = Connection::open(&path).unwrap();
    folding
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(folding);
    digest_of(&path)
}

/// All rows of all tables.
fn rows(database: &Connection) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let mut names = database.prepare(sql).unwrap();
    let names = names.query_map([], |row| row.get(0)).unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    for name in names {
        hasher.update(name.as_bytes());
        let sql = format!("SELECT rowid, * FROM \"{name}\" ORDER BY rowid");
        let mut all = database.prepare(&sql).unwrap();
        let columns = all.column_count();
        let mut all = all.query([]).unwrap();
        while let Some(row) = all.next().unwrap() {
            for column in 0..columns {
                let (kind, bytes) = match row.get_ref(column).unwrap() {
                    ValueRef::Null => (0, Vec::new()),
                    ValueRef::Integer(number) => (1, number.to_le_bytes().to_vec()),
                    ValueRef::Real(number) => (2, number.to_le_bytes().to_vec()),
                    ValueRef::Text(text) => (3, text.to_vec()),
                    ValueRef::Blob(bytes) => (4, bytes.to_vec()),
                };
                hasher.update(&[kind]);
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(&bytes);
            }
        }
    }
    *hasher.finalize().as_bytes()
}
