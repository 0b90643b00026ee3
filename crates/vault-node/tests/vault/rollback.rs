//! Older files put in the place of newer ones.

use std::fs;

use keyhaven_vault_client::VaultError;

use crate::world::{House, Person, command, saved, serving};

fn refused(house: &House) -> (Option<i32>, String) {
    // If it served after all, it would stop at once, for standard input is empty.
    let output = serving(&house.data())
        .arg("--until-stdin-ends")
        .output()
        .unwrap();
    assert!(output.stdout.is_empty(), "it served");
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A stopped vault in which Ada has registered and guessed wrong once before the copies of store
/// and memory, and twice after.
struct Rolled {
    house: House,
    ada: Person,
    store: Vec<u8>,
    memory: Vec<u8>,
}

fn rolled() -> Rolled {
    let mut house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "the right one").unwrap();
    ada.guess(&house, "wrong 1").unwrap_err();
    house.stop();
    let (store, memory) = (
        saved(&house.file("store.redb")),
        saved(&house.file("core.memory")),
    );
    house.start(&[]);
    ada.guess(&house, "wrong 2").unwrap_err();
    ada.guess(&house, "wrong 3").unwrap_err();
    house.stop();
    Rolled {
        house,
        ada,
        store,
        memory,
    }
}

/// VAULT-4: a store put back beside a newer memory is never served; the newest one is, again.
#[test]
fn an_older_store_beside_a_newer_memory_is_gone_and_not_served() {
    let Rolled {
        mut house,
        mut ada,
        store,
        ..
    } = rolled();
    let newest = saved(&house.file("store.redb"));
    fs::write(house.file("store.redb"), store).unwrap();
    let (code, said) = refused(&house);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("GONE"), "{said}");
    assert_eq!(command(&["doctor"], &house.data()).status.code(), Some(5));

    fs::write(house.file("store.redb"), newest).unwrap();
    house.start(&[]);
    assert_eq!(ada.standing(&house).guesses_left, 7);
    assert!(ada.guess(&house, "the right one").unwrap().key == ada.key);
}

/// VAULT-4: nor is a store without any entry, nor none.
#[test]
fn a_missing_or_empty_store_is_gone_and_not_made_anew() {
    let Rolled { house, .. } = rolled();
    fs::remove_file(house.file("store.redb")).unwrap();
    assert_eq!(refused(&house).0, Some(5));
    fs::write(house.file("store.redb"), b"").unwrap();
    assert_eq!(refused(&house).0, Some(5));
}

/// VAULT-4, VAULT-8: another vault's store, whose log is as long, is none of this one's.
#[test]
fn the_store_of_another_vault_is_gone() {
    let Rolled { house, .. } = rolled();
    let other = rolled().house;
    fs::copy(other.file("store.redb"), house.file("store.redb")).unwrap();
    assert_eq!(refused(&house).0, Some(5));
}

/// VAULT-2: a memory that is behind, as a crash between append and memory leaves it, is led
/// forward along the log, and nothing that was spent comes back.
#[test]
fn an_older_memory_beside_a_newer_store_is_led_forward() {
    let Rolled {
        mut house,
        mut ada,
        memory,
        ..
    } = rolled();
    fs::write(house.file("core.memory"), memory).unwrap();
    house.start(&[]);
    assert_eq!(ada.standing(&house).guesses_left, 7);
    assert!(ada.guess(&house, "the right one").unwrap().key == ada.key);
}

/// VAULT-2: so is one that several starts lie behind: each start is an election, and the newest term
/// of the store is not the one of the entry that follows the old memory.
#[test]
fn an_older_memory_is_led_forward_over_several_starts() {
    let Rolled {
        mut house,
        mut ada,
        memory,
        ..
    } = rolled();
    for _ in 0..4 {
        house.start(&[]);
        assert_eq!(ada.standing(&house).guesses_left, 7);
        house.kill();
    }
    fs::write(house.file("core.memory"), memory).unwrap();
    house.start(&[]);
    assert_eq!(ada.standing(&house).guesses_left, 7);
    assert!(ada.guess(&house, "the right one").unwrap().key == ada.key);
}

/// What one machine cannot see, shown so that nobody believes otherwise: store *and* memory rolled
/// back together give the guesses since back. `docs/operating.md` says so; a group of cores on
/// several machines, or a memory that cannot be rolled back, is the answer (VAULT-1's `f`).
#[test]
fn store_and_memory_rolled_back_together_go_unnoticed_on_one_machine() {
    let Rolled {
        mut house,
        mut ada,
        store,
        memory,
    } = rolled();
    fs::write(house.file("store.redb"), store).unwrap();
    fs::write(house.file("core.memory"), memory).unwrap();
    house.start(&[]);
    assert_eq!(
        ada.standing(&house).guesses_left,
        9,
        "two guesses came back"
    );
}

