//! F4: a vault whose disk fails once, is started again beside the same page cache, and then loses its power.
//!
//! The host is followed as a process, with the recorder and the disk of the command's own runs
//! (`crates/cli/tests/power`): what it does to files is written down, and played into a disk that drops what a failed
//! flush covered. Somebody guesses wrong meanwhile. Of every image that the power may leave, the vault starts, the record
//! opens, and of the guesses that were answered none comes back. The core's memory, which is made to bear it, is also torn
//! within a sector, and is in no image older than one that was on the disk before.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::integer_division,
    clippy::wildcard_enum_match_arm,
    reason = "the recorder's and the disk's, which are the command's"
)]

#[path = "../../../cli/tests/power/disk.rs"]
#[expect(dead_code, reason = "the command's runs ask for more")]
mod disk;
#[path = "../../../cli/tests/power/image.rs"]
#[expect(dead_code, reason = "the command's runs ask for more")]
mod image;
#[path = "../../../cli/tests/power/record.rs"]
#[expect(dead_code, reason = "the command's runs ask for more")]
mod record;
#[path = "../../../cli/tests/power/rule.rs"]
mod rule;
#[path = "../../../cli/tests/common/tracee.rs"]
mod tracee;
#[path = "../vault/world.rs"]
#[expect(dead_code, reason = "the other tests of the vault ask for more")]
mod world;

/// What the recorder leans on.
mod check {
    use std::sync::RwLock;

