//! The command line: what it prints, where, and with which exit code.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Output;

use crate::world::{House, command, serving};

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn a_vault_is_made_once_and_only_its_owner_may_read_it() {
    let house = House::closed();
    let made = command(&["init"], &house.data());
    assert_eq!(code(&made), 0, "{made:?}");
    assert_eq!(out(&made).trim().len(), 52, "a pin");
    let before = fs::read(house.file("core.secrets")).unwrap();
    assert_eq!(code(&command(&["init"], &house.data())), 4);
    assert_eq!(fs::read(house.file("core.secrets")).unwrap(), before);

    for file in [
        "core.secrets",
        "core.memory",
        "operator.key",
        "bundle",
        "store.redb",
    ] {
        let mode = fs::metadata(house.file(file)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(house.data()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(house.file("")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_pin_does_not_change() {
    let mut house = House::closed();
    let made = command(&["init"], &house.data());
    for _ in 0..2 {
        house.start(&[]);
        assert_eq!(house.address().pin().to_string(), out(&made).trim());
        house.stop();
    }
}

#[test]
fn secrets_that_others_can_read_are_not_used() {
    let house = House::closed();
    command(&["init"], &house.data());
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(house.file("core.secrets"), open).unwrap();
    let refused = serving(&house.data()).output().unwrap();
    assert_eq!(code(&refused), 1, "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("core.secrets"));
}

#[test]
fn the_ready_file_holds_the_address_once_the_vault_answers() {
    let mut house = House::closed();
    let ready = tempfile::tempdir().unwrap();
    let ready = ready.path().join("address");
    house.start(&["--ready-file", ready.to_str().unwrap()]);
    assert_eq!(
        fs::read_to_string(&ready).unwrap(),
        format!("{}\n", house.address())
    );
    assert!(crate::limits::get(&house.origin(), "/readyz").ends_with("ready\n"));
}

#[test]
fn listening_beyond_this_machine_must_be_called_dangerous() {
    let house = House::closed();
    let refused = serving(&house.data())
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    assert_ne!(code(&refused), 0);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"));
    let refused = command
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(house.data())
        .output()
        .unwrap();
    assert_eq!(code(&refused), 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--dangerous-plain-http"), "{said}");
}

#[test]
fn accounts_are_added_listed_renewed_and_removed() {
    let house = House::closed();
    let run = |args: &[&str]| command(args, &house.data());
    let added = run(&["account", "add", "ada"]);
    assert_eq!(code(&added), 0);
    assert!(
        out(&added).starts_with("kht_") && out(&added).trim().len() == 68,
        "{added:?}"
    );
    assert_eq!(code(&run(&["account", "add", "ada"])), 7);
    let json = run(&["account", "add", "bob", "--json"]);
    assert!(
        out(&json).starts_with("{\"account\":\"bob\",\"token\":\"kht_"),
        "{json:?}"
    );
    let renewed = run(&["account", "renew", "ada"]);
    assert_ne!(out(&renewed), out(&added));
    assert_eq!(code(&run(&["account", "remove", "ada"])), 0);
    assert_eq!(code(&run(&["account", "remove", "ada"])), 7);
    assert_eq!(code(&run(&["account", "add", "ada"])), 7);
    assert_eq!(
        out(&run(&["account", "list"])),
        "removed  ada\nactive   bob\n"
    );
    assert_eq!(code(&run(&["account", "add", ""])), 7);
    assert_eq!(code(&run(&["account", "renew", "nobody"])), 7);
}

#[test]
fn status_doctor_and_bundle_tell_what_stands_there() {
    let mut house = House::closed();
    for args in [["status"], ["doctor"], ["bundle"]] {
        assert_eq!(code(&command(&args, &house.data())), 4, "{args:?}");
    }
    house.start(&[]);
    let status = command(&["status", "--json"], &house.data());
    assert!(out(&status).contains("\"running\":true"), "{status:?}");
    let served = crate::limits::get(&house.origin(), "/v1/fleet");
    let bundle = command(&["bundle"], &house.data());
    assert!(served.ends_with(out(&bundle)), "{served}");
    house.stop();
    let status = command(&["status"], &house.data());
    assert!(out(&status).contains("running    no"), "{status:?}");
    let doctor = command(&["doctor"], &house.data());
    assert_eq!(code(&doctor), 0);
    assert!(
        out(&doctor).ends_with("The vault is whole.\n"),
        "{doctor:?}"
    );
}

#[test]
fn help_names_every_exit_code() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(help.status.success());
    for code in 0..=7 {
        assert!(out(&help).contains(&format!("\n  {code}  ")), "{code}");
    }
    let wrong = std::process::Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"))
        .arg("--nonsense")
        .output()
        .unwrap();
    assert_eq!(code(&wrong), 2);
}

/// The page for operators says what the program does: every flag, code, file and length.
#[test]
fn the_page_for_operators_agrees_with_the_program() {
    let page = include_str!("../../../../docs/operating.md");
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let flags = out(&help).lines().filter_map(|line| {
        let words = line.split_whitespace();
        words
            .map(|word| word.trim_matches(['.', ',']))
            .find(|word| word.starts_with("--"))
    });
    let mut seen = 0;
    for flag in flags.filter(|flag| !matches!(*flag, "--help" | "--verbose")) {
        assert!(
            page.contains(&format!("`{flag}")),
            "{flag} is not on the page"
        );
        seen += 1;
    }
    assert!(seen >= 12, "{seen} flags of `serve`");
    let thousands = |number: usize| match number.checked_div(1000) {
        Some(0) | None => number.to_string(),
        Some(thousands) => format!("{thousands},{:03}", number % 1000),
    };
    let house = House::open();
    for number in [
        fs::read(house.file("core.memory")).unwrap().len(),
        keyhaven_wire::channel::SEALED_REQUEST_BYTES,
        keyhaven_wire::channel::SEALED_REPLY_BYTES,
        keyhaven_vault_core::MEMORY_BYTES,
        keyhaven_vault_core::ENTRY_BYTES,
        usize::try_from(keyhaven_vault_store::LOG_ENTRIES_KEPT).unwrap(),
    ] {
        let number = thousands(number);
        assert!(page.contains(&number), "{number} is not on the page");
    }
    let files = fs::read_dir(house.file(""))
        .unwrap()
        .map(|file| file.unwrap().file_name());
    for file in files {
        let file = file.to_str().unwrap().to_owned();
        assert!(
            page.contains(&format!("`fleet/{file}`")),
            "{file} is not on the page"
        );
    }
}
