//! VAULT-8: all that a group ever answered lies on one line.

use std::collections::BTreeMap;

use super::{Event, Invariant};
use crate::chronicle::Lineage;

/// Keeps the furthest entry of which answers left, of each group.
#[derive(Debug, Default)]
pub(super) struct Chain {
    furthest: BTreeMap<usize, usize>,
}

impl Invariant for Chain {
    fn observe(&mut self, event: &Event, lineage: &Lineage) -> Result<(), String> {
        let Event::Released { page, .. } = event else {
            return Ok(());
        };
        let furthest = self.furthest.entry(lineage.root(*page)).or_insert(*page);
        if lineage.stands_on(*page, *furthest) {
            *furthest = *page;
        } else if !lineage.stands_on(*furthest, *page) {
            return Err(format!(
                "VAULT-8: answers left of entry {page} and of entry {furthest}, and neither \
                 stands on the other"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::lineage;

    #[test]
    fn answers_of_a_fork_fire() {
        // 0 ─ 1 ─ 2
        //     └── 3        4: another group's
        let lineage = lineage(&[None, Some(0), Some(1), Some(1), None]);
        let mut chain = Chain::default();
        let mut release = |page| {
            let event = Event::Released {
                term: 1,
                page,
                captured_by: 2,
                held: Vec::new(),
            };
            chain.observe(&event, &lineage)
        };
        release(1).unwrap();
        release(2).unwrap();
        release(1).unwrap();
        assert!(release(3).is_err());
        release(4).unwrap();
    }
}
