//! The password's whole path, through the real client, to a real core behind real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test program: a failure is a panic"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use keyhaven::{
    Account, BackupError, BackupOptions, Cancel, GuessError, Keyhaven, LastGuess, Login, Notice,
    Observer, OpenError, Outcome, Place, ProtectorError, Recovery, RegisterError, RestoreError,
    RestoreOptions, Returned, Setup, SetupError,
};
use keyhaven_secrets::Password;
use keyhaven_testkit::copy_folder;
use keyhaven_testkit::vault::{Door, Line};
use keyhaven_vault_client::{Alarm, RecordState, Standing, VaultError, Wait};
use keyhaven_vault_core::Policy;
use zeroize::Zeroizing;

const PASSWORD: &str = "walnut trapeze 4 lagoon";
const OTHER: &str = "orchid tumble 7 gravel";
const WAIT: Duration = Duration::from_secs(3 * 24 * 60 * 60 + 1);

struct World {
    folder: tempfile::TempDir,
    door: Door,
}

impl World {
    fn new() -> Self {
        Self::at(Door::open(1))
    }

    fn at(door: Door) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("chats")).unwrap();
        fs::write(folder.path().join("chats/notes.txt"), "the heron waits").unwrap();
        Self { folder, door }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn login(&self) -> Login {
        let token = Zeroizing::new(Door::token("amara"));
        Login::new(&self.door.address().to_string(), "amara", token).unwrap()
    }

    fn place(&self) -> Place {
        Place::parse(self.path("store").to_str().unwrap()).unwrap()
    }

    fn begin(&self, home: &str) -> Setup {
        Setup::begin(&self.path(home), &self.path("chats"), self.place()).unwrap()
    }

    /// A device with both protectors.
    fn set_up(&self) -> Keyhaven {
        let mut proven = self
            .begin("home")
            .set_password(self.login(), &password(PASSWORD))
            .map_err(|(_, error)| error)
            .unwrap();
        let digits = proven.recovery_key().to_string();
        proven.prove_recovery_key(&digits).unwrap();
        proven.finish().unwrap()
    }

    fn recover(
        &self,
        home: &str,
        typed: &str,
        last: LastGuess,
    ) -> Result<Returned, ProtectorError> {
        let by = Recovery::Password {
            login: self.login(),
            password: &password(typed),
            last,
        };
        Keyhaven::recover(&self.path(home), &self.path("back"), self.place(), by)
    }

    fn account(&self) -> Account {
        Account::open(&self.login(), &self.path("anywhere")).unwrap()
    }

    fn standing(&self) -> Standing {
        self.account().standing().unwrap()
    }

    #[track_caller]
    fn has_left(&self, guesses: u8) {
        assert_eq!(self.standing().guesses_left, guesses);
    }

    /// Wrong guesses from the device in `home`, until so many are left.
    fn waste(&self, left: u8) {
        let device = fs::read(self.path("home/device/device-key")).unwrap();
        self.door.waste("amara", device.try_into().unwrap(), left);
    }
}

fn password(typed: &str) -> Password {
    Password::parse(typed).unwrap()
}

