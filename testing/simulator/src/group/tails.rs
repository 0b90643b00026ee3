//! What hosts do with their disks: starts, records, and what a backup covers.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_vault_core::{Head, Mac};
use keyhaven_vault_host::Record;
use keyhaven_vault_host::tail::Tail;

use super::Group;
use super::disk::{Fate, newest};
use crate::Broken;
use crate::chance::Chance;

/// The digests of all records that hosts ever kept.
pub(super) type Kept = BTreeSet<[u8; 32]>;

impl Group {
    /// What a start reads is on the medium before it goes on, as the shell of a vault sees to it: it writes again what it
    /// reads. Says whether that was done; where a flush fails once more, the next start tries again.
    pub(super) fn make_certain(&mut self, at: usize, chance: &mut Chance) -> Result<bool, Broken> {
        let was_uncertain = self.machines[at].disk.is_uncertain();
        if self.flush_fails(chance) {
            self.ledger.meet("a flush failed at a start");
            return Ok(false);
        }
        self.machines[at].disk.write_memory_again();
        if !self.open_tail(at, chance)? {
            self.ledger.meet("a flush failed at a start");
            return Ok(false);
        }
        if was_uncertain {
            self.ledger
                .meet("a start wrote again what a failed flush had dropped");
        }
        Ok(true)
    }

    /// F4: whether this flush fails.
    pub(super) fn flush_fails(&self, chance: &mut Chance) -> bool {
        self.weather.flush_fails > 0 && chance.percent(self.weather.flush_fails)
    }

    /// The power of a machine goes; what it had asked of the store may land yet.
    pub(super) fn lose_power(&mut self, at: usize, chance: &mut Chance) {
        self.stop(at);
        let disk = &mut self.machines[at].disk;
        if disk.is_uncertain() {
            disk.lose_power(chance);
            self.ledger
                .meet("the power went before what a failed flush dropped was written again");
            self.ledger
                .tell(|_| format!("  what host {at} could not flush is gone"));
        }
    }

    /// A host that starts reads its tail. VAULT-5: it finds all that was flushed, or is told what is not
    /// there; and nothing but what was kept. Says whether it goes on: it does not if a flush fails.
    fn open_tail(&mut self, at: usize, chance: &mut Chance) -> Result<bool, Broken> {
        if !self.tailed {
            return Ok(true);
        }
        let fails = self.flush_fails(chance);
        let fleet = self.secrets.fleet();
        let hurt = self.lost.contains(&at);
        let covered = (!hurt).then_some(self.genesis);
        let disk = &mut self.machines[at].disk;
        let opened = match disk.open_tail(fleet, covered) {
            Err(_) if hurt => {
                self.ledger
                    .meet("a damaged tail was told at a start, and put aside");
                self.ledger
                    .tell(|_| format!("  host {at} puts its tail aside"));
                disk.lose_tail();
                disk.open_tail(fleet, None)
            }
            opened => opened,
        };
        let write = opened.map_err(|error| {
            Broken(format!(
                "VAULT-5: host {at} cannot read what it wrote: {error}"
            ))
        })?;
        if disk.tail.as_ref().is_some_and(Tail::is_torn) {
            self.ledger.meet("a torn record was dropped at a start");
        }
        let fate = if fails {
            Fate::Fails(chance)
        } else {
            Fate::Done
        };
        let goes_on = disk.write_all(vec![write], fate);
        if let Some(head) = disk.memory().head()
            && !hurt
            && !disk.has(head)
        {
            return Err(Broken(format!(
                "VAULT-5: host {at} starts without the record of entry {}, which it captured",
                head.index().number()
            )));
        }
        Ok(goes_on)
    }

