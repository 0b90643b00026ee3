//! What must not stand in each other: the home, the store, the key and what is backed up, by whichever path.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::full::may_mount;
use crate::world::{World, files};

/// BACKUP-3: the 64 digits are written neither into the store nor into what is backed up. The card holds no secret.
#[test]
fn a_sheet_is_made_neither_in_the_store_nor_in_the_source() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    symlink("store/packs", world.at("link")).unwrap();
    symlink(world.at("chats"), world.at("alias")).unwrap();
    fs::create_dir(world.at("deep")).unwrap();
    symlink("../store", world.at("deep/er")).unwrap();
    let all = || (files(&world.at("store")), files(&world.at("chats")));
    let before = all();
    let absolute = world.at("store/sheet.svg");
    for file in [
        "store/sheet.svg",
        "store/packs/sheet.svg",
        "./chats/../store/sheet.svg",
        "link/sheet.svg",
        "link/../sheet.svg",
        "deep/er/sheet.svg",
        absolute.to_str().unwrap(),
    ] {
        let told = world.run(&format!("key sheet {file} --home home --json"));
        let told = told.is(4).says("must not stand in the store");
        assert_eq!(told.json()["remedy"], "ask-user");
    }
    for file in [
        "chats/sheet.svg",
        "alias/media/sheet.svg",
        "deep/../chats/media/../x",
    ] {
        world
            .run(&format!("key sheet {file} --home home"))
            .is(4)
            .says("must not stand in the folder that is backed up");
    }
    assert_eq!(all(), before);
    world.run("key card store/card.svg --home home").is(0);
    world.run("key sheet deep/sheet.svg --home home").is(0);
}

/// A backup is refused before anything is read, and nothing is sent; with everything back in its place it goes on.
#[track_caller]
fn refused(world: &World, home: &str, says: &str) {
    let before = files(&world.at("store"));
    let told = world.run(&format!("backup --home {home} --json")).is(4);
    assert_eq!(told.json()["remedy"], "ask-user");
    let told = told.says(says).says("Nothing was read");
    assert!(!told.out.contains("sent_bytes"));
    assert_eq!(files(&world.at("store")), before);
}

#[test]
fn a_home_or_a_store_that_was_moved_into_the_source_is_not_backed_up() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let inside = "stands inside the folder that is backed up";
    let moved = |from: &str, to: &str| fs::rename(world.at(from), world.at(to)).unwrap();

    moved("home", "chats/media/h");
    refused(&world, "chats/media/h", inside);
    symlink("chats/media/h", world.at("home")).unwrap();
    refused(&world, "home", inside);
    fs::remove_file(world.at("home")).unwrap();
    moved("chats/media/h", "home");

    moved("store", "chats/store");
    symlink("chats/store", world.at("store")).unwrap();
    refused(&world, "home", inside);
    fs::remove_file(world.at("store")).unwrap();
    moved("chats/store", "store");

    moved("chats", "store/chats");
    symlink("store/chats", world.at("chats")).unwrap();
    refused(&world, "home", "stands inside the store");
    fs::remove_file(world.at("chats")).unwrap();
    moved("store/chats", "chats");

    let back = world.run("backup --home home --json").is(0).json();
    assert_eq!(back["pending_files"], 0);
}

fn mount(args: &[&str], at: &Path) {
    let mount = Command::new(args[0]).args(&args[1..]).arg(at).output();
    let mount = mount.unwrap();
    assert!(mount.status.success(), "{args:?}: {mount:?}");
}

/// A folder that is mounted at two places has two paths, which say nothing of each other.
#[test]
fn a_home_or_a_store_that_is_mounted_in_the_source_is_not_backed_up() {
    if !may_mount("nested::a_home_or_a_store_that_is_mounted_in_the_source_is_not_backed_up") {
        return;
    }
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let point = world.at("chats/media/mounted");
    fs::create_dir(&point).unwrap();
    fs::create_dir(world.at("chats/h")).unwrap();
    fs::create_dir(world.at("alias")).unwrap();
    for what in ["home", "home/device", "store", "store/packs"] {
        mount(
            &["mount", "--bind", world.at(what).to_str().unwrap()],
            &point,
        );
        refused(&world, "home", "chats/media/mounted");
        mount(&["umount"], &point);
    }
    // The source has another path, too, and the home is there.
    mount(
        &["mount", "--bind", world.at("chats").to_str().unwrap()],
        &world.at("alias"),
    );
    fs::rename(world.at("home"), world.at("chats/h")).unwrap();
    refused(
        &world,
        "alias/h",
        "stands inside the folder that is backed up",
    );
    world
        .run("key sheet alias/sheet.svg --home alias/h")
        .is(4)
        .says("must not stand in the folder that is backed up");
    fs::rename(world.at("chats/h"), world.at("home")).unwrap();
    mount(&["umount"], &world.at("alias"));
    world.run("backup --home home").is(0);
}
