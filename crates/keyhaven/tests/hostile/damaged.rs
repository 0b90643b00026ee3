//! A store in a folder whose disk went bad here and there: only what is damaged is lost, each loss is
//! named, and all else comes back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keyhaven::{Cancel, Depth, Lost, LostPart, RestoreError, RestoreOptions, Tier};
use keyhaven_secrets::Remedy;

use crate::refused::OnDisk;
use crate::world::{State, read_folder, scratch, settle};

/// A frame of a pack on the disk, tags apart.
const FRAME: usize = 65_536;
const PACK_MAX: usize = 8 << 20;

fn packs(world: &OnDisk) -> BTreeSet<PathBuf> {
    let folder = world.at("store/packs");
    read_folder(&folder)
        .into_keys()
        .map(|path| folder.join(path))
        .collect()
}

fn restore(
    world: &OnDisk,
    options: &RestoreOptions,
) -> (State, Result<keyhaven::Restored, RestoreError>) {
    let to = scratch();
    let result = world.haven().restore(to.path(), options, &mut ());
    (read_folder(to.path()), result)
}

fn whole(world: &OnDisk) -> State {
    let (state, result) = restore(world, &RestoreOptions::default());
    assert_eq!(result.unwrap().report.lost, []);
    state
}

/// Changes a byte while `then` runs.
fn with_damage(pack: &Path, at: usize, then: impl FnOnce()) {
    let good = std::fs::read(pack).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1;
    std::fs::write(pack, bad).unwrap();
    then();
    std::fs::write(pack, good).unwrap();
}

fn covers(lost: &Lost, path: &Path) -> bool {
    match &lost.part {
        LostPart::File { .. } | LostPart::Folder => path == lost.path,
        LostPart::All => true,
        LostPart::Stretch { before } => {
            path >= lost.path && before.as_deref().is_none_or(|before| path < before)
        }
    }
}

/// What is named as lost is not there, all else is, and each loss names its size and its object.
fn judge(whole: &State, there: &State, lost: &[Lost], pack: &Path) {
    for (path, bytes) in whole {
        if lost.iter().any(|lost| covers(lost, path)) {
            assert!(!there.contains_key(path), "{path:?} stands there");
        } else {
            assert!(there.get(path) == Some(bytes), "{path:?} is not there");
        }
    }
    assert!(there.keys().all(|path| whole.contains_key(path)));
    let pack = pack.file_name().unwrap().to_str().unwrap();
    for one in lost {
        assert!(one.reason.contains(pack), "{} of {pack}", one.reason);
        if let LostPart::File { bytes } = one.part {
            assert_eq!(bytes, whole[&one.path].len() as u64);
        }
    }
}

/// A path outside the stretches loses nothing; one inside them is lost, not unknown.
fn one_by_one(world: &OnDisk, whole: &State, there: &State, lost: &[Lost]) {
    let alone = |path: &Path| {
        let path = Some(path.to_path_buf());
        restore(
            world,
            &RestoreOptions {
                path,
                ..RestoreOptions::default()
            },
        )
    };
    let is_there = there.keys().next_back().unwrap();
    let (back, result) = alone(is_there);
    assert_eq!(result.unwrap().report.lost, []);
    assert!(
        back.into_iter()
            .eq([(is_there.clone(), there[is_there].clone())])
    );
    for path in whole
        .keys()
        .filter(|path| !there.contains_key(*path))
        .step_by(97)
    {
        let (back, result) = alone(path);
        assert!(back.is_empty());
        let named = result.unwrap().report.lost;
        assert!(named.len() == 1 && covers(&named[0], path), "{named:?}");
        assert!(
            lost.iter()
                .any(|one| one.path <= named[0].path && covers(one, path))
        );
    }
}

/// BACKUP-1: one damaged frame costs what lies in it: files, or the stretch of paths whose index is
/// gone. `verify` names the same. Where the root is gone, an older backup is named that comes back.
#[test]
fn a_damaged_frame_costs_only_what_it_holds() {
    for tier in [Tier::Pages, Tier::Rows] {
        a_frame_costs_what_it_holds(&OnDisk::by(tier));
    }
}

