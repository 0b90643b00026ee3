//! The power goes: what was not flushed is lost, kept, torn or reordered, in any mixture.
//!
//! A medium records every write, flush and change of length that the engine makes. Then, for every
//! point of that history, files are made as a disk could have left them there, and opened: what was
//! acknowledged stands, and nothing is half done (VAULT-5).
//!
//! A flush that fails drops what it covers, as Linux does: it can be read until the power goes, and no later
//! flush brings it to the disk (Rebello et al., *Can Applications Recover from fsync Failures?*, USENIX ATC 2020).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on must fail"
)]

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use keyhaven_vault_store::{
    AppendError, Index, LogEntry, RedbStore, Snapshot, Step, Store, StoreError,
};
use redb::StorageBackend;

/// What a disk writes at once.
const SECTOR: usize = 512;
const NODES: u8 = 24;

#[derive(Clone, Debug)]
enum Done {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
    Flush,
    FlushFails,
}

/// A file as it stands, and everything that was done to it.
#[derive(Clone, Debug, Default)]
struct Medium(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    file: Vec<u8>,
    done: Vec<Done>,
    /// Fails the operation with this number, and every one after it.
    fails_at: Option<usize>,
    /// Fails the flush before which there were so many, and no other.
    flush_fails: Option<usize>,
}

impl Disk {
    fn note(&mut self, done: Done) -> Result<(), std::io::Error> {
        if self.fails_at.is_some_and(|at| self.done.len() >= at) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        apply(&mut self.file, &done);
        self.done.push(done);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), std::io::Error> {
        if self.flush_fails == Some(self.flushes()) {
            self.done.push(Done::FlushFails);
            // Of this kind is what a broken disk says.
            return Err(std::io::Error::other("the disk failed"));
        }
        self.note(Done::Flush)
    }

    fn flushes(&self) -> usize {
        let is_flush = |done: &&Done| matches!(done, Done::Flush | Done::FlushFails);
        self.done.iter().filter(is_flush).count()
    }
}

fn apply(file: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Write { at, bytes } => {
            let end = at + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[*at..end].copy_from_slice(bytes);
        }
        Done::Length(length) => file.resize(*length, 0),
        Done::Flush | Done::FlushFails => {}
    }
}

impl Medium {
    fn holding(file: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            file,
            ..Disk::default()
        })))
    }

    fn done(&self) -> usize {
        self.0.lock().unwrap().done.len()
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().unwrap().file.len().try_into().unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let disk = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        let bytes = disk.file.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0
            .lock()
            .unwrap()
            .note(Done::Length(len.try_into().unwrap()))
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.lock().unwrap().flush()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let at = offset.try_into().unwrap();
        self.0.lock().unwrap().note(Done::Write {
            at,
            bytes: data.to_vec(),
        })
    }
}

fn value(index: u64) -> Vec<u8> {
    index.to_be_bytes().repeat(30)
}

fn append(store: &RedbStore, index: u64) -> Result<(), AppendError> {
    let entry = |index| LogEntry {
        index: Index::new(index),
        bytes: value(index),
    };
    let nodes: Vec<_> = (0..NODES).map(|key| (vec![key], value(index))).collect();
    let expected = index.checked_sub(1).map(entry);
    store.append(&Step::one(expected.as_ref(), &entry(index), &nodes))
}

/// The index at which the store stands whole.
fn stands_at(snapshot: &dyn Snapshot) -> u64 {
    let head = snapshot.head().unwrap().expect("an entry");
    let index = head.index.number();
    assert_eq!(head.bytes, value(index));
    let mut whole = 0;
    snapshot
        .for_each_node(&mut |_, node| {
            assert_eq!(node, value(index), "a node of another step");
            whole += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(whole, NODES, "nodes are missing");
    index
}

/// A fixed sequence of numbers that look random (the SplitMix64 of Steele, Lea and Flood).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.roll() & 1 == 1
    }
}

/// What the disk may hold of the operations since the last flush, and of those that a failed one dropped.
#[derive(Clone, Copy)]
enum Kept {
    Nothing,
    Everything,
    /// Each operation or none of it, at the toss of a coin.
    Some,
    /// Each sector of each write, at the toss of a coin.
    Torn,
}

/// Whether the first flush after each operation was one that did not fail.
fn certain(done: &[Done]) -> Vec<bool> {
    let mut is_flushed = false;
    let backwards = done.iter().rev().map(|done| {
        match done {
            Done::Flush => is_flushed = true,
            Done::FlushFails => is_flushed = false,
            Done::Write { .. } | Done::Length(_) => {}
        }
        is_flushed
    });
    let mut certain: Vec<bool> = backwards.collect();
    certain.reverse();
    certain
}

