//! The secrets of a backup, as types that cannot be mixed up, printed or left in memory.
//!
//! # What it is for
//!
//! A device makes one random [`BackupKey`]. Everything else that seals a backup is derived from it
//! under a [`Label`] of its own, or is random and wrapped under such a derived key. A person sees
//! the backup key as [`Digits`]: 64 hexadecimal digits in 16 groups of four. A [`Password`] is
//! normalised once, at the edge, so that the same words typed on another keyboard are the same
//! password.
//!
//! ```text
//!   Entropy ──generate──▶ BackupKey ──digits──▶ Digits ──▶ paper
//!                            ▲  │
//!              parse_digits  │  └──derive(Label, salt)──▶ DerivedKey ──▶ seals one kind of thing
//!   paper ──typos::repair────┘
//! ```
//!
//! # What it refuses to do
//!
//! - It makes no randomness of its own: every random byte comes in through [`Entropy`], so that a
//!   test can replay a run and a shell decides where randomness comes from.
//! - It prints no secret: every `Debug` here is redacted (BACKUP-3). Only [`Digits`] has a
//!   `Display`, because showing it is its purpose.
//! - It does not compare secrets with `==` on bytes: equality of keys is constant-time.
//! - It does not check passwords. That is the vault's work, and it never sees them.
//!
//! # Example
//!
//! ```
//! use keyhaven_secrets::{BackupKey, Entropy, Label};
//!
//! struct Counter(u8); // A shell passes the operating system's random source instead.
//! impl Entropy for Counter {
//!     fn fill(&mut self, out: &mut [u8]) {
//!         for byte in out {
//!             self.0 = self.0.wrapping_add(1);
//!             *byte = self.0;
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), keyhaven_secrets::DigitsError> {
//! let key = BackupKey::generate(&mut Counter(0));
//! let on_paper = key.digits().to_string();
//! assert_eq!(on_paper.len(), 64 + 15, "16 groups of four, a space between");
//!
//! let back = BackupKey::parse_digits(&on_paper.to_uppercase())?;
//! assert!(back == key);
//! assert!(back.derive(Label::WrapKeyring, b"") == key.derive(Label::WrapKeyring, b""));
//! # Ok(())
//! # }
//! ```

#![no_std]

extern crate alloc;

#[cfg(feature = "keys")]
mod backup_key;
#[cfg(feature = "keys")]
mod derived;
#[cfg(feature = "keys")]
mod digits;
mod entropy;
#[cfg(feature = "judge")]
mod judge;
#[cfg(feature = "password")]
mod password;
mod remedy;
#[cfg(feature = "keys")]
pub mod typos;

#[cfg(feature = "keys")]
pub use backup_key::{BackupKey, KeyFingerprint};
#[cfg(feature = "keys")]
pub use derived::{DerivedKey, Label};
#[cfg(feature = "keys")]
pub use digits::{Digits, DigitsError};
pub use entropy::{Entropy, random};
#[cfg(feature = "judge")]
pub use judge::{SCORE_FLOOR, Strength, WeakPassword, WeakReason};
#[cfg(feature = "password")]
pub use password::{PASSWORD_BYTES_MAX, Password, PasswordError};
pub use remedy::Remedy;
#[cfg(feature = "keys")]
pub use typos::{Neighbour, Typo};
