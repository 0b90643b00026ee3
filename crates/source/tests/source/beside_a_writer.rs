//! BACKUP-1, the flagship: images read beside a process that never stops writing.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyhaven_source::{DatabaseError, LiveDatabase, OpaqueDatabase, PageSource, ReadBy};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::peer::{Peer, command};
use crate::world::{SCHEMA, Spool};

const FOLDER: &str = "KEYHAVEN_TEST_WRITER";
const JOURNAL: &str = "KEYHAVEN_TEST_JOURNAL";

/// The pace of the writer.
const COMMITS_PER_SECOND: u32 = 200;

/// A digest of all rows that can be kept up to date row by row: the sum of the rows' digests.
type Sum = [u64; 4];

fn row_digest(id: i64, body: &str) -> Sum {
    let hash = blake3::hash(format!("{id}\0{body}").as_bytes());
    let mut sum = [0; 4];
    for (sum, chunk) in sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
        *sum = u64::from_le_bytes(chunk.try_into().unwrap());
    }
    sum
}

fn add(sum: &mut Sum, row: Sum) {
    for (sum, row) in sum.iter_mut().zip(row) {
        *sum = sum.wrapping_add(row);
    }
}

fn remove(sum: &mut Sum, row: Sum) {
    for (sum, row) in sum.iter_mut().zip(row) {
        *sum = sum.wrapping_sub(row);
    }
}

