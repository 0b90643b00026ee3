//! Objects that are longer or shorter than they were written: `verify` sees each that the backup needs, and names as lost
//! just what a restore does not bring back.

use std::fs::File;
use std::path::{Path, PathBuf};

use keyhaven::{
    Cancel, Depth, Lost, LostPart, Outcome, RestoreError, RestoreOptions, SnapshotInfo, Tier,
    VerifyReport,
};

use crate::mended::{How, Kept, damage, packs};
use crate::refused::OnDisk;
use crate::verified::{paths, three_days};
use crate::world::scratch;

/// What a restore of a backup does not bring back.
fn lost_by_restore(world: &OnDisk, snapshot: &SnapshotInfo) -> Vec<(PathBuf, LostPart)> {
    let options = RestoreOptions {
        snapshot: Some(snapshot.name.to_string()),
        ..RestoreOptions::default()
    };
    let to = scratch();
    match world.haven().restore(to.path(), &options, &mut ()) {
        Ok(back) => paths(&back.report.lost),
        Err(RestoreError::NoRoot { .. }) => vec![(PathBuf::new(), LostPart::All)],
        Err(error) => panic!("{error}"),
    }
}

fn verify(world: &OnDisk, depth: Depth) -> VerifyReport {
    world
        .haven()
        .verify(depth, None, &Cancel::new(), &mut ())
        .unwrap()
}

/// What a verification says that a backup has lost.
fn lost_by_report<'a>(report: &'a VerifyReport, snapshot: &SnapshotInfo) -> &'a [Lost] {
    if report.snapshot.digest == snapshot.digest {
        return &report.lost;
    }
    let mut others = report.affected.iter();
    others
        .find(|other| other.snapshot.digest == snapshot.digest)
        .map_or(&[], |other| &other.lost)
}

fn set_len(pack: &Path, len: u64) {
    let file = File::options().write(true).open(pack).unwrap();
    file.set_len(len).unwrap();
}

/// Lengths that a pack does not have, of all kinds: near its own, those of other packs, none, more than anybody reads.
fn other_lengths(len: u64) -> impl Iterator<Item = u64> {
    let of_all = [
        0,
        1,
        95,
        2143,
        len / 2,
        len - 65_536,
        len - 4096,
        len - 1,
        len + 1,
        len + 4096,
        256 << 10,
        384 << 10,
        8 << 20,
        50 << 30,
    ];
    of_all.into_iter().filter(move |other| *other != len)
}

/// BACKUP-4, BACKUP-1: whatever length a pack that the newest backup needs has instead of its own, a look at the structure
/// sees it; and what is named as lost, of each backup and at each depth, is what a restore loses.
#[test]
fn a_pack_of_another_length_is_seen_and_costs_what_a_restore_loses() {
    for tier in [Tier::Pages, Tier::Rows] {
        is_seen_and_costs_what_a_restore_loses(&three_days(tier));
    }
}

fn is_seen_and_costs_what_a_restore_loses(world: &OnDisk) {
    let snapshots = world.haven().snapshots().unwrap();
    let (mut needed_packs, mut costly, mut free) = (0, 0, 0);
    for (pack, len) in packs(world) {
        let good = std::fs::read(&pack).unwrap();
        damage(&pack, How::Removed, 0);
        let needed = !verify(world, Depth::Structure).is_good();
        std::fs::write(&pack, &good).unwrap();
        needed_packs += u32::from(needed);
        let name = pack.file_name().unwrap().to_str().unwrap();
        for other in other_lengths(len as u64) {
            set_len(&pack, other);
            let lost: Vec<_> = (snapshots.iter())
                .map(|snapshot| lost_by_restore(world, snapshot))
                .collect();
            let whole_store = Depth::Sample("100%".parse().unwrap());
            for depth in [Depth::Structure, Depth::All, whole_store] {
                let report = verify(world, depth);
                let sees = needed || depth == whole_store;
                assert_eq!(report.is_good(), !sees, "{depth:?}, {other} for {len}");
                if !sees {
                    continue;
                }
                let damaged: Vec<_> = report.damaged.iter().map(|one| &one.path).collect();
                assert!(
                    damaged.len() == 1 && damaged[0].contains(name),
                    "{damaged:?}"
                );
                for (snapshot, lost) in snapshots.iter().zip(&lost) {
                    let told = paths(lost_by_report(&report, snapshot));
                    let number = snapshot.sequence;
                    assert_eq!(&told, lost, "{depth:?}, number {number}, {other} for {len}");
                }
            }
            if needed {
                match lost[0].is_empty() {
                    true => free += 1,
                    false => costly += 1,
                }
            }
            std::fs::write(&pack, &good).unwrap();
        }
    }
    assert!(
        needed_packs > 3 && costly > 20 && free > 8,
        "{needed_packs} {costly} {free}"
    );
}

/// BACKUP-4: damage that costs nothing yet is mended by the next backup all the same.
#[test]
fn a_pack_of_another_length_that_costs_nothing_yet_is_mended() {
    for tier in [Tier::Pages, Tier::Rows] {
        is_mended(&three_days(tier));
    }
}

fn is_mended(world: &OnDisk) {
    let kept = Kept::of(world);
    let mut mended = 0;
    for (pack, len) in packs(world) {
        for other in [len as u64 - 1, len as u64 + 1] {
            set_len(&pack, other);
            let report = verify(world, Depth::Structure);
            if !report.is_good() {
                let backup = world.backup().unwrap();
                assert!(backup.damaged.is_some(), "{report:?}");
                assert_eq!(backup.outcome, Outcome::Complete);
                let report = verify(world, Depth::Structure);
                assert!(report.is_good(), "{report:?}");
                assert_eq!(world.backup().unwrap().outcome, Outcome::Unchanged);
                mended += 1;
            }
            kept.put_back(world);
        }
    }
    assert!(mended > 6, "{mended}");
}
