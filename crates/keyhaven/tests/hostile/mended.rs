//! A backup onto a store in which the newest backup is damaged: a whole new one is made of the source,
//! the damage is told, and the run after it has nothing to tell.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven::store::{ObjectPath, Outage, Store, StoreError};
use keyhaven::{
    BackupError, BackupOptions, BackupReport, Cancel, Depth, Keyhaven, Lost, LostPart, Notice,
    Observer, Outcome, RestoreOptions,
};
use keyhaven_hostile_store::{MemoryStore, Over, Through};
use keyhaven_secrets::Remedy;

use crate::refused::OnDisk;
use crate::world::{
    Reach, State, World, backup, copy_folder, place, read_folder, restored, rows, scratch, settle,
};

/// A frame of a pack on the disk, tags apart.
const FRAME: usize = 65_536;

/// Remembers the damaged backups that were told of.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Vec<keyhaven::DamagedBackup>);

impl Observer for Told {
    fn notice(&mut self, notice: &Notice) {
        if let Notice::DamagedBackup(damaged) = notice {
            self.0.push(damaged.clone());
        }
    }
}

/// How an object is damaged, at a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    Flipped,
    Cut,
    Removed,
}

pub(crate) fn damage(pack: &Path, how: How, at: usize) {
    let mut bytes = std::fs::read(pack).unwrap();
    match how {
        How::Flipped => bytes[at] ^= 1,
        How::Cut => bytes.truncate(at),
        How::Removed => return std::fs::remove_file(pack).unwrap(),
    }
    std::fs::write(pack, bytes).unwrap();
}

/// Home and store of a world, to be put back.
pub(crate) struct Kept(tempfile::TempDir);

impl Kept {
    pub(crate) fn of(world: &OnDisk) -> Self {
        let kept = Self(scratch());
        for part in ["home", "store"] {
            copy_folder(&world.at(part), &kept.0.path().join(part));
        }
        kept
    }

    pub(crate) fn put_back(&self, world: &OnDisk) {
        for part in ["home", "store"] {
            std::fs::remove_dir_all(world.at(part)).unwrap();
            copy_folder(&self.0.path().join(part), &world.at(part));
        }
    }
}

pub(crate) fn packs(world: &OnDisk) -> Vec<(PathBuf, usize)> {
    let folder = world.at("store/packs");
    let all = read_folder(&folder);
    all.into_iter()
        .map(|(path, bytes)| (folder.join(path), bytes.len()))
        .collect()
}

/// A restore gives what the source holds now: every file's bytes, and the database's rows.
fn is_whole(world: &OnDisk) {
    let to = scratch();
    let back = world
        .haven()
        .restore(to.path(), &RestoreOptions::default(), &mut ())
        .unwrap();
    assert_eq!(back.report.lost, []);
    let plain = |folder: &Path| -> State {
        let mut state = read_folder(folder);
        state.retain(|path, _| !path.to_string_lossy().starts_with("chats.db"));
        state
    };
    assert!(plain(to.path()) == plain(&world.at("chats")));
    let there = rusqlite::Connection::open(to.path().join("chats.db")).unwrap();
    assert_eq!(rows(&there), rows(&world.app));
}

/// What the newest backup has lost, as far as its index tells. The device does not remember it: a backup finds the damage
/// by itself.
fn look(world: &OnDisk) -> Vec<Lost> {
    let verified = world
        .haven()
        .verify(Depth::Structure, None, &Cancel::new(), &mut ());
    let _ = std::fs::remove_dir_all(world.at("home/state/suspects"));
    verified.unwrap().lost
}

fn is_root(lost: &[Lost]) -> bool {
    matches!(
        lost,
        [Lost {
            part: LostPart::All,
            ..
        }]
    )
}

