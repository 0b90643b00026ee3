//! Vault messages and the sealed channel: bytes to types and back.
//!
//! # What it is for
//!
//! A client and a vault's trusted core speak through a host that neither trusts. This crate is the
//! one definition of what they say ([`message`]), how it is sealed ([`channel`]), which OPAQUE
//! suite they share ([`opaque`], both halves, behind an API of bytes), how a device signs
//! ([`device`]), and what a client must know of a fleet beforehand ([`bundle`]). The public-key
//! cryptography of all this is one [`suite`]. The core and the client depend on it; the host only
//! carries its bytes. The device's halves stand behind the feature `client`, the bundle behind `bundle`:
//! the core builds without either, and without the standard library.
//!
//! ```text
//!   client                              host                         core
//!   Request ── channel::seal_first ──▶ 2,170 bytes ──▶ channel::core::open ── Request
//!   Reply   ◀── Conversation::open ── 2,089 bytes ◀── Answering::seal ────── Reply
//!   Followup ─ Conversation::seal_second ─▶ 2,170 bytes (no second encapsulation: the core's
//!                                           own sealed ticket brings the keys back)
//! ```
//!
//! # What it refuses to do
//!
//! - It performs no I/O and reads no clock; randomness comes in as
//!   [`Entropy`](keyhaven_secrets::Entropy).
//! - It decides nothing: whether a guess is left, a device listed or a generation current is the
//!   core's business.
//! - It accepts one encoding of each message: bytes that decode, but are not what encoding would
//!   have produced, are refused, as are trailing bytes and padding that is not zero.
//! - It never panics on bytes from outside, and every length is fixed or bounded (VAULT-10).
//! - Every request is one length and every reply is one length, so that a host which sees only
//!   lengths cannot tell a right password from a wrong one.
//!
//! # Example
//!
//! ```
//! use keyhaven_secrets::Entropy;
//! use keyhaven_wire::channel::{self, ChannelKey, Sealed};
//! use keyhaven_wire::message::{AccountName, FleetId, LeafIndex, Request};
//! use keyhaven_wire::suite::Standard;
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
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut entropy = Counter(0);
//! let fleet = FleetId::new([1; 32]);
//! let leaf = LeafIndex::of(&fleet, &AccountName::parse("alice")?);
//! let core = ChannelKey::generate(&mut entropy);
//!
//! let request = Request::Status { device: None };
//! let (sealed, _conversation) =
//!     channel::seal_first(&fleet, &core.public(), &leaf, &request, &mut entropy)?;
//!
//! let Sealed::First(first) = channel::parse(&sealed)? else { panic!() };
//! let opened = first.open(&Standard, &fleet, &core.opening()?, &leaf)?;
//! assert_eq!(opened.request()?, request);
//! # Ok(())
//! # }
//! ```

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "bundle")]
pub mod bundle;
mod bytes;
pub mod channel;
pub mod codec;
pub mod device;
pub mod message;
pub mod opaque;
pub mod release;
pub mod suite;
#[cfg(test)]
mod testing;
