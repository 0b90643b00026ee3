//! A file system without modes: each file that is made can be read by others, whatever mode was asked for. That is told, with what
//! helps, wherever the key is written.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::traced::follow;
use crate::tracee;
use crate::world::{Ran, World};

fn let_in(file: &Path) {
    // One that is not there yet is let in at the next call.
    let _ = fs::set_permissions(file, Permissions::from_mode(0o777));
}

/// Runs a command line as if these files stood on such a file system: before and after each of its system calls they are open to all.
fn on_one_without_modes(world: &World, line: &str, files: &[&str]) -> Ran {
    let (out, err) = (world.at("tmp/out"), world.at("tmp/err"));
    let made = |path: &Path| File::create(path).unwrap().into();
    let leader = tracee::begin(&world.command(line), made(&out), made(&err));
    let code = follow(leader, |_| {
        for file in files {
            let_in(&world.at(file));
        }
    });
    Ran {
        code: code.unwrap(),
        out: fs::read_to_string(out).unwrap(),
        err: fs::read_to_string(err).unwrap(),
    }
}

const HELPS: &str = "umask=077";

#[test]
fn a_key_that_others_can_read_is_told_wherever_it_is_written() {
    let world = World::new();
    let setup = "setup --source chats --store store --recovery-key --recovery-key-file";
    let key = "home/device/backup-key";
    let told = on_one_without_modes(
        &world,
        &format!("{setup} key --home home --json"),
        &[key, "key"],
    );
    let told = told
        .is(0)
        .says(HELPS)
        .says("mode 0777")
        .says("home/device/backup-key, which");
    assert!(
        told.err
            .contains("others on this machine can read key, which"),
        "{told:?}"
    );
    let exposed = told.json()["exposed"].as_array().unwrap().len();
    assert_eq!(exposed, 2);

    // By a file that is well, the home alone is told, and the other way round.
    let world = World::new();
    let told = on_one_without_modes(&world, &format!("{setup} key --home home"), &[key]);
    let told = told
        .is(0)
        .says(HELPS)
        .says("others on this machine can read, too (mode 0777)");
    assert!(!told.err.contains("can read key"), "{told:?}");
    let told = world.run("status --home home").is(0).says(HELPS);
    assert!(
        told.out
            .contains("others on this machine can read, too (mode 0777)")
    );
    assert!(!told.out.contains("0600"), "{told:?}");
    let exposed = world.run("status --home home --json").is(0).json();
    let exposed = exposed["exposed"].as_array().unwrap();
    assert!(exposed.len() == 1 && exposed[0].as_str().unwrap().ends_with(key));
    world.run("backup --home home").is(0);

    fs::set_permissions(world.at(key), Permissions::from_mode(0o600)).unwrap();
    let told = world.run("status --home home").is(0);
    assert!(told.out.contains("only your user can read (mode 0600)") && told.err.is_empty());
    let told = world.run("status --home home --json").is(0).json();
    assert_eq!(told["exposed"], serde_json::json!([]));

    let again = "restore --home new --store store --recovery-key-file key --to back";
    on_one_without_modes(&world, again, &["new/device/backup-key"])
        .is(0)
        .says(HELPS);
    on_one_without_modes(&world, "key sheet sheet.svg --home home", &["sheet.svg"])
        .is(0)
        .says("others on this machine can read sheet.svg");
    let told = world.run("key sheet well.svg --home home").is(0);
    assert!(told.err.is_empty(), "{told:?}");
}
