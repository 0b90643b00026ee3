//! A folder with chats, a home, a store, and the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub(crate) const PASSWORD: &str = "walnut trapeze 4 lagoon";
pub(crate) const WRONG: &str = "walnut trapeze 5 lagoon";
pub(crate) const OTHER: &str = "orchid tumble 7 gravel";
pub(crate) const TEXT: &str = "the heron waits at the lock, Theodora";
pub(crate) const MEDIA: &[u8] = b"MEDIA-CANARY-\x00\x01\xfe-0123456789";
pub(crate) const NAME: &str = "quince-canary-name.jpg";

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn is(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        if !matches!(code, 0 | 5 | 6) {
            assert!(!self.err.is_empty(), "an error is told on stderr: {self:?}");
        }
        self
    }

    /// Standard output is one JSON object and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"));
        assert_eq!(value["ok"], matches!(self.code, 0 | 5), "{self:?}");
        value
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "no {text:?} in {self:?}"
        );
        self
    }
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    /// A folder with a file, a picture in a folder, and a live database; nothing set up.
    pub(crate) fn new() -> Self {
        // Where there is a folder that needs no disk, flushing costs nothing.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let world = Self {
            folder: folder.unwrap(),
        };
        fs::create_dir_all(world.at("chats/media")).unwrap();
        fs::create_dir_all(world.at("tmp")).unwrap();
        fs::write(world.at("chats/notes.txt"), TEXT).unwrap();
        fs::write(world.at("chats/media").join(NAME), MEDIA.repeat(20_000)).unwrap();
        let chats = rusqlite::Connection::open(world.at("chats/chats.db")).unwrap();
        chats
            .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE message(text TEXT)")
            .unwrap();
        for _ in 0..50 {
            chats
                .execute("INSERT INTO message VALUES (?1)", [TEXT])
                .unwrap();
        }
        for (name, text) in [("pw", PASSWORD), ("wrong", WRONG), ("other", OTHER)] {
            fs::write(world.at(name), format!("{text}\n")).unwrap();
        }
        // Closing the last connection folds the log in: a change, too. What changed a moment ago is
        // read once more by the next backup, so it has to settle before "unchanged" can be said.
        drop(chats);
        std::thread::sleep(std::time::Duration::from_millis(100));
        world
    }

    /// As [`World::new`], set up with the 64-digit key in the file `key`.
    pub(crate) fn with_key() -> Self {
        let world = Self::new();
        world
            .run("setup --home home --source chats --store store --recovery-key --recovery-key-file key")
            .is(0);
        world
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        command_in(self.folder.path(), line)
    }

    /// Runs a command line, split at its spaces, in the world's folder, without a terminal.
    pub(crate) fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    /// The key's digits with one changed at each of these places.
    pub(crate) fn slip(&self, places: &[usize]) -> String {
        let mut digits: Vec<char> = fs::read_to_string(self.at("key"))
            .unwrap()
            .chars()
            .filter(char::is_ascii_hexdigit)
            .collect();
        assert_eq!(digits.len(), 64);
        for place in places {
            digits[*place] = if digits[*place] == '0' { '1' } else { '0' };
        }
        digits.into_iter().collect()
    }

    /// What was restored is what was backed up.
    #[track_caller]
    pub(crate) fn same(&self, back: &str) {
        let back = self.at(back);
        assert_eq!(fs::read_to_string(back.join("notes.txt")).unwrap(), TEXT);
        assert_eq!(
            fs::read(back.join("media").join(NAME)).unwrap(),
            MEDIA.repeat(20_000)
        );
        let chats = rusqlite::Connection::open(back.join("chats.db")).unwrap();
        let rows: u32 = chats
            .query_row(
                "SELECT count(*) FROM message WHERE text = ?1",
                [TEXT],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(rows, 50);
    }
}

/// A command line, split at its spaces, in a folder, without a terminal.
pub(crate) fn command_in(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyhaven"));
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("KEYHAVEN_HOME")
        .env("TMPDIR", folder.join("tmp"))
        .stdin(Stdio::null());
    command
}

/// Every file at and below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}
