//! What must hold of an image, however the power went.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use keyhaven::home::Home;
use keyhaven::store::{FolderStore, Store};
use keyhaven::{BackupOptions, Keyhaven, Outcome, Place, RestoreOptions, Setup, Tier};

use serde::{Deserialize, Serialize};

use crate::image::Image;

/// Every file of a folder, by the digest of its bytes; of a database that goes by rows, by its rows.
pub(crate) type State = BTreeMap<PathBuf, String>;

/// How backups are made in a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Manner {
    Pages,
    Rows,
    /// By pages, to a store behind a spool.
    Far,
}

/// What may be found.
pub(crate) struct Expected<'a> {
    pub(crate) manner: Manner,
    /// What is backed up, as it is now.
    pub(crate) chats: &'a Path,
    /// Where a remote store keeps its objects, and those that it has.
    pub(crate) far: &'a Path,
    pub(crate) arrived: &'a BTreeSet<PathBuf>,
    /// The states of it that were backed up, or were begun to be, oldest first; the first of them ended well.
    pub(crate) states: &'a [State],
    /// What the next backup must bring.
    pub(crate) now: &'a State,
    /// Whether a setup has ended well.
    pub(crate) is_set_up: bool,
    /// The 64 digits that a setup has written down.
    pub(crate) key: Option<&'a str>,
    /// The newest backup was damaged before: a restore may say that some of it is lost.
    pub(crate) is_damaged: bool,
    /// Nothing has noticed that yet: the next backup need not mend it.
    pub(crate) is_unnoticed: bool,
    /// Whether a restore into [`BACK`] has ended well.
    pub(crate) is_restored: bool,
}

/// What recorded restores restore into.
pub(crate) const BACK: &str = "back";

pub(crate) fn state(root: &Path, manner: Manner) -> State {
    let mut state = State::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_path_buf();
            if path.is_dir() {
                open.push(path);
            } else if manner == Manner::Rows && path.ends_with("chats.db") {
                state.insert(name, rows(&path));
            } else if !path.ends_with("chats.db-wal") && !path.ends_with("chats.db-shm") {
                let digest = blake3::hash(&fs::read(&path).unwrap());
                state.insert(name, digest.to_string());
            }
        }
    }
    state
}

fn rows(database: &Path) -> String {
    let chats =
        rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap();
    let mut rows = chats
        .prepare("SELECT rowid, text FROM message ORDER BY rowid")
        .unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut rows = rows.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (id, text): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        hasher.update(format!("{id} {text}\n").as_bytes());
    }
    hasher.finalize().to_string()
}

/// What was seen of an image that is as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// Nothing is set up in it.
    NotSetUp,
    /// What comes back, by its place among the states.
    State(usize),
    /// The newest backup is damaged, as it was before.
    Damaged,
    /// What was under way was done again.
    Again,
    /// It had ended well.
    Done,
}

/// Held for writing while a process is started, and for reading while an image is looked at. A child has for a moment
/// what its parent has open, a home's lock too, and a home would be found at work that nobody works on.
pub(crate) static STARTING: RwLock<()> = RwLock::new(());

/// Looks at an image; what is wrong with it, in words.
pub(crate) fn check(image: &Image, expected: &Expected<'_>) -> Result<Seen, String> {
    let _nothing_starts = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let folder = scratch();
    image.write(folder.path());
    for object in expected.arrived {
        let to = folder.path().join("store").join(object);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // One that had another name while it was on its way is no object.
        let _ = fs::copy(expected.far.join(object), to);
    }
    let looked = catch_unwind(AssertUnwindSafe(|| {
        Found {
            folder: folder.path(),
            expected,
        }
        .look()
    }));
    looked.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", said.unwrap_or_default()))
    })
}

pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

struct Found<'a> {
    folder: &'a Path,
    expected: &'a Expected<'a>,
}