/// What holds after a backup that met damage: it is told once, by the damaged backup's name; all of the source is in
/// the new one; nothing that was in the store is gone or changed; and the next run has nothing to tell.
pub(crate) fn judge(world: &OnDisk, report: &BackupReport, told: &Told, before: &State) {
    let damaged = report.damaged.clone().unwrap();
    assert_eq!(told.0.as_slice(), std::slice::from_ref(&damaged));
    assert_eq!(report.outcome, Outcome::Complete);
    assert_eq!(report.sequence, damaged.sequence + 1);
    let after = read_folder(&world.at("store"));
    for (path, bytes) in before {
        assert!(after.get(path) == Some(bytes), "{path:?} was touched");
    }
    is_whole(world);
    let verified = world
        .haven()
        .verify(Depth::All, None, &Cancel::new(), &mut ())
        .unwrap();
    assert_eq!(verified.lost, []);
    let next = world.backup().unwrap();
    assert_eq!(next.damaged, None);
    assert_eq!(next.outcome, Outcome::Unchanged);
}

/// BACKUP-1, BACKUP-2: each frame of the index damaged in each way, the root among them. Once with nothing changed
/// in the source, once with a change, which also meets the page map of the database.
#[test]
fn a_backup_onto_a_damaged_index_is_whole_and_says_so() {
    let world = OnDisk::new();
    // The page map of the database lies in this one's index, and stays there.
    world.backup().unwrap();
    std::fs::create_dir(world.at("chats/many")).unwrap();
    for number in 0..700 {
        let name = format!("chats/many/a photo of some day, number {number:04}.jpg");
        std::fs::write(world.at(&name), format!("{number} ").repeat(40)).unwrap();
    }
    settle();
    world.backup().unwrap();
    std::fs::write(world.at("chats/later.txt"), "later").unwrap();
    settle();
    world.backup().unwrap();
    let kept = Kept::of(&world);
    let mut met = BTreeSet::new();
    let mut maps = 0;
    for changed in [false, true] {
        if changed {
            world
                .app
                .execute("UPDATE message SET text = 'edited' WHERE id = 9", [])
                .unwrap();
            settle();
        }
        for (pack, len) in packs(&world) {
            let ways = (3000..len)
                .step_by(FRAME)
                .flat_map(|at| [(How::Flipped, at), (How::Cut, at)]);
            for (how, at) in ways.chain([(How::Flipped, 20), (How::Removed, 0)]) {
                damage(&pack, how, at);
                let lost = look(&world);
                let before = read_folder(&world.at("store"));
                let mut told = Told::default();
                let report = world
                    .haven()
                    .backup(BackupOptions::default(), &mut told)
                    .unwrap_or_else(|error| panic!("{pack:?} {how:?} at {at}: {error}"));
                if let Some(damaged) = &report.damaged {
                    let name = pack.file_name().unwrap().to_str().unwrap();
                    assert!(damaged.reason.contains(name), "{damaged:?} of {name}");
                    judge(&world, &report, &told, &before);
                    met.insert((how, is_root(&lost)));
                    maps += u32::from(changed && lost.len() == 1 && !is_root(&lost));
                } else {
                    // Nothing of it is read by a backup: the content of what has not changed.
                    assert_eq!(told.0, []);
                }
                kept.put_back(&world);
            }
        }
    }
    for how in [How::Flipped, How::Cut, How::Removed] {
        assert!(met.contains(&(how, true)), "no root was {how:?}: {met:?}");
    }
    assert!(met.contains(&(How::Flipped, false)), "{met:?}");
    assert!(maps > 0, "no page map was met");
}

