//! The backup format: what lies in a store, to the byte, and nothing of how it gets there.
//!
//! # What it is for
//!
//! It turns files, database pages and the tree over them into sealed objects of a few lengths under
//! meaningless names, and back. `docs/format.md` specifies the bytes.
//!
//! ```text
//!   file bytes ──▶ PackBuilder ──seal──▶ packs/ab/ab34…        media
//!   pages ──▶ PageDiffer ─┬─ frames ───▶ packs/…               messages
//!                         └─ nodes ┐
//!   changes ──▶ TreeWriter ─ nodes ┴───▶ packs/…               index
//!                   │ root
//!                   ▼
//!               Snapshot ──────seal────▶ snapshots/77e0…       commits all of it
//!                   │ digest
//!                   ▼
//!               History::judge(note) ──▶ which head, how fresh
//! ```
//!
//! # What it refuses to do
//!
//! - It does no I/O, has no clock and no randomness of its own: bytes and
//!   [`Entropy`](keyhaven_secrets::Entropy) come in, bytes go out. Where nodes and frames are kept is
//!   the caller's [`node::NodeStore`] and [`page_map::PageStore`].
//! - It never seals under a name that it did not draw itself, and never twice under one (BACKUP-5).
//! - It believes nothing that a store serves: every decoder bounds lengths, counts and depths
//!   before it allocates, checks place, kind, store and length, and none can panic (BACKUP-4).
//! - It cuts no file by its content and shows no length but a class (BACKUP-8).
//! - It prints no key, path or content id (BACKUP-3).
//!
//! # Example
//!
//! ```
//! use keyhaven_repo::keyring::Keyring;
//! use keyhaven_repo::names::StoreId;
//! use keyhaven_repo::pack::{ExtentKind, OpenPack, PackBuffer, PackBuilder, PackError, PackKind};
//! # use keyhaven_secrets::Entropy;
//! # struct Counter(u8); // A shell passes the operating system's random source instead.
//! # impl Entropy for Counter {
//! #     fn fill(&mut self, out: &mut [u8]) {
//! #         for byte in out {
//! #             self.0 = self.0.wrapping_add(1);
//! #             *byte = self.0;
//! #         }
//! #     }
//! # }
//! # fn main() -> Result<(), PackError> {
//! # let mut entropy = Counter(0);
//! let keyring = Keyring::generate(StoreId::generate(&mut entropy), &mut entropy);
//!
//! // Bytes are read to the very place from which they will be sent.
//! let mut pack = PackBuilder::begin(PackBuffer::new(), PackKind::Media, &mut entropy);
//! let mut hasher = keyring.content_hasher();
//! pack.spare_mut()[..5].copy_from_slice(b"photo");
//! hasher.update(pack.advance(5));
//! let id = hasher.finish();
//! let extent = pack.end_extent(ExtentKind::File, id.extent_digest()).ok_or(PackError::NotHere)?;
//! let sealed = pack.seal(&keyring)?;
//! assert_eq!(sealed.bytes().len(), 256 * 1024);
//!
//! let object = sealed.bytes().to_vec(); // What the store served for `sealed.name().path()`.
//! let pack = OpenPack::open(sealed.name(), PackKind::Media, &keyring, object)?;
//! let mut photo = Vec::new();
//! pack.copy_extent(&extent, &mut photo)?;
//! assert_eq!(photo, b"photo");
//! # Ok(())
//! # }
//! ```

mod codec;
pub mod compress;
pub mod entry;
pub mod extents;
pub mod hash;
pub mod keyring;
pub mod layout;
pub mod marker;
pub mod names;
pub mod node;
pub mod object;
pub mod pack;
pub mod page_map;
pub mod path;
pub mod rows;
pub mod snapshot;
pub mod tree;
pub mod vacated;
