//! Sealing and sending, beside the thread that reads.
//!
//! ```text
//!   reader fills a PackBuilder ──▶ Outbox: a few workers seal in place, put, give the buffer back
//!          ▲                                                                            │
//!          └──────────────────────────── buffers go round ◀─────────────────────────────┘
//! ```
//!
//! Memory is bounded by the number of buffers; a slow store makes the reader wait for one.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::names::{PACKS_DIR, PackName};
use keyhaven_repo::pack::{Footer, PackBuffer, PackBuilder, PackError, PackKind, SealedPack};

use super::entropy::OsEntropy;
use crate::store::{Body, ObjectFolder, ObjectPath, Store, StoreError};

/// A pack could not be sealed or sent. The run ends; what was sent before stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("a thread of ours ended before its work was done")]
    Worker,
}

/// What a run has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
}

impl Sent {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.objects = self.objects.saturating_add(1);
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<PackBuilder>,
    buffers: Vec<PackBuffer>,
    allocated: usize,
    under_way: usize,
    sent: Sent,
    /// Bytes of all packs that were handed over, sent or not.
    handed: u64,
    /// How much of each pack that was put is content.
    footers: Vec<(PackName, Footer)>,
    error: Option<SendError>,
    closed: bool,
}

impl State {
    /// Takes the buffer of a pack that was put.
    fn take_back(&mut self, pack: SealedPack) {
        self.footers.push((pack.name(), pack.footer()));
        self.buffers.push(pack.into_buffer());
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    keyring: Arc<Keyring>,
    store: Arc<dyn Store>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the lock is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends packs in the background.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    buffers_max: usize,
    workers: Vec<JoinHandle<()>>,
}

impl Outbox {
    /// An outbox with so many workers, and two buffers more than workers.
    pub(crate) fn open(keyring: Arc<Keyring>, store: Arc<dyn Store>, workers: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            keyring,
            store,
        });
        let workers = workers.max(1);
        let threads = (0..workers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || work(&shared))
            })
            .collect();
        Self {
            shared,
            buffers_max: workers.saturating_add(2),
            workers: threads,
        }
    }

    /// Begins a pack; waits for a buffer while all are on their way.
    pub(crate) fn begin(&self, kind: PackKind) -> Result<PackBuilder, SendError> {
        let mut state = self.shared.lock();
        loop {
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if let Some(buffer) = state.buffers.pop() {
                return Ok(PackBuilder::begin(buffer, kind, &mut OsEntropy));
            }
            if state.allocated < self.buffers_max {
                state.allocated = state.allocated.saturating_add(1);
                drop(state);
                return Ok(PackBuilder::begin(PackBuffer::new(), kind, &mut OsEntropy));
            }
            state = self.shared.wait(state);
        }
    }

    /// Hands a filled pack over.
    pub(crate) fn send(&self, pack: PackBuilder) {
        let mut state = self.shared.lock();
        state.handed = state
            .handed
            .saturating_add(u64::from(pack.class().object_bytes()));
        state.jobs.push_back(pack);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Takes back the buffer of a pack that was sealed and put elsewhere.
    pub(crate) fn recycle(&self, pack: SealedPack) {
        self.shared.lock().take_back(pack);
        self.shared.changed.notify_all();
    }

    /// Waits until every pack has been put. It does not flush the store.
    pub(crate) fn drain(&self) -> Result<(), SendError> {
        let mut state = self.shared.lock();
        while state.error.is_none() && (state.under_way > 0 || !state.jobs.is_empty()) {
            state = self.shared.wait(state);
        }
        state.error.take().map_or(Ok(()), Err)
    }

    /// Bytes that were handed over so far, sent or still on their way.
    pub(crate) fn handed(&self) -> u64 {
        self.shared.lock().handed
    }

    /// How much of each pack that was put is content, told once.
    pub(crate) fn take_footers(&self) -> Vec<(PackName, Footer)> {
        std::mem::take(&mut self.shared.lock().footers)
    }

    /// What has been put so far.
    pub(crate) fn sent(&self) -> Sent {
        self.shared.lock().sent
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.closed = true;
            // A run that ends early sends nothing more: no snapshot will name these.
            state.jobs.clear();
        }
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has told so through `UnderWay`.
            let _ = worker.join();
        }
    }
}

/// Counts a job as ended also when its worker panics, so that nobody waits for it for ever.
struct UnderWay<'a> {
    shared: &'a Shared,
    done: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if !self.done && state.error.is_none() {
            state.error = Some(SendError::Worker);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

fn work(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        let job = loop {
            if let Some(job) = state.jobs.pop_front() {
                state.under_way = state.under_way.saturating_add(1);
                break job;
            }
            if state.closed {
                return;
            }
            state = shared.wait(state);
        };
        drop(state);
        let mut under_way = UnderWay {
            shared,
            done: false,
        };
        let result = seal_and_put(shared, job);
        under_way.done = true;
        let mut state = shared.lock();
        match result {
            Ok(pack) => {
                state.sent.add(u64::from(pack.class().object_bytes()));
                state.take_back(pack);
            }
            Err(error) => {
                state.error.get_or_insert(error);
                state.allocated = state.allocated.saturating_sub(1);
            }
        }
    }
}

fn seal_and_put(shared: &Shared, pack: PackBuilder) -> Result<SealedPack, SendError> {
    let sealed = pack.seal(&shared.keyring)?;
    put(shared.store.as_ref(), &sealed)?;
    Ok(sealed)
}

/// Puts one sealed pack under its name.
pub(crate) fn put(store: &dyn Store, pack: &SealedPack) -> Result<(), StoreError> {
    store.put(&path_of(&pack.name().path()), Body::Bytes(pack.bytes()))
}

/// The store's path for a path of the format. The format writes only what a store accepts.
#[expect(
    clippy::expect_used,
    reason = "a test holds every form of path against the store's rule"
)]
pub(crate) fn path_of(path: &str) -> ObjectPath {
    ObjectPath::parse(path).expect("the format's paths are valid object paths")
}

/// The store's folder of packs.
#[expect(clippy::expect_used, reason = "a name of the format, as in `path_of`")]
pub(crate) fn packs_folder() -> ObjectFolder {
    ObjectFolder::parse(PACKS_DIR).expect("the folder of packs is a folder")
}

#[cfg(test)]
mod tests {
    use keyhaven_repo::names::{MARKER_PATH, SnapshotName};

    use super::*;

    #[test]
    fn every_path_of_the_format_is_one_of_the_store() {
        path_of(&PackName::from_bytes([0xaf; 32]).path());
        path_of(&SnapshotName::from_bytes([0x09; 32]).path());
        path_of(MARKER_PATH);
    }
}
