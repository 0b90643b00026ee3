//! The spool: where sealed objects wait on this device until a remote store has them.
//!
//! A database in use may be read in one read transaction only, and uploads take minutes. So what a
//! backup seals for a remote store goes to a folder of mode 0700 in local state first, and from
//! there to the store in the background:
//!
//! ```text
//!   engine ──put──▶ spool folder (whole files, flushed) ──upload threads──▶ remote store
//!                   bounded; a full spool makes put wait       then deleted here
//! ```
//!
//! To the engine a [`SpooledStore`] is a [`Store`] like any other: what was put can be read at
//! once, and `flush` returns when the remote store has everything.
//!
//! A kill costs what is being sent. So on a slow line no more is under way than one full object, or several small ones; on a
//! fast one several at a time, for then the server's answers are what is waited for.
//!
//! After a crash the folder holds whole sealed objects that the store may or may not have. They
//! can be sent again under the same names, with the same bytes (BACKUP-5), or dropped; which is
//! right depends on whether local state knows what is in them, so the engine says it:
//! [`SpooledStore::resend_leftovers`] or [`SpooledStore::drop_leftovers`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::store::error::Action;
use crate::store::{
    Body, BufferPool, CalledOff, FolderStore, Listed, OBJECT_BYTES_MAX, ObjectFolder, ObjectPath,
    Store, StoreError,
};

/// How often a waiting call looks whether it was called off.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// A full pack. Buffers are made for it; smaller objects use the same ones.
const FULL_BYTES: u64 = 8 << 20;
/// An object so long tells how fast the line is.
const JUDGED_BYTES: u64 = FULL_BYTES / 8;

/// Read at once of a file, to hash it.
const HASH_BYTES: usize = 256 << 10;

/// What a spool may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes on disk, at most. Beyond it, `put` waits for uploads.
    pub bytes_max: u64,
    /// Free bytes that are left to others on the spool's disk.
    pub spare_bytes: u64,
    /// Uploads at the same time, at most. Each holds one object in memory.
    pub uploads_max: usize,
    /// A line that takes so many bytes a second is a fast one. On others, and until that is known, no more is under way than
    /// one full object has (8 MiB).
    pub fast_from: u64,
}

impl Default for SpoolLimits {
    /// 16 GiB on disk, 256 MiB left free, three uploads (24 MiB of memory) where that is sent within three seconds.
    fn default() -> Self {
        Self {
            bytes_max: 16 << 30,
            spare_bytes: 256 << 20,
            uploads_max: 3,
            fast_from: 8 << 20,
        }
    }
}

/// A remote store behind a spool.
#[derive(Debug)]
pub struct SpooledStore {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    spool: FolderStore,
    remote: Arc<dyn Store>,
    limits: SpoolLimits,
    called_off: CalledOff,
    buffers: BufferPool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<ObjectPath>,
    /// What is in the spool, by name: its size, and how many uploads of it are due. Zero is a
    /// leftover of an earlier run that nobody has decided about.
    spooled: BTreeMap<ObjectPath, Spooled>,
    /// Names that are being uploaded, and their bytes. One name is never uploaded twice at the same time.
    under_way: BTreeMap<ObjectPath, u64>,
    /// Whether the line took the last large object fast.
    is_fast: bool,
    bytes: u64,
    /// The first failure of an upload. It stays until the store is opened again.
    fault: Option<StoreError>,
    closing: bool,
}

#[derive(Debug, Clone, Default)]
struct Spooled {
    len: u64,
    due: u32,
    /// What it may hold: the bytes that were put under its name.
    digests: Vec<blake3::Hash>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("spool", &self.spool)
            .field("remote", &self.remote.describe())
            .finish_non_exhaustive()
    }
}

