//! The folder store against the suite, against hostile folders, and against bad places.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test program, helpers included: a failure is a panic"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{child, new_store, path, run_mounting_child, told};
use keyhaven::store::{Action, Body, FolderStore, ObjectFolder, ObjectPath, Store, StoreError};
use keyhaven_hostile_store::{MemoryStore, conformance};

#[test]
fn a_folder_and_memory_are_honest_stores() {
    let home = tempfile::tempdir().unwrap();
    let mut scratch = tempfile::tempfile().unwrap();
    conformance::check(&MemoryStore::new(), &mut scratch).unwrap();
    let mut scratch = tempfile::tempfile().unwrap();
    let store = FolderStore::create(&home.path().join("store")).unwrap();
    conformance::check(&store, &mut scratch).unwrap();
}

#[test]
fn a_store_is_made_opened_and_told_from_other_folders() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    assert!(matches!(
        FolderStore::open(&at),
        Err(StoreError::Missing { .. })
    ));
    drop(new_store(&at));
    assert!(FolderStore::open(&at).is_ok());
    assert!(matches!(
        FolderStore::create(&at),
        Err(StoreError::AlreadyAStore { .. })
    ));

    let below_nothing = home.path().join("absent/store");
    assert!(matches!(
        FolderStore::create(&below_nothing),
        Err(StoreError::Missing { .. })
    ));

    let file = home.path().join("file");
    fs::write(&file, b"a file").unwrap();
    for outcome in [FolderStore::open(&file), FolderStore::create(&file)] {
        assert!(
            matches!(outcome, Err(StoreError::NotAFolder { .. })),
            "{outcome:?}"
        );
    }

    let photos = home.path().join("photos");
    fs::create_dir(&photos).unwrap();
    assert!(matches!(
        FolderStore::open(&photos),
        Err(StoreError::NotAStore { .. })
    ));
    fs::write(photos.join("one.jpg"), b"jpeg").unwrap();
    assert!(matches!(
        FolderStore::open(&photos),
        Err(StoreError::NotAStore { .. })
    ));
    assert!(matches!(
        FolderStore::create(&photos),
        Err(StoreError::NotEmpty { .. })
    ));
    assert_eq!(
        fs::read_dir(&photos).unwrap().count(),
        1,
        "nothing was made in it"
    );
}

#[test]
fn an_interrupted_set_up_can_be_repeated() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    // Killed after the first temporary file and before the marker had its name.
    let store = FolderStore::create(&at).unwrap();
    store.put(&path("packs/00/one"), Body::Bytes(b"x")).unwrap();
    store.delete(&path("packs/00/one")).unwrap();
    drop(store);
    fs::remove_dir_all(at.join("packs")).unwrap();
    assert!(FolderStore::create(&at).is_ok());
}

#[test]
fn a_store_that_vanishes_while_it_is_open_is_missing_not_damaged() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    let store = new_store(&at);
    let reader = FolderStore::open(&at).unwrap();
    fs::remove_dir_all(&at).unwrap();
    for error in [
        reader.get(&ObjectPath::marker(), None).unwrap_err(),
        reader.list(&ObjectFolder::root()).unwrap_err(),
        reader
            .put(&path("packs/00/one"), Body::Bytes(b"x"))
            .unwrap_err(),
        store
            .put(&path("packs/00/one"), Body::Bytes(b"x"))
            .unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    }
}

#[test]
fn a_store_that_is_only_read_is_not_written_to() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    drop(new_store(&at));
    let before = entries(&at);
    let store = FolderStore::open(&at).unwrap();
    store.get(&ObjectPath::marker(), None).unwrap();
    store.list(&ObjectFolder::root()).unwrap();
    store.flush().unwrap();
    drop(store);
    assert_eq!(entries(&at), before);
}

#[test]
fn objects_belong_to_their_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    let store = new_store(&at);
    store
        .put(&path("packs/ab/one"), Body::Bytes(b"sealed"))
        .unwrap();
    store.flush().unwrap();
    for (name, mode) in [
        ("", 0o700),
        ("packs", 0o700),
        ("packs/ab/one", 0o600),
        (".spool", 0o700),
    ] {
        let found = fs::metadata(at.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name:?} has mode {found:o}");
    }
}