    /// Held while a process is started. Here one runs at a time.
    pub(crate) static STARTING: RwLock<()> = RwLock::new(());
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use keyhaven_vault_client::{VaultAddress, VaultError};
use keyhaven_vault_core::{Index, MEMORY_BYTES, Memory, Term};
use nix::libc;
use rustix::process::{Pid, Signal, kill_process};

use crate::disk::{Change, Disk};
use crate::image::{Entry, Image};
use crate::record::{Meddling, Run, record};
use crate::rule::Rule;
use crate::world::{House, Person, command, saved, serving};

const PASSWORD: &str = "the right one";
const BUDGET: u8 = 10;
const MEMORY: &str = "vault/fleet/core.memory";
/// Two memories stand in the file, in places of so many bytes.
const PLACE_BYTES: usize = 4096;

/// VAULT-2, VAULT-3, VAULT-4, VAULT-5: each flush of a start and of a guess fails, one at a time.
#[test]
fn a_vault_whose_flush_failed_builds_on_nothing_that_is_not_on_the_disk() {
    let mut story = Story::new();
    let (mut at, mut failed, mut images) = (0, 0, 0);
    loop {
        story.rewind();
        let run = story.runs(Meddling::Fail {
            at,
            errno: libc::EIO,
        });
        let Some(what) = run.failed else { break };
        at += 1;
        let is_dropped = |change: &Change| matches!(change, Change::FlushFails { .. });
        if !story.changes.iter().any(is_dropped) {
            continue;
        }
        failed += 1;
        // Where only its end fails, all that was asked was answered.
        let is_answered = story.ada.left.load(Ordering::SeqCst) < BUDGET;
        assert!(
            run.code == Some(1) || (run.code == Some(0) && is_answered),
            "{what}: a disk that fails stops a vault, but {:?}",
            run.code
        );
        story.runs(Meddling::Nothing);
        images += story.look(&what, failed);
    }
    println!("{failed} flushes failed, {images} images");
    assert!(failed > 10 && images > 100, "{failed} {images}");
}

/// VAULT-5: a vault that was made is there, and one that was being made is made by the next start.
#[test]
fn a_vault_that_was_made_outlives_a_loss_of_power() {
    let house = House::closed();
    let start = Image::of(house.root(), &[]);
    let mut changes = Vec::new();
    let run = is_made(&house, Meddling::Nothing, &mut changes);
    assert_eq!(run.code, Some(0), "{run:?}");
    let secrets = saved(&house.file("core.secrets"));
    let mut disk = Disk::holding(&start);
    for (at, change) in changes.iter().enumerate() {
        disk.apply(change);
        for rule in [Rule::Nothing, Rule::Everything, Rule::Drawn(at as u64)] {
            let mut house = House::closed();
            disk.image(rule).write(house.root());
            let started = house.try_start(&[]);
            assert_eq!(
                started,
                Ok(()),
                "power lost after {change}; {rule} survived"
            );
            let is_made = at + 1 == changes.len();
            assert!(
                !is_made || saved(&house.file("core.secrets")) == secrets,
                "{rule} survived, and another vault"
            );
        }
    }
}

/// VAULT-5: also if a flush of its making failed: once it has answered, it is there.
#[test]
fn a_vault_whose_making_failed_in_a_flush_is_there_once_it_has_answered() {
    let (mut at, mut failed) = (0, 0);
    loop {
        let house = House::closed();
        let start = Image::of(house.root(), &[]);
        let mut changes = Vec::new();
        let meddling = Meddling::Fail {
            at,
            errno: libc::EIO,
        };
        let Some(what) = is_made(&house, meddling, &mut changes).failed else {
            break;
        };
        at += 1;
        if !matches!(changes.last(), Some(Change::FlushFails { .. })) {
            continue;
        }
        failed += 1;
        // It stops as soon as it has said that it answers.
        let mut serves = serving(&house.data());
        serves.arg("--until-stdin-ends").current_dir(house.root());
        let run = record(
            &serves,
            house.root(),
            Meddling::Nothing,
            &mut changes,
            &mut || {},
        );
        assert_eq!(run.code, Some(0), "{what}: {run:?}");
        let mut disk = Disk::holding(&start);
        changes.iter().for_each(|change| disk.apply(change));
        let image = disk.image(Rule::Nothing);
        let secrets = image.file("vault/fleet/core.secrets");
        assert!(
            secrets == Some(saved(&house.file("core.secrets")).as_slice()),
            "{what} failed: another vault, or none"
        );
        let mut house = House::closed();
        image.write(house.root());
        assert_eq!(house.try_start(&[]), Ok(()), "{what} failed");
    }
    assert!(failed > 5, "{failed}");
}

fn is_made(house: &House, meddling: Meddling, changes: &mut Vec<Change>) -> Run {
    let mut init = Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"));
    init.args(["init", "--data"])
        .arg(house.data())
        .current_dir(house.root());
    record(&init, house.root(), meddling, changes, &mut || {})
}

/// VAULT-5: a tail that is given up does not come back when the power goes: it would lack what was captured since, and
/// the vault would not start. With the flush of its name failing too.
#[test]
fn a_tail_that_was_given_up_does_not_come_back() {
    let mut story = Story::with_a_full_tail();
    let run = story.runs(Meddling::Nothing);
    assert_eq!(run.code, Some(0), "{run:?}");
    let is_given_up =
        |change: &Change| matches!(change, Change::Rename { to, .. } if to.ends_with("tail.old"));
    let given_up = story.changes.iter().position(is_given_up);
    let given_up = given_up.unwrap_or_else(|| panic!("the tail was kept: {run:?}"));
    let images = story.look_after(given_up, "nothing");

    story.rewind();
    let run = story.runs(Meddling::Fail {
        at: given_up + 1,
        errno: libc::EIO,
    });
    let what = run.failed.unwrap_or_default();
    assert_eq!(run.code, Some(1), "{what}");
    let [renamed, then] = &story.changes[given_up..given_up + 2] else {
        panic!("{what}");
    };
    let is_it = is_given_up(renamed) && matches!(then, Change::FlushFails { .. });
    assert!(is_it, "{what}: {renamed}, {then}");
    story.runs(Meddling::Nothing);
    let more = story.look_after(given_up, &what);
    println!("{images} images, and {more} after a flush that failed");
    assert!(images > 20 && more > 20, "{images} {more}");
}

/// How far the newest memory in an image is.
fn remembered(image: &Image) -> Option<(Term, Option<(Term, Index)>)> {
    let places = image.file(MEMORY)?.chunks(PLACE_BYTES);
    let memories = places.filter_map(|place| Memory::decode(&place[..MEMORY_BYTES]).ok());
    memories.map(|memory| memory.reach()).max()
}

/// What is left of a memory if the power goes while it is written: the second half of it, behind zeros.
fn torn(image: &Image, change: &Change) -> Option<Image> {
    let Change::Write { path, at, bytes } = change else {
        return None;
    };
    let mut file = image.file(MEMORY)?.to_vec();
    if path != Path::new(MEMORY) {
        return None;
    }
    let half = bytes.len() / 2;
    file[*at..at + half].fill(0);
    file[at + half..at + bytes.len()].copy_from_slice(&bytes[half..]);
    let mut torn = image.clone();
    let (mode, bytes) = (0o600, Rc::new(file));
    torn.insert(path.clone(), Entry::File { mode, bytes });
    Some(torn)
}

struct Story {
    /// The world before anything is recorded.
    start: Image,
    /// For the vault, on its command line.
    flags: &'static [&'static str],
    house: House,
    ada: Ada,
    changes: Vec<Change>,
    /// How many guesses were said to be left when each change had been made.
    told: Vec<u8>,
}

