//! The row tier, whole: backups by rows, the chain of patches, the ways back, and the fall to pages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test program, helpers included: a failure is a panic"
)]

use std::path::{Path, PathBuf};

use keyhaven::{
    BackupOptions, BackupReport, Cancel, Depth, Keyhaven, Outcome, Place, RestoreError,
    RestoreOptions, Setup, Tier, Way,
};
use keyhaven_testkit::copy_folder;
use rusqlite::Connection;

struct World {
    folder: tempfile::TempDir,
    haven: Keyhaven,
    app: Connection,
}

const SETUP: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE message(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, body BLOB);
    CREATE VIRTUAL TABLE found USING fts5(text, content='message', content_rowid='id');
    CREATE TRIGGER more AFTER INSERT ON message BEGIN
      INSERT INTO found(rowid, text) VALUES (new.id, new.text); END;
    WITH RECURSIVE n(v) AS (VALUES(1) UNION ALL SELECT v + 1 FROM n LIMIT 3000)
      INSERT INTO message(text, body) SELECT 'message number ' || v, randomblob(300) FROM n;";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chats = folder.path().join("chats");
        std::fs::create_dir(&chats).unwrap();
        let app = Connection::open(chats.join("chat.db")).unwrap();
        app.execute_batch(SETUP).unwrap();
        let place = Place::parse(folder.path().join("store").to_str().unwrap()).unwrap();
        let setup = Setup::begin(&folder.path().join("home"), &chats, place).unwrap();
        let digits = setup.recovery_key().to_string();
        let haven = setup.prove_recovery_key(&digits).unwrap().finish().unwrap();
        Self { folder, haven, app }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backup(&self, tier: Tier) -> BackupReport {
        let options = BackupOptions {
            tier,
            ..BackupOptions::default()
        };
        let report = self.haven.backup(options, &mut ()).unwrap();
        assert_ne!(report.outcome, Outcome::Partial { pending_files: 1 });
        report
    }

    fn way(&self, tier: Tier) -> Way {
        self.backup(tier).ways.pop().unwrap()
    }

    fn day(&self, number: u32) {
        let sql = format!(
            "INSERT INTO message(text, body) VALUES ('day {number} brings words', randomblob(100));
             UPDATE message SET text = 'edited on {number}' WHERE id = {number} * 7;
             DELETE FROM message WHERE id = {number} * 11;"
        );
        self.app.execute_batch(&sql).unwrap();
    }

    fn restore(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        let restored = self
            .haven
            .restore(&to, &RestoreOptions::default(), &mut ())
            .unwrap();
        assert_eq!(restored.report.lost, []);
        to.join("chat.db")
    }

    /// The shadow of the one database.
    fn shadow(&self) -> PathBuf {
        let folder = std::fs::read_dir(self.path("home/state/shadow")).unwrap();
        folder
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|kind| kind == "shadow"))
            .unwrap()
    }

    /// The restored file has what the app's has, and is sound.
    fn holds(&self, file: &Path) {
        let back = Connection::open(file).unwrap();
        let check: String = back
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        for table in [
            "message",
            "found_data",
            "found_idx",
            "found_docsize",
            "sqlite_sequence",
        ] {
            assert_eq!(rows(&back, table), rows(&self.app, table), "{table}");
        }
        let found: i64 = back
            .query_row(
                "SELECT count(*) FROM found WHERE found MATCH 'message'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert!(found > 1000);
    }
}

fn rows(database: &Connection, table: &str) -> Vec<String> {
    let columns = database
        .prepare(&format!("SELECT * FROM {table}"))
        .unwrap()
        .column_count();
    let key = if table == "found_idx" { "" } else { "rowid, " };
    let mut statement = database
        .prepare(&format!("SELECT {key}* FROM {table}"))
        .unwrap();
    let columns = columns + usize::from(!key.is_empty());
    let mut rows = statement.query([]).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<_> = (0..columns).map(|at| row.get_ref(at).unwrap()).collect();
        all.push(format!("{values:?}"));
    }
    all
}

/// BACKUP-1: every day of a chain comes back with exactly its rows, whichever way it is asked for.
#[test]
fn a_chain_of_patches_restores_the_exact_rows() {
    let world = World::new();
    assert!(
        !world.way(Tier::Rows).by_rows,
        "the first backup is the base"
    );
    for day in 1..=4 {
        world.day(day);
        let way = world.way(Tier::Rows);
        assert!(way.by_rows, "{way:?}");
        assert_eq!(way.patches, u64::from(day));
        let in_table = |name: &str| way.tables.iter().find(|table| table.name == name);
        let deleted_changed_inserted = in_table("message").map(|table| table.rows);
        assert_eq!(deleted_changed_inserted, Some(3), "{way:?}");
        assert!(
            way.tables.len() > 2 && way.rows == way.tables.iter().map(|one| one.rows).sum::<u64>()
        );
        world.holds(&world.restore(&format!("back-{day}")));
    }
    // Again into the same folder: its rows are there already. With others in its place it asks.
    let again = |name: &str| {
        let to = world.path(name);
        world
            .haven
            .restore(&to, &RestoreOptions::default(), &mut ())
    };
    assert_eq!(again("back-4").unwrap().report.already_there, 1);
    assert!(matches!(again("back-3"), Err(RestoreError::Differs(_))));
}

