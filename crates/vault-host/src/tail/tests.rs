//! What a tail holds after every crash, and what it says of damage.

use std::collections::BTreeMap;

use keyhaven_testkit::vault::{Person, VaultWorld};
use proptest::prelude::*;

use super::*;
use crate::record::Puts;

const FLEET: FleetId = FleetId::new([0xf1; 32]);
const LIMITS: TailLimits = TailLimits {
    segment_bytes: 8_000,
    tail_bytes: 64_000,
};

/// Records of one group, each on top of the one before.
fn records(count: usize) -> Vec<Record> {
    let mut world = VaultWorld::new(1);
    let alice = Person::new(&mut world, "alice");
    let mut before = world.store().clone();
    (0..count)
        .map(|_| {
            let _ = alice.standing(&mut world);
            let changed: Puts = world
                .store()
                .iter()
                .filter(|(key, bytes)| before.get(*key) != Some(*bytes))
                .map(|(key, bytes)| (*key, bytes.clone()))
                .collect();
            before.extend(changed.clone());
            Record {
                entries: vec![*world.log().last().unwrap()],
                puts: changed,
            }
        })
        .collect()
}

/// A disk: the segments by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Disk(BTreeMap<u64, Vec<u8>>);

impl Disk {
    fn write(&mut self, write: Write) {
        match write {
            Write::Begin { segment, bytes } => {
                assert!(self.0.insert(segment, bytes).is_none(), "written over");
            }
            Write::Extend { segment, at, bytes } => {
                let file = self.0.get_mut(&segment).unwrap();
                assert_eq!(file.len() as u64, at, "it only grows");
                file.extend(bytes);
            }
            Write::Remove { segment } => {
                assert!(self.0.remove(&segment).is_some());
            }
        }
    }

    fn open(&self) -> Result<Tail, TailError> {
        let mut opening = Tail::open(FLEET, LIMITS);
        for (number, bytes) in &self.0 {
            opening.segment(*number, bytes.clone())?;
        }
        let (tail, again) = opening.done().unwrap();
        // VAULT-5: the newest is written again, whole, before anything leans on it.
        let (&segment, bytes) = self.0.last_key_value().unwrap();
        let bytes = bytes.clone();
        assert_eq!(again, Write::Begin { segment, bytes });
        Ok(tail)
    }

    fn read(&self, tail: &Tail, last: &Mac) -> Option<Record> {
        let place = tail.find(last)?;
        let file = &self.0[&place.segment];
        Some(Frame::open(place, &file[range(place)]).unwrap())
    }

    fn keep(&mut self, tail: &mut Tail, record: &Record) {
        for write in tail.keep(record).unwrap() {
            self.write(write);
        }
    }
}

fn range(place: Place) -> std::ops::Range<usize> {
    let end = place.at.saturating_add(place.bytes);
    usize::try_from(place.at).unwrap()..usize::try_from(end).unwrap()
}

fn begun() -> (Disk, Tail) {
    let (tail, write) = Tail::begin(FLEET, LIMITS, None);
    let mut disk = Disk::default();
    disk.write(write);
    (disk, tail)
}

fn filled(records: &[Record]) -> (Disk, Tail) {
    let (mut disk, mut tail) = begun();
    for record in records {
        disk.keep(&mut tail, record);
    }
    (disk, tail)
}

fn mac(record: &Record) -> Mac {
    record.last().unwrap().mac()
}

/// The bytes are fixed: `docs/host-bytes.md`.
#[test]
fn the_bytes_of_a_segment_are_fixed() {
    let record = &records(1)[0];
    let (disk, _) = filled(std::slice::from_ref(record));
    let body = [
        b"KHTAIL\0\x01".as_slice(),
        &[0xf1; 32],
        &1_u64.to_be_bytes(),
        &[0; 8 + 8 + 32],
    ]
    .concat();
    let header_check = blake3::derive_key("keyhaven v1 tail segment", &body);
    let bytes = record.encode().unwrap();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let check = blake3::derive_key("keyhaven v1 tail record", &bytes);
    let head = [b"KHTR".as_slice(), &length, &check].concat();
    let place = [1_u64, 128].map(u64::to_be_bytes).concat();
    let placed = [place.as_slice(), &head].concat();
    let head_check = blake3::derive_key("keyhaven v1 tail frame", &placed);
    let golden = [&body, &header_check[..], &head, &head_check[..16], &bytes].concat();
    assert_eq!(disk.0[&1], golden);

    let covered = Some((Index::new(9), Mac::from_bytes([7; 32])));
    let header = Header {
        fleet: FLEET,
        segment: 3,
        before: 4_711,
        covered,
    };
    let bytes = header.encode();
    assert_eq!(bytes[40..48], 3_u64.to_be_bytes());
    assert_eq!(bytes[48..56], 4_711_u64.to_be_bytes());
    assert_eq!(bytes[56..64], 9_u64.to_be_bytes());
    assert_eq!(bytes[64..96], [7; 32]);
    assert_eq!(Header::decode(3, &bytes), Ok(header));
}

