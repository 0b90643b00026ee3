//! `keyhaven password` and `keyhaven device` against a real core whose clock the test moves.

use std::fs;
use std::time::Duration;

use keyhaven_testkit::vault::{Door, Line};
use keyhaven_vault_core::Policy;

use crate::world::{Ran, World};

const WAIT: Duration = Duration::from_secs(3 * 24 * 60 * 60 + 1);

struct Stage {
    world: World,
    door: Door,
}

impl Stage {
    fn new() -> Self {
        Self::at(Door::open(3))
    }

    fn at(door: Door) -> Self {
        let world = World::new();
        fs::write(world.at("login"), Door::token("amara")).unwrap();
        Self { world, door }
    }

    /// As [`Stage::new`], with a device that has both protectors, and a backup.
    fn set_up() -> Self {
        let stage = Self::new();
        stage.setup("").is(0);
        stage.run("backup --home home").is(0);
        stage
    }

    fn vault(&self) -> String {
        let address = self.door.address();
        format!("--vault {address} --account amara --login-file login")
    }

    fn setup(&self, more: &str) -> Ran {
        let vault = self.vault();
        self.run(&format!(
            "setup --home home --source chats --store store {vault} --password-file pw \
             --recovery-key --recovery-key-file key {more}"
        ))
    }

    fn run(&self, line: &str) -> Ran {
        self.world.run(line)
    }

    fn restore(&self, home: &str, file: &str) -> Ran {
        let vault = self.vault();
        self.run(&format!(
            "restore --home {home} --store store {vault} --password-file {file} --to back"
        ))
    }

    /// Wrong guesses from the device, until so many are left.
    fn waste(&self, left: u8) {
        let device = fs::read(self.world.at("home/device/device-key")).unwrap();
        self.door.waste("amara", device.try_into().unwrap(), left);
    }
}

/// VAULT-4: what ten wrong guesses do is said before the last one, and after it.
#[test]
fn ten_wrong_guesses_destroy_the_key_and_it_is_said_before_and_after() {
    let stage = Stage::set_up();
    stage.waste(2);
    let warned = stage
        .run("password check --home home --password-file wrong")
        .is(4);
    assert!(warned.err.contains("1 guess is left"), "{warned:?}");
    assert!(warned.err.contains("destroyed for good"), "{warned:?}");
    // Nothing is sent without the flag, not even the right password.
    let asked = stage
        .run("password check --home home --password-file pw --json")
        .is(4)
        .says("--use-last-guess");
    assert_eq!(asked.json()["remedy"], "ask-user");
    fs::write(stage.world.at("typo"), "the tenth").unwrap();
    stage
        .run("password check --home home --password-file typo --use-last-guess")
        .is(1)
        .says("destroyed the backup key for good");
    let status = stage.run("password status --home home --json").is(0);
    assert_eq!(status.json()["state"], "destroyed");
    stage
        .run("password status --home home")
        .says("destroyed the backup key for good");
    stage.restore("new", "pw").is(1).says("64-digit key");
    // The device has its own copy of the key still.
    stage.run("backup --home home").is(0);
}

#[test]
fn a_right_tenth_guess_gives_all_of_them_back() {
    let stage = Stage::set_up();
    stage.waste(1);
    stage
        .run("password check --home home --password-file pw --use-last-guess")
        .is(0)
        .says("10 guesses are left");
}

/// VAULT-3: a stranger with the login stops at the last three; the wait is told and can be cancelled.
#[test]
fn the_last_guesses_open_after_a_wait_which_a_device_can_cancel() {
    let stage = Stage::set_up();
    let vault = stage.vault();
    stage.waste(3);
    stage.restore("new", "pw").is(4).says("ask for the wait");
    let begun = stage
        .run(&format!("password wait --home new {vault} --json"))
        .is(0);
    assert!(begun.json()["until_s"].as_u64().unwrap() > 1_800_000_000);
    stage
        .run("password status --home home")
        .is(0)
        .says("Somebody waits for the last guesses");
    stage.run("password wait --cancel --home home").is(0);
    stage
        .run("password wait --cancel --home home")
        .is(4)
        .says("no wait is running");
    stage.door.pass(WAIT);
    stage.restore("new", "pw").is(4);
    stage
        .run(&format!("password wait --home new {vault}"))
        .is(0)
        .says("by the vault's clock");
    stage.door.pass(WAIT);
    stage.restore("new", "pw").is(0);
}

