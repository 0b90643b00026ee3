//! What the file system says about a file, and when that is enough to call it unchanged.

use std::time::{SystemTime, UNIX_EPOCH};

/// What the file system says about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes.
    pub size: u64,
    /// When the content last changed, in nanoseconds since 1970. A program can set it at will.
    pub mtime_ns: i64,
    /// When content or attributes last changed, in nanoseconds since 1970. Only the kernel sets it.
    pub ctime_ns: i64,
    /// The number of the file within its device.
    pub inode: u64,
    /// The device. It may change when a disk is mounted again, so it says nothing about content.
    pub device: u64,
    /// Type and permissions, as `st_mode` has them.
    pub mode: u32,
}

/// A ctime that no file has: what [`Stat::settled_at`] gives to a file that was touched too
/// recently to be judged by its times.
pub const UNSETTLED: i64 = i64::MIN;

/// Two changes may get one timestamp when they are this close. The kernel stamps files with the
/// time of its last tick, which is up to 10 ms old (100 Hz); the rest is reserve.
const GRANULARITY_NS: i64 = 50_000_000;

/// The same for file systems that keep whole seconds, or two of them (FAT).
const COARSE_GRANULARITY_NS: i64 = 2_500_000_000;

const SECOND_NS: i64 = 1_000_000_000;

impl Stat {
    /// Whether the content and attributes are those of `earlier`, as far as the file system tells.
    ///
    /// The device number is left out: it changes when a disk is mounted again.
    #[must_use]
    pub fn is_unchanged_since(&self, earlier: &Self) -> bool {
        self.ctime_ns != UNSETTLED
            && self.size == earlier.size
            && self.mtime_ns == earlier.mtime_ns
            && self.ctime_ns == earlier.ctime_ns
            && self.inode == earlier.inode
            && self.mode == earlier.mode
    }

    /// Whether both describe one file on one device.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode && self.device == other.device
    }

    /// The stat to remember for a file whose content was begun to be read at `now_ns`.
    ///
    /// Git's racy rule: a file that changed within the granularity of its timestamp before it was
    /// read may change once more and keep the same timestamp and size. Such a stat is made to
    /// match nothing, so that the next run reads the file again.
    #[must_use]
    pub fn settled_at(self, now_ns: i64) -> Self {
        if self.is_racy_at(now_ns) {
            self.unsettled()
        } else {
            self
        }
    }

    /// The same, made to match nothing.
    pub(crate) fn unsettled(self) -> Self {
        Self {
            ctime_ns: UNSETTLED,
            ..self
        }
    }

    /// Whether a change made right after `now_ns` could leave these times as they are.
    pub(crate) fn is_racy_at(&self, now_ns: i64) -> bool {
        // Only the kernel sets the ctime, and no change of content spares it: the mtime, which
        // programs set to whole seconds and to the future at will, cannot make a file look settled.
        let granularity = if self.ctime_ns.checked_rem(SECOND_NS) == Some(0) {
            COARSE_GRANULARITY_NS
        } else {
            GRANULARITY_NS
        };
        self.ctime_ns.saturating_add(granularity) >= now_ns
    }
}

/// The present, in nanoseconds since 1970.
#[must_use]
pub fn now_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos())
            .map_or(i64::MIN, |before| before.saturating_neg()),
    }
}

impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            size: non_negative(stat.st_size),
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: non_negative(stat.st_ino),
            device: non_negative(stat.st_dev),
            mode: narrow(stat.st_mode),
        }
    }
}

/// The fields of `stat` have other integer types on other systems.
fn non_negative(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(0)
}

fn narrow(value: impl TryInto<u32>) -> u32 {
    value.try_into().unwrap_or(0)
}

fn nanoseconds(seconds: impl TryInto<i64>, nanos: impl TryInto<i64>) -> i64 {
    let seconds: i64 = seconds.try_into().unwrap_or(0);
    let nanos: i64 = nanos.try_into().unwrap_or(0);
    seconds.saturating_mul(SECOND_NS).saturating_add(nanos)
}
