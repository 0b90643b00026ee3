//! VAULT-1: at any time at most one group holds an account.

use std::collections::BTreeMap;

use keyhaven_vault_core::Range;

use super::{Event, Invariant};
use crate::chronicle::Lineage;

/// Keeps the furthest entry of which answers left, of each group, and the ranges that it held then.
#[derive(Debug, Default)]
pub(super) struct Holders {
    groups: BTreeMap<usize, (usize, Vec<Range>)>,
}

impl Invariant for Holders {
    fn observe(&mut self, event: &Event, lineage: &Lineage) -> Result<(), String> {
        let Event::Released { page, held, .. } = event else {
            return Ok(());
        };
        let root = lineage.root(*page);
        let known = self.groups.get(&root);
        if known.is_some_and(|(furthest, _)| !lineage.stands_on(*page, *furthest)) {
            return Ok(());
        }
        for (other, (furthest, theirs)) in &self.groups {
            if *other != root
                && let Some(range) = held.iter().find(|range| theirs.contains(range))
            {
                return Err(format!(
                    "VAULT-1: a range ({range}) is held after entry {page} of one group and after \
                     entry {furthest} of another"
                ));
            }
        }
        self.groups.insert(root, (*page, held.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::lineage;

    #[test]
    fn two_groups_over_one_range_fire() {
        // 0 ─ 2 ─ 3, and of another group 1 ─ 4 ─ 5
        let lineage = lineage(&[None, None, Some(0), Some(2), Some(1), Some(4)]);
        let mut holders = Holders::default();
        let mut release = |page, held: &[&str]| {
            let held = held.iter().map(|range| Range::parse(range).unwrap());
            let event = Event::Released {
                term: 1,
                page,
                captured_by: 1,
                held: held.collect(),
            };
            holders.observe(&event, &lineage)
        };
        release(2, &["a0", "b0"]).unwrap();
        release(4, &[]).unwrap();
        assert!(release(5, &["b0"]).is_err());
        release(3, &["a0"]).unwrap();
        release(5, &["b0"]).unwrap();
        // An older entry says nothing of now.
        release(2, &["a0", "b0"]).unwrap();
        release(5, &["b0"]).unwrap();
    }
}