/// The secrets of a home, by their names.
fn secrets(home: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(home.join("device")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// VAULT-7: what a change leaves of the budget shows before the new password is proven, because a
/// right one gives back what was spent. So the line is cut there.
fn change_cut_before_proof(world: &World, haven: &Keyhaven, typed: &str, asked_before: u32) -> u8 {
    world.door.set_line(Line::CutAfter(asked_before + 2));
    let cut = haven.change_password(&password(typed), LastGuess::Keep);
    assert!(cut.is_err(), "{cut:?}");
    world.door.set_line(Line::Whole);
    world.standing().guesses_left
}

/// VAULT-7: a password that the device has checked to be different begins with a full budget.
#[test]
fn a_really_different_password_starts_full_and_the_same_one_inherits() {
    let world = World::new();
    let haven = world.set_up();
    world.waste(6);
    // Without evidence the gate before the last guess looks at the standing first: one question.
    assert_eq!(change_cut_before_proof(&world, &haven, PASSWORD, 1), 6);
    assert_eq!(change_cut_before_proof(&world, &haven, OTHER, 0), 10);
    haven
        .check_password(&password(OTHER), LastGuess::Keep)
        .unwrap();
}

/// VAULT-7: what was remembered of a password that another device has changed since is no evidence.
#[test]
fn a_password_that_another_device_changed_back_is_not_called_different() {
    let world = World::new();
    let haven = world.set_up();
    let second = world
        .recover("new", PASSWORD, LastGuess::Keep)
        .unwrap()
        .haven;
    second
        .change_password(&password(OTHER), LastGuess::Keep)
        .unwrap();
    world.waste(5);
    // The first device remembers PASSWORD of an older registration: OTHER would seem different.
    assert_eq!(change_cut_before_proof(&world, &haven, OTHER, 0), 5);
    // And one that lost what it remembered, or holds rubbish, inherits.
    fs::write(world.path("home/device/password-verifier"), "rubbish").unwrap();
    assert_eq!(change_cut_before_proof(&world, &haven, PASSWORD, 1), 5);
}

/// VAULT-7: a registration whose answer was lost is settled, and what is typed next is not counted
/// as a guess at it.
#[test]
fn an_earlier_password_is_settled_and_another_one_typed_spends_no_guess() {
    let world = World::new();
    world.door.set_line(Line::DeafAfter(1));
    let Err((setup, error)) = world
        .begin("home")
        .set_password(world.login(), &password(PASSWORD))
    else {
        panic!("nobody heard the vault")
    };
    assert!(
        matches!(error.remedy(), keyhaven_secrets::Remedy::RetryLater),
        "{error}"
    );
    drop(setup);
    world.door.set_line(Line::Whole);
    assert_eq!(world.standing().state, RecordState::Live);

    let setup = world.begin("home");
    setup.check_account(&world.login()).unwrap();
    let Err((setup, error)) = setup.set_password(world.login(), &password(OTHER)) else {
        panic!("an earlier password was proven by another one")
    };
    assert!(
        matches!(error, SetupError::Register(RegisterError::EarlierPassword)),
        "{error}"
    );
    let standing = world.standing();
    assert_eq!((standing.guesses_left, standing.totals.answered), (10, 0));
    // What is typed now counts, and nothing else was guessed.
    setup
        .set_password(world.login(), &password(OTHER))
        .map_err(|(_, error)| error)
        .unwrap();
    assert_eq!(world.standing().totals.wrong, 0);
}

/// A password change that was cut off is settled in the same way.
#[test]
fn a_change_that_was_cut_off_asks_again_and_spends_no_guess() {
    let world = World::new();
    let haven = world.set_up();
    world.door.set_line(Line::DeafAfter(1));
    assert!(
        haven
            .change_password(&password(OTHER), LastGuess::Keep)
            .is_err()
    );
    world.door.set_line(Line::Whole);
    let asked = haven.change_password(&password("cobalt harbour 7 lemon"), LastGuess::Keep);
    assert!(
        matches!(
            asked,
            Err(ProtectorError::Register(RegisterError::EarlierPassword))
        ),
        "{asked:?}"
    );
    haven
        .check_password(&password(OTHER), LastGuess::Keep)
        .unwrap();
    assert_eq!(world.standing().totals.wrong, 0);
}

/// BACKUP-3: a recovery that failed leaves no secret behind, and lists no device.
#[test]
fn a_failed_recovery_leaves_no_key_behind() {
    let world = World::new();
    let haven = world.set_up();
    assert!(world.recover("new", "wrong", LastGuess::Keep).is_err());
    assert_eq!(secrets(&world.path("new")), Vec::<String>::new());

    // The password is right, and the store holds nothing that it opens.
    fs::rename(world.path("store/snapshots"), world.path("gone")).unwrap();
    assert!(world.recover("new", PASSWORD, LastGuess::Keep).is_err());
    assert_eq!(secrets(&world.path("new")), Vec::<String>::new());
    fs::rename(world.path("gone"), world.path("store/snapshots")).unwrap();

    // Listed, and the answer lost: the device key is kept, because the record may list it.
    world.door.set_line(Line::DeafAfter(4));
    assert!(world.recover("new", PASSWORD, LastGuess::Keep).is_err());
    assert_eq!(secrets(&world.path("new")), ["device-key"]);
    world.door.set_line(Line::Whole);
    world.recover("new", PASSWORD, LastGuess::Keep).unwrap();
    let (standing, _) = haven.standing().unwrap().unwrap();
    assert_eq!(standing.owner.unwrap().devices.len(), 2);
}

/// VAULT-4: the last guess is not spent without being told; the tenth wrong one destroys.
#[test]
fn the_last_guess_is_kept_until_the_person_says_so() {
    let world = World::new();
    let haven = world.set_up();
    world.waste(1);
    let asked = world.door.exchanges();
    let kept = haven.check_password(&password(PASSWORD), LastGuess::Keep);
    assert!(matches!(kept, Err(ProtectorError::LastGuess)), "{kept:?}");
    assert_eq!(world.door.exchanges(), asked + 1, "one free question");
    let kept = haven.change_password(&password(PASSWORD), LastGuess::Keep);
    assert!(
        matches!(
            kept,
            Err(ProtectorError::Register(RegisterError::Guess(
                GuessError::LastGuess
            )))
        ),
        "{kept:?}"
    );
    world.has_left(1);
    haven
        .check_password(&password(PASSWORD), LastGuess::Use)
        .unwrap();
    world.has_left(10);

    world.waste(1);
    let gone = haven.check_password(&password("the tenth"), LastGuess::Use);
    assert!(
        matches!(gone, Err(ProtectorError::Vault(VaultError::Exhausted))),
        "{gone:?}"
    );
    assert_eq!(world.standing().state, RecordState::Destroyed);
}

/// VAULT-3: the last three guesses are the owner's, or of who waits; his devices see and cancel it.
#[test]
fn a_wait_opens_the_last_guesses_unless_a_device_cancels_it() {
    let world = World::new();
    let haven = world.set_up();
    world.waste(3);
    let held = world.recover("new", PASSWORD, LastGuess::Keep).unwrap_err();
    assert!(
        matches!(
            held,
            ProtectorError::Vault(VaultError::LastGuessesHeld { until: None })
        ),
        "{held}"
    );
    world.account().begin_wait(Wait::LastGuesses).unwrap();
    let (seen, _) = haven.standing().unwrap().unwrap();
    assert!(seen.last_guesses_at.is_some());
    haven.cancel_wait(Wait::LastGuesses).unwrap();
    world.door.pass(WAIT);
    assert!(world.recover("new", PASSWORD, LastGuess::Keep).is_err());

    world.account().begin_wait(Wait::LastGuesses).unwrap();
    world.door.pass(WAIT);
    world.recover("new", PASSWORD, LastGuess::Keep).unwrap();
    world.has_left(10);
    let none = haven.cancel_wait(Wait::LastGuesses).unwrap_err();
    assert!(
        matches!(none, ProtectorError::Vault(VaultError::NoWait)),
        "{none}"
    );
}

/// A fresh start begins a new line after its wait, with another key.
#[test]
fn a_fresh_start_replaces_the_record_after_its_wait() {
    let world = World::new();
    let haven = world.set_up();
    fs::create_dir(world.path("elsewhere")).unwrap();
    let place = Place::parse(world.path("elsewhere/store").to_str().unwrap()).unwrap();
    let begin =
        || Setup::begin(&world.path("second"), &world.path("chats"), place.clone()).unwrap();
    let refused = begin().check_account(&world.login()).unwrap_err();
    assert!(
        matches!(refused, SetupError::Vault(VaultError::AlreadyRegistered)),
        "{refused}"
    );
    assert!(
        begin()
            .start_afresh(world.login(), &password(OTHER))
            .is_err()
    );
    world.account().begin_wait(Wait::FreshStart).unwrap();
    assert!(
        begin()
            .start_afresh(world.login(), &password(OTHER))
            .is_err()
    );
    world.door.pass(WAIT);
    begin()
        .start_afresh(world.login(), &password(OTHER))
        .map_err(|(_, error)| error)
        .unwrap();
    let (standing, alarm) = haven.standing().unwrap().unwrap();
    assert!(alarm.is_some(), "the old device is told: {standing:?}");
}

/// VAULT-1: the lifetime cap binds everybody, and a listed device lifts it.
#[test]
fn a_listed_device_allows_more_guesses_when_the_cap_is_reached() {
    let policy = Policy {
        lifetime_guesses: 12,
        ..Policy::DEFAULT
    };
    let world = World::at(Door::with_policy(2, policy));
    let haven = world.set_up();
    world.waste(3);
    haven
        .check_password(&password(PASSWORD), LastGuess::Keep)
        .unwrap();
    world.waste(5);
    let capped = haven
        .check_password(&password(PASSWORD), LastGuess::Keep)
        .unwrap_err();
    assert!(
        matches!(capped, ProtectorError::Vault(VaultError::CapReached)),
        "{capped}"
    );
    haven.allow_more_guesses().unwrap();
    haven
        .check_password(&password(PASSWORD), LastGuess::Keep)
        .unwrap();
}

#[test]
fn a_device_that_was_removed_changes_nothing_any_more() {
    let world = World::new();
    let haven = world.set_up();
    let second = world
        .recover("new", PASSWORD, LastGuess::Keep)
        .unwrap()
        .haven;
    haven.remove_device(second.device_key().unwrap()).unwrap();
    let refused = second
        .change_password(&password(OTHER), LastGuess::Keep)
        .unwrap_err();
    assert!(
        refused.to_string().contains("not on the account's list"),
        "{refused}"
    );
    haven
        .check_password(&password(PASSWORD), LastGuess::Keep)
        .unwrap();
}

/// A device that was set up by the 64 digits takes the password that is there.
#[test]
fn an_existing_password_is_taken_only_if_it_returns_this_devices_key() {
    let world = World::new();
    let digits = world.set_up().backup_key().unwrap().digits().to_string();
    let by = Recovery::RecoveryKey(&digits);
    let second = Keyhaven::recover(&world.path("new"), &world.path("back"), world.place(), by)
        .unwrap()
        .haven;
    let none = second.check_password(&password(PASSWORD), LastGuess::Keep);
    assert!(matches!(
        none,
        Err(ProtectorError::Open(OpenError::NoPassword))
    ));
    second
        .use_existing_password(&world.login(), &password(PASSWORD), LastGuess::Keep)
        .unwrap();
    second
        .change_password(&password(OTHER), LastGuess::Keep)
        .unwrap();

    let place = Place::parse(world.path("third-store").to_str().unwrap()).unwrap();
    let setup = Setup::begin(&world.path("third"), &world.path("chats"), place).unwrap();
    let digits = setup.recovery_key().to_string();
    let third = setup
        .prove_recovery_key(&digits)
        .map_err(|(_, error)| error)
        .unwrap()
        .finish()
        .unwrap();
    let other = third.use_existing_password(&world.login(), &password(OTHER), LastGuess::Keep);
    assert!(matches!(other, Err(ProtectorError::OtherKey)), "{other:?}");
    assert!(third.login().unwrap().is_none());
}

/// VAULT-7: a password goes to another fleet once the old one's core has acknowledged that its record
/// is destroyed, and no earlier: else there would be ten guesses at each of them.
#[test]
fn a_move_to_another_fleet_waits_for_the_old_ones_word() {
    let world = World::new();
    let haven = world.set_up();
    let other = World::at(Door::open(2));
    let same = password(PASSWORD);
    let refused = |haven: &Keyhaven| {
        let set = haven.set_password(&other.login(), &same);
        assert!(matches!(set, Err(ProtectorError::HasPassword)), "{set:?}");
        assert_eq!(other.standing().state, RecordState::Vacant);
    };
    refused(&haven);
    // A change of the password was cut off before: it goes with the record that it was for.
    world.door.set_line(Line::CutAfter(1));
    assert!(
        haven
            .change_password(&password(OTHER), LastGuess::Keep)
            .is_err()
    );
    assert!(world.path("home/state/vault/registration").exists());
    // The old fleet's host swallows the request, then the acknowledgement.
    for line in [Line::CutAfter(0), Line::DeafAfter(0)] {
        world.door.set_line(line);
        assert!(haven.remove_password().is_err(), "{line:?}");
        world.door.set_line(Line::Whole);
        refused(&haven);
    }
    haven.remove_password().unwrap();
    assert_eq!(world.standing().state, RecordState::Deleted);
    haven.set_password(&other.login(), &same).unwrap();
    assert_eq!(other.standing().state, RecordState::Live);
    let old = world.recover("elsewhere", PASSWORD, LastGuess::Keep);
    assert!(old.is_err(), "the old fleet still answers guesses");
}

/// A removal that was cut off before its last step leaves the login alone; removing again removes that. One that a password
/// which was being set has left is no such thing: its record stands.
#[test]
fn a_removal_that_was_cut_off_is_finished_and_a_password_that_was_being_set_is_not_removed() {
    let world = World::new();
    let haven = world.set_up();
    let kept = ["login", "password-verifier"].map(|item| {
        let path = world.path("home/device").join(item);
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    });
    haven.remove_password().unwrap();
    let secrets_now = || secrets(&world.path("home"));
    assert_eq!(secrets_now(), ["backup-key", "device-key"]);
    let [(login, token), (verifier, remembered)] = kept;
    fs::write(&login, &token).unwrap();
    haven.remove_password().unwrap();
    assert_eq!(secrets_now(), ["backup-key", "device-key"]);
    fs::write(&login, &token).unwrap();
    fs::write(&verifier, &remembered).unwrap();
    let refused = haven.remove_password();
    assert!(
        matches!(refused, Err(ProtectorError::Open(OpenError::NoPassword))),
        "{refused:?}"
    );
    assert!(login.exists(), "of a password that is being set");
}

/// A removal whose answer was lost, or that was cut off behind it, raises no alarm: it is said what ends it. One that never
/// reached the vault is none: if the record goes later, that is an alarm.
#[test]
fn a_record_that_this_device_had_destroyed_is_no_alarm() {
    let world = World::new();
    let haven = world.set_up();
    let standing = || haven.standing();
    let alarm = || standing().unwrap().unwrap().1;
    // The vault is asked how the record stands, and then nothing reaches it.
    world.door.set_line(Line::CutAfter(1));
    haven.remove_password().unwrap_err();
    world.door.set_line(Line::Whole);
    assert_eq!(alarm(), None);
    let home = world.path("home");
    let kept = world.path("kept");
    copy_folder(&home, &kept).unwrap();
    haven.remove_password().unwrap();
    assert_eq!(standing().unwrap(), None);
    // It is found to be live above, so this is another device's word.
    fs::remove_dir_all(&home).unwrap();
    copy_folder(&kept, &home).unwrap();
    assert!(matches!(alarm(), Some(Alarm::RecordGone { .. })));

    let world = World::new();
    let haven = world.set_up();
    world.door.set_line(Line::DeafAfter(1));
    haven.remove_password().unwrap_err();
    world.door.set_line(Line::Whole);
    let told = haven.standing().unwrap_err();
    assert!(matches!(told, ProtectorError::RemovalCutOff), "{told}");
    haven.remove_password().unwrap();
    assert_eq!(haven.standing().unwrap(), None);
    // The next password has nothing of it.
    haven
        .set_password(&world.login(), &password(OTHER))
        .unwrap();
    assert_eq!(haven.standing().unwrap().unwrap().1, None);
}

/// A vault that takes a note and never answers holds nobody up who calls the run off. The backup is made, and the next run
/// notes it.
#[test]
fn a_note_that_is_not_answered_is_waited_for_until_the_run_is_called_off() {
    let world = World::new();
    let haven = world.set_up();
    world.door.set_line(Line::SilentAfter(0));
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_secs(3));
        stop.cancel();
    });
    let options = BackupOptions {
        cancel,
        ..BackupOptions::default()
    };
    let mut notices = Notices::default();
    let began = Instant::now();
    let report = haven.backup(options, &mut notices).unwrap();
    let took = began.elapsed();
    stopper.join().unwrap();
    assert_eq!((report.outcome, report.sequence), (Outcome::Complete, 2));
    let [Notice::NotNoted { reason }] = notices.0.as_slice() else {
        panic!("{:?}", notices.0)
    };
    assert!(reason.contains("called off"), "{reason}");
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(10)).contains(&took),
        "{took:?}"
    );
    world.door.set_line(Line::Whole);
    let report = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
    let owner = world_freshness(&haven);
    assert_eq!(owner, Some(2));
}

