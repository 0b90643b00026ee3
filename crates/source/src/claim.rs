//! One reader at a time for each database file, within this process.
//!
//! POSIX record locks belong to the process: closing any descriptor of a file drops all locks that
//! the process holds on it. So a look at a header while a connection of ours is reading the same
//! file would take the connection's lock away. Every opening in this crate claims the file first.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stat::Stat;

static CLAIMED: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());
static RELEASED: Condvar = Condvar::new();

/// How long a claim waits for another thread: longer than any image takes to be spooled.
const WAIT: Duration = Duration::from_secs(60);

/// The sole right to have a file open in this process, as long as every opening asks for it.
#[derive(Debug)]
pub(crate) struct Claim {
    file: (u64, u64),
}

impl Claim {
    /// Claims the file, waiting for another thread to let it go. None when that takes too long.
    pub(crate) fn wait_for(stat: &Stat) -> Option<Self> {
        let file = (stat.device, stat.inode);
        let until = Instant::now().checked_add(WAIT)?;
        let mut claimed = lock();
        while claimed.contains(&file) {
            let left = until.checked_duration_since(Instant::now())?;
            claimed = RELEASED
                .wait_timeout(claimed, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        claimed.insert(file);
        Some(Self { file })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock().remove(&self.file);
        RELEASED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, BTreeSet<(u64, u64)>> {
    // The set is whole after every statement, so a panic elsewhere does not spoil it.
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}