/// BACKUP-4: whoever can write to the store's folder cannot lead a restore out of it, nor hold it
/// up. A restore that hangs fails this test by its caller's time limit.
#[test]
fn links_pipes_folders_and_devices_are_no_objects() {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), b"outside").unwrap();
    let at = home.path().join("store");
    let store = new_store(&at);
    store
        .put(&path("packs/00/good"), Body::Bytes(b"good"))
        .unwrap();
    store.flush().unwrap();
    let packs = at.join("packs/00");
    symlink(secret.join("key"), packs.join("link")).unwrap();
    symlink("/dev/zero", packs.join("endless")).unwrap();
    symlink("nowhere", packs.join("dangling")).unwrap();
    symlink(&secret, at.join("packs/11")).unwrap();
    symlink(".", at.join("packs/circle")).unwrap();
    fs::create_dir(packs.join("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, packs.join("pipe"), 0o600.into()).unwrap();

    for name in ["link", "endless", "dangling", "folder", "pipe"] {
        let path = path(&format!("packs/00/{name}"));
        for outcome in [
            store.get(&path, None).map(|_| ()),
            store.get(&path, Some(0..1)).map(|_| ()),
            store.get_into(&path, 0, &mut [0]),
            store.length(&path).map(|_| ()),
        ] {
            assert!(
                matches!(outcome, Err(StoreError::NotAnObject { .. })),
                "{name}: {outcome:?}"
            );
        }
    }
    // A folder does not give way to an object. That is said before anything is written.
    let folder = path("packs/00/folder");
    let outcome = store.put(&folder, Body::Bytes(b"x"));
    assert_eq!(outcome, Err(StoreError::NotAnObject { path: folder }));
    store.flush().unwrap();
    let through = path("packs/11/key");
    let outcome = store.get(&through, None);
    assert!(
        matches!(outcome, Err(StoreError::NotAnObject { .. })),
        "{outcome:?}"
    );
    let outcome = store
        .put(&through, Body::Bytes(b"x"))
        .and_then(|()| store.flush());
    assert!(
        matches!(outcome, Err(StoreError::NotAnObject { .. })),
        "{outcome:?}"
    );
    assert_eq!(fs::read(secret.join("key")).unwrap(), b"outside");

    // The failed put above ended that store object's claims; another one lists and deletes.
    let store = FolderStore::open(&at).unwrap();
    let listed = store.list(&ObjectFolder::root()).unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed.path.as_str()).collect();
    assert_eq!(names, ["keyhaven", "packs/00/good"]);
    // Deleting a link deletes the link.
    store.delete(&path("packs/00/link")).unwrap();
    assert!(secret.join("key").exists());
    let outcome = store.delete(&path("packs/00/folder"));
    assert!(
        matches!(outcome, Err(StoreError::NotAnObject { .. })),
        "{outcome:?}"
    );
}

#[test]
fn foreign_names_are_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    let store = new_store(&at);
    for name in [".DS_Store", "Thumbs.db", "a b", "ümlaut", ".hidden"] {
        fs::write(at.join(name), b"x").unwrap();
    }
    fs::create_dir_all(at.join("a/b/c/d/e")).unwrap();
    fs::write(at.join("a/b/c/d/e/deep"), b"x").unwrap();
    let listed = store.list(&ObjectFolder::root()).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[test]
fn leftovers_of_dead_runs_are_removed_and_those_of_living_ones_kept() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("store");
    drop(new_store(&at));
    let spool = at.join(".spool");
    let dead = "00000000000000aa";
    let alive = "00000000000000bb";
    let unlocked = "00000000000000cc";
    for name in [
        format!("{dead}.lock"),
        format!("{dead}.0"),
        format!("{dead}.17"),
        format!("{alive}.lock"),
        format!("{alive}.0"),
        format!("{unlocked}.3"),
        "somebody's notes".to_owned(),
    ] {
        fs::write(spool.join(name), b"part of a pack").unwrap();
    }
    let lock = fs::File::open(spool.join(format!("{alive}.lock"))).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();

    let store = FolderStore::open(&at).unwrap();
    store.put(&path("packs/00/one"), Body::Bytes(b"x")).unwrap();
    store.flush().unwrap();
    let left = |end: &str| spool.join(end).exists();
    assert!(!left(&format!("{dead}.lock")) && !left(&format!("{dead}.0")));
    assert!(!left(&format!("{dead}.17")));
    assert!(left(&format!("{alive}.lock")) && left(&format!("{alive}.0")));
    assert!(
        left(&format!("{unlocked}.3")),
        "without a lock, only age tells"
    );
    assert!(left("somebody's notes"));
    drop(store);
    let ours: Vec<_> = entries(&spool)
        .into_iter()
        .filter(|name| name.ends_with(".lock"))
        .collect();
    assert_eq!(
        ours.len(),
        1,
        "a store that is closed leaves nothing: {ours:?}"
    );

    // A week later, even what no lock protects goes.
    let week_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    let old = fs::File::options()
        .write(true)
        .open(spool.join(format!("{unlocked}.3")))
        .unwrap();
    old.set_modified(week_ago).unwrap();
    let store = FolderStore::open(&at).unwrap();
    store.put(&path("packs/00/two"), Body::Bytes(b"x")).unwrap();
    assert!(!left(&format!("{unlocked}.3")));
}

