//! F17: the command itself, killed with SIGKILL at random moments.
//!
//! In short a few times; `cargo xtask long kills` does it a hundred times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::traced::{self, Fate};
use crate::world::{World, files};

/// Every file of a folder, by the digest of its bytes. What stands beside a database while it is open
/// belongs to it and does not count.
type State = BTreeMap<PathBuf, String>;

fn state(root: &Path) -> State {
    files(root)
        .into_iter()
        .filter(|path| !path.ends_with("chats.db-wal") && !path.ends_with("chats.db-shm"))
        .map(|path| {
            let digest = blake3::hash(&fs::read(&path).unwrap()).to_string();
            (path.strip_prefix(root).unwrap().to_path_buf(), digest)
        })
        .collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A moment of a run that takes `long` when nothing disturbs it, or just after it.
    fn moment(&mut self, long: Duration) -> Duration {
        let micros = u64::try_from(long.as_micros()).unwrap();
        Duration::from_micros(self.next() % (micros + micros / 4))
    }
}

fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("KEYHAVEN_LONG").is_some() {
        long
    } else {
        short
    }
}

/// Runs a command and kills it after `moment`; says whether it had ended well before.
fn killed(world: &World, line: &str, moment: Duration) -> bool {
    let mut child = world
        .command(line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.signal() == Some(9) || status.success(),
        "{line}: {status}"
    );
    status.success()
}

fn timed(world: &World, line: &str) -> Duration {
    let began = Instant::now();
    world.run(line).is(0);
    began.elapsed()
}

/// An app writes: some new media, some messages. It closes its database, so that the file is its image.
fn change(world: &World, number: usize, random: &mut Random) {
    let bytes: Vec<u8> = (0..60_000 + random.next() % 400_000)
        .map(|_| random.next().to_le_bytes()[0])
        .collect();
    fs::write(world.at(&format!("chats/media/{number}.jpg")), bytes).unwrap();
    let chats = rusqlite::Connection::open(world.at("chats/chats.db")).unwrap();
    for _ in 0..200 {
        chats
            .execute("INSERT INTO message VALUES (hex(randomblob(200)))", [])
            .unwrap();
    }
}

/// BACKUP-1, BACKUP-2: `keyhaven backup` is killed again and again while the app goes on. What is
/// restored in between is, to the byte, one of the states that the source was backed up in, and none
/// older than the last backup that ended well; and in the end a backup completes.
#[test]
fn a_backup_killed_at_any_moment_loses_nothing_and_the_next_one_completes() {
    let kills = times(15, 100);
    let world = World::with_key();
    let mut random = Random(88_172_645_463_325_252);
    change(&world, 0, &mut random);
    let long = timed(&world, "backup --home home");
    let mut states = vec![state(&world.at("chats"))];
    let (mut sure, mut number, mut killed_in_time, mut ended) = (0, 0, 0, 0);
    let mut restored = Vec::new();
    while killed_in_time < kills {
        number += 1;
        change(&world, number, &mut random);
        states.push(state(&world.at("chats")));
        if killed(&world, "backup --home home", random.moment(long)) {
            sure = number;
            ended += 1;
        } else {
            killed_in_time += 1;
        }
        if number % 5 == 0 {
            let back = format!("back-{number}");
            world.run(&format!("restore --home home --to {back}")).is(0);
            let there = state(&world.at(&back));
            let place = states.iter().position(|state| *state == there);
            let place = place.unwrap_or_else(|| panic!("change {number}: no state of the source"));
            assert!(place >= sure, "change {number}: state {place}, not {sure}");
            restored.push(place);
            fs::remove_dir_all(world.at(&back)).unwrap();
        }
    }
    world.run("backup --home home").is(0);
    world.run("restore --home home --to back").is(0);
    assert!(state(&world.at("back")) == states[number]);
    world.run("verify --home home --depth all").is(0);
    println!(
        "{killed_in_time} kills within {long:.0?}, {ended} runs had ended; {} restores, all exact",
        restored.len() + 1
    );
}

/// BACKUP-1: `keyhaven restore` is killed; no file that it leaves has other bytes, and run again it
/// brings back the rest.
#[test]
fn a_restore_killed_at_any_moment_goes_on_when_it_is_run_again() {
    let kills = times(8, 50);
    let world = World::with_key();
    let mut random = Random(2_685_821_657_736_338_717);
    for number in 0..40 {
        change(&world, number, &mut random);
    }
    world.run("backup --home home").is(0);
    let whole = state(&world.at("chats"));
    let long = timed(&world, "restore --home home --to back");
    fs::remove_dir_all(world.at("back")).unwrap();
    let (mut killed_in_time, mut resumed) = (0, 0);
    while killed_in_time < kills {
        if !killed(&world, "restore --home home --to back", random.moment(long)) {
            killed_in_time += 1;
        }
        if world.at("back").exists() {
            for (path, digest) in state(&world.at("back")) {
                let unfinished = path.to_string_lossy().ends_with(".keyhaven-part");
                assert!(unfinished || whole.get(&path) == Some(&digest), "{path:?}");
            }
        }
        // Sometimes it is killed once more before it may end.
        if random.next().is_multiple_of(3) {
            continue;
        }
        let again = world
            .run("restore --home home --to back --json")
            .is(0)
            .json();
        resumed += usize::from(again["already_there"] != 0);
        assert!(state(&world.at("back")) == whole, "other files");
        fs::remove_dir_all(world.at("back")).unwrap();
    }
    println!(
        "{killed_in_time} kills within {long:.0?}; {resumed} restores found files there already"
    );
    assert!(resumed > 0, "no kill left anything to go on from");
}

