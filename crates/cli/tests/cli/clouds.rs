//! The way of a person whose store is a cloud: real S3 and WebDAV servers, and the real command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::line::Line;
use crate::servers::Server;
use crate::world::{NAME, Ran, World, files};

const USER: &str = "CLOUDUSER";
const SECRET: &str = "CLOUDSECRET";
const MIB: u64 = 1 << 20;
/// What a kill may cost: three uploads under way, of 8 MiB each, with what goes round them.
const UNDER_WAY_MAX: u64 = 25 * MIB;

/// A world whose store is a cloud.
struct Cloud {
    world: World,
    address: String,
}

impl Cloud {
    fn command(&self, line: &str) -> Command {
        let mut command = self.world.command(line);
        command
            .env("KEYHAVEN_STORE_USER", USER)
            .env("KEYHAVEN_STORE_SECRET", SECRET);
        command
    }

    fn run(&self, line: &str) -> Ran {
        ran(self.command(line))
    }

    fn set_up(self) -> Self {
        let setup = "setup --home home --source chats --recovery-key --recovery-key-file key";
        self.run(&format!("{setup} --store {}", self.address)).is(0);
        self
    }

    /// What a new device gets back with the address and the 64 digits.
    fn restore_anew(&self, home: &str, back: &str) -> Ran {
        self.run(&format!(
            "restore --home {home} --store {} --recovery-key-file key --to {back}",
            self.address
        ))
    }
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An S3 server behind a line, and a world that is set up to keep its backups there.
fn s3() -> (Server, Line, Cloud) {
    let server = Server::s3();
    server.make_bucket("bucket");
    let line = Line::to(&server.address);
    let address = format!(
        "s3://bucket/phone?endpoint=http://{}&region=eu-central-1",
        line.address
    );
    let world = World::new();
    (server, line, Cloud { world, address }.set_up())
}

/// A WebDAV server, the folder that it serves, and a world that is set up to keep its backups there.
fn webdav() -> (Server, PathBuf, Cloud) {
    let world = World::new();
    let root = world.at("dav");
    fs::create_dir(&root).unwrap();
    // A port that the system has just given and taken back, so that a server can come back to it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap().to_string();
    drop(free);
    let server = Server::webdav_at(&root, USER, SECRET, &at);
    let address = format!("webdav://{at}/backups/phone");
    (server, root, Cloud { world, address }.set_up())
}

/// BACKUP-1, BACKUP-2, BACKUP-4: set up, back up twice, lose the phone, restore, look, verify.
fn journey(cloud: &Cloud) {
    let first = cloud.run("backup --home home --json").is(0).json();
    assert_eq!(first["outcome"], "complete");
    let again = cloud.run("backup --home home --json").is(0).json();
    assert_eq!(again["outcome"], "unchanged");
    assert_eq!(again["sent_bytes"], 0);
    fs::write(cloud.world.at("chats/media/later.jpg"), vec![9; 3 << 20]).unwrap();
    let second = cloud.run("backup --home home --json").is(0).json();
    let sent = second["sent_bytes"].as_u64().unwrap();
    assert!(sent > 3 << 20 && sent < 6 << 20, "{second}");

    fs::remove_dir_all(cloud.world.at("home")).unwrap();
    cloud
        .restore_anew("new", "back")
        .is(0)
        .says("Freshness not verified");
    cloud.world.same("back");
    let later = fs::read(cloud.world.at("back/media/later.jpg")).unwrap();
    assert_eq!(later, vec![9; 3 << 20]);

    cloud.run("browse files media --home new").is(0).says(NAME);
    let verified = cloud.run("verify --home new --json").is(0).json();
    assert_eq!(verified["lost"].as_array().unwrap().len(), 0);
    // What a cloud's credentials are is nobody's to read (BACKUP-3).
    for file in files(&cloud.world.at("new")) {
        let bytes = fs::read(&file).unwrap();
        let holds = bytes
            .windows(SECRET.len())
            .any(|at| at == SECRET.as_bytes());
        assert!(!holds, "{}", file.display());
    }
}

#[test]
fn a_phone_that_backs_up_to_s3_is_lost_and_comes_back() {
    let (_server, _line, cloud) = s3();
    journey(&cloud);
}

#[test]
fn a_phone_that_backs_up_to_webdav_is_lost_and_comes_back() {
    let (_server, _root, cloud) = webdav();
    journey(&cloud);
}

/// BACKUP-2, BACKUP-5, F17: a command that is killed while it sends, again and again, costs what was under
/// way each time, and the next one ends the work.
#[test]
fn a_backup_to_a_cloud_that_is_killed_again_and_again_ends_well_and_sends_little_twice() {
    let (_server, root, cloud) = webdav();
    let size = 96 * MIB;
    let noise = films(&cloud, size);
    let kills = 3_u64;
    for kill in 0..kills {
        let mut child = cloud
            .command("backup --home home")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the middle of the upload: a pack has arrived, or several.
        until_grown(&root, (1 + kill % 2) * 8 * MIB);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(
            status.code().is_none(),
            "kill {kill} came too late: {status}"
        );
    }
    let last = cloud.run("backup --home home --json").is(0).json();
    assert_ne!(last["outcome"], "incomplete", "{last}");
    let stored: u64 = files(&root)
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    // A kill loses the packs that were being sealed, not those that were on their way: a pack and
    // the buffers that go round, each time.
    let most = size + kills * 16 * MIB + 8 * MIB;
    assert!(stored <= most, "{stored} bytes are stored of {size}");
    println!("{stored} bytes are stored of {size}, after {kills} kills");

    cloud.restore_anew("new", "back").is(0);
    cloud.world.same("back");
    for (number, part) in noise.chunks(3 << 20).enumerate() {
        let back = fs::read(cloud.world.at(&format!("back/media/{number}.mp4"))).unwrap();
        assert!(back == part, "film {number} is another one");
    }
}

/// BACKUP-2, BACKUP-5, F16, F17: the same onto S3, where what goes over the line is counted, too. A kill costs the uploads that
/// are under way, and none that was complete.
#[test]
fn a_backup_to_s3_that_is_killed_sends_only_what_was_under_way_twice() {
    let size = 192 * MIB;
    let clean = {
        let (_server, line, cloud) = s3();
        films(&cloud, size);
        let before = line.sent();
        cloud.run("backup --home home").is(0);
        line.sent() - before
    };
    let (server, line, cloud) = s3();
    cloud.run("backup --home home").is(0);
    let noise = films(&cloud, size);
    let before = line.sent();
    let kills = 4_u64;
    for kill in 0..kills {
        let mut child = cloud
            .command("backup --home home")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the middle of the uploads, each time elsewhere.
        line.until_sent(line.sent() + 33 * MIB + kill * 3 * MIB);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(
            status.code().is_none(),
            "kill {kill} came too late: {status}"
        );
        // What was there before comes back, whatever was killed.
        let back = format!("back-{kill}");
        cloud.restore_anew(&format!("new-{kill}"), &back).is(0);
        cloud.world.same(&back);
    }
    cloud.run("backup --home home").is(0);
    let sent = line.sent() - before;
    let twice = sent.saturating_sub(clean);
    println!("{sent} bytes were sent after {kills} kills, {clean} without: {twice} more");
    assert!(
        twice <= kills * UNDER_WAY_MAX,
        "{twice} bytes were sent twice"
    );

    cloud.restore_anew("new", "back").is(0);
    cloud.world.same("back");
    for (number, part) in noise.chunks(3 << 20).enumerate() {
        let back = fs::read(cloud.world.at(&format!("back/media/{number}.mp4"))).unwrap();
        assert!(back == part, "film {number} is another one");
    }
    // An object is one request: nothing is left on the server that is paid for and not listed.
    let uploads = server.ask("/bucket?uploads");
    assert!(uploads.contains("ListMultipartUploadsResult"), "{uploads}");
    assert!(!uploads.contains("<Upload>"), "{uploads}");
}

/// BACKUP-2, F16: a server that goes away is waited for with a limit, told as such, and the backup
/// that was cut off goes on when it is back.
#[test]
fn a_server_that_goes_away_is_told_and_the_next_backup_ends_the_work() {
    let (server, root, cloud) = webdav();
    films(&cloud, 48 * MIB);
    let at = server.address.clone();
    let child = cloud
        .command("backup --home home --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_grown(&root, 8 * MIB);
    drop(server);
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (code, &told["remedy"]),
        (3, &"retry-later".into()),
        "{told}"
    );
    let waited = began.elapsed();
    assert!(
        waited < Duration::from_secs(120),
        "it gave up after {waited:?}"
    );

    println!("the command ended with {code}, {waited:?} after the server was gone");

    let _server = Server::webdav_at(&root, USER, SECRET, &at);
    cloud.run("backup --home home").is(0);
    cloud.restore_anew("new", "back").is(0);
    cloud.world.same("back");
}

/// BACKUP-2: what waits for its upload lies on this device's disk, and that may be the bad one. The run that meets it ends, and
/// the next one seals anew what it cannot read.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_bad_sector_under_the_spool_costs_a_run_and_no_file() {
    let (_server, _root, cloud) = webdav();
    films(&cloud, 64 * MIB);
    let spool = cloud.world.at("home/state/spool/packs");
    // The fifth pack that is read there: by then local state knows what is on its way.
    let read = std::cell::RefCell::new(Vec::<PathBuf>::new());
    let backup = || {
        let command = cloud.command("backup --home home --json");
        crate::bad_disk::run(&command, &|path, _| {
            let mut read = read.borrow_mut();
            if path.starts_with(&spool) && !read.iter().any(|known| known == path) {
                read.push(path.into());
            }
            read.get(4).is_some_and(|bad| bad == path)
        })
    };
    backup().is(3).says("did not reach the disk");
    backup().is(0);
    cloud.restore_anew("new", "back").is(0);
    cloud.world.same("back");
}

