//! The host of a vault's core: network, disk, clock, accounts, figures.
//!
//! A host is untrusted by design: it carries sealed bytes to a core that it cannot look into, keeps
//! what the core gives it, and can at worst refuse. On one machine core and host share a process
//! and its administrator is trusted; see `docs/operating.md` for what that weakens.
//!
//! ```text
//!   clients ──HTTP──► door: token, rate, length ──► queue ──► the core's thread
//!                                                              prove, execute
//!                                                              append   (durable)
//!                                                              memory   (durable)
//!   clients ◄──────── sealed replies ◄──────────────────────── release
//! ```
//!
//! What it refuses: a request without an account's token, anything longer, slower or more frequent
//! than its limits allow (VAULT-10), to answer before the entry that spends a guess is on the
//! medium (VAULT-2), to serve a store older than the core's memory (VAULT-4), to share a data
//! folder with another process, and to listen beyond this machine without being told that it is
//! dangerous.
//!
//! ```no_run
//! use keyhaven_vault_node::{Config, init, serve};
//!
//! let data = std::path::Path::new("/var/lib/keyhaven-vault");
//! init(data)?;
//! let running = serve(&Config::new(data))?;
//! println!("{}", running.address());
//! running.wait()?;
//! # Ok::<(), keyhaven_vault_node::ServeError>(())
//! ```

mod accounts;
mod backup;
mod cli;
mod config;
mod connections;
pub mod desk;
mod doctor;
mod driver;
mod folder;
mod http;
mod listener;
mod machine;
mod memory_file;
mod metrics;
mod operator;
mod os;
mod queue;
mod rate;
mod serve;
mod status;
mod tail_folder;

pub use accounts::{AccountsError, Token, add_account};
pub use cli::cli_main;
pub use config::{Config, Limits, PORT};
pub use folder::FolderError;
pub use machine::{CommitError, CreateError, ResumeError};
pub use operator::OperatorError;
pub use rate::Rate;
pub use serve::{Running, ServeError, Stop, VaultPin, init, serve};
pub use tail_folder::TailFault;