fn world_freshness(haven: &Keyhaven) -> Option<u64> {
    let (standing, _) = haven.standing().unwrap().unwrap();
    standing
        .owner
        .unwrap()
        .freshness
        .map(|noted| noted.sequence)
}

#[derive(Default)]
struct Notices(Vec<Notice>);

impl Observer for Notices {
    fn notice(&mut self, notice: &Notice) {
        self.0.push(notice.clone());
    }
}

/// BACKUP-4: a note that the vault did not hear is made up for by the next run, also where nothing has changed; and then
/// nothing more is said.
#[test]
fn a_note_that_was_not_heard_is_made_up_for_where_nothing_has_changed() {
    let world = World::new();
    let haven = world.set_up();
    let back_up = || {
        let report = haven.backup(BackupOptions::default(), &mut ()).unwrap();
        (report.outcome, report.sequence)
    };
    let noted = || {
        haven
            .standing()
            .unwrap()
            .unwrap()
            .0
            .owner
            .unwrap()
            .freshness
    };
    world.door.set_line(Line::CutAfter(0));
    assert_eq!(back_up(), (Outcome::Complete, 2));
    world.door.set_line(Line::Whole);
    assert_eq!(noted(), None);
    assert_eq!(back_up(), (Outcome::Unchanged, 2));
    assert_eq!(noted().map(|noted| noted.sequence), Some(2));
    let asked = world.door.exchanges();
    assert_eq!(back_up(), (Outcome::Unchanged, 2));
    assert_eq!(world.door.exchanges(), asked);
}