fn a_frame_costs_what_it_holds(world: &OnDisk) {
    world.backup().unwrap();
    let first = whole(world);
    let edit = "UPDATE message SET text = 'edited' WHERE id = 9";
    world.app.execute(edit, []).unwrap();
    std::fs::create_dir(world.at("chats/many")).unwrap();
    for number in 0..2500 {
        let name = format!("chats/many/a photo of some day, number {number:04}.jpg");
        std::fs::write(world.at(&name), format!("{number} ").repeat(40)).unwrap();
    }
    world.backup().unwrap();
    let state = whole(world);
    let (mut files, mut stretches, mut roots) = (0, 0, 0);
    for pack in packs(world) {
        let len = usize::try_from(std::fs::metadata(&pack).unwrap().len()).unwrap();
        for at in (3000..len).step_by(FRAME) {
            with_damage(&pack, at, || {
                let (there, result) = restore(world, &RestoreOptions::default());
                let verified = world
                    .haven()
                    .verify(Depth::All, None, &Cancel::new(), &mut ());
                match result {
                    Ok(restored) => {
                        let lost = restored.report.lost;
                        judge(&state, &there, &lost, &pack);
                        let stretch = |lost: &&Lost| matches!(lost.part, LostPart::Stretch { .. });
                        let stretches_here = lost.iter().filter(stretch).count();
                        stretches += stretches_here;
                        files += lost.len() - stretches_here;
                        assert_eq!(verified.unwrap().lost, lost);
                        // Neighbours with one cause are told as one.
                        for pair in lost.windows(2) {
                            let ends = |lost: &Lost, at: &Path| matches!(&lost.part, LostPart::Stretch { before: Some(end) } if end == at);
                            assert!(
                                !ends(&pair[0], &pair[1].path) || pair[0].reason != pair[1].reason
                            );
                        }
                        if stretches_here > 0 {
                            one_by_one(world, &state, &there, &lost);
                        }
                    }
                    Err(RestoreError::NoRoot { other, .. }) => {
                        assert!(there.is_empty());
                        let lost = verified.unwrap().lost;
                        assert!(lost.len() == 1 && lost[0].part == LostPart::All, "{lost:?}");
                        let name = pack.file_name().unwrap().to_str().unwrap();
                        assert!(lost[0].reason.contains(name), "{lost:?}");
                        let snapshot = other.clone();
                        let older = RestoreOptions {
                            snapshot,
                            ..RestoreOptions::default()
                        };
                        let (there, result) = restore(world, &older);
                        assert_eq!(result.unwrap().report.lost, []);
                        assert!(there == first);
                        roots += 1;
                    }
                    Err(other) => panic!("{pack:?} at {at}: {other}"),
                }
            });
        }
    }
    assert!(
        files > 0 && stretches > 0 && roots > 0,
        "{files} {stretches} {roots}"
    );
}

/// BACKUP-1: a long file's list of extents lies in the index by itself: where it is damaged, that file
/// is lost and no other; and one that stands in the target already needs no list.
#[test]
fn a_damaged_list_of_extents_costs_its_file() {
    let world = OnDisk::new();
    let film = std::fs::File::create(world.at("chats/long.mp4")).unwrap();
    // More than 32 packs: the list does not stand in the file's entry.
    film.set_len(33 * PACK_MAX as u64).unwrap();
    drop(film);
    settle();
    world.backup().unwrap();
    let before = packs(&world);
    // The entry goes into a newer pack; the list stays where it is.
    std::fs::write(world.at("chats/late.txt"), "late").unwrap();
    world.backup().unwrap();
    let state = whole(&world);
    let mut by_list = 0;
    for pack in before {
        if std::fs::metadata(&pack).unwrap().len() > 1 << 20 {
            continue;
        }
        with_damage(&pack, 60, || {
            let (there, result) = restore(&world, &RestoreOptions::default());
            let lost = result.unwrap().report.lost;
            judge(&state, &there, &lost, &pack);
            let by_index = |lost: &&Lost| lost.reason.contains("index");
            let film = lost.iter().find(|lost| lost.path == Path::new("long.mp4"));
            if film.filter(by_index).is_some() {
                // The database's page map may lie in the same pack.
                let mut others = lost.clone();
                others.retain(|lost| lost.path != Path::new("long.mp4"));
                let is_database = |lost: &Lost| lost.path == Path::new("chats.db");
                assert!(others.iter().all(is_database), "{lost:?}");
                by_list += 1;
                let to = scratch();
                std::fs::copy(world.at("chats/long.mp4"), to.path().join("long.mp4")).unwrap();
                let again = world
                    .haven()
                    .restore(to.path(), &RestoreOptions::default(), &mut ())
                    .unwrap();
                assert_eq!(again.report.lost, others);
                assert_eq!(again.report.already_there, 1);
            }
        });
    }
    assert_eq!(by_list, 1);
}

/// BACKUP-1: without any backup that can be read, it is said that nothing helps, and nothing is written.
#[test]
fn a_damaged_root_without_another_backup_is_told_plainly() {
    let world = OnDisk::new();
    world.backup().unwrap();
    let mut roots = 0;
    for pack in packs(&world) {
        with_damage(&pack, 60, || {
            let (there, result) = restore(&world, &RestoreOptions::default());
            if let Err(error) = result {
                assert!(
                    matches!(error, RestoreError::NoRoot { other: None, .. }),
                    "{error:?}"
                );
                assert_eq!(error.remedy(), Remedy::Stop);
                assert!(there.is_empty());
                roots += 1;
            }
        });
    }
    assert_eq!(roots, 1);
}
