//! BACKUP-1: a patch, applied to the last state, gives exactly the rows of the new one, whatever a
//! database is made of; what cannot be done so is refused by its name.

use std::path::Path;

use keyhaven_source::rows::{
    Beyond, Mounted, PATCH_BYTES_MAX, RowsError, SealedFile, Setting, Unfit, apply, diff, digest,
};
use keyhaven_source::{LiveDatabase, PageSink, PageSize, PageSource};
use rusqlite::Connection;
use zeroize::Zeroizing;

fn key(salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(*blake3::keyed_hash(&[7; 32], salt).as_bytes())
}

fn copy(database: &Path, to: &Path) -> Mounted {
    let mut options = std::fs::OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(true);
    let to = options.open(to).unwrap();
    let (file, _) = SealedFile::copy(&mut LiveDatabase::at(database), &to, &key).unwrap();
    Mounted::new(file).unwrap()
}

fn sum(copy: &Mounted) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    digest(copy, &mut |bytes| {
        hasher.update(bytes);
    })
    .unwrap();
    *hasher.finalize().as_bytes()
}

/// The pages of a copy, written out as a database file.
fn write_out(copy: &Mounted, to: &Path) {
    struct Out(Vec<u8>);
    impl PageSink for Out {
        fn begin(&mut self, _: keyhaven_source::ImageShape) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Continue(())
        }
        fn page(&mut self, _: u32, bytes: &[u8]) -> std::ops::ControlFlow<()> {
            self.0.extend_from_slice(bytes);
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut out = Out(Vec::new());
    copy.with_file(|file| file.pages(None).read_pages(&mut out).unwrap());
    std::fs::write(to, out.0).unwrap();
}

struct World {
    folder: tempfile::TempDir,
    app: Connection,
}

impl World {
    /// An app that has its database open, with a log, all the time.
    fn new(setup: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = Connection::open(folder.path().join("chat.db")).unwrap();
        app.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        app.execute_batch(setup).unwrap();
        Self { folder, app }
    }

    fn copy(&self, name: &str) -> Mounted {
        copy(
            &self.folder.path().join("chat.db"),
            &self.folder.path().join(name),
        )
    }

    /// Another one of the same state.
    fn copy_of(&self, name: &str, other: &str) -> Mounted {
        let [from, to] = [name, other].map(|name| self.folder.path().join(name));
        std::fs::copy(from, &to).unwrap();
        Mounted::new(SealedFile::open(&to, &key).unwrap()).unwrap()
    }

    /// Lets the app change something; the patch that leads there.
    fn change(&self, change: &str) -> (Mounted, Mounted, Result<Vec<u8>, RowsError>) {
        let shadow = self.copy("shadow");
        self.app.execute_batch(change).unwrap();
        let new = self.copy("new");
        let patch = diff(&new, &shadow, PATCH_BYTES_MAX, None).map(|diffed| diffed.patch);
        (shadow, new, patch)
    }
}

/// The change goes by rows: applied to the last state, it gives the new one, to the last rowid. The
/// file that a restore would write is a sound database.
fn goes_by_rows(setup: &str, change: &str) -> Vec<u8> {
    let world = World::new(setup);
    let (shadow, new, patch) = world.change(change);
    let patch = patch.unwrap();
    assert!(!patch.is_empty(), "{change}");
    assert_ne!(sum(&shadow), sum(&new), "{change}");
    let in_parts = world.copy_of("shadow", "again");
    let shadow = apply(shadow, &patch).unwrap();
    assert_eq!(sum(&shadow), sum(&new), "{change}");
    let in_parts = goes_in_parts(in_parts, &new, 64);
    assert_eq!(sum(&in_parts), sum(&new), "{change}, in parts");
    let names = ["restored.db", "source.db"].map(|name| world.folder.path().join(name));
    write_out(&shadow, &names[0]);
    write_out(&new, &names[1]);
    // As sound as the source, which an app may have filled against its own constraints.
    let [restored, source] = names.map(|name| {
        let database = Connection::open(name).unwrap();
        let ask = |sql| database.query_row(sql, [], |row| row.get::<_, String>(0));
        (ask("PRAGMA integrity_check"), ask("PRAGMA journal_mode"))
    });
    assert_eq!(restored, source, "{change}");
    assert_eq!(restored.1, Ok("wal".to_owned()), "{change}");
    patch
}

/// Patches that each hold a little more than `bytes_max`, one upon the other.
fn goes_in_parts(mut shadow: Mounted, new: &Mounted, bytes_max: usize) -> Mounted {
    let mut left: Option<Beyond> = None;
    loop {
        let part = diff(new, &shadow, bytes_max, left.as_ref()).unwrap();
        assert!(!part.patch.is_empty() || part.beyond.bytes == 0);
        // Less is left after each.
        assert!(left.is_none_or(|left| part.beyond.bytes < left.bytes));
        shadow = apply(shadow, &part.patch).unwrap();
        if part.beyond.bytes == 0 {
            return shadow;
        }
        left = Some(part.beyond);
    }
}

fn refused(setup: &str, change: &str) -> Unfit {
    let world = World::new(setup);
    let (shadow, _, patch) = world.change(change);
    let result = patch.and_then(|patch| apply(shadow, &patch));
    match result {
        Err(RowsError::Unfit(unfit)) => unfit,
        other => panic!("{change}: {other:?}"),
    }
}

const MESSAGES: &str =
    "CREATE TABLE message(id INTEGER PRIMARY KEY, text TEXT, at REAL, body BLOB);
    CREATE INDEX by_text ON message(text);
    INSERT INTO message(text, at, body) SELECT 'hello ' || value, value / 7.0, randomblob(50)
      FROM generate_series(1, 500);";

/// `generate_series` is not built in.
fn series(sql: &str) -> String {
    sql.replace(
        "generate_series(1, 500)",
        "(WITH RECURSIVE n(value) AS (VALUES(1) UNION ALL SELECT value + 1 FROM n LIMIT 500)
          SELECT value FROM n)",
    )
}

