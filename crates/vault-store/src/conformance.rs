//! The suite that every engine passes: what a host leans on, and nothing else.
//!
//! [`run`] is for every engine; [`survives_kills`] is for those that outlive their process. Both
//! return the first rule that was broken instead of panicking, so that an engine's own tests, in
//! whatever harness, decide what to do with it.
//!
//! ```
//! use keyhaven_vault_store::conformance::{self, LOG_KEPT};
//! use keyhaven_vault_store::MemoryStore;
//!
//! conformance::run(&mut || {
//!     let disk = MemoryStore::new().keeping_log(LOG_KEPT);
//!     Box::new(move || Ok(disk.clone()))
//! })?;
//! # Ok::<(), keyhaven_vault_store::conformance::Violation>(())
//! ```

mod kills;
mod rules;

pub use kills::{Victim, append_until_killed, survives_kills};

use crate::{AppendError, Store, StoreError};

/// Engines under test keep this many entries, so that the bound is reached in a short test.
pub const LOG_KEPT: u64 = 8;

/// One medium: what is left when the process that wrote to it is gone.
pub trait Medium {
    /// Opens the store on it; called again, opens it anew as after a restart. The store opened
    /// before is dropped first.
    ///
    /// # Errors
    /// The engine's.
    fn open(&mut self) -> Result<Box<dyn Store>, StoreError>;
}

impl<F, S> Medium for F
where
    F: FnMut() -> Result<S, StoreError>,
    S: Store + 'static,
{
    fn open(&mut self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(self()?))
    }
}

/// A rule that an engine broke.
#[derive(Debug, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Runs every rule, each on a fresh and empty medium.
///
/// # Errors
/// The first [`Violation`].
pub fn run(fresh: &mut dyn FnMut() -> Box<dyn Medium>) -> Result<(), Violation> {
    for (rule, check) in rules::ALL {
        check(&mut *fresh()).map_err(|broken| Violation {
            rule,
            detail: broken.0,
        })?;
    }
    Ok(())
}

/// What a rule saw, in words.
#[derive(Debug)]
struct Broken(String);

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<AppendError> for Broken {
    fn from(error: AppendError) -> Self {
        Self(error.to_string())
    }
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken(otherwise()))
    }
}
