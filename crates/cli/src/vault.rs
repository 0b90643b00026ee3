//! The real vault, as a process of its own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context as _;
use zeroize::Zeroizing;

/// Runs the vault's own command line in this process.
pub(crate) fn process(args: Vec<OsString>) -> ExitCode {
    let name = std::iter::once(OsString::from("keyhaven-vault"));
    keyhaven_vault_node::cli_main(name.chain(args))
}

/// A vault that ends when this is dropped.
pub(crate) struct VaultProcess {
    child: Child,
    data: PathBuf,
    address: String,
}

impl VaultProcess {
    /// Starts a vault on `data`, listening on loopback; port 0 takes a free one.
    pub(crate) fn start(data: &Path, port: u16) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["vault-process", "serve", "--until-stdin-ends", "--data"])
            .arg(data)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the vault")?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().to_owned();
        if address.is_empty() {
            let ended = child.wait_with_output()?;
            anyhow::bail!(
                "the vault on {} did not start: {}",
                data.display(),
                String::from_utf8_lossy(&ended.stderr).trim()
            );
        }
        Ok(Self {
            child,
            data: data.to_path_buf(),
            address,
        })
    }

    /// The address with its pin.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The process's id, for the person.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The login of an account, made if it is new. The token is kept beside the vault's data, for a
    /// vault that is this person's own.
    pub(crate) fn account(&self, name: &str) -> anyhow::Result<Zeroizing<String>> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let kept = self.data.join(format!("login-{name}"));
        if kept.exists() {
            return crate::ui::secret_from(&kept);
        }
        let account = keyhaven_vault_client::AccountName::parse(name)?;
        let token = keyhaven_vault_node::add_account(&self.data, &account)?;
        let token = Zeroizing::new(token.expose().to_owned());
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&kept)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        Ok(token)
    }
}

impl Drop for VaultProcess {
    fn drop(&mut self) {
        // Its end of file is its order to stop.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The port in a vault's address.
pub(crate) fn port_of(address: &str) -> Option<u16> {
    let (_, host) = address.split_once("://")?;
    let host = host.split(['/', '#']).next()?;
    host.rsplit_once(':')?.1.parse().ok()
}