#[test]
fn inserts_updates_and_deletes_come_over() {
    let patch = goes_by_rows(
        &series(MESSAGES),
        "DELETE FROM message WHERE id % 50 = 0;
         UPDATE message SET text = 'edited' WHERE id % 70 = 0;
         UPDATE message SET at = NULL, body = x'' WHERE id = 3;
         INSERT INTO message(id, text) VALUES (-5, 'before all'), (9223372036854775807, 'last');",
    );
    assert!(patch.len() < 1000, "{}", patch.len());
}

/// Types, not only values: 1, 1.0, '1' and x'31' are four things.
#[test]
fn every_type_of_value_comes_over_as_it_is() {
    goes_by_rows(
        "CREATE TABLE v(a, b); INSERT INTO v VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5);",
        "UPDATE v SET b = 1.0 WHERE a = 1;
         UPDATE v SET b = '2' WHERE a = 2;
         UPDATE v SET b = x'33' WHERE a = 3;
         UPDATE v SET b = 9e999 WHERE a = 4;
         UPDATE v SET b = -9e999 WHERE a = 5;
         INSERT INTO v VALUES (NULL, 9e999 - 9e999), (-0.0, 0.1), (9223372036854775807, ''),
           (-9223372036854775808, zeroblob(100000)), ('a' || char(0) || 'b', CAST(x'ff00fe' AS TEXT));",
    );
}

/// A key of text leaves the rowid to SQLite: it must come over all the same.
#[test]
fn rowids_come_over_also_where_the_key_is_another() {
    goes_by_rows(
        "CREATE TABLE k(name TEXT PRIMARY KEY, n); CREATE TABLE none(a, b);
         INSERT INTO k VALUES ('a', 1), ('b', 2), ('c', 3); INSERT INTO none VALUES (1, 1), (1, 1);",
        "DELETE FROM k WHERE name = 'b';
         INSERT INTO k(rowid, name, n) VALUES (100, 'b', 2);
         INSERT INTO none SELECT * FROM none; DELETE FROM none WHERE rowid = 2;",
    );
}

#[test]
fn unique_values_may_change_places() {
    goes_by_rows(
        "CREATE TABLE u(id INTEGER PRIMARY KEY, place INT UNIQUE, a TEXT, b TEXT, UNIQUE(a, b));
         CREATE UNIQUE INDEX half ON u(a) WHERE place > 100;
         CREATE UNIQUE INDEX low ON u(b COLLATE NOCASE);
         INSERT INTO u VALUES (1, 10, 'x', 'p'), (2, 20, 'y', 'q'), (3, 300, 'z', 'r');",
        "UPDATE u SET place = -place; UPDATE u SET place = 30 + place;
         UPDATE u SET a = CASE a WHEN 'x' THEN 'y' WHEN 'y' THEN 'x' ELSE a END;
         UPDATE u SET b = b || '!'; UPDATE u SET b = 'Q' WHERE id = 1;",
    );
}

