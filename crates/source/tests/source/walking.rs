//! The walk: its order, its kinds, and what it survives.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use keyhaven_source::{Content, Item, PathKey, Rules, SkipReason, WalkError, walk};
use rusqlite::Connection;

use crate::world::{Make, make, soon_enough};

fn key(path: &str) -> PathKey {
    PathKey::from_relative(Path::new(path)).unwrap()
}

fn items(root: &Path, rules: &Rules) -> Vec<Item> {
    walk(root, rules).unwrap().collect()
}

/// Each item as its place and a word.
fn told(root: &Path, rules: &Rules) -> Vec<(String, String)> {
    items(root, rules)
        .iter()
        .map(|item| {
            let word = match item {
                Item::Regular(regular) => match regular.content() {
                    Ok(content) => format!("{content:?}"),
                    Err(reason) => format!("{reason:?}"),
                },
                Item::Dir { .. } => "Dir".to_owned(),
                Item::Symlink { target, .. } => format!("-> {}", target.display()),
                Item::Skipped { reason, .. } => format!("{reason:?}"),
                Item::CutOff { kind, .. } => format!("{kind:?}"),
            };
            (item.key().to_string(), word)
        })
        .collect()
}

fn expect(root: &Path, rules: &Rules, expected: &[(&str, &str)]) {
    let told = told(root, rules);
    let told: Vec<_> = told
        .iter()
        .map(|(key, word)| (key.as_str(), word.as_str()))
        .collect();
    assert_eq!(told, expected);
}

/// BACKUP-1: what an older backup has of a database that cannot be looked at stays, and a log of now beside it would be another
/// state's.
#[test]
fn what_stands_beside_a_database_that_cannot_be_looked_at_is_no_item() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("chat.db");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, 0o600.into(), 0).unwrap();
    for name in ["chat.db-journal", "chat.db-shm", "chat.db-wal", "note"] {
        fs::write(folder.path().join(name), "some").unwrap();
    }
    expect(
        folder.path(),
        &Rules::default(),
        &[("chat.db", "Pipe"), ("note", "File")],
    );
}

#[test]
fn items_come_in_the_order_of_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for dir in ["a", "a-b", "a/b", "a/b/c", "z", "\u{e9}", "a.d"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in [
        "a/b/c/1",
        "a/b-2",
        "a!",
        "a-b/x",
        "B",
        "a/b.txt",
        "z/\u{1f600}",
        "a.d/q",
    ] {
        fs::write(root.join(file), file).unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(b"\xff\xfe raw")), "").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"a/new\nline")), "").unwrap();
    let keys: Vec<_> = items(root, &Rules::default())
        .iter()
        .map(|item| item.key().clone())
        .collect();
    let mut sorted = keys.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(keys, sorted);
    assert_eq!(keys.len(), 17);
    for key in &keys {
        assert!(key.below(root).symlink_metadata().is_ok(), "{key}");
    }
}

#[test]
fn a_database_is_told_by_its_content_under_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    drop(make(
        &root.join("msgstore.db"),
        Make {
            rows: 3,
            ..Make::default()
        },
    ));
    fs::copy(root.join("msgstore.db"), root.join("IMG-0001.jpg")).unwrap();
    fs::write(root.join("empty.db"), "").unwrap();
    fs::write(root.join("photo.db"), b"\xff\xd8\xff\xe0 a photo").unwrap();
    // What SQLite would not open is nobody's database.
    fs::write(
        root.join("quote.txt"),
        b"SQLite format 3\0 is how they all begin",
    )
    .unwrap();
    let mut header = fs::read(root.join("msgstore.db")).unwrap();
    header[16] = 7;
    fs::write(root.join("odd.sqlite"), header).unwrap();
    expect(
        root,
        &Rules::default(),
        &[
            ("IMG-0001.jpg", "Database"),
            ("empty.db", "File"),
            ("msgstore.db", "Database"),
            ("odd.sqlite", "File"),
            ("photo.db", "File"),
            ("quote.txt", "File"),
        ],
    );
}

