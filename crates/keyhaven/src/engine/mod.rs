//! Backup and restore: what moves between the source, the packs and the store.

pub(crate) mod contents;
pub(crate) mod database;
pub mod entropy;
pub(crate) mod fetch;
pub(crate) mod join;
pub(crate) mod media;
pub(crate) mod nodes;
pub(crate) mod outbox;
pub(crate) mod pages;
pub(crate) mod target;
