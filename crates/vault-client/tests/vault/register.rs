//! Registering, cut at every step, and the host that swallows acknowledgements.

use keyhaven_secrets::{BackupKey, Remedy};
use keyhaven_vault_client::{
    DeviceSecret, Generation, Journal, MemoryJournal, RegisterBy, Slot, VaultError,
};

use crate::world::{Fault, PASSWORD, World, password};

fn key(byte: u8) -> BackupKey {
    BackupKey::from_bytes([byte; 32])
}

/// VAULT-7: whatever is cut, the same bytes are sent again and one generation is armed.
#[test]
fn a_registration_cut_anywhere_is_finished_by_the_same_bytes() {
    for fault in Fault::all(2) {
        let world = World::new();
        let mut journal = MemoryJournal::new();
        let vault = world.vault(fault);
        let entropy = &mut world.entropy();
        let first = RegisterBy::First;
        assert!(
            vault
                .register(
                    &mut journal,
                    &password(PASSWORD),
                    &key(1),
                    None,
                    first,
                    entropy
                )
                .is_err()
        );

        let again = world.vault(Fault::None);
        let finished = again.finish_registration(&mut journal, entropy).unwrap();
        match fault {
            // The first step stores nothing: there is nothing to finish, and it is begun again.
            Fault::Before(0) | Fault::After(0) => {
                assert!(finished.is_none(), "{fault:?}");
                world
                    .register(&mut journal, PASSWORD, &key(1), None, RegisterBy::First)
                    .unwrap();
            }
            Fault::None | Fault::Before(_) | Fault::After(_) | Fault::Bent => assert_eq!(
                finished.unwrap().generation,
                Generation::new(1),
                "{fault:?}"
            ),
        }
        assert!(world.guess(PASSWORD).unwrap() == key(1), "{fault:?}");
        let standing = again.standing(None, entropy).unwrap();
        assert_eq!(
            standing.generation,
            Generation::new(1),
            "{fault:?}: one generation"
        );
        assert_eq!(journal.load(Slot::Registration).unwrap(), None, "{fault:?}");
    }
}

/// VAULT-7: the finding of 2023. A host that swallows every acknowledgement gains nothing: the
/// client sends the same bytes for ever, and starts no second registration.
#[test]
fn a_host_that_swallows_acknowledgements_never_sees_a_second_registration() {
    let world = World::new();
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let first = RegisterBy::First;
    let swallowing = world.vault(Fault::After(1));
    assert!(
        swallowing
            .register(
                &mut journal,
                &password(PASSWORD),
                &key(1),
                None,
                first,
                entropy
            )
            .is_err()
    );
    for _ in 0..20 {
        let refused = world
            .register(&mut journal, PASSWORD, &key(1), None, first)
            .unwrap_err();
        assert_eq!(refused, VaultError::Unfinished);
        assert_eq!(refused.remedy(), Remedy::AskUser);
        assert!(
            world
                .vault(Fault::After(0))
                .finish_registration(&mut journal, entropy)
                .is_err()
        );
    }
    // The host spends guesses meanwhile; finishing the registration gives none of them back.
    for guess in 0..3 {
        assert!(world.guess(&format!("wrong {guess}")).is_err());
    }
    world
        .vault(Fault::None)
        .finish_registration(&mut journal, entropy)
        .unwrap()
        .unwrap();
    assert_eq!(world.left(), 7);
    assert_eq!(
        world
            .vault(Fault::None)
            .standing(None, entropy)
            .unwrap()
            .generation,
        Generation::new(1)
    );
}

#[test]
fn a_token_alone_does_not_replace_a_record() {
    let world = World::new();
    world.registered();
    let refused = world.register(
        &mut MemoryJournal::new(),
        "other",
        &key(2),
        None,
        RegisterBy::First,
    );
    assert_eq!(refused.unwrap_err(), VaultError::AlreadyRegistered);
    assert!(world.guess(PASSWORD).is_ok());
}

#[test]
fn a_proven_password_is_changed_with_a_full_budget() {
    let world = World::new();
    world.registered();
    assert!(world.guess("wrong").is_err());
    let mut journal = MemoryJournal::new();
    let vault = world.vault(Fault::None);
    let proven = vault
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap();
    let session = proven.session.unwrap();
    let by = RegisterBy::Session(&session);
    let changed = world
        .register(&mut journal, "cobalt harbour 7", &key(0x42), None, by)
        .unwrap();
    assert_eq!(changed.generation, Generation::new(2));
    assert_eq!(world.left(), 10);
    assert!(world.guess("cobalt harbour 7").unwrap() == key(0x42));
    assert!(matches!(
        world.guess(PASSWORD).unwrap_err(),
        VaultError::WrongPassword { .. }
    ));
    // The session proved the old generation's password: it is over with it.
    let again = world
        .register(&mut journal, "third", &key(1), None, by)
        .unwrap_err();
    assert_eq!(again, VaultError::SessionOver);
}

