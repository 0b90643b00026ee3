//! F4 on the command: disks that are full, for real. The store, the home, the spool and the folder that
//! is restored into each stand on a small file system of their own, in a mount namespace that ends
//! with the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::servers::Server;
use crate::world::{Ran, World, files};

/// Whom the WebDAV server lets in.
const USER: &str = "theodora";
const SECRET: &str = "webdav-secret-9";

/// Set in the test's environment when it is the child that may mount.
const CHILD: &str = "KEYHAVEN_TEST_MAY_MOUNT";

/// Runs `test` once more as a child that may mount file systems nobody else sees; says whether this
/// process is that child.
///
/// Some systems forbid that to all but root. There, and only where no builder's result hangs on
/// it, the test says so and does nothing.
pub(crate) fn may_mount(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let wrapper = ["--map-root-user", "--mount"];
    let tried = Command::new("unshare").args(wrapper).arg("true").output();
    if !tried.is_ok_and(|tried| tried.status.success()) && std::env::var_os("CI").is_none() {
        println!("SKIPPED: {test}: this system permits no private mounts (unshare {wrapper:?})");
        return false;
    }
    let output = Command::new("unshare")
        .args(wrapper)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test} among its own mounts failed:\n{text}"
    );
    false
}

/// A small disk at a place of the world.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(world: &World, name: &str, kib: u64) -> Self {
        let at = world.at(name);
        fs::create_dir(&at).unwrap();
        let disk = Self { at };
        disk.run(&format!("size={kib}k"));
        disk
    }

    /// Makes it larger or smaller; what stands on it stays.
    fn resize(&self, kib: u64) {
        self.run(&format!("remount,size={kib}k"));
    }

    fn run(&self, options: &str) {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&self.at)
            .output()
            .unwrap();
        assert!(mount.status.success(), "mount -o {options}: {mount:?}");
    }
}

/// Media of so many KiB that compress to no less.
fn media(world: &World, name: &str, kib: usize) {
    let mut bytes = vec![0; kib << 10];
    let mut hash = blake3::Hasher::new();
    hash.update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    fs::write(world.at("chats/media").join(name), bytes).unwrap();
}

fn setup(world: &World, home: &str, store: &str) {
    let key = "--recovery-key --recovery-key-file key";
    world
        .run(&format!(
            "setup --home {home} --source chats --store {store} {key}"
        ))
        .is(0);
}

/// The whole of the source comes back, to the byte.
#[track_caller]
fn comes_back(world: &World, home: &str) {
    world.run(&format!("restore --home {home} --to back")).is(0);
    world.same("back");
    let all = |root: &str| -> BTreeMap<PathBuf, Vec<u8>> {
        files(&world.at(root).join("media"))
            .into_iter()
            .map(|path| {
                let name = path.strip_prefix(world.at(root)).unwrap().to_path_buf();
                (name, fs::read(path).unwrap())
            })
            .collect()
    };
    assert!(all("back") == all("chats"), "other files");
    fs::remove_dir_all(world.at("back")).unwrap();
}

