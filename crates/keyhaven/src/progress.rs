//! What long work tells while it runs, and how it is stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyhaven_repo::names::SnapshotName;

/// A part of a backup, a restore or a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The source is compared with the last snapshot.
    Survey,
    /// Message databases are read, or written back.
    Messages,
    /// Media files are read, or written back.
    Media,
    /// The snapshot is written and read back.
    Commit,
    /// Stored data is read back and checked.
    Verify,
}

/// How far a phase has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Files that are done.
    pub files_done: u64,
    /// Files in this phase; 0 while it is not known.
    pub files_total: u64,
    /// Bytes of the source, or of the restored files, that are done.
    pub bytes_done: u64,
    /// Bytes in this phase; 0 while it is not known.
    pub bytes_total: u64,
}

/// Something the person should know, that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A file could not be taken in this run; the next one tries again.
    Pending {
        /// The file, relative to the source.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something that is not a file, folder, link or database was left out.
    LeftOut {
        /// What, relative to the source.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A database starts afresh in the store, since its page size or its place changed.
    NewBase {
        /// The database, relative to the source.
        path: PathBuf,
    },
    /// Local state was lost or described another snapshot, and was rebuilt from the store.
    StateRebuilt,
    /// Another device has backed up to this store; its backups are kept beside this one's.
    OtherHeads {
        /// How many other newest snapshots there are.
        count: usize,
    },
    /// Snapshots of the store do not open. What they held is lost, unless another one holds it; one of
    /// them may be newer than the one that is used.
    DamagedSnapshots {
        /// The names of those that do not open.
        names: Vec<String>,
    },
    /// The store's marker, which says that it is a store and which one, was damaged or gone, and is there again.
    MarkerMended {
        /// What was wrong with it.
        reason: String,
    },
    /// The store's marker is damaged, and a folder stands in its place: it cannot be written again. Nothing needs it while
    /// there are snapshots.
    MarkerBlocked,
    /// The backup that is restored was cut off, or something could not be read for it: files are missing from it or are
    /// older than it is.
    NotComplete {
        /// Its number.
        sequence: u64,
        /// How many files are missing or older.
        pending_files: u64,
        /// Name and number of the newest backup that is complete.
        complete: Option<(SnapshotName, u64)>,
    },
    /// The backup that this run goes on from is damaged. This run makes a whole new one of the source.
    DamagedBackup(DamagedBackup),
    /// The vault could not be told of the newest snapshot; the next backup tells it.
    NotNoted {
        /// Why.
        reason: String,
    },
}

/// A backup of which not all can be brought back any more. Nothing of it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedBackup {
    /// Its name in the store.
    pub snapshot: SnapshotName,
    /// Its number.
    pub sequence: u64,
    /// Whether it still opens. If not, nothing of it can be brought back by itself.
    pub opens: bool,
    /// What is wrong with it, with the damaged object's name.
    pub reason: String,
}

/// Is told of progress. Calls come from the thread that does the work, some ten a second.
pub trait Observer {
    /// Work has moved on.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// Something the person should know.
    fn notice(&mut self, notice: &Notice) {
        let _ = notice;
    }
}

/// An observer that looks away.
impl Observer for () {}

/// Stops long work from another thread. What is stored already stays, and the next run goes on.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that this flag cancels when it is set, as a handler of signals sets one.
    #[must_use]
    pub fn when(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks the work to stop at the next safe point.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much one backup run may take. What does not fit is pending, and the next run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Wall time for reading and sealing; the commit comes after it.
    pub time: Option<Duration>,
    /// Sealed bytes sent to the store, index and snapshot apart.
    pub bytes: Option<u64>,
}

/// How often a long run makes safe what it has done so far. Each time costs short objects and a wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// With so many bytes of files to come, the databases are committed before them.
    pub messages_first_bytes: u64,
    /// After so many sealed bytes of files, what there is is committed.
    pub checkpoint_bytes: u64,
    /// The same after so much time.
    pub checkpoint_every: Duration,
    /// After so many sealed bytes, at a store at hand, what was sent is made durable, and remembered for good.
    pub remember_bytes: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            messages_first_bytes: 64 << 20,
            checkpoint_bytes: 1 << 30,
            checkpoint_every: Duration::from_secs(120),
            remember_bytes: 256 << 20,
        }
    }
}

