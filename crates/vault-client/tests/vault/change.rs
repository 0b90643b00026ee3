//! Devices, the freshness note, waits and the end, cut at every step.

use keyhaven_secrets::BackupKey;
use keyhaven_vault_client::{
    By, DeviceSecret, DigestBytes, Freshness, Journal, MemoryJournal, RecordState, RegisterBy,
    Slot, VaultError, Wait,
};

use crate::world::{Fault, PASSWORD, World, password};

fn with_device() -> (World, DeviceSecret) {
    let world = World::new();
    let device = world.device();
    let key = BackupKey::from_bytes([0x42; 32]);
    world
        .register(
            &mut MemoryJournal::new(),
            PASSWORD,
            &key,
            Some(&device),
            RegisterBy::First,
        )
        .unwrap();
    (world, device)
}

fn note(sequence: u64) -> Freshness {
    Freshness {
        sequence,
        digest: DigestBytes::new([9; 32]),
    }
}

/// BACKUP-4: what a device notes, a proven session reads.
#[test]
fn the_newest_backup_is_noted_by_a_device_and_read_with_the_password() {
    let (world, device) = with_device();
    let vault = world.vault(Fault::None);
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    vault
        .note_freshness(&mut journal, note(7), By::Device(&device), entropy)
        .unwrap();
    let recovered = vault
        .recover(&mut journal, &password(PASSWORD), None, entropy)
        .unwrap();
    assert_eq!(recovered.standing.owner.unwrap().freshness, Some(note(7)));
    assert!(
        vault.standing(None, entropy).unwrap().owner.is_none(),
        "not for a token alone"
    );
}

#[test]
fn a_change_cut_anywhere_is_made_once() {
    for fault in Fault::all(2) {
        let (world, device) = with_device();
        let other = world.device().public();
        let mut journal = MemoryJournal::new();
        let entropy = &mut world.entropy();
        let by = By::Device(&device);
        let before = world
            .vault(Fault::None)
            .standing(None, entropy)
            .unwrap()
            .change;
        assert!(
            world
                .vault(fault)
                .add_device(&mut journal, other, by, entropy)
                .is_err()
        );
        let vault = world.vault(Fault::None);
        vault.finish_change(&mut journal, entropy).unwrap();
        assert_eq!(journal.load(Slot::Change).unwrap(), None);
        let standing = vault.standing(Some(&device), entropy).unwrap();
        let made = standing.owner.unwrap().devices.contains(&other);
        // The first exchange only asks for the number: cut there, nothing was begun.
        let begun = !matches!(fault, Fault::Before(0) | Fault::After(0));
        assert_eq!(made, begun, "{fault:?}");
        let after = if begun {
            before.next().unwrap()
        } else {
            before
        };
        assert_eq!(standing.change, after, "{fault:?}: made once");
    }
}

#[test]
fn an_interrupted_change_is_settled_before_the_next_one() {
    let (world, device) = with_device();
    let other = world.device().public();
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let by = By::Device(&device);
    assert!(
        world
            .vault(Fault::Before(1))
            .add_device(&mut journal, other, by, entropy)
            .is_err()
    );
    let vault = world.vault(Fault::None);
    vault
        .note_freshness(&mut journal, note(1), by, entropy)
        .unwrap();
    let owner = vault
        .standing(Some(&device), entropy)
        .unwrap()
        .owner
        .unwrap();
    assert!(owner.devices.contains(&other));
    assert_eq!(owner.freshness, Some(note(1)));
}

#[test]
fn a_change_that_another_device_has_overtaken_is_not_open_any_more() {
    let (world, device) = with_device();
    let other = world.device();
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let by = By::Device(&device);
    assert!(
        world
            .vault(Fault::Before(1))
            .note_freshness(&mut journal, note(1), by, entropy)
            .is_err()
    );
    let vault = world.vault(Fault::None);
    // Another device of the owner's changes the record meanwhile.
    vault
        .add_device(&mut MemoryJournal::new(), other.public(), by, entropy)
        .unwrap();
    vault.finish_change(&mut journal, entropy).unwrap();
    assert_eq!(journal.load(Slot::Change).unwrap(), None);
    let owner = vault
        .standing(Some(&device), entropy)
        .unwrap()
        .owner
        .unwrap();
    assert_eq!(owner.freshness, None, "the old number is spent");
}

