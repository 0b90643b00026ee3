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
    places: BTreeMap<(u64, u64), [u8; 32]>,
}

impl Invariant for Memories {
    fn observe(&mut self, event: &Event, _lineage: &Lineage) -> Result<(), String> {
        match event {
            Event::RolledBack { core } => {
                self.reached.remove(core);
            }
            Event::Kept { core, reach, mac } => {
                let before = self.reached.insert(*core, *reach);
                if before.is_some_and(|before| before > *reach) {
                    return Err(format!("VAULT-4: a core went back to {reach:?}"));
                }
                if let (Some(place), Some(mac)) = (reach.1, mac)
                    && *self.places.entry(place).or_insert(*mac) != *mac
                {
                    return Err(format!("VAULT-8: two entries were captured at {place:?}"));
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

    #[test]
    fn a_core_that_goes_back_and_a_second_entry_of_a_place_fire() {
        let kept = |core: u8, promised, place, mac: u8| Event::Kept {
            core: Member::from_bytes([core; 16]),
            reach: (promised, place),
            mac: Some([mac; 32]),
        };
        let lineage = Lineage::default();
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
        let core = Member::from_bytes([1; 16]);
        memories
            .observe(&Event::RolledBack { core }, &lineage)
            .unwrap();
        memories
            .observe(&kept(1, 1, Some((1, 1)), 1), &lineage)
            .unwrap();
    }
}