/// BACKUP-2: a killed `keyhaven setup` leaves a device that is set up, or one that can be set up, with
/// the same store.
#[test]
fn a_setup_killed_at_any_moment_can_be_done_again() {
    let kills = times(8, 50);
    let mut random = Random(1_442_695_040_888_963_407);
    let line = |key: &str| {
        format!(
            "setup --home home --source chats --store store --recovery-key --recovery-key-file {key}"
        )
    };
    let long = timed(&World::new(), &line("key"));
    let (mut killed_in_time, mut done) = (0, 0);
    while killed_in_time < kills {
        let world = World::new();
        if killed(&world, &line("key"), random.moment(long)) {
            continue;
        }
        killed_in_time += 1;
        if world.run("status --home home").code == 0 {
            done += 1;
        } else {
            world.run(&line("key-again")).is(0);
        }
        world.run("backup --home home").is(0);
        world.run("restore --home home --to back").is(0);
        world.same("back");
    }
    println!("{killed_in_time} kills within {long:.0?}; {done} were set up already");
}

/// Copies a folder with its modes.
fn copy(world: &World, from: &str, to: &str) {
    let _ = fs::remove_dir_all(world.at(to));
    let copied = std::process::Command::new("cp")
        .args(["-a", from, to])
        .current_dir(world.folder.path())
        .status();
    assert!(copied.unwrap().success());
}

/// BACKUP-2: `keyhaven backup` is killed before every call by which it changes a file of its home:
/// lock, local state, journal. In the long form also before every call that changes the store. Each
/// time the newest backup restores, and the next backup completes.
#[test]
fn a_backup_killed_before_any_change_of_a_file_leaves_a_home_that_works() {
    let world = World::with_key();
    world.run("backup --home home").is(0);
    let old = state(&world.at("chats"));
    change(&world, 1, &mut Random(9_876_543_210));
    let new = state(&world.at("chats"));
    copy(&world, "home", "home-before");
    copy(&world, "store", "store-before");
    let watched = if times(0, 1) == 0 { "home" } else { "" };
    let mut calls = BTreeMap::new();
    let mut committed = 0;
    for at in 0.. {
        let line = "backup --home home --quiet";
        let change = match traced::run(&world.command(line), &world.at(watched), at) {
            Fate::Killed(change) => change,
            Fate::Ended(changes) => {
                assert_eq!(changes, at);
                break;
            }
        };
        *calls.entry(change.call).or_insert(0) += 1;
        let what = format!("killed before change {at}, {change:?}");
        let restored = world.run("restore --home home --to back");
        assert_eq!(restored.code, 0, "{what}: {restored:?}");
        let there = state(&world.at("back"));
        assert!(there == old || there == new, "{what}: other bytes");
        committed += usize::from(there == new);
        let next = world.run("backup --home home");
        assert_eq!(next.code, 0, "{what}: {next:?}");
        let restored = world.run("restore --home home --to back2");
        assert_eq!(restored.code, 0, "{what}: {restored:?}");
        assert!(
            state(&world.at("back2")) == new,
            "{what}: after the next backup"
        );
        for back in ["back", "back2"] {
            fs::remove_dir_all(world.at(back)).unwrap();
        }
        copy(&world, "home-before", "home");
        copy(&world, "store-before", "store");
    }
    println!("killed before each of {calls:?}; {committed} times the snapshot was committed");
    assert!(calls.len() > 1 && committed > 0, "{calls:?}");
}

/// BACKUP-2: the same for `keyhaven setup`: configuration, keystore, marker, first snapshot.
#[test]
fn a_setup_killed_before_any_change_of_a_file_can_be_done_again() {
    let line = |key: &str| {
        format!(
            "setup --home home --source chats --store store --recovery-key --recovery-key-file {key}"
        )
    };
    let world = World::new();
    let (mut calls, mut done) = (BTreeMap::new(), 0);
    for at in 0.. {
        let setup = world.command(&line("key"));
        let change = match traced::run(&setup, world.folder.path(), at) {
            Fate::Killed(change) => change,
            Fate::Ended(_) => break,
        };
        *calls.entry(change.call).or_insert(0) += 1;
        let what = format!("killed before change {at}, {change:?}");
        if world.run("status --home home").code == 0 {
            done += 1;
        } else {
            let again = world.run(&line("key-again"));
            assert_eq!(again.code, 0, "{what}: {again:?}");
        }
        let backup = world.run("backup --home home");
        assert_eq!(backup.code, 0, "{what}: {backup:?}");
        world.run("restore --home home --to back").is(0);
        world.same("back");
        for folder in ["home", "store", "back"] {
            let _ = fs::remove_dir_all(world.at(folder));
        }
        for key in ["key", "key-again"] {
            let _ = fs::remove_file(world.at(key));
        }
    }
    println!("killed before each of {calls:?}; {done} times it was set up already");
    assert!(calls.len() > 3 && done > 0, "{calls:?}");
}
