//! F18: whole backups of a chat store beside an app that never stops writing.
//!
//! The app is a process of its own. It commits 200 times a second, lets no five commits pass
//! without a checkpoint of one kind or another, and writes the digest of each state's page image
//! down just after it has committed it. It takes the digest from the files' bytes, not through
//! SQLite. What a backup holds must be one of those states, to the byte.
//!
//! By rows a restore promises the rows and not the bytes. The same app then runs once more over a copy of
//! what it began with, and what each backup holds must be its rows after that commit, every one.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::panic,
    reason = "a test program, helpers included: a failure is a panic"
)]

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyhaven::{
    BackupOptions, BackupReport, Keyhaven, Observer, Outcome, Phase, Place, Progress,
    RestoreOptions, Setup, Tier,
};
use keyhaven_corpus::{Corpus, ImageDigest, Journal, Pace, RowsDigest, Size, Writer};
use rusqlite::{Connection, OpenFlags};

/// Asks for the long form: 1,000 backups of 20 apps. `cargo xtask long` sets it.
const LONG: &str = "KEYHAVEN_LONG";
const ROOT: &str = "KEYHAVEN_TEST_APP_ROOT";
const DATABASE: &str = "Databases/msgstore.db";
const CHECKPOINT_EVERY: u32 = 5;

fn pace(commits_per_second: u32) -> Pace {
    Pace {
        commits_per_second,
        checkpoint_every: CHECKPOINT_EVERY,
        alone: true,
        ..Pace::default()
    }
}

/// The seeds of the apps that are backed up, one after the other: a database that has grown for an hour is read
/// more slowly, and no better.
fn seeds() -> RangeInclusive<u64> {
    match std::env::var_os(LONG) {
        Some(_) => 7..=26,
        None => 7..=7,
    }
}

/// Backups of each app.
fn backups() -> u32 {
    match std::env::var_os(LONG) {
        Some(_) => 50,
        None => 15,
    }
}

/// What the app does: commit until it is told to stop.
#[test]
#[ignore = "run by the test below, as the app that writes"]
fn app() {
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let pace = pace(200);
    let stop = root.join("../stop");
    Writer::run(&root, pace, &root.join("../journal"), || !stop.exists()).unwrap();
}

struct App {
    child: Child,
    world: PathBuf,
}

impl App {
    fn start(world: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "app", "--ignored"])
            .env(ROOT, world.join("chats"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let app = Self {
            child,
            world: world.to_path_buf(),
        };
        while app.states() < 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        app
    }

    /// How many states it has recorded so far, each on a line of 65 bytes.
    fn states(&self) -> u64 {
        recorded(&self.world)
    }

    fn stop(mut self) -> Journal {
        std::fs::write(self.world.join("stop"), "").unwrap();
        assert!(self.child.wait().unwrap().success(), "the app failed");
        Journal::read(&self.world.join("journal")).unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // After a failed check; one that has ended already cannot be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn recorded(world: &Path) -> u64 {
    std::fs::metadata(world.join("journal")).map_or(0, |journal| journal.len() / 65)
}

/// Counts the commits between the first look at a database and the end of its reading.
struct Reading<'a> {
    world: &'a Path,
    began: Option<u64>,
    ended: Option<u64>,
}

impl Observer for Reading<'_> {
    fn progress(&mut self, progress: &Progress) {
        let now = recorded(self.world);
        match progress.phase {
            Phase::Messages if self.began.is_none() => self.began = Some(now),
            Phase::Media | Phase::Commit if self.ended.is_none() => self.ended = Some(now),
            _ => {}
        }
    }
}

/// A state that a backup holds.
struct Held {
    digest: ImageDigest,
    /// That of the same image with one byte changed.
    altered: ImageDigest,
    /// States that were recorded before the backup began.
    before: u64,
}

/// What came of backing up again and again.
#[derive(Default)]
struct Tally {
    held: Vec<Held>,
    commits_during_reads: u64,
    backups: Duration,
    sent: u64,
}

fn set_up(world: &Path, seed: u64) -> Keyhaven {
    let size = Size {
        messages: 12_000,
        media_bytes: 1 << 20,
        seed,
    };
    Corpus::create(&world.join("chats"), size).unwrap();
    let place = Place::parse(world.join("store").to_str().unwrap()).unwrap();
    let setup = Setup::begin(&world.join("home"), &world.join("chats"), place).unwrap();
    let digits = setup.recovery_key().to_string();
    setup.prove_recovery_key(&digits).unwrap().finish().unwrap()
}