/// However a change is cut: a value may come to a row whose part is the first, from one whose part is the last.
#[test]
fn unique_values_may_change_places_over_many_parts() {
    for (setup, change) in [
        (
            "CREATE TABLE u(id INTEGER PRIMARY KEY, place INT UNIQUE, t TEXT);
             INSERT INTO u SELECT value, value, 'text' FROM generate_series(1, 500);",
            "UPDATE u SET place = -place; UPDATE u SET place = 501 + place;
             UPDATE u SET t = 'other' WHERE id % 3 = 0; DELETE FROM u WHERE id % 50 = 0;
             INSERT INTO u VALUES (-1, 500, 'from the last'), (1000, 1, 'from the first')
               ON CONFLICT DO NOTHING;",
        ),
        // What a conflict does in this table is not to happen.
        (
            "CREATE TABLE u(id INTEGER PRIMARY KEY, place INT UNIQUE ON CONFLICT IGNORE,
               t TEXT UNIQUE ON CONFLICT REPLACE);
             INSERT INTO u SELECT value, value, value FROM generate_series(1, 500);",
            "UPDATE u SET place = -place; UPDATE u SET place = 501 + place;
             UPDATE u SET t = -t; UPDATE u SET t = 501 + t;",
        ),
        (
            "CREATE TABLE u(name TEXT PRIMARY KEY, place INT UNIQUE, t TEXT) WITHOUT ROWID;
             INSERT INTO u SELECT 'name ' || value, value, 'text' FROM generate_series(1, 500);",
            "DELETE FROM u WHERE place > 450; UPDATE u SET place = -place;
             UPDATE u SET place = 501 + place; UPDATE u SET t = 'other' WHERE place % 3 = 0;
             INSERT INTO u VALUES ('a', 20, NULL), ('z', 10, NULL);",
        ),
    ] {
        goes_by_rows(&series(setup), change);
        let world = World::new(&series(setup));
        let (_, new, _) = world.change(change);
        // Of several sizes, so that the cuts lie in many places.
        for bytes_max in [20, 64, 300, 1000, 2500, 5000, 10_000] {
            let shadow = goes_in_parts(world.copy_of("shadow", "again"), &new, bytes_max);
            assert_eq!(sum(&shadow), sum(&new), "{change}, by {bytes_max}");
        }
    }
}

#[test]
fn tables_without_rowids_come_over() {
    goes_by_rows(
        "CREATE TABLE w(chat TEXT COLLATE NOCASE, n INT, text, PRIMARY KEY(n DESC, chat)) WITHOUT ROWID;
         CREATE INDEX w_text ON w(text, chat, n);
         INSERT INTO w VALUES ('a', 1, 'x'), ('b', 1, 'y'), ('c', 2, x'00'), ('d', 3, 1.5);",
        "UPDATE w SET text = 'z' WHERE chat = 'b'; DELETE FROM w WHERE chat = 'c';
         UPDATE w SET chat = 'A' WHERE chat = 'a'; INSERT INTO w VALUES ('e', -1, NULL), ('E', 7, 7);",
    );
}

/// SQLite takes any bytes for text, and finds a row by them.
#[test]
fn a_key_of_text_that_is_none_is_found() {
    let setup = "CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
                 INSERT INTO w VALUES (CAST(x'61ff' AS TEXT), 1), (CAST(x'61fe' AS TEXT), 2),
                   (CAST(x'61efbfbd' AS TEXT), 3), ('a' || char(0) || 'b', 4), ('b', 5);";
    goes_by_rows(
        setup,
        "UPDATE w SET v = 7 WHERE v = 2; DELETE FROM w WHERE v = 3;
         INSERT INTO w VALUES (CAST(x'fe' AS TEXT), 8);",
    );
    // Nothing is told of the rows that are as they were.
    let patch = goes_by_rows(setup, "UPDATE w SET v = 7 WHERE v = 5");
    let changed = [1, 1, 1, b'w', 2, 2, 1, 0, 1, 3, 1, b'b', 2, 1, 14, 0];
    assert_eq!(patch, changed);
}

