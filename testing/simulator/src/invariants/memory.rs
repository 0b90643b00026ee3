//! VAULT-4, VAULT-8: a core's memory never goes back, and no two cores hold different entries of
//! one place.

use std::collections::BTreeMap;

use keyhaven_vault_core::Member;

use super::{Event, Invariant};
use crate::chronicle::Lineage;

type Reach = (u64, Option<(u64, u64)>);

/// Keeps how far each core was, and which entry stands in each place.
#[derive(Debug, Default)]
pub(super) struct Memories {
    reached: BTreeMap<Member, Reach>,
    /// By the first entry of the group, the term and the index.
    places: BTreeMap<(usize, u64, u64), usize>,
}

impl Invariant for Memories {
    fn observe(&mut self, event: &Event, lineage: &Lineage) -> Result<(), String> {
        match event {
            Event::RolledBack { core } => {
                self.reached.remove(core);
            }
            Event::Kept { core, reach, page } => {
                let before = self.reached.insert(*core, *reach);
                if before.is_some_and(|before| before > *reach) {
                    return Err(format!("VAULT-4: a core went back to {reach:?}"));
                }
                if let (Some((term, index)), Some(page)) = (reach.1, page) {
                    let place = (lineage.root(*page), term, index);
                    if *self.places.entry(place).or_insert(*page) != *page {
                        return Err(format!("VAULT-8: two entries were captured at {place:?}"));
                    }
                }
            }
            Event::Began { .. }
            | Event::Led { .. }
            | Event::Released { .. }
            | Event::Ke2(_)
            | Event::Authorised { .. }
            | Event::Answer(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::lineage;

    #[test]
    fn a_core_that_goes_back_and_a_second_entry_of_a_place_fire() {
        let kept = |core: u8, promised, place, page| Event::Kept {
            core: Member::from_bytes([core; 16]),
            reach: (promised, place),
            page: Some(page),
        };
        let lineage = lineage(&[None, Some(0), Some(0), None]);
        let mut memories = Memories::default();
        memories
            .observe(&kept(1, 1, Some((1, 1)), 1), &lineage)
            .unwrap();
        memories
            .observe(&kept(2, 1, Some((1, 1)), 1), &lineage)
            .unwrap();
        memories
            .observe(&kept(1, 2, Some((1, 1)), 1), &lineage)
            .unwrap();
        assert!(
            memories
                .observe(&kept(1, 1, Some((1, 1)), 1), &lineage)
                .is_err()
        );
        assert!(
            memories
                .observe(&kept(3, 1, Some((1, 1)), 2), &lineage)
                .is_err()
        );
        memories
            .observe(&kept(4, 1, Some((1, 1)), 3), &lineage)
            .unwrap();
        let core = Member::from_bytes([1; 16]);
        memories
            .observe(&Event::RolledBack { core }, &lineage)
            .unwrap();
        memories
            .observe(&kept(1, 1, Some((1, 1)), 1), &lineage)
            .unwrap();
    }
}
