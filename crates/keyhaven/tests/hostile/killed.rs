//! F17: a real process, killed at a random moment of its backup.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyhaven::{BackupOptions, Keyhaven, Outcome, Place, RestoreOptions};

use crate::world::{furnish, read_folder, scratch};

const KILLS: u64 = 30;
const HOME: &str = "KEYHAVEN_TEST_KILLED_HOME";

/// What the child does: back up, again and again, with one file more each time.
#[test]
#[ignore = "run by the test below, as the process that is killed"]
fn child() {
    let home = PathBuf::from(std::env::var_os(HOME).unwrap());
    let haven = Keyhaven::open(&home, None).unwrap();
    let chats = haven.config().unwrap().source;
    for number in 0_u64.. {
        let name = format!("media/{}-{number}.jpg", std::process::id());
        std::fs::write(chats.join(name), vec![number as u8; 5000]).unwrap();
        haven.backup(BackupOptions::default(), &mut ()).unwrap();
    }
}

/// BACKUP-1, BACKUP-2: a process is killed thirty times at random moments while it backs up to a
/// folder. Each time the newest backup restores, and the next backup completes.
#[test]
fn a_process_killed_at_any_moment_leaves_a_backup_that_restores_and_goes_on() {
    let world = scratch();
    let address = world.path().join("store");
    let place = Place::parse(address.to_str().unwrap()).unwrap();
    let (world, app, _) = furnish(&place, world);
    let home = world.path().join("home");
    let chats = world.path().join("chats");
    let haven = Keyhaven::open(&home, None).unwrap();
    let mut random = 88_172_645_463_325_252_u64;
    for kill in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--ignored"])
            .env(HOME, &home)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(2_000 + random % 60_000));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "kill {kill}: it ended by itself");

        let restore = || {
            let to = scratch();
            let restored = haven.restore(to.path(), &RestoreOptions::default(), &mut ());
            let restored = restored.unwrap_or_else(|error| panic!("kill {kill}: {error}"));
            assert_eq!(restored.report.lost, [], "kill {kill}");
            read_folder(to.path())
        };
        let there = restore();
        for (path, bytes) in there.iter().filter(|(path, _)| path.starts_with("media")) {
            assert!(
                std::fs::read(chats.join(path)).unwrap() == *bytes,
                "kill {kill}: {path:?}"
            );
        }
        app.execute("INSERT INTO message(text) VALUES('after a kill')", [])
            .unwrap();
        let report = haven
            .backup(BackupOptions::default(), &mut ())
            .unwrap_or_else(|error| panic!("kill {kill}, the next backup: {error}"));
        assert!(matches!(
            report.outcome,
            Outcome::Complete | Outcome::Unchanged
        ));
        let there = restore();
        for (path, bytes) in read_folder(&chats.join("media")) {
            let path = PathBuf::from("media").join(path);
            assert!(there.get(&path) == Some(&bytes), "kill {kill}: {path:?}");
        }
    }
    let made = haven.snapshots().unwrap().len() as u64;
    println!("snapshots: {made} after {KILLS} kills");
}
