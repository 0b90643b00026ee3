//! `verify` on a damaged store: a sample that goes round finds all of it, and names each backup and each
//! file that it takes something from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keyhaven::{Cancel, Depth, Lost, LostPart, SnapshotInfo, VerifyReport};

use crate::mended::{How, damage, packs};
use crate::refused::OnDisk;
use crate::world::settle;

fn verify(world: &OnDisk, depth: Depth, snapshot: Option<&SnapshotInfo>) -> VerifyReport {
    let name = snapshot.map(|one| one.name.to_string());
    world
        .haven()
        .verify(depth, name.as_deref(), &Cancel::new(), &mut ())
        .unwrap()
}

fn sample(world: &OnDisk, share: &str) -> VerifyReport {
    verify(world, Depth::Sample(share.parse().unwrap()), None)
}

/// Three backups. Each has files that the others have not, and the oldest has an index of its own.
fn three_days() -> OnDisk {
    let world = OnDisk::new();
    std::fs::write(world.at("chats/first.bin"), vec![1; 200_000]).unwrap();
    settle();
    world.backup().unwrap();
    std::fs::remove_file(world.at("chats/first.bin")).unwrap();
    std::fs::write(world.at("chats/second.bin"), vec![2; 200_000]).unwrap();
    world
        .app
        .execute("UPDATE message SET text = 'edited' WHERE id = 9", [])
        .unwrap();
    settle();
    world.backup().unwrap();
    std::fs::remove_file(world.at("chats/second.bin")).unwrap();
    std::fs::write(world.at("chats/third.bin"), vec![3; 200_000]).unwrap();
    settle();
    world.backup().unwrap();
    world
}

fn paths(lost: &[Lost]) -> Vec<(PathBuf, LostPart)> {
    lost.iter()
        .map(|lost| (lost.path.clone(), lost.part.clone()))
        .collect()
}

/// A pack is damaged anywhere, also where nothing lies: within one round of samples it is found, and what is named for
/// each backup is what reading that backup in whole finds.
#[test]
fn samples_find_any_damaged_pack_and_name_what_it_costs_each_backup() {
    let world = three_days();
    let snapshots = world.haven().snapshots().unwrap();
    let (mut none, mut old_only, mut roots, mut files) = (0, 0, 0, 0);
    let all = packs(&world);
    for (pack, len) in &all {
        for at in [10, 300, len / 2, len - 1] {
            let good = std::fs::read(pack).unwrap();
            damage(pack, How::Flipped, at);
            let name = pack.file_name().unwrap().to_str().unwrap();
            // A fifth each time: after five all were read, the last of a round being read to its end.
            let found = (0..6)
                .map(|_| sample(&world, "20%"))
                .find(|report| !report.damaged.is_empty())
                .unwrap_or_else(|| panic!("{name} at {at} was not found"));
            assert!(!found.is_good());
            assert_eq!(found.damaged.len(), 1, "{found:?}");
            assert!(found.damaged[0].path.contains(name));
            let mut affected = 0;
            for one in &snapshots {
                let whole = verify(&world, Depth::All, Some(one)).lost;
                let told = if one.digest == found.snapshot.digest {
                    Some(&found.lost)
                } else {
                    let other = found.affected.iter();
                    other
                        .filter(|other| other.snapshot.digest == one.digest)
                        .map(|other| &other.lost)
                        .next()
                };
                let told = told.map(|lost| paths(lost)).unwrap_or_default();
                assert_eq!(told, paths(&whole), "number {} by {name}", one.sequence);
                affected += u32::from(!whole.is_empty());
                roots += u32::from(whole.iter().any(|lost| lost.part == LostPart::All));
                files += whole.len();
            }
            none += u32::from(affected == 0);
            old_only += u32::from(affected > 0 && found.lost.is_empty());
            std::fs::write(pack, good).unwrap();
        }
    }
    assert!(
        none > 0 && old_only > 0 && roots > 0 && files > 0,
        "{none} {old_only} {roots} {files}"
    );
    let report = sample(&world, "100%");
    assert!(report.is_good(), "{report:?}");
    let read = report.sample.unwrap();
    assert_eq!(read.packs, all.len() as u64);
    assert_eq!((read.packs, read.bytes), (read.of_packs, read.of_bytes));
}

/// A pack that is gone is in nobody's sample: it is missed by who needs it.
#[test]
fn a_missing_pack_is_named_with_the_backups_that_need_it() {
    let world = three_days();
    let mut named = 0;
    for (pack, _) in packs(&world) {
        let good = std::fs::read(&pack).unwrap();
        damage(&pack, How::Removed, 0);
        let report = sample(&world, "1%");
        let name = pack.file_name().unwrap().to_str().unwrap();
        if !report.lost.is_empty() {
            assert!(report.damaged[0].path.contains(name), "{report:?}");
            named += 1;
        }
        std::fs::write(&pack, good).unwrap();
    }
    assert!(named > 2, "{named}");
}

/// The share is of the store's bytes, and each run goes on where the last one stopped, also in a new process.
#[test]
fn each_sample_reads_what_the_last_ones_did_not() {
    let world = three_days();
    let store = packs(&world).len() as u64;
    let one = sample(&world, "0.001%").sample.unwrap();
    assert_eq!((one.packs, one.of_packs), (1, store));
    let read = |mark: &Path| std::fs::read(mark).unwrap();
    let mark = world.at("home/state/sampled");
    let mut seen = BTreeSet::from([read(&mark)]);
    for _ in 1..store {
        assert_eq!(sample(&world, "0.001%").sample.unwrap().packs, 1);
        assert!(seen.insert(read(&mark)), "one was read twice");
    }
    sample(&world, "0.001%");
    assert!(!seen.insert(read(&mark)), "then it begins again");
}
