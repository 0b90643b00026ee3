//! What a person can be shown of the guesses on their account.

use keyhaven_wire::message::{AttemptNumber, AttemptSeen, HostTime, RING_MAX, Totals, Verdict};
use minicbor::{Decode, Encode};

/// The last attempts one by one, and exact totals of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct History {
    #[n(0)]
    totals: Totals,
    #[n(1)]
    since_lift: u32,
    #[n(2)]
    recent: Vec<AttemptSeen>,
}

impl History {
    /// The number of the next attempt.
    pub(crate) fn next(&self) -> Option<AttemptNumber> {
        AttemptNumber::new(self.totals.answered).next()
    }

    /// An attempt was answered. It counts against the lifetime cap until it is proven right.
    pub(crate) fn answered(&mut self, number: AttemptNumber, at: HostTime) {
        self.totals.answered = number.number();
        self.since_lift = self.since_lift.saturating_add(1);
        if self.recent.len() >= RING_MAX {
            self.recent.remove(0);
        }
        self.recent.push(AttemptSeen {
            number,
            at,
            verdict: Verdict::Unfinished,
        });
    }

    /// A second message came. Only the first verdict on an attempt counts.
    pub(crate) fn ended(&mut self, number: AttemptNumber, right: bool) {
        let unfinished = self
            .recent
            .iter_mut()
            .find(|seen| seen.number == number && seen.verdict == Verdict::Unfinished);
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

    pub(crate) fn recent(&self) -> &[AttemptSeen] {
        &self.recent
    }
}
