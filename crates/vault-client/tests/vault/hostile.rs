//! Vaults that race, break their protocol, or keep something else than was sealed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyhaven_secrets::{BackupKey, Remedy};
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_client::{
    By, DeviceSecret, DigestBytes, Freshness, MemoryJournal, NewDevice, RegisterBy, Transport,
    TransportError, Vault, VaultError,
};
use keyhaven_wire::bundle::Bundle;
use keyhaven_wire::channel::{self, ChannelKey, Sealed};
use keyhaven_wire::message::{
    Followup, Generation, HostTime, LeafIndex, Outcome, RegisterAuthority, RegisterFinish,
    RegistrationId, Reply, Request, Standing, WrappedKey,
};
use keyhaven_wire::opaque::{Cost, Parties, client};
use keyhaven_wire::suite::Standard;

use crate::world::{Fault, Line, NOW, PASSWORD, World, account, password, quick};

fn key() -> BackupKey {
    BackupKey::from_bytes([0x42; 32])
}

/// A line on which something happens just before one exchange.
struct Racing<'a, F> {
    line: Line<'a>,
    before: u64,
    happens: F,
    exchanges: AtomicU64,
}

impl<F: Fn() + Send + Sync> Transport for Racing<'_, F> {
    fn bundle(&self) -> Result<String, TransportError> {
        self.line.bundle()
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        if self.exchanges.fetch_add(1, Ordering::Relaxed) == self.before {
            (self.happens)();
        }
        self.line.exchange(sealed)
    }
}

fn racing<'a, F: Fn() + Send + Sync>(
    world: &'a World,
    before: u64,
    happens: F,
) -> Vault<Racing<'a, F>> {
    let line = world.line(Fault::None);
    let racing = Racing {
        line,
        before,
        happens,
        exchanges: AtomicU64::new(0),
    };
    let mut memory = NewDevice::new();
    Vault::connect(
        &world.address(),
        &account(),
        racing,
        &mut memory,
        NOW,
        quick(),
    )
    .unwrap()
}

fn with_device() -> (World, DeviceSecret) {
    let world = World::new();
    let device = world.device();
    let mut journal = MemoryJournal::new();
    world
        .register(
            &mut journal,
            PASSWORD,
            &key(),
            Some(&device),
            RegisterBy::First,
        )
        .unwrap();
    (world, device)
}

fn anew(world: &World, device: &DeviceSecret, typed: &str) {
    let by = RegisterBy::Device {
        secret: device,
        different: None,
    };
    world
        .register(&mut MemoryJournal::new(), typed, &key(), None, by)
        .unwrap();
}

#[test]
fn two_devices_that_change_at_once_are_told_apart() {
    let (world, device) = with_device();
    let other = world.device().public();
    let by = By::Device(&device);
    let vault = racing(&world, 1, || {
        let vault = world.vault(Fault::None);
        vault
            .add_device(&mut MemoryJournal::new(), other, by, &mut world.entropy())
            .unwrap();
    });
    let mut journal = MemoryJournal::new();
    let newest = Freshness {
        sequence: 1,
        digest: DigestBytes::new([1; 32]),
    };
    let refused = vault.note_freshness(&mut journal, newest, by, &mut world.entropy());
    let refused = refused.unwrap_err();
    assert_eq!(refused, VaultError::Overtaken);
    assert_eq!(refused.remedy(), Remedy::RetryLater);
    // Nothing is left open: the same call succeeds now.
    vault
        .note_freshness(&mut journal, newest, by, &mut world.entropy())
        .unwrap();
}

/// VAULT-4: a generation that was replaced releases nothing, also to a guess under way.
#[test]
fn a_guess_at_a_generation_that_is_replaced_meanwhile_is_overtaken() {
    let (world, device) = with_device();
    let vault = racing(&world, 1, || anew(&world, &device, "cobalt harbour 7"));
    let mut journal = MemoryJournal::new();
    let overtaken = vault
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap_err();
    assert_eq!(overtaken, VaultError::Overtaken);
    let new = password("cobalt harbour 7");
    assert!(
        vault
            .recover(&mut journal, &new, None, &mut world.entropy())
            .is_ok()
    );
}

