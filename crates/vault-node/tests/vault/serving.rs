//! A vault serves, stops and starts again without losing or saying anything that it should not.

use std::fs;

use keyhaven_vault_client::{TransportError, VaultError};

use crate::world::{House, command, serving};

/// VAULT-5: what was acknowledged is there after a stop and a start.
#[test]
fn a_password_brings_the_key_back_after_a_restart() {
    let mut house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "walnut trapeze").unwrap();
    let (status, _) = house.stop();
    assert!(status.success());
    house.start(&[]);
    let wrong = ada.guess(&house, "hazelnut trapeze").unwrap_err();
    assert_eq!(wrong, VaultError::WrongPassword { left: 9 });
    let recovered = ada.guess(&house, "walnut trapeze").unwrap();
    assert!(recovered.key == ada.key);
    assert_eq!(recovered.standing.guesses_left, 10);
}

#[test]
fn an_account_works_as_soon_as_it_is_added_and_stops_as_soon_as_it_is_removed() {
    let house = House::open();
    let mut ada = house.person("ada");
    ada.register(&house, "walnut trapeze").unwrap();
    assert!(
        command(&["account", "remove", "ada"], &house.data())
            .status
            .success()
    );
    let denied = ada.guess(&house, "walnut trapeze").unwrap_err();
    assert_eq!(denied, VaultError::Transport(TransportError::Denied));
    let renewed = command(&["account", "renew", "ada"], &house.data());
    ada.token = String::from_utf8(renewed.stdout).unwrap().trim().to_owned();
    assert!(ada.guess(&house, "walnut trapeze").unwrap().key == ada.key);
}

#[test]
fn one_account_does_not_open_the_record_of_another() {
    let house = House::open();
    let mut ada = house.person("ada");
    let mut bob = house.person("bob");
    ada.register(&house, "walnut trapeze").unwrap();
    // Bob's token for Ada's record: the core, not the door, finds that the name does not fit.
    bob.account = ada.account.clone();
    let refused = bob.guess(&house, "walnut trapeze").unwrap_err();
    assert_eq!(refused, VaultError::Transport(TransportError::Unreadable));
    assert_eq!(ada.standing(&house).guesses_left, 10);
}

#[test]
fn two_servers_never_share_a_data_folder() {
    let house = House::open();
    let second = serving(&house.data()).output().unwrap();
    assert_eq!(second.status.code(), Some(3), "{second:?}");
    assert_eq!(command(&["doctor"], &house.data()).status.code(), Some(3));
}

#[test]
fn a_request_under_way_is_answered_before_the_vault_stops() {
    let mut house = House::open();
    let mut people: Vec<_> = (0..8)
        .map(|n| house.person(&format!("person {n}")))
        .collect();
    let asked = std::sync::Barrier::new(people.len() + 1);
    std::thread::scope(|scope| {
        let asking: Vec<_> = people
            .iter_mut()
            .map(|person| {
                let (house, asked) = (&house, &asked);
                scope.spawn(move || {
                    asked.wait();
                    person.register(house, "walnut trapeze")
                })
            })
            .collect();
        asked.wait();
        for asking in asking {
            asking.join().unwrap().unwrap();
        }
    });
    let (status, log) = house.stop();
    assert!(status.success(), "{log}");
}

/// BACKUP-3: neither what is secret nor whose it is stands in the log or the figures.
#[test]
fn the_log_and_the_figures_name_nobody() {
    let mut house = House::closed();
    house.start(&["-vv"]);
    let mut ada = house.person("ada-lovelace-1815");
    ada.register(&house, "walnut trapeze lagoon").unwrap();
    let _ = ada.guess(&house, "hazelnut trapeze lagoon");
    ada.guess(&house, "walnut trapeze lagoon").unwrap();
    let figures = crate::limits::get(&house.origin(), "/metrics");
    assert!(
        figures.contains("keyhaven_vault_requests_total{status=\"200\"}"),
        "{figures}"
    );
    let (_, log) = house.stop();
    let digits = ada.key.digits().to_string();
    let secrets = [
        "ada-lovelace",
        "walnut",
        "hazelnut",
        ada.token.as_str(),
        digits.as_str(),
        &digits.replace(' ', ""),
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "the log holds {secret}");
        assert!(!figures.contains(secret), "the figures hold {secret}");
    }
    // Nor does any file beside the list of accounts, which is made to hold the name.
    for file in [
        "core.secrets",
        "core.memory",
        "operator.key",
        "bundle",
        "store.redb",
    ] {
        let bytes = fs::read(house.file(file)).unwrap();
        for secret in secrets {
            let found = bytes
                .windows(secret.len())
                .any(|bytes| bytes == secret.as_bytes());
            assert!(!found, "{file} holds {secret}");
        }
    }
}

#[test]
fn a_vault_whose_parent_died_stops_by_itself() {
    let house = House::closed();
    let mut child = serving(&house.data())
        .arg("--until-stdin-ends")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
