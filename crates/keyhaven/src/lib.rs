//! End-to-end encrypted chat backups: protectors, store, backup and restore.

pub mod spool;
pub mod store;
mod engine;
mod files;
pub mod home;
pub mod keystore;
pub mod progress;
pub mod recovery;
