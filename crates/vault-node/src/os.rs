//! What the host takes from the operating system and hands to the core as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use keyhaven_secrets::Entropy;

/// The operating system's random source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            // A vault without randomness would seal under keys that can be guessed. There is no
            // way on from here, and no caller that could know one.
            tracing::error!("the operating system has no randomness");
            std::process::abort();
        }
    }
}

/// Seconds since 1970, by this machine's clock. No safety rests on it.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// File handles for everything that is not a connection: the store, the log, files being written.
const OTHER_HANDLES: u64 = 64;

/// This many connections, or as many as the process has file handles for.
pub(crate) fn within_handles(connections: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit
        .unwrap_or(u64::MAX)
        .saturating_sub(OTHER_HANDLES)
        .max(1);
    connections.min(usize::try_from(room).unwrap_or(usize::MAX))
}

/// Asks the system not to write this process's memory to disk or to let others read it. Each is
/// asked for separately; what the system refuses is logged and does not stop the vault.
pub(crate) fn harden() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be turned off");
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "this process could not be closed to debuggers");
        }
    }
}