/// Beside an app that keeps a journal and no log, that is gone with each commit.
#[test]
fn a_journal_that_vanishes_is_nothing_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    drop(make(&root.join("chat.db"), Make::default()));
    fs::write(root.join("chat.db-journal"), "of a commit").unwrap();
    fs::write(root.join("photo"), "text").unwrap();
    let mut found = walk(root, &Rules::default()).unwrap();
    assert!(matches!(found.next(), Some(Item::Regular(_))));
    fs::remove_file(root.join("chat.db-journal")).unwrap();
    let rest: Vec<Item> = found.collect();
    assert!(
        matches!(rest.as_slice(), [Item::Regular(photo)] if photo.path().ends_with("photo")),
        "{rest:?}"
    );
}

/// A log, index or journal belongs to the database beside it, and to nothing else.
#[test]
fn companions_belong_to_their_database() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    drop(make(
        &root.join("chat.db"),
        Make {
            rows: 3,
            ..Make::default()
        },
    ));
    for ending in ["-wal", "-shm", "-journal", "-journal2", ".bak"] {
        fs::write(root.join(format!("chat.db{ending}")), "x").unwrap();
    }
    // Names alone make no companions.
    for name in ["diary", "diary-journal", "lonely.db-wal", "-wal"] {
        fs::write(root.join(name), "text").unwrap();
    }
    fs::create_dir(root.join("folder-shm")).unwrap();
    fs::write(root.join("folder"), "text").unwrap();
    // An empty file may be a database whose log or journal holds all of it: the reader decides.
    fs::write(root.join("new.db"), "").unwrap();
    fs::write(root.join("new.db-wal"), b"\x37\x7f\x06\x82, a log").unwrap();
    fs::write(root.join("newer.db"), "").unwrap();
    let journal = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7, a journal";
    fs::write(root.join("newer.db-journal"), journal).unwrap();
    // Beside anything else it is an empty file. A pipe holds nobody up.
    for name in ["pages", "travel"] {
        fs::write(root.join(name), "").unwrap();
    }
    fs::write(root.join("travel-journal"), "Monday, we left").unwrap();
    fs::create_dir(root.join("pages-shm")).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    let pipe = root.join("pages-wal");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, 0o600.into(), 0).unwrap();
    expect(
        root,
        &Rules::default(),
        &[
            ("-wal", "File"),
            ("chat.db", "Database"),
            ("chat.db-journal2", "File"),
            ("chat.db.bak", "File"),
            ("diary", "File"),
            ("diary-journal", "File"),
            ("folder", "File"),
            ("folder-shm", "Dir"),
            ("lonely.db-wal", "File"),
            ("new.db", "Database"),
            ("newer.db", "Database"),
            ("pages", "File"),
            ("pages-shm", "Dir"),
            ("pages-wal", "Pipe"),
            ("travel", "File"),
            ("travel-journal", "File"),
        ],
    );
}

/// Looks like a cipher's output: every run gives the same bytes.
fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

#[test]
fn an_encrypted_database_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("sql")).unwrap();
    fs::write(root.join("sql/db.sqlite"), noise(8192)).unwrap();
    fs::write(root.join("sql/main"), noise(8192)).unwrap();
    fs::write(
        root.join("sql/main-wal"),
        [&[0x37, 0x7f, 0x06, 0x82][..], &noise(4000)].concat(),
    )
    .unwrap();
    fs::write(root.join("video.bin"), noise(8192)).unwrap();
    fs::write(root.join("uneven.db"), noise(8191)).unwrap();
    expect(
        root,
        &Rules::default(),
        &[
            ("sql", "Dir"),
            ("sql/db.sqlite", "Opaque"),
            ("sql/main", "Opaque"),
            ("uneven.db", "File"),
            ("video.bin", "File"),
        ],
    );
}