/// BACKUP-4: an old phone, still listed, whose home knows less than the vault does, backs up onto a store that was put back. What
/// the vault has noted stays noted, so that a new device still sees what is missing, until a person says that it is lost.
#[test]
fn a_device_that_knows_less_does_not_exchange_what_the_vault_has_noted() {
    let world = World::new();
    let haven = world.set_up();
    let backup = |haven: &Keyhaven, accept_lost| {
        let options = BackupOptions {
            accept_lost,
            ..BackupOptions::default()
        };
        haven.backup(options, &mut ()).map(|done| done.sequence)
    };
    assert_eq!(backup(&haven, false).unwrap(), 2);
    copy_folder(&world.path("store"), &world.path("older")).unwrap();
    copy_folder(&world.path("home"), &world.path("old home")).unwrap();
    for day in 3..6 {
        fs::write(world.path("chats/notes.txt"), format!("day {day}")).unwrap();
        assert_eq!(backup(&haven, false).unwrap(), day);
    }
    drop(haven);
    let old = Keyhaven::open(&world.path("old home"), None).unwrap();
    fs::remove_dir_all(world.path("store")).unwrap();
    copy_folder(&world.path("older"), &world.path("store")).unwrap();
    let restored = |home: &str| {
        let returned = world.recover(home, PASSWORD, LastGuess::Keep).unwrap();
        let there = world.path(&format!("back of {home}"));
        returned
            .haven
            .restore(&there, &RestoreOptions::default(), &mut ())
    };
    // Also where nothing has changed since: it does not wear off.
    fs::write(world.path("chats/notes.txt"), "of the old phone").unwrap();
    thread::sleep(Duration::from_millis(100));
    for _ in 0..2 {
        let refused = backup(&old, false);
        let is_told = matches!(refused, Err(BackupError::NotedIsGone { noted: 5, .. }));
        assert!(is_told, "{refused:?}");
        assert_eq!(world_freshness(&old), Some(5));
    }
    let refused = restored("new");
    let is_refused = matches!(refused, Err(RestoreError::NotFresh { noted: 5, .. }));
    assert!(is_refused, "{refused:?}");
    backup(&old, true).unwrap();
    assert_eq!(world_freshness(&old), Some(3));
    restored("newer").unwrap();
}
