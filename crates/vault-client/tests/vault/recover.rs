//! Recovering by password, cut at every step.

use keyhaven_secrets::{BackupKey, Remedy};
use keyhaven_vault_client::{
    AccountName, Cost, MemoryJournal, NewDevice, Policy, RecordState, RegisterBy, TransportError,
    Vault, VaultError, Verdict,
};

use crate::world::{Fault, NOW, PASSWORD, World, account, password, quick};

#[test]
fn the_right_password_brings_the_key_back_and_refills_the_budget() {
    let world = World::new();
    let key = world.registered();
    assert!(world.guess("wrong").is_err());
    assert_eq!(world.left(), 9);
    assert!(world.guess(PASSWORD).unwrap() == key);
    assert_eq!(world.left(), 10);
}

/// The same words typed on another keyboard are the same password.
#[test]
fn a_password_is_the_same_however_it_was_composed() {
    let world = World::new();
    let key = BackupKey::from_bytes([1; 32]);
    let mut journal = MemoryJournal::new();
    world
        .register(
            &mut journal,
            "caf\u{e9} 9 lagoon",
            &key,
            None,
            RegisterBy::First,
        )
        .unwrap();
    assert!(world.guess("cafe\u{301} 9\u{3000}lagoon").unwrap() == key);
}

/// VAULT-1: whatever is cut, the same password with the same journal is the same guess.
#[test]
fn a_recovery_cut_anywhere_costs_one_guess_and_succeeds_when_repeated() {
    for fault in Fault::all(2) {
        let world = World::new();
        let key = world.registered();
        let mut journal = MemoryJournal::new();
        let cut = world
            .vault(fault)
            .recover(
                &mut journal,
                &password(PASSWORD),
                None,
                &mut world.entropy(),
            )
            .unwrap_err();
        assert_eq!(
            cut,
            VaultError::Transport(TransportError::Unreachable),
            "{fault:?}"
        );
        assert!(world.left() >= 9, "{fault:?}");
        let recovered = world
            .vault(Fault::None)
            .recover(
                &mut journal,
                &password(PASSWORD),
                None,
                &mut world.entropy(),
            )
            .unwrap();
        assert!(recovered.key == key, "{fault:?}");
        assert_eq!(recovered.standing.guesses_left, 10, "{fault:?}");
        // Where the answer to KE3 was lost, the guess was already proven and given back; the next one
        // is another, proven and given back as well.
        let guesses = if fault == Fault::After(1) { 2 } else { 1 };
        assert_eq!(recovered.standing.totals.answered, guesses, "{fault:?}");
        assert_eq!(recovered.standing.totals.right, guesses, "{fault:?}");
    }
}

/// VAULT-1: cut a hundred times, still one guess.
#[test]
fn a_recovery_cut_again_and_again_costs_one_guess() {
    let world = World::new();
    world.registered();
    let mut journal = MemoryJournal::new();
    for _ in 0..100 {
        let cut = world.vault(Fault::After(0)).recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        );
        assert!(cut.is_err());
    }
    assert_eq!(world.left(), 9);
}

#[test]
fn a_wrong_password_cut_anywhere_is_said_to_be_wrong_or_not_said_at_all() {
    for fault in Fault::all(2) {
        let world = World::new();
        world.registered();
        let mut journal = MemoryJournal::new();
        let wrong = |fault, journal: &mut MemoryJournal| {
            let vault = world.vault(fault);
            vault
                .recover(journal, &password("wrong"), None, &mut world.entropy())
                .unwrap_err()
        };
        let cut = wrong(fault, &mut journal);
        match fault {
            Fault::Before(1) | Fault::After(1) => {
                assert_eq!(cut, VaultError::WrongPassword { left: 9 }, "{fault:?}");
            }
            Fault::None | Fault::Before(_) | Fault::After(_) | Fault::Bent => {
                assert!(matches!(cut, VaultError::Transport(_)), "{fault:?}");
            }
        }
        assert_eq!(
            wrong(Fault::None, &mut journal),
            VaultError::WrongPassword { left: 9 }
        );
        assert_eq!(
            world.left(),
            9,
            "{fault:?}: the same mistake again costs nothing more"
        );
    }
}

#[test]
fn a_password_corrected_after_a_mistake_is_another_guess() {
    let world = World::new();
    let key = world.registered();
    let mut journal = MemoryJournal::new();
    let vault = world.vault(Fault::None);
    let entropy = &mut world.entropy();
    let wrong = vault
        .recover(&mut journal, &password("wrong"), None, entropy)
        .unwrap_err();
    assert_eq!(wrong, VaultError::WrongPassword { left: 9 });
    assert_eq!(wrong.remedy(), Remedy::AskUser);
    assert!(wrong.to_string().contains("9 guesses are left"), "{wrong}");
    let right = vault
        .recover(&mut journal, &password(PASSWORD), None, entropy)
        .unwrap();
    assert!(right.key == key);
    let verdicts: Vec<Verdict> = right
        .standing
        .attempts
        .iter()
        .map(|attempt| attempt.verdict)
        .collect();
    assert_eq!(
        verdicts,
        [Verdict::Wrong, Verdict::Right],
        "a second message was always sent"
    );
}

