//! Every way in which hostile hosts can drive a small group of vault cores.
//!
//! # What it is for
//!
//! The simulator tries many runs; this crate tries *all* of them, within bounds. The state machine is
//! not a retelling: each state of the model holds the cores that ship, each step calls one of them.
//! The hosts hold every call, report, entry and capture that was ever made, and show any of them
//! to any core, any number of times (duplication, loss, reordering, partition and delay are all in
//! that). They crash cores, and put back the memories of as many as the policy allows.
//!
//! ```text
//!   state: cores, and all that they ever said        next states: every call of every core with
//!                                                     every argument that the hosts could choose
//! ```
//!
//! Two clients hold a guess each, and the hosts a third; the budget is two. In no state have all three
//! been answered (VAULT-1), all answers lie on one line (VAULT-8), and no core ever says that it sees a
//! fork.
//!
//! # What it refuses to do
//!
//! It proves nothing beyond its [`Bounds`]; they and the number of states are asserted, see [`KNOWN`]. States
//! that differ only in which of several cores, or guesses, that are alike was taken first are visited once.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a model of small numbers: what does not work out must stop it"
)]

mod hosts;
mod state;

pub use hosts::{Act, Hosts};
pub use state::State;

use keyhaven_vault_core::Quorum;
use stateright::{Checker as _, Model as _};

/// How far the hosts may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The group.
    pub quorum: Quorum,
    /// The newest term that may be called for.
    pub term_max: u64,
    /// Entries beyond the one that all cores begin with, on one line.
    pub entries_max: u64,
    /// Crashes, puttings-back included.
    pub crashes_max: u8,
    /// The cores whose memory may be put back, the founder first.
    pub put_back: u8,
    /// Whether states that differ only in the names of cores and guesses are all visited.
    pub every_name: bool,
}

impl Bounds {
    /// Three cores, of which two commit.
    pub const THREE: Self = Self {
        quorum: Quorum {
            members: 3,
            captures: 2,
            rollbacks: 0,
        },
        term_max: 2,
        entries_max: 2,
        crashes_max: 1,
        put_back: 0,
        every_name: false,
    };

    /// Three cores, which commit together, and the memory of one may be put back.
    pub const THREE_PUT_BACK: Self = Self {
        quorum: Quorum {
            members: 3,
            captures: 3,
            rollbacks: 1,
        },
        term_max: 2,
        entries_max: 1,
        crashes_max: 1,
        put_back: 1,
        every_name: false,
    };

    /// Four cores, of which three commit, and the memory of one may be put back.
    pub const FOUR: Self = Self {
        quorum: Quorum {
            members: 4,
            captures: 3,
            rollbacks: 1,
        },
        term_max: 2,
        entries_max: 1,
        crashes_max: 1,
        put_back: 1,
        every_name: false,
    };

    /// With other bounds on entries and crashes.
    #[must_use]
    pub const fn up_to(self, entries_max: u64, crashes_max: u8) -> Self {
        Self {
            entries_max,
            crashes_max,
            ..self
        }
    }

    /// With all states that differ in names only.
    #[must_use]
    pub const fn by_every_name(self) -> Self {
        Self {
            every_name: true,
            ..self
        }
    }

    /// How many states there are within these bounds, where somebody has seen them all.
    #[must_use]
    pub fn known(&self) -> Option<usize> {
        let known = KNOWN.iter().find(|(bounds, _)| bounds == self);
        known.map(|(_, states)| *states)
    }
}

/// Explorations that were run to their end, and how many states each has. Another number is another
/// protocol: look at why before changing it here.
pub const KNOWN: &[(Bounds, usize)] = &[
    (Bounds::THREE.up_to(1, 0), 59_386),
    (Bounds::THREE.up_to(1, 0).by_every_name(), 213_232),
    (Bounds::THREE.up_to(1, 1), 2_077_218),
    (Bounds::THREE_PUT_BACK, 2_381_126),
    (Bounds::FOUR.up_to(1, 0), 1_306_668),
];

/// What an exploration came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Promises that are broken in some state, with the way to it.
    pub broken: Vec<(&'static str, Vec<Act>)>,
    /// Rare states that were reached.
    pub reached: Vec<&'static str>,
}

/// Explores all states within these bounds, or as many as it takes to break a promise.
#[must_use]
pub fn explore(bounds: Bounds) -> Explored {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = Hosts::new(bounds).checker().threads(workers);
    // Depth first: what is still to be visited is then a few states, not a whole level of them.
    let checker = checker.spawn_dfs().join();
    let mut explored = Explored {
        states: checker.unique_state_count(),
        broken: Vec::new(),
        reached: Vec::new(),
    };
    for (name, path) in checker.discoveries() {
        if name.starts_with("VAULT") {
            explored.broken.push((name, path.into_actions()));
        } else {
            explored.reached.push(name);
        }
    }
    explored.reached.sort_unstable();
    explored
}
