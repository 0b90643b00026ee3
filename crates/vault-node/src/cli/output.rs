//! What is printed, and where: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Prints one line. A closed pipe is not a failure of the vault.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(error) => tracing::error!(%error, "the result cannot be printed as JSON"),
    }
}

/// Says on standard error what went wrong, with its causes.
pub(crate) fn failure(error: &dyn std::error::Error) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "keyhaven-vault: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(err, "  because: {error}");
        cause = error.source();
    }
}

/// Says something to a person who watches.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Sends the log to standard error.
pub(crate) fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    // A process that runs this command line inside another program may have a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
