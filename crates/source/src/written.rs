//! What programs change through mappings of files, and what it takes to see it.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Mutex, PoisonError};

use crate::stat::{Stat, now_ns};

/// How long a system may keep to itself what a program has stored through a mapping of a file. Linux writes it out within 35
/// seconds as it is delivered, and within ten minutes as laptops are set up to save power (`laptop_mode`).
const KEPT_BACK_NS: i64 = 15 * 60 * 1_000_000_000;

/// When each file system was last asked to write out what it holds in memory. One for a whole run: each is asked once, and only
/// if it has a file that was stamped lately.
///
/// BACKUP-1: a store through a mapping stamps the file only where the page was clean, and never again until it is written out
/// (Linux: `file_update_time` in `page_mkwrite`). What was changed so since would be taken for unchanged for ever. Writing out what
/// is dirty cleans the pages; a file that was stamped long ago has none that are dirty.
///
/// It is `syncfs` and not `fdatasync` for each file, which makes the disk empty its cache every time: beside a backup that writes
/// to the same disk, 2,500 files took a second.
#[derive(Debug, Default)]
pub struct WrittenOut(Mutex<BTreeMap<u64, Option<i64>>>);

impl WrittenOut {
    /// Whether each change of an open file shows in its times from now on.
    pub(crate) fn watches(&self, file: &File, listed: &Stat) -> bool {
        if listed.ctime_ns.saturating_add(KEPT_BACK_NS) < now_ns() {
            return true;
        }
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *asked.entry(listed.device).or_insert_with(|| {
            let now_ns = now_ns();
            rustix::fs::syncfs(file).ok().map(|()| now_ns)
        });
        since.is_some_and(|since| !listed.is_racy_at(since))
    }
}
