//! A vault process on loopback, and people who use it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use keyhaven_secrets::{BackupKey, Entropy, Password};
use keyhaven_testkit::entropy::SeededEntropy;
use keyhaven_vault_client::{
    AccountName, Cost, DeviceSecret, HttpTransport, Journal, MemoryJournal, NewDevice, Policy,
    Recovered, RegisterBy, Registered, Standing, Token, UnixSeconds, Vault, VaultAddress,
    VaultError,
};
use rustix::process::{Pid, Signal, kill_process};

/// A vault's data folder and, while it runs, its process.
pub(crate) struct House {
    folder: tempfile::TempDir,
    running: Option<Process>,
}

struct Process {
    child: Child,
    address: VaultAddress,
    log: Option<thread::JoinHandle<String>>,
}

impl House {
    /// A new vault that answers.
    pub(crate) fn open() -> Self {
        let mut house = Self::closed();
        house.start(&[]);
        house
    }

    /// A folder without a vault.
    pub(crate) fn closed() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            running: None,
        }
    }

    /// The folder that the vault's is in.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("vault")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data().join("fleet").join(name)
    }

    pub(crate) fn start(&mut self, flags: &[&str]) {
        self.try_start(flags)
            .unwrap_or_else(|said| panic!("{said}"));
    }

    /// Starts it, or gives back what it says instead.
    pub(crate) fn try_start(&mut self, flags: &[&str]) -> Result<(), String> {
        let mut command = serving(&self.data());
        command.args(flags);
        self.try_spawn(command)
    }

    /// Starts it so that no file of its grows beyond so many KiB: a write beyond fails, as on a
    /// full disk.
    pub(crate) fn start_with_files_of_at_most(&mut self, kib: u32) {
        let serving = serving(&self.data());
        let mut command = Command::new("bash");
        let limited = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &limited])
            .arg(serving.get_program())
            .args(serving.get_args());
        self.spawn(command);
    }

    fn spawn(&mut self, command: Command) {
        self.try_spawn(command)
            .unwrap_or_else(|said| panic!("{said}"));
    }

    fn try_spawn(&mut self, mut command: Command) -> Result<(), String> {
        assert!(self.running.is_none(), "it runs already");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let address = match line.parse() {
            Ok(address) => address,
            Err(error) => {
                let log = log.join().unwrap();
                child.wait().unwrap();
                return Err(format!("{error}: it printed {line:?} and {log}"));
            }
        };
        self.running = Some(Process {
            child,
            address,
            log: Some(log),
        });
        Ok(())
    }

    /// `SIGKILL`, as a crash or the kernel would.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// `SIGTERM`, as an operator would; and what was said on standard error.
    pub(crate) fn stop(&mut self) -> (ExitStatus, String) {
        kill_process(self.running.as_ref().unwrap().pid(), Signal::TERM).unwrap();
        self.ended()
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let mut running = self.running.take().unwrap();
        let status = running.child.wait().unwrap();
        (status, running.log.take().unwrap().join().unwrap())
    }

    /// A handle that kills the process from another thread.
    pub(crate) fn assassin(&self) -> impl FnOnce() + Send + use<> {
        let pid = self.running.as_ref().unwrap().pid();
        move || kill_process(pid, Signal::KILL).unwrap()
    }

    pub(crate) fn address(&self) -> &VaultAddress {
        &self.running.as_ref().unwrap().address
    }

    pub(crate) fn origin(&self) -> String {
        self.address()
            .origin()
            .strip_prefix("http://")
            .unwrap()
            .to_owned()
    }

    /// Adds an account and returns whoever owns it.
    pub(crate) fn person(&self, name: &str) -> Person {
        let added = command(&["account", "add", name], &self.data());
        assert!(added.status.success(), "{added:?}");
        let token = String::from_utf8(added.stdout).unwrap().trim().to_owned();
        let mut entropy = SeededEntropy::new(name.bytes().map(u64::from).sum());
        Person {
            account: AccountName::parse(name).unwrap(),
            token,
            key: BackupKey::generate(&mut entropy),
            device: DeviceSecret::generate(&mut entropy),
            journal: MemoryJournal::new(),
            memory: NewDevice::new(),
            entropy,
        }
    }
}

impl Process {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `keyhaven-vault serve` on a free port, not started yet.
pub(crate) fn serving(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdin(Stdio::null());
    command
}

/// Runs one command to its end.
pub(crate) fn command(args: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyhaven-vault"))
        .args(args)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Where a vault answers.
pub(crate) trait Served {
    fn address(&self) -> &VaultAddress;
}

impl Served for House {
    fn address(&self) -> &VaultAddress {
        Self::address(self)
    }
}

impl Served for VaultAddress {
    fn address(&self) -> &VaultAddress {
        self
    }
}

/// The owner of an account, with the device that survives the vault's crashes.
pub(crate) struct Person {
    pub(crate) account: AccountName,
    pub(crate) token: String,
    pub(crate) key: BackupKey,
    pub(crate) device: DeviceSecret,
    pub(crate) journal: MemoryJournal,
    memory: NewDevice,
    pub(crate) entropy: SeededEntropy,
}

impl Person {
    pub(crate) fn connect(
        &mut self,
        house: &impl Served,
    ) -> Result<Vault<HttpTransport>, VaultError> {
        let transport =
            HttpTransport::new(house.address(), Token::parse(&self.token).unwrap()).unwrap();
        // A cost that protects nothing, so that a test spends its time on the vault.
        let policy = Policy::default()
            .dangerous_with_cost(Cost::parse(8, 1, 1).unwrap())
            .with_resends(0, Duration::ZERO);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let memory = &mut self.memory;
        Vault::connect(
            house.address(),
            &self.account,
            transport,
            memory,
            UnixSeconds(now),
            policy,
        )
    }

    pub(crate) fn register(
        &mut self,
        house: &impl Served,
        password: &str,
    ) -> Result<Registered, VaultError> {
        let vault = self.connect(house)?;
        let password = Password::parse(password).unwrap();
        let device = Some(self.device.public());
        let (by, journal) = (RegisterBy::First, &mut self.journal);
        vault.register(journal, &password, &self.key, device, by, &mut self.entropy)
    }

    /// One guess, marked as the owner's.
    pub(crate) fn guess(
        &mut self,
        house: &impl Served,
        password: &str,
    ) -> Result<Recovered, VaultError> {
        let vault = self.connect(house)?;
        let password = Password::parse(password).unwrap();
        vault.recover(
            &mut self.journal,
            &password,
            Some(&self.device),
            &mut self.entropy,
        )
    }

    pub(crate) fn standing(&mut self, house: &impl Served) -> Standing {
        let vault = self.connect(house).unwrap();
        vault
            .standing(Some(&self.device), &mut self.entropy)
            .unwrap()
    }

    /// A person who types something else begins another guess.
    pub(crate) fn forget_guess(&mut self) {
        self.journal
            .clear(keyhaven_vault_client::Slot::Guess)
            .unwrap();
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        u64::from_be_bytes(bytes).checked_rem(below).unwrap_or(0)
    }
}

/// Copies a file as a backup would.
pub(crate) fn saved(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}
