//! How many images of a story are looked at.

use crate::rule::Rule;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Every subset of at most so many effects.
    subsets_of: u32,
    /// Beyond that, so many seeds at each point.
    seeds: u64,
    /// Only every so many points are looked at with more than nothing left of what was not flushed.
    every: usize,
    /// Only every so many points are looked at at all, and those that are told apart.
    at_all: usize,
    /// Of each point every state that a vault may be in, and not only the first and the last.
    pub(crate) each_answer: bool,
}

pub(crate) fn is_long() -> bool {
    std::env::var_os("KEYHAVEN_LONG").is_some()
}

impl Effort {
    pub(crate) fn chosen() -> Self {
        if is_long() {
            Self {
                subsets_of: 10,
                seeds: 20,
                every: 1,
                at_all: 1,
                each_answer: true,
            }
        } else {
            Self {
                subsets_of: 0,
                seeds: 1,
                every: 4,
                at_all: 1,
                each_answer: false,
            }
        }
    }

    /// For a story with a password: to stretch one takes as long as all else at ten points.
    pub(crate) fn stretching() -> Self {
        if is_long() {
            Self {
                subsets_of: 2,
                seeds: 2,
                ..Self::chosen()
            }
        } else {
            Self {
                every: 40,
                at_all: 20,
                ..Self::chosen()
            }
        }
    }

    /// For a story with little to stretch: five times as many points.
    pub(crate) fn finer(self) -> Self {
        Self {
            every: self.every.div_ceil(5),
            at_all: self.at_all.div_ceil(5),
            ..self
        }
    }

    /// For a story of so many parts.
    pub(crate) fn among(self, parts: usize) -> Self {
        Self {
            every: self.every * parts,
            ..self
        }
    }

    /// What survives at a point, which may be told apart: a vault was asked something there, or all is over.
    pub(crate) fn rules(self, cut: usize, pending: usize, is_apart: bool) -> Vec<Rule> {
        if !is_apart && !cut.is_multiple_of(self.at_all) {
            return Vec::new();
        }
        let mut rules = vec![Rule::Nothing];
        if is_apart || cut.is_multiple_of(self.every) {
            rules.push(Rule::Everything);
            if pending <= usize::try_from(self.subsets_of).unwrap() {
                rules.extend((0..1 << pending).map(Rule::Only));
            }
            let first = u64::try_from(cut).unwrap() * 1_000;
            rules.extend((first..first + self.seeds).map(Rule::Drawn));
        }
        rules
    }
}
