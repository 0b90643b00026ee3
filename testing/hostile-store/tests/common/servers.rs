//! Real servers, started by testing/servers/serve.py.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../servers/serve.py");
const VENV: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/test-servers");

/// A server that ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn s3() -> Self {
        Self::start(&["s3"])
    }

    pub(crate) fn webdav(root: &Path, user: &str, secret: &str) -> Self {
        let root = root.to_str().unwrap();
        Self::start(&["webdav", "--root", root, "--user", user, "--secret", secret])
    }

    /// The same over TLS, with a certificate of its own making in `tls`.
    pub(crate) fn webdavs(root: &Path, user: &str, secret: &str, tls: &Path) -> Self {
        let (root, tls) = (root.to_str().unwrap(), tls.to_str().unwrap());
        Self::start(&[
            "webdav", "--root", root, "--user", user, "--secret", secret, "--tls", tls,
        ])
    }

    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new("python3")
            .arg(SCRIPT)
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