#[test]
fn generated_columns_make_themselves() {
    goes_by_rows(
        "CREATE TABLE g(id INTEGER PRIMARY KEY, a INT, v TEXT AS ('v' || a)); CREATE INDEX g_a ON g(a);
         CREATE TABLE s(id INTEGER PRIMARY KEY, a INT, s INT AS (a * 2) STORED);
         INSERT INTO g(a) VALUES (1), (2), (3); INSERT INTO s(a) VALUES (1);",
        "UPDATE g SET a = a + 1 WHERE id = 3; INSERT INTO g(a) VALUES (10); DELETE FROM g WHERE id = 1;",
    );
}

#[test]
fn a_sequence_is_where_the_app_left_it() {
    goes_by_rows(
        "CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, t); CREATE TABLE t(id INTEGER PRIMARY KEY
           AUTOINCREMENT); INSERT INTO s(t) VALUES (1), (2);",
        "INSERT INTO s(t) VALUES (3), (4), (5); DELETE FROM s WHERE id > 3; INSERT INTO t DEFAULT VALUES;",
    );
    // Only the sequence itself has moved.
    goes_by_rows(
        "CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, t); INSERT INTO s(t) VALUES (1), (2);",
        "INSERT INTO s(t) VALUES (3); DELETE FROM s WHERE id = 3;",
    );
}

/// However a change is cut, beside statistics that are SQLite's own as it is.
#[test]
fn a_sequence_does_not_keep_what_is_left_from_coming() {
    let setup =
        "CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT); CREATE INDEX i ON s(t);
                 INSERT INTO s(t) SELECT 'text ' || value FROM generate_series(1, 500); ANALYZE;";
    let change = "INSERT INTO s(t) VALUES ('more'); ANALYZE";
    goes_by_rows(&series(setup), change);
    let world = World::new(&series(setup));
    let (_, new, _) = world.change(change);
    for bytes_max in [1, 10, 30, 100] {
        let shadow = goes_in_parts(world.copy_of("shadow", "again"), &new, bytes_max);
        assert_eq!(sum(&shadow), sum(&new), "by {bytes_max}");
    }
}

/// A full-text index lies in tables of its own, which are rows like others; its triggers have run
/// in the app and must not run again.
#[test]
fn full_text_indexes_and_triggers_come_over() {
    for fts in [
        "fts5(text, content='m', content_rowid='id')",
        "fts5(text, content='')",
        "fts4(content='m', text)",
    ] {
        let setup = format!(
            "CREATE TABLE m(id INTEGER PRIMARY KEY, text TEXT); CREATE VIRTUAL TABLE f USING {fts};
             CREATE TABLE count(n); INSERT INTO count VALUES (0);
             CREATE TRIGGER more AFTER INSERT ON m BEGIN
               INSERT INTO f(rowid, text) VALUES (new.id, new.text);
               UPDATE count SET n = n + 1; END;
             INSERT INTO m(text) SELECT 'word' || value || ' and more' FROM generate_series(1, 500);"
        );
        goes_by_rows(
            &series(&setup),
            "INSERT INTO m(text) VALUES ('some new words'), ('and others');",
        );
    }
}

/// The module and the tokenizer of a virtual table are the app's: they are never asked.
#[test]
fn a_virtual_table_of_an_unknown_module_is_no_hindrance() {
    goes_by_rows(
        "CREATE VIRTUAL TABLE f USING fts5(text); INSERT INTO f VALUES ('one'), ('two');
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE f USING fts5(text, tokenize=''own'')'
           WHERE name = 'f';",
        "INSERT INTO f_content VALUES (77, 'three');",
    );
}

#[test]
fn views_foreign_keys_checks_and_strict_tables_are_no_hindrance() {
    goes_by_rows(
        "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
         CREATE TABLE p(id INTEGER PRIMARY KEY) STRICT;
         CREATE TABLE c(p REFERENCES p ON DELETE CASCADE, n INT CHECK(n > 0) NOT NULL);
         CREATE VIEW v AS SELECT no_such_function(n) FROM c; INSERT INTO p VALUES (1), (2);
         INSERT INTO c VALUES (1, 1), (2, 2);",
        "DELETE FROM p WHERE id = 1; INSERT INTO c VALUES (99, -1);",
    );
}