#[test]
fn damaged_files_are_named_and_not_served() {
    let Rolled { house, .. } = rolled();
    let refuses = |file: &str, bytes: &[u8]| {
        fs::write(house.file(file), bytes).unwrap();
        let (code, said) = refused(&house);
        assert_eq!(code, Some(6), "{said}");
        assert!(said.contains(file), "{said}");
        assert_eq!(command(&["doctor"], &house.data()).status.code(), Some(6));
    };
    for file in ["core.secrets", "core.memory"] {
        let good = saved(&house.file(file));
        let mut bad = good.clone();
        // Both places of the memory, or the secrets in the middle.
        for at in [60, 4096 + 60] {
            if let Some(byte) = bad.get_mut(at) {
                *byte ^= 1;
            }
        }
        refuses(file, &bad);
        refuses(file, b"");
        refuses(file, &good[..100]);
        fs::write(house.file(file), good).unwrap();
    }
    let doctor = command(&["doctor"], &house.data());
    assert!(doctor.status.success(), "{doctor:?}");
}

/// VAULT-2, VAULT-3: a memory that was torn while it was written is passed over for the one before
/// it, from which the core is led forward along the store's log.
#[test]
fn a_torn_memory_is_passed_over_and_nothing_comes_back() {
    let Rolled {
        mut house, mut ada, ..
    } = rolled();
    for at in [60, 4096 + 60] {
        let mut torn = saved(&house.file("core.memory"));
        torn[at] ^= 1;
        fs::write(house.file("core.memory"), torn).unwrap();
        house.start(&[]);
        assert_eq!(ada.standing(&house).guesses_left, 7);
        house.stop();
    }
}

/// VAULT-4: a store whose bytes were bent at rest is refused, or serves what is whole. It never
/// gives anything else.
#[test]
fn a_bent_store_is_refused_or_serves_what_is_whole() {
    let Rolled {
        mut house, mut ada, ..
    } = rolled();
    let good = saved(&house.file("store.redb"));
    let memory = saved(&house.file("core.memory"));
    let mut served = 0;
    let step = good.len() / 41;
    for at in (64..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(house.file("store.redb"), bad).unwrap();
        fs::write(house.file("core.memory"), &memory).unwrap();
        let doctor = command(&["doctor"], &house.data());
        match doctor.status.code() {
            Some(5 | 6) => {}
            // Unused space, or what the engine has twice.
            Some(0) => {
                served += 1;
                house.start(&[]);
                assert_eq!(ada.standing(&house).guesses_left, 7, "byte {at}");
                house.stop();
            }
            other => panic!("byte {at}: {other:?} {doctor:?}"),
        }
    }
    assert!(served > 0, "not every byte of the file is in use");
    fs::write(house.file("store.redb"), good).unwrap();
    fs::write(house.file("core.memory"), memory).unwrap();
    house.start(&[]);
    assert!(ada.guess(&house, "the right one").unwrap().key == ada.key);
}

/// VAULT-2, VAULT-5: a disk that is full in the middle of a step stops the vault. What it had
/// acknowledged stands, what it had not is the same guess again, and nothing comes back.
#[test]
fn a_full_disk_stops_the_vault_and_loses_nothing() {
    let mut house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "the right one").unwrap();
    house.stop();
    house.start_with_files_of_at_most(300);
    let mut people = Vec::new();
    // Every account makes the store larger; the limit stands in for a volume that is full.
    let unanswered = loop {
        let mut person = house.person(&format!("person {}", people.len()));
        match person.register(&house, "walnut trapeze") {
            Ok(_) => people.push(person),
            Err(error) => break error,
        }
        assert!(people.len() < 400, "the store did not grow to its limit");
    };
    assert!(
        matches!(unanswered, VaultError::Transport(_)),
        "{unanswered:?}"
    );
    let (status, log) = house.ended();
    assert_eq!(status.code(), Some(1), "{log}");

    house.start(&[]);
    assert!(ada.guess(&house, "the right one").unwrap().key == ada.key);
    for person in &mut people {
        let recovered = person.guess(&house, "walnut trapeze").unwrap();
        assert!(recovered.key == person.key);
    }
}
