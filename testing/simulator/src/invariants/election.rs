//! VAULT-8, VAULT-9: whoever leads knows everything that was answered before its term.

use super::{Event, Invariant};
use crate::chronicle::Lineage;

/// Keeps every leader's base and every release, by term.
#[derive(Debug, Default)]
pub(super) struct Elections {
    led: Vec<(u64, usize)>,
    released: Vec<(u64, usize)>,
}

/// Elections and releases that are remembered. Older ones were compared when they were new.
const REMEMBERED: usize = 12;

impl Invariant for Elections {
    fn observe(&mut self, event: &Event, lineage: &Lineage) -> Result<(), String> {
        match event {
            Event::Led { term, base } => {
                self.led.push((*term, *base));
                let from = self.led.len().saturating_sub(REMEMBERED);
                self.led.drain(..from);
            }
            Event::Released { term, page, .. } => {
                self.released.push((*term, *page));
                let from = self.released.len().saturating_sub(REMEMBERED);
                self.released.drain(..from);
            }
            Event::Began { .. }
            | Event::Ke2(_)
            | Event::Authorised { .. }
            | Event::Answer(_)
            | Event::Kept { .. }
            | Event::RolledBack { .. } => return Ok(()),
        }
        for (term, base) in &self.led {
            let earlier = self.released.iter().filter(|(before, page)| {
                before < term && lineage.root(*page) == lineage.root(*base)
            });
            for (before, page) in earlier {
                if !lineage.stands_on(*base, *page) {
                    return Err(format!(
                        "VAULT-9: term {term} began on entry {base}, which does not stand on entry \
                         {page} that was answered in term {before}"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::lineage;

    #[test]
    fn a_leader_that_does_not_know_what_was_answered_fires() {
        let lineage = lineage(&[None, Some(0), Some(0)]);
        let released = Event::Released {
            term: 1,
            page: 1,
            captured_by: 2,
            held: Vec::new(),
        };
        for (base, fires) in [(1, false), (2, true), (0, true)] {
            let led = Event::Led { term: 2, base };
            for order in [[&released, &led], [&led, &released]] {
                let mut elections = Elections::default();
                let seen: Vec<bool> = order
                    .iter()
                    .map(|event| elections.observe(event, &lineage).is_err())
                    .collect();
                assert_eq!(seen.contains(&true), fires, "base {base}");
            }
        }
    }
}