#[test]
fn names_that_must_be_quoted_and_added_columns_come_over() {
    goes_by_rows(
        "CREATE TABLE \"a \"\" b\"(\"select\" INT, rowid TEXT, \"ä'ö\"); INSERT INTO \"a \"\" b\" VALUES (1, 'r', 2);
         ALTER TABLE \"a \"\" b\" ADD COLUMN later TEXT DEFAULT 'd';",
        "INSERT INTO \"a \"\" b\" VALUES (2, 's', 3, NULL); UPDATE \"a \"\" b\" SET \"select\" = 7 WHERE rowid = 'r';",
    );
}

#[test]
fn every_page_size_and_statistics_come_over() {
    for page_size in [512, 1024, 4096, 65_536] {
        let setup = format!(
            "PRAGMA journal_mode = DELETE; PRAGMA page_size = {page_size}; VACUUM;
            PRAGMA journal_mode = WAL; {MESSAGES} ANALYZE;"
        );
        goes_by_rows(
            &series(&setup),
            "DELETE FROM message WHERE id < 100; ANALYZE;",
        );
    }
}

#[test]
fn nothing_changed_is_an_empty_patch() {
    let world = World::new(&series(MESSAGES));
    let (shadow, new, patch) = world.change("PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(patch.unwrap(), Vec::<u8>::new());
    assert_eq!(sum(&shadow), sum(&new));
}

#[test]
fn what_does_not_go_by_rows_says_why() {
    let plain = "CREATE TABLE a(x); INSERT INTO a VALUES (1);";
    assert_eq!(
        refused(
            "PRAGMA encoding = 'UTF-16'; CREATE TABLE a(x)",
            "INSERT INTO a VALUES (1)"
        ),
        Unfit::Encoding
    );
    assert_eq!(
        refused(
            "CREATE TABLE a(rowid, _rowid_, oid)",
            "INSERT INTO a VALUES (1, 2, 3)"
        ),
        Unfit::HiddenRowid("a".into())
    );
    assert_eq!(refused(plain, "CREATE TABLE b(y)"), Unfit::SchemaChanged);
    assert_eq!(
        refused(plain, "ALTER TABLE a ADD COLUMN y"),
        Unfit::SchemaChanged
    );
}

/// BACKUP-1: a patch carries no number of the header, and a restore by rows promises each one that an app or a person chose there.
#[test]
fn a_number_of_the_header_that_has_changed_is_named() {
    let setup = "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = FULL; VACUUM;
                 CREATE TABLE a(x); INSERT INTO a VALUES (1);";
    let insert = "INSERT INTO a VALUES (2);";
    for (change, setting) in [
        ("PRAGMA journal_mode = WAL", Setting::JournalMode),
        ("PRAGMA default_cache_size = 1234", Setting::CacheSize),
        ("PRAGMA auto_vacuum = INCREMENTAL", Setting::VacuumMode),
        ("PRAGMA auto_vacuum = NONE; VACUUM", Setting::VacuumMode),
        ("PRAGMA page_size = 8192; VACUUM", Setting::PageSize),
        ("PRAGMA user_version = 5", Setting::UserVersion),
        ("PRAGMA application_id = 5", Setting::ApplicationId),
    ] {
        let changed = Unfit::HeaderChanged(setting);
        assert_eq!(refused(setup, &format!("{change};")), changed, "{change}");
        assert_eq!(refused(setup, &format!("{change}; {insert}")), changed);
    }
    goes_by_rows(&format!("{setup} PRAGMA journal_mode = WAL"), insert);
}

/// What SQLite writes into the header for itself is no such number, and what it has no statement for is one.
#[test]
fn each_field_of_the_header_is_one_or_the_other() {
    let world =
        World::new("CREATE TABLE a(x); INSERT INTO a VALUES (1); PRAGMA journal_mode = DELETE");
    let shadow = world.copy("shadow");
    let chat = world.folder.path().join("chat.db");
    let bytes = std::fs::read(&chat).unwrap();
    let told_of = |file: &[u8]| {
        std::fs::write(&chat, file).unwrap();
        match diff(&world.copy("new"), &shadow, PATCH_BYTES_MAX, None) {
            Ok(diffed) => {
                assert_eq!(diffed.patch, Vec::<u8>::new());
                None
            }
            Err(RowsError::Unfit(Unfit::HeaderChanged(setting))) => Some(setting),
            Err(other) => panic!("{other:?}"),
        }
    };
    let told = |at: usize, value: u8| {
        let mut altered = bytes.clone();
        altered[at] = value;
        told_of(&altered)
    };
    for (at, setting) in [
        (18, Setting::JournalMode),
        (20, Setting::ReservedBytes),
        (47, Setting::SchemaFormat),
        (72, Setting::Unnamed),
        (91, Setting::Unnamed),
    ] {
        let value = if at == 20 { 8 } else { 2 };
        assert_eq!(told(at, value), Some(setting), "byte {at}");
    }
    // An app that began anew.
    let anew = world.folder.path().join("anew.db");
    let app = Connection::open(&anew).unwrap();
    app.execute_batch("PRAGMA encoding = 'UTF-16le'; CREATE TABLE a(x)")
        .unwrap();
    drop(app);
    let anew = std::fs::read(anew).unwrap();
    assert_eq!(told_of(&anew), Some(Setting::Encoding));
    // The change counter and the version that it is valid for, the schema's cookie, the version of SQLite.
    for at in [27, 43, 95, 99] {
        assert_eq!(told(at, bytes[at].wrapping_add(1)), None, "byte {at}");
    }
}

/// BACKUP-1: a change that is too large for one patch is made into several.
#[test]
fn a_large_change_comes_in_parts() {
    let world = World::new(&series(MESSAGES));
    let shadow = world.copy("shadow");
    world
        .app
        .execute_batch("UPDATE message SET body = randomblob(60)")
        .unwrap();
    let new = world.copy("new");
    let whole = diff(&new, &shadow, PATCH_BYTES_MAX, None).unwrap();
    assert_eq!(whole.beyond, Beyond::default());
    let part = diff(&new, &shadow, 1000, None).unwrap();
    // What has no room is known, but for what stands before it: what a person is told of, and what decides for pages.
    assert!((1000..1200).contains(&part.patch.len()));
    let all = part.patch.len() + part.beyond.bytes;
    assert!(
        all.abs_diff(whole.patch.len()) < whole.patch.len() / 4,
        "{all}"
    );
    let shadow = goes_in_parts(shadow, &new, 1000);
    assert_eq!(sum(&shadow), sum(&new));
}

/// What needs a collation or a function of the app's cannot be kept up by anybody else, and says which. A table that
/// has not changed is no hindrance, unless its rows are found by such a key.
#[test]
fn what_only_the_app_has_is_named() {
    // The app's own collation orders as NOCASE does, its function gives what `lower` gives; nobody else knows their names.
    let tried = |setup: &str, change: &str| {
        let world = World::new(&format!(
            "CREATE TABLE other(x); {setup} INSERT INTO names VALUES ('a', 1);
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(replace(sql, 'NOCASE', 'mine'), 'lower(', 'mine(');"
        ));
        let (shadow, _, patch) = world.change(change);
        patch.and_then(|patch| apply(shadow, &patch)).map(drop)
    };
    let index = "CREATE TABLE names(n TEXT COLLATE NOCASE, b); CREATE INDEX i ON names(n);";
    let unique = "CREATE TABLE names(n TEXT COLLATE NOCASE UNIQUE, b);";
    let key = "CREATE TABLE names(n TEXT COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID;";
    let made = "CREATE TABLE names(n TEXT, b, c AS (lower(n)));";
    let (touches, elsewhere) = (
        "INSERT INTO names VALUES ('x', 2)",
        "INSERT INTO other VALUES (1)",
    );
    for (setup, change) in [
        (index, touches),
        (index, "UPDATE names SET n = 'y'"),
        (index, "DELETE FROM names"),
        (unique, touches),
        (key, touches),
        (key, elsewhere),
        (made, touches),
    ] {
        let result = tried(setup, change);
        let Err(RowsError::Unfit(Unfit::NeedsItsApp { table, cause })) = result else {
            panic!("{setup} {change}: {result:?}");
        };
        assert_eq!(table, "names");
        let (kind, name) = cause.rsplit_once(": ").unwrap();
        assert!(
            name.trim_end_matches("()") == "mine"
                && (kind.contains("collation") || kind.contains("function")),
            "{cause}"
        );
    }
    for setup in [index, unique, made] {
        tried(setup, elsewhere).unwrap();
    }
}

/// BACKUP-1: another version of SQLite may make something else of the same rows, as 3.43 began to do of `length(0.1 + 0.2)`.
#[test]
fn what_functions_make_of_rows_is_not_made_anew() {
    for kept in [
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); CREATE INDEX i ON t(length(b));",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); CREATE INDEX i ON t(a, b + 1);",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); CREATE INDEX i ON t(b) WHERE length(a) > 3;",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b, c AS ('c' || b)); CREATE INDEX i ON t(c);",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b, c AS ('c' || b), UNIQUE(c));",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b, c AS ('c' || b) STORED);",
    ] {
        let setup = format!(
            "{kept} INSERT INTO t(a, b) VALUES ('Ada', 1.1), ('Eve', 2.2); CREATE TABLE u(x);"
        );
        let differs = Unfit::Computed("t".to_owned());
        assert_eq!(
            refused(&setup, "INSERT INTO t(a, b) VALUES ('Joe', 4.4)"),
            differs
        );
        goes_by_rows(&setup, "INSERT INTO u VALUES (1)");
    }
    goes_by_rows(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b); INSERT INTO t(a, b) VALUES ('Ada', 1), ('Eve', 2);
         CREATE INDEX i ON t(b) WHERE (a IS NOT NULL AND b IN (1, 3)); CREATE INDEX j ON t(a COLLATE NOCASE);",
        "INSERT INTO t(a, b) VALUES ('Joe', 3), (NULL, 1); UPDATE t SET b = 3 WHERE id = 2",
    );
}

