//! End-to-end encrypted chat backups: protectors, store, backup and restore.

mod backup;
mod engine;
mod files;
mod haven;
pub mod home;
pub mod keystore;
mod place;
pub mod progress;
mod protect;
pub mod recovery;
mod restore;
mod setup;
pub mod spool;
pub mod store;
mod vault;
mod verify;

pub use backup::{BackupOptions, BackupReport, Outcome};
pub use engine::entropy::OsEntropy;
pub use engine::error::{BackupError, RestoreError};
pub use engine::fetch::FetchError;
pub use engine::history::HistoryError;
pub use engine::restore::{Lost, RestoreReport};
pub use haven::{Fresh, Keyhaven, OpenError, SnapshotInfo};
pub use place::{Place, PlaceError};
pub use progress::{Budget, Cancel, Notice, Observer, Phase, Progress};
pub use protect::{Checked, ProtectorError, Recovery, Returned};
pub use restore::{Entry, EntryKind, RestoreOptions, Restored};
pub use setup::{ProvenSetup, Setup, SetupError};
pub use vault::{Login, LoginError};
pub use verify::{Depth, VerifyReport};