/// VAULT-3, VAULT-7: only a checked difference begins with a full budget.
#[test]
fn a_devices_new_password_inherits_what_was_spent_unless_it_is_a_different_one() {
    let world = World::new();
    let device = world.device();
    let mut journal = MemoryJournal::new();
    let first = world
        .register(
            &mut journal,
            PASSWORD,
            &key(1),
            Some(&device),
            RegisterBy::First,
        )
        .unwrap();
    let remember = |typed: &str, generation| {
        world
            .vault(Fault::None)
            .remember(&password(typed), generation, &mut world.entropy())
            .unwrap()
    };
    let remembered = remember(PASSWORD, first.generation);
    for guess in 0..4 {
        assert!(world.guess(&format!("wrong {guess}")).is_err());
    }

    let by = |different| RegisterBy::Device {
        secret: &device,
        different,
    };
    assert!(
        remembered
            .check_different(&password(PASSWORD))
            .unwrap()
            .is_none()
    );
    let again = world
        .register(&mut journal, PASSWORD, &key(1), None, by(None))
        .unwrap();
    assert_eq!(world.left(), 6, "the same password inherits");

    // What was checked against an earlier registration says nothing about this one.
    let outdated = remembered
        .check_different(&password("cobalt harbour 7"))
        .unwrap();
    assert!(outdated.is_some());
    let third = world
        .register(&mut journal, PASSWORD, &key(1), None, by(outdated))
        .unwrap();
    assert_eq!(world.left(), 6, "an outdated check is no evidence");
    assert!(again.generation < third.generation);

    let different = remember(PASSWORD, third.generation)
        .check_different(&password("cobalt harbour 7"))
        .unwrap();
    world
        .register(
            &mut journal,
            "cobalt harbour 7",
            &key(1),
            None,
            by(different),
        )
        .unwrap();
    assert_eq!(world.left(), 10, "a different one begins anew");
    assert!(world.guess("cobalt harbour 7").unwrap() == key(1));
}

#[test]
fn a_device_that_is_not_listed_cannot_register() {
    let world = World::new();
    world.registered();
    let stranger: DeviceSecret = world.device();
    let by = RegisterBy::Device {
        secret: &stranger,
        different: None,
    };
    let refused = world.register(&mut MemoryJournal::new(), "mine now", &key(9), None, by);
    assert_eq!(refused.unwrap_err(), VaultError::DeviceNotListed);
    assert!(world.guess(PASSWORD).is_ok());
}

#[test]
fn a_fresh_start_needs_its_wait_and_begins_a_new_line() {
    let world = World::new();
    world.registered();
    let vault = world.vault(Fault::None);
    let mut journal = MemoryJournal::new();
    let fresh = RegisterBy::FreshStart;
    let early = world
        .register(&mut journal, "anew 12 lagoon", &key(3), None, fresh)
        .unwrap_err();
    assert_eq!(early, VaultError::WaitNotOver { until: None });
    let until = vault.begin_fresh_start(&mut world.entropy()).unwrap();
    let early = world
        .register(&mut journal, "anew 12 lagoon", &key(3), None, fresh)
        .unwrap_err();
    assert_eq!(early, VaultError::WaitNotOver { until: Some(until) });
    world.pass(std::time::Duration::from_secs(3 * 86_400));
    let anew = world
        .register(&mut journal, "anew 12 lagoon", &key(3), None, fresh)
        .unwrap();
    assert_eq!(anew.standing.line.number(), 2);
    assert!(world.guess("anew 12 lagoon").unwrap() == key(3));
}

/// The journal is written before anything can be armed; when it cannot be, nothing is.
#[test]
fn a_registration_that_cannot_be_written_down_is_not_sent() {
    struct Full;
    impl Journal for Full {
        fn load(
            &self,
            _: Slot,
        ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, keyhaven_vault_client::JournalError>
        {
            Ok(None)
        }
        fn store(&mut self, _: Slot, _: &[u8]) -> Result<(), keyhaven_vault_client::JournalError> {
            let kind = std::io::ErrorKind::StorageFull;
            Err(keyhaven_vault_client::JournalError::Io {
                did: "written",
                kind,
            })
        }
        fn clear(&mut self, _: Slot) -> Result<(), keyhaven_vault_client::JournalError> {
            Ok(())
        }
    }
    let world = World::new();
    let vault = world.vault(Fault::None);
    let entropy = &mut world.entropy();
    let first = RegisterBy::First;
    let refused = vault.register(
        &mut Full,
        &password(PASSWORD),
        &key(1),
        None,
        first,
        entropy,
    );
    assert!(matches!(refused.unwrap_err(), VaultError::Journal(_)));
    assert_eq!(
        vault.standing(None, entropy).unwrap().generation,
        Generation::new(0)
    );
    world.registered();
    let refused = vault.recover(&mut Full, &password(PASSWORD), None, entropy);
    assert!(matches!(refused.unwrap_err(), VaultError::Journal(_)));
    assert_eq!(
        world.left(),
        10,
        "and no guess is spent that is not written down"
    );
}

#[test]
fn a_damaged_journal_is_said_to_be_damaged() {
    let world = World::new();
    let mut journal = MemoryJournal::new();
    journal.store(Slot::Registration, b"not an entry").unwrap();
    let vault = world.vault(Fault::None);
    let refused = vault
        .finish_registration(&mut journal, &mut world.entropy())
        .unwrap_err();
    assert_eq!(refused, VaultError::DamagedJournal);
    assert_eq!(refused.remedy(), Remedy::Stop);
}
