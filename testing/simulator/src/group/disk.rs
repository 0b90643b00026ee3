//! A machine's disk: its core's memory, and its host's tail, which is files of bytes (F1-F4).
//!
//! The tail is written and read through the codec that ships. What is flushed stays; a write that the
//! power is cut in leaves nothing of itself, a part, or some of its sectors. What a flush covered that failed can be
//! read until the power goes, and is not on the medium, whatever is flushed later, unless it is written again.

use std::collections::BTreeMap;

use keyhaven_vault_core::{Entry, Head, Index, Mac, Member, Memory};
use keyhaven_vault_host::Record;
use keyhaven_vault_host::tail::{Frame, Tail, TailError, TailLimits, Write};
use keyhaven_vault_store::{MemoryStore, Store as _};
use keyhaven_wire::message::FleetId;

use crate::chance::Chance;

/// Segments are short, so that a run sees many; the bound of all is tested where it is made.
const LIMITS: TailLimits = TailLimits {
    segment_bytes: 24 * 1024,
    tail_bytes: 1 << 30,
};
/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;
/// In how many of a hundred cases the medium has a memory or a name though a flush of it failed.
const LUCK: u8 = 25;

/// What a machine's disk holds.
#[derive(Debug)]
pub(super) struct Disk {
    memory: Memory,
    /// The memory on the medium, if a flush of the newest failed.
    memory_before: Option<Memory>,
    /// Every memory that it ever held for certain, oldest first.
    images: Vec<Memory>,
    /// The name that the core had before it forgot.
    pub(super) former: Option<Member>,
    /// The tail's segments, as they can be read.
    files: BTreeMap<u64, Vec<u8>>,
    /// What can be read of them and is not on the medium.
    dropped: Vec<Dropped>,
    /// What the host that runs knows of them.
    pub(super) tail: Option<Tail>,
    /// Whether a host ever wrote elsewhere than at a file's end.
    pub(super) written_over: bool,
}