/// BACKUP-1: what lies in packs that are gone or cut, or that do not begin as they must, is sent again, and what
/// lies in others is not.
#[test]
fn only_contents_whose_packs_are_gone_are_sent_again() {
    let world = OnDisk::new();
    for number in 0..3 {
        let name = format!("chats/large-{number}.bin");
        std::fs::write(world.at(&name), vec![number; 6 << 20]).unwrap();
    }
    settle();
    world.backup().unwrap();
    let kept = Kept::of(&world);
    let root = (packs(&world).into_iter())
        .find(|(pack, _)| {
            damage(pack, How::Removed, 0);
            let lost = look(&world);
            kept.put_back(&world);
            is_root(&lost)
        })
        .unwrap();
    let mut others = 0;
    for (pack, len) in packs(&world) {
        if pack == root.0 {
            continue;
        }
        // A pack of 8 MiB has bytes of two of the files.
        let most = if len > 1 << 20 { 15 << 20 } else { 2 << 20 };
        for (how, at) in [(How::Removed, 0), (How::Cut, len - 1), (How::Flipped, 20)] {
            damage(&root.0, How::Removed, 0);
            damage(&pack, how, at);
            let before = read_folder(&world.at("store"));
            let mut told = Told::default();
            let report = world
                .haven()
                .backup(BackupOptions::default(), &mut told)
                .unwrap();
            judge(&world, &report, &told, &before);
            assert!(report.sent_bytes < most, "{report:?}");
            others += 1;
            kept.put_back(&world);
        }
    }
    assert!(others > 2);
    damage(&root.0, How::Removed, 0);
    let report = world.backup().unwrap();
    assert!(report.sent_bytes < 2 << 20, "{report:?}");
}

/// BACKUP-2, BACKUP-4: the newest snapshot is there, and does not open. The next backup is whole and follows it, so that there
/// is one line, also for who knows only the damaged one. Where it is gone, the store went back, and nothing is written.
#[test]
fn a_newest_snapshot_that_does_not_open_is_followed_by_a_whole_backup() {
    let world = OnDisk::new();
    world.backup().unwrap();
    let folder = world.at("store/snapshots");
    let older = read_folder(&folder);
    world
        .app
        .execute("UPDATE message SET text = 'edited' WHERE id = 9", [])
        .unwrap();
    settle();
    world.backup().unwrap();
    let (newest, bytes) = (read_folder(&folder).into_iter())
        .find(|(path, _)| !older.contains_key(path))
        .unwrap();
    let newest = folder.join(newest);
    let kept = Kept::of(&world);
    for (how, at) in [
        (How::Flipped, 20),
        (How::Flipped, bytes.len() - 1),
        (How::Cut, bytes.len() - 1),
        (How::Cut, 0),
    ] {
        damage(&newest, how, at);
        let before = read_folder(&world.at("store"));
        let mut told = Told::default();
        let report = world
            .haven()
            .backup(BackupOptions::default(), &mut told)
            .unwrap_or_else(|error| panic!("{how:?} at {at}: {error}"));
        assert!(!report.damaged.as_ref().unwrap().opens);
        judge(&world, &report, &told, &before);
        let heads = world.haven().snapshots().unwrap();
        assert_eq!(heads.iter().filter(|one| one.head).count(), 1);
        // What the vault knows of the damaged one is in the line of the new one.
        std::fs::write(&newest, &bytes).unwrap();
        let heads = world.haven().snapshots().unwrap();
        assert_eq!(heads.iter().filter(|one| one.head).count(), 1);
        assert_eq!(heads[0].sequence, report.sequence);
        kept.put_back(&world);
    }
    damage(&newest, How::Removed, 0);
    let before = read_folder(&world.at("store"));
    let error = world.backup().unwrap_err();
    assert!(matches!(error, BackupError::RolledBack { .. }), "{error}");
    assert!(read_folder(&world.at("store")) == before);
}

/// The guard compares with what the damaged backup says that it held: a source that has emptied is not made the
/// newest backup unasked, and once it is accepted, what is sound of the older one is pinned.
#[test]
fn the_shrink_guard_holds_where_the_index_is_damaged() {
    let world = OnDisk::new();
    world.backup().unwrap();
    let (root, _) = (packs(&world).into_iter())
        .find(|(pack, _)| {
            let good = std::fs::read(pack).unwrap();
            damage(pack, How::Removed, 0);
            let lost = look(&world);
            std::fs::write(pack, good).unwrap();
            is_root(&lost)
        })
        .unwrap();
    damage(&root, How::Removed, 0);
    std::fs::remove_dir_all(world.at("chats/media")).unwrap();
    let refused = world.backup().unwrap_err();
    assert!(matches!(refused, BackupError::Shrunk { .. }), "{refused:?}");
    let options = BackupOptions {
        accept_shrunk: true,
        ..BackupOptions::default()
    };
    let report = world.haven().backup(options, &mut ()).unwrap();
    assert!(report.damaged.is_some());
    is_whole(&world);
    let snapshots = world.haven().snapshots().unwrap();
    let pinned: Vec<_> = snapshots.iter().filter(|one| one.pinned).collect();
    assert_eq!(pinned.len(), 1);
    assert!(!pinned[0].complete, "it is not all of what there was");
    assert_eq!(world.backup().unwrap().damaged, None);
}

