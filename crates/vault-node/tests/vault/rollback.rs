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
    for (file, at) in [
        ("core.memory", 60),
        ("core.memory", 132),
        ("core.secrets", 100),
    ] {
        let good = saved(&house.file(file));
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(house.file(file), bad).unwrap();
        let (code, said) = refused(&house);
        assert_eq!(code, Some(6), "{said}");
        assert!(said.contains(file), "{said}");
        assert_eq!(command(&["doctor"], &house.data()).status.code(), Some(6));
        fs::write(house.file(file), &good[..good.len() - 1]).unwrap();
        assert_eq!(refused(&house).0, Some(6));
        fs::write(house.file(file), good).unwrap();
    }
    let doctor = command(&["doctor"], &house.data());
    assert!(doctor.status.success(), "{doctor:?}");
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

/// VAULT-2: what cannot be remembered is not answered. The vault stops, and started again it knows
/// of the guess, whose answer the same password still gets.
#[test]
fn a_memory_that_cannot_be_written_releases_nothing_and_stops_the_vault() {
    let mut house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "the right one").unwrap();
    // A folder in the way of the file that would replace the memory, as a full disk would be.
    fs::create_dir(house.file("core.memory.next")).unwrap();
    let unanswered = ada.guess(&house, "wrong").unwrap_err();
    assert!(
        matches!(unanswered, VaultError::Transport(_)),
        "{unanswered:?}"
    );
    let (status, log) = house.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("memory"), "{log}");

    fs::remove_dir(house.file("core.memory.next")).unwrap();
    house.start(&[]);
    assert_eq!(ada.standing(&house).guesses_left, 9, "it was spent");
    let verdict = ada.guess(&house, "wrong").unwrap_err();
    assert_eq!(
        verdict,
        VaultError::WrongPassword { left: 9 },
        "and is the same guess again"
    );
}
