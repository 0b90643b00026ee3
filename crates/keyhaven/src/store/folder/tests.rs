//! Flushes that fail, and the order in which things are flushed.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyhaven_secrets::Remedy;
use rustix::io::Errno;

use super::fault::Place;
use super::{FolderStore, syncer};
use crate::store::error::Action;
use crate::store::{Body, ObjectFolder, ObjectPath, Store, StoreError};

/// What the flushes of a test see and do. One test at a time uses it.
static WATCH: Mutex<Watch> = Mutex::new(Watch {
    flushed: Vec::new(),
    fail_at: None,
    errno: Errno::IO,
});
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Watch {
    /// The path of each file and folder, as it was when it was flushed.
    flushed: Vec<PathBuf>,
    fail_at: Option<usize>,
    errno: Errno,
}

fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watched_flush(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    let mut watch = watch();
    let number = watch.flushed.len();
    watch.flushed.push(path);
    if watch.fail_at == Some(number) {
        return Err(watch.errno);
    }
    drop(watch);
    syncer::flush(fd)
}

fn begin(fail_at: Option<usize>, errno: Errno) -> MutexGuard<'static, ()> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    *watch() = Watch {
        flushed: Vec::new(),
        fail_at,
        errno,
    };
    turn
}

/// A folder that its disk does not give, and one that its owner does not: each says what helps.
#[test]
fn a_store_whose_list_cannot_be_read_says_what_helps() {
    let place = Place::new(Path::new("/mnt/disk/store"));
    for (errno, words) in [
        (Errno::IO, "let its file system be checked"),
        (Errno::BADMSG, "let its file system be checked"),
        (Errno::ACCESS, "you may read and change this folder"),
    ] {
        let fault = place.fault(Action::List, errno);
        let said = fault.to_string();
        assert!(
            said.contains("list the store at /mnt/disk/store") && said.contains(words),
            "{said}"
        );
        assert_eq!(fault.remedy(), Remedy::AskUser, "{said}");
        assert_eq!(fault.object(), None);
    }
}

fn store(at: &Path) -> FolderStore {
    let mut store = FolderStore::at(at).unwrap();
    store.flush = watched_flush;
    store
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).unwrap()
}

const NAMES: [&str; 4] = [
    "keyhaven",
    "packs/00/one",
    "packs/11/two",
    "snapshots/three",
];

/// BACKUP-2: an object is flushed before it has its name, and every folder with a new entry after.
#[test]
fn bytes_are_flushed_before_names_and_names_before_flush_returns() {
    let turn = begin(None, Errno::IO);
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    for name in NAMES {
        store
            .put(&path(name), Body::Bytes(name.as_bytes()))
            .unwrap();
    }
    store.flush().unwrap();
    let flushed = std::mem::take(&mut watch().flushed);
    let spool = home.path().join(".spool");
    let files = flushed
        .iter()
        .filter(|path| path.starts_with(&spool))
        .count();
    assert_eq!(
        files,
        NAMES.len(),
        "each object was flushed under its temporary name: {flushed:?}"
    );
    let folders = &flushed[files..];
    for folder in ["", "packs", "packs/00", "packs/11", "snapshots"] {
        let folder = home.path().join(folder);
        let folder = folder.to_str().unwrap().trim_end_matches('/');
        assert!(
            folders.iter().any(|path| path.to_str() == Some(folder)),
            "{folder}: {folders:?}"
        );
    }
    // What is durable is not flushed again; what is deleted is.
    store.flush().unwrap();
    assert!(watch().flushed.is_empty());
    store.delete(&path("packs/00/one")).unwrap();
    store.flush().unwrap();
    assert_eq!(watch().flushed, [home.path().join("packs/00")]);
    drop(turn);
}