#[test]
fn what_was_kept_is_there_after_a_start() {
    let records = records(12);
    let (disk, tail) = filled(&records);
    assert!(disk.0.len() > 2, "several segments");
    let again = disk.open().unwrap();
    for tail in [&tail, &again] {
        assert_eq!(tail.count(), 12);
        for record in &records {
            assert_eq!(disk.read(tail, &mac(record)).as_ref(), Some(record));
        }
    }
    let bytes: usize = disk.0.values().map(Vec::len).sum();
    assert_eq!((tail.bytes(), again.bytes()), (bytes as u64, bytes as u64));
    let mut tail = again;
    assert_eq!(tail.keep(&records[3]).unwrap(), [], "it has that");
}

/// VAULT-5, F1, F2: whatever a crash leaves of the last write, what was flushed before is there, and the
/// host goes on.
#[test]
fn a_crash_in_any_write_loses_that_record_and_no_other() {
    let records = records(6);
    for count in 0..5 {
        let (disk, tail) = filled(&records[..count]);
        let writes = tail.clone().keep(&records[count]).unwrap();
        for (nth, write) in writes.iter().enumerate() {
            for kept in torn(write) {
                let mut disk = disk.clone();
                writes[..nth]
                    .iter()
                    .cloned()
                    .for_each(|write| disk.write(write));
                kept.into_iter().for_each(|write| disk.write(write));
                let mut tail = disk.open().unwrap();
                assert!((count..=count + 1).contains(&tail.count()));
                for record in &records[..count] {
                    assert_eq!(disk.read(&tail, &mac(record)).as_ref(), Some(record));
                }
                // What comes next is kept, and is found by the start after.
                disk.keep(&mut tail, &records[count]);
                disk.keep(&mut tail, &records[5]);
                let tail = disk.open().unwrap();
                for record in records[..=count].iter().chain([&records[5]]) {
                    assert_eq!(disk.read(&tail, &mac(record)).as_ref(), Some(record));
                }
            }
        }
    }
}

/// What a crash may leave of a write: nothing; for one at a file's end, a part, or sectors of it with
/// zeros between.
fn torn(write: &Write) -> Vec<Option<Write>> {
    let mut left = vec![None, Some(write.clone())];
    if let Write::Extend { segment, at, bytes } = write {
        let mut leave = |bytes: Vec<u8>| {
            left.push(Some(Write::Extend {
                segment: *segment,
                at: *at,
                bytes,
            }));
        };
        for length in (1..bytes.len())
            .step_by(bytes.len().div_ceil(97))
            .chain(1..80)
        {
            leave(bytes[..length].to_vec());
        }
        for sectors in 0..64_u32 {
            let holes = bytes.chunks(512).zip(0_u32..).flat_map(|(sector, nth)| {
                let there = sectors >> (nth % 6) & 1 == 1;
                sector.iter().map(move |byte| if there { *byte } else { 0 })
            });
            leave(holes.collect());
        }
    }
    left
}

/// VAULT-5, F3: a bit that is another is told, wherever it stands, but in the last record: that is
/// taken for torn, and a host that captured its entry sees that it lacks it.
#[test]
fn a_damaged_record_is_told_and_not_gone_by() {
    let records = records(7);
    let (disk, tail) = filled(&records);
    let last = tail.find(&mac(&records[6])).unwrap();
    let (mut told, mut dropped) = (0, 0);
    for (segment, file) in &disk.0 {
        for at in (0..file.len())
            .step_by(13)
            .chain(0..200)
            .chain(file.len() - 60..file.len())
        {
            let mut disk = disk.clone();
            disk.0.get_mut(segment).unwrap()[at] ^= 0x20;
            let in_last = *segment == last.segment && at as u64 >= last.at;
            match disk.open() {
                Err(TailError::Damaged { segment: named, .. }) => {
                    assert_eq!(named, *segment);
                    told += 1;
                }
                // The version's own byte.
                Err(TailError::Version { segment: named }) => {
                    assert_eq!((named, at), (*segment, 7));
                }
                Err(error) => panic!("{error}"),
                Ok(tail) => {
                    assert!(in_last, "byte {at} of segment {segment}");
                    assert!(tail.is_torn() && tail.find(&mac(&records[6])).is_none());
                    assert_eq!(tail.count(), 6);
                    dropped += 1;
                }
            }
        }
    }
    assert!(told > 500 && dropped > 100, "{told} {dropped}");
}