impl SpooledStore {
    /// Puts a spool in `folder`, made if it is missing, before `remote`.
    ///
    /// # Errors
    ///
    /// What opening a folder as a store can give, and [`StoreError::NoMachinery`].
    pub fn open(
        remote: Arc<dyn Store>,
        folder: &Path,
        limits: SpoolLimits,
        called_off: CalledOff,
    ) -> Result<Self, StoreError> {
        let spool = FolderStore::private(folder)?;
        let mut state = State::default();
        for Listed { path, len } in spool.list(&ObjectFolder::root())? {
            state.bytes = state.bytes.saturating_add(len);
            let leftover = Spooled {
                len,
                ..Spooled::default()
            };
            state.spooled.insert(path, leftover);
        }
        let uploads = limits.uploads_max.max(1);
        let shared = Arc::new(Shared {
            spool,
            remote,
            limits,
            called_off,
            buffers: BufferPool::new(uploads, usize::try_from(FULL_BYTES).unwrap_or(0)),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let mut threads = Vec::with_capacity(uploads);
        for _ in 0..uploads {
            let worker = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name("keyhaven-upload".into())
                .spawn(move || worker.run())
                .map_err(|_| StoreError::NoMachinery)?;
            threads.push(thread);
        }
        Ok(Self { shared, threads })
    }

    /// Whole sealed objects that an earlier run left, and nobody has decided about.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Listed> {
        let state = self.shared.lock();
        state
            .spooled
            .iter()
            .filter(|(_, spooled)| spooled.due == 0)
            .map(|(path, spooled)| Listed {
                path: path.clone(),
                len: spooled.len,
            })
            .collect()
    }

    /// Sends those leftovers to the store that `wanted` says local state knows, and drops the
    /// others; tells how many are sent.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] of deleting from the spool.
    pub fn resend_leftovers(
        &self,
        mut wanted: impl FnMut(&ObjectPath) -> bool,
    ) -> Result<usize, StoreError> {
        let mut sent: usize = 0;
        for Listed { path, .. } in self.leftovers() {
            if wanted(&path) {
                let digest = blake3::hash(&self.shared.spool.get(&path, None)?);
                let mut state = self.shared.lock();
                if let Some(spooled) = state.spooled.get_mut(&path) {
                    spooled.due = spooled.due.saturating_add(1);
                    spooled.digests.push(digest);
                    state.queue.push_back(path);
                    sent = sent.saturating_add(1);
                }
            } else {
                self.shared.spool.delete(&path)?;
                let mut state = self.shared.lock();
                state.forget(&path);
            }
        }
        self.shared.changed.notify_all();
        Ok(sent)
    }

    /// Drops all leftovers.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] of deleting from the spool.
    pub fn drop_leftovers(&self) -> Result<(), StoreError> {
        self.resend_leftovers(|_| false).map(|_| ())
    }

    /// The bytes that the spool can still take without waiting for uploads.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] of asking the spool's disk.
    pub fn spool_room(&self) -> Result<u64, StoreError> {
        let used = self.shared.lock().bytes;
        self.shared.room(used)
    }

    /// Asks whether `needed` bytes can be spooled at once, as a database does that is read in one
    /// transaction, before anything is read.
    ///
    /// # Errors
    ///
    /// [`StoreError::SpoolFull`], and any error of asking for the room.
    pub fn ensure_spool_room(&self, needed: u64) -> Result<(), StoreError> {
        let free = self.spool_room()?;
        if free < needed {
            return Err(StoreError::SpoolFull { needed, free });
        }
        Ok(())
    }
}

impl State {
    fn forget(&mut self, path: &ObjectPath) {
        if let Some(spooled) = self.spooled.remove(path) {
            self.bytes = self.bytes.saturating_sub(spooled.len);
        }
    }

    /// The next object to upload, if one may be.
    fn next(&mut self) -> Option<ObjectPath> {
        let mut queue = self.queue.iter();
        let at = queue.position(|path| !self.under_way.contains_key(path))?;
        let len = self.spooled.get(self.queue.get(at)?)?.len;
        let with_it = self
            .under_way
            .values()
            .fold(len, |sum, len| sum.saturating_add(*len));
        if !self.under_way.is_empty() && !self.is_fast && with_it > FULL_BYTES {
            return None;
        }
        let path = self.queue.remove(at)?;
        self.under_way.insert(path.clone(), len);
        Some(path)
    }

    /// Learns how fast the line is, from an object that took so long beside others.
    fn learn(&mut self, len: u64, beside: usize, took: Duration, fast_from: u64) {
        // Of a small one the time is the server's.
        if len < JUDGED_BYTES {
            return;
        }
        let all = u128::from(len).saturating_mul(beside.max(1) as u128);
        let bytes = all.saturating_mul(1_000).checked_div(took.as_millis());
        self.is_fast = bytes.is_none_or(|bytes| bytes >= u128::from(fast_from));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the lock is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, LOOK_UP_EVERY)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Waits until `done`, a failed upload, or the caller's change of mind.
    fn wait_until<T>(
        &self,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        loop {
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            if let Some(result) = done(&mut state) {
                return Ok(result);
            }
            self.called_off.check()?;
            state = self.wait(state);
        }
    }

