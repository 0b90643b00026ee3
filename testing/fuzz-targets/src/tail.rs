//! What a disk does to a host's tail.

use std::cell::RefCell;
use std::collections::BTreeMap;

use keyhaven_testkit::vault::{Person, VaultWorld};
use keyhaven_vault_core::Mac;
use keyhaven_vault_host::tail::{Frame, HEADER_BYTES, Tail, TailError, TailLimits, Write};
use keyhaven_vault_host::{Puts, Record};
use keyhaven_wire::message::FleetId;

use crate::edits;

const FLEET: FleetId = FleetId::new([0xf1; 32]);
const LIMITS: TailLimits = TailLimits {
    segment_bytes: 6_000,
    tail_bytes: 1 << 20,
};
/// Records on the disk; one more is kept after each start.
const KEPT: usize = 5;

type Disk = BTreeMap<u64, Vec<u8>>;

struct Kept {
    records: Vec<Record>,
    disk: Disk,
}

impl Kept {
    fn new() -> Self {
        let mut world = VaultWorld::new(1);
        let alice = Person::new(&mut world, "alice");
        let records: Vec<Record> = (0..=KEPT)
            .map(|_| {
                let _ = alice.standing(&mut world);
                Record {
                    entries: world.log().last().copied().into_iter().collect(),
                    puts: world.store().clone(),
                }
            })
            .collect();
        let (mut tail, begin) = Tail::begin(FLEET, LIMITS, None);
        let mut disk = Disk::new();
        write(&mut disk, begin);
        for record in &records[..KEPT] {
            keep(&mut disk, &mut tail, record);
        }
        let newest = disk.last_key_value().map(|(_, bytes)| bytes.len());
        assert!(
            disk.len() > 1 && newest > Some(4_000),
            "several segments, and several records in the newest"
        );
        Self { records, disk }
    }
}

fn with_kept<T>(work: impl FnOnce(&Kept) -> T) -> T {
    thread_local!(static KEPT: RefCell<Kept> = RefCell::new(Kept::new()));
    KEPT.with(|kept| work(&kept.borrow()))
}

fn write(disk: &mut Disk, write: Write) {
    match write {
        Write::Begin { segment, bytes } => {
            assert!(disk.insert(segment, bytes).is_none(), "written over");
        }
        Write::Extend { segment, at, bytes } => {
            let file = disk.get_mut(&segment).expect("a segment");
            assert_eq!(u64::try_from(file.len()), Ok(at), "it only grows");
            file.extend(bytes);
        }
        Write::Remove { segment } => drop(disk.remove(&segment)),
    }
}

fn keep(disk: &mut Disk, tail: &mut Tail, record: &Record) {
    for each in tail.keep(record).expect("there is room") {
        write(disk, each);
    }
}

fn open(disk: &Disk) -> Result<Tail, TailError> {
    let mut opening = Tail::open(FLEET, LIMITS);
    for (segment, bytes) in disk {
        opening.segment(*segment, bytes.clone())?;
    }
    let (tail, again) = opening.done().expect("there is a segment");
    let (segment, bytes) = disk.last_key_value().expect("a segment");
    let is_newest =
        matches!(again, Write::Begin { segment: at, bytes: it } if at == *segment && it == *bytes);
    assert!(is_newest, "VAULT-5: the newest is not written again");
    Ok(tail)
}

fn read(disk: &Disk, tail: &Tail, last: &Mac) -> Option<Result<Record, TailError>> {
    let place = tail.find(last)?;
    let at = usize::try_from(place.at).expect("short");
    let end = usize::try_from(place.at + place.bytes).expect("short");
    Some(Frame::open(place, &disk[&place.segment][at..end]))
}