#[test]
fn one_file_is_read_out_and_everything_is_verified() {
    let world = World::new();
    world.backup(Tier::Rows);
    world.day(1);
    assert!(world.way(Tier::Rows).by_rows);
    let mut out = Vec::new();
    world
        .haven
        .cat(None, Path::new("chat.db"), &mut out)
        .unwrap();
    std::fs::write(world.path("cat.db"), out).unwrap();
    world.holds(&world.path("cat.db"));
    for depth in [Depth::Structure, Depth::All] {
        let report = world
            .haven
            .verify(depth, None, &Cancel::new(), &mut ())
            .unwrap();
        assert_eq!(report.lost, []);
    }
}

/// BACKUP-3: what stays on the device holds nothing in the clear.
#[test]
fn the_shadow_is_sealed() {
    let world = World::new();
    world.backup(Tier::Rows);
    world.day(1);
    world.backup(Tier::Rows);
    let shadows = world.path("home/state/shadow");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(shadows).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for needle in ["message number", "CREATE TABLE", "SQLite format"] {
            assert!(
                !bytes
                    .windows(needle.len())
                    .any(|part| part == needle.as_bytes())
            );
        }
        names.push(path.extension().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["shadow", "state"]);
    // Who asks for pages keeps no copy.
    world.day(2);
    let way = world.way(Tier::Pages);
    assert!(!way.by_rows);
    assert!(!world.path("home/state/shadow").exists());
    world.holds(&world.restore("back"));
}

/// BACKUP-1: who asks for pages gets the exact bytes, and keeps no copy, also where nothing has changed since rows were sent.
#[test]
fn pages_that_are_asked_for_after_rows_are_the_exact_bytes() {
    let world = World::new();
    world.backup(Tier::Rows);
    world.day(1);
    world
        .app
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    assert!(world.way(Tier::Rows).by_rows);
    let bytes = std::fs::read(world.path("chats/chat.db")).unwrap();
    assert_ne!(std::fs::read(world.restore("rows")).unwrap(), bytes);
    assert!(!world.way(Tier::Pages).by_rows);
    assert!(std::fs::read(world.restore("pages")).unwrap() == bytes);
    assert!(!world.path("home/state/shadow").exists());

    world.day(2);
    std::thread::sleep(std::time::Duration::from_millis(60));
    // Where there is no shadow, its pages go.
    assert!(!world.way(Tier::Rows).by_rows);
    assert!(world.path("home/state/shadow").exists());
    assert_eq!(world.backup(Tier::Pages).outcome, Outcome::Unchanged);
    assert!(!world.path("home/state/shadow").exists());
}

/// What cannot go by rows goes by pages in the same run, to the byte, and the chain begins anew.
#[test]
fn a_schema_change_a_lost_shadow_and_a_damaged_one_go_by_pages() {
    let world = World::new();
    world.backup(Tier::Rows);
    world.day(1);
    assert!(world.way(Tier::Rows).by_rows);
    world
        .app
        .execute_batch("CREATE INDEX i ON message(text)")
        .unwrap();
    let way = world.way(Tier::Rows);
    assert!(!way.by_rows && way.why.contains("schema"), "{way:?}");
    world.holds(&world.restore("schema"));
    world.day(2);
    assert_eq!(world.way(Tier::Rows).patches, 1);

    std::fs::remove_dir_all(world.path("home/state/shadow")).unwrap();
    world.day(3);
    let way = world.way(Tier::Rows);
    assert!(!way.by_rows && way.why.contains("no copy"), "{way:?}");
    world.holds(&world.restore("lost"));

    let shadow = world.shadow();
    let mut bytes = std::fs::read(&shadow).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shadow, bytes).unwrap();
    world.day(4);
    let way = world.way(Tier::Rows);
    assert!(!way.by_rows, "{way:?}");
    world.holds(&world.restore("damaged"));
}