/// A store that does not give one object just now.
struct Away {
    store: MemoryStore,
    object: ObjectPath,
}

impl Away {
    fn check(&self, path: &ObjectPath) -> Result<(), StoreError> {
        if *path == self.object {
            return Err(StoreError::Unreachable {
                outage: Outage::Connection,
                attempts: 1,
                pause: None,
            });
        }
        Ok(())
    }
}

impl Over for Away {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        self.check(path)?;
        self.store.get(path, range)
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.check(path)?;
        self.store.get_into(path, offset, out)
    }
}

/// A store that cannot be reached is no damage: trying again helps, and nothing is made anew.
#[test]
fn a_store_that_cannot_be_reached_is_not_taken_for_a_damaged_one() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    world.a_day_passes();
    let mut refused = 0;
    for copied in world.copies() {
        let away = Away {
            store: copied.store.clone(),
            object: copied.pack.clone(),
        };
        match backup(copied.home(), Arc::new(Through(away))) {
            Ok(report) => assert_eq!(report.damaged, None),
            Err(error) => {
                assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
                assert!(copied.store.objects().len() == world.store.objects().len());
                refused += 1;
            }
        }
        let report = backup(copied.home(), copied.at()).unwrap();
        assert_eq!(report.damaged, None);
    }
    assert!(refused > 0);
}

/// Local state that is lost is learnt again from an index that is damaged, as far as it can be read. The same by
/// rows, and from afar, where the index is also kept on the device.
#[test]
fn a_device_that_lost_its_state_makes_a_whole_backup_beside_a_damaged_one() {
    for reach in [Reach::Near, Reach::Far, Reach::ByRows] {
        let world = World::new();
        reach
            .backup(&world.home(), Arc::new(world.store.clone()))
            .unwrap();
        let whole = world.state_by(reach);
        let mut met = 0;
        for copied in world.copies() {
            std::fs::remove_dir_all(copied.home().join("state")).unwrap();
            copied.damage();
            let report = reach.backup(copied.home(), copied.at()).unwrap();
            if report.damaged.is_some() {
                assert_eq!(report.outcome, Outcome::Complete);
                let back = reach.restored(copied.home(), copied.at()).unwrap();
                assert!(back == whole, "{reach:?}");
                met += 1;
            }
        }
        assert!(met > 0, "{reach:?}");
    }
}

/// BACKUP-2: a run that is stopped by its budget keeps of the damaged backup what is sound, and the next ones end the
/// work.
#[test]
fn a_run_that_is_cut_off_beside_a_damaged_backup_goes_on() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let whole = world.state();
    let mut met = 0;
    for copied in world.copies() {
        copied.store.delete(&copied.pack).unwrap();
        let haven = Keyhaven::open_at(copied.home(), place(copied.at())).unwrap();
        let mut options = BackupOptions::default();
        options.budget.bytes = Some(1);
        let report = haven.backup(options, &mut ()).unwrap();
        if report.damaged.is_none() {
            continue;
        }
        for _ in 0..2 {
            let report = backup(copied.home(), copied.at()).unwrap();
            assert_eq!(report.damaged, None);
        }
        let back = restored(copied.home(), copied.at()).unwrap();
        assert!(back == whole);
        met += 1;
    }
    assert!(met > 0);
}