/// BACKUP-2: after a kill at any moment, what was flushed is there, and every name in the store is
/// a whole object.
#[test]
fn a_killed_writer_leaves_flushed_objects_whole_and_nothing_torn() {
    use std::io::{BufRead, BufReader};
    if let Some(at) = told() {
        let store = FolderStore::open(Path::new(&at)).unwrap();
        for n in 0_u32.. {
            let bytes = vec![n.to_le_bytes()[0]; 3 << 20];
            let name = format!("packs/{:02x}/{n:08x}", n % 7);
            store.put(&path(&name), Body::Bytes(&bytes)).unwrap();
            if n % 3 == 2 {
                store.flush().unwrap();
                println!("\nflushed {n}");
            }
        }
    }
    let home = tempfile::tempdir().unwrap();
    for round in 0..6_u64 {
        let at = home.path().join(format!("store-{round}"));
        drop(new_store(&at));
        let test = "a_killed_writer_leaves_flushed_objects_whole_and_nothing_torn";
        let mut writer = child(&[], test, at.to_str().unwrap())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut flushed = None;
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("flushed ") {
                flushed = Some(n.parse::<u32>().unwrap());
                if flushed >= Some(2) {
                    // A different moment of the next writes each time.
                    std::thread::sleep(std::time::Duration::from_millis(3 * round));
                    writer.kill().unwrap();
                }
            }
        }
        writer.wait().unwrap();
        let flushed = flushed.expect("the writer flushed something before it was killed");

        let store = FolderStore::open(&at).unwrap();
        let mut there = BTreeSet::new();
        for listed in store.list(&ObjectFolder::parse("packs").unwrap()).unwrap() {
            let n = u32::from_str_radix(listed.path.name(), 16).unwrap();
            let bytes = store.get(&listed.path, None).unwrap();
            assert_eq!(bytes.len(), 3 << 20, "{} is torn", listed.path);
            assert!(bytes.iter().all(|byte| *byte == n.to_le_bytes()[0]));
            there.insert(n);
        }
        assert!(
            (0..=flushed).all(|n| there.contains(&n)),
            "{flushed} flushed, {there:?} there"
        );
        // The next run cleans up after the killed one.
        store
            .put(&path("packs/00/next"), Body::Bytes(b"x"))
            .unwrap();
        store.flush().unwrap();
        let spool = entries(&at.join(".spool"));
        assert!(
            spool.iter().all(|name| name.ends_with(".lock")),
            "{spool:?}"
        );
    }
}

#[test]
fn a_full_disk_is_told_before_and_during_writing_and_leaves_nothing_partial() {
    if told().is_none() {
        // A file system of 6 MiB, mounted where nobody else sees it and gone with the child.
        let test = "a_full_disk_is_told_before_and_during_writing_and_leaves_nothing_partial";
        return run_mounting_child(test);
    }
    let home = tempfile::tempdir().unwrap();
    mount(&["-t", "tmpfs", "-o", "size=6m", "none"], home.path());
    let at = home.path().join("store");
    let store = new_store(&at);
    let free = store.free_space().unwrap().unwrap();
    assert!((4 << 20..=6 << 20).contains(&free), "{free}");
    store.ensure_room(free).unwrap();
    let outcome = store.ensure_room(free + 1);
    assert!(matches!(outcome, Err(StoreError::Full { free: Some(told), .. }) if told == free));

    let half = vec![7; 4 << 20];
    store
        .put(&path("packs/00/fits"), Body::Bytes(&half))
        .unwrap();
    store.flush().unwrap();
    for _ in 0..3 {
        let outcome = store.put(&path("packs/00/too-much"), Body::Bytes(&half));
        let Err(StoreError::Full {
            needed,
            free: Some(free),
        }) = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!(needed, 4 << 20);
        assert!(free < needed);
        assert_eq!(store.get(&path("packs/00/fits"), None).unwrap(), half);
        let outcome = store.length(&path("packs/00/too-much"));
        assert!(
            matches!(outcome, Err(StoreError::NotFound { .. })),
            "{outcome:?}"
        );
        // No partial file stays behind either: the room is there again.
        assert!(store.free_space().unwrap().unwrap() > 1 << 20);
    }
    store.delete(&path("packs/00/fits")).unwrap();
    store
        .put(&path("packs/00/too-much"), Body::Bytes(&half))
        .unwrap();
    store.flush().unwrap();
    assert_eq!(store.get(&path("packs/00/too-much"), None).unwrap(), half);
}

