//! Backup and restore: what moves between the source, the packs and the store.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod contents;
pub(crate) mod database;
pub(crate) mod entropy;
pub(crate) mod error;
pub(crate) mod fetch;
pub(crate) mod footers;
pub(crate) mod history;
pub(crate) mod join;
pub(crate) mod media;
pub(crate) mod nodes;
pub(crate) mod outbox;
pub(crate) mod packs;
pub(crate) mod pages;
pub(crate) mod repack;
pub(crate) mod replay;
pub(crate) mod restore;
pub(crate) mod rows;
pub(crate) mod salvage;
pub(crate) mod sample;
pub(crate) mod survey;
pub(crate) mod suspects;
pub(crate) mod tails;
pub(crate) mod target;
pub(crate) mod usage;