/// Backs up, and restores just that snapshot; its report, and the folder that it came to.
fn there_and_back(
    haven: &Keyhaven,
    world: &Path,
    tier: Tier,
    tally: &mut Tally,
) -> (BackupReport, tempfile::TempDir) {
    let mut reading = Reading {
        world,
        began: None,
        ended: None,
    };
    let options = BackupOptions {
        tier,
        ..BackupOptions::default()
    };
    let began = Instant::now();
    let report = haven.backup(options, &mut reading).unwrap();
    tally.backups += began.elapsed();
    assert_eq!(report.outcome, Outcome::Complete);
    tally.sent += report.sent_bytes;
    tally.commits_during_reads += reading.ended.unwrap() - reading.began.unwrap();

    let snapshots = haven.snapshots().unwrap();
    let made = snapshots
        .iter()
        .find(|one| one.sequence == report.sequence)
        .unwrap();
    let to = tempfile::tempdir_in(world).unwrap();
    let options = RestoreOptions {
        snapshot: Some(made.name.to_string()),
        ..RestoreOptions::default()
    };
    let restored = haven.restore(to.path(), &options, &mut ()).unwrap();
    assert_eq!(restored.report.lost, []);
    assert_eq!(restored.snapshot.name, made.name);
    assert_eq!(integrity(&to.path().join(DATABASE)), "ok");
    (report, to)
}

/// By pages: what the restored database's bytes are.
fn once(haven: &Keyhaven, world: &Path, tally: &mut Tally) {
    let before = recorded(world);
    let (_, to) = there_and_back(haven, world, Tier::Pages, tally);
    let database = to.path().join(DATABASE);
    let digest = ImageDigest::of_file(&database).unwrap();
    let altered = altered(&database);
    tally.held.push(Held {
        digest,
        altered,
        before,
    });
}

fn integrity(database: &Path) -> String {
    Connection::open(database)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap()
}

/// The same with one byte changed that SQLite does not look at: the application's id in the header.
fn altered(database: &Path) -> ImageDigest {
    let mut bytes = std::fs::read(database).unwrap();
    *bytes.get_mut(68).unwrap() ^= 1;
    std::fs::write(database, bytes).unwrap();
    assert_eq!(integrity(database), "ok");
    ImageDigest::of_file(database).unwrap()
}

/// BACKUP-1: each backup that is taken beside a busy app holds, when it is restored, the page image
/// of one commit; and none from before the backup began.
#[test]
fn every_backup_beside_a_writer_restores_to_a_state_that_it_committed() {
    seeds().for_each(by_pages);
}

fn by_pages(seed: u64) {
    let backups = backups();
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    let haven = set_up(world, seed);
    let app = App::start(world);
    let began = Instant::now();
    let mut tally = Tally::default();
    for _ in 0..backups {
        once(&haven, world, &mut tally);
    }
    let (took, states) = (began.elapsed(), app.states());
    let journal = app.stop();
    let mut places = Vec::new();
    for (number, held) in tally.held.iter().enumerate() {
        let place = journal
            .position(&held.digest)
            .unwrap_or_else(|| panic!("backup {number} holds a state that was never committed"));
        // The check fires where SQLite's own says nothing.
        assert_eq!(journal.position(&held.altered), None);
        // Recorded states were committed before the backup began: it holds the last of them, or later.
        assert!(
            u64::try_from(place).unwrap() + 1 >= held.before,
            "backup {number} holds state {place}, although {} were there",
            held.before
        );
        places.push(place);
    }
    let distinct = places.iter().collect::<BTreeSet<_>>().len();
    println!(
        "{backups} backups and restores in {took:.1?} beside {states} commits ({:.0} a second): \
         {distinct} different states, none torn; {} commits and {} checkpoints while databases were \
         read, {:.0?} and {} KiB a backup",
        f64::from(u32::try_from(states).unwrap()) / took.as_secs_f64(),
        tally.commits_during_reads,
        tally.commits_during_reads / u64::from(CHECKPOINT_EVERY),
        tally.backups / backups,
        tally.sent / u64::from(backups) / 1024,
    );
    assert_eq!(distinct, tally.held.len(), "the app stood still");
    assert!(
        tally.commits_during_reads > u64::from(backups),
        "no commit fell into a read"
    );
}

