//! A store that is lost or damaged, put back from a backup and led forward by the tail.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::world::{House, Person, command, saved, serving};

/// A stopped vault in which Ada has registered and guessed wrong once before a backup.
struct BackedUp {
    house: House,
    ada: Person,
    place: tempfile::TempDir,
}

impl BackedUp {
    fn new() -> Self {
        let mut house = House::open();
        let mut ada = house.person("ada");
        ada.register(&house, "the right one").unwrap();
        ada.guess(&house, "wrong 1").unwrap_err();
        house.stop();
        let backed_up = Self {
            house,
            ada,
            place: tempfile::tempdir().unwrap(),
        };
        backed_up.back_up("first");
        backed_up
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn back_up(&self, name: &str) {
        let to = self.copy(name);
        let made = command(&["backup", to.to_str().unwrap()], &self.house.data());
        assert!(made.status.success(), "{made:?}");
    }

    /// The store is lost, and an operator puts a copy in its place.
    fn put_back(&self, name: &str) {
        fs::write(self.house.file("store.redb"), saved(&self.copy(name))).unwrap();
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.house.file("tail")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// It does not serve, with this exit code.
    fn refused(&self, code: i32) -> String {
        let output = serving(&self.house.data())
            .arg("--until-stdin-ends")
            .output()
            .unwrap();
        assert!(output.stdout.is_empty(), "it served");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }
}

/// VAULT-4, VAULT-5: nothing that was acknowledged after the backup is lost, and no guess comes back.
#[test]
fn a_store_put_back_from_a_backup_is_led_forward() {
    let mut world = BackedUp::new();
    world.house.start(&[]);
    world.ada.guess(&world.house, "wrong 2").unwrap_err();
    let mut bob = world.house.person("bob");
    bob.register(&world.house, "a later one").unwrap();
    world.house.kill();
    world.house.start(&[]);
    world.ada.forget_guess();
    world.ada.guess(&world.house, "wrong 3").unwrap_err();
    world.house.kill();

    for _ in 0..2 {
        world.put_back("first");
        world.house.start(&[]);
        assert_eq!(world.ada.standing(&world.house).guesses_left, 7);
        let recovered = bob.guess(&world.house, "a later one").unwrap();
        assert!(recovered.key == bob.key);
        world.house.stop();
    }
    world.put_back("first");
    let doctor = command(&["doctor"], &world.house.data());
    assert!(doctor.status.success(), "{doctor:?}");
    world.house.start(&[]);
    let recovered = world.ada.guess(&world.house, "the right one").unwrap();
    assert!(recovered.key == world.ada.key);
}

/// VAULT-4: the last backup is the one that the tail leads on from; an older one is an older store.
#[test]
fn a_backup_lets_go_of_what_it_covers() {
    let mut world = BackedUp::new();
    world.house.start(&[]);
    world.ada.guess(&world.house, "wrong 2").unwrap_err();
    world.house.stop();
    let before: u64 = world
        .segments()
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    world.back_up("second");
    let after: u64 = world
        .segments()
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(before > 4_000 && after < 200, "{before} {after}");
    let status = command(&["status"], &world.house.data());
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("backup     entry "), "{status}");

    world.house.start(&[]);
    world.ada.guess(&world.house, "wrong 3").unwrap_err();
    world.house.stop();
    world.put_back("first");
    assert!(world.refused(5).contains("GONE"));
    world.put_back("second");
    world.house.start(&[]);
    assert_eq!(world.ada.standing(&world.house).guesses_left, 7);
}

/// VAULT-5, F1: the vault is killed at any moment, and what it had acknowledged is brought back from
/// backup and tail.
#[test]
fn what_was_acknowledged_before_any_kill_is_brought_back() {
    let mut world = BackedUp::new();
    let mut left = 9;
    for round in 0..8 {
        world.house.start(&[]);
        assert_eq!(world.ada.standing(&world.house).guesses_left, left);
        let pause = Duration::from_micros(world.ada.random(9_000));
        let kill = world.house.assassin();
        let assassin = thread::spawn(move || {
            thread::sleep(pause);
            kill();
        });
        world.ada.forget_guess();
        let _ = world
            .ada
            .guess(&world.house, &format!("wrong in round {round}"));
        assassin.join().unwrap();
        world.house.ended();
        world.house.start(&[]);
        left = world.ada.standing(&world.house).guesses_left;
        world.house.kill();
        world.put_back("first");
        if left < 4 {
            break;
        }
    }
    world.house.start(&[]);
    assert_eq!(world.ada.standing(&world.house).guesses_left, left);
    let recovered = world.ada.guess(&world.house, "the right one").unwrap();
    assert!(recovered.key == world.ada.key);
}

/// VAULT-5, F2: what a crash tore of the last record is dropped; a record that was flushed and is gone or
/// damaged is told, with what to do.
#[test]
fn a_torn_record_is_dropped_and_a_damaged_one_is_told() {
    let mut world = BackedUp::new();
    world.house.start(&[]);
    world.ada.guess(&world.house, "wrong 2").unwrap_err();
    world.house.stop();
    let segment = world.segments().pop().unwrap();
    let whole = saved(&segment);
    for bad in [
        whole[..whole.len() - 1].to_vec(),
        whole[..128].to_vec(),
        [&whole[..300], &[whole[300] ^ 1], &whole[301..]].concat(),
        Vec::new(),
    ] {
        fs::write(&segment, bad).unwrap();
        let said = world.refused(6);
        assert!(said.contains("tail"), "{said}");
        assert!(said.contains("move the"), "{said}");
        let doctor = command(&["doctor"], &world.house.data());
        assert_eq!(doctor.status.code(), Some(6));
    }

    let torn = [whole.as_slice(), &whole[128..700]].concat();
    fs::write(&segment, torn).unwrap();
    world.house.start(&[]);
    assert_eq!(world.ada.standing(&world.house).guesses_left, 8);
    world.house.stop();
    assert_eq!(world.segments().len(), 2, "nothing is written behind it");
    world.put_back("first");
    world.house.start(&[]);
    assert_eq!(world.ada.standing(&world.house).guesses_left, 8);
    world.house.stop();

    // As it is told: the store is whole, and goes on without the tail.
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, b"").unwrap();
    world.refused(6);
    fs::rename(world.house.file("tail"), world.copy("moved away")).unwrap();
    world.house.start(&[]);
    assert_eq!(world.ada.standing(&world.house).guesses_left, 8);
    world.house.stop();
    world.back_up("second");
    assert_eq!(world.segments().len(), 1);
}

#[test]
fn a_backup_is_refused_where_it_would_be_none() {
    let mut world = BackedUp::new();
    let back_up = |house: &House, to: &PathBuf| {
        let output = command(&["backup", to.to_str().unwrap()], &house.data());
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = back_up(&world.house, &world.house.file("store.redb"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another disk"), "{said}");
    let nowhere = world.copy("no such folder/backup");
    assert_eq!(back_up(&world.house, &nowhere).0, Some(1));
    world.house.start(&[]);
    assert_eq!(back_up(&world.house, &world.copy("first")).0, Some(3));
    world.house.stop();
    assert_eq!(back_up(&House::closed(), &world.copy("none")).0, Some(4));
    // The copy that was there is still the last one.
    world.put_back("first");
    world.house.start(&[]);
    assert_eq!(world.ada.standing(&world.house).guesses_left, 9);
}