/// BACKUP-1: an app may have a collation of its own under a name that SQLite has, too. An index that it still knows as another one is
/// as good.
#[test]
fn an_order_that_only_its_app_has_is_not_made_from_rows() {
    let setup = |known: &str| {
        format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT);
             CREATE INDEX i ON t(a COLLATE RTRIM);
             INSERT INTO t(a) VALUES ('Ada'), ('bob'), ('Bob'), ('Eve');
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(a COLLATE {known})' WHERE name = 'i';
             PRAGMA writable_schema = OFF;"
        )
    };
    let change = "INSERT INTO t(a) VALUES ('Joe')";
    let differs = Unfit::OrderDiffers("t".to_owned());
    assert_eq!(refused(&setup("NOCASE"), change), differs);
    goes_by_rows(&setup("RTRIM"), change);
}

/// A patch that is cut, of another database, or altered anywhere never panics; and whatever it does,
/// the digest tells.
#[test]
fn a_wrong_patch_is_refused_or_found_out() {
    let world = World::new(
        "CREATE TABLE a(id INTEGER PRIMARY KEY, x, y); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID;
         INSERT INTO a(x, y) VALUES (1, 2), (3, 4), (5, 6); INSERT INTO w VALUES ('a', 1), ('b', 2);",
    );
    let (_, new, patch) = world.change(
        "UPDATE a SET x = 'new' WHERE id = 1; DELETE FROM a WHERE id = 2; INSERT INTO a(x) VALUES (x'00');
         UPDATE w SET v = 9 WHERE k = 'b'; INSERT INTO w VALUES ('c', 3.5);",
    );
    let patch = patch.unwrap();
    let trial = |patch: &[u8]| {
        let copy = world.folder.path().join("trial");
        std::fs::copy(world.folder.path().join("shadow"), &copy).unwrap();
        let copy = Mounted::new(SealedFile::open(&copy, &key).unwrap()).unwrap();
        apply(copy, patch).ok().map(|applied| sum(&applied))
    };
    assert_eq!(trial(&patch), Some(sum(&new)));
    for len in 1..patch.len() {
        assert_eq!(trial(&patch[..len]), None, "cut to {len}");
    }
    for at in 0..patch.len() {
        let mut altered = patch.clone();
        altered[at] ^= 1;
        assert_ne!(trial(&altered), Some(sum(&new)), "byte {at}");
    }
}

