//! Ctrl-C: a person stops a long run, and goes on later.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::line::Line;
use crate::servers::Server;
use crate::world::{Ran, World, files};

const FILES: usize = 240;
const FILE_BYTES: usize = 1 << 20;

/// Media enough for a run that can be met in the middle.
fn world() -> World {
    let world = World::with_key();
    media(&world, FILES);
    world
}

fn media(world: &World, files: usize) {
    let mut bytes = vec![0; FILE_BYTES];
    for number in 0..files {
        blake3::Hasher::new()
            .update(&number.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        fs::write(world.at(&format!("chats/media/{number:03}.jpg")), &bytes).unwrap();
    }
}

const FAR_FILES: usize = 12;

/// A world whose store is a cloud behind a line, set up and not backed up.
struct FarWorld {
    world: World,
}

impl FarWorld {
    fn command(&self, line: &str) -> Command {
        let mut command = self.world.command(line);
        command
            .env("KEYHAVEN_STORE_USER", "user")
            .env("KEYHAVEN_STORE_SECRET", "secret");
        command
    }

    fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.world.at(name)
    }
}

fn far_world() -> (FarWorld, Line, Server) {
    let server = Server::s3();
    server.make_bucket("bucket");
    let line = Line::to(&server.address);
    let far = FarWorld {
        world: World::new(),
    };
    media(&far.world, FAR_FILES);
    let setup = "setup --home home --source chats --recovery-key --recovery-key-file key";
    let store = format!("s3://bucket/phone?endpoint=http://{}", line.address);
    far.run(&format!("{setup} --store {store}&region=eu-central-1"))
        .is(0);
    (far, line, server)
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

/// How soon a command ends after Ctrl-C, also while it waits for a cloud: it looks up ten times a second.
const SOON: Duration = Duration::from_secs(1);

/// A line that goes dead while a command waits for a cloud, at the first request and in the middle of an upload or a download:
/// Ctrl-C ends it soon and says that somebody did, and the same command goes on when the line is mended.
#[test]
fn ctrl_c_is_heard_while_a_cloud_does_not_answer() {
    let (world, line, _server) = far_world();
    let mut slowest = Duration::ZERO;
    for bytes in [0, 3_000, 1 << 20, 9 << 20] {
        slowest = slowest.max(interrupted_on(
            &world,
            &line,
            bytes,
            "backup --home home --json",
        ));
    }
    world.run("backup --home home").is(0);
    for bytes in [0, 3_000, 60_000, 9 << 20] {
        for command in [
            "restore --home home --to back --json",
            "verify --home home --depth all --json",
        ] {
            let took = interrupted_on(&world, &line, bytes, command);
            slowest = slowest.max(took);
        }
    }
    world.run("verify --home home --depth all").is(0);
    world.run("restore --home home --to back").is(0);
    world.world.same("back");
    for number in 0..FAR_FILES {
        let name = format!("media/{number:03}.jpg");
        let (one, other) = (world.at("chats").join(&name), world.at("back").join(&name));
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{name}");
    }
    println!("the slowest ended {slowest:?} after the signal");
}

/// Presses Ctrl-C when the line has been dead for a moment; how long the command took to end.
fn interrupted_on(world: &FarWorld, line: &Line, bytes: u64, command: &str) -> Duration {
    line.dies_after(bytes);
    let child = begin(world.command(command));
    line.until_stalled();
    std::thread::sleep(Duration::from_millis(300));
    let pressed = Instant::now();
    interrupt(&child, Signal::SIGINT, || true);
    let ran = ended(child);
    let took = pressed.elapsed();
    line.mend();
    assert_eq!(ran.code, 130, "{command} after {bytes} bytes: {ran:?}");
    assert_eq!(ran.json()["remedy"], "retry-later", "{command}");
    assert!(took < SOON, "{command} after {bytes} bytes: {took:?}");
    took
}

/// While it pauses before the next try: the server is away.
#[test]
fn ctrl_c_is_heard_between_two_tries() {
    let (world, _line, server) = far_world();
    world.run("backup --home home").is(0);
    drop(server);
    for command in ["backup", "restore --to back", "verify"] {
        let child = begin(world.command(&format!("{command} --home home --json")));
        std::thread::sleep(Duration::from_millis(2500));
        let pressed = Instant::now();
        interrupt(&child, Signal::SIGINT, || true);
        let ran = ended(child);
        assert_eq!(ran.code, 130, "{command}: {ran:?}");
        assert!(
            pressed.elapsed() < SOON,
            "{command}: {:?}",
            pressed.elapsed()
        );
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