    /// Keeps a record; says whether the host goes on.
    pub(super) fn keep_tail(
        &mut self,
        at: usize,
        record: &Record,
        chance: &mut Chance,
    ) -> Result<bool, Broken> {
        if record.entries.len() > 2 {
            self.ledger
                .meet("a record carried entries of leaders that died");
        }
        let bytes = record
            .encode()
            .map_err(|error| Broken(format!("VAULT-10: {error}")))?;
        self.kept.insert(*blake3::hash(&bytes).as_bytes());
        let fails = self.flush_fails(chance);
        let is_cut = !fails && chance.percent(self.weather.tear);
        let fate = match (is_cut, fails) {
            (true, _) => Fate::Cut(chance),
            (false, true) => Fate::Fails(chance),
            (false, false) => Fate::Done,
        };
        let goes_on = self.machines[at]
            .disk
            .keep(record, fate)
            .map_err(|error| Broken(format!("VAULT-10: host {at}: {error}")))?;
        let numbers = record.entries.iter().map(|entry| entry.index().number());
        let numbers: Vec<u64> = numbers.collect();
        self.ledger
            .tell(|_| format!("  host {at} keeps a record of {numbers:?}: {goes_on}"));
        if self.machines[at].disk.written_over {
            return Err(Broken(format!(
                "VAULT-5: host {at} writes over what its tail holds"
            )));
        }
        if !goes_on {
            self.ledger.meet(if is_cut {
                "the power was cut in a flush"
            } else {
                "a flush failed"
            });
        }
        Ok(goes_on)
    }

    /// What a memory captured last has its record on the same disk.
    pub(super) fn has_record(&self, at: usize, head: &Head) -> bool {
        self.machines[at].disk.has(head) || self.lost.contains(&at)
    }

    /// The record of a machine's own tail that ends with this entry. VAULT-5: it is one that was kept, to
    /// the byte.
    pub(super) fn read_tail(
        &mut self,
        at: usize,
        last: &Mac,
    ) -> Result<Option<Arc<Record>>, Broken> {
        match self.machines[at].disk.find(last) {
            None => Ok(None),
            Some(Err(_)) if self.lost.contains(&at) => {
                self.ledger.meet("a record that rotted was not believed");
                Ok(None)
            }
            Some(Err(error)) => Err(Broken(format!(
                "VAULT-5: host {at} cannot read what it wrote: {error}"
            ))),
            Some(Ok(record)) => {
                let bytes = record.encode().unwrap_or_default();
                if !self.kept.contains(blake3::hash(&bytes).as_bytes()) {
                    return Err(Broken(format!(
                        "VAULT-5: the tail of host {at} holds a record that nobody kept"
                    )));
                }
                Ok(Some(Arc::new(record)))
            }
        }
    }

    /// An operator who has a newer backup of the store would let go of the older ones: hosts trim what it
    /// covers, those that run. Unless one of them knows that its newest entry is committed, the older
    /// ones are kept. One that was made while the store was back at an older state takes no newer one's
    /// place.
    pub(super) fn retire(&mut self, chance: &mut Chance) {
        let newer = 1 + chance.below(self.backups.len());
        let Some(head) = self.backups.get(newer).and_then(newest) else {
            return;
        };
        let first = self.backups.first().and_then(newest);
        if first.is_some_and(|first| head.index() < first.index()) {
            return;
        }
        let place = (head.index(), head.mac());
        let alone = self.machines.len() == 1;
        let mut covered = false;
        for at in 0..self.machines.len() {
            let fails = self.flush_fails(chance);
            if self.machines[at].host.is_none() {
                continue;
            }
            let disk = &mut self.machines[at].disk;
            let captured = disk.memory().head().map(Head::mac) == Some(head.mac());
            let writes = disk
                .tail
                .as_mut()
                .and_then(|tail| tail.cover(place, alone && captured));
            let Some(writes) = writes else { continue };
            covered = true;
            let fate = if fails {
                Fate::Fails(chance)
            } else {
                Fate::Done
            };
            if !disk.write_all(writes, fate) {
                self.ledger.meet("a flush failed");
                self.stop(at);
            }
        }
        if covered {
            self.ledger
                .tell(|_| format!("  up to entry {} is covered", head.index().number()));
            self.ledger.meet("a backup let go of what it covers");
            // It comes first from now on; an older state, whenever it was saved, leads nowhere now.
            self.backups.drain(..newer);
            let index = Some(head.index());
            self.backups
                .retain(|backup| newest(backup).map(|head| head.index()) >= index);
        } else {
            self.ledger
                .meet("a backup whose newest entry may not be committed covers nothing");
        }
    }
}
