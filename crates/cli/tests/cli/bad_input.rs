//! Bad input: each has its exit code and its words, and nothing is lost.

use std::fs;
use std::process::Stdio;

use crate::world::{NAME, Ran, TEXT, World, files};

#[test]
fn what_is_not_set_up_or_set_up_already_is_told() {
    let world = World::new();
    for command in [
        "backup",
        "status",
        "browse",
        "verify",
        "key show",
        "restore --to x",
    ] {
        let told = world.run(&format!("{command} --home home --json")).is(4);
        assert_eq!(told.json()["remedy"], "ask-user");
    }
    let setup = "--recovery-key --recovery-key-file";
    world
        .run(&format!(
            "setup --home home --source chats --store chats/s {setup} k"
        ))
        .is(4);
    world
        .run(&format!(
            "setup --home chats/h --source chats --store s {setup} k"
        ))
        .is(4);
    world
        .run(&format!(
            "setup --home home --source none --store s {setup} k"
        ))
        .is(4);
    // A key that is lost with what it opens is none.
    world
        .run(&format!(
            "setup --home home --source chats --store s {setup} chats/media/k"
        ))
        .is(4)
        .says("must not stand in the folder");
    fs::create_dir(world.at("s")).unwrap();
    world
        .run(&format!(
            "setup --home home --source chats --store s {setup} s/k"
        ))
        .is(4)
        .says("must not stand in the store");
    assert!(!world.at("k").exists() && !world.at("home").exists());
    world
        .run(&format!(
            "setup --home home --source chats --store store {setup} k"
        ))
        .is(0);
    world
        .run(&format!(
            "setup --home home --source chats --store s2 {setup} k2"
        ))
        .is(4)
        .says("already");
    // Of a key that protects nothing no copy is left.
    world
        .run(&format!(
            "setup --home home2 --source chats --store store {setup} k2"
        ))
        .is(4);
    assert!(!world.at("k2").exists());
}

/// The configuration is text. What it could not hold is refused before anything is made.
#[test]
fn a_path_that_is_no_text_is_refused_before_anything_is_made() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::new();
    let odd = world.at("odd").join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir_all(&odd).unwrap();
    let setup = "setup --recovery-key --recovery-key-file ../../key --home ../../home --json";
    for (source, store) in [(".", "../../store"), ("../../chats", "store")] {
        let mut setup = world.command(setup);
        setup.args(["--source", source, "--store", store]);
        let refused = Ran::of(setup.current_dir(&odd)).is(4).json();
        let error = refused["error"].as_str().unwrap();
        assert!(error.contains("is text (UTF-8)") || error.contains("is not text (UTF-8)"));
        assert_eq!(refused["remedy"], "ask-user");
        assert!(!world.at("key").exists() && !world.at("home").exists());
    }
}

#[test]
fn a_store_that_is_gone_or_is_none_and_what_is_not_in_it_are_told() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    world
        .run("restore --home home --to x --snapshot 00000000000000")
        .is(4);
    world
        .run("restore --home home --to x --path none")
        .is(4)
        .says("nothing at none");
    world
        .run("restore --home home --to x --path ../chats")
        .is(4);
    assert!(!world.at("x/chats").exists());
    std::os::unix::fs::symlink("nowhere", world.at("link")).unwrap();
    for (to, other) in [("key", "key"), ("key/x/y", "key"), ("link", "link")] {
        let told = format!("{other} cannot be written: something that is not a folder");
        let restore = format!("restore --home home --to {to}");
        world.run(&restore).is(4).says(&told);
    }
    world
        .run("restore --home n --store chats --recovery-key-file key --to x")
        .is(4);
    fs::rename(world.at("store"), world.at("away")).unwrap();
    for command in ["backup", "status", "verify", "restore --to x"] {
        let gone = world.run(&format!("{command} --home home --json"));
        assert!(matches!(gone.code, 3 | 4), "{gone:?}");
        assert!(!gone.json()["error"].as_str().unwrap().is_empty());
    }
    fs::rename(world.at("away"), world.at("store")).unwrap();
    world.run("backup --home home").is(0);
}

/// BACKUP-4: a damaged object is found, and the files that it takes along are named.
#[test]
fn damage_is_named_by_file_and_the_rest_comes_back() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let before = files(&world.at("store/packs"));
    fs::write(world.at("chats/late.bin"), TEXT.repeat(9000)).unwrap();
    world.run("backup --home home").is(0);
    let mut late = files(&world.at("store/packs"));
    late.retain(|path| !before.contains(path));
    let mut named = false;
    for path in late {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[300] ^= 1;
        fs::write(&path, &bad).unwrap();
        let verify = world.run("verify --home home --json").is(6).json();
        // The index is one of them: without it nothing can be named.
        if verify["lost"][0]["kind"] != "all" {
            assert_eq!(verify["lost"][0]["path"], "late.bin");
            let back = world.run("restore --home home --to back --json").is(6);
            assert_eq!(back.json()["lost"][0]["path"], "late.bin");
            assert_eq!(back.json()["lost"][0]["kind"], "file");
            assert_eq!(
                back.json()["lost"][0]["bytes"],
                fs::metadata(world.at("chats/late.bin")).unwrap().len()
            );
            assert!(!world.at("back/late.bin").exists());
            world.same("back");
            named = true;
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(named);
    world.run("verify --home home").is(0);
}

#[test]
fn a_file_that_differs_is_not_overwritten_unasked() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    fs::create_dir(world.at("back")).unwrap();
    fs::write(world.at("back/notes.txt"), "mine").unwrap();
    world
        .run("restore --home home --to back")
        .is(4)
        .says("--overwrite");
    assert_eq!(
        fs::read_to_string(world.at("back/notes.txt")).unwrap(),
        "mine"
    );
    world.run("restore --home home --to back --overwrite").is(0);
    world.same("back");
}