/// What the first bytes of a file say that it is.
fn content(path: &Path, bytes: &[u8]) -> Content {
    fs::write(path, bytes).unwrap();
    let mut items = walk(path.parent().unwrap(), &Rules::default()).unwrap();
    let Some(Item::Regular(regular)) = items.next() else {
        panic!("no file")
    };
    regular.content().unwrap()
}

/// A database of SQLite's that reserves bytes in each page, as SQLCipher's do.
fn reserving(page_size: u32, reserved: u8, sql: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reserving.db");
    let database = Connection::open(&path).unwrap();
    let made = format!("PRAGMA page_size={page_size}; PRAGMA user_version=1");
    database.execute_batch(&made).unwrap();
    drop(database);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] = reserved;
    let usable = page_size - u32::from(reserved);
    bytes[105..107].copy_from_slice(&(usable as u16).to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let database = Connection::open(&path).unwrap();
    database.execute_batch(sql).unwrap();
    drop(database);
    fs::read(&path).unwrap()
}

/// The first bytes of an encrypted database may be in the clear, and look like SQLite's own.
#[test]
fn an_encrypted_database_is_recognised_behind_a_header_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Signal.sqlite");
    let sql = "CREATE TABLE message(text); INSERT INTO message VALUES ('hello')";
    for page_size in [512, 1024, 4096, 65_536] {
        for reserved in [16, 32] {
            let plain = reserving(page_size, reserved, sql);
            assert_eq!(content(&path, &plain), Content::Database);
            for clear in [16, 32, 48, 64, 80, 96] {
                let noise = noise(plain.len());
                let sealed = [&plain[..clear], &noise[clear..]].concat();
                let told = content(&path, &sealed);
                assert_eq!(told, Content::Opaque, "{page_size} {reserved} {clear}");
                // Not a whole number of pages: no database of anybody's, but a damaged one.
                let told = content(&path, &[&sealed[..], b"more"].concat());
                assert_ne!(told, Content::Opaque, "{page_size} {reserved} {clear}");
            }
        }
    }
}

/// BACKUP-1: what SQLite has written is read as SQLite's, and what is damaged of it is told as damage.
#[test]
fn no_database_of_sqlites_passes_for_an_encrypted_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let blobs = "CREATE TABLE t(x); INSERT INTO t VALUES (randomblob(100000))";
    let random_schema: String = noise(900)
        .iter()
        .map(|byte| format!("x{byte:02x}"))
        .collect();
    for page_size in [512, 4096, 65_536] {
        for reserved in [0, 16, 32] {
            for sql in [
                "SELECT 1",
                "PRAGMA journal_mode=wal",
                "PRAGMA auto_vacuum=full; VACUUM",
                blobs,
                crate::world::SCHEMA,
                &format!("CREATE TABLE {random_schema}(x)"),
            ] {
                let bytes = reserving(page_size, reserved, sql);
                let told = content(&path, &bytes);
                assert_eq!(told, Content::Database, "{page_size} {reserved} {sql}");
            }
        }
        let (plain, noise) = (reserving(page_size, 0, blobs), noise(page_size as usize));
        let text = "and then he said to her what she had said to him ".repeat(2000);
        for from in [24, 32, 72, 100, 200] {
            for damage in [
                vec![0; 4096],
                vec![0xff; 4096],
                text.clone().into_bytes(),
                noise.clone(),
            ] {
                let mut damaged = plain.clone();
                let until = (page_size as usize).min(damage.len()).max(from);
                damaged[from..until].copy_from_slice(&damage[from..until]);
                assert_eq!(
                    content(&path, &damaged),
                    Content::Database,
                    "{page_size} {from}"
                );
                damaged[20] = 32;
                if damage != noise {
                    assert_eq!(
                        content(&path, &damaged),
                        Content::Database,
                        "{page_size} {from}"
                    );
                }
            }
        }
    }
}

