//! What can go wrong in a backup and in a restore.

use std::path::PathBuf;

use keyhaven_repo::node::NodeError;
use keyhaven_secrets::Remedy;
use keyhaven_source::DatabaseUser;
use keyhaven_source::WalkError;
use keyhaven_source::guard::{Census, Verdict};

use super::contents::ContentsError;
use super::history::HistoryError;
use super::lost::ends_a_restore;
use super::nodes::store_error;
use super::outbox::SendError;
use super::survey::SurveyError;
use crate::home::HomeError;
use crate::keystore::KeystoreError;
use crate::nesting::NestedError;
use crate::store::StoreError;

/// A backup did not come to its end. Whatever was committed before still stands, and running it
/// again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The device's home cannot be used, or another command is at work.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The device's keystore cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The backup's history cannot be read or continued.
    #[error(transparent)]
    History(HistoryError),
    /// The index of the newest backup cannot be read.
    #[error("the index of the newest backup cannot be read or written: {0}")]
    Index(#[source] NodeError),
    /// The source cannot be read at all.
    #[error(transparent)]
    Source(#[from] WalkError),
    /// The home or the store stands inside the source, or it in the store: moved or mounted there since the set-up.
    #[error(transparent)]
    Nested(#[from] NestedError),
    /// The source has vanished, emptied or shrunk by half: something may have gone wrong with it.
    #[error(
        "the source holds {} files and {} databases, {} bytes in all, where the last backup held {} and {}, \
         {} bytes in all; nothing was backed up. If that is as it should be, run the backup with \
         --accept-shrunk: the older backups are then pinned",
        now.files, now.databases, now.bytes, before.files, before.databases, before.bytes
    )]
    Shrunk {
        /// What the guard thinks of it.
        verdict: Verdict,
        /// What the last backup held.
        before: Census,
        /// What is there now.
        now: Census,
    },
    /// The store no longer has the newest backup that this device made (BACKUP-4).
    #[error(
        "the store serves an older state than this device has written (number {newest}, this device \
         wrote {noted}): it was rolled back, or another copy of it is connected. Nothing was changed. Connect \
         the right one; where what is missing is lost for good, `backup --accept-lost` goes on from what is there"
    )]
    RolledBack {
        /// The number that this device wrote.
        noted: u64,
        /// The highest number that the store serves.
        newest: u64,
    },
    /// The store does not have the backup that the vault has noted as the newest (BACKUP-4).
    #[error(
        "the vault has noted backup number {noted}, and the store, whose newest is number {newest}, does not have it: it was \
         rolled back, or another copy of it is connected. What has changed here is backed up there; the vault's note stays as it \
         is. Connect the right one; where what is missing is lost for good, `backup --accept-lost` goes on from what is there"
    )]
    NotedIsGone {
        /// The number that another device wrote, or this one before its home was put back.
        noted: u64,
        /// The highest number that the store serves.
        newest: u64,
    },
    /// This store's newest keys are older than those that this device has used.
    #[error(
        "the store's newest backup has older keys than this device has used; nothing was changed"
    )]
    OldEpoch,
    /// Local state cannot be written.
    #[error("the local state in {} cannot be used: {reason}", path.display())]
    State {
        /// Where it stands.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk that holds the home is full.
    #[error(
        "the disk that holds the home is full: {} cannot be written. Make room there and run the \
         backup again; what was backed up before still stands", .0.display()
    )]
    HomeFull(PathBuf),
    /// What is set up on this device cannot be opened.
    #[error(transparent)]
    NotOpen(Box<crate::haven::OpenError>),
    /// A part of ours failed where none should.
    #[error("sealing failed: {0}")]
    Sealing(String),
    /// Somebody cancelled it. What was sent stays, and the next run goes on.
    #[error("the backup was cancelled; the next one goes on where it stopped")]
    Cancelled,
}

impl BackupError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Home(cause) => cause.remedy(),
            Self::Store(cause) => cause.remedy(),
            Self::History(cause) => cause.remedy(),
            Self::Index(cause) => cause.remedy(),
            Self::Source(cause) => cause.remedy(),
            Self::Nested(cause) => cause.remedy(),
            Self::NotOpen(cause) => cause.remedy(),
            Self::Keystore(_)
            | Self::Shrunk { .. }
            | Self::RolledBack { .. }
            | Self::NotedIsGone { .. } => Remedy::AskUser,
            Self::State { .. } | Self::HomeFull(_) => Remedy::AskUser,
            Self::Cancelled => Remedy::RetryLater,
            Self::OldEpoch | Self::Sealing(_) => Remedy::Stop,
        }
    }
}

