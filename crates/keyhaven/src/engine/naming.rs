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
use super::lost::Lost;
use super::target::{Target, Whole};

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
    /// work was cut off, so that the next restore goes on from there. What the target cannot have is returned beside what the
    /// work came to.
    pub(crate) fn around<T>(
        target: &'t Target,
        work: impl FnOnce(&Self) -> Result<T, RestoreError>,
    ) -> Result<(T, Vec<Lost>), RestoreError> {
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
            let lost = named.join().map_err(|_| RestoreError::Worker)??;
            Ok((worked?, lost))
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
fn name(target: &Target, queue: &Receiver<Said>) -> Result<Vec<Lost>, RestoreError> {
    let mut waiting = Waiting::default();
    loop {
        let said = match waiting.until {
            None => queue.recv().map_err(RecvTimeoutError::from),
            Some(until) => queue.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        let is_due = match said {
            Ok(Said::Whole(file)) => waiting.take(file),
            Ok(Said::Now) | Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => {
                waiting.name(target)?;
                return Ok(waiting.lost);
            }
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
    /// What the target could not have, of all that were named.
    lost: Vec<Lost>,
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

    /// Names all of them; where that fails for one, the others have their names all the same.
    fn name(&mut self, target: &Target) -> Result<(), RestoreError> {
        let files = std::mem::take(&mut self.files);
        (self.bytes, self.until) = (0, None);
        if files.is_empty() {
            return Ok(());
        }
        let mut named = Ok(());
        for file in target.flush_all(files)? {
            match file.name(target) {
                Ok(lost) => self.lost.extend(lost),
                Err(error) => named = named.and(Err(error)),
            }
        }
        named
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

    /// BACKUP-1: what stands in the place of one costs none of the others its name.
    #[test]
    fn a_name_that_is_taken_is_told_and_the_others_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate(StoreId::generate(&mut OsEntropy), &mut OsEntropy);
        let target = Target::create(folder.path(), keyring.content_hasher()).unwrap();
        let taken = folder.path().join("b");
        let worked = Naming::around(&target, |naming| {
            for name in ["a", "b", "c"] {
                naming.take(whole(&target, name))?;
            }
            std::fs::write(&taken, "of another program").unwrap();
            Ok(())
        });
        assert!(
            matches!(&worked, Err(RestoreError::Differs(path)) if *path == taken),
            "{worked:?}"
        );
        assert_eq!(names(folder.path()), ["a", "b", "c"]);
        assert_eq!(std::fs::read(taken).unwrap(), b"of another program");
    }
}