#[test]
fn devices_are_listed_and_struck_off_by_a_device_or_a_proven_password() {
    let (world, device) = with_device();
    let other = world.device();
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let vault = world.vault(Fault::None);
    vault
        .add_device(&mut journal, other.public(), By::Device(&device), entropy)
        .unwrap();
    let proven = vault
        .recover(&mut journal, &password(PASSWORD), None, entropy)
        .unwrap();
    let session = proven.session.unwrap();
    vault
        .remove_device(
            &mut journal,
            device.public(),
            By::Session(&session),
            entropy,
        )
        .unwrap();
    let refused = vault.standing(Some(&device), entropy).unwrap_err();
    assert_eq!(refused, VaultError::DeviceNotListed);
    let owner = vault
        .standing(Some(&other), entropy)
        .unwrap()
        .owner
        .unwrap();
    assert_eq!(owner.devices, [other.public()]);
    let refused = vault.add_device(&mut journal, device.public(), By::Device(&device), entropy);
    assert_eq!(refused.unwrap_err(), VaultError::DeviceNotListed);
}

#[test]
fn a_record_lists_eight_devices_at_most() {
    let (world, device) = with_device();
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let vault = world.vault(Fault::None);
    let by = By::Device(&device);
    for _ in 0..7 {
        vault
            .add_device(&mut journal, world.device().public(), by, entropy)
            .unwrap();
    }
    let refused = vault.add_device(&mut journal, world.device().public(), by, entropy);
    assert_eq!(refused.unwrap_err(), VaultError::TooManyDevices);
}

/// VAULT-4: a deleted record is gone, and the password opens nothing any more.
#[test]
fn a_deleted_record_is_gone() {
    let (world, device) = with_device();
    let mut journal = MemoryJournal::new();
    let vault = world.vault(Fault::None);
    let standing = vault
        .delete(&mut journal, By::Device(&device), &mut world.entropy())
        .unwrap();
    assert_eq!(standing.state, RecordState::Deleted);
    assert_eq!(
        world.guess(PASSWORD).unwrap_err(),
        VaultError::NoRecord {
            state: RecordState::Deleted
        }
    );
}

#[test]
fn only_a_device_cancels_a_wait_and_twice_at_most() {
    let (world, device) = with_device();
    let vault = world.vault(Fault::None);
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let wait = Wait::FreshStart;
    let cancelled = vault.cancel_wait(&mut journal, wait, &device, entropy);
    assert_eq!(cancelled.unwrap_err(), VaultError::NoWait);
    for _ in 0..2 {
        vault.begin_fresh_start(entropy).unwrap();
        vault
            .cancel_wait(&mut journal, wait, &device, entropy)
            .unwrap();
    }
    vault.begin_fresh_start(entropy).unwrap();
    let cancelled = vault.cancel_wait(&mut journal, wait, &device, entropy);
    assert_eq!(cancelled.unwrap_err(), VaultError::CancelsSpent);
}

/// VAULT-1: beyond the lifetime cap only a listed device allows more guesses.
#[test]
fn the_lifetime_cap_is_lifted_by_a_device() {
    let policy = keyhaven_vault_core::Policy {
        lifetime_guesses: 10,
        ..keyhaven_vault_core::Policy::DEFAULT
    };
    let world = World::with_policy(policy);
    let device = world.device();
    let key = BackupKey::from_bytes([0x42; 32]);
    let mut journal = MemoryJournal::new();
    world
        .register(
            &mut journal,
            PASSWORD,
            &key,
            Some(&device),
            RegisterBy::First,
        )
        .unwrap();
    for round in 0..2 {
        for guess in 0..5 {
            assert!(world.guess(&format!("wrong {round} {guess}")).is_err());
        }
        let _ = world.guess(PASSWORD);
    }
    assert_eq!(world.guess(PASSWORD).unwrap_err(), VaultError::CapReached);
    let vault = world.vault(Fault::None);
    vault
        .lift_cap(&mut journal, &device, &mut world.entropy())
        .unwrap();
    let opened = vault
        .recover(
            &mut journal,
            &password(PASSWORD),
            Some(&device),
            &mut world.entropy(),
        )
        .unwrap();
    assert!(opened.key == key);
}
