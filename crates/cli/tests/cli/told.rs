//! What goes wrong in daily use, as the command tells it: the exit code, the remedy, and words that say
//! what to do. The library's side is in `keyhaven/tests/hostile/refused.rs`.

use std::fs;

use crate::world::{Ran, World, files};

/// What a program is told: the exit code, `remedy`, and in `error` these words.
#[track_caller]
fn told(ran: Ran, code: i32, remedy: &str, words: &str) {
    let ran = ran.is(code);
    let json = ran.json();
    assert_eq!(json["remedy"], remedy, "{ran:?}");
    let error = json["error"].as_str().unwrap();
    assert!(error.contains(words), "no {words:?} in {ran:?}");
}

#[test]
fn a_store_that_is_gone_is_told_by_its_place_and_goes_on_when_it_is_back() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    fs::rename(world.at("store"), world.at("away")).unwrap();
    for command in ["backup", "status", "browse", "verify", "restore --to x"] {
        let gone = world.run(&format!("{command} --home home --json"));
        told(gone, 4, "ask-user", "its disk is not connected");
    }
    fs::rename(world.at("away"), world.at("store")).unwrap();
    world.run("backup --home home").is(0);
}

#[test]
fn a_path_that_is_no_store_is_told_and_left_alone() {
    let world = World::with_key();
    let before = files(&world.at("chats"));
    let new = "--recovery-key-file key --to x --json";
    let no = world.run(&format!("restore --home new --store chats {new}"));
    told(no, 4, "ask-user", "is not a Keyhaven store");
    let no = world.run(&format!("restore --home new --store key {new}"));
    told(no, 4, "ask-user", "is not a folder");
    let no = world.run(
        "setup --home new --source chats --store tmp/.. --recovery-key --recovery-key-file k --json",
    );
    assert_eq!(no.code, 4, "{no:?}");
    assert_eq!(files(&world.at("chats")), before);
}

#[test]
fn a_wrong_key_is_told_as_another_key() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    fs::write(world.at("other-key"), "0123456789abcdef".repeat(4)).unwrap();
    let no =
        world.run("restore --home new --store store --recovery-key-file other-key --to x --json");
    told(no, 4, "ask-user", "key");
    assert!(!world.at("x").exists());
}

/// BACKUP-1: an object that is missing costs the files that it holds, each named.
#[test]
fn a_missing_object_is_named_by_file_and_the_rest_comes_back() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let before = files(&world.at("store/packs"));
    fs::write(world.at("chats/late.bin"), b"late ".repeat(20_000)).unwrap();
    world.run("backup --home home").is(0);
    let mut late = files(&world.at("store/packs"));
    late.retain(|path| !before.contains(path));
    let mut named = false;
    for path in late {
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let verify = world.run("verify --home home --json");
        assert_ne!(verify.code, 0, "{verify:?}");
        if verify.code == 6 {
            let back = world.run("restore --home home --to back --json").is(6);
            let lost = &back.json()["lost"][0];
            assert_eq!(lost["path"], "late.bin");
            assert!(
                lost["reason"].as_str().unwrap().contains("has no object"),
                "{lost}"
            );
            world.same("back");
            named = true;
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(named);
    world.run("restore --home home --to back").is(0);
}

/// BACKUP-1: a database that is damaged is pending; its last good state and the rest are safe.
#[test]
fn a_corrupt_database_is_pending_and_its_last_good_state_comes_back() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let good = fs::read(world.at("chats/chats.db")).unwrap();
    // Cut off, as by a disk that was full when it was copied here.
    fs::write(world.at("chats/chats.db"), &good[..4096]).unwrap();
    fs::write(world.at("chats/new.txt"), "new").unwrap();
    let backup = world.run("backup --home home --json").is(5);
    assert_eq!(backup.json()["pending_files"], 1);
    let backup = backup.says("pending: chats.db").says("its own app");
    assert!(!backup.err.contains("panicked"));
    world.run("restore --home home --to back").is(0);
    world.same("back");
    assert!(world.at("back/new.txt").exists());
    fs::write(world.at("chats/chats.db"), &good).unwrap();
    world.run("backup --home home").is(0);
}

/// BACKUP-1: the list of files of the newest backup is damaged. The next backup says so by its number, is whole, ends
/// with 6, and deletes nothing; the one after it ends with 0.
#[test]
fn a_backup_beside_a_damaged_one_is_whole_and_ends_with_6() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let damaged = world.run("browse --home home --json").is(0).json()["snapshots"][0].clone();
    let mut met = 0;
    for path in files(&world.at("store/packs")) {
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..3000]).unwrap();
        // Without its list of files nothing of it comes back.
        let is_root = world.run("verify --home home").code == 1;
        if !is_root {
            fs::write(&path, &good).unwrap();
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let before = files(&world.at("store"));
        let backup = world.run("backup --home home --json --quiet").is(6);
        let json = backup.json();
        assert_eq!(json["outcome"], "complete");
        assert_eq!(json["damaged"]["snapshot"], damaged["name"]);
        assert_eq!(json["damaged"]["sequence"], damaged["sequence"]);
        let reason = json["damaged"]["reason"].as_str().unwrap();
        assert!(reason.contains(name), "{reason}");
        let number = damaged["sequence"].as_u64().unwrap();
        backup
            .says(&format!("backup number {number} ("))
            .says("is damaged in the store")
            .says("A whole new backup is made");
        for path in before {
            assert!(path.exists(), "{path:?} is gone");
        }
        world.run("restore --home home --to back").is(0);
        world.same("back");
        let next = world.run("backup --home home --json").is(0);
        assert_eq!(next.json()["outcome"], "unchanged");
        assert!(next.json()["damaged"].is_null());
        world.run("verify --home home").is(0);
        met += 1;
    }
    assert_eq!(met, 1);
    world
        .run("backup --help")
        .is(0)
        .says("6  the backup before it is damaged");
}