/// Not a test: what the writer does. It commits, and only then writes down what it committed.
#[test]
fn the_writer_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let journal = std::env::var(JOURNAL).unwrap();
    let database = Connection::open(folder.join("chat.db")).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    database
        .execute_batch(&format!(
            "PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; PRAGMA cache_size=50;
             PRAGMA wal_autocheckpoint=200; {SCHEMA}
             CREATE TABLE state(one INTEGER PRIMARY KEY, counter INTEGER, digest TEXT);
             INSERT INTO state VALUES(1, 0, '');"
        ))
        .unwrap();
    let mut record = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("committed"))
        .unwrap();
    let mut sum: Sum = [0; 4];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next_id: i64 = 1;
    let began = Instant::now();
    for counter in 1_u64.. {
        if folder.join("stop").exists() {
            return;
        }
        let mut after = sum;
        let transaction =
            Transaction::new_unchecked(&database, TransactionBehavior::Immediate).unwrap();
        // The first transaction fills the store; the others are a chat's: add, edit, delete.
        for _ in 0..if counter == 1 { 3_000 } else { 4 } {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let old = 1 + (random >> 8) as i64 % next_id;
            if counter == 1 || random % 8 < 5 {
                let body = format!(
                    "words {random:x} {}",
                    "talk ".repeat((random % 40) as usize)
                );
                insert(&transaction, next_id, &body);
                add(&mut after, row_digest(next_id, &body));
                next_id += 1;
            } else if let Some(body) = take(&transaction, old) {
                remove(&mut after, row_digest(old, &body));
                if random % 8 < 7 {
                    let body = format!("edited {random:x}");
                    insert(&transaction, old, &body);
                    add(&mut after, row_digest(old, &body));
                }
            }
        }
        transaction
            .execute(
                "UPDATE state SET counter=?1, digest=?2",
                (counter as i64, format!("{after:x?}")),
            )
            .unwrap();
        transaction.commit().unwrap();
        sum = after;
        writeln!(record, "{counter} {sum:x?}").unwrap();
        let due = began + Duration::from_secs(1) * counter as u32 / COMMITS_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn insert(database: &Connection, id: i64, body: &str) {
    let key = blake3::hash(body.as_bytes()).to_hex();
    database
        .execute(
            "INSERT INTO message VALUES(?1, ?2, ?3, randomblob(64))",
            params![id, format!("{}{id}", &key[..12]), body],
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO fts(rowid, body) VALUES(?1, ?2)",
            params![id, body],
        )
        .unwrap();
    database
        .execute("INSERT INTO receipt VALUES(?1, 'x', ?1)", params![id])
        .unwrap();
}

fn take(database: &Connection, id: i64) -> Option<String> {
    let body: Option<String> = database
        .query_row("SELECT body FROM message WHERE id=?1", [id], |row| {
            row.get(0)
        })
        .ok();
    if body.is_some() {
        database
            .execute("DELETE FROM message WHERE id=?1", [id])
            .unwrap();
        database
            .execute("DELETE FROM fts WHERE rowid=?1", [id])
            .unwrap();
        database
            .execute("DELETE FROM receipt WHERE message=?1", [id])
            .unwrap();
    }
    body
}

struct Writer {
    child: Child,
    folder: PathBuf,
}

impl Writer {
    fn start(folder: &Path, journal: &str) -> Self {
        let mut command: Command = command("beside_a_writer::the_writer_process");
        let child = command
            .env(FOLDER, folder)
            .env(JOURNAL, journal)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let writer = Self {
            child,
            folder: folder.to_owned(),
        };
        while writer.committed().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        writer
    }

    /// What the writer wrote down so far.
    fn committed(&self) -> BTreeMap<u64, String> {
        let record = fs::read_to_string(self.folder.join("committed")).unwrap_or_default();
        let whole = record.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(counter, digest)| (counter.parse().unwrap(), digest.to_owned()))
            .collect()
    }

    fn stop(mut self) -> BTreeMap<u64, String> {
        fs::write(self.folder.join("stop"), "").unwrap();
        assert!(self.child.wait().unwrap().success());
        self.committed()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a failed check; one that has ended already cannot be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens an image and gives the counter and digest that it holds, recomputed from its rows.
fn state_in(image: &[u8]) -> (u64, String) {
    let database = crate::world::check(image);
    database
        .execute_batch("INSERT INTO fts(fts) VALUES('integrity-check')")
        .unwrap();
    let mut sum: Sum = [0; 4];
    let mut rows = database.prepare("SELECT id, body FROM message").unwrap();
    let mut rows = rows.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        add(
            &mut sum,
            row_digest(row.get(0).unwrap(), &row.get::<_, String>(1).unwrap()),
        );
    }
    let (counter, digest): (i64, String) = database
        .query_row("SELECT counter, digest FROM state", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(
        digest,
        format!("{sum:x?}"),
        "the image's rows are not those of its own record"
    );
    (counter as u64, digest)
}

/// How a database is read: through SQLite, or as one whose pages cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Live,
    Opaque,
}

impl As {
    fn source(self, path: &Path) -> Box<dyn PageSource> {
        match self {
            Self::Live => Box::new(LiveDatabase::at(path)),
            Self::Opaque => Box::new(OpaqueDatabase::at(path)),
        }
    }
}

/// Reads `times` images beside the writer, each stretched over several commits, with a checkpoint
/// of each kind forced in the middle of a read, and compares each with what was committed.
fn read_beside_a_writer(how: As, journal: &str, times: u32) {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::start(folder.path(), journal);
    let path = folder.path().join("chat.db");
    let mut checkpointer = (journal == "wal").then(|| Peer::open(&path));
    let mut states = Vec::new();
    let mut during = 0;
    for turn in 0..times {
        let before = writer.committed().len();
        let kind = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][turn as usize % 4];
        let mut at = |page: u32| {
            if page == 20
                && let Some(peer) = checkpointer.as_mut()
            {
                // Whether it comes through or is told that the database is busy: both must be safe.
                peer.must(&format!("PRAGMA wal_checkpoint({kind})"));
            }
            if page.is_multiple_of(100) {
                std::thread::sleep(Duration::from_millis(4));
            }
        };
        let mut spool = Spool {
            at: Some(&mut at),
            ..Spool::default()
        };
        let image = how.source(&path).read_pages(&mut spool).unwrap();
        let by = match (journal, how) {
            ("wal", As::Live) => ReadBy::Transaction,
            ("wal", As::Opaque) => ReadBy::Member,
            _ => ReadBy::Files,
        };
        assert_eq!(image.by, by);
        let bytes = std::mem::take(&mut spool.bytes);
        drop(spool);
        during += writer.committed().len() - before;
        states.push(state_in(&bytes));
    }
    if let Some(peer) = checkpointer {
        peer.close();
    }
    let commits = writer.stop();
    for (counter, digest) in &states {
        assert_eq!(
            commits.get(counter),
            Some(digest),
            "state {counter} was never committed"
        );
    }
    let distinct = states
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    println!(
        "{times} images of {journal}, {how:?}: {distinct} different states, {during} commits during reads, \
         {} in all; none torn",
        commits.len()
    );
    assert!(distinct > times as usize / 4, "the writer stood still");
}

/// BACKUP-1: each image is a state that the writer recorded as committed.
#[test]
fn an_image_is_a_committed_state_while_a_log_is_written() {
    read_beside_a_writer(As::Live, "wal", 20);
}

/// BACKUP-1: the same without a log; readers and the writer then take turns.
#[test]
fn an_image_is_a_committed_state_while_a_journal_is_written() {
    for journal in ["delete", "persist", "truncate"] {
        read_beside_a_writer(As::Live, journal, 4);
    }
}