/// BACKUP-2: a store that is too small is told before anything is sent; one that fills up on the way
/// costs the run. What was backed up before stands, and with room the same command succeeds.
#[test]
fn a_full_store_is_told_and_with_room_the_same_backup_succeeds() {
    if !may_mount("full::a_full_store_is_told_and_with_room_the_same_backup_succeeds") {
        return;
    }
    let world = World::new();
    let disk = Disk::mount(&world, "disk", 8 << 10);
    setup(&world, "home", "disk/store");
    world.run("backup --home home").is(0);
    let before = files(&world.at("disk/store"));
    media(&world, "large.mp4", 7 << 10);
    let full = world
        .run("backup --home home --json")
        .is(4)
        .says("the store is full")
        .says("bytes are needed");
    assert_eq!(full.json()["remedy"], "ask-user");
    assert_eq!(files(&world.at("disk/store")), before, "nothing was sent");

    // Enough for the bytes of the source, and not for all that goes with them.
    let (mut on_the_way, mut told_before) = (0, 0);
    for spare in (0..100).step_by(10) {
        fs::remove_file(world.at("chats/media/large.mp4")).unwrap();
        let free = free_kib(&disk);
        media(&world, "large.mp4", usize::try_from(free - spare).unwrap());
        let full = world.run("backup --home home --json");
        if full.code == 0 {
            break;
        }
        full.is(4).says("the store is full");
        if files(&world.at("disk/store")) == before {
            told_before += 1;
        } else {
            on_the_way += 1;
        }
        world.run("restore --home home --to old").is(0);
        world.same("old");
        assert!(!world.at("old/media/large.mp4").exists());
        fs::remove_dir_all(world.at("old")).unwrap();
    }
    println!("full on the way {on_the_way} times, told before {told_before} times more");
    assert!(on_the_way + told_before > 0);
    disk.resize(32 << 10);
    world.run("backup --home home").is(0);
    comes_back(&world, "home");
    world.run("verify --home home --depth all").is(0);
}

fn free_kib(disk: &Disk) -> u64 {
    let stat = rustix::fs::statvfs(&disk.at).unwrap();
    stat.f_bavail * stat.f_frsize / 1024
}

/// BACKUP-2: without room for local state a backup says which disk is full; nothing of the local
/// state or of the store is lost.
#[test]
fn a_full_home_is_told_and_with_room_the_same_backup_succeeds() {
    if !may_mount("full::a_full_home_is_told_and_with_room_the_same_backup_succeeds") {
        return;
    }
    let world = World::new();
    let disk = Disk::mount(&world, "disk", 8 << 10);
    setup(&world, "disk/device", "store");
    world.run("backup --home disk/device").is(0);
    let config = fs::read(world.at("disk/device/config.json")).unwrap();
    let mut told = 0;
    for spare_kib in [0, 4, 64, 256] {
        media(&world, &format!("{spare_kib}.jpg"), 90);
        // Many small files: local state grows with them.
        for n in 0..700 {
            fs::write(
                world.at(&format!("chats/media/{spare_kib}-{n}")),
                format!("{spare_kib} {n}"),
            )
            .unwrap();
        }
        disk.resize(8 << 10);
        let fill = world.at("disk/fill");
        let kib = free_kib(&disk) - spare_kib;
        fs::write(&fill, vec![0; usize::try_from(kib << 10).unwrap()]).unwrap();
        let full = world.run("backup --home disk/device --json");
        if full.code != 0 {
            told += 1;
            let full = full.is(4).says("disk").says("full");
            assert_eq!(full.json()["remedy"], "ask-user");
        }
        fs::remove_file(fill).unwrap();
        assert_eq!(
            fs::read(world.at("disk/device/config.json")).unwrap(),
            config
        );
        world.run("backup --home disk/device").is(0);
        comes_back(&world, "disk/device");
    }
    println!("told {told} times");
    assert!(told > 0);
    // A setup that finds no room says so too, and can be done again.
    let fill = world.at("disk/fill");
    fs::write(
        &fill,
        vec![0; usize::try_from(free_kib(&disk) << 10).unwrap()],
    )
    .unwrap();
    let line = "setup --home disk/other --source chats --store store-2 --recovery-key \
                --recovery-key-file key-2";
    world.run(line).is(4).says("No space left");
    fs::remove_file(fill).unwrap();
    // The store may have been begun by then: it is gone on with.
    world.run(line).is(0);
    world.run("backup --home disk/other").is(0);
}

