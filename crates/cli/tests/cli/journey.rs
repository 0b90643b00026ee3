//! The way of a person who keeps the 64-digit key.

use std::fs;

use crate::world::{NAME, TEXT, World};

#[test]
fn a_key_sets_up_backs_up_shows_and_restores() {
    let world = World::with_key();
    let first = world.run("backup --home home --json").is(0).json();
    assert_eq!(first["outcome"], "complete");
    assert_eq!(first["source"]["databases"], 1);
    let again = world.run("backup --home home --json").is(0).json();
    assert_eq!(
        (&again["outcome"], &again["sent_bytes"]),
        (&"unchanged".into(), &0.into())
    );
    world
        .run("backup --home home")
        .is(0)
        .says("Nothing has changed");

    let status = world.run("status --home home --json").is(0).json();
    assert_eq!(status["newest"]["sequence"], 2);
    assert_eq!(status["recovery_key_proven"], true);
    let usage = &status["usage"];
    let bytes = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(
        bytes("live_bytes") + bytes("padding_bytes") + bytes("other_bytes"),
        bytes("stored_bytes")
    );
    assert_eq!((bytes("live_objects"), bytes("stored_objects")), (3, 5));
    world
        .run("status --home home")
        .is(0)
        .says("64-digit key (proven)")
        .says("live in 3 objects");

    let browse = world.run("browse --home home --json").is(0).json();
    assert_eq!(browse["snapshots"].as_array().unwrap().len(), 2);
    let browse = world.run("browse --home home").is(0);
    browse.says("      2 files     1 database  ");
    let files = world.run("browse files --home home --json").is(0).json();
    assert_eq!(files["files"].as_array().unwrap().len(), 4);
    world.run("browse files media --home home").is(0).says(NAME);
    assert_eq!(
        world.run("browse cat notes.txt --home home").is(0).out,
        TEXT
    );
    world.run("browse cat notes.txt --home home --json").is(4);
    world
        .run("browse cat media --home home")
        .is(4)
        .says("not a file");

    let verified = world.run("verify --home home --json").is(0).json();
    assert_eq!(verified["lost"].as_array().unwrap().len(), 0);
    world
        .run("verify --home home --depth structure")
        .is(0)
        .says("all is well");

    let restored = world
        .run("restore --home home --to back --json")
        .is(0)
        .json();
    assert_eq!(restored["files"], 3);
    world.same("back");
    world
        .run("restore --home home --to part --path media")
        .is(0);
    assert!(world.at("part/media").join(NAME).exists() && !world.at("part/notes.txt").exists());
}

/// Twelve days of one photo each, and what is needed of them is gathered.
#[test]
fn short_objects_are_repacked_within_a_budget() {
    let world = World::with_key();
    for day in 0..12 {
        fs::write(world.at(&format!("chats/media/{day}.bin")), [day; 500]).unwrap();
        world.run("backup --home home").is(0);
    }
    let needed = || {
        let status = world.run("status --home home --json").is(0).json();
        status["usage"]["live_objects"].as_u64().unwrap()
    };
    std::thread::sleep(std::time::Duration::from_millis(100));
    world.run("backup --home home --repack 0").is(0);
    let before = needed();
    let moved = world
        .run("backup --home home --repack 1 --json")
        .is(0)
        .json();
    assert_eq!(moved["outcome"], "complete");
    // The first day's lies beside a picture, in a longer one.
    assert_eq!(moved["repacked"]["objects"], 11);
    assert_eq!(moved["repacked"]["bytes"], 11 * 500);
    assert_eq!(before - needed(), 10);
    world
        .run("backup --home home --repack 32")
        .is(0)
        .says("nothing worth moving");
    world.run("restore --home home --to back").is(0);
    world.same("back");
    assert_eq!(fs::read(world.at("back/media/11.bin")).unwrap(), [11; 500]);
    world.run("backup --home home --repack some").is(2);
}

/// BACKUP-4: without a vault a new device cannot know whether the backup is the newest, and says so.
#[test]
fn a_new_device_restores_by_the_key_and_finds_one_wrong_digit() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    fs::remove_dir_all(world.at("home")).unwrap();
    world
        .run("restore --home new --store store --recovery-key-file key --to back")
        .is(0)
        .says("Freshness not verified");
    world.same("back");

    fs::write(world.at("slip"), world.slip(&[8])).unwrap();
    world
        .run("restore --home new2 --store store --recovery-key-file slip --to back2")
        .is(0)
        .says("digit 9 was another one");
    world.same("back2");
    fs::write(world.at("slips"), world.slip(&[8, 40])).unwrap();
    let no = world
        .run("restore --home new3 --store store --recovery-key-file slips --to back3 --json")
        .is(4);
    assert_eq!(no.json()["remedy"], "ask-user");
    assert!(!world.at("back3").exists());

    // A new device goes on backing up what it restored.
    world
        .run("restore --home new --store store --to back")
        .is(0)
        .says("there already");
    world
        .run("restore --home new --store other --to back")
        .is(4)
        .says("--home");
    world.run("backup --home new").is(0);
}

#[test]
fn the_key_is_shown_checked_and_printed_and_the_card_holds_none_of_it() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let digits = fs::read_to_string(world.at("key"))
        .unwrap()
        .trim()
        .to_owned();
    assert_eq!(
        world.run("key show --home home --json").is(0).json()["key"],
        digits
    );
    world
        .run("key check --home home --recovery-key-file key")
        .is(0);
    fs::write(world.at("slip"), world.slip(&[63])).unwrap();
    let checked = world
        .run("key check --home home --recovery-key-file slip --json")
        .is(0);
    assert_eq!(checked.json()["corrected"], "digit 64 was another one");

    world.run("key sheet sheet.svg --home home").is(0);
    world.run("key sheet sheet.svg --home home").is(4);
    let sheet = fs::read_to_string(world.at("sheet.svg")).unwrap();
    assert!(sheet.contains("<svg"));
    assert!(
        digits.split(' ').all(|group| sheet.contains(group)),
        "{sheet}"
    );
    for card in ["card.txt", "card.svg"] {
        world.run(&format!("key card {card} --home home")).is(0);
        let card = fs::read_to_string(world.at(card)).unwrap();
        assert!(card.contains("store"), "{card}");
        assert!(!card.contains(&digits[..9]) && !card.contains(&world.slip(&[])[..8]));
    }
}

#[test]
fn every_command_has_a_help_that_says_what_it_is_for() {
    let world = World::new();
    for command in [
        "",
        "setup",
        "backup",
        "restore",
        "browse",
        "browse files",
        "browse cat",
        "verify",
        "password",
        "password set",
        "password change",
        "password remove",
        "key",
        "key show",
        "key check",
        "key sheet",
        "key card",
        "status",
        "demo",
    ] {
        let help = world.run(&format!("{command} --help")).is(0).out;
        assert!(
            help.contains("Usage: keyhaven") && help.contains("--json"),
            "{help}"
        );
    }
    world.run("--help").is(0).says("Exit codes:");
    world.run("backup --no-such-flag").is(2);
}
