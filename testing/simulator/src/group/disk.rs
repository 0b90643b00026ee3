//! A machine's disk: its core's memory, and its host's tail, which is files of bytes (F1-F3).
//!
//! The tail is written and read through the codec that ships. What is flushed stays; a write that the
//! power is cut in leaves nothing of itself, a part, or some of its sectors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyhaven_vault_core::{Entry, Head, Index, Mac, Member, Memory};
use keyhaven_vault_host::Record;
use keyhaven_vault_host::tail::{Frame, Tail, TailError, TailLimits, Write};
use keyhaven_vault_store::{MemoryStore, Store as _};
use keyhaven_wire::message::FleetId;

use super::Group;
use crate::chance::Chance;
use crate::{Broken, Step};

/// Segments are short, so that a run sees many; the bound of all is tested where it is made.
const LIMITS: TailLimits = TailLimits {
    segment_bytes: 24 * 1024,
    tail_bytes: 1 << 30,
};
/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// What a machine's disk holds.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) memory: Memory,
    /// Every memory that it ever held, oldest first.
    pub(super) images: Vec<Memory>,
    /// The name that the core had before it forgot.
    pub(super) former: Option<Member>,
    /// The tail's segments.
    files: BTreeMap<u64, Vec<u8>>,
    /// What the host that runs knows of them.
    tail: Option<Tail>,
    /// Whether a host ever wrote elsewhere than at a file's end.
    written_over: bool,
}

impl Disk {
    pub(super) const fn new(memory: Memory) -> Self {
        Self {
            memory,
            images: Vec::new(),
            former: None,
            files: BTreeMap::new(),
            tail: None,
            written_over: false,
        }
    }

    /// Everything of the tail is lost, or put aside.
    pub(super) fn lose_tail(&mut self) {
        self.files.clear();
        self.tail = None;
    }

    /// Reads the tail as a host does that starts; begins one where there is none. Says whether its last
    /// record was torn.
    fn open_tail(
        &mut self,
        fleet: FleetId,
        covered: Option<(Index, Mac)>,
    ) -> Result<bool, TailError> {
        let mut opening = Tail::open(fleet, LIMITS);
        for (segment, bytes) in &self.files {
            opening.segment(*segment, bytes)?;
        }
        let tail = opening.done().unwrap_or_else(|| {
            let (tail, begin) = Tail::begin(fleet, LIMITS, covered);
            self.write(begin);
            tail
        });
        let torn = tail.is_torn();
        self.tail = Some(tail);
        Ok(torn)
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Begin { segment, bytes } => drop(self.files.insert(segment, bytes)),
            Write::Extend { segment, at, bytes } => {
                let file = self.files.entry(segment).or_default();
                self.written_over |= u64::try_from(file.len()) != Ok(at);
                file.extend(bytes);
            }
            Write::Remove { segment } => drop(self.files.remove(&segment)),
        }
    }

    /// Keeps a record. If the power is to be cut in it, it is cut in one of the writes, and nothing comes
    /// after it: then this says `false`.
    fn keep(&mut self, record: &Record, cut: Option<&mut Chance>) -> Result<bool, TailError> {
        let Some(tail) = &mut self.tail else {
            return Ok(true);
        };
        let mut writes = tail.keep(record)?;
        let torn = cut.filter(|_| !writes.is_empty()).and_then(|chance| {
            writes.truncate(1 + chance.below(writes.len()));
            torn(writes.pop()?, chance)
        });
        let is_cut = torn.is_some();
        writes.extend(torn.flatten());
        for write in writes {
            self.write(write);
        }
        Ok(!is_cut)
    }

    /// The bytes of the record that ends with this entry, as they are on the disk now.
    fn find(&self, last: &Mac) -> Option<Result<Record, TailError>> {
        let place = self.tail.as_ref()?.find(last)?;
        let damaged = TailError::Damaged {
            segment: place.segment,
            at: place.at,
        };
        let bytes = || {
            let at = usize::try_from(place.at).ok()?;
            let end = at.checked_add(usize::try_from(place.bytes).ok()?)?;
            self.files.get(&place.segment)?.get(at..end)
        };
        Some(bytes().map_or(Err(damaged), |bytes| Frame::open(place, bytes)))
    }

    /// Whether the entry that a memory captured last is in the tail, or in the backup before it.
    fn has(&self, head: &Head) -> bool {
        let Some(tail) = &self.tail else { return true };
        let covered = tail
            .covered()
            .is_some_and(|(index, _)| head.index() <= index);
        covered || matches!(self.find(&head.mac()), Some(Ok(_)))
    }

    /// F3: one bit is another.
    pub(super) fn rot(&mut self, chance: &mut Chance) -> bool {
        let nth = chance.below(self.files.len().max(1));
        let Some(file) = self.files.values_mut().nth(nth) else {
            return false;
        };
        let at = chance.below(file.len().max(1));
        match file.get_mut(at) {
            Some(byte) => {
                *byte ^= 1 << chance.below(8);
                true
            }
            None => false,
        }
    }
}

