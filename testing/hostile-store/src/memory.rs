//! A store in memory that knows what a loss of power would take.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyhaven::store::{
    Action, Body, Listed, OBJECT_BYTES_MAX, ObjectFolder, ObjectPath, Store, StoreError,
};

/// A store in memory. A clone is the same store; [`MemoryStore::copy`] is another with the same
/// objects.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    objects: BTreeMap<ObjectPath, Arc<[u8]>>,
    /// What stood under each name that was put or deleted since the last flush.
    before: BTreeMap<ObjectPath, Option<Arc<[u8]>>>,
    room: Option<u64>,
}

impl MemoryStore {
    /// An empty store without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with room for `bytes`.
    #[must_use]
    pub fn with_room(bytes: u64) -> Self {
        let store = Self::default();
        store.lock().room = Some(bytes);
        store
    }

    /// Another store with the same objects.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.lock().clone();
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Another store, as this one is after a loss of power: of what was put or deleted since the
    /// last flush, only that survives for which `survives` says so. Every subset may happen.
    #[must_use]
    pub fn after_power_loss(&self, mut survives: impl FnMut(&ObjectPath) -> bool) -> Self {
        let mut state = self.lock().clone();
        for (path, before) in std::mem::take(&mut state.before) {
            if survives(&path) {
                continue;
            }
            match before {
                Some(bytes) => state.objects.insert(path, bytes),
                None => state.objects.remove(&path),
            };
        }
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The names that were put or deleted since the last flush.
    #[must_use]
    pub fn unflushed(&self) -> Vec<ObjectPath> {
        self.lock().before.keys().cloned().collect()
    }

    /// Every object, by name.
    #[must_use]
    pub fn objects(&self) -> Vec<(ObjectPath, Arc<[u8]>)> {
        let state = self.lock();
        state
            .objects
            .iter()
            .map(|(path, bytes)| (path.clone(), Arc::clone(bytes)))
            .collect()
    }

    /// An object's bytes.
    #[must_use]
    pub fn bytes(&self, path: &ObjectPath) -> Option<Arc<[u8]>> {
        self.lock().objects.get(path).map(Arc::clone)
    }

    /// Puts bytes past all rules, as a hostile store does.
    pub fn plant(&self, path: ObjectPath, bytes: Arc<[u8]>) {
        self.lock().objects.insert(path, bytes);
    }

    /// Takes an object away past all rules; tells what it was.
    pub fn take(&self, path: &ObjectPath) -> Option<Arc<[u8]>> {
        self.lock().objects.remove(path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &ObjectPath) -> Result<Arc<[u8]>, StoreError> {
        self.bytes(path)
            .ok_or_else(|| StoreError::NotFound { path: path.clone() })
    }
}

impl State {
    fn free(&self) -> Option<u64> {
        let used: u64 = self.objects.values().map(|bytes| bytes.len() as u64).sum();
        self.room.map(|room| room.saturating_sub(used))
    }

    fn note(&mut self, path: &ObjectPath, before: Option<Arc<[u8]>>) {
        self.before.entry(path.clone()).or_insert(before);
    }
}

impl Store for MemoryStore {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        let needed = body.len();
        let bytes = body_bytes(body)?;
        let mut state = self.lock();
        if let Some(free) = state.free().filter(|free| *free < needed) {
            return Err(StoreError::Full {
                needed,
                free: Some(free),
            });
        }
        let before = state.objects.insert(path.clone(), bytes);
        state.note(path, before);
        Ok(())
    }

    fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Vec<u8>, StoreError> {
        let bytes = self.find(path)?;
        let len = bytes.len() as u64;
        let range = range.unwrap_or(0..len);
        let asked = range.end.saturating_sub(range.start);
        if asked > OBJECT_BYTES_MAX {
            return Err(StoreError::TooLarge {
                path: path.clone(),
                bytes: asked,
                bytes_max: OBJECT_BYTES_MAX,
            });
        }
        part(&bytes, &range)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| StoreError::WrongLength {
                path: path.clone(),
                expected: range.end,
                got: len,
            })
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let end = offset.saturating_add(out.len() as u64);
        let bytes = self.find(path)?;
        let part = part(&bytes, &(offset..end)).ok_or_else(|| StoreError::WrongLength {
            path: path.clone(),
            expected: end,
            got: bytes.len() as u64,
        })?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.find(path).map(|bytes| bytes.len() as u64)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // The lock is let go first: `each` may use this store.
        for (path, bytes) in self.objects() {
            let len = bytes.len() as u64;
            if folder.holds(&path) && each(Listed { path, len }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(before) = state.objects.remove(path) {
            state.note(path, Some(before));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.lock().before.clear();
        Ok(())
    }

    fn adopt(&self, _: &ObjectPath) -> Result<(), StoreError> {
        Ok(())
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.lock().free())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

fn part<'a>(bytes: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    let start = usize::try_from(range.start).ok()?;
    let end = usize::try_from(range.end).ok()?;
    bytes.get(start..end)
}

/// The bytes of a body, wherever they are.
///
/// # Errors
/// [`StoreError::Disk`] if it is a file that cannot be read.
pub fn body_bytes(body: Body<'_>) -> Result<Arc<[u8]>, StoreError> {
    match body {
        Body::Bytes(bytes) => Ok(bytes.into()),
        Body::Buffer(buffer) => Ok(buffer.as_slice().into()),
        Body::Shared(bytes) => Ok((*bytes).into()),
        Body::File { file, len } => {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
            file.read_exact_at(&mut bytes, 0)
                .map_err(|error| StoreError::Disk {
                    action: Action::Put,
                    kind: error.kind(),
                    code: error.raw_os_error(),
                })?;
            Ok(bytes.into())
        }
    }
}