    /// The bytes that may be spooled beside `used` ones.
    fn room(&self, used: u64) -> Result<u64, StoreError> {
        let allowed = self.limits.bytes_max.saturating_sub(used);
        let free = self.spool.free_space()?.unwrap_or(u64::MAX);
        Ok(allowed.min(free.saturating_sub(self.limits.spare_bytes)))
    }

    /// Takes room for an object before it is written, so that two puts cannot share it, and waits
    /// for uploads to make some. From now on an upload of that name, with those bytes, is due.
    fn reserve(
        &self,
        path: &ObjectPath,
        needed: u64,
        digest: blake3::Hash,
    ) -> Result<(), StoreError> {
        self.wait_until(|state| match self.room(state.bytes) {
            Ok(room) if room >= needed => {
                state.bytes = state.bytes.saturating_add(needed);
                let spooled = state.spooled.entry(path.clone()).or_default();
                spooled.due = spooled.due.saturating_add(1);
                spooled.digests.push(digest);
                Some(Ok(()))
            }
            // What nobody has decided about, and what others have on the disk, will never make
            // room by itself: only uploads do.
            Ok(free) => state
                .spooled
                .values()
                .all(|spooled| spooled.due == 0)
                .then_some(Err(StoreError::SpoolFull { needed, free })),
            Err(error) => Some(Err(error)),
        })?
    }

    /// Waits until the remote store has `path`, or everything.
    fn settle(&self, path: Option<&ObjectPath>) -> Result<(), StoreError> {
        self.wait_until(|state| {
            let waits = |spooled: Option<&Spooled>| spooled.is_some_and(|spooled| spooled.due > 0);
            let settled = match path {
                Some(path) => !waits(state.spooled.get(path)),
                None => state.spooled.values().all(|spooled| spooled.due == 0),
            };
            settled.then_some(())
        })
    }

    /// One upload thread's life.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            if state.closing {
                return;
            }
            let next = match state.fault {
                None => state.next(),
                Some(_) => None,
            };
            let Some(path) = next else {
                // What is still queued after a failure stays in the spool for the next run.
                state = self.wait(state);
                continue;
            };
            let beside = state.under_way.len();
            drop(state);
            let begun = Instant::now();
            let outcome = self.upload(&path);
            state = self.lock();
            let len = state.under_way.remove(&path).unwrap_or_default();
            match outcome {
                Ok(()) => {
                    state.learn(len, beside, begun.elapsed(), self.limits.fast_from);
                    let due = state.spooled.get_mut(&path).map_or(0, |spooled| {
                        spooled.due = spooled.due.saturating_sub(1);
                        spooled.due
                    });
                    if due == 0 {
                        // Deleting needs no flush: after a crash the object would only be sent
                        // once more, under the same name with the same bytes.
                        match self.spool.delete(&path) {
                            Ok(()) => state.forget(&path),
                            Err(fault) => {
                                state.fault.get_or_insert(fault);
                            }
                        }
                    }
                }
                Err(fault) => {
                    state.fault.get_or_insert(fault);
                }
            }
            self.changed.notify_all();
        }
    }

    /// BACKUP-1: what is sent is what was sealed. A spool's disk may lose or spoil it meanwhile, and the run that has sealed it would
    /// take it for stored.
    fn upload(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let mut buffer = self.buffers.take();
        loop {
            let len = self.spool.length(path).map_err(of_spool)?;
            let size = usize::try_from(len).unwrap_or(usize::MAX);
            if len > OBJECT_BYTES_MAX {
                return Err(StoreError::TooLarge {
                    path: path.clone(),
                    bytes: len,
                    bytes_max: OBJECT_BYTES_MAX,
                });
            }
            buffer.as_vec_mut().resize(size, 0);
            match self.spool.get_into(path, 0, buffer.as_vec_mut()) {
                // A name that is put again between the two looks has another length now.
                Err(StoreError::WrongLength { .. }) if self.spool.length(path)? != len => {}
                // What this device cannot read any more it never will send: without it, the next run seals its contents
                // anew.
                Err(StoreError::Unreadable { code, .. }) => {
                    self.spool.delete(path)?;
                    let kind = io::Error::from_raw_os_error(code).kind();
                    return Err(StoreError::FlushFailed { kind });
                }
                read => {
                    read.map_err(of_spool)?;
                    let digest = blake3::hash(buffer.as_ref());
                    let spooled = self.lock().spooled.get(path).cloned();
                    if !spooled.is_some_and(|spooled| spooled.digests.contains(&digest)) {
                        self.spool.delete(path)?;
                        let kind = io::ErrorKind::InvalidData;
                        return Err(StoreError::FlushFailed { kind });
                    }
                    return self.remote.put(path, Body::Buffer(buffer));
                }
            }
        }
    }
}