/// BACKUP-2: a name that a run which was killed gave an object may be on no disk. Who builds on it has it flushed.
#[test]
fn what_is_adopted_is_flushed_with_what_comes() {
    let turn = begin(None, Errno::IO);
    let home = tempfile::tempdir().unwrap();
    let left = path("packs/00/left");
    let store = store(home.path());
    store.put(&left, Body::Bytes(b"of a killed run")).unwrap();
    store.length(&left).unwrap();
    drop(store);
    watch().flushed.clear();
    let store = self::store(home.path());
    store.adopt(&left).unwrap();
    store.flush().unwrap();
    let flushed = std::mem::take(&mut watch().flushed);
    assert!(
        flushed.contains(&home.path().join("packs/00")),
        "{flushed:?}"
    );
    drop(turn);
}

/// F4, BACKUP-2: whichever flush fails, nobody is told that anything is durable, no torn object
/// has a name, and a store that is opened again works.
#[test]
fn after_a_failed_flush_nothing_is_claimed_any_more() {
    let mut failures = 0_usize;
    for fail_at in 0.. {
        let turn = begin(Some(fail_at), Errno::IO);
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        let puts: Vec<_> = NAMES
            .iter()
            .map(|name| store.put(&path(name), Body::Bytes(name.as_bytes())))
            .collect();
        let flushed = store.flush();
        let reached = watch().flushed.len() > fail_at;
        if !reached {
            assert!(flushed.is_ok());
            break;
        }
        failures += 1;
        let due = StoreError::FlushFailed {
            kind: std::io::Error::from(Errno::IO).kind(),
        };
        assert_eq!(flushed, Err(due.clone()), "flush {fail_at}");
        for put in puts {
            assert!(put.is_ok() || put == Err(due.clone()));
        }
        // It stays so, also when the disk would work again.
        watch().fail_at = None;
        assert_eq!(store.flush(), Err(due.clone()));
        assert_eq!(
            store.put(&path("packs/00/late"), Body::Bytes(b"x")),
            Err(due)
        );
        drop(store);
        let store = self::store(home.path());
        for listed in store.list(&ObjectFolder::root()).unwrap() {
            let bytes = store.get(&listed.path, None).unwrap();
            assert_eq!(
                bytes,
                listed.path.as_str().as_bytes(),
                "a name means a whole object"
            );
        }
        for name in NAMES {
            store
                .put(&path(name), Body::Bytes(name.as_bytes()))
                .unwrap();
        }
        store.flush().unwrap();
        let spool = fs::read_dir(home.path().join(".spool")).unwrap().count();
        assert_eq!(spool, 1, "only the lock of the living session");
        drop(turn);
    }
    assert!(
        failures >= NAMES.len() + 5,
        "only {failures} flushes were made to fail"
    );
}

/// Some file systems tell only now that there is no room.
#[test]
fn a_disk_that_is_found_full_at_the_flush_is_full() {
    let turn = begin(Some(0), Errno::NOSPC);
    let home = tempfile::tempdir().unwrap();
    let store = store(home.path());
    store
        .put(&path("packs/00/one"), Body::Bytes(b"four"))
        .unwrap();
    let outcome = store.flush();
    assert!(
        matches!(
            outcome,
            Err(StoreError::Full {
                needed: 4,
                free: Some(_)
            })
        ),
        "{outcome:?}"
    );
    let left = fs::read_dir(home.path().join(".spool")).unwrap().count();
    assert_eq!(left, 1, "the partial file is gone");
    drop(turn);
    assert!(syncer::flush(fs::File::open(home.path()).unwrap().as_fd()).is_ok());
}

/// Where a spool empties itself meanwhile, that is not taken for a disk that gives nothing.
#[test]
fn of_an_object_that_was_deleted_nothing_is_said() {
    let home = tempfile::tempdir().unwrap();
    let store = FolderStore::private(home.path()).unwrap();
    let there = path("packs/00/there");
    store.put(&there, Body::Bytes(b"four")).unwrap();
    store.flush().unwrap();
    assert_eq!(store.is_on_the_disk(&there), Some(true));
    assert_eq!(store.is_on_the_disk(&path("packs/00/gone")), None);
    assert_eq!(store.is_on_the_disk(&path("elsewhere/gone")), None);
}