/// BACKUP-1: the same for a database whose pages cannot be understood, with a log and without.
#[test]
fn an_encrypted_image_is_a_committed_state() {
    read_beside_a_writer(As::Opaque, "wal", 20);
    read_beside_a_writer(As::Opaque, "delete", 4);
}

/// BACKUP-1, the long form: 200 images of each kind beside 200 commits a second. About a minute.
#[test]
#[ignore = "long: run it with --ignored"]
fn two_hundred_images_beside_two_hundred_commits_a_second() {
    read_beside_a_writer(As::Live, "wal", 200);
    read_beside_a_writer(As::Opaque, "wal", 200);
}

/// BACKUP-1: programs that open, write a little, fold their log, rebuild the file, change its page
/// size or the kind of its journal, and go or die, again and again, lead a database through all of
/// its states while it is read.
#[test]
fn an_image_is_a_committed_state_while_programs_come_and_go() {
    read_beside_visitors(As::Live, Duration::from_millis(2_500));
}

/// BACKUP-1: the same for a database whose pages cannot be understood.
#[test]
fn an_encrypted_image_is_a_committed_state_while_programs_come_and_go() {
    read_beside_visitors(As::Opaque, Duration::from_millis(2_500));
}

/// BACKUP-1, the long form. Two minutes.
#[test]
#[ignore = "long: run it with --ignored"]
fn two_minutes_beside_programs_that_come_and_go() {
    read_beside_visitors(As::Live, Duration::from_secs(60));
    read_beside_visitors(As::Opaque, Duration::from_secs(60));
}

/// What a visitor does between opening and going. All rows hold one number after each commit.
const VISITS: [&[&str]; 6] = [
    &["UPDATE pair SET n = n + 1", "UPDATE pair SET n = n + 1"],
    &[
        "UPDATE pair SET n = n + 1, fill = randomblob(850)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ],
    &[
        "PRAGMA journal_mode=delete",
        "UPDATE pair SET n = n + 1",
        "PRAGMA journal_mode=wal",
    ],
    &["UPDATE pair SET n = n + 1", "VACUUM"],
    &[
        "PRAGMA journal_mode=truncate",
        "PRAGMA page_size=1024",
        "VACUUM",
        "UPDATE pair SET n = n + 1",
    ],
    &[
        "PRAGMA journal_mode=delete",
        "PRAGMA page_size=8192",
        "VACUUM",
        "PRAGMA journal_mode=wal",
    ],
];

fn read_beside_visitors(how: As, long: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let mut peer = Peer::open(&path);
    peer.must("PRAGMA journal_mode=wal");
    peer.must("CREATE TABLE pair(id INTEGER PRIMARY KEY, n INTEGER, fill BLOB)");
    peer.must(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<600)
         INSERT INTO pair SELECT x, 0, randomblob(900) FROM c",
    );
    peer.close();
    let stop = AtomicBool::new(false);
    let (mut ways, mut reads, mut anew) = (BTreeMap::new(), 0_u64, 0);
    let visits = std::thread::scope(|threads| {
        let visitor = threads.spawn(|| {
            let mut visits = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut peer = Peer::open(&path);
                for sql in VISITS[visits % VISITS.len()] {
                    // It may be told that the database is busy: then it does without.
                    peer.run(sql);
                }
                if visits % 4 == 3 {
                    peer.kill()
                } else {
                    peer.close()
                }
                visits += 1;
            }
            visits
        });
        let stop = Stop(&stop);
        let began = Instant::now();
        while began.elapsed() < long {
            let mut at = |page: u32| {
                if page.is_multiple_of(64) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            let mut spool = Spool {
                at: Some(&mut at),
                ..Spool::default()
            };
            let way = match how.source(&path).read_pages(&mut spool) {
                Ok(image) => {
                    check_pair(&spool.bytes);
                    anew += spool.begun - 1;
                    format!("{:?}", image.by)
                }
                // A visitor that dies in the middle of a change leaves it to the next one to undo.
                Err(DatabaseError::HotJournal) => "HotJournal".to_owned(),
                Err(error) => panic!("{error}"),
            };
            *ways.entry(way).or_insert(0) += 1;
            reads += 1;
            std::thread::sleep(Duration::from_millis(reads % 20));
        }
        drop(stop);
        visitor.join().unwrap()
    });
    println!(
        "{reads} reads, {how:?}, {ways:?}, {anew} begun anew, beside {visits} visits; none torn"
    );
}

/// Stops the visitors, also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn check_pair(image: &[u8]) {
    let (low, high, count): (i64, i64, i64) = crate::world::check(image)
        .query_row("SELECT min(n), max(n), count(*) FROM pair", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((low, count), (high, 600), "torn");
}
