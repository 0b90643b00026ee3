//! Who may speak to the vault: static-key accounts, one line each in a file.
//!
//! A line is `active <hash> <time> <name>` or `removed <hash> <time> <name>`: the SHA-256 of the
//! account's login token in lower-case hex, when the line was last changed in seconds since 1970,
//! and the name to the end of the line. The token itself is printed once and never stored.
//!
//! A name is never given to somebody else: a removed account keeps its line, because its record in
//! the vault keeps its name too, and whoever held the name next would hold the record.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use keyhaven_secrets::{Entropy, Remedy};
use keyhaven_wire::message::AccountName;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::folder::{self, Folder, FolderError};
use crate::os;

/// What every token begins with, so that one found in a log or a repository can be recognised.
const TOKEN_PREFIX: &str = "kht_";
/// VAULT-10: accounts in a file that is read whole.
const ACCOUNTS_MAX: usize = 100_000;

/// A login token. It is shown once and wiped when dropped; `Debug` shows nothing of it.
pub struct Token(Zeroizing<String>);

impl Token {
    fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice());
        let mut token = String::with_capacity(TOKEN_PREFIX.len().saturating_add(64));
        token.push_str(TOKEN_PREFIX);
        token.push_str(&Zeroizing::new(hex(bytes.as_slice())));
        Self(Zeroizing::new(token))
    }

    /// The token, for the one time that it is shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What is kept of a token: it has 256 random bits, so a plain hash cannot be searched.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// Whether an account may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may.
    Active,
    /// It may no longer.
    Removed,
}

/// One account, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) name: AccountName,
    /// Whether it may log in.
    pub(crate) standing: Standing,
    /// When its line was last changed, in seconds since 1970.
    pub(crate) changed: u64,
}

/// Why the accounts cannot be read or changed as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The name is in use.
    #[error("there is an account of that name; `account renew` gives it a new token")]
    Exists,
    /// The name was in use once.
    #[error(
        "an account of that name was removed; its record in the vault still carries the name. \
         If this is the same person, use `account renew`; for another person take another name"
    )]
    WasRemoved,
    /// There is no account of that name.
    #[error("there is no account of that name")]
    Unknown,
    /// There are too many.
    #[error("the file holds {ACCOUNTS_MAX} accounts, which is all that it is made for")]
    Full,
    /// A line cannot be read.
    #[error("line {line} of {} is not an account", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl AccountsError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Exists | Self::WasRemoved | Self::Unknown | Self::Full => Remedy::AskUser,
            Self::Malformed { .. } => Remedy::Stop,
            Self::Folder(error) => error.remedy(),
        }
    }
}

#[derive(Clone)]
struct Line {
    standing: Standing,
    hash: TokenHash,
    changed: u64,
}

type Lines = BTreeMap<AccountName, Line>;

/// Makes an account in a vault's data folder and returns its login token, which is shown nowhere
/// else. It works at once, also while a server runs.
///
/// # Errors
/// [`AccountsError`] when the name is or was in use, or the file cannot be changed.
pub fn add_account(data: &Path, name: &AccountName) -> Result<Token, AccountsError> {
    let folder = Folder::at(data);
    folder.create()?;
    AccountsFile::at(folder.accounts()).add(name, os::now_seconds(), &mut os::SystemEntropy)
}

/// The file of accounts, as its commands change it.
pub(crate) struct AccountsFile {
    path: PathBuf,
}

impl AccountsFile {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn add(
        &self,
        name: &AccountName,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Token, AccountsError> {
        self.change(|lines| {
            match lines.get(name).map(|line| line.standing) {
                Some(Standing::Active) => return Err(AccountsError::Exists),
                Some(Standing::Removed) => return Err(AccountsError::WasRemoved),
                None if lines.len() >= ACCOUNTS_MAX => return Err(AccountsError::Full),
                None => {}
            }
            Ok(give_token(lines, name, now, entropy))
        })
    }

    /// A new token for an account that there is or was; the old one stops at once.
    pub(crate) fn renew(
        &self,
        name: &AccountName,
        now: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Token, AccountsError> {
        self.change(|lines| {
            if !lines.contains_key(name) {
                return Err(AccountsError::Unknown);
            }
            Ok(give_token(lines, name, now, entropy))
        })
    }

    pub(crate) fn remove(&self, name: &AccountName, now: u64) -> Result<(), AccountsError> {
        self.change(|lines| match lines.get_mut(name) {
            Some(line) if line.standing == Standing::Active => {
                line.standing = Standing::Removed;
                line.changed = now;
                Ok(())
            }
            Some(_) | None => Err(AccountsError::Unknown),
        })
    }

    pub(crate) fn list(&self) -> Result<Vec<Account>, AccountsError> {
        let accounts = read(&self.path)?.into_iter().map(|(name, line)| Account {
            name,
            standing: line.standing,
            changed: line.changed,
        });
        Ok(accounts.collect())
    }

    /// Two commands at once take turns: each reads what the one before it wrote.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Lines) -> Result<T, AccountsError>,
    ) -> Result<T, AccountsError> {
        let turn = self.path.with_added_extension("lock");
        let held = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&turn)
            .map_err(FolderError::at("cannot open", &turn))?;
        held.lock().map_err(FolderError::at("cannot lock", &turn))?;
        let mut lines = read(&self.path)?;
        let result = change(&mut lines)?;
        folder::replace(&self.path, encode(&lines).as_bytes())?;
        Ok(result)
    }
}