/// What is left of a write in which the power was cut: nothing at all, or something at a file's end.
/// None if the write is done in spite of it.
#[expect(
    clippy::option_option,
    reason = "whether it is cut, and what is left of it then"
)]
fn torn(write: Write, chance: &mut Chance) -> Option<Option<Write>> {
    let Write::Extend {
        segment,
        at,
        mut bytes,
    } = write
    else {
        return Some(None);
    };
    match chance.below(4) {
        0 => return Some(None),
        1 => bytes.truncate(chance.below(bytes.len())),
        // The file is as long as it was to be, or shorter, and some of its sectors are not there.
        kind => {
            for sector in bytes.chunks_mut(SECTOR_BYTES) {
                if chance.percent(50) {
                    sector.fill(0);
                }
            }
            if kind == 3 {
                bytes.truncate(chance.below(bytes.len()));
            }
        }
    }
    Some(Some(Write::Extend { segment, at, bytes }))
}

impl Group {
    /// A host that starts reads its tail. VAULT-5: it finds all that was flushed, or is told what is not
    /// there; and nothing but what was kept.
    pub(super) fn open_tail(&mut self, at: usize) -> Step {
        if !self.tailed {
            return Ok(());
        }
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
        match opened {
            Ok(true) => self.ledger.meet("a torn record was dropped at a start"),
            Ok(false) => {}
            Err(error) => {
                return Err(Broken(format!(
                    "VAULT-5: host {at} cannot read what it wrote: {error}"
                )));
            }
        }
        let disk = &self.machines[at].disk;
        if let Some(head) = disk.memory.head()
            && !hurt
            && !disk.has(head)
        {
            return Err(Broken(format!(
                "VAULT-5: host {at} starts without the record of entry {}, which it captured",
                head.index().number()
            )));
        }
        Ok(())
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
        let cut = chance.percent(self.weather.tear).then_some(chance);
        let goes_on = self.machines[at]
            .disk
            .keep(record, cut)
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
            self.ledger.meet("the power was cut in a flush");
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
        for machine in self.machines.iter_mut().filter(|it| it.host.is_some()) {
            let disk = &mut machine.disk;
            let captured = disk.memory.head().map(Head::mac) == Some(head.mac());
            let writes = disk
                .tail
                .as_mut()
                .and_then(|tail| tail.cover(place, alone && captured));
            covered |= writes.is_some();
            for write in writes.into_iter().flatten() {
                disk.write(write);
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

/// The newest entry of a store.
pub(super) fn newest(backup: &MemoryStore) -> Option<Entry> {
    let head = backup.snapshot().ok()?.head().ok()??;
    Entry::decode(&head.bytes).ok()
}

/// The digests of all records that hosts ever kept.
pub(super) type Kept = BTreeSet<[u8; 32]>;
