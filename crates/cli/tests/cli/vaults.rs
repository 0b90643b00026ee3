//! The way of a person with a password.

use std::fs;

use crate::world::World;

const BOTH: &str = "setup --home home --source chats --store store --embedded-vault vault \
                    --password-file pw --recovery-key --recovery-key-file key";
const NEW: &str = "--store store --embedded-vault vault";

/// A password alone at a vault that would be lost with the chats protects nothing. The refusal
/// leaves nothing behind that stands in the way of the next attempt (VAULT-7).
#[test]
fn a_password_alone_beside_the_chats_is_refused_and_both_together_work_after_it() {
    let world = World::new();
    world
        .run("setup --home home --source chats --store store --embedded-vault vault --password-file pw")
        .is(4)
        .says("64-digit key too");
    // A setup that registered the password and was then stopped, here by its key file, goes on too.
    fs::write(world.at("key"), "in the way").unwrap();
    world.run(BOTH).is(4).says("cannot make key");
    fs::remove_file(world.at("key")).unwrap();
    world.run(BOTH).is(0);
    world.run("backup --home home --embedded-vault vault").is(0);
}

#[test]
fn a_password_restores_is_changed_is_counted_and_is_removed() {
    let world = World::new();
    world.run(BOTH).is(0);
    world.run("backup --home home --embedded-vault vault").is(0);
    let restore = |home: &str, file: &str, to: &str| {
        world.run(&format!(
            "restore --home {home} {NEW} --password-file {file} --to {to}"
        ))
    };
    restore("new", "wrong", "back").is(4).says("9 ");
    let status = world
        .run("status --home home --embedded-vault vault --json")
        .is(0)
        .json();
    assert_eq!(status["vault"]["guesses_left"], 9);
    let back = restore("new", "pw", "back")
        .is(0)
        .says("at least as new as number 2");
    assert!(!back.err.contains("panicked"));
    world.same("back");

    world
        .run("password change --home home --embedded-vault vault --password-file other")
        .is(0);
    restore("new2", "pw", "back2").is(4);
    restore("new2", "other", "back2").is(0);
    world.same("back2");

    world
        .run("password remove --home home --embedded-vault vault")
        .is(4);
    world
        .run("password remove --yes --home home --embedded-vault vault")
        .is(0);
    restore("new3", "other", "back3").is(4);
    world
        .run("password change --home home --password-file other")
        .is(4)
        .says("password set");
}

#[test]
fn a_vault_that_is_down_lets_the_backup_pass_and_holds_up_only_the_password() {
    let world = World::new();
    world.run(BOTH).is(0);
    let backup = world
        .run("backup --home home --json")
        .is(0)
        .says("vault could not be told");
    assert_eq!(backup.json()["outcome"], "complete");
    world.run("status --home home").is(0).says("not reached");
    world.run("restore --home home --to back").is(0);
    world.same("back");

    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(world.at("home/config.json")).unwrap()).unwrap();
    let address = config["vault"]["address"].as_str().unwrap();
    let down = world
        .run(&format!(
            "restore --home new --store store --vault {address} --account me --login-file \
             vault/login-me --password-file pw --to back2 --json"
        ))
        .is(3);
    assert_eq!(down.json()["remedy"], "retry-later");
    assert!(!world.at("back2").exists());
}