#[test]
fn links_are_not_followed_and_special_files_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let special = |name: &str, kind| {
        rustix::fs::mknodat(rustix::fs::CWD, root.join(name), kind, 0o600.into(), 0).unwrap();
    };
    special("pipe", rustix::fs::FileType::Fifo);
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    expect(
        root,
        &Rules::default(),
        &[
            ("dangling", "-> nowhere"),
            ("loop", "-> loop"),
            ("pipe", "Pipe"),
            ("socket", "Socket"),
            ("up", "-> .."),
        ],
    );
}

#[test]
fn rules_leave_out_and_report() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("store/packs")).unwrap();
    fs::create_dir_all(root.join("a/b/c/d")).unwrap();
    drop(make(
        &root.join("own.db"),
        Make {
            rows: 3,
            ..Make::default()
        },
    ));
    fs::write(root.join("own.db-wal"), "live").unwrap();
    fs::write(root.join("store-2"), "").unwrap();
    let rules = Rules {
        exclude: BTreeSet::from([key("store")]),
        supplied: BTreeSet::from([key("own.db")]),
        depth_max: 3,
        ..Rules::default()
    };
    expect(
        root,
        &rules,
        &[
            ("a", "Dir"),
            ("a/b", "Dir"),
            ("a/b/c", "TooDeep"),
            ("own.db", "Supplied"),
            ("store", "Excluded"),
            ("store-2", "File"),
        ],
    );
}

#[test]
fn a_root_that_cannot_be_walked_has_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    assert_eq!(
        walk(&missing, &Rules::default()).unwrap_err(),
        WalkError::Missing
    );
    fs::write(&missing, "").unwrap();
    assert_eq!(
        walk(&missing, &Rules::default()).unwrap_err(),
        WalkError::NotAFolder
    );
}

/// What is gone or replaced by the time it is looked at is reported, and the walk goes on.
#[test]
fn a_walk_survives_what_happens_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["a", "b", "c/inside", "d", "e", "f"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let mut walk = walk(root, &Rules::default()).unwrap();
    let Some(Item::Regular(a)) = walk.next() else {
        panic!()
    };
    fs::remove_file(root.join("a")).unwrap();
    fs::remove_file(root.join("b")).unwrap();
    fs::remove_dir_all(root.join("c")).unwrap();
    fs::write(root.join("c"), "a file now").unwrap();
    fs::remove_file(root.join("d")).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/new"), "").unwrap();
    assert_eq!(a.content(), Err(SkipReason::Vanished));
    let rest: Vec<String> = walk
        .map(|item| {
            if let Item::Skipped { key, reason } = &item {
                return format!("{key} {reason:?}");
            }
            item.key().to_string()
        })
        .collect();
    assert_eq!(rest, ["b Vanished", "c", "d", "d/new", "e", "f"]);
    // A file that was replaced between the listing and the opening is not taken for the old one.
    fs::write(root.join("other"), "a").unwrap();
    fs::rename(root.join("other"), root.join("a")).unwrap();
    assert_eq!(a.content(), Err(SkipReason::Replaced));
}

/// A large folder is listed in parts, and what is told of it is the same: databases with their companions, LevelDB, names
/// that begin alike.
#[test]
fn a_folder_is_told_alike_however_few_of_its_names_are_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let at = |name: &str| root.join(name);
    for name in ["db", "level", "a", "a.b", "a/deep"] {
        fs::create_dir(at(name)).unwrap();
    }
    drop(make(&at("db/chats.db"), Make::default()));
    for name in [
        "db/chats.db-journal",
        "db/chats.db.old",
        "db/other-wal",
        "level/000001.log",
        "level/CURRENT",
        "level/LOCK",
        "level/MANIFEST-000004",
        "a/1",
        "a/deep/2",
        "a.b/3",
        "z",
    ] {
        fs::write(at(name), "").unwrap();
    }
    let at_once = told(root, &Rules::default());
    assert!(at_once.iter().any(|(_, word)| word == "InUse"));
    for names_bytes_max in [0, 30, 60, 120] {
        let rules = Rules {
            names_bytes_max,
            ..Rules::default()
        };
        assert_eq!(told(root, &rules), at_once, "{names_bytes_max}");
    }
}

