//! The store of a life: what its disk keeps when the power goes, and what was ever put into it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyhaven::store::{Body, ObjectPath, Store, StoreError};
use keyhaven_hostile_store::{MemoryStore, Over, Through, body_bytes};

/// A store whose power can go.
///
/// A folder keeps the bytes of what has a name. The name itself is safe when a flush covers it: that of the run that put it,
/// or adopted it; and any flush covers the names of snapshots. A cloud keeps what it has acknowledged.
pub(crate) struct Disk {
    store: MemoryStore,
    is_cloud: bool,
    state: Mutex<Unsafe>,
}

#[derive(Default)]
struct Unsafe {
    run: u64,
    names: Vec<Name>,
}

struct Name {
    path: ObjectPath,
    before: Option<Arc<[u8]>>,
    run: u64,
}

impl Disk {
    pub(crate) fn new(is_cloud: bool) -> Arc<Through<Self>> {
        Arc::new(Through(Self {
            store: MemoryStore::new(),
            is_cloud,
            state: Mutex::default(),
        }))
    }

    /// What is in it.
    pub(crate) fn objects(&self) -> &MemoryStore {
        &self.store
    }

    /// Another process opens it.
    pub(crate) fn begin_run(&self) {
        self.lock().run += 1;
    }

    /// From now on it is as it was in this earlier state.
    pub(crate) fn put_back(&self, earlier: &MemoryStore) {
        let there = earlier.objects();
        for (path, _) in self.store.objects() {
            self.store.take(&path);
        }
        for (path, bytes) in there {
            self.store.plant(path, bytes);
        }
        self.lock().names.clear();
    }

    /// An object is gone for good.
    pub(crate) fn lose(&self, path: &str) {
        let path = ObjectPath::parse(path).unwrap();
        self.store.take(&path);
        self.lock().names.retain(|name| name.path != path);
    }

    /// Of the names that no flush has covered, those stay of which a bit is set. How many went?
    pub(crate) fn lose_power(&self, survivors: u64) -> u64 {
        let names = std::mem::take(&mut self.lock().names);
        let mut gone = 0;
        for (at, name) in names.into_iter().enumerate() {
            if survivors >> (at % 64) & 1 == 1 {
                continue;
            }
            gone += 1;
            match name.before {
                Some(bytes) => self.store.plant(name.path, bytes),
                None => drop(self.store.take(&name.path)),
            }
        }
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Unsafe> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, path: &ObjectPath) {
        if self.is_cloud {
            return;
        }
        let before = self.store.bytes(path);
        let mut state = self.lock();
        let run = state.run;
        match state.names.iter_mut().find(|name| name.path == *path) {
            Some(name) => name.run = run,
            None => state.names.push(Name {
                path: path.clone(),
                before,
                run,
            }),
        }
    }
}

impl Over for Disk {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        self.note(path);
        self.store.put(path, body)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.note(path);
        self.store.delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        let run = state.run;
        state
            .names
            .retain(|name| name.run != run && name.path.as_str().starts_with("packs/"));
        Ok(())
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let mut state = self.lock();
        let run = state.run;
        for name in state.names.iter_mut().filter(|name| name.path == *path) {
            name.run = run;
        }
        Ok(())
    }
}

/// BACKUP-5: an object's name is the salt of its key, so no name is ever given other bytes, in whatever state of the store, and
/// also where putting failed.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    names: BTreeMap<ObjectPath, blake3::Hash>,
    twice: Option<ObjectPath>,
}

impl Ledger {
    /// A store whose puts are written down.
    pub(crate) fn watch(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        let ledger = self.clone();
        Arc::new(Through(Watched { store, ledger }))
    }

    /// A name that was given other bytes.
    pub(crate) fn twice(&self) -> Option<ObjectPath> {
        self.lock().twice.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    store: Arc<dyn Store>,
    ledger: Ledger,
}

impl Over for Watched {
    fn behind(&self) -> &dyn Store {
        self.store.deref()
    }

    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        let bytes = body_bytes(body)?;
        let digest = blake3::hash(&bytes);
        let mut written = self.ledger.lock();
        let before = written.names.insert(path.clone(), digest);
        if before.is_some_and(|before| before != digest) {
            written.twice = Some(path.clone());
        }
        drop(written);
        self.store.put(path, Body::Bytes(&bytes))
    }
}