/// VAULT-4: after the last wrong guess the key is gone, also for the right password.
#[test]
fn the_last_wrong_guess_destroys_the_record_and_it_is_said_before() {
    let world = World::new();
    let key = BackupKey::from_bytes([0x42; 32]);
    let device = world.device();
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
    let guess = |typed: &str| {
        let vault = world.vault(Fault::None);
        let mut journal = MemoryJournal::new();
        vault.recover(
            &mut journal,
            &password(typed),
            Some(&device),
            &mut world.entropy(),
        )
    };
    for left in (1..10).rev() {
        let wrong = guess(&format!("wrong {left}")).unwrap_err();
        assert_eq!(wrong, VaultError::WrongPassword { left });
        if left == 1 {
            assert!(wrong.to_string().contains("destroyed for good"), "{wrong}");
        }
    }
    assert_eq!(
        guess("wrong for the last time").unwrap_err(),
        VaultError::Exhausted
    );
    assert_eq!(guess(PASSWORD).unwrap_err(), VaultError::Exhausted);
    assert_eq!(VaultError::Exhausted.remedy(), Remedy::Stop);
}

/// A right tenth guess still opens.
#[test]
fn the_last_guess_opens_when_it_is_right() {
    let world = World::new();
    let key = BackupKey::from_bytes([0x42; 32]);
    let device = world.device();
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
    let vault = world.vault(Fault::None);
    let entropy = &mut world.entropy();
    for attempt in 0..9 {
        let typed = password(&format!("wrong {attempt}"));
        assert!(
            vault
                .recover(&mut journal, &typed, Some(&device), entropy)
                .is_err()
        );
    }
    let right = vault
        .recover(&mut journal, &password(PASSWORD), Some(&device), entropy)
        .unwrap();
    assert!(right.key == key);
    assert_eq!(right.standing.guesses_left, 10);
}

/// A stranger with the account's token may spend seven; the last three are the owner's.
#[test]
fn the_last_guesses_are_held_for_a_listed_device_or_a_wait() {
    let world = World::new();
    let key = world.registered();
    for attempt in 0..7 {
        assert!(world.guess(&format!("wrong {attempt}")).is_err());
    }
    assert_eq!(
        world.guess(PASSWORD).unwrap_err(),
        VaultError::LastGuessesHeld { until: None }
    );
    let vault = world.vault(Fault::None);
    let until = vault.begin_last_guesses(&mut world.entropy()).unwrap();
    assert_eq!(
        world.guess(PASSWORD).unwrap_err(),
        VaultError::LastGuessesHeld { until: Some(until) }
    );
    world.pass(std::time::Duration::from_secs(3 * 86_400));
    assert!(world.guess(PASSWORD).unwrap() == key);
}

#[test]
fn an_account_without_a_record_is_told_so_plainly() {
    let world = World::new();
    let refused = world.guess(PASSWORD).unwrap_err();
    assert_eq!(
        refused,
        VaultError::NoRecord {
            state: RecordState::Vacant
        }
    );
    assert_eq!(refused.remedy(), Remedy::AskUser);
}

/// A9: a host or core that asks for less stretching than the floor is refused.
#[test]
fn a_cost_below_the_floor_is_refused() {
    let world = World::new();
    world.registered();
    let strict = Policy::default().with_resends(0, std::time::Duration::ZERO);
    let vault = world.vault_with(strict);
    let mut journal = MemoryJournal::new();
    let refused = vault
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap_err();
    let cost = Cost::parse(8, 1, 1).unwrap();
    assert_eq!(refused, VaultError::CostBelowFloor { cost });
    assert_eq!(refused.remedy(), Remedy::Stop);
}

#[test]
fn a_bent_answer_is_refused_and_costs_nothing_more() {
    let world = World::new();
    let key = world.registered();
    let mut journal = MemoryJournal::new();
    let bent = world
        .vault(Fault::Bent)
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap_err();
    assert!(matches!(bent, VaultError::Channel(_)));
    assert_eq!(bent.remedy(), Remedy::RetryLater);
    let again = world
        .vault(Fault::None)
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap();
    assert!(again.key == key);
    assert_eq!(again.standing.totals.answered, 1);
}

/// The name that is typed and the account that the login belongs to must be the same.
#[test]
fn another_accounts_name_is_not_answered() {
    let world = World::new();
    world.registered();
    let other = AccountName::parse("kwame").unwrap();
    let line = world.line(Fault::None);
    let mut memory = NewDevice::new();
    let vault = Vault::connect(&world.address(), &other, line, &mut memory, NOW, quick()).unwrap();
    let refused = vault.standing(None, &mut world.entropy()).unwrap_err();
    assert_eq!(refused, VaultError::Transport(TransportError::Unreadable));
    assert_eq!(refused.remedy(), Remedy::AskUser);
    assert_ne!(other, account());
}

/// BACKUP-3: nothing that is printed holds a password, a key or a seed.
#[test]
fn debug_output_of_a_recovery_shows_no_secret() {
    let world = World::new();
    world.registered();
    let mut journal = MemoryJournal::new();
    let vault = world.vault(Fault::None);
    let recovered = vault
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap();
    let shown = format!("{recovered:?} {vault:?} {journal:?}");
    assert!(!shown.contains("walnut"));
    assert!(!shown.contains("4242") && !shown.contains("66, 66"));
}

/// The one test with the real cost of a password: Argon2id with 64 MiB, three passes, four lanes.
#[test]
fn the_default_cost_registers_and_recovers() {
    let world = World::new();
    let policy = Policy::default();
    let vault = world.vault_with(policy);
    let mut journal = MemoryJournal::new();
    let entropy = &mut world.entropy();
    let key = BackupKey::from_bytes([7; 32]);
    let typed = password(PASSWORD);
    vault
        .register(&mut journal, &typed, &key, None, RegisterBy::First, entropy)
        .unwrap();
    assert!(
        vault
            .recover(&mut journal, &typed, None, entropy)
            .unwrap()
            .key
            == key
    );
    assert_eq!(Cost::DEFAULT, Cost::parse(65_536, 3, 4).unwrap());
}
