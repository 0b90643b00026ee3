//! The rules that a fleet fixes when its secrets are made.

use minicbor::{Decode, Encode};

/// How many cores keep a log together, and how many of them commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Quorum {
    /// Cores in a group (`n`).
    #[n(0)]
    pub members: u8,
    /// Captures that commit an entry (`q`).
    #[n(1)]
    pub captures: u8,
    /// Unnoticed rollbacks of a core's memory that the group survives (`f`).
    #[n(2)]
    pub rollbacks: u8,
}

/// The most cores that a group has.
pub(crate) const MEMBERS_MAX: usize = 7;

impl Quorum {
    /// One core by itself: no rollback of its memory is survived.
    pub const ONE: Self = Self::of(1, 1, 0);
    /// One core may be away.
    pub const THREE: Self = Self::of(3, 2, 0);
    /// One core may be away, and the memory of another rolled back unnoticed.
    pub const FIVE: Self = Self::of(5, 4, 1);
    /// Two cores may be away, and the memories of two others rolled back unnoticed.
    pub const SEVEN: Self = Self::of(7, 5, 2);
    /// Every rule that a fleet may have.
    pub const SHIPPED: [Self; 4] = [Self::ONE, Self::THREE, Self::FIVE, Self::SEVEN];

    const fn of(members: u8, captures: u8, rollbacks: u8) -> Self {
        let rule = Self {
            members,
            captures,
            rollbacks,
        };
        assert!(rule.is_sound());
        rule
    }

    /// VAULT-1, VAULT-9: two quorums share more cores than may have been rolled back unnoticed.
    const fn is_sound(self) -> bool {
        let twice = self.captures.saturating_mul(2);
        let apart = self.members.saturating_add(self.rollbacks);
        self.captures <= self.members && twice > apart
    }
}

/// The rules that a core enforces. They are part of the fleet's secrets: no host changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Policy {
    /// The quorum rule: `2q > n + f`, of the sizes in [`Quorum::SHIPPED`].
    #[n(0)]
    pub quorum: Quorum,
    /// Guesses in a row before the record dies (VAULT-1): at most ten.
    #[n(1)]
    pub guesses: u8,
    /// How many of these, the last ones, need a listed device's signature or a wait.
    #[n(2)]
    pub reserved: u8,
    /// Guesses not proven right over a line's life, until a listed device lifts the cap (VAULT-1).
    #[n(3)]
    pub lifetime_guesses: u32,
    /// How long the waits last, in the host's seconds.
    #[n(4)]
    pub wait_seconds: u64,
    /// How often listed devices may cancel waits, until a password is proven.
    #[n(5)]
    pub cancels: u8,
}

/// Why a policy was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not between one and ten guesses, or more reserved than there are.
    #[error("a guess budget is 1 to 10, and no more of it is reserved")]
    Guesses,
    /// Not one of the shipped group sizes. Quorums of others could meet in rolled-back cores only.
    #[error("a group has 1, 3, 5 or 7 cores, of which 1, 2, 4 or 5 commit")]
    Quorum,
    /// A lifetime cap below the budget, or above a million.
    #[error("the lifetime cap lies between the budget and a million")]
    Lifetime,
}

impl Policy {
    /// What new fleets get: ten guesses, three of them reserved, a hundred in a line's life, three
    /// days to wait.
    pub const DEFAULT: Self = Self {
        quorum: Quorum::ONE,
        guesses: GUESSES_MAX,
        reserved: 3,
        lifetime_guesses: 100,
        wait_seconds: 3 * 24 * 60 * 60,
        cancels: 2,
    };

    /// Checks the rules against each other.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn check(&self) -> Result<(), PolicyError> {
        if !Quorum::SHIPPED.contains(&self.quorum) {
            return Err(PolicyError::Quorum);
        }
        self.check_sound()
    }

    /// The same for any sound quorum, also of a size that does not ship: models want small ones.
    pub(crate) fn check_sound(&self) -> Result<(), PolicyError> {
        if !(1..=GUESSES_MAX).contains(&self.guesses) || self.reserved > self.guesses {
            return Err(PolicyError::Guesses);
        }
        if !self.quorum.is_sound() || usize::from(self.quorum.members) > MEMBERS_MAX {
            return Err(PolicyError::Quorum);
        }
        if !(u32::from(self.guesses)..=1_000_000).contains(&self.lifetime_guesses) {
            return Err(PolicyError::Lifetime);
        }
        Ok(())
    }
}

/// VAULT-1: no policy gives more guesses in a row than this.
pub(crate) const GUESSES_MAX: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// VAULT-1, VAULT-9: the floor that no host can lower.
    #[test]
    fn a_policy_is_within_its_bounds_and_of_a_shipped_size() {
        let day = 86_400;
        assert_eq!(Policy::DEFAULT.wait_seconds, 3 * day);
        let with = |change: fn(&mut Policy)| {
            let mut policy = Policy::DEFAULT;
            change(&mut policy);
            policy.check()
        };
        assert_eq!(Policy::DEFAULT.check(), Ok(()));
        for quorum in Quorum::SHIPPED {
            let policy = Policy {
                quorum,
                ..Policy::DEFAULT
            };
            assert_eq!(policy.check(), Ok(()));
        }
        let fits: [fn(&mut Policy); 4] = [
            |policy| policy.guesses = 3,
            |policy| policy.reserved = policy.guesses,
            |policy| policy.lifetime_guesses = 10,
            |policy| policy.lifetime_guesses = 1_000_000,
        ];
        for change in fits {
            assert_eq!(with(change), Ok(()));
        }
        let guesses: [fn(&mut Policy); 3] = [
            |policy| policy.guesses = 0,
            |policy| policy.guesses = 11,
            |policy| policy.reserved = 11,
        ];
        for change in guesses {
            assert_eq!(with(change), Err(PolicyError::Guesses));
        }
        for lifetime in [9, 1_000_001] {
            let policy = Policy {
                lifetime_guesses: lifetime,
                ..Policy::DEFAULT
            };
            assert_eq!(policy.check(), Err(PolicyError::Lifetime));
        }
    }

    /// VAULT-9: models may have other sizes, but no quorums that meet only in rolled-back cores.
    #[test]
    fn a_quorum_is_sound_when_two_of_it_share_more_than_was_rolled_back() {
        let check = |members, captures, rollbacks| {
            let quorum = Quorum {
                members,
                captures,
                rollbacks,
            };
            let policy = Policy {
                quorum,
                ..Policy::DEFAULT
            };
            (policy.check_sound().is_ok(), policy.check().is_ok())
        };
        for sound in [(4, 3, 1), (2, 2, 1), (3, 3, 2), (6, 4, 1), (7, 4, 0)] {
            assert_eq!(check(sound.0, sound.1, sound.2), (true, false), "{sound:?}");
        }
        for unsound in [
            (2, 1, 0),
            (3, 2, 1),
            (4, 2, 0),
            (3, 4, 0),
            (5, 3, 1),
            (8, 5, 0),
        ] {
            assert_eq!(
                check(unsound.0, unsound.1, unsound.2),
                (false, false),
                "{unsound:?}"
            );
        }
    }
}