fn crashed(done: &[Done], kept: Kept, dice: &mut Dice) -> Vec<u8> {
    let mut file = Vec::new();
    for (done, is_certain) in done.iter().zip(certain(done)) {
        match (is_certain, kept) {
            (true, _) | (false, Kept::Everything) => apply(&mut file, done),
            (false, Kept::Nothing) => {}
            (false, Kept::Some) => {
                if dice.coin() {
                    apply(&mut file, done);
                }
            }
            (false, Kept::Torn) => match done {
                Done::Write { at, bytes } => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if dice.coin() {
                            let at = at + number * SECTOR;
                            apply(
                                &mut file,
                                &Done::Write {
                                    at,
                                    bytes: sector.to_vec(),
                                },
                            );
                        }
                    }
                }
                Done::Length(_) | Done::Flush | Done::FlushFails => apply(&mut file, done),
            },
        }
    }
    file
}

#[test]
fn whatever_the_disk_kept_what_was_acknowledged_stands_whole() {
    const LAST: u64 = 7;
    let medium = Medium::default();
    let store = RedbStore::open_on(medium.clone()).unwrap();
    // When each step was acknowledged, in operations.
    let mut acknowledged = Vec::new();
    for index in 0..=LAST {
        append(&store, index).unwrap();
        acknowledged.push(medium.done());
    }
    // Taken before the store is closed: a power cut leaves no time for that.
    let done = medium.0.lock().unwrap().done.clone();
    drop(store);
    let (mut dice, mut images, mut ahead) = (Dice(1), 0_u32, 0_u32);
    for cut in acknowledged[0]..=done.len() {
        let least = acknowledged.iter().filter(|at| **at <= cut).count() - 1;
        let least = u64::try_from(least).unwrap();
        let ways = [Kept::Nothing, Kept::Everything].into_iter();
        let tossed = [Kept::Some, Kept::Torn].into_iter().cycle().take(10);
        for kept in ways.chain(tossed) {
            let image = crashed(&done[..cut], kept, &mut dice);
            let store = RedbStore::open_on(Medium::holding(image)).unwrap();
            let index = stands_at(&*store.snapshot().unwrap());
            assert!(
                index == least || index == least + 1,
                "cut at {cut}: stands at {index}, but {least} was acknowledged"
            );
            ahead += u32::from(index != least);
            // And it goes on from there.
            append(&store, index + 1).unwrap();
            assert_eq!(stands_at(&*store.snapshot().unwrap()), index + 1);
            images += 1;
        }
    }
    assert!(images > 200, "only {images} crash states were looked at");
    assert!(
        ahead > 0,
        "a step that was written and not acknowledged was never met"
    );
}

/// A full or failing disk: an append that is not acknowledged leaves the step before it, or itself,
/// and what follows is refused until the store is opened anew.
#[test]
fn a_disk_that_fails_at_any_operation_loses_nothing_acknowledged() {
    let clean = Medium::default();
    let store = RedbStore::open_on(clean.clone()).unwrap();
    append(&store, 0).unwrap();
    let first = clean.done();
    append(&store, 1).unwrap();
    append(&store, 2).unwrap();
    let last = clean.done();
    drop(store);

    for fails_at in first..last {
        let medium = Medium::default();
        let store = RedbStore::open_on(medium.clone()).unwrap();
        append(&store, 0).unwrap();
        medium.0.lock().unwrap().fails_at = Some(fails_at);
        let acknowledged = (1..=2)
            .take_while(|index| append(&store, *index).is_ok())
            .count();
        assert!(acknowledged < 2, "nothing failed at {fails_at}");
        let acknowledged = u64::try_from(acknowledged).unwrap();
        assert!(append(&store, acknowledged + 2).is_err());
        let file = medium.0.lock().unwrap().file.clone();
        drop(store);
        // Space returns, and the host starts again.
        let store = RedbStore::open_on(Medium::holding(file)).unwrap();
        let index = stands_at(&*store.snapshot().unwrap());
        assert!(
            index == acknowledged || index == acknowledged + 1,
            "failed at {fails_at}"
        );
        append(&store, index + 1).unwrap();
    }
}