/// BACKUP-3: no page of the copy, and nothing beside it, can be read without the key; and one that
/// was exchanged is not taken.
#[test]
fn a_copy_is_sealed() {
    let world = World::new("CREATE TABLE a(x); INSERT INTO a VALUES ('a secret message')");
    let copy = world.copy("shadow");
    drop(copy);
    let path = world.folder.path().join("shadow");
    let bytes = std::fs::read(&path).unwrap();
    for needle in ["a secret message", "CREATE TABLE", "SQLite format"] {
        assert!(
            !bytes
                .windows(needle.len())
                .any(|part| part == needle.as_bytes()),
            "{needle}"
        );
    }
    let other = |salt: &[u8; 32]| Zeroizing::new(*blake3::keyed_hash(&[8; 32], salt).as_bytes());
    let mut page = vec![0; 4096];
    let wrong = SealedFile::open(&path, &other).unwrap();
    assert!(wrong.read_page(0, &mut page).is_err());
    // Two pages change places.
    let mut moved = bytes.clone();
    let (first, second) = (64..64 + 4124, 64 + 4124..64 + 2 * 4124);
    moved[first.clone()].copy_from_slice(&bytes[second.clone()]);
    moved[second].copy_from_slice(&bytes[first]);
    std::fs::write(&path, moved).unwrap();
    let exchanged = SealedFile::open(&path, &key).unwrap();
    assert!(exchanged.read_page(0, &mut page).is_err());
    assert!(exchanged.read_page(1, &mut page).is_err());
    assert_eq!(exchanged.page_size(), PageSize::new(4096).unwrap());
}