/// A segment of a tail with edits, a segment of any bytes, and any bytes in the place of a record with
/// checks that match. What is found was kept, to the byte (VAULT-5); what was flushed is found or its
/// loss is told, but for the last; and the tail goes on.
pub fn tail(bytes: &[u8]) {
    with_kept(|kept| {
        let (which, edit) = bytes.split_first().unwrap_or((&0, &[]));
        let mut disk = kept.disk.clone();
        let segment = u64::from(*which) % u64::try_from(disk.len()).expect("few") + 1;
        let genuine = disk[&segment].clone();
        let edited = edits::apply(&genuine, edit);
        // Of what disks do, bytes that move are no part.
        let in_place = edit
            .as_chunks::<4>()
            .0
            .iter()
            .all(|edit| (edit[0] >> 1) % 8 <= 3);
        disk.insert(segment, edited.clone());
        match open(&disk) {
            Ok(mut tail) => {
                let mut found = 0;
                for record in &kept.records[..KEPT] {
                    let last = record.last().expect("an entry").mac();
                    if let Some(again) = read(&disk, &tail, &last) {
                        assert_eq!(again.as_ref(), Ok(record), "VAULT-5: not what was kept");
                        found += 1;
                    }
                }
                assert_eq!(found, tail.count(), "VAULT-5: a record that nobody kept");
                if in_place {
                    assert!(found + 1 >= KEPT, "VAULT-5: a loss that is not told");
                }
                let more = &kept.records[KEPT];
                keep(&mut disk, &mut tail, more);
                let again = open(&disk).expect("it goes on");
                let last = more.last().expect("an entry").mac();
                assert_eq!(read(&disk, &again, &last), Some(Ok(more.clone())));
                assert_eq!(again.count(), found + 1);
            }
            Err(_) => assert!(edited != genuine, "nothing was done to it"),
        }
    });
    let _ = Tail::open(FLEET, LIMITS).segment(1, bytes.to_vec());
    framed(bytes);
}

/// Any bytes in the place of a record.
fn framed(record: &[u8]) {
    let (_, begin) = Tail::begin(FLEET, LIMITS, None);
    let mut disk = Disk::new();
    write(&mut disk, begin);
    let check = |context, parts: &[&[u8]]| {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    };
    let length = u32::try_from(record.len()).expect("short").to_be_bytes();
    let of_record = check("keyhaven v1 tail record", &[record]);
    let head = [b"KHTR".as_slice(), &length, &of_record].concat();
    let place = [1, HEADER_BYTES].map(u64::to_be_bytes).concat();
    let of_head = check("keyhaven v1 tail frame", &[&place, &head]);
    let file = disk.get_mut(&1).expect("begun");
    file.extend([head.as_slice(), &of_head[..16], record].concat());
    match open(&disk) {
        Ok(tail) => {
            assert_eq!(tail.count(), 1, "a whole frame is dropped");
            if let Ok(record) = Record::decode(record) {
                let last = record.last().expect("an entry").mac();
                assert_eq!(read(&disk, &tail, &last), Some(Ok(record)));
            }
        }
        Err(error) => {
            assert!(
                matches!(error, TailError::Record { at: 128, .. }),
                "{error}"
            );
            assert!(Record::decode(record).is_err());
        }
    }
}

/// Edits of each segment, segments, and records.
#[must_use]
pub fn tail_seeds() -> Vec<Vec<u8>> {
    with_kept(|kept| {
        let mut seeds: Vec<Vec<u8>> = kept.disk.values().cloned().collect();
        let small = Record {
            puts: Puts::new(),
            ..kept.records[0].clone()
        };
        for record in [&kept.records[0], &small] {
            seeds.extend(record.encode());
        }
        for segment in 0..kept.disk.len() {
            let segment = u8::try_from(segment).expect("few");
            // In the first kilobytes, with which a segment begins, and all over it.
            let over = (0..=255_u8).step_by(7).map(|high| vec![1, high, high, 1]);
            for edit in edits::seeds().into_iter().chain(over) {
                seeds.push([&[segment], edit.as_slice()].concat());
            }
        }
        seeds
    })
}