/// A call that was called off is no failure of the store: somebody has cancelled the whole.
macro_rules! cancelled_by {
    ($($error:ty),*) => {$(
        impl From<StoreError> for $error {
            fn from(cause: StoreError) -> Self {
                match cause {
                    StoreError::Cancelled => Self::Cancelled,
                    cause => Self::Store(cause),
                }
            }
        }

        impl From<HistoryError> for $error {
            fn from(cause: HistoryError) -> Self {
                match cause {
                    HistoryError::Store(StoreError::Cancelled) => Self::Cancelled,
                    cause => Self::History(cause),
                }
            }
        }

        impl From<NodeError> for $error {
            fn from(cause: NodeError) -> Self {
                match store_error(&cause) {
                    // The index has no part in it: it was the one that asked.
                    Some(failed) if ends_a_restore(failed) => failed.clone().into(),
                    Some(_) | None => Self::Index(cause),
                }
            }
        }
    )*};
}

cancelled_by!(BackupError, RestoreError);

impl From<SendError> for BackupError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Store(cause) => cause.into(),
            cause @ (SendError::Pack(_) | SendError::Worker) => Self::Sealing(cause.to_string()),
        }
    }
}

impl From<ContentsError> for BackupError {
    fn from(error: ContentsError) -> Self {
        if let ContentsError::Store(cause) = error {
            return cause.into();
        }
        let path = PathBuf::from("state/contents");
        if error.is_full() {
            return Self::HomeFull(path);
        }
        let reason = error.to_string();
        Self::State { path, reason }
    }
}

impl From<SurveyError> for BackupError {
    fn from(error: SurveyError) -> Self {
        match error {
            SurveyError::Walk(cause) => Self::Source(cause),
            SurveyError::Nested(cause) => Self::Nested(cause),
            SurveyError::Node(cause) => cause.into(),
        }
    }
}

