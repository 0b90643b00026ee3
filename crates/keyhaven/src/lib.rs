//! End-to-end encrypted chat backups: protectors, store, backup and restore.

pub mod store;
