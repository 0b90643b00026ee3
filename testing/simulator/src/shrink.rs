//! Leaves out the steps that a failure does not need (delta debugging, Zeller and Hildebrandt 2002).

use std::collections::BTreeSet;

use crate::{Failure, run_some};

/// A failure with as few steps as were found to be enough.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The failure that these steps give.
    pub failure: Failure,
    /// The steps, of the original run.
    pub steps: Vec<u64>,
}

/// Shrinks a failure, in at most `tries` runs.
#[must_use]
pub fn shrink(failure: &Failure, tries: usize) -> Shrunk {
    let mut best = Shrunk {
        failure: failure.clone(),
        steps: (0..=failure.step.min(failure.steps.saturating_sub(1))).collect(),
    };
    let mut left = tries;
    let mut pieces = 2;
    while left > 0 && pieces <= best.steps.len() {
        let size = best.steps.len().div_ceil(pieces);
        let smaller = (0..pieces).find_map(|piece| {
            left = left.checked_sub(1)?;
            let out = piece * size..(piece + 1) * size;
            let steps = best.steps.iter().enumerate();
            let kept: Vec<u64> = steps
                .filter(|(at, _)| !out.contains(at))
                .map(|(_, step)| *step)
                .collect();
            replay(failure, &kept)
        });
        match smaller {
            Some(smaller) => {
                best = smaller;
                pieces = 2.max(pieces - 1);
            }
            None if size == 1 => break,
            None => pieces = (pieces * 2).min(best.steps.len()),
        }
    }
    best
}

/// Runs only these steps; a failure if the same promise breaks.
#[must_use]
pub fn replay(failure: &Failure, steps: &[u64]) -> Option<Shrunk> {
    let wanted: BTreeSet<u64> = steps.iter().copied().collect();
    let again = run_some(failure.hosts, failure.seed, failure.steps, |step| {
        wanted.contains(&step)
    })
    .err()?;
    let promise = |failure: &Failure| failure.broken.0.split(':').next().map(str::to_owned);
    (promise(&again) == promise(failure)).then(|| Shrunk {
        steps: steps
            .iter()
            .copied()
            .filter(|step| *step <= again.step)
            .collect(),
        failure: again,
    })
}
