//! Sources that we may read and not write: another person's folder, a read-only disk.
//!
//! The file modes do not bind the superuser, so the reading is done by a process that gives up its
//! rights first. Where that cannot be done, the tests say so and pass.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keyhaven_source::{LiveDatabase, PageSource};

use crate::peer::{Peer, command};
use crate::world::{Make, Spool, brief, image_by_sqlite, listing, listing_without_index, make};

const TARGET: &str = "KEYHAVEN_TEST_READER";

/// Not a test: reads one database and writes down what came of it.
#[test]
fn the_reader_process() {
    let Some(path) = std::env::var_os(TARGET).map(PathBuf::from) else {
        return;
    };
    let mut spool = Spool::default();
    match LiveDatabase::at(path)
        .with_patience(brief())
        .read_pages(&mut spool)
    {
        Ok(image) => println!("reader: {:?} {}", image.by, blake3::hash(&spool.bytes)),
        Err(error) => println!("reader: {error:?}"),
    }
    std::process::exit(0);
}

/// Gives this test binary to everybody, runs the reader without rights, and gives its answer.
fn read_without_rights(place: &Path, database: &Path) -> Option<String> {
    let binary = place.join("reader");
    if !binary.exists() {
        fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let reader = command("read_only::the_reader_process");
    let answer = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .arg(&binary)
        .args(reader.get_args())
        .env(TARGET, database)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    said.lines()
        .find_map(|line| line.split_once("reader: "))
        .map(|(_, said)| said.to_owned())
}

/// A folder that others may look into and not write to, and the place for the reader beside it.
fn places() -> Option<(tempfile::TempDir, PathBuf)> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only the superuser can become nobody");
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("theirs");
    fs::create_dir(&folder).unwrap();
    for open in [place.path(), &folder] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    if read_without_rights(place.path(), &folder.join("none")).as_deref() != Some("Vanished") {
        println!("skipped: no process without rights can be had here");
        return None;
    }
    Some((place, folder))
}

/// BACKUP-1: whatever state it is in, a database in somebody else's folder is read exactly and
/// without a trace, or refused by name.
#[test]
fn a_folder_that_may_not_be_written_is_read_exactly() {
    let Some((place, folder)) = places() else {
        return;
    };
    let path = folder.join("chat.db");
    let read = || read_without_rights(place.path(), &path).unwrap();
    let expect = |by: &str, what: &str| {
        let image = blake3::hash(&image_by_sqlite(&path));
        assert_eq!(read(), format!("{by} {image}"), "{what}");
    };
    drop(make(&path, Make::default()));
    let before = listing(&folder);
    expect("Files", "closed");
    assert_eq!(listing(&folder), before);

    let mut peer = Peer::open(&path);
    peer.must("PRAGMA wal_autocheckpoint=0");
    peer.must("UPDATE message SET body='mine' WHERE id < 40");
    let before = listing_without_index(&folder);
    expect("Transaction", "in use by its owner");
    assert_eq!(listing_without_index(&folder), before);

    peer.kill();
    std::thread::sleep(std::time::Duration::from_millis(70));
    let before = listing(&folder);
    expect("Files", "left by a dead program");
    assert_eq!(listing(&folder), before);

    fs::remove_file(folder.join("chat.db-shm")).unwrap();
    let before = listing(&folder);
    expect("Files", "a log without its index");
    assert_eq!(listing(&folder), before);

    fs::set_permissions(
        folder.join("chat.db-wal"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    assert_eq!(read(), "Denied", "a log that may not be read");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read(), "Denied", "a database that may not be read");
}

/// BACKUP-1: a half-made change on a disk that we may not write is a refusal by name.
#[test]
fn a_hot_journal_that_may_not_be_undone_is_a_refusal() {
    let Some((place, folder)) = places() else {
        return;
    };
    let path = folder.join("chat.db");
    drop(make(
        &path,
        Make {
            journal: "delete",
            ..Make::default()
        },
    ));
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA cache_size=5");
    peer.must("BEGIN IMMEDIATE");
    peer.must("UPDATE message SET body=hex(randomblob(50))");
    peer.kill();
    let before = listing(&folder);
    assert_eq!(
        read_without_rights(place.path(), &path).unwrap(),
        "HotJournal"
    );
    assert_eq!(listing(&folder), before);
}

/// BACKUP-1: the same on a file system that is mounted read-only, where nobody can write.
#[test]
fn a_read_only_disk_is_read_exactly() {
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    drop(make(&source.join("closed.db"), Make::default()));
    let left = source.join("left.db");
    drop(make(&left, Make::default()));
    let mut peer = Peer::open(&left);
    peer.must("UPDATE message SET body='last words'");
    peer.kill();
    fs::copy(&left, source.join("bare.db")).unwrap();
    fs::copy(source.join("left.db-wal"), source.join("bare.db-wal")).unwrap();

    for name in ["closed.db", "left.db", "bare.db"] {
        // In a mount namespace of its own: the disk appears for the reader alone.
        let script = format!(
            "mount --bind '{0}' '{1}' && mount -o remount,ro,bind '{1}' && \
             if touch '{1}/x' 2>/dev/null; then exit 9; fi && exec \"$0\" \"$@\"",
            source.display(),
            disk.display()
        );
        let reader = command("read_only::the_reader_process");
        let answer = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", &script])
            .arg(reader.get_program())
            .args(reader.get_args())
            .env(TARGET, disk.join(name))
            .stderr(Stdio::null())
            .output();
        let said = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned());
        let Some(said) = said
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.split_once("reader: ").map(|(_, said)| said.to_owned()))
        else {
            println!("skipped: no read-only mount can be had here");
            return;
        };
        let image = blake3::hash(&image_by_sqlite(&source.join(name)));
        assert_eq!(said, format!("Files {image}"), "{name}");
    }
}
