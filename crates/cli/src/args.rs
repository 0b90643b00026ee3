//! What the command line accepts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use keyhaven::Share;

/// End-to-end encrypted backups of your chats.
#[derive(Debug, Parser)]
#[command(name = "keyhaven", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Where this device keeps its configuration, secrets and local state
    /// [default: $XDG_DATA_HOME/keyhaven or ~/.local/share/keyhaven]
    #[arg(
        long,
        global = true,
        env = "KEYHAVEN_HOME",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON object to standard output instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Run a vault of your own on this folder while the command runs (for trying things out)
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) embedded_vault: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  stopped: something is wrong that trying again does not mend
  2  the command line was not understood
  3  try again later: something could not be reached, or another command is at work
  4  it needs you: a wrong password or key, or a question that has to be answered
  5  the backup is safe but not complete: some files are pending
  6  something in the store is missing or damaged: verify and restore name it; a backup has made a
     whole new snapshot beside the damaged one";

const BACKUP_EXIT_CODES: &str = "\
Exit codes of a backup that was made:
  0  it is complete
  5  it is safe but not complete: some files are pending
  6  the backup before it is damaged in the store. This one is whole, made from what is on this device,
     and the next one ends with 0 again. Nothing of the damaged one is deleted";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Choose what to back up, where to, and how the key comes back
    Setup(Setup),
    /// Back up what has changed
    #[command(after_help = BACKUP_EXIT_CODES)]
    Backup(Backup),
    /// Bring a backup back, here or on a new device
    Restore(Restore),
    /// Look into the backup without restoring it
    Browse(Browse),
    /// Read the backup back and check it, or a share of the store each time
    Verify(Verify),
    /// Set, check, change or remove the password; guesses, waits and a fresh start
    Password {
        #[command(subcommand)]
        action: PasswordAction,
    },
    /// The devices that may change the record at the vault
    Device {
        #[command(subcommand)]
        action: DeviceAction,
    },
    /// Show, check or print the 64-digit key
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// What is set up, what is stored, and whether all is well
    Status,
    /// See the whole of it on a made-up chat store: back up, lose the phone, restore
    Demo(Demo),
    /// The vault, as a process of its own
    #[command(name = "vault-process", hide = true, disable_help_flag = true)]
    VaultProcess {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// A chat app that keeps writing, for the demo
    #[command(name = "writer-process", hide = true)]
    WriterProcess {
        /// The chat store
        root: PathBuf,
        /// Where committed states are recorded
        journal: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// The folder with your chats
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    /// Where to keep the backup: a folder, s3://bucket/prefix?endpoint=URL, webdav://host/path
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    /// Read the password from a file instead of asking ("-" is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Replace the account's record at the vault, once the wait that `password start-afresh` began
    /// is over; the old key is given up
    #[arg(long)]
    pub(crate) start_afresh: bool,
    /// Use the 64-digit key (alone, or beside a password)
    #[arg(long)]
    pub(crate) recovery_key: bool,
    /// Write the 64-digit key to this new file (mode 0600) and take that as the proof that you
    /// have it, instead of asking you to type it
    #[arg(long, value_name = "FILE", requires = "recovery_key")]
    pub(crate) recovery_key_file: Option<PathBuf>,
}

/// How to reach a vault record.
#[derive(Debug, Args, Clone)]
pub(crate) struct VaultArgs {
    /// The vault's address, with the pin that its operator gave you
    #[arg(long = "vault", value_name = "URL")]
    pub(crate) address: Option<String>,
    /// Your account's name at the vault
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// A file with your account's login token ("-" is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) login_file: Option<PathBuf>,
}

/// How databases are backed up.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Tier {
    /// Changed pages: a restore gives the exact bytes
    Pages,
    /// Changed rows where possible: less to send, a restore gives the exact rows; keeps a sealed copy here
    Rows,
    /// Rows where they pay (databases of 4 MiB to 2 GiB), pages elsewhere
    Auto,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// How databases are backed up
    #[arg(long, value_enum, default_value = "pages")]
    pub(crate) tier: Tier,
    /// Back up although the source has vanished, emptied or shrunk by half
    #[arg(long)]
    pub(crate) accept_shrunk: bool,
    /// Go on from what is there although the store has lost the newest backup that this device made, or serves an older state
    #[arg(long)]
    pub(crate) accept_lost: bool,
    /// Stop reading after so many seconds; the next run goes on
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<u64>,
    /// Stop after so many MiB have been sent; the next run goes on
    #[arg(long, value_name = "MIB")]
    pub(crate) upload_limit: Option<u64>,
    /// Send up to so many MiB again that this backup needs of many short objects, gathered in fewer: a restore then fetches
    /// fewer objects. It costs those bytes once more in the store, since older backups keep theirs
    #[arg(long, value_name = "MIB")]
    pub(crate) repack: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder to restore into
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Restore only this file or folder of the backup
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Restore this snapshot instead of the newest (the start of its name is enough)
    #[arg(long, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
    /// Replace files that are there and differ
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// On a new device: where the backup is
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    #[command(flatten)]
    pub(crate) guess: GuessArgs,
    /// On a new device: use the 64-digit key instead of a password
    #[arg(long)]
    pub(crate) recovery_key: bool,
    /// Read the 64-digit key from a file instead of asking ("-" is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) recovery_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Browse {
    #[command(subcommand)]
    pub(crate) what: Option<BrowseWhat>,
    /// Look into this snapshot instead of the newest (the start of its name is enough)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BrowseWhat {
    /// List the snapshots (the default)
    Snapshots,
    /// List the files of a snapshot, all of them or below a folder
    Files {
        /// The folder
        path: Option<PathBuf>,
    },
    /// Write one file of a snapshot to standard output, as it is (without --json)
    Cat {
        /// The file
        path: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    /// Every index entry, and that every object is there
    Structure,
    /// Every byte
    #[default]
    All,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// How much to read back
    #[arg(long, value_enum, default_value_t)]
    pub(crate) depth: Depth,
    /// Read back so much of the whole store instead, old backups too, such as 5%: other objects each
    /// time, until every one was read. The newest backup is checked as with --depth structure
    #[arg(long, value_name = "SHARE", conflicts_with = "depth")]
    pub(crate) sample: Option<Share>,
    /// Verify this snapshot instead of the newest
    #[arg(long, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
}

/// A password that is proven, and so may cost a guess.
#[derive(Debug, Args)]
pub(crate) struct GuessArgs {
    /// Read the password from a file instead of asking ("-" is standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Use the last guess too, without asking: if it is wrong, the vault destroys the backup key
    /// for good
    #[arg(long)]
    pub(crate) use_last_guess: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordAction {
    /// How many guesses are left, the last attempts, and waits; spends no guess
    Status {
        #[command(flatten)]
        vault: VaultArgs,
    },
    /// Check that you still know the password; a wrong one costs a guess
    Check {
        #[command(flatten)]
        guess: GuessArgs,
    },
    /// Add a password, kept by a vault
    Set {
        #[command(flatten)]
        vault: VaultArgs,
        #[command(flatten)]
        guess: GuessArgs,
        /// Use the password that the account has already, set by another of your devices
        #[arg(long)]
        existing: bool,
    },
    /// Change the password
    Change {
        #[command(flatten)]
        guess: GuessArgs,
    },
    /// Ask for the last guesses without one of your devices; they open after a wait
    Wait {
        #[command(flatten)]
        vault: VaultArgs,
        /// Cancel the wait that somebody began, from one of your devices (twice at most)
        #[arg(long)]
        cancel: bool,
    },
    /// Give up password and key of the account after a wait; `setup --start-afresh` then begins anew
    StartAfresh {
        #[command(flatten)]
        vault: VaultArgs,
        /// Cancel the wait that somebody began, from one of your devices (twice at most)
        #[arg(long)]
        cancel: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Lift the lifetime cap on wrong guesses, from one of your devices
    AllowMoreGuesses,
    /// Remove the password and destroy the vault's record; needs a proven 64-digit key
    Remove {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceAction {
    /// List the devices that may change the record at the vault
    List,
    /// Strike a device off the list; what it has of the backup it keeps
    Remove {
        /// Its key as `device list` shows it, or the start of it
        key: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Show the 64-digit key
    Show,
    /// Check a 64-digit key against this backup; finds one wrong digit or two swapped
    Check {
        /// Read it from a file instead of asking ("-" is standard input)
        #[arg(long, value_name = "FILE")]
        recovery_key_file: Option<PathBuf>,
    },
    /// Write a recovery sheet to print: the 64 digits and a QR code, as SVG
    Sheet {
        /// The file to write; it must not exist
        file: PathBuf,
    },
    /// Write a recovery card: names the vault, the store and the account, and holds no secret
    Card {
        /// The file to write (.svg or .txt); it must not exist
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep everything in this new folder, to explore with the ordinary commands
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Use a copy of this folder instead of a made-up chat store
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    /// Messages in the made-up chat store
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) messages: u32,
    /// MiB of media in the made-up chat store
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub(crate) media_mib: u64,
}
