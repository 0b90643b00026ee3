//! What goes wrong in daily use, as the command tells it: the exit code, the remedy, and words that say
//! what to do. The library's side is in `keyhaven/tests/hostile/refused.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{Ran, TEXT, World, files};

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

/// BACKUP-1: what a target cannot have costs that alone, and is told with what helps.
#[test]
fn a_path_that_the_target_does_not_take_is_named_and_the_rest_comes_back() {
    let world = World::with_key();
    let way: PathBuf = std::iter::repeat_n("d".repeat(250), 15).collect();
    fs::create_dir_all(world.at("chats").join(&way)).unwrap();
    let late = way.join("late.txt");
    fs::write(world.at("chats").join(&late), TEXT).unwrap();
    world.run("backup --home home").is(0);
    let to = ["t".repeat(110), "t".repeat(110), "t".repeat(110)].join("/");
    let restore = format!("restore --home home --to {to}");
    let told = world.run(&restore).is(6);
    let told = told.says("not restored: ").says("--path PATH --to FOLDER");
    assert!(!told.err.contains("cannot be brought back"), "{told:?}");
    let json = world.run(&format!("{restore} --json")).is(6).json();
    let lost = json["lost"].as_array().unwrap();
    let is_told = |path: &Path| {
        let path = path.to_str().unwrap();
        lost.iter()
            .any(|one| one["path"] == path && one["remedy"] == "ask-user")
    };
    assert!(is_told(&late) && is_told(&way), "{lost:?}");
    world.same(&to);
    world.run("restore --home home --to back").is(0);
    let back = fs::read_to_string(world.at("back").join(late));
    assert_eq!(back.unwrap(), TEXT);
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
        let verify = world.run("verify --home home --json").is(6).json();
        // The index is one of them: without it nothing can be named.
        if verify["lost"][0]["kind"] != "all" {
            let back = world.run("restore --home home --to back --json").is(6);
            let lost = &back.json()["lost"][0];
            assert_eq!(lost["path"], "late.bin");
            assert!(
                lost["reason"].as_str().unwrap().contains("has no object"),
                "{lost}"
            );
            world.same("back");
            let status = world.run("status --home home --json").is(0).json();
            assert_eq!(status["usage"]["lost_objects"], 1, "{status}");
            let status = world.run("status --home home").is(0);
            status.says("needs 1 object that the store does not have");
            named = true;
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(named);
    world.run("restore --home home --to back").is(0);
    let status = world.run("status --home home --json").is(0).json();
    assert_eq!(status["usage"]["lost_objects"], 0, "{status}");
}

/// What cannot be counted keeps nobody from the rest of the status.
#[test]
fn a_store_whose_bytes_cannot_be_counted_has_a_status() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    for path in files(&world.at("store/packs")) {
        fs::write(path, "not a pack").unwrap();
    }
    let status = world.run("status --home home --json").is(0).json();
    assert_eq!(status["newest"]["sequence"], 2);
    let error = status["usage"]["error"].as_str().unwrap();
    assert!(error.contains("index"), "{error}");
    world.run("status --home home").is(0).says("not counted");
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
    // What comes back is not all, and which backup is whole is said before anything is written.
    let browse = world.run("browse --home home --json").is(0).json();
    let whole = browse["snapshots"][1]["name"].as_str().unwrap();
    let restored = world.run("restore --home home --to back --json").is(0);
    assert_eq!(restored.json()["complete"], false);
    restored
        .says("backup number 3 is not complete: 1 file is missing")
        .says(&format!("number 2: --snapshot {} ", &whole[..12]));
    world.same("back");
    assert!(world.at("back/new.txt").exists());
    let verified = world.run("verify --home home").is(0);
    verified.says("all that it holds is well");
    let quiet = world.run("restore --home home --to quiet -q").is(0);
    quiet.says("is not complete");
    // What was just written is looked at again. After that there is nothing to say that the store does not say already.
    let mut stored = Vec::new();
    let said_once = (0..100).any(|_| {
        let pending = world
            .run("backup --home home --json")
            .is(5)
            .says("pending: chats.db")
            .json();
        assert_eq!(pending["pending_files"], 1);
        let before = std::mem::replace(&mut stored, files(&world.at("store")));
        stored == before
    });
    assert!(said_once);
    fs::write(world.at("chats/chats.db"), &good).unwrap();
    world.run("backup --home home").is(0);
    let restored = world.run("restore --home home --to all --json").is(0);
    assert_eq!(restored.json()["complete"], true);
    assert!(!restored.err.contains("not complete"), "{restored:?}");
}