fn digest(body: &Body<'_>) -> Result<blake3::Hash, StoreError> {
    Ok(match body {
        Body::Bytes(bytes) => blake3::hash(bytes),
        Body::Buffer(buffer) => blake3::hash(buffer.as_ref()),
        Body::Shared(bytes) => blake3::hash(bytes),
        Body::File { file, len } => {
            let disk = |error: io::Error| StoreError::Disk {
                action: Action::Put,
                kind: error.kind(),
                code: error.raw_os_error(),
            };
            let mut hasher = blake3::Hasher::new();
            let (mut at, mut buffer) = (0, vec![0; HASH_BYTES]);
            while at < *len {
                let left = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
                let want = left.min(buffer.len());
                let part = buffer.get_mut(..want).unwrap_or_default();
                file.read_exact_at(part, at).map_err(disk)?;
                hasher.update(part);
                at = at.saturating_add(want as u64);
            }
            hasher.finalize()
        }
    })
}

/// The spool's own errors: what is missing there is missing on this device, and the next run seals it anew.
fn of_spool(error: StoreError) -> StoreError {
    if let StoreError::NotFound { .. } | StoreError::Missing { .. } = error {
        let kind = io::ErrorKind::NotFound;
        return StoreError::FlushFailed { kind };
    }
    error
}

impl Store for SpooledStore {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        let shared = &self.shared;
        let len = body.len();
        shared.reserve(path, len, digest(&body)?)?;
        let written = shared.spool.put(path, body);
        let mut state = shared.lock();
        if written.is_ok() {
            if let Some(spooled) = state.spooled.get_mut(path) {
                let replaced = std::mem::replace(&mut spooled.len, len);
                state.bytes = state.bytes.saturating_sub(replaced);
            }
            state.queue.push_back(path.clone());
        } else {
            state.bytes = state.bytes.saturating_sub(len);
            if let Some(spooled) = state.spooled.get_mut(path) {
                spooled.due = spooled.due.saturating_sub(1);
                if spooled.due == 0 && spooled.len == 0 {
                    state.spooled.remove(path);
                }
            }
        }
        drop(state);
        shared.changed.notify_all();
        written.map_err(|error| {
            // The store may have room; this device has not.
            if let StoreError::Full { needed, free } = error {
                let free = free.unwrap_or_default();
                StoreError::SpoolFull { needed, free }
            } else {
                of_spool(error)
            }
        })
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        match self.shared.spool.get(path, range.clone()) {
            Err(StoreError::NotFound { .. }) => self.shared.remote.get(path, range),
            here => here,
        }
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        match self.shared.spool.get_into(path, offset, out) {
            Err(StoreError::NotFound { .. }) => self.shared.remote.get_into(path, offset, out),
            here => here,
        }
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        match self.shared.spool.length(path) {
            Err(StoreError::NotFound { .. }) => self.shared.remote.length(path),
            here => here,
        }
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.shared.settle(None)?;
        self.shared.remote.visit(folder, each)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.shared.settle(Some(path))?;
        // A leftover of that name must not come back either.
        self.shared.spool.delete(path)?;
        self.shared.lock().forget(path);
        self.shared.remote.delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.shared.settle(None)?;
        self.shared.remote.flush()
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.shared.remote.adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.shared.remote.free_space()
    }

    fn describe(&self) -> String {
        self.shared.remote.describe()
    }
}

impl Drop for SpooledStore {
    fn drop(&mut self) {
        // Uploads under way are finished, the rest stays in the spool for the next run. Whoever
        // wants everything sent calls `flush` first.
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic there is a bug of ours and was reported by the panic itself.
            let _ = thread.join();
        }
    }
}