/// Who guesses, and what she was told.
struct Ada {
    person: Mutex<Person>,
    left: AtomicU8,
    guesses: AtomicU32,
    /// For what is no part of the disk.
    place: tempfile::TempDir,
}

impl Story {
    /// Ada has registered, and the store was backed up: there is a tail.
    fn new() -> Self {
        let mut house = House::open();
        let mut ada = house.person("ada");
        ada.register(&house, PASSWORD).unwrap();
        house.stop();
        let place = tempfile::tempdir().unwrap();
        let backup = place.path().join("backup");
        let made = command(&["backup", backup.to_str().unwrap()], &house.data());
        assert!(made.status.success(), "{made:?}");
        Self {
            start: Image::of(house.root(), &[]),
            flags: &[],
            house,
            ada: Ada {
                person: Mutex::new(ada),
                left: AtomicU8::new(BUDGET),
                guesses: AtomicU32::new(0),
                place,
            },
            changes: Vec::new(),
            told: Vec::new(),
        }
    }

    /// The same, and no record fits in the tail any more: behind its last one, a crash left zeros.
    fn with_a_full_tail() -> Self {
        let mut story = Self::new();
        let segment = "vault/fleet/tail/0000000000000001";
        let mut bytes = story.start.file(segment).unwrap().to_vec();
        bytes.resize(1024 * 1024, 0);
        let (mode, bytes) = (0o600, Rc::new(bytes));
        let entry = Entry::File { mode, bytes };
        story.start.insert(PathBuf::from(segment), entry);
        story.flags = &["--max-tail-mib", "1"];
        story.rewind();
        story
    }

    fn rewind(&mut self) {
        fs::remove_dir_all(self.house.data()).unwrap();
        self.start.write(self.house.root());
        self.changes.clear();
        self.told.clear();
        self.ada.left = AtomicU8::new(BUDGET);
    }

    /// The host from its start to its end. Ada guesses wrong meanwhile, and stops it.
    fn runs(&mut self, meddling: Meddling) -> Run {
        let ada = &self.ada;
        for name in ["pid", "ready"] {
            let _ = fs::remove_file(ada.file(name));
        }
        let serving = serving(&self.house.data());
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"echo $$ > "$PID"; exec "$0" "$@""#])
            .arg(serving.get_program())
            .args(serving.get_args())
            .args(self.flags)
            .arg("--ready-file")
            .arg(ada.file("ready"))
            .env("PID", ada.file("pid"))
            .current_dir(self.house.root());
        let ended = AtomicBool::new(false);
        let mut changes = std::mem::take(&mut self.changes);
        let mut told = std::mem::take(&mut self.told);
        let run = thread::scope(|scope| {
            let asks = scope.spawn(|| ada.guesses_wrong(&ended));
            let run = record(
                &command,
                self.house.root(),
                meddling,
                &mut changes,
                &mut || {
                    told.push(ada.left.load(Ordering::SeqCst));
                },
            );
            ended.store(true, Ordering::SeqCst);
            asks.join().unwrap();
            run
        });
        self.changes = changes;
        self.told = told;
        run
    }

