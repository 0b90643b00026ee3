//! The vault as a process, spoken to over its socket and killed at any moment.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod backups;
mod commands;
mod kills;
mod limits;
mod rollback;
mod serving;
mod world;
