//! The repository format's vectors and its golden store (BACKUP-4, BACKUP-7).
//!
//! `vectors/format/v1/store` is a whole store as version 1 wrote it. `vectors/format/v1/*.txt` each
//! take one of its objects, alter it, and name what a reader must say. Most are refusals: what a
//! format rejects is as much a part of it as what it accepts.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests count small numbers, and an overflow fails them"
)]

#[cfg(test)]
mod generate;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod run;
#[cfg(test)]
mod second;
#[cfg(test)]
mod vector;