/// What a flush of a tail covered that failed.
#[derive(Debug)]
enum Dropped {
    /// A part of a segment.
    Part {
        segment: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    /// A segment's name.
    Name { segment: u64 },
    /// That a segment was removed.
    Removal { segment: u64, bytes: Vec<u8> },
}

/// What becomes of a flush.
pub(super) enum Fate<'a> {
    Done,
    /// The power is cut in it.
    Cut(&'a mut Chance),
    /// It fails: the host is told so, and stops.
    Fails(&'a mut Chance),
}

impl Disk {
    pub(super) const fn new(memory: Memory) -> Self {
        Self {
            memory,
            memory_before: None,
            images: Vec::new(),
            former: None,
            files: BTreeMap::new(),
            dropped: Vec::new(),
            tail: None,
            written_over: false,
        }
    }

    /// The newest memory, as it can be read.
    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Every memory of this core that it ever held for certain, oldest first.
    pub(super) fn images_of(&self, core: Member) -> Vec<Memory> {
        let images = self.images.iter();
        images
            .filter(|image| image.member() == core)
            .copied()
            .collect()
    }

    /// Another memory stands there, for certain.
    pub(super) fn put_memory(&mut self, memory: Memory) {
        self.memory = memory;
        self.memory_before = None;
    }

    /// The memory of a core that knows of none before.
    pub(super) fn put_first_memory(&mut self, memory: Memory) {
        self.put_memory(memory);
        self.images = vec![memory];
    }

    /// Keeps a memory, if the flush does not fail.
    pub(super) fn keep_memory(&mut self, memory: &Memory, fails: bool) {
        if fails {
            self.memory_before.get_or_insert(self.memory);
            self.memory = *memory;
        } else {
            self.put_memory(*memory);
            self.images.push(*memory);
        }
    }

    /// Whether there is something that can be read and is not on the medium.
    pub(super) const fn is_uncertain(&self) -> bool {
        !self.dropped.is_empty() || self.memory_before.is_some()
    }

    /// As the start of a vault replaces the file of its core's memory: what can be read is on the medium afterwards.
    pub(super) fn write_memory_again(&mut self) {
        self.put_memory(self.memory);
    }

    /// The power goes: what a failed flush dropped is not there any more, or by luck it is, or a part of it.
    pub(super) fn lose_power(&mut self, chance: &mut Chance) {
        if let Some(before) = self.memory_before.take()
            && !chance.percent(LUCK)
        {
            self.memory = before;
        }
        // The newest first: what stands behind it in a file ends with it.
        for dropped in std::mem::take(&mut self.dropped).into_iter().rev() {
            if !matches!(dropped, Dropped::Part { .. }) && chance.percent(LUCK) {
                continue;
            }
            match dropped {
                Dropped::Name { segment } => drop(self.files.remove(&segment)),
                Dropped::Removal { segment, bytes } => drop(self.files.insert(segment, bytes)),
                Dropped::Part { segment, at, bytes } => self.lose_part(segment, at, bytes, chance),
            }
        }
        self.tail = None;
    }

    fn lose_part(&mut self, segment: u64, at: usize, bytes: Vec<u8>, chance: &mut Chance) {
        let Some(file) = self.files.get_mut(&segment) else {
            return;
        };
        let end = at + bytes.len();
        let mut left = torn(bytes, chance);
        // What was flushed behind it is there, and with it the file's length.
        if file.len() > end {
            left.resize(end - at, 0);
            file.splice(at..end, left);
        } else {
            file.truncate(at);
            file.extend(left);
        }
    }

    /// Everything of the tail is lost, or put aside.
    pub(super) fn lose_tail(&mut self) {
        self.files.clear();
        self.dropped.clear();
        self.tail = None;
    }

    /// Reads the tail as a host does that starts; begins one where there is none. Says what is to be written before
    /// anything else.
    pub(super) fn open_tail(
        &mut self,
        fleet: FleetId,
        covered: Option<(Index, Mac)>,
    ) -> Result<Write, TailError> {
        let mut opening = Tail::open(fleet, LIMITS);
        for (segment, bytes) in &self.files {
            opening.segment(*segment, bytes.clone())?;
        }
        let opened = opening.done();
        let (tail, write) = opened.unwrap_or_else(|| Tail::begin(fleet, LIMITS, covered));
        self.tail = Some(tail);
        Ok(write)
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Begin { segment, bytes } => {
                // With its name all names of the folder are flushed.
                self.dropped.retain(|dropped| match dropped {
                    Dropped::Part { segment: of, .. } => *of != segment,
                    Dropped::Name { .. } | Dropped::Removal { .. } => false,
                });
                self.files.insert(segment, bytes);
            }
            Write::Extend { segment, at, bytes } => {
                let file = self.files.entry(segment).or_default();
                self.written_over |= u64::try_from(file.len()) != Ok(at);
                file.extend(bytes);
            }
            Write::Remove { segment } => drop(self.files.remove(&segment)),
        }
    }

    /// A write whose flush fails: it can be read, and is not on the medium.
    fn drop_write(&mut self, write: Write, chance: &mut Chance) {
        match write {
            // The flush under the other name failed, or the one behind the rename. What stands there stays as it was.
            Write::Begin { segment, bytes } => {
                if !self.files.contains_key(&segment) && chance.percent(50) {
                    self.files.insert(segment, bytes);
                    self.dropped.push(Dropped::Name { segment });
                }
            }
            Write::Extend { segment, at, bytes } => {
                self.dropped.push(Dropped::Part {
                    segment,
                    at: usize::try_from(at).unwrap_or(usize::MAX),
                    bytes: bytes.clone(),
                });
                self.write(Write::Extend { segment, at, bytes });
            }
            Write::Remove { segment } => {
                if let Some(bytes) = self.files.remove(&segment) {
                    self.dropped.push(Dropped::Removal { segment, bytes });
                }
            }
        }
    }

    /// Does what a tail wants written. If the power is to be cut in it, or a flush to fail, that is in one of the
    /// writes, and nothing comes after it: then this says `false`.
    pub(super) fn write_all(&mut self, mut writes: Vec<Write>, fate: Fate<'_>) -> bool {
        let (chance, is_cut) = match fate {
            Fate::Cut(chance) if !writes.is_empty() => (chance, true),
            Fate::Fails(chance) if !writes.is_empty() => (chance, false),
            Fate::Cut(_) | Fate::Fails(_) | Fate::Done => {
                writes.into_iter().for_each(|write| self.write(write));
                return true;
            }
        };
        writes.truncate(1 + chance.below(writes.len()));
        let last = writes.pop();
        writes.into_iter().for_each(|write| self.write(write));
        match last {
            Some(Write::Extend { segment, at, bytes }) if is_cut => {
                let bytes = torn(bytes, chance);
                self.write(Write::Extend { segment, at, bytes });
            }
            Some(write) if !is_cut => self.drop_write(write, chance),
            Some(_) | None => {}
        }
        false
    }

    /// Keeps a record; says whether the host goes on.
    pub(super) fn keep(&mut self, record: &Record, fate: Fate<'_>) -> Result<bool, TailError> {
        let Some(tail) = &mut self.tail else {
            return Ok(true);
        };
        let writes = tail.keep(record)?;
        Ok(self.write_all(writes, fate))
    }

    /// The bytes of the record that ends with this entry, as they are on the disk now.
    pub(super) fn find(&self, last: &Mac) -> Option<Result<Record, TailError>> {
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
    pub(super) fn has(&self, head: &Head) -> bool {
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

/// What is left of bytes at a file's end that were not flushed: nothing at all, or something.
fn torn(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    match chance.below(4) {
        0 => bytes.clear(),
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
    bytes
}

/// The newest entry of a store.
pub(super) fn newest(backup: &MemoryStore) -> Option<Entry> {
    let head = backup.snapshot().ok()?.head().ok()??;
    Entry::decode(&head.bytes).ok()
}
