//! What each command does.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;

use keyhaven_wire::message::AccountName;
use serde::Serialize;

use super::args::{Account, Arguments, Backup, Command, Common, MIB, Named, Serve};
use super::{Exit, output};
use crate::accounts::{AccountsError, AccountsFile, Standing};
use crate::backup::{self, BackupError};
use crate::config::{Config, Limits};
use crate::doctor::{self, DoctorError};
use crate::folder::{self, Folder, FolderError};
use crate::machine::{CreateError, ResumeError};
use crate::operator;
use crate::os::{self, SystemEntropy};
use crate::rate::Rate;
use crate::serve::{self, ServeError};
use crate::status;
use crate::tail_folder::TailFault;

pub(crate) fn run(arguments: Arguments) -> Exit {
    let done = match arguments.command {
        Command::Serve(args) => serve(&args),
        Command::Init(common) => init(&common),
        Command::Account { command } => account(command),
        Command::Status(common) => status(&common),
        Command::Doctor(common) => doctor(&common),
        Command::Bundle(common) => bundle(&common),
        Command::Backup(args) => back_up(&args),
    };
    match done {
        Ok(exit) => exit,
        Err(error) => {
            output::failure(&error);
            error.exit()
        }
    }
}

/// Any command's failure.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Doctor(#[from] DoctorError),
    #[error(transparent)]
    Status(#[from] status::StatusError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Name(#[from] keyhaven_wire::message::AccountError),
    #[error("the ready file {}: {source}", path.display())]
    ReadyFile {
        path: std::path::PathBuf,
        source: FolderError,
    },
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::Serve(error.into())
    }
}

impl From<operator::OperatorError> for Failure {
    fn from(error: operator::OperatorError) -> Self {
        Self::Serve(error.into())
    }
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Serve(error) => serve_exit(error),
            Self::Accounts(error) => match error {
                AccountsError::Exists | AccountsError::WasRemoved | AccountsError::Unknown => {
                    Exit::Account
                }
                AccountsError::Malformed { .. } => Exit::Damaged,
                AccountsError::Full => Exit::Failed,
                AccountsError::Folder(error) => folder_exit(error),
            },
            Self::Doctor(error) => match error {
                DoctorError::Folder(error) => folder_exit(error),
                DoctorError::NoVault { .. } => Exit::Misplaced,
            },
            Self::Status(error) => match error {
                status::StatusError::Folder(error) => folder_exit(error),
                status::StatusError::NoVault { .. } => Exit::Misplaced,
                status::StatusError::Tail(TailFault::Folder(error)) => folder_exit(error),
                status::StatusError::Damaged { .. } | status::StatusError::Tail(_) => Exit::Damaged,
                status::StatusError::Accounts(_) | status::StatusError::Operator(_) => {
                    Exit::Damaged
                }
            },
            Self::Backup(error) => match error {
                BackupError::NoVault { .. } => Exit::Misplaced,
                BackupError::Resume(error) => resume_exit(error),
                BackupError::Folder(error) | BackupError::Tail(TailFault::Folder(error)) => {
                    folder_exit(error)
                }
                BackupError::Tail(TailFault::Tail(_)) => Exit::Damaged,
                BackupError::Inside { .. }
                | BackupError::Uncommitted
                | BackupError::Copy(_)
                | BackupError::Differs => Exit::Failed,
            },
            Self::Name(_) => Exit::Account,
            Self::ReadyFile { .. } => Exit::Failed,
        }
    }
}

fn serve_exit(error: &ServeError) -> Exit {
    match error {
        ServeError::Folder(error) => folder_exit(error),
        ServeError::NoVault { .. } | ServeError::Create(CreateError::Exists { .. }) => {
            Exit::Misplaced
        }
        ServeError::Resume(error) => resume_exit(error),
        ServeError::Create(_)
        | ServeError::Operator(_)
        | ServeError::PlainHttp { .. }
        | ServeError::Listen { .. }
        | ServeError::Threads(_)
        | ServeError::Address(_)
        | ServeError::Stopped(_)
        | ServeError::Panicked => Exit::Failed,
    }
}

fn resume_exit(error: &ResumeError) -> Exit {
    match error {
        ResumeError::Gone { .. } => Exit::Gone,
        ResumeError::Damaged { .. } => Exit::Damaged,
        ResumeError::Folder(error) => folder_exit(error),
        ResumeError::Store(_) | ResumeError::Core(_) | ResumeError::CatchUp(_) => Exit::Failed,
    }
}

fn folder_exit(error: &FolderError) -> Exit {
    match error {
        FolderError::InUse { .. } => Exit::InUse,
        FolderError::Exposed { .. } | FolderError::Io { .. } => Exit::Failed,
    }
}

