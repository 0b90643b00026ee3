//! SQLite's way to sealed copies: a file system that knows them and nothing else.
//!
//! BACKUP-3: a journal, a temporary file or a spilled statement would be plaintext on the disk.
//! Every opening of anything but a mounted copy is refused here, so none can come about: what does
//! not fit into memory is an error, and the database goes by pages.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenKind, OpenOptions, Vfs, WalDisabled};

use super::SealedFile;

/// The name that SQLite knows it by.
pub(crate) const NAME: &str = "keyhaven-sealed";

type Shared = Arc<RwLock<SealedFile>>;

static MOUNTED: Mutex<BTreeMap<String, Shared>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(file: &Shared) -> RwLockReadGuard<'_, SealedFile> {
    file.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(file: &Shared) -> RwLockWriteGuard<'_, SealedFile> {
    file.write().unwrap_or_else(PoisonError::into_inner)
}

/// A sealed copy that SQLite can open by its name.
pub(crate) struct Mount {
    pub(crate) name: String,
    file: Shared,
}

impl Mount {
    pub(crate) fn new(file: SealedFile) -> io::Result<Self> {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        if !REGISTERED.get_or_init(|| sqlite_vfs::register(NAME, Sealed, false).is_ok()) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let name = format!("copy-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let file = Arc::new(RwLock::new(file));
        lock(&MOUNTED).insert(name.clone(), Arc::clone(&file));
        Ok(Self { name, file })
    }

    /// The copy, to be read beside connections that read it.
    pub(crate) fn file(&self) -> RwLockReadGuard<'_, SealedFile> {
        read(&self.file)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        lock(&MOUNTED).remove(&self.name);
    }
}

struct Sealed;

impl Vfs for Sealed {
    type Handle = Handle;

    fn open(&self, db: &str, opts: OpenOptions) -> io::Result<Handle> {
        if opts.kind != OpenKind::MainDb {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = lock(&MOUNTED).get(db).cloned();
        Ok(Handle {
            file: file.ok_or(io::ErrorKind::NotFound)?,
            writable: opts.access != OpenAccess::Read,
            lock: LockKind::None,
        })
    }

    fn delete(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, db: &str) -> io::Result<bool> {
        Ok(lock(&MOUNTED).contains_key(db))
    }

    fn temporary_name(&self) -> String {
        String::new()
    }

    fn random(&self, buffer: &mut [i8]) {
        let mut bytes = vec![0_u8; buffer.len()];
        // SQLite picks rowids and cookies by it; nothing is kept secret by it.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        for (slot, byte) in buffer.iter_mut().zip(bytes) {
            *slot = byte.cast_signed();
        }
    }

    fn sleep(&self, duration: Duration) -> Duration {
        std::thread::sleep(duration);
        duration
    }
}

/// One connection's use of a copy.
struct Handle {
    file: Shared,
    writable: bool,
    lock: LockKind,
}

impl DatabaseHandle for Handle {
    type WalIndex = WalDisabled;

    fn size(&self) -> io::Result<u64> {
        Ok(read(&self.file).bytes())
    }

    fn read_exact_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        read(&self.file).read_at(buf, offset)
    }

    fn write_all_at(&mut self, buf: &[u8], offset: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        write(&self.file).write_at(buf, offset)
    }

    fn sync(&mut self, _: bool) -> io::Result<()> {
        // A copy that a crash leaves half written is known by its mark, and made anew.
        Ok(())
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        write(&self.file).set_len(size)
    }

    fn lock(&mut self, lock: LockKind) -> io::Result<bool> {
        self.lock = lock;
        Ok(true)
    }

    fn reserved(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        Ok(self.lock)
    }

    fn wal_index(&self, _: bool) -> io::Result<WalDisabled> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
