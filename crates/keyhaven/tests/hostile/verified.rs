//! `verify` on a damaged store: a sample that goes round finds all of it, and names each backup and each
//! file that it takes something from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven::{
    BackupError, BackupOptions, Cancel, Depth, Keyhaven, Lost, LostPart, Outcome, SnapshotInfo,
    Tier, VerifyReport,
};

use crate::mended::{How, Kept, Told, damage, judge, packs};
use crate::refused::OnDisk;
use crate::world::{Copied, Reach, World, backup, read_folder, restored, settle};

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
pub(crate) fn three_days(tier: Tier) -> OnDisk {
    let world = OnDisk::by(tier);
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
    world
        .app
        .execute("DELETE FROM message WHERE id = 10", [])
        .unwrap();
    settle();
    let ways = world.backup().unwrap().ways;
    let by_rows = ways.iter().any(|way| way.by_rows && way.patches == 2);
    assert_eq!(by_rows, tier == Tier::Rows);
    world
}

pub(crate) fn paths(lost: &[Lost]) -> Vec<(PathBuf, LostPart)> {
    lost.iter()
        .map(|lost| (lost.path.clone(), lost.part.clone()))
        .collect()
}

/// A pack is damaged anywhere, also where nothing lies: within one round of samples it is found, and what is named for
/// each backup is what reading that backup in whole finds.
#[test]
fn samples_find_any_damaged_pack_and_name_what_it_costs_each_backup() {
    for tier in [Tier::Pages, Tier::Rows] {
        samples_find_any(&three_days(tier));
    }
}

