//! What must not stand in each other: the store, the key and what is backed up, by whichever path.

use std::fs;
use std::os::unix::fs::symlink;

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