/// VAULT-1: the lifetime cap, as a person meets it.
#[test]
fn the_lifetime_cap_is_lifted_by_a_listed_device() {
    let policy = Policy {
        lifetime_guesses: 12,
        ..Policy::DEFAULT
    };
    let stage = Stage::at(Door::with_policy(4, policy));
    stage.setup("").is(0);
    stage.waste(4);
    stage
        .run("password check --home home --password-file pw")
        .is(0);
    stage.waste(4);
    stage
        .run("password check --home home --password-file pw")
        .is(4)
        .says("one of your devices must allow more");
    stage.run("password allow-more-guesses --home home").is(0);
    stage
        .run("password check --home home --password-file pw")
        .is(0);
}

#[test]
fn devices_are_listed_and_a_removed_one_is_told_so() {
    let stage = Stage::set_up();
    stage.restore("new", "pw").is(0);
    let listed = stage.run("device list --home home --json").is(0).json();
    let devices = listed["devices"].as_array().unwrap().clone();
    assert_eq!(devices.len(), 2);
    let other = devices.iter().find(|one| one["this"] == false).unwrap();
    let key = other["key"].as_str().unwrap();
    stage.run(&format!("device remove {key} --home home")).is(4);
    stage
        .run("device remove zz --yes --home home")
        .is(4)
        .says("names 0 of the devices");
    stage
        .run(&format!("device remove {} --yes --home home", &key[..8]))
        .is(0);
    stage
        .run("status --home new")
        .is(0)
        .says("no longer on the list");
    stage
        .run("password change --home new --password-file other")
        .is(4);
}

/// VAULT-7: typed again, another password is not a wrong guess at the one that was cut off.
#[test]
fn an_earlier_password_that_was_cut_off_asks_again() {
    let stage = Stage::new();
    // The free question, the first step, and then the answer to the second is lost.
    stage.door.set_line(Line::DeafAfter(2));
    stage.setup("").is(3);
    stage.door.set_line(Line::Whole);
    fs::copy(stage.world.at("other"), stage.world.at("pw")).unwrap();
    stage
        .setup("")
        .is(4)
        .says("password that was typed then counts");
    stage.setup("").is(0);
    let status = stage.run("password status --home home --json").is(0).json();
    assert_eq!(status["answered"], 1, "the proof alone: {status}");
    assert_eq!(status["guesses_left"], 10);
}

/// An account that has a password says so before another one is asked for: here there is neither a
/// terminal nor a file to get it from.
#[test]
fn setup_on_an_account_with_a_password_says_so_before_one_is_typed() {
    let stage = Stage::set_up();
    let vault = stage.vault();
    stage
        .run(&format!(
            "setup --home second --source chats --store store2 {vault} --recovery-key"
        ))
        .is(4)
        .says("has a password at the vault already");
    assert!(!stage.world.at("second/device").exists());
}

#[test]
fn a_fresh_start_waits_and_then_sets_up_anew() {
    let stage = Stage::set_up();
    let vault = stage.vault();
    let again = format!(
        "setup --start-afresh --home second --source chats --store store2 {vault} --password-file \
         other --recovery-key --recovery-key-file key2"
    );
    stage.run(&again).is(4).says("the wait is not over");
    stage
        .run(&format!("password start-afresh --home second {vault}"))
        .is(4);
    stage
        .run(&format!(
            "password start-afresh --yes --home second {vault}"
        ))
        .is(0)
        .says("setup --start-afresh");
    stage
        .run("password start-afresh --cancel --home home")
        .is(0);
    stage
        .run(&format!(
            "password start-afresh --yes --home second {vault}"
        ))
        .is(0);
    stage.door.pass(WAIT);
    stage.run(&again).is(0);
    stage
        .run("password status --home home")
        .is(0)
        .says("started it afresh");
}

#[test]
fn a_device_with_the_key_alone_takes_the_accounts_password() {
    let stage = Stage::set_up();
    let vault = stage.vault();
    stage
        .run("restore --home new --store store --recovery-key-file key --to back")
        .is(0);
    stage
        .run(&format!(
            "password set --existing --home new {vault} --password-file wrong"
        ))
        .is(4)
        .says("9 guesses are left");
    stage
        .run(&format!(
            "password set --existing --home new {vault} --password-file pw"
        ))
        .is(0);
    stage
        .run("password change --home new --password-file other")
        .is(0);
}
