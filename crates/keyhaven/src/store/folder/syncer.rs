//! Makes objects durable while the engine seals the next ones.
//!
//! A put leaves a written temporary file here. Background threads flush each to the disk and only
//! then rename it into place, so that a name never stands for bytes that a loss of power could
//! take away (BACKUP-2). `flush` waits for them and flushes the folders.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::Advice;
use rustix::io::Errno;

use super::fault::Place;
use super::session::Session;
use super::tree::Tree;
use crate::store::error::{Action, StoreError};
use crate::store::path::{ObjectFolder, ObjectPath};

/// Written objects that wait for the disk, at most. They are page cache, not our memory; the bound
/// keeps a slow disk from hiding how far behind it is.
const BACKLOG_MAX: usize = 16;

/// Flushes in flight. More than one lets the disk merge its cache flushes.
const THREADS: usize = 2;

/// Flushes of folders in flight at the end.
const FOLDER_THREADS: usize = 4;

/// What makes a file or folder durable. A parameter, so that tests can let it fail.
pub(super) type FlushFn = fn(BorrowedFd<'_>) -> Result<(), Errno>;

/// The background threads and what they share. Dropping it finishes what is under way.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tree: Arc<Tree>,
    session: Session,
    place: Place,
    flush: FlushFn,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Written>,
    /// The names of objects that are written and not yet renamed.
    pending: BTreeSet<ObjectPath>,
    /// Folders with entries that are not yet durable.
    dirty: BTreeSet<ObjectFolder>,
    /// The first failure. It stays: after it, no claim of durability would be sound.
    fault: Option<StoreError>,
    closing: bool,
}

/// A temporary file that holds a whole object.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) file: File,
    pub(super) name: String,
    pub(super) path: ObjectPath,
    pub(super) len: u64,
}

impl Syncer {
    pub(super) fn begin(
        tree: Arc<Tree>,
        session: Session,
        place: Place,
        flush: FlushFn,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            tree,
            session,
            place,
            flush,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let mut threads = Vec::with_capacity(THREADS);
        for _ in 0..THREADS {
            let worker = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name("keyhaven-flush".into())
                .spawn(move || worker.run())
                .map_err(|_| StoreError::NoMachinery)?;
            threads.push(thread);
        }
        Ok(Self { shared, threads })
    }

    pub(super) fn session(&self) -> &Session {
        &self.shared.session
    }

