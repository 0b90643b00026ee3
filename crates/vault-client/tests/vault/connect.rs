//! Which vaults are believed.

use keyhaven_secrets::Remedy;
use keyhaven_vault_client::{
    AccountName, BundleError, BundleMemory, Group, NewDevice, Pin, Seen, Transport, TransportError,
    UnixSeconds, Vault, VaultAddress, VaultError,
};
use keyhaven_wire::bundle::{Bundle, Measurement, OperatorSecret};

use crate::world::{NOW, World, account, quick};

/// Serves a note, and nothing else.
struct Note(Result<String, TransportError>);

impl Transport for Note {
    fn bundle(&self) -> Result<String, TransportError> {
        self.0.clone()
    }

    fn exchange(&self, _sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        panic!("a vault that is not believed is told nothing")
    }
}

fn connect(world: &World, bundle: &Bundle, memory: &mut NewDevice) -> Result<(), VaultError> {
    let note = Note(Ok(bundle.sign(&world.operator).unwrap()));
    Vault::connect(&world.address(), &account(), note, memory, NOW, quick()).map(drop)
}

#[test]
fn a_vault_under_another_pin_is_refused_before_anything_is_said() {
    let world = World::new();
    let other = OperatorSecret::from_bytes([8; 32]).public().pin();
    let address = VaultAddress::new("http://127.0.0.1:7420", other).unwrap();
    let note = Note(Ok(world.bundle.sign(&world.operator).unwrap()));
    let refused = Vault::connect(
        &address,
        &account(),
        note,
        &mut NewDevice::new(),
        NOW,
        quick(),
    )
    .unwrap_err();
    assert_eq!(refused, VaultError::Bundle(BundleError::Pin));
    assert_eq!(refused.remedy(), Remedy::Stop);
}

/// A host that has stolen an old channel key since cannot make a device go back to it.
#[test]
fn a_bundle_older_than_one_seen_is_refused() {
    let world = World::new();
    let mut memory = NewDevice::new();
    connect(&world, &world.bundle, &mut memory).unwrap();
    let older = Bundle {
        serial: 4,
        ..world.bundle.clone()
    };
    assert_eq!(
        connect(&world, &older, &mut memory).unwrap_err(),
        VaultError::Bundle(BundleError::Older { serial: 4, seen: 5 })
    );
    let newer = Bundle {
        serial: 6,
        ..world.bundle.clone()
    };
    connect(&world, &newer, &mut memory).unwrap();
    assert!(connect(&world, &world.bundle, &mut memory).is_err());
}

/// VAULT-1: no fleet talks a client into more guesses than ten, or into a weaker group.
#[test]
fn a_vault_below_the_floor_is_refused() {
    let world = World::new();
    let generous = Bundle {
        guesses: 11,
        ..world.bundle.clone()
    };
    assert_eq!(
        connect(&world, &generous, &mut NewDevice::new()).unwrap_err(),
        VaultError::Bundle(BundleError::Budget { guesses: 11 })
    );
    let floor = Group {
        members: 3,
        quorum: 2,
        rollbacks: 0,
    };
    let note = Note(Ok(world.bundle.sign(&world.operator).unwrap()));
    let policy = quick().with_group_floor(floor);
    let refused = Vault::connect(
        &world.address(),
        &account(),
        note,
        &mut NewDevice::new(),
        NOW,
        policy,
    );
    assert!(matches!(
        refused.unwrap_err(),
        VaultError::Bundle(BundleError::Group { .. })
    ));
}

/// VAULT-1. Past fault: a minimum version that was written down and enforced by nobody. A core with a known fault,
/// another program, and one that nothing measures are all refused.
///
/// signalapp/SecureValueRecovery2 5a347b5: the least level of the platform was read from where it never stood, and
/// was not handed to cores that joined.
#[test]
fn a_core_that_the_client_does_not_accept_is_told_nothing() {
    let world = World::new();
    let accepted = [[1; 48], [2; 48]];
    let connects = |measurement: Measurement| {
        let bundle = Bundle {
            measurement,
            ..world.bundle.clone()
        };
        let note = Note(Ok(bundle.sign(&world.operator).unwrap()));
        let policy = quick().with_measurements(&accepted);
        let memory = &mut NewDevice::new();
        Vault::connect(&world.address(), &account(), note, memory, NOW, policy).map(drop)
    };
    for good in accepted {
        connects(Measurement::Sha384(good)).unwrap();
    }
    for bad in [Measurement::Sha384([3; 48]), Measurement::None] {
        let refused = connects(bad).unwrap_err();
        assert_eq!(refused, VaultError::Bundle(BundleError::Measurement));
        assert_eq!(refused.remedy(), Remedy::Stop);
    }
}

/// VAULT-4. Past fault: sequence numbers compared the wrong way, or as if they wrapped around.
///
/// signalapp/SecureValueRecovery2 8f16fa5: the difference of two unsigned epochs is never negative, so that an older one came out as newer.
#[test]
fn serials_of_bundles_only_rise() {
    let world = World::new();
    let bundle = |serial| Bundle {
        serial,
        ..world.bundle.clone()
    };
    let mut memory = NewDevice::new();
    for (serial, goes) in [
        (0, true),
        (u64::MAX / 2, true),
        (u64::MAX / 2 + 1, true),
        (1, false),
        (u64::MAX, true),
        (0, false),
        (u64::MAX - 1, false),
        (u64::MAX, true),
    ] {
        let connected = connect(&world, &bundle(serial), &mut memory);
        assert_eq!(connected.is_ok(), goes, "serial {serial}");
    }
}

#[test]
fn an_expired_bundle_asks_the_person_and_not_for_a_retry() {
    let world = World::new();
    let expired = Bundle {
        expires: UnixSeconds(NOW.0 - 1),
        ..world.bundle.clone()
    };
    let refused = connect(&world, &expired, &mut NewDevice::new()).unwrap_err();
    assert!(matches!(
        refused,
        VaultError::Bundle(BundleError::Expired { .. })
    ));
    assert_eq!(refused.remedy(), Remedy::AskUser);
}

#[test]
fn a_vault_that_cannot_be_reached_says_to_try_later() {
    let world = World::new();
    let note = Note(Err(TransportError::Unreachable));
    let mut memory = NewDevice::new();
    let refused = Vault::connect(
        &world.address(),
        &account(),
        note,
        &mut memory,
        NOW,
        quick(),
    )
    .unwrap_err();
    assert_eq!(refused, VaultError::Transport(TransportError::Unreachable));
    assert_eq!(refused.remedy(), Remedy::RetryLater);
}

#[test]
fn a_device_that_cannot_remember_the_bundle_does_not_use_the_vault() {
    struct Full;
    impl BundleMemory for Full {
        fn newest(&self, _: &Pin) -> Result<Option<Seen>, keyhaven_vault_client::MemoryError> {
            Ok(None)
        }
        fn remember(&mut self, _: &Pin, _: Seen) -> Result<(), keyhaven_vault_client::MemoryError> {
            let kind = std::io::ErrorKind::StorageFull;
            Err(keyhaven_vault_client::MemoryError::Io {
                did: "written",
                kind,
            })
        }
    }
    let world = World::new();
    let note = Note(Ok(world.bundle.sign(&world.operator).unwrap()));
    let name = AccountName::parse("amara").unwrap();
    let refused = Vault::connect(&world.address(), &name, note, &mut Full, NOW, quick());
    assert!(matches!(refused.unwrap_err(), VaultError::Memory(_)));
}
