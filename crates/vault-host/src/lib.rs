//! What a host does for its core in a group: elections, appends, captures, tails. Without I/O.
//!
//! # What it is for
//!
//! A core decides; a host carries. A [`Host`] is told what has happened (an [`Input`]: a tick, a
//! message, what the store said) and says what is to be done ([`Effect`]s). Disks, sockets, clocks
//! and databases are the shell's.
//!
//! ```text
//!   leader's host                      store                     every other host
//!   batch ─▶ Prove ──────────────────▶ one snapshot
//!     core.execute ─▶ Append ────────▶ compare-and-set on the newest entry
//!     KeepTail, core.capture, KeepMemory
//!     Record ──────────────────────────────────────────────────▶ KeepTail, core.capture, KeepMemory
//!     core.release ◀───────────────────────────────────────────── Captured
//!     Answer
//! ```
//!
//! # What it keeps to
//!
//! - Effects are done in the order in which they come. What writes to the disk is flushed before the
//!   next one begins; if it fails, the shell does none of the rest, stops this host, and starts it anew
//!   from its disk. So no core's word leaves before what it stands on is on a medium (VAULT-2, VAULT-5).
//! - An entry is captured only with a *tail* that leads to it from a committed one: whatever the
//!   store loses later, the tails of the hosts that captured can bring back ([`Record`]).
//! - A store that has lost commits is led forward from the tails, or the group is *gone* and says so;
//!   it never goes on from an older state (VAULT-4). A store that is ahead, by an entry of a leader
//!   that died, is built on.
//!
//! # What it refuses to do
//!
//! It trusts no other host: what it is sent is checked, by its core or by digests, before it is kept
//! or put into the store. No safety rests on it: a host that does anything else can deny service, and
//! nothing more.

mod codec;
mod elect;
mod follow;
mod host;
mod lead;
mod mend;
mod message;
mod record;
pub mod tail;

pub use crate::codec::{
    DecodeError, EncodeError, MESSAGE_BYTES_MAX, RECORD_BYTES_MAX, RECORD_ENTRIES_MAX,
    RECORD_PUTS_MAX,
};
pub use crate::host::{Host, Standing};
pub use crate::message::{
    Answered, Append, Ask, AskId, Effect, HostId, Input, Looked, Message, Notice, Prove, Proved,
    Said,
};
pub use crate::record::{Puts, Record};
