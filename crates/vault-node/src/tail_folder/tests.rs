//! The folder's own part: what is on the disk, and what is no part of a tail. (Its bytes, crashes and
//! damage are tested where they are made; whole vaults with real processes.)

use keyhaven_vault_core::{Core, Entry, Policy};
use keyhaven_vault_host::Puts;

use super::*;
use crate::os::SystemEntropy;

fn record() -> (FleetId, Entry, Record) {
    let (core, genesis) = Core::genesis(Policy::DEFAULT, &[], &mut SystemEntropy).unwrap();
    let record = Record {
        entries: vec![genesis.entry],
        puts: genesis.puts.into_iter().collect::<Puts>(),
    };
    (core.fleet(), genesis.entry, record)
}

#[test]
fn a_record_is_found_again_and_strange_files_are_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("tail");
    let (fleet, entry, record) = record();
    assert!(TailFolder::open(&path, fleet).unwrap().is_none());
    assert!(TailFolder::glance(&path).unwrap().is_none());

    let covered = (Index::new(7), entry.mac());
    let mut tail = TailFolder::begin(&path, fleet, covered).unwrap();
    tail.keep(&record).unwrap();
    for strange in ["0000000000000002.next", "2", "notes", "00000000000000001"] {
        fs::write(path.join(strange), b"strange").unwrap();
    }
    let tail = TailFolder::open(&path, fleet).unwrap().unwrap();
    assert_eq!(tail.find(&entry.mac()).unwrap(), Some(record));
    assert_eq!(tail.find(&Mac::from_bytes([1; 32])).unwrap(), None);
    let glance = TailFolder::glance(&path).unwrap().unwrap();
    assert_eq!(glance.covered, Some(Index::new(7)));
    assert_eq!(glance.bytes, tail.tail().bytes());

    let only_owner = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).unwrap().permissions().mode() & 0o077
    };
    assert_eq!(only_owner(&path), 0);
    assert_eq!(only_owner(&path.join("0000000000000001")), 0);

    tail.give_up().unwrap();
    assert!(!path.exists());
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn a_record_that_rots_while_the_vault_runs_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("tail");
    let (fleet, entry, record) = record();
    let mut tail = TailFolder::begin(&path, fleet, (Index::new(0), entry.mac())).unwrap();
    tail.keep(&record).unwrap();
    let file = path.join("0000000000000001");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let told = tail.find(&entry.mac());
    assert!(
        matches!(
            told,
            Err(TailFault::Tail(TailError::Damaged {
                segment: 1,
                at: 128
            }))
        ),
        "{told:?}"
    );
}
