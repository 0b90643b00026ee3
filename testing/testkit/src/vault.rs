//! A vault in memory: the real core over a map, and people who talk to it.
//!
//! The core is the one that ships; only the host is small. A test says what the host does wrong: it
//! swallows an answer, crashes between two steps, replays bytes, or rolls its store back.
//!
//! The helpers build valid worlds and panic when they cannot: a test is where a panic belongs.

mod door;
mod person;
mod world;

pub use door::{Door, Line};
pub use person::{Answered, Attempt, FIRST_CHANGE, Person, Recovered, Registration, cheap, forged};
pub use world::VaultWorld;
