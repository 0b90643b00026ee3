//! A small valid world: a chat folder with a database in use and some dozen media, a home that is
//! set up, and a store in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use keyhaven::store::{ObjectPath, Store};
use keyhaven::{
    BackupError, BackupOptions, BackupReport, Keyhaven, Place, RestoreError, RestoreOptions,
    Restored, Setup, Tier,
};
use keyhaven_hostile_store::MemoryStore;
use rusqlite::Connection;
use tempfile::TempDir;

/// Every file of a folder and its bytes.
pub(crate) type State = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: MemoryStore,
    pub(crate) digits: String,
    /// The app has its database open, and a log beside it.
    app: Mutex<Connection>,
}

impl World {
    /// A world in its first state, set up and not backed up yet.
    pub(crate) fn new() -> Self {
        let store = MemoryStore::new();
        let (folder, app, digits) = furnish(&place(Arc::new(store.clone())), scratch());
        Self {
            folder,
            store,
            digits,
            app: Mutex::new(app),
        }
    }

    pub(crate) fn app(&self) -> MutexGuard<'_, Connection> {
        self.app.lock().unwrap()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Brings the source from its first state to its second.
    pub(crate) fn a_day_passes(&self) {
        let chats = self.folder.path().join("chats");
        self.app()
            .execute_batch(
                "UPDATE message SET text = 'edited' WHERE id = 77;
                 DELETE FROM message WHERE id = 78;
                 INSERT INTO message VALUES(9000, 'the next day');",
            )
            .unwrap();
        std::fs::remove_file(chats.join("media/03.jpg")).unwrap();
        // Large enough that sending it again would show in the size class of its pack.
        std::fs::rename(chats.join("media/film.mp4"), chats.join("media/moved.mp4")).unwrap();
        std::fs::write(chats.join("media/new.jpg"), noise(777, 90_000)).unwrap();
        settle();
    }

    /// Some messages and a photo more.
    pub(crate) fn another_day_passes(&self, day: u64) {
        let photo = self
            .folder
            .path()
            .join(format!("chats/media/day{day:03}.jpg"));
        self.app()
            .execute(
                "INSERT INTO message(text) VALUES(printf('day %d', ?1))",
                [day.cast_signed()],
            )
            .unwrap();
        std::fs::write(photo, noise(10_000 + day, 3_000)).unwrap();
        settle();
    }

    /// For each pack, and in each a copy of the store and of the home, to be spoilt.
    pub(crate) fn copies(&self) -> impl Iterator<Item = Copied> {
        let objects = self.store.objects().into_iter();
        let packs = objects.filter(|(path, _)| path.as_str().starts_with("packs/"));
        packs.map(|(pack, _)| {
            let copied = Copied {
                pack,
                store: self.store.copy(),
                home: scratch(),
            };
            copy_folder(&self.home(), copied.home.path());
            copied
        })
    }

    /// What an honest store gives back now, after a look that it is what the source holds.
    pub(crate) fn state(&self) -> State {
        self.state_by(Reach::Near)
    }

    pub(crate) fn state_by(&self, reach: Reach) -> State {
        let state = reach
            .restored(&self.home(), Arc::new(self.store.clone()))
            .unwrap();
        let chats = self.folder.path().join("chats");
        for (path, bytes) in &state {
            if path.as_os_str() != "chats.db" {
                assert_eq!(&std::fs::read(chats.join(path)).unwrap(), bytes, "{path:?}");
            }
        }
        assert_eq!(
            state.len(),
            read_folder(&chats)
                .keys()
                .filter(|path| !path.to_string_lossy().contains("-"))
                .count()
        );
        let database = &state[Path::new("chats.db")];
        if reach == Reach::ByRows {
            assert_eq!(*database, told(&rows(&self.app())));
        } else {
            let copy = scratch();
            let path = copy.path().join("chats.db");
            std::fs::write(&path, database).unwrap();
            let back = Connection::open(path).unwrap();
            assert_eq!(rows(&back), rows(&self.app()));
        }
        state
    }
}

/// A store and a home as they were, and the pack that is to be spoilt.
pub(crate) struct Copied {
    pub(crate) pack: ObjectPath,
    pub(crate) store: MemoryStore,
    home: TempDir,
}

impl Copied {
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The store, as the engine wants it.
    pub(crate) fn at(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    /// Changes a bit of the pack's header.
    pub(crate) fn damage(&self) {
        let mut bytes = self.store.bytes(&self.pack).unwrap().to_vec();
        bytes[20] ^= 1;
        self.store.plant(self.pack.clone(), bytes.into());
    }
}

/// A folder that needs no disk, where there is one.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) fn place(store: Arc<dyn Store>) -> Place {
    Reach::Near.place(store)
}

