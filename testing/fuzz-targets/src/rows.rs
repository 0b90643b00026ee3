//! What is done to a database by a patch of its rows.

use std::cell::RefCell;
use std::path::Path;

use keyhaven_source::LiveDatabase;
use keyhaven_source::rows::{Mounted, PATCH_BYTES_MAX, SealedFile, apply, diff, digest};
use rusqlite::Connection;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Tables with and without rowids, a column that must be unique, a generated one, a trigger, and every type.
const SETUP: &str = "
    CREATE TABLE message(id INTEGER PRIMARY KEY, text TEXT, at REAL, body BLOB);
    CREATE INDEX by_text ON message(text);
    CREATE TABLE member(chat TEXT, person INTEGER, name TEXT, PRIMARY KEY(chat, person)) WITHOUT ROWID;
    CREATE TABLE seat(number INTEGER UNIQUE, person TEXT NOT NULL);
    CREATE TABLE sum(a INTEGER, b INTEGER, c INTEGER GENERATED ALWAYS AS (a + b) STORED);
    CREATE TABLE heard(id INTEGER);
    CREATE TRIGGER hears AFTER INSERT ON seat BEGIN INSERT INTO heard VALUES(new.number); END;
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n LIMIT 12)
      INSERT INTO message SELECT i, 'message ' || i, i / 7.0, zeroblob(i) FROM n;
    INSERT INTO member VALUES('one', 1, 'Ada'), ('one', 2, NULL), ('two', 1, 'Ada');
    INSERT INTO seat VALUES(1, 'Ada'), (2, 'Bea'), (3, 'Cleo');
    INSERT INTO sum(a, b) VALUES(1, 2), (3, 4);";

/// What apps do to them.
const CHANGES: &[&str] = &[
    "INSERT INTO message(text) VALUES('new')",
    "INSERT INTO message(id, text) VALUES(-5, 'first'), (9223372036854775807, 'last')",
    "UPDATE message SET text = 'edited' WHERE id % 3 = 0",
    "UPDATE message SET at = NULL, body = x'', text = 7 WHERE id = 3",
    "UPDATE message SET body = zeroblob(3000) WHERE id = 4",
    "DELETE FROM message WHERE id > 8",
    "DELETE FROM message",
    "INSERT INTO member VALUES('three', 1, 'Dora')",
    "UPDATE member SET name = 'Eva' WHERE chat = 'one'",
    "DELETE FROM member WHERE person = 1",
    "UPDATE member SET person = person + 10",
    "UPDATE seat SET number = 4 WHERE number = 3; UPDATE seat SET number = 3 WHERE number = 2",
    "INSERT INTO seat VALUES(NULL, 'Finn'), (NULL, 'Gus')",
    "DELETE FROM seat; INSERT INTO seat VALUES(7, 'Hal')",
    "UPDATE sum SET a = 100",
    "INSERT INTO sum(a, b) VALUES(5, 6); DELETE FROM heard",
    "UPDATE message SET id = id + 1000 WHERE id < 4",
    "INSERT INTO heard VALUES(1), (1), (NULL), (2.5), ('x')",
];

struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        // Where there is a folder that needs no disk, thousands of tries cost it nothing.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let world = Self {
            folder: folder.expect("a folder"),
        };
        let app = Connection::open(world.at("chat.db")).expect("a database");
        app.execute_batch(SETUP).expect("tables");
        drop(app);
        drop(world.copy("chat.db", "base"));
        world
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn copy(&self, database: &str, to: &str) -> Mounted {
        let mut database = LiveDatabase::at(self.at(database));
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let to = options.open(self.at(to)).expect("a file");
        let (file, _) = SealedFile::copy(&mut database, &to, &key).expect("a copy");
        Mounted::new(file).expect("a file for SQLite")
    }

    /// The last state, to be patched.
    fn shadow(&self, name: &str) -> Mounted {
        std::fs::copy(self.at("base"), self.at(name)).expect("a copy");
        open(&self.at(name))
    }

    /// The patch that leads to what an app makes of it.
    fn patch(&self, change: &str) -> Vec<u8> {
        std::fs::copy(self.at("chat.db"), self.at("changed.db")).expect("a copy");
        let app = Connection::open(self.at("changed.db")).expect("a database");
        app.execute_batch(change).expect("a change");
        drop(app);
        let new = self.copy("changed.db", "new");
        let diffed = diff(&new, &self.shadow("old"), PATCH_BYTES_MAX, None);
        diffed.expect("it goes by rows").patch
    }
}

fn open(path: &Path) -> Mounted {
    let file = SealedFile::open(path, &key).expect("a sealed copy");
    Mounted::new(file).expect("a file for SQLite")
}

fn key(salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(*blake3::keyed_hash(&[7; 32], salt).as_bytes())
}

fn sum(copy: &Mounted) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let read = digest(copy, &mut |bytes| {
        hasher.update(bytes);
    });
    read.expect("every row can be read");
    *hasher.finalize().as_bytes()
}

fn with_world<T>(work: impl FnOnce(&World) -> T) -> T {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    WORLD.with(|world| work(&world.borrow()))
}

/// BACKUP-1: a patch, written by somebody with the keys, is refused, or leads to rows that can be read and that a patch of
/// ours leads to as well.
pub fn patch(bytes: &[u8]) {
    with_world(|world| {
        let Ok(patched) = apply(world.shadow("shadow"), bytes) else {
            return;
        };
        let there = sum(&patched);
        let base = world.shadow("again");
        // More rows that differ than a patch may hold, or tables that can be told no way apart.
        let Ok(diffed) = diff(&patched, &base, PATCH_BYTES_MAX, None) else {
            return;
        };
        let again = apply(base, &diffed.patch).expect("a patch of ours is one");
        assert_eq!(sum(&again), there, "another patch to the same rows");
    });
}

/// What apps do, alone and one after the other.
#[must_use]
pub fn patch_seeds() -> Vec<Vec<u8>> {
    with_world(|world| {
        let alone = CHANGES.windows(1);
        let together = CHANGES.windows(2).chain(CHANGES.windows(4));
        let changes = alone.chain(together).map(|changes| changes.join(";"));
        changes.map(|change| world.patch(&change)).collect()
    })
}