/// VAULT-2, VAULT-5: what a store shows when it is opened is on the disk, also what a failed flush had
/// dropped and can still be read. Whoever opens it builds on that, and acknowledges what it has built.
#[test]
fn what_a_store_shows_after_a_failed_flush_outlives_a_loss_of_power() {
    const LAST: u64 = 3;
    let clean = Medium::default();
    let store = RedbStore::open_on(clean.clone()).unwrap();
    append(&store, 0).unwrap();
    let first = clean.0.lock().unwrap().flushes();
    for index in 1..=LAST {
        append(&store, index).unwrap();
    }
    let last = clean.0.lock().unwrap().flushes();
    drop(store);

    let (mut dice, mut ahead) = (Dice(2), 0_u32);
    for fails in first..last {
        let medium = Medium::default();
        let store = RedbStore::open_on(medium.clone()).unwrap();
        append(&store, 0).unwrap();
        medium.0.lock().unwrap().flush_fails = Some(fails);
        let acknowledged = (1..=LAST)
            .take_while(|index| append(&store, *index).is_ok())
            .count();
        let acknowledged = u64::try_from(acknowledged).unwrap();
        assert!(acknowledged < LAST, "nothing failed at {fails}");
        drop(store);

        // The program starts again beside the same page cache, and goes on.
        let stopped = medium.done();
        let store = RedbStore::open_on(medium.clone()).unwrap();
        let index = stands_at(&*store.snapshot().unwrap());
        ahead += u32::from(index != acknowledged);
        let mut told = vec![(stopped, acknowledged), (medium.done(), index)];
        for index in index + 1..index + 3 {
            append(&store, index).unwrap();
            told.push((medium.done(), index));
        }
        let done = medium.0.lock().unwrap().done.clone();
        drop(store);
        for cut in told[0].0..=done.len() {
            let (_, least) = told.iter().rfind(|(at, _)| *at <= cut).unwrap();
            let ways = [Kept::Nothing, Kept::Everything].into_iter();
            let tossed = [Kept::Some, Kept::Torn].into_iter().cycle().take(6);
            for kept in ways.chain(tossed) {
                let image = crashed(&done[..cut], kept, &mut dice);
                let store = RedbStore::open_on(Medium::holding(image));
                let store = store.unwrap_or_else(|error| {
                    panic!("flush {fails} failed, cut at {cut}: {least} was shown, then: {error}")
                });
                let index = stands_at(&*store.snapshot().unwrap());
                assert!(
                    index == *least || index == least + 1,
                    "flush {fails} failed, cut at {cut}: stands at {index}, but {least} was shown"
                );
            }
        }
    }
    assert!(ahead > 0, "no start found what a failed flush dropped");
}

/// VAULT-2: the same handle shows the step before, but the step may stand when the file is opened again. So
/// it shows nothing, and nobody takes the step for one that never was.
#[test]
fn a_store_whose_flush_failed_is_not_read_back() {
    let medium = Medium::default();
    let store = RedbStore::open_on(medium.clone()).unwrap();
    append(&store, 0).unwrap();
    let flushes = medium.0.lock().unwrap().flushes();
    medium.0.lock().unwrap().flush_fails = Some(flushes);
    let appended = append(&store, 1);
    assert!(
        matches!(appended, Err(AppendError::Unknown(_))),
        "{appended:?}"
    );
    assert!(matches!(store.snapshot(), Err(StoreError::Failed { .. })));
    drop(store);
    RedbStore::open_on(medium).unwrap().snapshot().unwrap();
}

/// A store that was closed is certain: it is opened as it is. One that was not is written again from end to
/// end, and it is not opened where that fails.
#[test]
fn a_store_is_written_again_if_nobody_closed_it() {
    let medium = Medium::default();
    let store = RedbStore::open_on(medium.clone()).unwrap();
    append(&store, 0).unwrap();
    let left_open = medium.0.lock().unwrap().file.clone();
    drop(store);
    let closed = medium.0.lock().unwrap().file.clone();

    let starts_with_all_of = |file: &[u8]| {
        let medium = Medium::holding(file.to_vec());
        drop(RedbStore::open_on(medium.clone()).unwrap());
        let done = medium.0.lock().unwrap().done.clone();
        let mut written = Vec::new();
        for done in done
            .split(|done| matches!(done, Done::Flush))
            .next()
            .unwrap()
        {
            apply(&mut written, done);
        }
        written == file
    };
    assert!(starts_with_all_of(&left_open));
    assert!(!starts_with_all_of(&closed));

    let medium = Medium::holding(left_open.clone());
    medium.0.lock().unwrap().flush_fails = Some(0);
    let opened = RedbStore::open_on(medium.clone());
    assert!(
        matches!(opened, Err(StoreError::Failed { .. })),
        "{opened:?}"
    );
    assert_eq!(medium.0.lock().unwrap().file, left_open);
    let store = RedbStore::open_on(medium).unwrap();
    assert_eq!(stands_at(&*store.snapshot().unwrap()), 0);
}