/// How a store is reached: at hand, or over a network, with a spool before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Near,
    Far,
    /// At hand, and databases go by rows. Such a restore promises the rows and not the bytes, so in the states of
    /// this one a database is what its rows say.
    ByRows,
}

impl Reach {
    pub(crate) fn place(self, store: Arc<dyn Store>) -> Place {
        match self {
            Self::Near | Self::ByRows => Place::of_store("a store of the test's own", store),
            Self::Far => Place::of_remote_store("a store of the test's own", store),
        }
    }

    pub(crate) fn tier(self) -> Tier {
        match self {
            Self::Near | Self::Far => Tier::Pages,
            Self::ByRows => Tier::Rows,
        }
    }

    pub(crate) fn backup(
        self,
        home: &Path,
        store: Arc<dyn Store>,
    ) -> Result<BackupReport, BackupError> {
        let options = BackupOptions {
            tier: self.tier(),
            ..BackupOptions::default()
        };
        Keyhaven::open_at(home, self.place(store))
            .unwrap()
            .backup(options, &mut ())
    }

    /// Restores on the device of `home` into an empty folder: what is there then, and the report.
    pub(crate) fn restore(
        self,
        home: &Path,
        store: Arc<dyn Store>,
    ) -> (State, Result<Restored, RestoreError>) {
        let to = scratch();
        let haven = Keyhaven::open_at(home, self.place(store)).unwrap();
        let result = haven.restore(to.path(), &RestoreOptions::default(), &mut ());
        let mut state = read_folder(to.path());
        if self == Self::ByRows
            && let Some(database) = state.get_mut(Path::new("chats.db"))
        {
            let back = Connection::open(to.path().join("chats.db")).unwrap();
            *database = told(&rows(&back));
        }
        (state, result)
    }

    /// As [`Reach::restore`], where nothing may be lost.
    pub(crate) fn restored(
        self,
        home: &Path,
        store: Arc<dyn Store>,
    ) -> Result<State, RestoreError> {
        let (state, result) = self.restore(home, store);
        assert_eq!(result?.report.lost, []);
        Ok(state)
    }
}

/// What was changed a moment ago might change again within one tick of the file system's clock, so
/// it is read once more by the next backup.
pub(crate) fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

/// Makes the source and sets the home up.
pub(crate) fn furnish(place: &Place, folder: TempDir) -> (TempDir, Connection, String) {
    let chats = folder.path().join("chats");
    std::fs::create_dir_all(chats.join("media/empty")).unwrap();
    let app = Connection::open(chats.join("chats.db")).unwrap();
    app.execute_batch(
        "PRAGMA journal_mode=WAL;
         CREATE TABLE message(id INTEGER PRIMARY KEY, text TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO message SELECT i, printf('message %d of many', i) FROM n;",
    )
    .unwrap();
    for number in 0..24 {
        let bytes = noise(number, number as usize * 1700);
        std::fs::write(chats.join(format!("media/{number:02}.jpg")), bytes).unwrap();
    }
    // One that is forwarded, and one of several frames.
    std::fs::copy(
        chats.join("media/09.jpg"),
        chats.join("media/forwarded.jpg"),
    )
    .unwrap();
    std::fs::write(chats.join("media/film.mp4"), noise(500, 300_000)).unwrap();
    settle();
    let home = folder.path().join("home");
    let setup = Setup::begin(&home, &chats, place.clone()).unwrap();
    let digits = setup.recovery_key().to_string();
    setup.prove_recovery_key(&digits).unwrap().finish().unwrap();
    (folder, app, digits)
}

pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word as u8
        })
        .collect()
}

pub(crate) fn rows(db: &Connection) -> Vec<(i64, String)> {
    let mut rows = db
        .prepare("SELECT id, text FROM message ORDER BY id")
        .unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Rows, as bytes to be compared.
fn told(rows: &[(i64, String)]) -> Vec<u8> {
    let lines = rows.iter().map(|(id, text)| format!("{id} {text}\n"));
    lines.collect::<String>().into_bytes()
}

pub(crate) fn backup(home: &Path, store: Arc<dyn Store>) -> Result<BackupReport, BackupError> {
    Reach::Near.backup(home, store)
}

pub(crate) fn restore(
    home: &Path,
    store: Arc<dyn Store>,
) -> (State, Result<Restored, RestoreError>) {
    Reach::Near.restore(home, store)
}

pub(crate) fn restored(home: &Path, store: Arc<dyn Store>) -> Result<State, RestoreError> {
    Reach::Near.restored(home, store)
}

pub(crate) fn read_folder(root: &Path) -> State {
    let mut state = State::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(root).unwrap().to_path_buf();
                state.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    state
}

/// Copies a folder with its modes: a home, as a clone of the device has it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
