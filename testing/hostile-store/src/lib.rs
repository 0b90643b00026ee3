//! Stores that fail, forget and lie on purpose, and the suite that every honest store passes.
//!
//! # What it is for
//!
//! A backup must come back exactly or be refused, whatever its store does. Each type here is a
//! [`keyhaven::store::Store`] that does one kind of wrong, the same wrong every time it is asked:
//!
//! ```text
//!   MemoryStore   keeps objects, knows which are flushed, can lose power     (honest)
//!   Recording     notes every call, counts bytes                             (honest)
//!   FailAt        the n-th call fails, before or after it took effect        F1, F4, F17
//!   Flaky         fails at random by a seed, as clouds do                    F16
//!   Mutation      one tampering with one object or the list                  F15
//!   Over          one thing otherwise, and all else as the store behind it
//!   conformance   what "honest" means, as a list of checks
//! ```
//!
//! # What it refuses to do
//!
//! It draws no randomness of its own and reads no clock: a seed gives one history.
//!
//! # Example
//!
//! ```
//! use keyhaven::store::{ObjectPath, Store};
//! use keyhaven_hostile_store::{MemoryStore, Mutation, mutations};
//!
//! let store = MemoryStore::new();
//! let path = ObjectPath::parse("snapshots/00ff")?;
//! store.put(&path, b"sealed".as_slice().into())?;
//!
//! for mutation in mutations(&store, None) {
//!     let tampered = mutation.apply(&store);
//!     let _what_the_store_says_now = tampered.get(&path, None);
//!     println!("{mutation}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod conformance;
mod fail_at;
mod flaky;
mod memory;
mod mutation;
mod over;
mod recording;

pub use fail_at::{FailAt, Moment, Span};
pub use flaky::{Flaky, Rates};
pub use memory::{MemoryStore, body_bytes};
pub use mutation::{Mutation, Tampered, drawn_mutation, mutations};
pub use over::{Over, Through};
pub use recording::{Call, Operation, Recording};