/// BACKUP-1: what a patch does not carry of the header comes back all the same.
#[test]
fn a_day_on_which_the_journal_mode_changes_goes_by_pages() {
    let world = World::new();
    let chosen = |database: &Connection| {
        ["journal_mode", "default_cache_size"].map(|name| {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            database.pragma_query_value(None, name, read).unwrap()
        })
    };
    world.backup(Tier::Rows);
    for (day, change, why) in [
        (1, "journal_mode = DELETE", "its journal mode has changed"),
        (3, "journal_mode = WAL", "its journal mode has changed"),
        (
            5,
            "default_cache_size = 1234",
            "its default cache size has changed",
        ),
    ] {
        world
            .app
            .execute_batch(&format!("PRAGMA {change}"))
            .unwrap();
        world.day(day);
        let way = world.way(Tier::Rows);
        assert!(!way.by_rows && way.why == why, "{way:?}");
        assert_eq!(world.haven.ways(), [way]);
        for (name, by_rows) in [("pages", false), ("rows", true)] {
            if by_rows {
                world.day(day + 1);
                assert!(world.way(Tier::Rows).by_rows);
            }
            let file = world.restore(&format!("{name} {day}"));
            assert_eq!(
                chosen(&Connection::open(&file).unwrap()),
                chosen(&world.app)
            );
            world.holds(&file);
        }
    }
}

/// BACKUP-2: a run that died after its shadow had moved on, before its snapshot, costs pages and
/// nothing else: a shadow counts only as the state that the store has.
#[test]
fn a_shadow_that_is_ahead_of_the_store_is_not_used() {
    let world = World::new();
    world.backup(Tier::Rows);
    let kept = world.path("store-of-then");
    copy_folder(&world.path("home/state"), &world.path("state-of-then")).unwrap();
    copy_folder(&world.path("store"), &kept).unwrap();
    world.day(1);
    assert!(world.way(Tier::Rows).by_rows);
    // The snapshot never came about: store and head are those of before, the shadow is not.
    let shadow = world.path("shadow-of-now");
    copy_folder(&world.path("home/state/shadow"), &shadow).unwrap();
    for (from, to) in [("state-of-then", "home/state"), ("store-of-then", "store")] {
        std::fs::remove_dir_all(world.path(to)).unwrap();
        copy_folder(&world.path(from), &world.path(to)).unwrap();
    }
    std::fs::remove_dir_all(world.path("home/state/shadow")).unwrap();
    copy_folder(&shadow, &world.path("home/state/shadow")).unwrap();
    world.day(2);
    let way = world.way(Tier::Rows);
    assert!(!way.by_rows && way.why.contains("no copy"), "{way:?}");
    world.holds(&world.restore("back"));
}

/// BACKUP-1: a shadow of an earlier day beside the mark of a later one, as a home put together from two copies has it, is not
/// compared with: whole, or a part of its pages.
#[test]
fn an_older_shadow_beside_a_newer_mark_is_not_used() {
    for parts in [1, 2] {
        let world = World::new();
        world.backup(Tier::Rows);
        world.day(1);
        assert!(world.way(Tier::Rows).by_rows);
        let shadow = world.shadow();
        let older = std::fs::read(&shadow).unwrap();
        world.day(2);
        assert!(world.way(Tier::Rows).by_rows);
        assert_eq!(shadow, world.shadow());
        let mut mixed = std::fs::read(&shadow).unwrap();
        let from = older.len() - older.len() / parts;
        assert_ne!(mixed[from..older.len()], older[from..]);
        mixed.truncate(older.len());
        mixed[from..].copy_from_slice(&older[from..]);
        std::fs::write(&shadow, mixed).unwrap();

        world.day(3);
        let way = world.way(Tier::Rows);
        assert!(
            !way.by_rows && way.why.contains("no copy"),
            "{parts}: {way:?}"
        );
        world.holds(&world.restore("back"));
        world.day(4);
        assert!(world.way(Tier::Rows).by_rows);
        world.holds(&world.restore("later"));
    }
}

