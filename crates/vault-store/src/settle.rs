//! An unknown result is read back, never assumed.

use crate::{AppendError, Index, Step, Store, StoreError};

/// How an append ended, once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// The step stands.
    Appended,
    /// The step does not stand and never will: the log's newest entry is another.
    Lost {
        /// The newest entry's index.
        head: Option<Index>,
    },
}

/// Appends a step, and where the store cannot say whether it was taken, looks.
///
/// VAULT-2 and VAULT-5 hang on this: to take an unknown append for done would release an answer
/// whose spend may not stand; to take it for not done and to propose another entry of the same
/// index would fork the log.
///
/// # Errors
/// [`AppendError::Unknown`], with what failed first, when the store cannot be read back either: the host stops,
/// and its next start reads it. Any other error says that nothing was written.
pub fn append_or_read_back(store: &dyn Store, step: &Step<'_>) -> Result<Settled, AppendError> {
    match store.append(step) {
        Ok(()) => Ok(Settled::Appended),
        Err(AppendError::Raced { .. }) => read_back(store, step).map_err(AppendError::Unknown),
        Err(AppendError::Unknown(failed)) => {
            read_back(store, step).map_err(|_| AppendError::Unknown(failed))
        }
        Err(certain) => Err(certain),
    }
}

/// A raced append may be our own: the first try was taken, its answer was lost on the way, and
/// the engine or a proxy tried again. The entry's bytes decide, they hold the core's MAC.
fn read_back(store: &dyn Store, step: &Step<'_>) -> Result<Settled, StoreError> {
    let snapshot = store.snapshot()?;
    let head = snapshot.head()?;
    if head.is_some() && head.as_ref() == step.entries.last() {
        return Ok(Settled::Appended);
    }
    Ok(Settled::Lost {
        head: head.map(|entry| entry.index),
    })
}
