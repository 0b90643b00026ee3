//! A vault that keeps what has arrived, whatever becomes of the device: the host that ships, on a folder of its own, behind a
//! door that copies the folder after every answer. Any of these states can be brought back.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use keyhaven_testkit::copy_folder;
use keyhaven_vault_client::AccountName;
use keyhaven_vault_node::{Config, Running};

/// The person's account.
pub(crate) const ACCOUNT: &str = "amara";

/// Longer than any message of either side.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

pub(crate) struct House {
    inside: Arc<Mutex<Inside>>,
    address: String,
}

struct Inside {
    /// Below it `now`, on which the vault runs, and `0`, `1`, …: it, after so many answers.
    folder: PathBuf,
    running: Option<Running>,
    answered: usize,
    is_kept: bool,
}

impl House {
    /// A new vault with one account, whose login it returns too.
    pub(crate) fn new(folder: &Path) -> (Self, String) {
        let now = folder.join("now");
        fs::create_dir_all(&now).unwrap();
        let pin = keyhaven_vault_node::init(&now).unwrap().0;
        let account = AccountName::parse(ACCOUNT).unwrap();
        let token = keyhaven_vault_node::add_account(&now, &account).unwrap();
        let token = token.expose().to_owned();
        let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = format!("http://{}/#{pin}", door.local_addr().unwrap());
        let house = Self::behind(door, folder, address);
        house.begin();
        (house, token)
    }

    /// The one that a story which failed has left, at the same address.
    pub(crate) fn again(folder: &Path, address: &str) -> Self {
        let (_, rest) = address.split_once("://").unwrap();
        let (socket, _) = rest.split_once('/').unwrap();
        let socket: SocketAddr = socket.parse().unwrap();
        Self::behind(
            TcpListener::bind(socket).unwrap(),
            folder,
            address.to_owned(),
        )
    }

    fn behind(door: TcpListener, folder: &Path, address: String) -> Self {
        let inside = Arc::new(Mutex::new(Inside {
            folder: folder.to_path_buf(),
            running: None,
            answered: 0,
            is_kept: false,
        }));
        let carried = Arc::clone(&inside);
        thread::spawn(move || {
            for client in door.incoming().flatten() {
                let carried = Arc::clone(&carried);
                // A client that is killed is no concern of the next one.
                thread::spawn(move || carry(client, &carried));
            }
        });
        Self { inside, address }
    }

    /// Where it is, with its pin.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on each state is kept; this one is the first.
    pub(crate) fn begin(&self) {
        let mut inside = self.inside();
        inside.stop();
        inside.answered = 0;
        inside.is_kept = true;
        inside.keep();
        inside.start();
    }

    /// How many requests it has answered since the beginning.
    pub(crate) fn answered(&self) -> usize {
        self.inside().answered
    }

    /// Goes back to how it was after so many answers, and keeps nothing of what comes then.
    pub(crate) fn bring_back(&self, answered: usize) {
        let mut inside = self.inside();
        inside.stop();
        inside.is_kept = false;
        let now = inside.folder.join("now");
        let _ = fs::remove_dir_all(&now);
        copy_folder(&inside.folder.join(answered.to_string()), &now).unwrap();
        inside.start();
    }
}

impl Inside {
    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.handle().stop();
            running.wait().unwrap();
        }
    }

    fn start(&mut self) {
        let config = Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Config::new(self.folder.join("now"))
        };
        self.running = Some(keyhaven_vault_node::serve(&config).unwrap());
    }

    /// Nothing is under way: what was answered is on its disk.
    fn keep(&self) {
        let to = self.folder.join(self.answered.to_string());
        let _ = fs::remove_dir_all(&to);
        copy_folder(&self.folder.join("now"), &to).unwrap();
    }

    fn ask(&mut self, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(running) = &self.running else {
            return Ok(None);
        };
        let mut host = TcpStream::connect(running.bound())?;
        host.write_all(request)?;
        let answer = message(&mut BufReader::new(host))?;
        if self.is_kept && request.starts_with(b"POST ") {
            self.answered += 1;
            self.keep();
        }
        Ok(answer)
    }
}

/// Carries requests of one connection, and answers when the vault's state is kept.
fn carry(mut client: TcpStream, inside: &Mutex<Inside>) -> io::Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    while let Some(request) = message(&mut requests)? {
        let answer = inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ask(&request)?;
        match answer {
            Some(answer) => client.write_all(&answer)?,
            None => break,
        }
    }
    Ok(())
}

/// One message of HTTP/1.1, head and body.
fn message(from: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let (mut message, mut length) = (Vec::new(), 0);
    loop {
        let begun = message.len();
        if from.read_until(b'\n', &mut message)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&message[begun..]).to_ascii_lowercase();
        if line.trim().is_empty() {
            break;
        }
        if let Some(said) = line.strip_prefix("content-length:") {
            length = said.trim().parse().map_err(io::Error::other)?;
        }
    }
    assert!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..])?;
    Ok(Some(message))
}
