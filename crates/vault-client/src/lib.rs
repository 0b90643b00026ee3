//! One account at a vault: register a password, recover the backup key, change and delete.
//!
//! # What it is for
//!
//! A vault keeps the backup key under a password that it never sees and allows ten wrong guesses.
//! This crate is the device's side: it checks the vault against its pin, speaks to its trusted core
//! through the sealed channel, and survives every crash and broken connection without costing its
//! owner a guess.
//!
//! ```text
//!              address#pin        password, backup key
//!                   │                   │
//!   Transport ─▶ Vault::connect ─▶ register / recover / change ─▶ Recovered, Standing
//!   (HTTP, or     bundle checked        │ ▲
//!    in process)                        ▼ │ written before anything is sent
//!                                    Journal
//! ```
//!
//! # What it refuses to do
//!
//! - It believes no vault whose validation bundle the pinned operator has not signed, none that
//!   goes back to an older bundle, and none that allows more than ten guesses (VAULT-1).
//! - It never registers a password by itself, and never sends other bytes for a registration than
//!   those it wrote down first (VAULT-7).
//! - It stretches no password at a cost below its floor, whatever the vault asks.
//! - It never tells the host whether a password was right: the second message is always sent, and
//!   is random after a wrong one.
//! - It never logs, and its `Debug` shows no secret, token or key (BACKUP-3).
//!
//! # Example
//!
//! ```no_run
//! use keyhaven_secrets::{Entropy, Password};
//! use keyhaven_vault_client::{
//!     AccountName, HttpTransport, MemoryJournal, NewDevice, Policy, Token, UnixSeconds, Vault,
//! };
//!
//! # fn run(entropy: &mut dyn Entropy, now: UnixSeconds) -> Result<(), Box<dyn std::error::Error>> {
//! let address = "https://vault.example/#aaaa…".parse()?;
//! let transport = HttpTransport::new(&address, Token::parse("the account's login")?)?;
//! let account = AccountName::parse("amara")?;
//! let mut memory = NewDevice::new();
//! let vault = Vault::connect(&address, &account, transport, &mut memory, now, Policy::default())?;
//!
//! let password = Password::parse("walnut trapeze 4 lagoon")?;
//! let recovered = vault.recover(&mut MemoryJournal::new(), &password, None, entropy)?;
//! println!("{} guesses left", recovered.standing.guesses_left);
//! # Ok(())
//! # }
//! ```

mod change;
mod denial;
mod error;
mod guess;
mod http;
mod journal;
mod mac;
mod memory;
mod recover;
mod register;
mod remembered;
mod time;
mod transport;
mod vault;
mod verifier;
mod watch;
pub mod wrap;

pub use change::By;
pub use error::VaultError;
pub use http::{
    CONNECT_SECONDS_MAX, EXCHANGE_SECONDS_MAX, HttpTransport, REPLY_BYTES_MAX, Token, TokenError,
};
pub use journal::{Journal, JournalError, MemoryJournal, Slot};
pub use memory::{BundleMemory, MemoryError, NewDevice};
pub use recover::{Recovered, Session};
pub use register::{RegisterBy, Registered};
pub use remembered::{Different, REMEMBERED_BYTES, RememberedPassword};
pub use time::utc;
pub use transport::{Transport, TransportError};
pub use vault::{Policy, Vault};
pub use verifier::{PasswordVerifier, VERIFIER_BYTES, VerifierError};
pub use watch::{Alarm, Known};

// What callers need of the wire: a vault's address, and what it says of an account.
pub use keyhaven_wire::bundle::{
    AddressError, Bundle, BundleError, Group, Pin, Seen, UnixSeconds, VaultAddress,
};
pub use keyhaven_wire::device::DeviceSecret;
pub use keyhaven_wire::message::{
    AccountError, AccountName, AttemptSeen, ChangedBy, DeviceKey, DigestBytes, FleetId, Freshness,
    Generation, HostTime, Line, Owner, RecordState, Standing, Totals, Verdict, Wait,
};
pub use keyhaven_wire::opaque::Cost;
