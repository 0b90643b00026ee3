//! VAULT-1, VAULT-7: the guess meter. It counts answers, not what the vault says of itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Invariant};
use crate::chronicle::Lineage;

/// Counts the different answers to KE1 that left for each account: each lets its holder test one
/// password. There are never more than a budget for each time that the owner authorised a full one,
/// and one budget to begin with. It is a coarse bound, made without knowing any of the rules: the
/// exact one is the model's.
#[derive(Debug, Default)]
pub(super) struct Meter {
    guesses: u32,
    answered: BTreeMap<usize, BTreeSet<[u8; 32]>>,
    authorised: BTreeMap<usize, u32>,
}

impl Invariant for Meter {
    fn observe(&mut self, event: &Event, _lineage: &Lineage) -> Result<(), String> {
        match event {
            Event::Began { guesses, .. } => self.guesses = *guesses,
            Event::Authorised { account } => *self.authorised.entry(*account).or_default() += 1,
            Event::Ke2(ke2) => {
                let answered = self.answered.entry(ke2.account).or_default();
                answered.insert(ke2.digest);
                let authorised = self.authorised.get(&ke2.account).copied().unwrap_or(0);
                let most = u64::from(self.guesses) * (u64::from(authorised) + 1);
                if answered.len() as u64 > most {
                    return Err(format!(
                        "VAULT-1: {} guesses were answered for account {}, {most} were allowed",
                        answered.len(),
                        ke2.account
                    ));
                }
            }
            Event::Led { .. }
            | Event::Released { .. }
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

    fn answer(number: u8) -> Event {
        Event::Ke2(Ke2 {
            account: 0,
            generation: 1,
            attempt: u64::from(number),
            ke1: u64::from(number),
            digest: [number; 32],
        })
    }

    #[test]
    fn the_eleventh_answer_fires_unless_the_owner_authorised_a_full_budget() {
        let mut meter = Meter::default();
        let lineage = Lineage::default();
        let began = Event::Began {
            quorum: 1,
            guesses: 10,
        };
        meter.observe(&began, &lineage).unwrap();
        for number in 0..10 {
            meter.observe(&answer(number), &lineage).unwrap();
            meter.observe(&answer(number), &lineage).unwrap();
        }
        assert!(meter.observe(&answer(10), &lineage).is_err());
        meter
            .observe(&Event::Authorised { account: 0 }, &lineage)
            .unwrap();
        meter.observe(&answer(11), &lineage).unwrap();
    }
}
