//! A disk that went bad under a store: the kernel says `EIO` where a sector is gone, or everywhere once it is unplugged.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bad_disk;
use crate::world::{Ran, World, files};

const SECTOR: u64 = 4096;

/// Some packs of media, one of messages and their index.
fn world() -> World {
    let world = World::with_key();
    for number in 0..10_u64 {
        let mut bytes = vec![0; 1 << 20];
        blake3::Hasher::new()
            .update(&number.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        fs::write(world.at(&format!("chats/media/{number}.jpg")), bytes).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    world.run("backup --home home").is(0);
    world
}

fn packs(world: &World) -> BTreeMap<PathBuf, u64> {
    let packs = files(&world.at("store/packs")).into_iter();
    packs
        .map(|pack| (pack.clone(), fs::metadata(&pack).unwrap().len()))
        .collect()
}

/// Every file and what it holds; what stands beside an open database belongs to it.
fn state(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let path = |file: &PathBuf| file.strip_prefix(folder).unwrap().to_path_buf();
    files(folder)
        .iter()
        .filter(|file| !path(file).to_string_lossy().starts_with("chats.db-"))
        .map(|file| (path(file), fs::read(file).unwrap()))
        .collect()
}

fn meet(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

fn on_bad_sector(command: &Command, pack: &Path, sector: &Range<u64>) -> Ran {
    bad_disk::run(command, &|path, bytes| path == pack && meet(&bytes, sector))
}

/// BACKUP-1, BACKUP-2: one sector costs what lies in it. A restore names that and brings back the rest, `verify` names the
/// same, and the next backup sends it again, if it was told or meets it; then all comes back past that sector.
#[test]
fn a_bad_sector_costs_what_lies_in_it_and_the_next_backup_sends_that_again() {
    let world = world();
    let whole = state(&world.at("chats"));
    for folder in ["home", "store"] {
        copy(&world, folder, &format!("{folder}-before"));
    }
    let (mut files_lost, mut all_lost) = (0, 0);
    for (pack, len) in packs(&world) {
        for at in [0, len / 2 / SECTOR * SECTOR, (len - 1) / SECTOR * SECTOR] {
            let sector = at..at + SECTOR;
            let on = |line: &str| on_bad_sector(&world.command(line), &pack, &sector);
            let what = format!("{} at {at}", pack.display());
            let name = pack.file_name().unwrap().to_str().unwrap();

            let verified = on("verify --home home --depth all --json");
            let restored = on("restore --home home --to back --json");
            if verified.code == 0 {
                assert_eq!(restored.code, 0, "{what}: {restored:?}");
            } else {
                assert_eq!(verified.code, 6, "{what}: {verified:?}");
                let lost = verified.json()["lost"].clone();
                assert!(verified.out.contains(name), "{what}: {verified:?}");
                let is_all = lost[0]["kind"] == "all";
                if is_all {
                    // Its list of files is gone, and there is no older backup.
                    assert_eq!(restored.code, 1, "{what}: {restored:?}");
                    all_lost += 1;
                } else {
                    assert_eq!(restored.code, 6, "{what}: {restored:?}");
                    assert_eq!(restored.json()["lost"], lost, "{what}");
                    let back = state(&world.at("back"));
                    for (path, bytes) in &whole {
                        let is_lost = (lost.as_array().unwrap().iter())
                            .any(|one| one["path"] == path.to_str().unwrap());
                        let due = (!is_lost).then_some(bytes);
                        assert!(back.get(path) == due, "{what}: {}", path.display());
                    }
                    files_lost += 1;
                }
            }
            let next = on("backup --home home --json");
            assert_eq!(next.code, verified.code, "{what}: {next:?}");
            on("backup --home home").is(0);
            let _ = fs::remove_dir_all(world.at("back"));
            on("restore --home home --to back").is(0);
            assert!(state(&world.at("back")) == whole, "{what}: other files");
            for folder in ["home", "store"] {
                copy(&world, &format!("{folder}-before"), folder);
            }
            fs::remove_dir_all(world.at("back")).unwrap();
        }
    }
    assert!(files_lost > 1 && all_lost > 0, "{files_lost} {all_lost}");
}

/// A disk that is gone is told in one sentence, not file by file, and nothing that it held counts as damaged.
#[test]
fn a_disk_that_gives_nothing_any_more_ends_the_run() {
    let world = world();
    let whole = state(&world.at("chats"));
    fs::write(world.at("chats/media/later.jpg"), "later").unwrap();
    let before = state(&world.at("store"));
    for line in [
        "restore --home home --to back --json",
        "verify --home home --json",
        "verify --home home --depth all --json",
        "verify --home home --sample 100% --json",
        "browse files --home home --json",
        "backup --home home --json",
    ] {
        // The files that every command reads first are still in memory.
        let store = world.at("store/packs");
        let ran = bad_disk::run(&world.command(line), &|path, _| path.starts_with(&store));
        assert_eq!(ran.code, 4, "{line}: {ran:?}");
        assert_eq!(ran.json()["remedy"], "ask-user", "{line}");
        assert!(
            ran.err.contains("gives nothing any more"),
            "{line}: {ran:?}"
        );
        assert!(!ran.err.contains("lost:"), "{line}: {ran:?}");
    }
    assert!(state(&world.at("store")) == before);
    fs::remove_file(world.at("chats/media/later.jpg")).unwrap();
    world.run("verify --home home --depth all").is(0);
    world.run("restore --home home --to back").is(0);
    assert!(state(&world.at("back")) == whole);
}

/// A folder whose list the disk does not give is no store without objects: nothing is called lost, and it is said what helps.
#[test]
fn a_folder_that_cannot_be_listed_ends_the_run_and_says_what_helps() {
    let world = world();
    let before = state(&world.at("store"));
    let mut ended = 0;
    for (folder, lines) in [
        (
            "store/snapshots",
            &[
                "restore --home home --to back",
                "verify --home home",
                "backup --home home",
            ][..],
        ),
        ("store/packs", &["verify --home home --depth all"]),
    ] {
        let bad = world.at(folder);
        for line in lines {
            let command = world.command(&format!("{line} --json"));
            let ran = bad_disk::run_listing(&command, &|path| path == bad);
            assert_eq!(ran.code, 4, "{line}: {ran:?}");
            assert_eq!(ran.json()["remedy"], "ask-user", "{line}");
            assert!(
                ran.err.contains("cannot list the store at "),
                "{line}: {ran:?}"
            );
            assert!(
                ran.err.contains("let its file system be checked"),
                "{line}: {ran:?}"
            );
            assert!(!ran.err.contains("lost:"), "{line}: {ran:?}");
            ended += 1;
        }
    }
    assert_eq!(ended, 4);
    assert!(state(&world.at("store")) == before);
}

/// A snapshot lies in few sectors: one that is bad costs that backup, and the next one is whole and follows it.
#[test]
fn a_bad_sector_under_the_newest_snapshot_costs_that_backup_alone() {
    let world = world();
    let older = files(&world.at("store/snapshots"));
    fs::write(world.at("chats/media/later.jpg"), "later").unwrap();
    world.run("backup --home home").is(0);
    let mut snapshots = files(&world.at("store/snapshots")).into_iter();
    let newest = snapshots.find(|path| !older.contains(path)).unwrap();
    let on = |line: &str| on_bad_sector(&world.command(line), &newest, &(0..SECTOR));
    let name = newest.file_name().unwrap().to_str().unwrap();
    let backup = on("backup --home home --json").is(6);
    assert_eq!(backup.json()["damaged"]["snapshot"], name);
    on("backup --home home").is(0);
    on("restore --home home --to back").is(0);
    assert!(state(&world.at("back")) == state(&world.at("chats")));
}

/// Copies a folder with its modes over another.
fn copy(world: &World, from: &str, to: &str) {
    let _ = fs::remove_dir_all(world.at(to));
    let copied = Command::new("cp")
        .args(["-a", from, to])
        .current_dir(world.folder.path())
        .status();
    assert!(copied.unwrap().success());
}