fn samples_find_any(world: &OnDisk) {
    let snapshots = world.haven().snapshots().unwrap();
    let (mut none, mut old_only, mut roots, mut files) = (0, 0, 0, 0);
    let all = packs(world);
    for (pack, len) in &all {
        for at in [10, 300, len / 2, len - 1] {
            let good = std::fs::read(pack).unwrap();
            damage(pack, How::Flipped, at);
            let name = pack.file_name().unwrap().to_str().unwrap();
            // A fifth each time: after five all were read, the last of a round being read to its end.
            let found = (0..6)
                .map(|_| sample(world, "20%"))
                .find(|report| !report.damaged.is_empty())
                .unwrap_or_else(|| panic!("{name} at {at} was not found"));
            assert!(!found.is_good());
            assert_eq!(found.damaged.len(), 1, "{found:?}");
            assert!(found.damaged[0].path.contains(name));
            let mut affected = 0;
            for one in &snapshots {
                let whole = verify(world, Depth::All, Some(one)).lost;
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
    let report = sample(world, "100%");
    assert!(report.is_good(), "{report:?}");
    let read = report.sample.unwrap();
    assert_eq!(read.packs, all.len() as u64);
    assert_eq!((read.packs, read.bytes), (read.of_packs, read.of_bytes));
}

/// BACKUP-1: what lies in packs that a verification found damaged is sent again by the next backup, which says so; a pack
/// that is whole again is forgotten, and one that only older backups need costs nothing.
#[test]
fn what_a_verification_found_damaged_the_next_backup_sends_again() {
    for tier in [Tier::Pages, Tier::Rows] {
        what_was_found_is_sent_again(tier);
    }
}

fn what_was_found_is_sent_again(tier: Tier) {
    let world = &three_days(tier);
    let kept = Kept::of(world);
    let (mut mended, mut older) = (0, 0);
    for (pack, len) in packs(world) {
        for (how, at) in [
            (How::Flipped, len / 2),
            (How::Flipped, 300),
            (How::Removed, 0),
        ] {
            damage(&pack, how, at);
            let found = sample(world, "100%");
            let before = read_folder(&world.at("store"));
            let mut told = Told::default();
            let report = world.backup_told(&mut told).unwrap();
            if report.damaged.is_some() {
                judge(world, &report, &told, &before);
                mended += 1;
            } else {
                assert_eq!(found.lost, []);
                assert_eq!(report.outcome, Outcome::Unchanged);
                older += 1;
            }
            assert_eq!(world.backup().unwrap().outcome, Outcome::Unchanged);
            kept.put_back(world);
        }
    }
    assert!(mended > 3 && older > 0, "{mended} {older}");

    let mut again = 0;
    for (pack, len) in packs(world) {
        let good = std::fs::read(&pack).unwrap();
        damage(&pack, How::Flipped, len / 2);
        assert!(!sample(world, "100%").is_good());
        std::fs::write(&pack, good).unwrap();
        let before = read_folder(&world.at("store"));
        let mut told = Told::default();
        let report = world.backup_told(&mut told).unwrap();
        if report.damaged.is_some() {
            judge(world, &report, &told, &before);
            again += 1;
        } else {
            assert_eq!(report.outcome, Outcome::Unchanged);
        }
        kept.put_back(world);
    }
    // Patches prove themselves only one upon the other, so what was doubted of them is sent again.
    assert_eq!(again > 0, tier == Tier::Rows, "{again}");
}

/// The same where the index is kept on the device, too: what is damaged in the store is not taken from there.
#[test]
fn what_is_damaged_in_a_far_store_is_sent_again_though_the_device_has_its_index() {
    sent_again(Reach::Far);
}

/// The same by rows: a patch, the list of them, or the pages that they stand on.
#[test]
fn what_is_damaged_of_a_database_by_rows_is_sent_again() {
    sent_again(Reach::ByRows);
}

fn sent_again(reach: Reach) {
    let world = World::new();
    for day in 0..2 {
        let store = Arc::new(world.store.clone());
        let ways = reach.backup(&world.home(), store).unwrap().ways;
        let by_rows = ways.iter().any(|way| way.by_rows);
        assert_eq!(by_rows, day == 1 && reach == Reach::ByRows);
        if day == 0 {
            world.a_day_passes();
        }
    }
    let whole = world.state_by(reach);
    let (mut mended, mut older) = (0, 0);
    for copied in world.copies() {
        copied.damage();
        let found = verified(&copied, reach);
        let report = reach.backup(copied.home(), copied.at()).unwrap();
        assert_eq!(report.damaged.is_some(), !found.lost.is_empty());
        match report.damaged {
            Some(_) => mended += 1,
            None => older += 1,
        }
        let next = reach.backup(copied.home(), copied.at()).unwrap();
        assert_eq!((next.damaged, next.outcome), (None, Outcome::Unchanged));
        let back = reach.restored(copied.home(), copied.at()).unwrap();
        assert!(back == whole);
    }
    // A day by rows stands on all of the days before it, a day by pages takes the place of some.
    let stands_on_all = reach == Reach::ByRows;
    assert!(mended > 3, "{mended}");
    assert_eq!(older == 0, stands_on_all, "{older}");
}

fn verified(copied: &Copied, reach: Reach) -> VerifyReport {
    let haven = Keyhaven::open_at(copied.home(), reach.place(copied.at())).unwrap();
    haven
        .verify(Depth::All, None, &Cancel::new(), &mut ())
        .unwrap()
}

/// BACKUP-1: a run that ends early has mended nothing: what was found damaged is sent again by the one that comes to its end.
#[test]
fn a_run_that_ends_early_forgets_nothing_of_what_was_found_damaged() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let whole = world.state();
    for copied in world.copies() {
        copied.damage();
        assert!(!verified(&copied, Reach::Near).lost.is_empty());
        let options = BackupOptions::default();
        options.cancel.cancel();
        let haven = Keyhaven::open_at(copied.home(), Reach::Near.place(copied.at())).unwrap();
        let mut told = Told::default();
        let error = haven.backup(options, &mut told).unwrap_err();
        assert!(matches!(error, BackupError::Cancelled), "{error}");
        haven.backup(BackupOptions::default(), &mut told).unwrap();
        assert_eq!(told.0.len(), 1, "{}", copied.pack);
        assert!(restored(copied.home(), copied.at()).unwrap() == whole);
    }
}

/// A pack that is gone is in nobody's sample: it is missed by who needs it.
#[test]
fn a_missing_pack_is_named_with_the_backups_that_need_it() {
    let world = three_days(Tier::Pages);
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
    let world = three_days(Tier::Pages);
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