fn give_token(lines: &mut Lines, name: &AccountName, now: u64, entropy: &mut dyn Entropy) -> Token {
    let token = Token::generate(entropy);
    let hash = TokenHash::of(token.expose());
    lines.insert(
        name.clone(),
        Line {
            standing: Standing::Active,
            hash,
            changed: now,
        },
    );
    token
}

/// The accounts as a running server sees them: the file is looked at on every login and read again
/// when it is another, so that an added account works, and a removed one stops, at once.
pub(crate) struct Directory {
    path: PathBuf,
    loaded: RwLock<Option<Loaded>>,
}

struct Loaded {
    stamp: Option<Stamp>,
    accounts: HashMap<TokenHash, AccountName>,
}

/// The file is replaced by renames only, so another content has another inode or time.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Directory {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            path,
            loaded: RwLock::new(None),
        }
    }

    /// Whose token this is. An error fails closed: nobody logs in by accounts that cannot be read.
    pub(crate) fn account_of(&self, token: &str) -> Result<Option<AccountName>, AccountsError> {
        let hash = TokenHash::of(token);
        let stamp = stamp(&self.path)?;
        {
            let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(loaded) = loaded.as_ref().filter(|loaded| loaded.stamp == stamp) {
                return Ok(loaded.accounts.get(&hash).cloned());
            }
        }
        // The stamp was taken before the file is read: a change in between is seen next time.
        let lines = read(&self.path)?;
        let active = lines
            .into_iter()
            .filter(|(_, line)| line.standing == Standing::Active);
        let accounts: HashMap<_, _> = active.map(|(name, line)| (line.hash, name)).collect();
        let account = accounts.get(&hash).cloned();
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        *loaded = Some(Loaded { stamp, accounts });
        Ok(account)
    }
}

fn stamp(path: &Path) -> Result<Option<Stamp>, FolderError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Stamp {
            inode: meta.ino(),
            bytes: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::at("cannot read", path)(error)),
    }
}

fn read(path: &Path) -> Result<Lines, AccountsError> {
    if stamp(path)?.is_none() {
        return Ok(Lines::new());
    }
    let bytes = folder::read_private(path)?;
    let mut lines = Lines::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let malformed = || AccountsError::Malformed {
            path: path.to_owned(),
            line: number.saturating_add(1),
        };
        let (name, line) = std::str::from_utf8(line)
            .ok()
            .and_then(decode)
            .ok_or_else(malformed)?;
        if lines.len() >= ACCOUNTS_MAX || lines.insert(name, line).is_some() {
            return Err(malformed());
        }
    }
    Ok(lines)
}

fn encode(lines: &Lines) -> String {
    let mut text = String::new();
    for (name, line) in lines {
        text.push_str(&encode_line(name, line));
        text.push('\n');
    }
    text
}

fn encode_line(name: &AccountName, line: &Line) -> String {
    let standing = match line.standing {
        Standing::Active => "active",
        Standing::Removed => "removed",
    };
    let hash = hex(&line.hash.0);
    format!("{standing} {hash} {} {}", line.changed, name.as_str())
}

/// Reads a line; none for anything but its one encoding, so that a line which was bent by hand is
/// pointed out and not taken for another.
fn decode(line: &str) -> Option<(AccountName, Line)> {
    let mut parts = line.splitn(4, ' ');
    let standing = match parts.next()? {
        "active" => Standing::Active,
        "removed" => Standing::Removed,
        _ => return None,
    };
    let hash = TokenHash(unhex(parts.next()?)?);
    let changed = parts.next()?.parse().ok()?;
    let name = AccountName::parse(parts.next()?).ok()?;
    let read = Line {
        standing,
        hash,
        changed,
    };
    (encode_line(&name, &read) == line).then_some((name, read))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