/// A restore, a look or a verification did not come to its end. It changes nothing in the store;
/// files that were restored are whole, and running it again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The backup's history cannot be read.
    #[error(transparent)]
    History(HistoryError),
    /// The index of the backup cannot be read.
    #[error("the index of the backup cannot be read: {0}")]
    Index(#[source] NodeError),
    /// The index of a backup cannot be read from its root on.
    #[error(
        "the list of files of backup {snapshot} is damaged, so nothing of it can be brought back: \
         {reason}. Nothing was written. {}", instead(other.as_deref())
    )]
    NoRoot {
        /// The snapshot's name.
        snapshot: String,
        /// The newest other snapshot whose list of files begins well.
        other: Option<String>,
        /// Why.
        reason: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot whose name begins with {0}")]
    NoSuchSnapshot(String),
    /// Several snapshots' names begin so.
    #[error("the names of {count} snapshots begin with {start}; give more of it")]
    AmbiguousSnapshot {
        /// What was given.
        start: String,
        /// How many there are.
        count: usize,
    },
    /// The snapshot has nothing at that path.
    #[error("the backup has nothing at {}", .0.display())]
    NoSuchPath(PathBuf),
    /// The path cannot be written out as one file.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// The store serves an older or another history than the vault knows of (BACKUP-4).
    #[error(
        "the store serves an older state than was noted (number {newest}, noted was {noted}): it was \
         rolled back, forked, or parts are hidden. Nothing was restored. Connect the right one; where what is \
         missing is lost for good, `restore --snapshot` brings back one of those that `browse` lists"
    )]
    NotFresh {
        /// The noted number.
        noted: u64,
        /// The highest number that the store serves.
        newest: u64,
    },
    /// Something else stands where a file belongs.
    #[error(
        "{} exists and differs from the backup, and was not overwritten (run it again with --overwrite to replace what \
         differs)", .0.display()
    )]
    Differs(PathBuf),
    /// A folder stands where something else belongs. It is not overwritten, for that would cost what is in it.
    #[error(
        "{} is a folder, and in the backup it is none. A folder is never overwritten: move it away and run the restore \
         again, or restore to another folder", .0.display()
    )]
    FolderInPlace(PathBuf),
    /// The target cannot have this one, though it can have others. A restore tells of it in
    /// [`lost`](super::restore::RestoreReport::lost) and goes on.
    #[error("{} cannot be restored there: {misfit}", path.display())]
    Misfit {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        misfit: Misfit,
    },
    /// What is restored would come to stand inside the store, or replace a part of it.
    #[error(
        "{} lies inside the store, or what is restored there would: {}. Restore to another folder. Nothing was written",
        to.display(), store.display()
    )]
    IntoStore {
        /// Where it was to be restored to.
        to: PathBuf,
        /// The store's folder.
        store: PathBuf,
    },
    /// What is restored would come to stand inside the home, or replace a part of it.
    #[error(
        "{} lies inside this device's home, or what is restored there would: {}. Restore to another folder. Nothing was \
         written", to.display(), home.display()
    )]
    IntoHome {
        /// Where it was to be restored to.
        to: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// A program has the database open that was to be replaced, and would go on writing into one that has no name any more. Nothing of
    /// that database was touched.
    #[error(
        "{} is open in {by}: close that program and run the restore again. This database was not \
         touched; what was restored before stays", path.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who has it open.
        by: DatabaseUser,
    },
    /// The target cannot be written.
    #[error("{} cannot be written", path.display())]
    Target {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: std::io::Error,
    },
    /// The target's disk has too little room. Nothing was written.
    #[error(
        "restoring takes {needed} more bytes, and the target's disk has {free} free: make room there, or \
         restore to another disk. Nothing was written"
    )]
    TargetFull {
        /// What is needed.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// The target's disk became full.
    #[error(
        "the target's disk is full: {} was not written. Make room and run the restore again: it goes on", .0.display()
    )]
    TargetFilled(PathBuf),
    /// A file cannot be brought back.
    #[error("{} cannot be brought back: {reason}", path.display())]
    Lost {
        /// The file, relative to the source.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is set up on this device cannot be opened.
    #[error(transparent)]
    NotOpen(Box<crate::haven::OpenError>),
    /// A thread of ours ended before its work was done.
    #[error("a part of the restore ended before its work was done")]
    Worker,
    /// Somebody cancelled it. What was restored stays, and the next run goes on.
    #[error("cancelled; running it again goes on where it stopped")]
    Cancelled,
}

impl RestoreError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Store(cause) => cause.remedy(),
            Self::History(cause) => cause.remedy(),
            Self::Index(cause) => cause.remedy(),
            Self::Cancelled | Self::InUse { .. } => Remedy::RetryLater,
            Self::NoRoot { other: Some(_), .. } => Remedy::AskUser,
            Self::NoRoot { other: None, .. } => Remedy::Stop,
            Self::NoSuchSnapshot(_)
            | Self::AmbiguousSnapshot { .. }
            | Self::NoSuchPath(_)
            | Self::NotAFile(_)
            | Self::NotFresh { .. }
            | Self::Differs(_)
            | Self::FolderInPlace(_)
            | Self::Misfit { .. }
            | Self::IntoStore { .. }
            | Self::IntoHome { .. }
            | Self::Target { .. }
            | Self::TargetFull { .. }
            | Self::TargetFilled(_) => Remedy::AskUser,
            Self::NotOpen(cause) => cause.remedy(),
            Self::Worker | Self::Lost { .. } => Remedy::Stop,
        }
    }
}

/// Why a target cannot have something that is well in the backup. Another folder, on another file system, may.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The name is too long there, or has characters that it does not take, or the whole path is too long.
    #[error(
        "the file system there does not take this name, or so long a path: {0}. It is well in the backup; another file \
         system or a shorter folder may take it"
    )]
    Name(#[source] std::io::Error),
    /// Another name is the same there, and something has that: often another file of the backup.
    #[error(
        "the file system there takes this name for that of {}, which was left as it is. It is well in the backup; restore \
         it to another folder", .0.display()
    )]
    SameName(PathBuf),
    /// There are no symbolic links there.
    #[error("the file system there has no symbolic links: {0}. It is well in the backup")]
    Link(#[source] std::io::Error),
}

fn instead(other: Option<&str>) -> String {
    match other {
        Some(name) => {
            format!("The newest other backup that can be read is {name}: give --snapshot {name}")
        }
        None => "This store has no other backup that can be read".to_owned(),
    }
}