impl Found<'_> {
    fn look(&self) -> Result<Seen, String> {
        let home = self.folder.join("home");
        let (haven, seen) = if Home::new(&home).is_set_up() {
            let haven = self.open()?;
            let seen = self.newest(&haven)?;
            self.restored(&haven)?;
            self.key(&haven)?;
            (haven, seen)
        } else if self.expected.is_set_up {
            return Err("what was set up is not set up any more".to_owned());
        } else {
            (self.set_up()?, Seen::NotSetUp)
        };
        self.next(&haven)?;
        Ok(seen)
    }

    fn place(&self) -> Result<Place, String> {
        let store = self.folder.join("store");
        match self.expected.manner {
            Manner::Pages | Manner::Rows => {
                Place::parse(store.to_str().unwrap()).map_err(told("the place"))
            }
            Manner::Far => {
                let store = FolderStore::open(&store).map_err(told("the store"))?;
                let store: Arc<dyn Store> = Arc::new(store);
                Ok(Place::of_remote_store("a store far away", store))
            }
        }
    }

    fn open(&self) -> Result<Keyhaven, String> {
        Keyhaven::open_at(&self.folder.join("home"), self.place()?)
            .map_err(told("it does not open"))
    }

    /// BACKUP-2: a setup that was cut off can be done again.
    fn set_up(&self) -> Result<Keyhaven, String> {
        let home = self.folder.join("home");
        let setup = Setup::begin(&home, self.expected.chats, self.place()?);
        let setup = setup.map_err(told("it cannot be set up again"))?;
        let digits = setup.recovery_key().to_string();
        let proven = setup.prove_recovery_key(&digits);
        let proven = proven.map_err(|(_, error)| told("its key is not proven")(error))?;
        proven.finish().map_err(told("it cannot be set up again"))
    }

    /// The person's only copy of the key beside the device's own: the home says that it was proven.
    fn key(&self, haven: &Keyhaven) -> Result<(), String> {
        let own = haven.backup_key().map_err(told("the key"))?.digits();
        let own = format!("{own}\n");
        let found = fs::read_to_string(self.folder.join("keys/key"));
        let is_it = |found: &String| {
            *found == own && self.expected.key.is_none_or(|expected| expected == found)
        };
        match found.as_ref().is_ok_and(is_it) {
            true => Ok(()),
            false => Err("the 64 digits are gone".to_owned()),
        }
    }

    /// BACKUP-1, BACKUP-2: the newest backup is exactly one of the states that may be.
    fn newest(&self, haven: &Keyhaven) -> Result<Seen, String> {
        let restored = self.restore(haven);
        if self.expected.is_damaged {
            return match restored {
                Ok(Restored { state, whole: true }) => self.place_of(&state).map(Seen::State),
                Ok(Restored {
                    state,
                    whole: false,
                }) => self.of_some_state(&state),
                Err(_) => Ok(Seen::Damaged),
            };
        }
        match restored? {
            Restored { state, whole: true } => self.place_of(&state).map(Seen::State),
            Restored { whole: false, .. } => Err("the newest backup is damaged".to_owned()),
        }
    }

    fn place_of(&self, state: &State) -> Result<usize, String> {
        let place = self.expected.states.iter().rposition(|one| one == state);
        place.ok_or_else(|| {
            let nearest = self.expected.states.last().unwrap();
            format!(
                "what comes back was never there; it differs in {:?}",
                differing(state, nearest)
            )
        })
    }

    fn of_some_state(&self, state: &State) -> Result<Seen, String> {
        let was_there = |(path, digest): (&PathBuf, &String)| {
            let mut states = self.expected.states.iter();
            states.any(|state| state.get(path) == Some(digest))
        };
        if state.iter().all(was_there) {
            Ok(Seen::Damaged)
        } else {
            Err("beside damage, a file comes back with other bytes".to_owned())
        }
    }

    fn restore(&self, haven: &Keyhaven) -> Result<Restored, String> {
        let to = scratch();
        let restored = haven.restore(to.path(), &RestoreOptions::default(), &mut ());
        let restored = restored.map_err(told("the newest backup does not come back"))?;
        Ok(Restored {
            state: state(to.path(), self.expected.manner),
            whole: restored.report.lost.is_empty(),
        })
    }

    /// BACKUP-2: the next backup completes and brings the present state. BACKUP-5: what had a name keeps its bytes.
    fn next(&self, haven: &Keyhaven) -> Result<(), String> {
        let before = self.objects();
        let options = BackupOptions {
            accept_shrunk: true,
            tier: match self.expected.manner {
                Manner::Pages | Manner::Far => Tier::Pages,
                Manner::Rows => Tier::Rows,
            },
            ..BackupOptions::default()
        };
        let report = haven.backup(options, &mut ());
        let report = report.map_err(told("the next backup fails"))?;
        if !matches!(report.outcome, Outcome::Complete | Outcome::Unchanged) {
            return Err(format!("the next backup is not complete: {report:?}"));
        }
        let after = self.objects();
        let rewritten = before
            .iter()
            .find(|(path, digest)| after.get(*path) != Some(*digest));
        if let Some((path, _)) = rewritten {
            return Err(format!("{} was written again", path.display()));
        }
        let Restored { state, whole } = self.restore(haven)?;
        if self.expected.is_unnoticed {
            // What nothing has found is not sent again, until a verification finds it.
            return self.of_some_state(&state).map(drop);
        }
        if !whole || state != *self.expected.now {
            return Err("the next backup brings back something else".to_owned());
        }
        haven.config().map_err(told("no status"))?;
        haven.fingerprint().map_err(told("no status"))?;
        let snapshots = haven.snapshots().map_err(told("no status"))?;
        match snapshots.iter().filter(|snapshot| snapshot.head).count() {
            1 => Ok(()),
            heads => Err(format!("{heads} heads, of one device")),
        }
    }

    /// BACKUP-1: what has a name in the target has its bytes, and the same restore brings the rest.
    fn restored(&self, haven: &Keyhaven) -> Result<(), String> {
        let to = self.folder.join(BACK);
        let there = if to.exists() {
            state(&to, self.expected.manner)
        } else {
            State::new()
        };
        if self.expected.is_restored && there != *self.expected.now {
            return Err("what was restored is not there any more".to_owned());
        }
        if to.exists() {
            let again = haven.restore(&to, &RestoreOptions::default(), &mut ());
            let again = again.map_err(told("it cannot be restored again"))?;
            let now = state(&to, self.expected.manner);
            if !again.report.lost.is_empty() || now != *self.expected.now {
                return Err(format!(
                    "restored again, it differs in {:?}, and lost is {:?}",
                    differing(&now, self.expected.now),
                    again.report.lost
                ));
            }
        }
        let is_unfinished = |path: &Path| path.to_string_lossy().contains(".keyhaven-");
        let mut whole = there.iter().filter(|(path, _)| !is_unfinished(path));
        match whole.find(|(path, digest)| self.expected.now.get(*path) != Some(*digest)) {
            Some((path, _)) => Err(format!("{} has other bytes", path.display())),
            None => Ok(()),
        }
    }

    fn objects(&self) -> BTreeMap<PathBuf, String> {
        let mut objects = state(&self.folder.join("store"), Manner::Pages);
        objects.retain(|path, _| !path.starts_with(".spool"));
        objects
    }
}

fn differing<'a>(one: &'a State, other: &'a State) -> BTreeSet<&'a PathBuf> {
    let all = one.keys().chain(other.keys());
    all.filter(|path| one.get(*path) != other.get(*path))
        .collect()
}

struct Restored {
    state: State,
    whole: bool,
}

fn told<E: std::error::Error>(what: &str) -> impl Fn(E) -> String {
    move |error| {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let causes: String = causes.map(|cause| format!(": {cause}")).collect();
        format!("{what}: {error}{causes}")
    }
}
