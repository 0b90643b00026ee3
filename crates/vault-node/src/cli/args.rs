//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Limits;

pub(crate) const MIB: u64 = 1024 * 1024;
/// A start reads all of it.
const TAIL_MIB_MAX: u64 = 64 * 1024;

/// Keyhaven's vault: keeps backup keys behind a password and ten guesses.
#[derive(Debug, Parser)]
#[command(
    name = "keyhaven-vault",
    version,
    after_help = "\
Exit codes:
  0  done
  1  failed; another try may help (a disk, a port, a file)
  2  the command line is wrong
  3  another process is using the data folder
  4  there is no vault in the data folder, or (init) there is one already
  5  the vault is gone: its store is older than its memory; it will not serve
  6  something is damaged, or doctor found a fault
  7  the account does not exist, or does already

A first vault on this machine:
  keyhaven-vault serve --data ./vault          # prints the address for clients
  keyhaven-vault account add alice --data ./vault   # prints alice's login token, once"
)]
pub(crate) struct Arguments {
    /// Say more on standard error; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the vault; makes one on the first start.
    ///
    /// Prints one line on standard output once it answers: the address that clients are given. It
    /// stops on SIGTERM or SIGINT, after the requests under way are answered.
    Serve(Serve),
    /// Make a vault without serving it.
    Init(Common),
    /// Manage who may log in. Takes effect at once, also while the server runs.
    Account {
        #[command(subcommand)]
        command: Account,
    },
    /// Tell what stands in the data folder, and whether a server uses it.
    Status(Common),
    /// Check store, log and memory against each other. The server must not be running.
    Doctor(Common),
    /// Print the signed validation bundle that clients are given.
    Bundle(Common),
    /// Copy the store to a file, and keep from then on what leads forward from there. The server must
    /// not be running.
    ///
    /// The copy is read back before the one that was there is replaced. Keep it on another disk. It
    /// holds sealed records only, and is of use only together with this data folder's secrets, memory
    /// and tail.
    Backup(Backup),
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to copy the store to.
    #[arg(value_name = "FILE")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The data folder.
    #[arg(long, value_name = "DIR", env = "KEYHAVEN_VAULT_DATA")]
    pub(crate) data: PathBuf,
    /// Print JSON for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Where to listen. Port 0 takes any free port.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7420")]
    pub(crate) listen: SocketAddr,
    /// Listen beyond this machine although nothing encrypts the connection: login tokens can then
    /// be read on the way. (Requests stay sealed.) Put a TLS proxy in front instead.
    #[arg(long)]
    pub(crate) dangerous_plain_http: bool,
    /// Also write the address line to this file, whole, once the vault answers.
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Stop when standard input ends: a parent process that dies takes its vault along.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
    /// Connections at once; the longest idle one makes room for a new one.
    #[arg(long, value_name = "N", default_value_t = Limits::DEFAULT.connections, help_heading = "Limits")]
    pub(crate) max_connections: usize,
    /// Requests that may wait for the core; one more is answered 503.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::DEFAULT.queue,
        help_heading = "Limits"
    )]
    pub(crate) max_waiting: usize,
    /// MiB of the tail, which grows from one backup to the next; one that would be longer is given up,
    /// and the last backup can then no longer be led forward.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::DEFAULT.tail_bytes / MIB,
        value_parser = clap::value_parser!(u64).range(1..=TAIL_MIB_MAX),
        help_heading = "Limits"
    )]
    pub(crate) max_tail_mib: u64,
    /// Requests per second of one account, on average; more is answered 429.
    #[arg(long, value_name = "N", default_value_t = Limits::DEFAULT.account.per_second, help_heading = "Limits")]
    pub(crate) account_rate: u32,
    /// Requests of one account at once, after a pause.
    #[arg(long, value_name = "N", default_value_t = Limits::DEFAULT.account.burst, help_heading = "Limits")]
    pub(crate) account_burst: u32,
    /// Requests per second of all accounts together, on average; more is answered 429.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::DEFAULT.everybody.per_second,
        help_heading = "Limits"
    )]
    pub(crate) global_rate: u32,
    /// Requests of all accounts at once, after a pause.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Limits::DEFAULT.everybody.burst,
        help_heading = "Limits"
    )]
    pub(crate) global_burst: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Add an account and print its login token, once.
    Add(Named),
    /// Give an account a new login token, print it once, and stop the old one. Also brings back a
    /// removed account of the same person.
    Renew(Named),
    /// Stop an account's login. Its record stays in the vault, and its name stays taken.
    Remove(Named),
    /// List the accounts.
    List(Common),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The account's name: what the person is called here for ever.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) common: Common,
}
