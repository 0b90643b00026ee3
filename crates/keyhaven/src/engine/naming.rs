//! Gives restored files their names, once their bytes are on the disk.
//!
//! BACKUP-1: a name in the target stands for the bytes that were backed up, also after a loss of power: a file that was
//! renamed before its bytes were flushed can come up empty or torn, and the next restore would take it for somebody
//! else's. To flush each file by itself would take longer than all the rest, so files that are whole wait without a
//! name until one flush of the file system covers them all. A large database is flushed by itself ([`Durable`]): there
//! are few, and people wait for their messages.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::error::RestoreError;
use super::target::{Durable, Target, Whole};

/// What waits for one flush, at most.
const FILES_MAX: usize = 4_096;
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long a file waits, at most: what a kill costs has to be fetched again.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Said {
    Whole(Whole),
    Now,
}

/// A target, and where its files go that are whole and have no name yet.
#[derive(Clone, Debug)]
pub(crate) struct Naming<'t> {
    pub(crate) target: &'t Target,
    queue: SyncSender<Said>,
}

impl<'t> Naming<'t> {
    /// Begins a thread that names files, runs `work`, and ends when all that it handed in has its name; also when the
    /// work was cut off, so that the next restore goes on from there.
    pub(crate) fn around<T>(
        target: &'t Target,
        work: impl FnOnce(&Self) -> Result<T, RestoreError>,
    ) -> Result<T, RestoreError> {
        let (said, queue) = sync_channel(FILES_MAX);
        let naming = Self {
            target,
            queue: said,
        };
        std::thread::scope(|scope| {
            let named = scope.spawn(move || name(target, &queue));
            let worked = work(&naming);
            drop(naming);
            // Where a flush failed, the work only saw that nobody takes its files any more.
            named.join().map_err(|_| RestoreError::Worker)??;
            worked
        })
    }

    /// Takes a file that is whole.
    pub(crate) fn take(&self, file: Whole) -> Result<(), RestoreError> {
        self.say(Said::Whole(file))
    }

    /// Has all files named that were handed in so far; it does not wait for that.
    pub(crate) fn hurry(&self) -> Result<(), RestoreError> {
        self.say(Said::Now)
    }

    fn say(&self, said: Said) -> Result<(), RestoreError> {
        self.queue.send(said).map_err(|_| RestoreError::Worker)
    }
}

/// The thread that names files, until nobody hands in any more.
fn name(target: &Target, queue: &Receiver<Said>) -> Result<(), RestoreError> {
    let mut waiting = Waiting::default();
    loop {
        let said = match waiting.until {
            None => queue.recv().map_err(RecvTimeoutError::from),
            Some(until) => queue.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        let is_due = match said {
            Ok(Said::Whole(file)) => waiting.take(file),
            Ok(Said::Now) | Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => return waiting.name(target),
        };
        if is_due {
            waiting.name(target)?;
        }
    }
}

#[derive(Default)]
struct Waiting {
    files: Vec<Whole>,
    bytes: u64,
    /// When the first of them has waited long enough.
    until: Option<Instant>,
}

impl Waiting {
    /// Adds a file; whether there are enough now.
    fn take(&mut self, file: Whole) -> bool {
        self.bytes = self.bytes.saturating_add(file.bytes());
        self.until.get_or_insert_with(|| {
            Instant::now()
                .checked_add(WAIT_MAX)
                .unwrap_or_else(Instant::now)
        });
        self.files.push(file);
        self.files.len() >= FILES_MAX || self.bytes >= BYTES_MAX
    }

    fn name(&mut self, target: &Target) -> Result<(), RestoreError> {
        let Self { files, .. } = std::mem::take(self);
        if files.is_empty() {
            return Ok(());
        }
        target.flush_all(files)?.try_for_each(Durable::name)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use keyhaven_repo::entry::Stat;
    use keyhaven_repo::keyring::Keyring;
    use keyhaven_repo::names::StoreId;
    use keyhaven_repo::path::Key;

    use super::*;
    use crate::engine::entropy::OsEntropy;

    fn whole(target: &Target, name: &str) -> Whole {
        let key = Key::from_components([name.as_bytes()]).unwrap();
        let mut part = target.begin(&key).unwrap();
        part.file.write_all(name.as_bytes()).unwrap();
        part.finish(&Stat::default()).unwrap()
    }

    fn names(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    /// BACKUP-1: nothing is left without its name, also where the work ended early.
    #[test]
    fn what_was_handed_in_has_its_name_when_the_work_has_ended() {
        for fails in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let keyring = Keyring::generate(StoreId::generate(&mut OsEntropy), &mut OsEntropy);
            let target = Target::create(folder.path(), keyring.content_hasher()).unwrap();
            let worked = Naming::around(&target, |naming| {
                naming.take(whole(&target, "a"))?;
                naming.hurry()?;
                naming.take(whole(&target, "b"))?;
                drop(whole(&target, "never handed in"));
                if fails {
                    return Err(RestoreError::Cancelled);
                }
                Ok(())
            });
            assert_eq!(worked.is_err(), fails);
            assert_eq!(names(folder.path()), ["a", "b"]);
        }
    }
}
