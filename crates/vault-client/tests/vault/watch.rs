//! When a device raises the alarm, and when it does not.

use keyhaven_secrets::BackupKey;
use keyhaven_vault_client::{
    Alarm, By, DeviceSecret, DigestBytes, Freshness, Known, MemoryJournal, RecordState, RegisterBy,
    Standing,
};

use crate::world::{Fault, PASSWORD, World, password};

fn watched() -> (World, DeviceSecret, Known) {
    let world = World::new();
    let device = world.device();
    let key = BackupKey::from_bytes([0x42; 32]);
    let by = RegisterBy::First;
    world
        .register(&mut MemoryJournal::new(), PASSWORD, &key, Some(&device), by)
        .unwrap();
    let known = Known::of(&standing(&world, &device), None);
    (world, device, known)
}

fn look(world: &World, device: &DeviceSecret, known: &Known) -> Option<Alarm> {
    let vault = world.vault(Fault::None);
    vault.watch(device, known, &mut world.entropy()).unwrap().1
}

fn standing(world: &World, device: &DeviceSecret) -> Standing {
    world
        .vault(Fault::None)
        .standing(Some(device), &mut world.entropy())
        .unwrap()
}

#[test]
fn guesses_and_own_changes_raise_no_alarm() {
    let (world, device, known) = watched();
    assert!(world.guess("wrong").is_err());
    assert_eq!(look(&world, &device, &known), None);
    let newest = Freshness {
        sequence: 1,
        digest: DigestBytes::new([1; 32]),
    };
    let vault = world.vault(Fault::None);
    let by = By::Device(&device);
    vault
        .note_freshness(&mut MemoryJournal::new(), newest, by, &mut world.entropy())
        .unwrap();
    assert_eq!(look(&world, &device, &known), None);
    assert_eq!(Known::decode(&known.encode()), Some(known));
}

#[test]
fn a_change_proven_by_the_password_raises_no_alarm_and_one_of_an_unknown_device_does() {
    let (world, device, known) = watched();
    let vault = world.vault(Fault::None);
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let session = vault
        .recover(&mut journal, &password(PASSWORD), None, entropy)
        .unwrap()
        .session
        .unwrap();
    let stranger = world.device();
    vault
        .add_device(
            &mut journal,
            stranger.public(),
            By::Session(&session),
            entropy,
        )
        .unwrap();
    assert_eq!(
        look(&world, &device, &known),
        None,
        "the password was proven"
    );

    let newest = Freshness {
        sequence: 1,
        digest: DigestBytes::new([1; 32]),
    };
    vault
        .note_freshness(&mut journal, newest, By::Device(&stranger), entropy)
        .unwrap();
    let key = stranger.public();
    assert_eq!(
        look(&world, &device, &known),
        Some(Alarm::UnknownDevice { key })
    );
}

#[test]
fn a_device_that_was_struck_off_says_so() {
    let (world, device, known) = watched();
    let vault = world.vault(Fault::None);
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    vault
        .remove_device(&mut journal, device.public(), By::Device(&device), entropy)
        .unwrap();
    assert_eq!(look(&world, &device, &known), Some(Alarm::NotListed));
}

/// VAULT-7: the device tells its owner; it registers nothing by itself.
#[test]
fn a_fresh_start_and_a_lost_record_are_told_plainly() {
    let (world, device, known) = watched();
    let vault = world.vault(Fault::None);
    let entropy = &mut world.entropy();
    vault.begin_fresh_start(entropy).unwrap();
    world.pass(std::time::Duration::from_secs(3 * 86_400));
    let key = BackupKey::from_bytes([6; 32]);
    let by = RegisterBy::FreshStart;
    let anew = world
        .register(&mut MemoryJournal::new(), "a thief's", &key, None, by)
        .unwrap();
    let alarm = look(&world, &device, &known).unwrap();
    assert_eq!(
        alarm,
        Alarm::LineChanged {
            line: anew.standing.line
        }
    );
    assert!(alarm.to_string().contains("never used here"), "{alarm}");

    let (world, device, known) = watched();
    let vault = world.vault(Fault::None);
    vault
        .delete(
            &mut MemoryJournal::new(),
            By::Device(&device),
            &mut world.entropy(),
        )
        .unwrap();
    assert_eq!(
        look(&world, &device, &known),
        Some(Alarm::RecordGone {
            state: RecordState::Deleted
        })
    );
}

#[test]
fn an_older_state_of_the_record_is_noticed() {
    let (world, device, before) = watched();
    let old = standing(&world, &device);
    let vault = world.vault(Fault::None);
    let mut journal = MemoryJournal::new();
    let other = world.device().public();
    vault
        .add_device(
            &mut journal,
            other,
            By::Device(&device),
            &mut world.entropy(),
        )
        .unwrap();
    let known = Known::of(&standing(&world, &device), Some(&before));
    assert_eq!(known.alarm(&old), Some(Alarm::WentBack));
}