#[test]
fn a_read_only_disk_can_be_restored_from_and_says_why_it_takes_no_backup() {
    if told().is_none() {
        let test = "a_read_only_disk_can_be_restored_from_and_says_why_it_takes_no_backup";
        return run_mounting_child(test);
    }
    let home = tempfile::tempdir().unwrap();
    mount(&["-t", "tmpfs", "-o", "size=1m", "none"], home.path());
    let at = home.path().join("store");
    drop(new_store(&at));
    mount(&["-o", "remount,ro"], home.path());
    let store = FolderStore::open(&at).unwrap();
    assert_eq!(store.get(&ObjectPath::marker(), None).unwrap(), b"marker");
    let outcome = store.put(&path("packs/00/one"), Body::Bytes(b"x"));
    assert!(
        matches!(outcome, Err(StoreError::ReadOnly { .. })),
        "{outcome:?}"
    );
    let outcome = store.delete(&ObjectPath::marker());
    assert!(
        matches!(outcome, Err(StoreError::ReadOnly { .. })),
        "{outcome:?}"
    );
    let outcome = FolderStore::create(&home.path().join("other"));
    assert!(
        matches!(outcome, Err(StoreError::ReadOnly { .. })),
        "{outcome:?}"
    );
}

#[test]
fn what_others_own_is_denied() {
    use std::os::unix::process::CommandExt;
    if let Some(at) = told() {
        let at = Path::new(&at);
        let outcome = FolderStore::open(&at.join("closed"));
        assert!(
            matches!(outcome, Err(StoreError::Denied { .. })),
            "{outcome:?}"
        );
        let store = FolderStore::open(&at.join("foreign")).unwrap();
        let outcome = store.put(&path("packs/00/one"), Body::Bytes(b"x"));
        let right = matches!(
            &outcome,
            Err(StoreError::Denied {
                action: Action::Put,
                ..
            })
        );
        assert!(right, "{outcome:?}");
        let outcome = FolderStore::create(&at.join("new"));
        assert!(
            matches!(outcome, Err(StoreError::Denied { .. })),
            "{outcome:?}"
        );
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let open = |at: &Path, mode| fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    open(home.path(), 0o755);
    for (name, mode) in [("closed", 0o700), ("foreign", 0o555)] {
        let at = home.path().join(name);
        drop(new_store(&at));
        open(&at, mode);
        open(&at.join("keyhaven"), 0o444);
    }
    let mut child = child(
        &[],
        "what_others_own_is_denied",
        home.path().to_str().unwrap(),
    );
    if rustix::process::geteuid().is_root() {
        // Permissions do not bind root: the child is nobody, who must be able to run this program.
        let copy = home.path().join("test-program");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        open(&copy, 0o755);
        let arguments: Vec<_> = child.get_args().map(std::ffi::OsStr::to_owned).collect();
        child = std::process::Command::new(copy);
        child
            .args(arguments)
            .env(common::CHILD, home.path())
            .uid(65_534)
            .gid(65_534);
    } else {
        // For an owner, only the mode can close a folder.
        open(&home.path().join("closed"), 0o000);
        open(home.path(), 0o555);
    }
    let output = child.current_dir("/").output().unwrap();
    open(home.path(), 0o755);
    open(&home.path().join("closed"), 0o700);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn mount(arguments: &[&str], at: &Path) {
    let output = std::process::Command::new("mount")
        .args(arguments)
        .arg(at)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "this test needs to mount a small file system in a namespace of its own (unshare): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn entries(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
