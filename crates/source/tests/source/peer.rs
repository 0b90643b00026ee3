//! Another program: this test binary run once more, with an SQLite of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rusqlite::Connection;

/// In a peer's environment: the database that it opens.
const DATABASE: &str = "KEYHAVEN_TEST_PEER";

/// A process that has a database open and does what it is told.
pub(crate) struct Peer {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a process that opens the database at `path`.
    pub(crate) fn open(path: &Path) -> Self {
        let mut child = command("peer::the_peer_process")
            .env(DATABASE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, to, from };
        assert_eq!(peer.run("SELECT 1"), "ok");
        peer
    }

    /// Runs SQL in that process and gives its answer: `ok`, or what went wrong.
    pub(crate) fn run(&mut self, sql: &str) -> String {
        let to = self.to.as_mut().unwrap();
        writeln!(to, "{}", sql.replace('\n', " ")).unwrap();
        to.flush().unwrap();
        self.answer()
    }

    /// Runs SQL that must work.
    pub(crate) fn must(&mut self, sql: &str) {
        assert_eq!(self.run(sql), "ok", "{sql}");
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "the peer died");
            // The test harness of the child prints lines of its own.
            if let Some(at) = line.find("peer: ") {
                return line[at + 6..].trim_end().to_owned();
            }
        }
    }

    /// Ends it in order: the connection is closed.
    pub(crate) fn close(self) {
        drop(self);
    }

    /// Ends it as a crash or the system's memory killer would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its orders is the end of the process.
        drop(self.to.take());
        self.child.wait().unwrap();
    }
}

/// This test binary, to run one test in a process of its own.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}

/// Not a test: what a peer does.
#[test]
fn the_peer_process() {
    let Some(path) = std::env::var_os(DATABASE) else {
        return;
    };
    let database = Connection::open(path).unwrap();
    database
        .busy_timeout(std::time::Duration::from_millis(50))
        .unwrap();
    for line in std::io::stdin().lines() {
        let done = database.execute_batch(&line.unwrap());
        println!(
            "peer: {}",
            done.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
        );
    }
}