/// BACKUP-2: before a remote store stands the spool; it is asked for room before a database is read.
#[test]
fn a_full_spool_is_told_before_and_with_room_the_same_backup_succeeds() {
    if !may_mount("full::a_full_spool_is_told_before_and_with_room_the_same_backup_succeeds") {
        return;
    }
    let world = World::new();
    // The spool leaves 256 MiB free for others.
    let disk = Disk::mount(&world, "disk", 250 << 10);
    fs::create_dir(world.at("dav")).unwrap();
    let server = Server::webdav(&world.at("dav"), USER, SECRET);
    let run = |line: &str| {
        let mut command = world.command(line);
        command.env("KEYHAVEN_STORE_USER", USER);
        Ran::of(command.env("KEYHAVEN_STORE_SECRET", SECRET))
    };
    run(&format!(
        "setup --home disk/device --source chats --store webdav://{}/store --recovery-key \
         --recovery-key-file key",
        server.address
    ))
    .is(0);
    let before = files(&world.at("dav"));
    let full = run("backup --home disk/device --json")
        .is(4)
        .says("the disk that holds the spool has no room");
    assert_eq!(full.json()["remedy"], "ask-user");
    assert_eq!(files(&world.at("dav")), before, "nothing was sent");
    disk.resize(300 << 10);
    run("backup --home disk/device").is(0);
    run("restore --home disk/device --to back").is(0);
    world.same("back");
}

/// BACKUP-1: a target that is too small is told before anything is written; one that fills up on the
/// way keeps whole files only; with room the same restore goes on.
#[test]
fn a_full_target_is_told_and_with_room_the_same_restore_succeeds() {
    if !may_mount("full::a_full_target_is_told_and_with_room_the_same_restore_succeeds") {
        return;
    }
    let world = World::with_key();
    media(&world, "large.mp4", 6 << 10);
    // Each takes a page of a disk, whatever its size.
    fs::create_dir(world.at("chats/media/small")).unwrap();
    for n in 0..500 {
        fs::write(world.at(&format!("chats/media/small/{n}")), "small").unwrap();
    }
    world.run("backup --home home").is(0);
    let disk = Disk::mount(&world, "back", 4 << 10);
    let full = world
        .run("restore --home home --to back --json")
        .is(4)
        .says("more bytes")
        .says("make room");
    assert_eq!(full.json()["remedy"], "ask-user");
    assert_eq!(files(&world.at("back")), Vec::<PathBuf>::new());

    disk.resize(7 << 10);
    let full = world
        .run("restore --home home --to back --json")
        .is(4)
        .says("the target's disk is full");
    assert_eq!(full.json()["remedy"], "ask-user");
    for path in files(&world.at("back")) {
        let name = path.strip_prefix(world.at("back")).unwrap();
        let there = fs::read(&path).unwrap();
        assert!(
            there == fs::read(world.at("chats").join(name)).unwrap(),
            "{name:?}"
        );
    }
    disk.resize(32 << 10);
    let again: Value = world
        .run("restore --home home --to back --json")
        .is(0)
        .json();
    assert_ne!(again["already_there"], 0, "{again}");
    world.same("back");
    assert_eq!(files(&world.at("back/media/small")).len(), 500);
}

/// BACKUP-1: a database by rows is put together in a sealed copy beside what is restored. The room for both is asked for.
#[test]
fn a_target_without_room_for_a_copy_of_a_database_by_rows_is_told_before() {
    if !may_mount("full::a_target_without_room_for_a_copy_of_a_database_by_rows_is_told_before") {
        return;
    }
    let world = World::with_key();
    let chats = rusqlite::Connection::open(world.at("chats/chats.db")).unwrap();
    let say = |bytes: u32| {
        let row = format!("INSERT INTO message VALUES (hex(randomblob({bytes})))");
        chats.execute_batch(&row).unwrap();
    };
    say(2 << 20);
    world.run("backup --home home --tier rows").is(0);
    say(1000);
    drop(chats);
    world.run("backup --home home --tier rows").is(0);
    let disk = Disk::mount(&world, "back", 6 << 10);
    world
        .run("restore --home home --to back")
        .is(4)
        .says("more bytes");
    assert_eq!(files(&world.at("back")), Vec::<PathBuf>::new());
    disk.resize(16 << 10);
    world.run("restore --home home --to back").is(0);
    world.same("back");
}
