//! VAULT-2: nothing leaves before its entry is committed, and one guess has one answer.

use std::collections::BTreeMap;

use super::{Event, Invariant};
use crate::chronicle::Lineage;

/// Counts for itself who captured an entry, and keeps the answer to each guess.
#[derive(Debug, Default)]
pub(super) struct Spend {
    quorum: usize,
    /// By account, generation, attempt and KE1.
    answers: BTreeMap<(usize, u64, u64, u64), [u8; 32]>,
}

impl Invariant for Spend {
    fn observe(&mut self, event: &Event, _lineage: &Lineage) -> Result<(), String> {
        match event {
            Event::Began { quorum, .. } => self.quorum = *quorum,
            Event::Released {
                page, captured_by, ..
            } if *captured_by < self.quorum => {
                return Err(format!(
                    "VAULT-2: answers of entry {page} left when {captured_by} cores had captured \
                     it, and {} make a quorum",
                    self.quorum
                ));
            }
            Event::Ke2(ke2) => {
                let guess = (ke2.account, ke2.generation, ke2.attempt, ke2.ke1);
                let before = *self.answers.entry(guess).or_insert(ke2.digest);
                if before != ke2.digest {
                    return Err(format!("VAULT-2: guess {guess:?} was answered in two ways"));
                }
            }
            Event::Released { .. }
            | Event::Led { .. }
            | Event::Authorised { .. }
            | Event::Answer(_)
            | Event::Kept { .. }
            | Event::RolledBack { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Ke2;

    #[test]
    fn too_few_captures_and_a_second_answer_fire() {
        let mut spend = Spend::default();
        let lineage = Lineage::default();
        let began = Event::Began {
            quorum: 2,
            guesses: 10,
        };
        spend.observe(&began, &lineage).unwrap();
        let released = |captured_by| Event::Released {
            term: 1,
            page: 0,
            captured_by,
            held: Vec::new(),
        };
        spend.observe(&released(2), &lineage).unwrap();
        assert!(spend.observe(&released(1), &lineage).is_err());
        let ke2 = |digest| {
            Event::Ke2(Ke2 {
                account: 0,
                generation: 1,
                attempt: 1,
                ke1: 1,
                digest: [digest; 32],
            })
        };
        spend.observe(&ke2(1), &lineage).unwrap();
        spend.observe(&ke2(1), &lineage).unwrap();
        assert!(spend.observe(&ke2(2), &lineage).is_err());
    }
}