/// BACKUP-1: the one object that says which store this is may be damaged or gone: the snapshots say it too. `verify` names
/// it, a new device restores all the same, and the next backup writes it again.
#[test]
fn a_marker_that_is_damaged_or_gone_costs_nothing() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let marker = world.at("store/keyhaven");
    let good = fs::read(&marker).unwrap();
    let damaged = [
        Some(vec![0; good.len()]),
        Some(good[..20].to_vec()),
        Some([&good[..8], &[2], &good[9..]].concat()),
        Some([&good[..16], &[7; 16], &good[32..]].concat()),
        None,
    ];
    for (number, bytes) in damaged.into_iter().enumerate() {
        match bytes {
            Some(bytes) => fs::write(&marker, bytes).unwrap(),
            None => fs::remove_file(&marker).unwrap(),
        }
        let verify = world.run("verify --home home --json").is(6);
        assert_eq!(
            verify.json()["damaged"][0]["object"],
            "keyhaven",
            "{verify:?}"
        );
        let restore = format!(
            "restore --home new{number} --store store --recovery-key-file key --to new{number}.back"
        );
        world.run(&restore).is(0);
        world.same(&format!("new{number}.back"));
        let setup =
            "setup --home other --source chats --store store --recovery-key --recovery-key-file o";
        assert_ne!(world.run(setup).code, 0);
        let backup = world.run("backup --home home --json");
        assert_eq!(backup.code, 0, "{backup:?}");
        backup.says("marker was written again");
        assert_eq!(fs::read(&marker).unwrap(), good);
        world.run("verify --home home").is(0);
    }
}

/// So may something else be that stands in its place: a folder stays until a person moves it away, all else gives way.
#[test]
fn whatever_stands_in_the_markers_place_costs_nothing() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let marker = world.at("store/keyhaven");
    let good = fs::read(&marker).unwrap();
    fs::remove_file(&marker).unwrap();
    fs::create_dir_all(marker.join("of somebody")).unwrap();
    fs::write(world.at("chats/more"), TEXT).unwrap();
    let blocked = "a folder named `keyhaven` stands in the store";
    world.run("backup --home home").is(0).says(blocked);
    world.run("backup --home home").is(0).says(blocked);
    let damaged = world.run("verify --home home --json").is(6).json();
    assert_eq!(damaged["damaged"][0]["object"], "keyhaven");
    world
        .run("restore --home new --store store --recovery-key-file key --to back")
        .is(0);
    world.same("back");
    fs::remove_dir_all(&marker).unwrap();
    for make in ["nothing", "link", "pipe"] {
        let _ = fs::remove_file(&marker);
        match make {
            "link" => std::os::unix::fs::symlink("/nowhere", &marker).unwrap(),
            "pipe" => nix::unistd::mkfifo(&marker, nix::sys::stat::Mode::S_IRUSR).unwrap(),
            _ => {}
        }
        world.run("verify --home home").is(6);
        world
            .run("backup --home home")
            .is(0)
            .says("marker was written again");
        assert_eq!(fs::read(&marker).unwrap(), good, "{make}");
        world.run("verify --home home").is(0);
    }
}

/// A store that a later Keyhaven made is not taken for a damaged one, and nothing in it is changed.
#[test]
fn a_store_of_a_later_format_is_refused_and_left_alone() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let marker = world.at("store/keyhaven");
    let mut later = fs::read(&marker).unwrap();
    later[8] = 2;
    let check = blake3::hash(&later[..32]);
    later[32..64].copy_from_slice(check.as_bytes());
    fs::write(&marker, &later).unwrap();
    fs::write(world.at("chats/more"), TEXT).unwrap();
    let before = files(&world.at("store"));
    for command in ["backup", "status", "verify", "browse", "restore --to back"] {
        let ran = world.run(&format!("{command} --home home --json"));
        told(ran, 4, "ask-user", "format version 2");
    }
    assert_eq!(files(&world.at("store")), before);
    assert_eq!(fs::read(&marker).unwrap(), later);
}