/// An unchanged folder costs no opening: the files are made unreadable, and nobody notices.
#[test]
fn an_unchanged_photo_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("photo.jpg"), "x").unwrap();
    let first = items(folder.path(), &Rules::default());
    let Item::Regular(photo) = &first[0] else {
        panic!()
    };
    let known = *photo.stat();
    let again = items(folder.path(), &Rules::default());
    let Item::Regular(photo) = &again[0] else {
        panic!()
    };
    assert!(photo.is_unchanged_plain_file(&known));
    assert_eq!(photo.content(), Ok(Content::File));
    // A log that appears beside it makes it worth a look, though it did not change itself.
    fs::write(folder.path().join("photo.jpg-wal"), "x").unwrap();
    let again = items(folder.path(), &Rules::default());
    let Item::Regular(photo) = &again[0] else {
        panic!()
    };
    assert!(!photo.is_unchanged_plain_file(&known));
}

/// The walk keeps the names of one folder, not its items: 20,000 files and their keys in order.
#[test]
fn a_large_folder_is_walked_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..20_000_u32 {
        fs::write(
            folder
                .path()
                .join(format!("{:08x}.jpg", n.wrapping_mul(2_654_435_761))),
            "",
        )
        .unwrap();
    }
    let mut last: Option<PathKey> = None;
    let mut count = 0;
    for item in walk(folder.path(), &Rules::default()).unwrap() {
        assert!(last.as_ref().is_none_or(|last| last < item.key()));
        last = Some(item.key().clone());
        count += 1;
    }
    assert_eq!(count, 20_000);
}

/// A folder that LevelDB keeps, as far as names tell.
fn leveldb(root: &Path) {
    fs::create_dir(root.join("db")).unwrap();
    for name in [
        "CURRENT",
        "LOCK",
        "LOG",
        "MANIFEST-000001",
        "000005.ldb",
        "000003.log",
    ] {
        fs::write(root.join("db").join(name), name).unwrap();
    }
}

/// BACKUP-1: files that make sense only together are copied while no program has them open.
#[test]
fn a_leveldb_is_copied_only_while_nobody_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    leveldb(folder.path());
    // Just made: a program may be about to go on.
    soon_enough(|| {
        fs::write(folder.path().join("db/000006.log"), "x").unwrap();
        fs::remove_file(folder.path().join("db/000006.log")).unwrap();
        told(folder.path(), &Rules::default())[1].1 == "InUse"
    });
    std::thread::sleep(std::time::Duration::from_millis(70));
    assert!(
        told(folder.path(), &Rules::default())[1..]
            .iter()
            .all(|(_, word)| word == "File")
    );

    // LevelDB locks the whole of `LOCK` for as long as it is open.
    let lock = fs::File::options()
        .write(true)
        .open(folder.path().join("db/LOCK"))
        .unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let here = told(folder.path(), &Rules::default());
    assert_eq!(here[0].1, "Dir");
    // A lock of this very process shows only where locks belong to files.
    if cfg!(any(target_os = "linux", target_os = "android")) {
        assert!(
            here[1..].iter().all(|(_, word)| word == "InUse"),
            "{here:?}"
        );
    }
}

/// BACKUP-1: a program that opens it after it was listed shows when all is read.
#[test]
fn a_leveldb_that_is_opened_meanwhile_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    leveldb(folder.path());
    std::thread::sleep(std::time::Duration::from_millis(70));
    let walk = walk(folder.path(), &Rules::default()).unwrap();
    let watch = walk.watch();
    assert_eq!(walk.count(), 7);
    assert_eq!(watch.disturbed(), []);
    fs::rename(
        folder.path().join("db/LOG"),
        folder.path().join("db/LOG.old"),
    )
    .unwrap();
    assert_eq!(watch.disturbed(), [Some(key("db"))]);
}
