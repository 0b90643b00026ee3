//! Every way in which hostile hosts can drive a small group of vault cores.
//!
//! # What it is for
//!
//! The simulator tries many runs; this crate tries *all* of them, within bounds. The state machine is
//! not a retelling: each state of the model holds cores that ship, and what comes of a step is what such a
//! core did. A core that is where another was, and is shown the same, does the same: it is asked once, and a twin of
//! it that came there another way is asked as well.
//!
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
//! It proves nothing beyond its [`Bounds`]; they and the number of states are asserted, see [`KNOWN`]. Two kinds of
//! states are left out, because what comes of them comes of others: those that differ only in which of
//! several cores, or guesses, that are alike was taken first, and those in which the hosts have not yet done what
//! costs them nothing. Either can be put in again ([`Bounds::every_name`], [`Bounds::every_step`]).
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a model of small numbers: what does not work out must stop it"
)]

mod act;
mod begin;
mod bits;
mod book;
mod hosts;
mod numbered;
mod state;

pub use act::Act;
pub use bits::Bits;
pub use hosts::Hosts;
pub use state::State;

use std::ops::Range;

use keyhaven_vault_core::Quorum;
use stateright::{Checker as _, HasDiscoveries, Model as _};

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
    /// Cores whose memory the hosts may put back. A policy bears as many as its [`Quorum::rollbacks`].
    pub put_back: u8,
    /// Whether the founder, which leads at the beginning, is none of them.
    pub spare_founder: bool,
    /// Whether states that differ only in the names of cores and guesses are all visited.
    pub every_name: bool,
    /// Whether also those steps are taken one by one which cost the hosts nothing.
    pub every_step: bool,
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
        spare_founder: false,
        every_name: false,
        every_step: false,
    };

    /// Three cores, of which all commit, and the memory of one may be put back.
    pub const ALL_THREE: Self = Self {
        quorum: Quorum {
            captures: 3,
            rollbacks: 1,
            ..Self::THREE.quorum
        },
        put_back: 1,
        ..Self::THREE
    };

    /// Five cores, of which four commit, and the memory of one may be put back: a group that ships.
    pub const FIVE: Self = Self {
        quorum: Quorum::FIVE,
        ..Self::FOUR
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
        spare_founder: false,
        every_name: false,
        every_step: false,
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

    /// With another bound on terms.
    #[must_use]
    pub const fn up_to_term(self, term_max: u64) -> Self {
        Self { term_max, ..self }
    }

    /// With all states that differ in names only.
    #[must_use]
    pub const fn by_every_name(self) -> Self {
        Self {
            every_name: true,
            ..self
        }
    }

    /// With every step by itself.
    #[must_use]
    pub const fn by_every_step(self) -> Self {
        Self {
            every_step: true,
            ..self
        }
    }

    /// With the memories of so many cores put back, whatever the policy bears.
    #[must_use]
    pub const fn putting_back(self, put_back: u8) -> Self {
        Self { put_back, ..self }
    }

    /// Without the founder among the cores whose memory may be put back.
    #[must_use]
    pub const fn sparing_the_founder(self) -> Self {
        Self {
            spare_founder: true,
            ..self
        }
    }

    /// The cores whose memory may be put back.
    #[must_use]
    pub fn victims(&self) -> Range<usize> {
        let first = usize::from(self.spare_founder);
        first..first + usize::from(self.put_back)
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
    (Bounds::THREE.up_to(1, 0), 3_463),
    (Bounds::THREE.up_to(1, 0).by_every_name(), 10_526),
    (Bounds::THREE.up_to(1, 0).by_every_step(), 59_386),
    (
        Bounds::THREE.up_to(1, 0).by_every_step().by_every_name(),
        213_232,
    ),
    (Bounds::THREE.up_to(1, 1), 6_357),
    (Bounds::THREE.up_to(1, 1).by_every_name(), 20_541),
    (Bounds::THREE.up_to(1, 1).by_every_step(), 192_626),
    (Bounds::THREE.up_to(2, 0).by_every_step(), 1_017_050),
    (Bounds::THREE.up_to(2, 1), 109_309),
    (Bounds::THREE.up_to(3, 0), 750_095),
    (Bounds::THREE.up_to(3, 1), 1_706_303),
    (Bounds::THREE.up_to(1, 1).up_to_term(3), 2_119_832),
    (Bounds::ALL_THREE.up_to(1, 1), 14_941),
    (Bounds::ALL_THREE.up_to(1, 1).sparing_the_founder(), 15_001),
    (Bounds::ALL_THREE.up_to(1, 1).by_every_step(), 314_052),
    (Bounds::ALL_THREE.up_to(3, 1), 387_161),
    (Bounds::ALL_THREE.up_to(3, 1).sparing_the_founder(), 440_903),
    (Bounds::ALL_THREE.up_to(1, 2), 122_722),
    (Bounds::FOUR.up_to(1, 0).by_every_step(), 1_306_668),
    (Bounds::FOUR.up_to(1, 1), 567_665),
    (Bounds::FOUR.up_to(1, 1).sparing_the_founder(), 595_139),
    (Bounds::FOUR.up_to(1, 2), 6_234_195),
    (Bounds::FOUR.up_to(2, 1), 13_994_388),
    (Bounds::FOUR.up_to(2, 1).sparing_the_founder(), 15_944_023),
    (Bounds::FOUR.up_to(1, 1).by_every_step(), 35_011_706),
    (Bounds::FIVE.up_to(1, 1), 10_360_263),
    (Bounds::FIVE.up_to(1, 1).sparing_the_founder(), 10_721_451),
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
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
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
