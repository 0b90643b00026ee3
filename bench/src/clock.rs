//! The processor time of the thread that asks: what somebody else runs beside it is not in it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this thread so far.
pub(crate) fn processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// What `work` takes of it.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = processor();
    let done = work();
    (done, processor().saturating_sub(began))
}
