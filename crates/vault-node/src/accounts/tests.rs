//! A token opens its own account from the moment it is printed until it is renewed or removed.

use super::*;
use crate::os::SystemEntropy;

struct World {
    _folder: tempfile::TempDir,
    file: AccountsFile,
    directory: Directory,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("accounts");
    World {
        _folder: folder,
        file: AccountsFile::at(path.clone()),
        directory: Directory::at(path),
    }
}

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

impl World {
    fn add(&self, account: &str) -> Token {
        self.file
            .add(&name(account), 7, &mut SystemEntropy)
            .unwrap()
    }

    fn who(&self, token: &str) -> Option<AccountName> {
        self.directory.account_of(token).unwrap()
    }
}

#[test]
fn a_token_works_as_soon_as_it_is_printed_and_stops_as_soon_as_it_is_removed() {
    let world = world();
    assert_eq!(world.who("kht_none"), None);
    let alice = world.add("alice");
    let bob = world.add("bob with a space");
    assert_eq!(world.who(alice.expose()), Some(name("alice")));
    assert_eq!(world.who(bob.expose()), Some(name("bob with a space")));
    world.file.remove(&name("alice"), 8).unwrap();
    assert_eq!(world.who(alice.expose()), None);
    assert_eq!(world.who(bob.expose()), Some(name("bob with a space")));
}

#[test]
fn a_renewed_token_replaces_the_old_one() {
    let world = world();
    let old = world.add("alice");
    let new = world
        .file
        .renew(&name("alice"), 9, &mut SystemEntropy)
        .unwrap();
    assert_eq!(world.who(old.expose()), None);
    assert_eq!(world.who(new.expose()), Some(name("alice")));
}

#[test]
fn the_file_holds_no_token() {
    let world = world();
    let token = world.add("alice");
    let file = fs::read_to_string(&world.file.path).unwrap();
    assert!(!file.contains(token.expose()));
    assert!(!file.contains(token.expose().strip_prefix(TOKEN_PREFIX).unwrap()));
    assert!(!format!("{token:?}").contains(token.expose()));
}

#[test]
fn a_removed_name_is_not_given_to_another() {
    let world = world();
    world.add("alice");
    let add = |account| {
        world
            .file
            .add(&name(account), 7, &mut SystemEntropy)
            .map(drop)
    };
    assert!(matches!(add("alice"), Err(AccountsError::Exists)));
    world.file.remove(&name("alice"), 8).unwrap();
    assert!(matches!(add("alice"), Err(AccountsError::WasRemoved)));
    assert!(matches!(
        world.file.remove(&name("alice"), 8),
        Err(AccountsError::Unknown)
    ));
    assert!(matches!(
        world.file.remove(&name("bob"), 8),
        Err(AccountsError::Unknown)
    ));
    let listed = world.file.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].standing, Standing::Removed);
    assert_eq!(listed[0].changed, 8);
}

#[test]
fn a_file_that_cannot_be_read_lets_nobody_in() {
    let world = world();
    let alice = world.add("alice");
    assert_eq!(world.who(alice.expose()), Some(name("alice")));
    let good = fs::read_to_string(&world.file.path).unwrap();
    for bad in [
        "nonsense",
        "active 00 1 x",
        "active",
        &format!("{good}{good}"),
    ] {
        folder::replace(&world.file.path, bad.as_bytes()).unwrap();
        assert!(world.directory.account_of(alice.expose()).is_err(), "{bad}");
    }
    folder::replace(&world.file.path, good.as_bytes()).unwrap();
    assert_eq!(world.who(alice.expose()), Some(name("alice")));
}

/// Fuzzing found that these were read as if they were the line that they resemble.
#[test]
fn a_line_in_any_other_than_its_one_form_lets_nobody_in() {
    let world = world();
    let alice = world.add("alice");
    let good = fs::read_to_string(&world.file.path).unwrap();
    let mut parts = good.splitn(4, ' ');
    let [standing, hash, time, account] = std::array::from_fn(|_| parts.next().unwrap());
    for bad in [
        format!("{standing} {} {time} {account}", hash.to_uppercase()),
        format!("{standing} +1{} {time} {account}", &hash[2..]),
        format!("{standing} {hash} +{time} {account}"),
        format!("{standing} {hash} 0{time} {account}"),
    ] {
        folder::replace(&world.file.path, bad.as_bytes()).unwrap();
        assert!(world.directory.account_of(alice.expose()).is_err(), "{bad}");
    }
}

#[test]
fn commands_at_once_take_turns() {
    let world = world();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let world = &world;
            scope.spawn(move || world.add(&format!("account {number}")));
        }
    });
    assert_eq!(world.file.list().unwrap().len(), 8);
}