/// BACKUP-3: sorting, rolling back and trying leave nothing beside the copies.
#[test]
fn nothing_is_written_beside_the_copies() {
    let world = World::new(&series(MESSAGES));
    let (shadow, new, patch) = world.change("UPDATE message SET text = text || 'x'");
    let shadow = apply(shadow, &patch.unwrap()).unwrap();
    assert_eq!(sum(&shadow), sum(&new));
    let mut names: Vec<_> = std::fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["chat.db", "chat.db-shm", "chat.db-wal", "new", "shadow"]
    );
}

/// BACKUP-7: the bytes of a patch, and those whose digest stands for all rows, are those of
/// `docs/format.md`, put together here by hand.
#[test]
fn a_patch_and_a_digest_have_the_bytes_that_are_written_down() {
    const SQL: &str = "CREATE TABLE a(id INTEGER PRIMARY KEY, t TEXT)";
    let world = World::new(&format!(
        "{SQL}; INSERT INTO a VALUES (1, 'x'), (2, 'y'), (5, 'z');"
    ));
    let (shadow, _, patch) = world.change(
        "DELETE FROM a WHERE id = 2; UPDATE a SET t = 'w' WHERE id = 1; INSERT INTO a VALUES (7, NULL);",
    );
    let patch = patch.unwrap();
    let mut want = vec![1, 1, 1, b'a', 0, 2, 0];
    want.extend([1, 4]);
    want.extend([1, 2, 0b10, 3, 1, b'w']);
    want.extend([1, 14, 5, 0]);
    assert_eq!(patch, want);
    let shadow = apply(shadow, &patch).unwrap();

    let mut bytes = b"keyhaven rows 1".to_vec();
    bytes.extend([1, 0, 1, 0, 1, 0x80, 0x40, 1, 0, 1]);
    for text in ["table", "a", "a", SQL] {
        bytes.extend([3, u8::try_from(text.len()).unwrap()]);
        bytes.extend(text.as_bytes());
    }
    bytes.extend([3, 1, b'a']);
    bytes.extend([1, 1, 2, 1, 2, 3, 1, b'w']);
    bytes.extend([1, 1, 10, 1, 10, 3, 1, b'z']);
    bytes.extend([1, 1, 14, 1, 14, 0, 0]);
    let mut found = Vec::new();
    digest(&shadow, &mut |part| found.extend_from_slice(part)).unwrap();
    assert_eq!(found, bytes);
}

/// A12: whoever sends a message decides how long its row is, and not how much memory a backup takes.
#[test]
fn a_very_long_row_sends_its_database_by_pages() {
    let setup = "CREATE TABLE m(id INTEGER PRIMARY KEY, body BLOB); INSERT INTO m VALUES(1, 'a');
                 CREATE TABLE k(name TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID";
    let refused = |setup: &str, change: &str| {
        let (_, _, patch) = World::new(setup).change(change);
        let error = patch.unwrap_err();
        assert!(
            matches!(error, RowsError::Unfit(Unfit::RowTooLong)),
            "{error:?}"
        );
    };
    goes_by_rows(setup, "INSERT INTO m VALUES(2, randomblob(4190000))");
    refused(setup, "INSERT INTO m VALUES(2, zeroblob(5 << 20))");
    refused(setup, "INSERT INTO k VALUES('a', randomblob(5 << 20))");
    let long = format!("{setup}; INSERT INTO m VALUES(2, randomblob(5 << 20))");
    refused(&long, "INSERT INTO m VALUES(3, 'b')");
    refused(&long, "DELETE FROM m WHERE id = 2");
}
