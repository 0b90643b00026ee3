//! Ctrl-C: a person stops a long run, and goes on later.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Ran, World, files};

const FILES: usize = 240;
const FILE_BYTES: usize = 1 << 20;

/// Media enough for a run that can be met in the middle.
fn world() -> World {
    let world = World::with_key();
    let mut bytes = vec![0; FILE_BYTES];
    for number in 0..FILES {
        blake3::Hasher::new()
            .update(&number.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        fs::write(world.at(&format!("chats/media/{number:03}.jpg")), &bytes).unwrap();
    }
    world
}

/// Bytes of all objects of the store.
fn stored(world: &World) -> u64 {
    let objects = files(&world.at("store")).into_iter();
    // What is renamed between the listing and the look counts the next time.
    objects
        .filter_map(|path| fs::metadata(path).ok())
        .map(|found| found.len())
        .sum()
}

fn begin(mut command: Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the run has done something, and presses Ctrl-C.
fn interrupt(child: &Child, signal: Signal, has_begun: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !has_begun() {
        assert!(Instant::now() < until, "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// BACKUP-2: what was sent before the interruption is committed, and not sent again.
#[test]
fn a_backup_that_is_interrupted_says_so_and_the_next_one_goes_on() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let world = world();
        let child = begin(world.command("backup --home home --json"));
        interrupt(&child, signal, || stored(&world) > 64 << 20);
        let ran = ended(child).is(130).says("goes on where it stopped");
        assert_eq!(ran.json()["remedy"], "retry-later");

        let report = world.run("backup --home home --json").is(0).json();
        assert_eq!(report["outcome"], "complete");
        let sent = report["sent_bytes"].as_u64().unwrap();
        let all = u64::try_from(FILES * FILE_BYTES).unwrap();
        assert!(sent < all - (48 << 20), "{sent} of {all} were sent again");
        world.run("restore --home home --to back").is(0);
        world.same("back");
    }
}

#[test]
fn a_restore_that_is_interrupted_goes_on() {
    let world = world();
    world.run("backup --home home").is(0);
    let child = begin(world.command("restore --home home --to back"));
    let begun = || world.at("back/media").exists() && files(&world.at("back/media")).len() > 3;
    interrupt(&child, Signal::SIGINT, begun);
    ended(child).is(130).says("goes on where it stopped");
    assert!(files(&world.at("back")).len() < FILES);
    world.run("restore --home home --to back").is(0);
    world.same("back");
    for number in 0..FILES {
        let name = format!("media/{number:03}.jpg");
        let (one, other) = (world.at("chats").join(&name), world.at("back").join(&name));
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{name}");
    }
}

/// Whoever presses twice does not wait.
#[test]
fn a_second_signal_ends_it_at_once() {
    let world = world();
    let child = begin(world.command("backup --home home"));
    interrupt(&child, Signal::SIGINT, || stored(&world) > 16 << 20);
    // Signals of one kind that come too fast are one; another kind counts as well.
    interrupt(&child, Signal::SIGTERM, || true);
    assert_eq!(ended(child).code, 130);
    let report = world.run("backup --home home --json").is(0).json();
    assert_eq!(report["outcome"], "complete");
    world.run("restore --home home --to back").is(0);
    world.same("back");
}
