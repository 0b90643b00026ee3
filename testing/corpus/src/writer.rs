//! An app that is in use: it commits without a pause while somebody takes a backup.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::chats::{Chats, People, between};
use crate::corpus::{CHATS_PATH, close, open};
use crate::error::CorpusError;
use crate::image::{Follower, Until};
use crate::journal::Recorder;
use crate::random::Random;
use crate::words::Words;

/// How a writer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Equal seeds write equal rows.
    pub seed: u64,
    /// Commits in a second, at most; 0 for as many as go.
    pub commits_per_second: u32,
    /// A checkpoint after so many commits, also in the middle of somebody's read; 0 for none.
    pub checkpoint_every: u32,
    /// Nobody else writes. Then checkpoints are of all kinds, `TRUNCATE` among them; otherwise
    /// only of the kind that loses none of the others' commits to the journal.
    pub alone: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            seed: 1,
            commits_per_second: 200,
            checkpoint_every: 50,
            alone: false,
        }
    }
}

/// What a writer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Commits of this writer.
    pub commits: u64,
    /// States in the journal: the one found, and one for each commit of anybody.
    pub states: u64,
}

/// Keeps a chat database busy. Run it in a process of its own, as an app is.
#[derive(Debug, Clone, Copy)]
pub struct Writer;

impl Writer {
    /// Commits to the store in `root` until `go_on` says no, and records the digest of every
    /// committed state in the file `journal`: its own, and those of others who write meanwhile
    /// without making checkpoints, as [`Corpus::next_day`](crate::Corpus::next_day) does with
    /// [`Wal::Keep`](crate::Wal::Keep).
    ///
    /// Each commit is a few messages, now and then with an edit, a deletion or receipts. A state
    /// is recorded just after it was committed, so compare with the journal when this has returned.
    ///
    /// # Errors
    /// When the store cannot be written or its log does not read as SQLite wrote it.
    pub fn run(
        root: &Path,
        pace: Pace,
        journal: &Path,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Written, CorpusError> {
        let mut recorder = Recorder::create(journal)?;
        let mut follower = Follower::open(&root.join(CHATS_PATH))?;
        let mut db = open(root)?;
        let presser = open(root)?;
        let frames = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&frames);
        // The hook takes the place of SQLite's own checkpoints: only ours happen.
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            told.store(u64::try_from(count).unwrap_or_default(), Ordering::SeqCst);
            Ok(())
        }))?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        follower.begin()?;
        db.execute_batch("COMMIT")?;
        recorder.record(follower.digest())?;

        let words = Words::new();
        let mut chats = Chats::new(&db, &words, People::read(&db)?)?;
        let (newest, _) = chats.newest()?;
        let mut r = Random::for_purpose("writer", pace.seed, newest.unsigned_abs());
        let start = Instant::now();
        let mut commits = 0_u64;
        while go_on() {
            commit(&db, &mut chats, &mut r)?;
            commits += 1;
            let until = Until::Frame(frames.load(Ordering::SeqCst));
            follower.follow(until, |digest| recorder.record(digest))?;
            if pace.checkpoint_every > 0 && commits.is_multiple_of(u64::from(pace.checkpoint_every))
            {
                if pace.alone {
                    press_alone(&db, &mut r)?;
                } else {
                    // Whoever writes next may begin the log anew. While we hold the lock nobody
                    // writes, and what is copied has been read.
                    db.execute_batch("BEGIN IMMEDIATE")?;
                    follower.follow(Until::End, |digest| recorder.record(digest))?;
                    presser.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
                    db.execute_batch("COMMIT")?;
                }
            }
            rest(start, commits, pace.commits_per_second);
        }
        drop(chats);
        db.execute_batch("BEGIN IMMEDIATE")?;
        follower.follow(Until::End, |digest| recorder.record(digest))?;
        db.execute_batch("COMMIT")?;
        close(presser)?;
        close(db)?;
        Ok(Written {
            commits,
            states: recorder.states,
        })
    }
}

fn commit(db: &Connection, chats: &mut Chats<'_>, r: &mut Random) -> Result<(), CorpusError> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let (newest, time) = chats.newest()?;
    for n in 0..=r.below(3) as i64 {
        chats.say(r, time + 1_000 * (n + 1), None)?;
    }
    let recent = (newest - 2_000).max(1);
    if r.chance(0.3) {
        chats.read_receipt(between(r, recent, newest))?;
    }
    if r.chance(0.1) {
        let message = between(r, recent, newest);
        chats.edit(r, message)?;
    }
    if r.chance(0.1) {
        chats.delete(between(r, 1, newest))?;
    }
    db.execute_batch("COMMIT")?;
    Ok(())
}

/// A checkpoint of one kind or another. A reader in the way makes it do less, never wrong.
fn press_alone(db: &Connection, r: &mut Random) -> Result<(), CorpusError> {
    let kind = r
        .pick(&["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
        .copied()
        .unwrap_or("PASSIVE");
    db.execute_batch("PRAGMA busy_timeout = 5")?;
    let outcome = db.query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |_| Ok(()));
    db.execute_batch("PRAGMA busy_timeout = 30000")?;
    match outcome {
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == rusqlite::ErrorCode::DatabaseBusy =>
        {
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Waits until the next commit is due.
fn rest(start: Instant, commits: u64, commits_per_second: u32) {
    if commits_per_second > 0 {
        let due = Duration::from_secs_f64(commits as f64 / f64::from(commits_per_second));
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
}