/// A flipped bit is told also where the record is read again later.
#[test]
fn a_record_that_rots_after_the_start_is_not_believed() {
    let records = records(1);
    let (mut disk, tail) = filled(&records);
    let place = tail.find(&mac(&records[0])).unwrap();
    let range = range(place);
    disk.0.get_mut(&1).unwrap()[range.clone()][100] ^= 1;
    let bytes = &disk.0[&1][range];
    let damaged = TailError::Damaged {
        segment: 1,
        at: place.at,
    };
    assert_eq!(Frame::open(place, bytes), Err(damaged));
    assert_eq!(Frame::open(place, &bytes[..40]), Err(damaged));
    let elsewhere = Place { at: 129, ..place };
    assert!(Frame::open(elsewhere, bytes).is_err());
}

#[test]
fn files_that_are_missing_cut_or_another_vaults_are_told() {
    let records = records(12);
    let (disk, _) = filled(&records);
    let newest = *disk.0.keys().last().unwrap();
    let told = |change: &dyn Fn(&mut Disk)| {
        let mut disk = disk.clone();
        change(&mut disk);
        disk.open().unwrap_err()
    };
    assert_eq!(
        told(&|disk| drop(disk.0.remove(&2))),
        TailError::Missing { segment: 2 }
    );
    let cut = told(&|disk| disk.0.get_mut(&1).unwrap().truncate(1_000));
    assert!(
        matches!(cut, TailError::Damaged { segment: 1, .. }),
        "{cut}"
    );
    let without_frame = told(&|disk| disk.0.get_mut(&1).unwrap().truncate(128));
    assert_eq!(
        without_frame,
        TailError::Damaged {
            segment: 1,
            at: 128
        }
    );
    let empty = told(&|disk| disk.0.get_mut(&newest).unwrap().clear());
    assert_eq!(
        empty,
        TailError::Damaged {
            segment: newest,
            at: 0
        }
    );
    let swapped = told(&|disk| {
        let first = disk.0[&1].clone();
        disk.0.insert(2, first);
    });
    assert_eq!(swapped, TailError::Misplaced { segment: 2 });
    let mut other = Tail::open(FleetId::new([2; 32]), LIMITS);
    let refused = other.segment(1, disk.0[&1].clone());
    assert_eq!(refused, Err(TailError::Misplaced { segment: 1 }));
    assert!(Tail::open(FLEET, LIMITS).done().is_none());
    for error in [cut, swapped] {
        assert_eq!(error.remedy(), Remedy::AskUser);
    }
}

/// VAULT-10: a tail has a bound, and what does not fit is not kept.
#[test]
fn a_full_tail_takes_no_more() {
    let records = records(30);
    let (mut disk, mut tail) = begun();
    let mut kept = 0;
    let full = loop {
        match tail.keep(&records[kept]) {
            Ok(writes) => writes.into_iter().for_each(|write| disk.write(write)),
            Err(error) => break error,
        }
        kept += 1;
    };
    assert_eq!(
        full,
        TailError::Full {
            bytes: tail.bytes()
        }
    );
    assert!(tail.bytes() <= LIMITS.tail_bytes && tail.bytes() > 60_000);
    // A backup makes room.
    let head = records[kept - 1].last().unwrap();
    for write in tail.cover((head.index(), head.mac()), true).unwrap() {
        disk.write(write);
    }
    disk.keep(&mut tail, &records[kept]);
    assert_eq!(disk.open().unwrap().count(), 1);
}

/// VAULT-5: records go once a backup covers them, and not while its newest entry may come to be on no
/// line at all.
#[test]
fn only_what_a_backup_covers_is_trimmed() {
    let records = records(12);
    let (mut disk, mut tail) = filled(&records);
    let head = |at: usize| {
        let last = records[at].last().unwrap();
        (last.index(), last.mac())
    };
    let before = disk.clone();
    assert_eq!(
        tail.cover(head(11), false),
        None,
        "nothing leads on from it"
    );
    assert_eq!((tail.count(), &disk), (12, &before));
    for write in tail.cover(head(6), false).unwrap() {
        disk.write(write);
    }
    let again = disk.open().unwrap();
    for tail in [&tail, &again] {
        assert_eq!(tail.covered(), Some(head(6)));
        for record in &records[7..] {
            assert_eq!(disk.read(tail, &mac(record)).as_ref(), Some(record));
        }
    }
    assert!(tail.find(&mac(&records[0])).is_none(), "trimmed");
    assert!(
        tail.cover(head(3), true).is_none(),
        "an older one covers less"
    );
    for write in tail.cover(head(11), true).unwrap() {
        disk.write(write);
    }
    assert_eq!((tail.count(), disk.0.len()), (0, 1));
    assert_eq!(disk.open().unwrap().covered(), tail.covered());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A1: no bytes make a start panic.
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..900), genuine in any::<bool>()) {
        let (disk, _) = begun();
        let bytes = match genuine {
            true => [disk.0[&1].as_slice(), &bytes].concat(),
            false => bytes,
        };
        let _ = Tail::open(FLEET, LIMITS).segment(1, bytes);
    }
}