/// Rows that a backup holds.
struct Rows {
    /// The newest message's number: each commit brings at least one, and none comes back.
    newest: i64,
    digest: RowsDigest,
    /// That of the same rows but for one letter.
    altered: RowsDigest,
    /// States that were recorded before the backup began.
    before: u64,
}

fn newest(database: &Connection) -> i64 {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'message'";
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn rows_of(database: &Path, before: u64) -> Rows {
    let back = Connection::open(database).unwrap();
    let (newest, digest) = (newest(&back), RowsDigest::of(&back).unwrap());
    let change = "UPDATE message SET text_data = text_data || 'x' WHERE _id =
        (SELECT _id FROM message WHERE text_data IS NOT NULL ORDER BY _id LIMIT 1 OFFSET 100)";
    assert_eq!(back.execute(change, []).unwrap(), 1);
    Rows {
        newest,
        digest,
        altered: RowsDigest::of(&back).unwrap(),
        before,
    }
}

/// Has the app commit once more all that it committed, over what it began with, and compares each backup with the
/// rows after its commit. Returns after how many commits each was made.
fn compare(began_with: &Path, held: &[Rows]) -> Vec<u64> {
    let database = began_with.join(DATABASE);
    // The app's connection closes the log when it ends; this one only looks.
    let look = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let (mut commits, mut places) = (0_u64, Vec::new());
    let go_on = || {
        let newest = newest(&look);
        while let Some(next) = held.get(places.len()).filter(|next| next.newest <= newest) {
            let number = places.len();
            assert_eq!(
                next.newest, newest,
                "backup {number}: no commit ended there"
            );
            let digest = RowsDigest::of(&look).unwrap();
            assert_eq!(next.digest, digest, "backup {number}: other rows");
            assert_ne!(next.altered, digest, "the check fires");
            assert!(
                commits + 1 >= next.before,
                "backup {number} holds the rows after {commits} commits, although {} states were there",
                next.before
            );
            places.push(commits);
        }
        commits += 1;
        places.len() < held.len()
    };
    Writer::run(began_with, pace(0), &began_with.join("../again"), go_on).unwrap();
    places
}

/// BACKUP-1: by rows, each backup that is taken beside a busy app holds, when it is restored, the rows of one commit;
/// and none from before the backup began.
#[test]
fn every_backup_by_rows_beside_a_writer_restores_to_rows_that_it_committed() {
    seeds().for_each(by_rows);
}

fn by_rows(seed: u64) {
    let backups = backups();
    let world = tempfile::tempdir().unwrap();
    let world = world.path();
    let haven = set_up(world, seed);
    let began_with = world.join("again-from-here");
    std::fs::create_dir_all(began_with.join(DATABASE).parent().unwrap()).unwrap();
    std::fs::copy(
        world.join("chats").join(DATABASE),
        began_with.join(DATABASE),
    )
    .unwrap();
    let app = App::start(world);
    let began = Instant::now();
    let (mut tally, mut held, mut by_rows) = (Tally::default(), Vec::new(), 0_u32);
    for _ in 0..backups {
        let before = recorded(world);
        let (report, to) = there_and_back(&haven, world, Tier::Rows, &mut tally);
        let way = report.ways.iter().find(|way| way.path.ends_with(DATABASE));
        by_rows += u32::from(way.unwrap().by_rows);
        held.push(rows_of(&to.path().join(DATABASE), before));
    }
    let (took, states) = (began.elapsed(), app.states());
    app.stop();
    let places = compare(&began_with, &held);
    assert_eq!(places.len(), held.len(), "the app never came as far");
    let distinct = places.iter().collect::<BTreeSet<_>>().len();
    println!(
        "{backups} backups and restores, {by_rows} by rows, in {took:.1?} beside {states} commits ({:.0} a second): \
         {distinct} different states, none torn; {} commits while databases were read, {:.0?} and {} KiB a backup",
        f64::from(u32::try_from(states).unwrap()) / took.as_secs_f64(),
        tally.commits_during_reads,
        tally.backups / backups,
        tally.sent / u64::from(backups) / 1024,
    );
    assert_eq!(distinct, held.len(), "the app stood still");
    assert!(
        by_rows * 10 >= backups * 8,
        "{by_rows} of {backups} went by rows"
    );
    assert!(
        tally.commits_during_reads > u64::from(backups),
        "no commit fell into a read"
    );
}