/// VAULT-4, VAULT-7: the interrupted registration is stale; it is not made, and not made again.
#[test]
fn a_registration_that_the_record_has_moved_past_is_lost_and_said_so() {
    let (world, device) = with_device();
    let by = RegisterBy::Device {
        secret: &device,
        different: None,
    };
    let mut journal = MemoryJournal::new();
    let cut = world.vault(Fault::Before(1));
    let typed = password("interrupted 1");
    let entropy = &mut world.entropy();
    assert!(
        cut.register(&mut journal, &typed, &key(), None, by, entropy)
            .is_err()
    );
    anew(&world, &device, "cobalt harbour 7");
    let vault = world.vault(Fault::None);
    let lost = vault
        .finish_registration(&mut journal, entropy)
        .unwrap_err();
    assert_eq!(lost, VaultError::RegistrationLost);
    assert_eq!(lost.remedy(), Remedy::AskUser);
    assert!(
        vault
            .finish_registration(&mut journal, entropy)
            .unwrap()
            .is_none()
    );
    assert!(world.guess("cobalt harbour 7").is_ok());
}

/// VAULT-7: when no guess is left, a password that may be the old one brings none back.
#[test]
fn a_password_that_may_be_the_same_does_not_begin_without_a_guess() {
    let (world, device) = with_device();
    for attempt in 0..10 {
        let typed = password(&format!("unfinished {attempt}"));
        let vault = world.vault(Fault::After(0));
        let mut journal = MemoryJournal::new();
        let entropy = &mut world.entropy();
        assert!(
            vault
                .recover(&mut journal, &typed, Some(&device), entropy)
                .is_err()
        );
    }
    assert_eq!(world.left(), 0);
    let by = RegisterBy::Device {
        secret: &device,
        different: None,
    };
    let refused = world.register(&mut MemoryJournal::new(), PASSWORD, &key(), None, by);
    assert_eq!(refused.unwrap_err(), VaultError::NoGuessesLeft);
}

/// A vault that keeps something else than what was sealed: the password is right, and the key is
/// refused rather than taken.
#[test]
fn a_sealed_key_that_was_exchanged_is_refused() {
    let world = World::new();
    let entropy = &mut SeededEntropy::new(50);
    let bundle = &world.bundle;
    let leaf = LeafIndex::of(&bundle.fleet, &account());
    let parties = Parties {
        fleet: bundle.fleet,
        leaf,
    };
    let cost = Cost::parse(8, 1, 1).unwrap();
    let typed = password(PASSWORD);
    let (state, request) = client::register_start(typed.expose_bytes(), entropy).unwrap();
    let start = Request::RegisterStart {
        id: RegistrationId::new([1; 16]),
        request,
    };
    let (sealed, talk) =
        channel::seal_first(&bundle.fleet, &bundle.channel_key, &leaf, &start, entropy).unwrap();
    let reply = talk
        .open(&world.serve(&account(), &sealed).unwrap())
        .unwrap();
    let Outcome::RegisterStarted { response, ticket } = reply.outcome else {
        panic!()
    };
    let made = client::register_finish(
        &state,
        typed.expose_bytes(),
        &response,
        &cost,
        &parties,
        entropy,
    )
    .unwrap();
    let finish = RegisterFinish {
        upload: made.upload,
        wrapped: WrappedKey::new([9; 72]),
        cost,
        device: None,
        authority: RegisterAuthority::First,
    };
    let finish = Followup::RegisterFinish(finish);
    let (sealed, awaiting) = talk.seal_second(&ticket, &finish, entropy).unwrap();
    let reply = awaiting
        .open(&world.serve(&account(), &sealed).unwrap())
        .unwrap();
    assert_eq!(
        reply.outcome,
        Outcome::Registered {
            generation: Generation::new(1)
        }
    );

    let refused = world.guess(PASSWORD).unwrap_err();
    assert_eq!(refused, VaultError::SealedKeyDamaged);
    assert_eq!(refused.remedy(), Remedy::Stop);
}

/// A core that answers every request with the same outcome.
struct Stubborn {
    bundle: String,
    key: ChannelKey,
    fleet: keyhaven_wire::message::FleetId,
    standing: Standing,
    outcome: Outcome,
}

impl Transport for Stubborn {
    fn bundle(&self) -> Result<String, TransportError> {
        Ok(self.bundle.clone())
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        let Sealed::First(first) = channel::parse(sealed).unwrap() else {
            panic!()
        };
        let leaf = LeafIndex::of(&self.fleet, &account());
        let opened = first
            .open(&Standard, &self.fleet, &self.key.opening().unwrap(), &leaf)
            .unwrap();
        let reply = Reply {
            outcome: self.outcome.clone(),
            standing: self.standing.clone(),
        };
        Ok(opened
            .into_answering()
            .seal(&reply, &mut SeededEntropy::new(9))
            .unwrap())
    }
}

