//! Ctrl-C: once, and long work stops at the next safe point; twice, and it ends at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use keyhaven::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// What a shell says of a program that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// A token that SIGINT and SIGTERM cancel. Either is as good as a kill the second time, which costs nothing that was
/// committed (BACKUP-2).
pub(crate) fn cancel_on_signals() -> Result<Cancel, Failure> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds that nobody has asked yet, and only then asks.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&asked))
            .and_then(|_| flag::register(signal, Arc::clone(&asked)))
            .context("signals cannot be caught")?;
    }
    Ok(Cancel::when(asked))
}