    /// Looks at what is left when the power goes after one change of five, another for each `number`, and after the last,
    /// and while a memory is written; how many images there are. VAULT-4: none has a memory older than one that was on
    /// the disk for certain.
    fn look(&self, what: &str, number: usize) -> usize {
        let mut disk = Disk::holding(&self.start);
        let mut known = BTreeSet::new();
        let mut certain = remembered(&self.start);
        for (at, change) in self.changes.iter().enumerate() {
            disk.apply(change);
            let left = self.told_before_the_next(at);
            let drawn = Rule::Drawn((at + number) as u64);
            let mut images = vec![
                (
                    disk.image(Rule::Nothing),
                    format!("{} survived", Rule::Nothing),
                ),
                (disk.image(drawn), format!("{drawn} survived")),
            ];
            certain = certain.max(remembered(&images[0].0));
            let is_looked_at = at % 5 == number % 5 || at + 1 == self.changes.len();
            if let Some(torn) = torn(&images[0].0, change) {
                images.push((torn, "its sector was torn".to_owned()));
            }
            for (image, how) in images {
                let what = || format!("{what} failed; power lost after {change}; {how}");
                let found = remembered(&image);
                assert!(
                    found >= certain,
                    "{}: {certain:?} was on the disk, and {found:?}",
                    what()
                );
                if is_looked_at && known.insert((*image.digest().as_bytes(), left)) {
                    self.check(&image, left, &what);
                }
            }
        }
        known.len()
    }

    /// Looks at what is left when the power goes after this change, or after any that follows; how many images there are.
    fn look_after(&self, from: usize, what: &str) -> usize {
        let mut disk = Disk::holding(&self.start);
        let mut known = BTreeSet::new();
        for (at, change) in self.changes.iter().enumerate() {
            disk.apply(change);
            if at < from {
                continue;
            }
            let left = self.told_before_the_next(at);
            let drawn = [1, 2].map(|seed| Rule::Drawn((2 * at + seed) as u64));
            for rule in [Rule::Nothing, Rule::Everything].into_iter().chain(drawn) {
                let image = disk.image(rule);
                if known.insert((*image.digest().as_bytes(), left)) {
                    self.check(&image, left, &|| {
                        format!("{what} failed; power lost after {change}; {rule} survived")
                    });
                }
            }
        }
        known.len()
    }

    /// How many guesses were said to be left between a change and the next.
    fn told_before_the_next(&self, at: usize) -> u8 {
        let left = self.ada.left.load(Ordering::SeqCst);
        self.told.get(at + 1).copied().unwrap_or(left)
    }

    fn check(&self, image: &Image, left: u8, what: &dyn Fn() -> String) {
        let mut house = House::closed();
        image.write(house.root());
        let Ok(()) = house.try_start(&[]) else {
            let said = command(&["doctor"], &house.data());
            panic!("{}: it does not start: {said:?}", what());
        };
        let mut ada = self.ada.person.lock().unwrap();
        let standing = ada.standing(&house);
        assert!(
            standing.guesses_left <= left,
            "{}: {left} guesses were left, and now {standing:?}",
            what()
        );
        ada.forget_guess();
        let recovered = ada.guess(&house, PASSWORD);
        let recovered = recovered.unwrap_or_else(|error| panic!("{}: {error}", what()));
        assert!(recovered.key == ada.key, "{}", what());
    }
}

impl Ada {
    fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// When the vault answers; then she stops it.
    fn guesses_wrong(&self, ended: &AtomicBool) {
        let address = loop {
            if ended.load(Ordering::SeqCst) {
                return;
            }
            // It is put in place whole.
            match fs::read_to_string(self.file("ready")) {
                Ok(address) => break address.trim().parse::<VaultAddress>().unwrap(),
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        };
        let number = self.guesses.fetch_add(1, Ordering::SeqCst);
        let mut person = self.person.lock().unwrap();
        person.forget_guess();
        match person.guess(&address, &format!("wrong {number}")) {
            Err(VaultError::WrongPassword { left }) => self.left.store(left, Ordering::SeqCst),
            Err(VaultError::Transport(_)) => {}
            other => panic!("{other:?}"),
        }
        let pid = fs::read_to_string(self.file("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}
