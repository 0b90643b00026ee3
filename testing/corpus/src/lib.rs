//! A believable chat store, made from a seed.
//!
//! The demo, the tests and the benchmarks all need what a phone has: a chat database that is
//! in use, and folders of media beside it. This crate makes one from nothing, lets days pass over it, and keeps
//! a writer busy in it while somebody else takes a backup.
//!
//! ```text
//!   Size ──► Corpus::create ──► Databases/msgstore.db   WAL, full-text index, thumbnails
//!                               Databases/wa.db         rollback journal, contacts
//!                               Media/WhatsApp …/IMG-20251103-WA0004.jpg  (JPEG, MP4, Ogg Opus)
//!   Day  ──► Corpus::next_day   new, edited and deleted messages; receipts; forwarded copies
//!   Pace ──► Writer::run        commits without a pause, and records what it committed
//!                     │
//!                     └──► Journal: one digest of the page image for each commit
//! ```
//!
//! What is modelled is what a backup engine feels: row ids that only grow, unique indexes on
//! random keys, a full-text index whose segments merge, thumbnails and keys that do not compress, receipts that
//! touch old rows, media that is never rewritten, forwarded copies under another name, and dates in the past.
//! Every word, number, name and picture is pseudo-random: no person's data is in it.
//!
//! The crate refuses to be a random source for anything but test data, and to write into a
//! folder that holds something already.
//!
//! ```
//! use keyhaven_corpus::{Corpus, Day, Size};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let home = tempfile::tempdir()?;
//! let root = home.path().join("WhatsApp");
//! let made = Corpus::create(&root, Size { messages: 200, media_bytes: 400_000, seed: 1 })?;
//! assert_eq!(made.messages, 200);
//! let later = Corpus::next_day(&root, Day::of_use(made.messages))?;
//! assert!(later.media_files > made.media_files);
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "This crate only makes test data. Overflow checks are on in its one profile, so that a mistake \
              stops the generator, and the casts cut random numbers to size on purpose."
)]

mod calendar;
mod chats;
mod corpus;
mod error;
mod fingerprint;
mod image;
mod journal;
mod media;
mod random;
mod schema;
mod words;
mod writer;

pub use corpus::{Corpus, Day, Report, Size, Wal};
pub use error::CorpusError;
pub use fingerprint::{DatabasePrint, Difference, Fingerprint, RowsDigest};
pub use image::ImageDigest;
pub use journal::Journal;
pub use writer::{Pace, Writer, Written};
