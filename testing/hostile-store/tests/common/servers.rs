//! Real servers, started by testing/servers/serve.py. The tests of other crates use this file too.
#![allow(dead_code, reason = "not every test needs every server")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const VENV: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/test-servers");

/// How a database is encrypted (SQLCipher).
#[derive(Clone, Copy)]
pub(crate) struct Cipher<'a> {
    pub(crate) secret: &'a str,
    /// How many bytes of its header are in the clear.
    pub(crate) clear: u32,
}

/// A server that ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn s3() -> Self {
        Self::start(&["s3"])
    }

    /// Makes a bucket of an S3 server.
    pub(crate) fn make_bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(
            stream,
            "PUT /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// What a server answers to a plain GET.
    pub(crate) fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn webdav(root: &Path, user: &str, secret: &str) -> Self {
        let root = root.to_str().unwrap();
        Self::start(&["webdav", "--root", root, "--user", user, "--secret", secret])
    }

    /// As [`Server::webdav`], at an address where another one can listen later.
    pub(crate) fn webdav_at(root: &Path, user: &str, secret: &str, address: &str) -> Self {
        let root = root.to_str().unwrap();
        let (_, port) = address.rsplit_once(':').unwrap();
        Self::start(&[
            "webdav", "--root", root, "--user", user, "--secret", secret, "--port", port,
        ])
    }

    /// The same over TLS, with a certificate of its own making in `tls`: a `server`'s, an `authority`'s, or an `expired` one.
    pub(crate) fn webdavs(root: &Path, user: &str, secret: &str, tls: &Path, kind: &str) -> Self {
        let (root, tls) = (root.to_str().unwrap(), tls.to_str().unwrap());
        Self::start(&[
            "webdav",
            "--root",
            root,
            "--user",
            user,
            "--secret",
            secret,
            "--tls",
            tls,
            "--certificate",
            kind,
        ])
    }

    /// A messenger that commits to an encrypted database without a pause, until it is dropped or ended; it leaves
    /// its log behind as one that was killed.
    pub(crate) fn messenger(database: &Path, cipher: Cipher<'_>, journal: &str) -> Self {
        let (database, clear) = (database.to_str().unwrap(), cipher.clear.to_string());
        Self::start(&[
            "messenger",
            "--database",
            database,
            "--secret",
            cipher.secret,
            "--clear",
            &clear,
            "--journal",
            journal,
        ])
    }

    /// Has a messenger end between two commits.
    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// How many messages such a database holds, after a check of all of it. It is left closed, as by a messenger that
    /// ends in order.
    pub(crate) fn messages(database: &Path, cipher: Cipher<'_>) -> u64 {
        let output = Command::new("python3")
            .arg(Self::script())
            .args(["messages", "--venv", VENV, "--secret", cipher.secret])
            .args(["--clear", &cipher.clear.to_string()])
            .arg("--database")
            .arg(database)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        printed
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}: {printed:?}", database.display()))
    }

    fn script() -> PathBuf {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let mut scripts = above.map(|folder| folder.join("testing/servers/serve.py"));
        scripts.find(|script| script.is_file()).unwrap()
    }

    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .arg(Self::script())
            .args(arguments)
            .args(["--venv", VENV])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", Self::NEEDS));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .strip_prefix("listening ")
            .map(|address| address.trim().to_owned());
        let address = address.unwrap_or_else(|| panic!("{}: it printed {line:?}", Self::NEEDS));
        Self { child, address }
    }

    const NEEDS: &str = "this test starts a real server by testing/servers/serve.py, which needs \
                         python3 with venv and pip (Debian: python3 python3-venv)";
}

impl Drop for Server {
    fn drop(&mut self) {
        // The script ends when its input does; killing it too makes sure.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
