//! End-to-end encrypted chat backups: protectors, store, backup and restore.
//!
//! # What it is for
//!
//! A messenger, or a person's command, backs up a folder of chats to a place that is not trusted,
//! and gets it back on a new device by 64 digits or by a password.
//!
//! ```text
//!   Setup ──proof──▶ ProvenSetup ──finish──▶ Keyhaven ──backup──▶ store (folder, S3, WebDAV)
//!                                               │  ▲
//!          new device: Keyhaven::recover ───────┘  └── restore, list, cat, verify
//! ```
//!
//! # What it refuses to do
//!
//! - It backs nothing up under a key that no protector has been proven to return.
//! - It stores no database in a state that its app never committed (BACKUP-1): one read transaction
//!   supplies all pages, also while the app writes.
//! - It writes to no store that has gone back behind what this device wrote (BACKUP-4).
//! - It reads no environment, touches no terminal and chooses no folder: the caller does.
//!
//! Calls block; [`Cancel`] stops them from another thread, [`Observer`] is told of progress, and
//! [`Budget`] says how much one run may take.
//!
//! # Example
//!
//! ```
//! use keyhaven::{BackupOptions, Keyhaven, Place, Recovery, RestoreOptions, Setup};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let world = tempfile::tempdir()?;
//! # let (home, chats, store) = (world.path().join("home"), world.path().join("chats"), world.path().join("store"));
//! # let (new_home, restored) = (world.path().join("new"), world.path().join("restored"));
//! # std::fs::create_dir(&chats)?;
//! # std::fs::write(chats.join("hello.txt"), "hello")?;
//! let place = Place::parse(&store.to_string_lossy())?;
//! let setup = Setup::begin(&home, &chats, place.clone())?;
//! let digits = setup.recovery_key().to_string(); // the person writes them down, and types:
//! let haven = setup.prove_recovery_key(&digits).map_err(|(_, error)| error)?.finish()?;
//! haven.backup(BackupOptions::default(), &mut ())?;
//!
//! // The phone is lost. On a new one:
//! let back = Keyhaven::recover(&new_home, &restored, place, Recovery::RecoveryKey(&digits))?;
//! back.haven.restore(&restored, &RestoreOptions::default(), &mut ())?;
//! assert_eq!(std::fs::read_to_string(restored.join("hello.txt"))?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! An app that has its database open supplies the pages itself, through its own SQLite:
//! [`BackupOptions::databases`] with [`ConnectionPages`], or an implementation of [`PageSource`].

mod backup;
mod engine;
mod exposure;
mod files;
mod footing;
mod haven;
pub mod home;
pub mod keystore;
mod nesting;
mod noting;
mod password;
mod place;
pub mod progress;
mod protect;
pub mod recovery;
mod restore;
mod setup;
pub mod spool;
pub mod store;
mod usage;
mod vault;
mod verify;

pub use backup::{BackupOptions, BackupReport, Outcome};
pub use engine::entropy::OsEntropy;
pub use engine::error::{BackupError, Misfit, RestoreError};
pub use engine::fetch::FetchError;
pub use engine::history::{HistoryError, SnapshotFault};
pub use engine::lost::{Lost, LostPart};
pub use engine::restore::RestoreReport;
pub use engine::rows::{TableWay, Tier, Way};
pub use engine::sample::{Share, ShareError};
pub use engine::tails::{RepackBudget, Repacked};
pub use exposure::Exposure;
pub use haven::{Fresh, Keyhaven, OpenError, SnapshotInfo};
pub use keyhaven_source::{
    ConnectionPages, DatabaseError, DatabaseUser, Detection, Image, ImageShape, Opening, PageSink,
    PageSize, PageSource, Profile,
};
pub use nesting::{KeyFileError, NestedError};
pub use password::{Account, GuessError, LastGuess, RegisterError};
pub use place::{Place, PlaceError};
pub use progress::{Budget, Cancel, DamagedBackup, Notice, Observer, Pace, Phase, Progress};
pub use protect::{Checked, ProtectorError, Recovery, Returned};
pub use restore::{Entry, EntryKind, RestoreOptions, Restored};
pub use setup::{ProvenSetup, Setup, SetupError};
pub use usage::Usage;
pub use vault::{Login, LoginError};
pub use verify::{Affected, DamagedObject, Depth, GoneBack, Sample, VerifyReport};