    /// Hands over a written object; waits while too many are behind, and while another object of
    /// the same name is: of two puts of one name, the later must be the one that stays.
    pub(super) fn push(&self, written: Written) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        while (state.queue.len() >= BACKLOG_MAX || state.pending.contains(&written.path))
            && state.fault.is_none()
        {
            state = self.shared.wait(state);
        }
        if let Some(fault) = &state.fault {
            let fault = fault.clone();
            drop(state);
            self.shared.session.discard(&written.name);
            return Err(fault);
        }
        state.pending.insert(written.path.clone());
        state.queue.push_back(written);
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until `path` (or, without one, every object that was put) stands under its name.
    pub(super) fn settle(&self, path: Option<&ObjectPath>) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        loop {
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            let settled = match path {
                Some(path) => !state.pending.contains(path),
                None => state.pending.is_empty(),
            };
            if settled {
                return Ok(());
            }
            state = self.shared.wait(state);
        }
    }

    /// Notes that an entry of `folder` changed and must be durable after the next flush.
    pub(super) fn touch(&self, folder: ObjectFolder) {
        self.shared.lock().dirty.insert(folder);
    }

    /// Makes everything that was put or deleted durable.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.settle(None)?;
        let dirty: Vec<ObjectFolder> = std::mem::take(&mut self.shared.lock().dirty)
            .into_iter()
            .collect();
        let next = Mutex::new(dirty.iter());
        let threads = dirty.len().min(FOLDER_THREADS);
        let work = || {
            loop {
                let Some(folder) = next.lock().unwrap_or_else(PoisonError::into_inner).next()
                else {
                    return;
                };
                if let Err(errno) = self.shared.flush_folder(folder) {
                    let fault = self.shared.place.fault(Action::Flush, errno);
                    self.shared.fail(undurable(fault));
                }
            }
        };
        std::thread::scope(|scope| {
            // This thread works too, so that nothing depends on getting another one.
            for _ in 1..threads {
                let spawned = std::thread::Builder::new().spawn_scoped(scope, work);
                if spawned.is_err() {
                    break;
                }
            }
            work();
        });
        self.settle(None)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in a worker is a bug of ours and was reported by the panic itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked leaves its object pending; `fail` is what makes that visible.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, fault: StoreError) {
        let mut state = self.lock();
        state.fault.get_or_insert(fault);
        drop(state);
        self.changed.notify_all();
    }

    /// One worker's life.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let Some(written) = state.queue.pop_front() else {
                if state.closing {
                    return;
                }
                state = self.wait(state);
                continue;
            };
            let broken = state.fault.is_some();
            drop(state);
            self.changed.notify_all();
            let outcome = if broken {
                self.session.discard(&written.name);
                Ok(())
            } else {
                self.finish(&written)
            };
            state = self.lock();
            if let Err(errno) = outcome {
                state.fault.get_or_insert(self.fault(errno, &written));
            }
            state.pending.remove(&written.path);
            self.changed.notify_all();
        }
    }

    /// Flushes a temporary file and gives it its name. If anything fails, it is removed.
    fn finish(&self, written: &Written) -> Result<(), Errno> {
        let outcome = (self.flush)(written.file.as_fd()).and_then(|()| self.rename(written));
        if outcome.is_err() {
            self.session.discard(&written.name);
        }
        give_back(&written.file, written.len);
        outcome
    }

    fn fault(&self, errno: Errno, written: &Written) -> StoreError {
        match errno {
            // A link or a file stands where one of the object's folders should be.
            Errno::LOOP | Errno::NOTDIR | Errno::ISDIR => StoreError::NotAnObject {
                path: written.path.clone(),
            },
            errno => {
                let fault = undurable(self.place.fault(Action::Flush, errno));
                self.place.sized(fault, written.len, self.tree.root())
            }
        }
    }

    fn rename(&self, written: &Written) -> Result<(), Errno> {
        let folder = written.path.folder();
        let target = self.tree.make_folder(&folder, &mut |parent| {
            self.lock().dirty.insert(parent);
        })?;
        rustix::fs::renameat(
            self.session.spool(),
            &written.name,
            &target,
            written.path.name(),
        )?;
        self.lock().dirty.insert(folder);
        Ok(())
    }

    fn flush_folder(&self, folder: &ObjectFolder) -> Result<(), Errno> {
        match self.tree.open_folder(folder) {
            Ok(fd) => (self.flush)(fd.as_fd()),
            // Somebody removed the folder with all that was in it: a hostile or careless store,
            // which reading back will find. There is nothing to flush.
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// From this size on, an object that is on the disk is no longer kept in memory.
const GIVEN_BACK_BYTES_MIN: u64 = 1 << 20;

/// Gives memory back that holds what nobody will ask for soon. The next object is written to it; without that, a first backup
/// takes as much new memory as the store is large, puts out what the device's other programs have in theirs, and waits
/// where a host has to be asked for it.
fn give_back(file: &File, len: u64) {
    if len >= GIVEN_BACK_BYTES_MIN {
        // It is advice: a refusal is no error.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
    }
}

/// What the operating system has no better word for, when it happens to bytes that were written:
/// they may be lost, and nothing that is asked later will tell.
fn undurable(fault: StoreError) -> StoreError {
    if let StoreError::Disk { kind, .. } = fault {
        StoreError::FlushFailed { kind }
    } else {
        fault
    }
}

/// Flushes a file or folder to the disk itself.
pub(super) fn flush(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // On Apple's systems fsync stops at the drive's own cache; only this goes on.
    #[cfg(target_vendor = "apple")]
    if rustix::fs::fcntl_fullfsync(fd).is_ok() {
        return Ok(());
    }
    match rustix::fs::fsync(fd) {
        // Some network file systems refuse to flush folders; theirs are durable by themselves.
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}
