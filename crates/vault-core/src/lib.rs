//! The trusted core of a vault node: records, guess rules, OPAQUE, authenticated log.
//!
//! # What it is for
//!
//! A [`Core`] decides who gets what from a vault, and trusts nobody: not the host it runs on, not
//! the database, not the network. It keeps no records, only a fleet's secrets and some four hundred
//! bytes of [`Memory`] for any number of accounts. Records live in the host's database as sealed
//! leaves of a sparse Merkle tree; the core is shown the ones that a batch touches, with a
//! [`MultiProof`] against its root, and hands back what changed.
//!
//! ```text
//!            host                                   core
//!   requests, proof ──────── execute ───────▶  apply each, in order; answers stay inside
//!        store.append(entry, puts) ◀────────── Executed { entry, puts }
//!        (durable)
//!   the entry, appended ──── capture ───────▶  remembers term, index, MAC, root
//!        keeps the memory  ◀────────────────── Capture, Memory
//!   captures of a quorum ─── release ───────▶  VAULT-2: only now do answers leave
//!        replies to clients ◀───────────────── Vec<Answer>
//! ```
//!
//! # What it refuses to do
//!
//! - It has no I/O, clock, thread or random source: time is [`HostTime`](keyhaven_wire::message::HostTime)
//!   *as the host says*, randomness comes in as [`Entropy`](keyhaven_secrets::Entropy), and no
//!   safety rests on either the time or the order in which requests arrive.
//! - It releases no answer before the entry that spends its guess is committed (VAULT-2): answers
//!   are [`Withheld`](withheld) values that only the commit path can open.
//! - It never opens a leaf outside its current root (VAULT-4), and never goes back to an older one.
//! - It never panics on bytes from outside, and holds at most one batch (VAULT-10).
//!
//! # Example
//!
//! A host in memory, one request, one answer:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use keyhaven_secrets::Entropy;
//! use keyhaven_vault_core::{Answer, Core, NodeKey, Policy, Touch, prove};
//! use keyhaven_wire::channel;
//! use keyhaven_wire::message::{AccountName, HostTime, LeafIndex, Outcome, Request};
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
//! let (mut core, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut entropy)?;
//! let mut store: BTreeMap<NodeKey, Vec<u8>> = genesis.puts.into_iter().collect();
//!
//! // A client asks how its account stands.
//! let account = AccountName::parse("alice")?;
//! let leaf = LeafIndex::of(&core.fleet(), &account);
//! let (request, conversation) = channel::seal_first(
//!     &core.fleet(), core.channel_key(), &leaf, &Request::Status { device: None }, &mut entropy)?;
//!
//! // The host reads what the request touches, and drives the core.
//! let proof = prove(&core.fleet(), [&account], |key| Ok::<_, ()>(store.get(key).cloned()))?;
//! let executed = core.execute(
//!     vec![Touch { account, request }], &proof, HostTime::new(0), &mut entropy)?;
//! store.extend(executed.puts); // A real host makes this durable, with the entry, at once.
//! let capture = core.capture(&executed.entry)?; // A real host now keeps `core.memory()`, flushed.
//! let answers = core.release(&[capture])?;
//!
//! let [Answer::Sealed(reply)] = answers.as_slice() else { panic!() };
//! assert_eq!(conversation.open(reply)?.outcome, Outcome::Standing);
//! # Ok(())
//! # }
//! ```

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod apply;
mod core;
pub mod dangerous;
mod leaf;
mod log;
mod membership;
mod policy;
mod ranges;
mod record;
mod seat;
mod secrets;
mod ticket;
mod tree;
mod trusted;
mod withheld;

pub use crate::core::{Answer, BATCH_MAX, Core, CoreError, Executed, Genesis, Newcomer, Touch};
pub use crate::log::{
    CALL_BYTES, CAPTURE_BYTES, Call, Capture, ENTRY_BYTES, Entry, GroupId, Head, Index, LogError,
    MEMORY_BYTES, Mac, Memory, REPORT_BYTES, Report, TRANSFER_BYTES, Term, Transfer, WISH_BYTES,
    Wish,
};
pub use crate::membership::{Configuration, Member, Membership, MembershipError};
pub use crate::policy::{Policy, PolicyError, Quorum};
pub use crate::ranges::{RangeAnswer, RangeError, RangeStep};
pub use crate::seat::Role;
pub use crate::secrets::{FleetSecrets, SecretsError};
pub use crate::tree::{
    Digest, MultiProof, NODE_BYTES_MAX, NodeKey, ProofError, ProveError, Prover, Range, fits,
    prove, prove_range,
};
pub use crate::trusted::{NotKept, TrustedMemory};