#[test]
fn a_core_that_answers_another_question_is_not_believed() {
    let world = World::new();
    let standing = world
        .vault(Fault::None)
        .standing(None, &mut world.entropy())
        .unwrap();
    let outcomes = [
        Outcome::Standing,
        Outcome::Registered {
            generation: Generation::new(1),
        },
        Outcome::WaitBegun {
            until: HostTime::new(1),
        },
    ];
    for outcome in outcomes {
        let key = ChannelKey::new([3; 32]);
        let bundle = Bundle {
            channel_key: key.public(),
            ..world.bundle.clone()
        };
        let core = Stubborn {
            bundle: bundle.sign(&world.operator).unwrap(),
            key,
            fleet: bundle.fleet,
            standing: standing.clone(),
            outcome: outcome.clone(),
        };
        let mut memory = NewDevice::new();
        let vault = Vault::connect(
            &world.address(),
            &account(),
            core,
            &mut memory,
            NOW,
            quick(),
        )
        .unwrap();
        let mut journal = MemoryJournal::new();
        let entropy = &mut world.entropy();
        let typed = password(PASSWORD);
        let device = world.device();
        let misbehaved = |error: VaultError| {
            assert!(
                matches!(error, VaultError::Misbehaved { .. }),
                "{outcome:?}: {error:?}"
            );
            assert_eq!(error.remedy(), Remedy::Stop);
        };
        misbehaved(
            vault
                .recover(&mut journal, &typed, None, entropy)
                .unwrap_err(),
        );
        let first = RegisterBy::First;
        let by = By::Device(&device);
        misbehaved(
            vault
                .register(&mut journal, &typed, &self::key(), None, first, entropy)
                .unwrap_err(),
        );
        misbehaved(vault.delete(&mut journal, by, entropy).unwrap_err());
        if outcome != Outcome::Standing {
            misbehaved(vault.standing(None, entropy).unwrap_err());
        }
        if !matches!(outcome, Outcome::WaitBegun { .. }) {
            misbehaved(vault.begin_fresh_start(entropy).unwrap_err());
        }
    }
}

/// A line that is busy at first.
struct Busy<'a> {
    line: Line<'a>,
    refusals: AtomicU64,
    pause: Duration,
}

impl Transport for Busy<'_> {
    fn bundle(&self) -> Result<String, TransportError> {
        self.line.bundle()
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        let left = self
            .refusals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        match left {
            Ok(_) => Err(TransportError::Busy {
                retry_after: Some(self.pause),
            }),
            Err(_) => self.line.exchange(sealed),
        }
    }
}

#[test]
fn a_short_pause_is_waited_out_and_a_long_one_is_shown() {
    let world = World::new();
    let ask = |pause| {
        let line = world.line(Fault::None);
        let busy = Busy {
            line,
            refusals: AtomicU64::new(1),
            pause,
        };
        let policy = quick().with_resends(1, Duration::ZERO);
        let mut memory = NewDevice::new();
        let vault =
            Vault::connect(&world.address(), &account(), busy, &mut memory, NOW, policy).unwrap();
        vault.standing(None, &mut world.entropy()).map(drop)
    };
    assert_eq!(ask(Duration::from_millis(1)), Ok(()));
    let long = Duration::from_secs(60);
    let busy = TransportError::Busy {
        retry_after: Some(long),
    };
    assert_eq!(ask(long), Err(VaultError::Transport(busy)));
}

/// VAULT-1: a line that loses answers is asked again with the same bytes, at no further guess.
#[test]
fn a_lost_answer_is_asked_for_again_by_itself() {
    let world = World::new();
    world.registered();
    let lossy = Lossy {
        line: world.line(Fault::None),
        exchanges: AtomicU64::new(0),
    };
    let policy = quick().with_resends(1, Duration::ZERO);
    let mut memory = NewDevice::new();
    let vault = Vault::connect(
        &world.address(),
        &account(),
        lossy,
        &mut memory,
        NOW,
        policy,
    )
    .unwrap();
    let mut journal = MemoryJournal::new();
    let recovered = vault
        .recover(
            &mut journal,
            &password(PASSWORD),
            None,
            &mut world.entropy(),
        )
        .unwrap();
    assert!(recovered.key == key());
    assert_eq!(recovered.standing.totals.answered, 1);
}

/// Every request arrives, and every other answer is lost.
struct Lossy<'a> {
    line: Line<'a>,
    exchanges: AtomicU64,
}

impl Transport for Lossy<'_> {
    fn bundle(&self) -> Result<String, TransportError> {
        self.line.bundle()
    }

    fn exchange(&self, sealed: &[u8]) -> Result<Vec<u8>, TransportError> {
        let reply = self.line.exchange(sealed)?;
        if self
            .exchanges
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(2)
        {
            Err(TransportError::TimedOut)
        } else {
            Ok(reply)
        }
    }
}