#[test]
fn wrong_credentials_are_told_at_once_and_lose_nothing() {
    let (_server, root, cloud) = webdav();
    cloud.run("backup --home home").is(0);
    let before = listing(&root);
    let began = Instant::now();
    for command in ["backup", "status", "verify", "restore --to x"] {
        let mut command = cloud.command(&format!("{command} --home home --json"));
        command.env("KEYHAVEN_STORE_SECRET", "expired");
        let told = ran(command).is(4);
        assert_eq!(told.json()["remedy"], "ask-user", "{told:?}");
        assert!(!told.out.contains("expired") && !told.err.contains("expired"));
    }
    // A password that is wrong does not become right by being sent again.
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(listing(&root), before);
    cloud.run("backup --home home").is(0);
}

/// Media that nothing can make smaller, so that each byte sent is a byte stored: films of 3 MiB.
fn films(cloud: &Cloud, bytes: u64) -> Vec<u8> {
    let mut seed = 1_u64;
    let words = usize::try_from(bytes / 8).unwrap();
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()
    })
    .take(words)
    .flatten()
    .collect();
    for (number, part) in noise.chunks(3 << 20).enumerate() {
        fs::write(cloud.world.at(&format!("chats/media/{number}.mp4")), part).unwrap();
    }
    noise
}

/// Waits until the server's folder holds so many bytes more than now.
fn until_grown(root: &Path, bytes: u64) {
    let size = || listing(root).iter().map(|(_, len)| len).sum::<u64>();
    let (before, began) = (size(), Instant::now());
    while size() < before + bytes {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listing(root: &Path) -> Vec<(PathBuf, u64)> {
    let mut all: Vec<_> = files(root)
        .into_iter()
        // One that a put was cut off at may vanish meanwhile.
        .filter_map(|file| Some((file.clone(), fs::metadata(&file).ok()?.len())))
        .collect();
    all.sort();
    all
}