/// Says when a run must come to its end, and when it makes safe what it has done.
#[derive(Debug)]
pub(crate) struct Limits {
    cancel: Cancel,
    until: Option<Instant>,
    bytes: Option<u64>,
    pub(crate) pace: Pace,
}

/// Why a run ends before all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled,
    OutOfBudget,
}

impl Limits {
    pub(crate) fn new(cancel: &Cancel, budget: Budget) -> Self {
        Self {
            cancel: cancel.clone(),
            until: budget
                .time
                .and_then(|time| Instant::now().checked_add(time)),
            bytes: budget.bytes,
            pace: Pace::default(),
        }
    }

    pub(crate) fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Whether somebody has called the run off.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Whether work may go on after `sent` bytes.
    pub(crate) fn check(&self, sent: u64) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        let full = self.bytes.is_some_and(|bytes| sent >= bytes);
        if late || full {
            Err(Stop::OutOfBudget)
        } else {
            Ok(())
        }
    }
}

/// Passes progress on at most some ten times a second.
pub(crate) struct Meter<'a> {
    observer: &'a mut dyn Observer,
    progress: Progress,
    told: Option<Instant>,
    notices: Vec<Notice>,
}

/// Between two reports of one phase.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Notices that are remembered, so that a run which is begun anew does not tell them again.
const NOTICES_MAX: usize = 256;

impl<'a> Meter<'a> {
    pub(crate) fn new(observer: &'a mut dyn Observer) -> Self {
        let progress = Progress {
            phase: Phase::Survey,
            files_done: 0,
            files_total: 0,
            bytes_done: 0,
            bytes_total: 0,
        };
        Self {
            observer,
            progress,
            told: None,
            notices: Vec::new(),
        }
    }

    pub(crate) fn begin(&mut self, phase: Phase, files_total: u64, bytes_total: u64) {
        self.progress = Progress {
            phase,
            files_done: 0,
            files_total,
            bytes_done: 0,
            bytes_total,
        };
        self.tell();
    }

    /// Begins a phase whose counts go on from the one before.
    pub(crate) fn continue_as(&mut self, phase: Phase) {
        self.progress.phase = phase;
        self.tell();
    }

    pub(crate) fn add(&mut self, files: u64, bytes: u64) {
        self.progress.files_done = self.progress.files_done.saturating_add(files);
        self.progress.bytes_done = self.progress.bytes_done.saturating_add(bytes);
        if self.told.is_none_or(|told| told.elapsed() >= REPORT_EVERY) {
            self.tell();
        }
    }

    pub(crate) fn end(&mut self) {
        self.tell();
    }

    pub(crate) fn notice(&mut self, notice: &Notice) {
        if self.notices.contains(notice) {
            return;
        }
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice.clone());
        }
        self.observer.notice(notice);
    }

    fn tell(&mut self) {
        self.told = Some(Instant::now());
        self.observer.progress(&self.progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_budget_ends_a_run_and_a_cancel_ends_it_first() {
        let cancel = Cancel::new();
        let limits = Limits::new(
            &cancel,
            Budget {
                time: None,
                bytes: Some(10),
            },
        );
        assert_eq!(limits.check(9), Ok(()));
        assert_eq!(limits.check(10), Err(Stop::OutOfBudget));
        cancel.cancel();
        assert_eq!(limits.check(10), Err(Stop::Cancelled));
    }

    #[test]
    fn a_notice_is_told_once() {
        #[derive(Default)]
        struct Count(usize);
        impl Observer for Count {
            fn notice(&mut self, _: &Notice) {
                self.0 += 1;
            }
        }
        let mut count = Count::default();
        let mut meter = Meter::new(&mut count);
        meter.notice(&Notice::StateRebuilt);
        meter.notice(&Notice::OtherHeads { count: 1 });
        meter.notice(&Notice::StateRebuilt);
        assert_eq!(count.0, 2);
    }

    #[test]
    fn a_time_budget_that_is_spent_ends_a_run() {
        let limits = Limits::new(
            &Cancel::new(),
            Budget {
                time: Some(Duration::ZERO),
                bytes: None,
            },
        );
        assert_eq!(limits.check(0), Err(Stop::OutOfBudget));
    }
}
