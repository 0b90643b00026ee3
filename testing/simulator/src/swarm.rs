//! What kind of a run a seed makes: which faults there are, and how many of each.
//!
//! Swarm testing (Groce et al., ISSTA 2012): a run in which everything happens a little finds less
//! than many runs in each of which some things happen much and others never.

use keyhaven_vault_core::{Policy, Quorum};
use keyhaven_wire::suite::{Standard, Suite};

use crate::adversary::Act;
use crate::chance::Chance;
use crate::hands::Hands;
use crate::standin::StandIn;

/// The kind of a run.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The fleet's rules.
    pub policy: Policy,
    /// How many accounts there are.
    pub accounts: usize,
    /// How often each act happens, against the others.
    pub weights: [u32; Act::ALL.len()],
    /// In how many of a hundred cases a core takes part in what the host would have it do (F8-F10).
    pub reach: u8,
    /// In how many of a hundred cases an answer never reaches whoever asked (F9).
    pub lost: u8,
    /// In how many of a hundred cases a request is an old one (F9, F14).
    pub replayed: u8,
    /// In how many of a hundred cases an owner who could authorise a full budget does so. Where
    /// nobody ever does, an account has one budget for good.
    pub helpful: u8,
    /// How often a change lists a device, against the others.
    pub crowded: u32,
    /// Whether cores' memories are rolled back, of as many as the policy allows (F5).
    pub rollbacks: bool,
    /// Whether the cores keep their memories in places that no host can put back (F5).
    pub trusted: bool,
    /// How many groups there are, of one size.
    pub groups: usize,
    /// Whether the real cryptography runs.
    pub real: bool,
}

impl Swarm {
    /// The cryptography of the people and of the cores.
    #[must_use]
    pub const fn suite(&self) -> (&'static dyn Hands, &'static dyn Suite) {
        if self.real {
            (&Standard, &Standard)
        } else {
            (&StandIn, &StandIn)
        }
    }

    /// How many of so many steps a run takes. The real cryptography costs ten times as much as all
    /// else together, and finds nothing in the later steps that it does not find in the earlier ones.
    #[must_use]
    pub const fn steps_of(&self, steps: u64) -> u64 {
        if self.real { steps / 10 } else { steps }
    }

    /// The kind of run that this seed makes.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::of_step(seed, u64::MAX);
        let quorum = match chance.weighted(&[2, 4, 5, 2]) {
            0 => Quorum::ONE,
            1 => Quorum::THREE,
            2 => Quorum::FIVE,
            _ => Quorum::SEVEN,
        };
        let guesses = 1 + u8::try_from(chance.below(10)).unwrap_or(9);
        let lifetime = match chance.below(3) {
            0 => u32::from(guesses),
            1 => u32::from(guesses) + 7,
            _ => 1_000_000,
        };
        let policy = Policy {
            quorum,
            guesses,
            reserved: u8::try_from(chance.below(usize::from(guesses.min(3)) + 1)).unwrap_or(0),
            lifetime_guesses: lifetime,
            wait_seconds: 50,
            cancels: u8::try_from(chance.below(3)).unwrap_or(0),
        };
        let mut weights = [0; Act::ALL.len()];
        for (weight, act) in weights.iter_mut().zip(Act::OF_A_GROUP) {
            let usual = act.usual();
            *weight = match chance.below(5) {
                0 if act.is_fault() => 0,
                1 => usual * 4,
                2 => usual.div_ceil(2),
                _ => usual,
            };
        }
        let mut several = Chance::of_step(seed, u64::MAX - 5);
        let groups = [1, 1, 1, 1, 1, 1, 2, 3][several.below(8)];
        if let (Some(last), true) = (weights.last_mut(), groups > 1) {
            *last = Act::Move.usual() * [1, 4][several.below(2)];
        }
        Self {
            policy,
            groups,
            accounts: 1 + chance.below(3),
            weights,
            reach: [100, 95, 80, 60][chance.below(4)],
            lost: [0, 10, 40][chance.below(3)],
            replayed: [0, 15, 50][chance.below(3)],
            helpful: [0, 20, 85, 85][chance.below(4)],
            crowded: [3, 3, 3, 60][chance.below(4)],
            rollbacks: quorum.rollbacks > 0 && chance.percent(70),
            real: chance.percent(5),
            trusted: Chance::of_step(seed, u64::MAX - 4).percent(15),
        }
    }
}