fn serve(args: &Serve) -> Result<Exit, Failure> {
    let data = &args.common.data;
    if !Folder::at(data).fleet().exists() {
        serve::init(data)?;
        output::note(&format!("A new vault was made in {}.", data.display()));
        output::note("Give people a login with `keyhaven-vault account add NAME --data DIR`.");
    }
    let config = Config {
        data: data.clone(),
        listen: args.listen,
        dangerous_plain_http: args.dangerous_plain_http,
        limits: Limits {
            connections: args.max_connections,
            queue: args.max_waiting,
            tail_bytes: args.max_tail_mib.saturating_mul(MIB),
            account: Rate {
                per_second: args.account_rate,
                burst: args.account_burst,
            },
            everybody: Rate {
                per_second: args.global_rate,
                burst: args.global_burst,
            },
            ..Limits::default()
        },
    };
    let running = serve::serve(&config)?;
    running.stop_on_signals()?;
    if args.until_stdin_ends {
        stop_with_stdin(running.handle());
    }
    let address = running.address().to_string();
    if let Some(path) = &args.ready_file {
        folder::replace(path, format!("{address}\n").as_bytes()).map_err(|source| {
            Failure::ReadyFile {
                path: path.clone(),
                source,
            }
        })?;
    }
    if args.common.json {
        #[derive(Serialize)]
        struct Ready<'a> {
            address: &'a str,
            listen: String,
            pid: u32,
        }
        let listen = running.bound().to_string();
        output::json(&Ready {
            address: &address,
            listen,
            pid: std::process::id(),
        });
    } else {
        output::line(&address);
    }
    running.wait()?;
    Ok(Exit::Done)
}

/// The thread is left behind when the process ends: nothing can wake a read of standard input.
fn stop_with_stdin(stop: serve::Stop) {
    let watch = move || {
        let mut sink = [0; 256];
        let mut stdin = std::io::stdin().lock();
        while matches!(stdin.read(&mut sink), Ok(read) if read > 0) {}
        stop.stop();
    };
    if let Err(error) = thread::Builder::new()
        .name("vault-stdin".to_owned())
        .spawn(watch)
    {
        tracing::warn!(%error, "standard input is not watched");
    }
}

fn init(common: &Common) -> Result<Exit, Failure> {
    let pin = serve::init(&common.data)?.0.to_string();
    if common.json {
        #[derive(Serialize)]
        struct Made {
            pin: String,
        }
        output::json(&Made { pin });
    } else {
        output::line(&pin);
        output::note("This pin ends every address of the vault. The data folder is the vault:");
        output::note("whoever reads it can guess without limit, and nothing else can replace it.");
    }
    Ok(Exit::Done)
}

fn account(command: Account) -> Result<Exit, Failure> {
    match command {
        Account::Add(named) => give_token(&named, |file, name| {
            file.add(name, os::now_seconds(), &mut SystemEntropy)
        }),
        Account::Renew(named) => give_token(&named, |file, name| {
            file.renew(name, os::now_seconds(), &mut SystemEntropy)
        }),
        Account::Remove(named) => {
            let name = AccountName::parse(&named.name)?;
            accounts(&named.common.data)?.remove(&name, os::now_seconds())?;
            output::note("Its token works no longer. Its record stays in the vault, unreadable.");
            Ok(Exit::Done)
        }
        Account::List(common) => list(&common),
    }
}

fn accounts(data: &Path) -> Result<AccountsFile, Failure> {
    let folder = Folder::at(data);
    folder.create()?;
    Ok(AccountsFile::at(folder.accounts()))
}

fn give_token(
    named: &Named,
    give: impl FnOnce(&AccountsFile, &AccountName) -> Result<crate::accounts::Token, AccountsError>,
) -> Result<Exit, Failure> {
    let name = AccountName::parse(&named.name)?;
    let token = give(&accounts(&named.common.data)?, &name)?;
    if named.common.json {
        #[derive(Serialize)]
        struct Given<'a> {
            account: &'a str,
            token: &'a str,
        }
        output::json(&Given {
            account: name.as_str(),
            token: token.expose(),
        });
    } else {
        output::line(token.expose());
        output::note("This login token is shown once and not kept. It works from now on.");
    }
    Ok(Exit::Done)
}

fn list(common: &Common) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Listed<'a> {
        account: &'a str,
        active: bool,
        changed: u64,
    }
    let accounts = accounts(&common.data)?.list()?;
    for account in &accounts {
        let active = account.standing == Standing::Active;
        let name = account.name.as_str();
        if common.json {
            output::json(&Listed {
                account: name,
                active,
                changed: account.changed,
            });
        } else {
            output::line(&format!(
                "{}  {name}",
                if active { "active " } else { "removed" }
            ));
        }
    }
    Ok(Exit::Done)
}

fn status(common: &Common) -> Result<Exit, Failure> {
    let status = status::read(&common.data)?;
    if common.json {
        output::json(&status);
    } else {
        output::line(&status.to_string());
    }
    Ok(Exit::Done)
}

fn doctor(common: &Common) -> Result<Exit, Failure> {
    let report = doctor::examine(&common.data)?;
    if common.json {
        output::json(&report);
    } else {
        output::line(&report.to_string());
    }
    Ok(report.exit())
}

fn bundle(common: &Common) -> Result<Exit, Failure> {
    let note = status::bundle(&common.data)?;
    if common.json {
        #[derive(Serialize)]
        struct Note {
            bundle: String,
        }
        output::json(&Note { bundle: note });
    } else {
        let _ = std::io::stdout().lock().write_all(note.as_bytes());
    }
    Ok(Exit::Done)
}

fn back_up(args: &Backup) -> Result<Exit, Failure> {
    let made = backup::back_up(&args.common.data, &args.to)?;
    if args.common.json {
        output::json(&made);
    } else {
        output::line(&format!("entry {}, {} bytes", made.entry, made.bytes));
        output::note(
            "Copied and read back. Keep it on another disk. If the store is ever lost, copy it",
        );
        output::note("back to its place: what came since is in the tail, and nothing is lost.");
    }
    Ok(Exit::Done)
}