/// BACKUP-4: a new device that is told by nobody which backup is the newest gets the newest that opens, and hears that another
/// may be newer. Who names a backup has it.
#[test]
fn a_newest_backup_that_does_not_open_is_told_to_a_new_device() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let older = files(&world.at("store/snapshots"));
    fs::write(world.at("chats/more"), TEXT).unwrap();
    world.run("backup --home home").is(0);
    let mut newest = files(&world.at("store/snapshots"));
    newest.retain(|path| !older.contains(path));
    fs::write(&newest[0], "cut off").unwrap();
    let name = newest[0].file_name().unwrap().to_str().unwrap().to_owned();
    let new = "--store store --recovery-key-file key --quiet";
    let restored = world
        .run(&format!("restore --home new --to back {new} --json"))
        .is(6)
        .says("may be newer");
    let json = restored.json();
    assert_eq!((&json["ok"], &json["sequence"]), (&false.into(), &2.into()));
    assert_eq!(json["unreadable"], serde_json::json!([name]));
    let second = json["snapshot"].as_str().unwrap();
    let named = format!("restore --home new --to named --snapshot {second} --json");
    let named = world.run(&named).is(0).json();
    assert_eq!(named["unreadable"], serde_json::json!([]));
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
        let verify = world.run("verify --home home --depth structure --json");
        // The backup finds the damage by itself.
        let _ = fs::remove_dir_all(world.at("home/state/suspects"));
        if verify.json()["lost"][0]["kind"] != "all" {
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

/// A sample of the store goes round, old backups and all. Damage that costs only an old backup something is told with that
/// backup's number, its files and the object.
#[test]
fn a_sample_names_the_old_backup_and_the_file_that_damage_takes() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let before = files(&world.at("store/packs"));
    fs::write(world.at("chats/old.bin"), b"old ".repeat(30_000)).unwrap();
    world.run("backup --home home").is(0);
    let old = world.run("browse --home home --json").json()["snapshots"][0].clone();
    let mut late = files(&world.at("store/packs"));
    late.retain(|path| !before.contains(path));
    fs::remove_file(world.at("chats/old.bin")).unwrap();
    world.run("backup --home home").is(0);
    let packs = files(&world.at("store/packs")).len();

    let good = world.run("verify --home home --sample 100% --json").is(0);
    assert_eq!(good.json()["sample"]["objects"], packs);
    assert_eq!(good.json()["sample"]["of_objects"], packs);
    assert_eq!(good.json()["damaged"], serde_json::json!([]));
    let mut named = false;
    for path in late {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[300] ^= 1;
        fs::write(&path, &bad).unwrap();
        // Half of the store, and then the other half.
        let samples: Vec<Ran> = (0..3)
            .map(|_| world.run("verify --home home --sample 50% --json"))
            .collect();
        let found = samples.iter().find(|ran| ran.code == 6).unwrap();
        let json = found.json();
        let name = path.file_name().unwrap().to_str().unwrap();
        let object = json["damaged"][0]["object"].as_str().unwrap();
        assert!(object.ends_with(name), "{object}");
        let affected = json["affected"].as_array().unwrap();
        let is_file = affected.iter().any(|one| one["lost"][0]["kind"] == "file");
        if json["lost"] == serde_json::json!([]) && is_file {
            assert_eq!(affected.len(), 1);
            assert_eq!(affected[0]["snapshot"]["name"], old["name"]);
            assert_eq!(affected[0]["lost"][0]["path"], "old.bin");
            world
                .run("verify --home home --sample 100%")
                .is(6)
                .says(&format!("Backup number {} (", old["sequence"]))
                .says("lost: old.bin")
                .says(&format!("damaged: {object}"));
            // The newest backup has lost nothing.
            world.run("verify --home home").is(0);
            named = true;
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(named);
    world.run("verify --home home --sample 100%").is(0);
    for no in ["--sample 0%", "--sample 5", "--sample 5% --depth all"] {
        world.run(&format!("verify --home home {no}")).is(2);
    }
}

/// BACKUP-1: what `verify` finds damaged the next backup sends again, and then all is well.
#[test]
fn verify_finds_damage_and_the_next_backup_mends_it() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let mut mended = 0;
    for path in files(&world.at("store/packs")) {
        let mut bad = fs::read(&path).unwrap();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, &bad).unwrap();
        let verify = world.run("verify --home home --sample 100%").is(6);
        let verify = verify.says("The next `keyhaven backup` sends again");
        let backup = world.run("backup --home home --json");
        if backup.code == 6 {
            let name = path.file_name().unwrap().to_str().unwrap();
            let reason = backup.json()["damaged"]["reason"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(reason.contains(name), "{reason}");
            mended += 1;
        } else {
            // Nothing of the newest backup lies in it. What older ones have lost is told behind.
            backup.is(0);
            let newest = verify.err.split("Backup number").next().unwrap();
            assert!(!newest.contains("lost: "), "{verify:?}");
        }
        world.run("verify --home home").is(0);
        world.run("backup --home home").is(0);
    }
    assert!(mended > 0);
    world.run("restore --home home --to back").is(0);
    world.same("back");
}

/// BACKUP-4: also where nothing is written and nothing brought back.
#[test]
fn a_store_that_went_back_is_told_by_every_command() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    keyhaven_testkit::copy_folder(&world.at("store"), &world.at("old")).unwrap();
    fs::write(world.at("chats/more.txt"), "more").unwrap();
    world.run("backup --home home").is(0);
    world.run("verify --home home").is(0).says("all is well");
    let status = world.run("status --home home --json").is(0).json();
    assert!(status["gone_back"].is_null());

    fs::rename(world.at("store"), world.at("new")).unwrap();
    fs::rename(world.at("old"), world.at("store")).unwrap();
    world.run("backup --home home").is(4);
    world.run("restore --home home --to back").is(4);
    for depth in ["--depth all", "--depth structure", "--sample 50%"] {
        let verify = format!("verify --home home {depth}");
        let told = world.run(&verify).is(6).says("older state (number 2)");
        assert!(!told.out.contains("all is well"));
        let json = world.run(&format!("{verify} --json")).is(6).json();
        assert_eq!(json["gone_back"]["noted"], 3);
        assert_eq!(json["gone_back"]["newest"], 2);
    }
    world
        .run("status --home home")
        .is(0)
        .says("ALARM: the store serves");
}

