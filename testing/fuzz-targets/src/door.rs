//! The vault's front door, and the file of who may come in.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyhaven_vault_node::{Config, Rate, Running, add_account, init, serve};
use keyhaven_wire::message::AccountName;

/// The token of the account that the served vault has, and its line.
const TOKEN: &str = "kht_0000000000000000000000000000000000000000000000000000000000000000";
const LINE: &str =
    "active 036260d62431ded49ee2c565e4d851a18a0bb99dc01a83cbaac028641062645e 1 alice\n";

struct House {
    _folder: tempfile::TempDir,
    running: Running,
}

/// Panics of the vault's own threads, which its runtime would swallow.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with("vault-"))
            {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(info);
        }));
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("vault");
        init(&data).expect("a new vault");
        write_private(&data.join("accounts"), LINE.as_bytes());
        let mut config = Config::new(data);
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let plenty = Rate {
            per_second: 1_000_000,
            burst: 1_000_000,
        };
        config.limits.account = plenty;
        config.limits.everybody = plenty;
        config.limits.head_time = Duration::from_secs(2);
        let running = serve(&config).expect("a vault on loopback");
        House {
            _folder: folder,
            running,
        }
    })
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// Whatever a stranger sends, the vault answers or hangs up, none of its threads panics, and nothing
/// sealed comes out: `TOKEN` stands for a token that is good, but nobody sealed a request.
pub fn http(bytes: &[u8]) {
    let house = house();
    let Ok(mut stream) = TcpStream::connect(house.running.bound()) else {
        return;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let sent: Vec<u8> = match bytes.windows(5).position(|window| window == b"TOKEN") {
        Some(at) => [&bytes[..at], TOKEN.as_bytes(), &bytes[at + 5..]].concat(),
        None => bytes.to_vec(),
    };
    let _ = stream.write_all(&sent);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(4 << 20).read_to_end(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1."),
        "an answer is HTTP"
    );
    let sealed = b"application/octet-stream";
    assert!(
        !answer.windows(sealed.len()).any(|part| part == sealed),
        "VAULT-1: an answer to nobody"
    );
    assert_eq!(
        PANICS.load(Ordering::Relaxed),
        0,
        "a thread of the vault panicked"
    );
}

/// Requests that are right in form.
#[must_use]
pub fn http_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/fleet",
        "/",
        "/v1/vault?x=%00",
        "*",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "BREW"] {
            seeds.push(
                format!("{method} {path} HTTP/1.1\r\nhost: v\r\nconnection: close\r\n\r\n")
                    .into_bytes(),
            );
        }
    }
    for length in [
        "0",
        "5",
        "2170",
        "2171",
        "-1",
        "99999999999999999999",
        "0x5",
    ] {
        for authorization in ["Bearer TOKEN", "bearer  TOKEN", "Basic TOKEN", "Bearer"] {
            let head = format!(
                "POST /v1/vault HTTP/1.1\r\nhost: v\r\nauthorization: {authorization}\r\ncontent-length: {length}\r\n\r\n"
            );
            let mut request = head.into_bytes();
            if length == "2170" || length == "5" {
                let body = length.parse().unwrap_or(0);
                request.extend([1, 1]);
                request.resize(request.len() - 2 + body, 0x5a);
            }
            seeds.push(request);
        }
    }
    let chunked = "POST /v1/vault HTTP/1.1\r\nhost: v\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "5;x=y\r\nhello",
    ] {
        seeds.push([chunked, body].concat().into_bytes());
    }
    seeds
}

/// The file of accounts: either it is refused, or every line stays to the byte when one is added.
pub fn accounts(bytes: &[u8]) {
    static DATA: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, data) = DATA.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("vault");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&data)
            .expect("a folder");
        (folder, data)
    });
    let file = data.join("accounts");
    write_private(&file, bytes);
    let newcomer = AccountName::parse("zz-newcomer").expect("a name");
    if add_account(data, &newcomer).is_ok() {
        let after = fs::read(&file).expect("the file");
        let kept: Vec<&[u8]> = after.split(|byte| *byte == b'\n').collect();
        for line in bytes.split(|byte| *byte == b'\n') {
            assert!(
                line.is_empty() || kept.contains(&line),
                "an account's line changed"
            );
        }
    }
}

/// Files of accounts, good and bent.
#[must_use]
pub fn accounts_seeds() -> Vec<Vec<u8>> {
    let hash = "0123456789abcdef".repeat(4);
    let mut seeds = vec![
        Vec::new(),
        format!("active {hash} 1 alice\nremoved {hash} 2 bob\n").into_bytes(),
    ];
    for standing in ["active", "removed", "Active", ""] {
        for number in ["0", "1", "01", "+1", "-1", "18446744073709551616"] {
            seeds.push(format!("{standing} {hash} {number} carol and dave").into_bytes());
        }
    }
    for odd in ["A", "+1", "g0", "0 ", "é"] {
        for at in [0, 1, 32, 62] {
            let mut bent = hash.clone();
            bent.replace_range(at..at + 1, odd);
            bent.truncate(if odd.is_ascii() { 64 } else { bent.len() });
            seeds.push(format!("active {bent} 7 eve\n").into_bytes());
        }
    }
    for name in ["", " ", "a\0b", "ü", "zz-newcomer", "x y  z"] {
        seeds.push(format!("active {hash} 7 {name}\n\nactive {hash} 7 f").into_bytes());
    }
    seeds
}