#[test]
fn a_source_that_was_emptied_is_not_backed_up_unasked() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    fs::remove_dir_all(world.at("chats")).unwrap();
    fs::create_dir(world.at("chats")).unwrap();
    world
        .run("backup --home home")
        .is(4)
        .says("--accept-shrunk");
    world.run("restore --home home --to back").is(0);
    world.same("back");
    world.run("backup --home home --accept-shrunk").is(0);
    let browse = world.run("browse --home home --json").is(0).json();
    assert_eq!(browse["snapshots"][1]["pinned"], true, "{browse}");
}

#[test]
fn a_second_command_on_a_device_is_told_to_wait() {
    let world = World::with_key();
    let lock = fs::File::open(world.at("home/state/lock")).unwrap();
    lock.lock().unwrap();
    let busy = world
        .run("backup --home home --json")
        .is(3)
        .says("another keyhaven command");
    assert_eq!(busy.json()["remedy"], "retry-later");
    drop(lock);
    world.run("backup --home home").is(0);
    // Two at once, for real: each ends as done or as busy, and one at least is done.
    fs::write(world.at("chats/more.bin"), vec![5; 9 << 20]).unwrap();
    let start = || {
        let mut command = world.command("backup --home home");
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let codes = [start(), start()].map(|mut child| child.wait().unwrap().code().unwrap());
    assert!(
        codes.contains(&0) && codes.iter().all(|code| matches!(code, 0 | 3)),
        "{codes:?}"
    );
}

#[test]
fn two_devices_leave_two_heads_and_both_are_shown() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    world
        .run("restore --home new --store store --recovery-key-file key --to back")
        .is(0);
    fs::write(world.at("chats/a.txt"), "a").unwrap();
    fs::write(world.at("back/b.txt"), "b").unwrap();
    // At once: neither sees what the other writes. Objects are only ever added, so two copies of the
    // store put together are what two devices leave that wrote at the same time.
    let copy = |from: &str, to: &str| {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([world.at(from).join("."), world.at(to)])
            .status();
        assert!(copied.unwrap().success());
    };
    copy("store", "before");
    world.run("backup --home home").is(0);
    fs::rename(world.at("store"), world.at("one")).unwrap();
    fs::rename(world.at("before"), world.at("store")).unwrap();
    world.run("backup --home new").is(0);
    copy("one", "store");
    let browse = world.run("browse --home home --json").is(0).json();
    let heads = browse["snapshots"].as_array().unwrap().iter();
    let heads = heads.filter(|one| one["head"] == true).count();
    assert_eq!(heads, 2, "{browse}");
    world.run("status --home home").is(0).says("other devices");
}

#[test]
fn a_database_that_is_locked_is_pending_and_the_rest_is_safe() {
    let world = World::with_key();
    let chats = rusqlite::Connection::open(world.at("chats/chats.db")).unwrap();
    chats
        .execute_batch("PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE; DELETE FROM message")
        .unwrap();
    let backup = world.run("backup --home home --json").is(5);
    assert!(backup.err.contains("pending: chats.db"), "{backup:?}");
    drop(chats);
    world.run("backup --home home").is(0);
    world.run("restore --home home --to back").is(0);
    assert!(world.at("back/media").join(NAME).exists());
    world.same("back");
}

/// Whoever sends files chooses their names.
#[test]
fn names_that_are_no_text_or_more_than_text_are_backed_up_and_shown_harmless() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::with_key();
    let name = std::ffi::OsStr::from_bytes(b"no text \xff.db");
    let app = rusqlite::Connection::open(world.at("chats").join(name)).unwrap();
    app.execute_batch("CREATE TABLE t(a)").unwrap();
    fs::write(world.at("chats/clears\x1b[2J\nBackup number 9"), "x").unwrap();
    for json in ["--json", ""] {
        app.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        let backup = format!("backup --home home --tier rows {json}");
        world.run(&backup).is(0);
    }
    world
        .run("status --home home")
        .is(0)
        .says("no text \u{fffd}.db: by");
    let status = world.run("status --home home --json").is(0).json();
    assert_eq!(status["databases"].as_array().unwrap().len(), 2);
    let files = world.run("browse files --home home").is(0);
    assert!(
        files
            .out
            .contains("clears\u{fffd}[2J\u{fffd}Backup number 9")
    );
    let mut sheet = world.command("key sheet --home home --json");
    let sheet = sheet.arg(std::ffi::OsStr::from_bytes(b"\xff.svg"));
    assert!(sheet.status().unwrap().success());
    world.run("restore --home home --to back -q").is(0);
    assert!(world.at("back").join(name).exists());
}

/// A reader that has read enough is no fault; a full disk under the answer is told by the exit code.
#[test]
fn an_answer_that_nobody_takes_stops_nothing() {
    let world = World::with_key();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut backup = world.command("backup --home home");
    let status = backup.stdout(closed()).stderr(closed()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut browse = world.command("browse --home home --json");
    let status = browse.stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
