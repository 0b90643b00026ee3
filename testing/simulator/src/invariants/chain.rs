//! VAULT-8: all that was ever answered lies on one line.

use super::{Event, Invariant};
use crate::chronicle::Lineage;

/// Keeps the furthest entry of which answers left.
#[derive(Debug, Default)]
pub(super) struct Chain {
    furthest: Option<usize>,
}

impl Invariant for Chain {
    fn observe(&mut self, event: &Event, lineage: &Lineage) -> Result<(), String> {
        let Event::Released { page, .. } = event else {
            return Ok(());
        };
        match self.furthest {
            Some(furthest) if lineage.stands_on(furthest, *page) => {}
            Some(furthest) if !lineage.stands_on(*page, furthest) => {
                return Err(format!(
                    "VAULT-8: answers left of entry {page} and of entry {furthest}, and neither \
                     stands on the other"
                ));
            }
            Some(_) | None => self.furthest = Some(*page),
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
        //     └── 3
        let lineage = lineage(&[None, Some(0), Some(1), Some(1)]);
        let mut chain = Chain::default();
        let mut release = |page| {
            let event = Event::Released {
                term: 1,
                page,
                captured_by: 2,
            };
            chain.observe(&event, &lineage)
        };
        release(1).unwrap();
        release(2).unwrap();
        release(1).unwrap();
        assert!(release(3).is_err());
    }
}