/// Rows as they were are no patch; a small database is not worth one.
#[test]
fn nothing_new_is_no_patch_and_small_databases_stay_with_pages() {
    let world = World::new();
    world.backup(Tier::Rows);
    world.day(1);
    world.backup(Tier::Rows);
    world
        .app
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let way = world.way(Tier::Rows);
    assert!(way.by_rows && way.rows == 0 && way.patches == 1, "{way:?}");
    world.holds(&world.restore("back"));
    world.day(2);
    let way = world.way(Tier::Auto);
    assert!(!way.by_rows && way.why.contains("small"), "{way:?}");
    assert_eq!(world.haven.ways(), [way]);
    world.holds(&world.restore("small"));
    // Of what is gone nothing is told any more.
    let chats = world.path("chats");
    let other = Connection::open(chats.join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE t(a)").unwrap();
    world.backup(Tier::Rows);
    assert_eq!(world.haven.ways().len(), 2);
    std::fs::remove_file(chats.join("other.db")).unwrap();
    let options = BackupOptions {
        accept_shrunk: true,
        ..BackupOptions::default()
    };
    world.haven.backup(options, &mut ()).unwrap();
    let only_the_chat = || {
        let told = world.haven.ways();
        assert!(
            matches!(told.as_slice(), [way] if way.path == Path::new("chat.db")),
            "{told:?}"
        );
    };
    only_the_chat();
    // What is none any more stays in the backup as it was, and is told as before.
    let other = Connection::open(chats.join("other.db")).unwrap();
    other.execute_batch("CREATE TABLE t(a)").unwrap();
    drop(other);
    world.backup(Tier::Rows);
    assert_eq!(world.haven.ways().len(), 2);
    std::fs::write(chats.join("other.db"), "words").unwrap();
    let report = world
        .haven
        .backup(BackupOptions::default(), &mut ())
        .unwrap();
    assert_eq!(report.outcome, Outcome::Partial { pending_files: 1 });
    assert_eq!(world.haven.ways().len(), 2);
    // Under another name it is a file, and nothing is told of it.
    std::fs::rename(chats.join("other.db"), chats.join("other.txt")).unwrap();
    let options = BackupOptions {
        accept_shrunk: true,
        ..BackupOptions::default()
    };
    world.haven.backup(options, &mut ()).unwrap();
    only_the_chat();
    // Without the store it is told from what is on the device.
    std::fs::rename(world.path("store"), world.path("away")).unwrap();
    only_the_chat();
}

#[test]
fn a_base_carries_thirty_patches() {
    let world = World::new();
    world.backup(Tier::Rows);
    for day in 1..=30 {
        world.day(day);
        assert_eq!(world.way(Tier::Rows).patches, u64::from(day));
    }
    world.day(31);
    let way = world.way(Tier::Rows);
    assert!(!way.by_rows && way.why.contains("30 patches"), "{way:?}");
    world.day(32);
    assert_eq!(world.way(Tier::Rows).patches, 1);
    world.holds(&world.restore("back"));
}

/// BACKUP-1: unique values that change places between the first and the last row go by rows, though it takes several patches.
#[test]
fn a_large_day_on_which_unique_values_change_places_goes_by_rows() {
    let world = World::new();
    world
        .app
        .execute_batch(
            "CREATE TABLE seat(id INTEGER PRIMARY KEY, place INT UNIQUE, body BLOB);
             WITH RECURSIVE n(v) AS (VALUES(0) UNION ALL SELECT v + 1 FROM n LIMIT 60000)
               INSERT INTO seat SELECT v, v, randomblob(150) FROM n;",
        )
        .unwrap();
    world.backup(Tier::Rows);
    world
        .app
        .execute_batch(
            "UPDATE seat SET place = -place - 1 WHERE id < 30000;
             UPDATE seat SET place = 29999 + place + 1 WHERE place < 0;",
        )
        .unwrap();
    let way = world.way(Tier::Rows);
    assert!(way.by_rows && way.patches > 2, "{way:?}");
    let file = world.restore("back");
    world.holds(&file);
    let back = Connection::open(file).unwrap();
    assert_eq!(rows(&back, "seat"), rows(&world.app, "seat"));
}

/// BACKUP-1: what has no room in one patch comes in several; what weighs half of the pages goes by pages.
#[test]
fn a_large_day_comes_in_several_patches() {
    let world = World::new();
    let messages = |count: u32| {
        let sql = format!(
            "WITH RECURSIVE n(v) AS (VALUES(1) UNION ALL SELECT v + 1 FROM n LIMIT {count})
               INSERT INTO message(text, body) SELECT 'a picture ' || v, randomblob(4000) FROM n;"
        );
        world.app.execute_batch(&sql).unwrap();
    };
    messages(10_000);
    world.backup(Tier::Rows);
    // More than 8 MiB, in two tables and more; some of it instead of what was there.
    messages(4_000);
    world
        .app
        .execute_batch(
            "DELETE FROM message WHERE id % 3 = 0; INSERT INTO found(found) VALUES ('optimize')",
        )
        .unwrap();
    let way = world.way(Tier::Rows);
    assert!(way.by_rows && way.patches > 1, "{way:?}");
    assert!(way.rows > 5_000 && way.bytes > 8 << 20, "{way:?}");
    world.holds(&world.restore("back"));
    let patches = way.patches;
    world.day(1);
    assert_eq!(world.way(Tier::Rows).patches, patches + 1);
    world.holds(&world.restore("the next day"));
    messages(8_000);
    let way = world.way(Tier::Rows);
    assert!(!way.by_rows && way.why.contains("too much"), "{way:?}");
    world.holds(&world.restore("by pages"));
}