/// BACKUP-4, BACKUP-1: what a store has lost for good ends nothing. A person says so, and the next backup is whole, newer than the
/// lost one, and refers to nothing that is not there.
#[test]
fn a_newest_backup_that_is_lost_for_good_is_given_up_by_word() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let kept = files(&world.at("store"));
    fs::write(world.at("chats/more.txt"), "more").unwrap();
    world.run("backup --home home").is(0);
    // Its packs are gone with it.
    for path in files(&world.at("store")) {
        if !kept.contains(&path) {
            fs::remove_file(path).unwrap();
        }
    }
    let before = files(&world.at("store"));
    world.run("backup --home home").is(4).says("--accept-lost");
    let restore = "restore --home home --to older";
    world.run(restore).is(4).says("restore --snapshot");
    let newest = world.run("browse --home home --json").is(0).json();
    let newest = newest["snapshots"][0]["name"].as_str().unwrap().to_owned();
    world.run(&format!("{restore} --snapshot {newest}")).is(0);
    world.same("older");
    assert!(files(&world.at("store")) == before);

    let made = world
        .run("backup --home home --accept-lost --json")
        .is(6)
        .json();
    assert_eq!(made["sequence"], 4);
    assert_eq!(made["damaged"]["sequence"], 3);
    world.run("backup --home home").is(0);
    world.run("verify --home home").is(0).says("all is well");
    for device in [
        "--home home",
        "--home new --store store --recovery-key-file key",
    ] {
        let to = format!("back{}", device.len());
        world.run(&format!("restore {device} --to {to}")).is(0);
        world.same(&to);
        assert_eq!(fs::read(world.at(&to).join("more.txt")).unwrap(), b"more");
    }
    // Where nothing is lost, the word changes nothing.
    let nothing = world
        .run("backup --home home --accept-lost --json")
        .is(0)
        .json();
    assert!(nothing["damaged"].is_null());
}

/// BACKUP-1: what is restored from is not written into.
#[test]
fn a_restore_into_the_store_or_the_home_is_refused() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let before = (files(&world.at("store")), files(&world.at("home")));
    world
        .run("restore --home home --to store/back")
        .is(4)
        .says("lies inside the store")
        .says("Nothing was written");
    let told = world.run("restore --home home --to home --json").is(4);
    assert_eq!(told.json()["remedy"], "ask-user");
    world
        .run("restore --home new --store store --recovery-key-file key --to store/back")
        .is(4)
        .says("must not stand inside each other");
    assert!(!world.at("new").exists());
    assert!((files(&world.at("store")), files(&world.at("home"))) == before);
}
