//! What a person can be shown of the guesses on their account.

use alloc::vec::Vec;

use keyhaven_wire::message::{AttemptNumber, AttemptSeen, HostTime, RING_MAX, Totals, Verdict};
use minicbor::{Decode, Encode};

/// The last attempts one by one, and exact totals of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct History {
    #[n(0)]
    totals: Totals,
    #[n(1)]
    since_lift: u32,
    /// The last attempts, oldest first. They are numbered without gaps up to the total, so that a
    /// number need not be stored.
    #[n(2)]
    recent: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Seen {
    #[n(0)]
    at: HostTime,
    #[n(1)]
    verdict: Verdict,
}

impl History {
    /// The number of the next attempt.
    pub(crate) fn next(&self) -> Option<AttemptNumber> {
        AttemptNumber::new(self.totals.answered).next()
    }

    /// The next attempt was answered. It counts against the lifetime cap until it is proven right.
    pub(crate) fn answered(&mut self, at: HostTime) {
        self.totals.answered = self.totals.answered.saturating_add(1);
        self.since_lift = self.since_lift.saturating_add(1);
        if self.recent.len() >= RING_MAX {
            self.recent.remove(0);
        }
        self.recent.push(Seen {
            at,
            verdict: Verdict::Unfinished,
        });
    }

    /// A second message came. Only the first verdict on an attempt counts, and only while the
    /// attempt is among the last ones: so the totals and the attempts shown never disagree.
    pub(crate) fn ended(&mut self, number: AttemptNumber, right: bool) {
        let unfinished = self
            .totals
            .answered
            .checked_sub(number.number())
            .and_then(|back| usize::try_from(back).ok())
            .and_then(|back| self.recent.iter_mut().rev().nth(back))
            .filter(|seen| seen.verdict == Verdict::Unfinished);
        if let Some(seen) = unfinished {
            if right {
                seen.verdict = Verdict::Right;
                self.totals.right = self.totals.right.saturating_add(1);
            } else {
                seen.verdict = Verdict::Wrong;
                self.totals.wrong = self.totals.wrong.saturating_add(1);
            }
        }
    }

    /// The attempt that refilled the budget was right: it no longer counts against the cap.
    pub(crate) fn proven(&mut self) {
        self.since_lift = self.since_lift.saturating_sub(1);
    }

    /// A listed device lifted the cap, or a new line began.
    pub(crate) fn lift(&mut self) {
        self.since_lift = 0;
    }

    pub(crate) const fn since_lift(&self) -> u32 {
        self.since_lift
    }

    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    /// The last attempts, oldest first, with their numbers.
    pub(crate) fn recent(&self) -> Vec<AttemptSeen> {
        let count = u64::try_from(self.recent.len()).unwrap_or(u64::MAX);
        let first = self.totals.answered.saturating_sub(count).saturating_add(1);
        (first..)
            .zip(&self.recent)
            .map(|(number, seen)| AttemptSeen {
                number: AttemptNumber::new(number),
                at: seen.at,
                verdict: seen.verdict,
            })
            .collect()
    }
}
