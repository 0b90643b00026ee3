//! The devices of a life and their store, and what is known of both from outside the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use keyhaven::store::{Outage, Store, StoreError};
use keyhaven::{Keyhaven, Place, Setup, SnapshotInfo};
use keyhaven_hostile_store::{FailAt, Flaky, MemoryStore, Moment, Rates, Span, Through};
use keyhaven_secrets::Remedy;
use tempfile::TempDir;

use super::disk::{Disk, Ledger};
use super::plan::{Calls, Kill, Manner, Tiers, Weather};
use super::source::{Source, State, Thing, is_mapped};
use crate::world::{Reach, scratch};

/// A promise that was broken, in words.
#[derive(Clone, Debug)]
pub(crate) struct Broken(pub(crate) String);

pub(crate) type Held<T = ()> = Result<T, Broken>;

pub(crate) fn broken<T>(what: impl Into<String>) -> Held<T> {
    Err(Broken(what.into()))
}

pub(crate) struct World {
    pub(crate) manner: Manner,
    pub(crate) folder: TempDir,
    pub(crate) disk: Arc<Through<Disk>>,
    pub(crate) ledger: Ledger,
    pub(crate) digits: String,
    pub(crate) devices: Vec<Device>,
    /// How many devices there were.
    pub(crate) born: u64,
    /// What ever stood at each path of a source.
    ever: BTreeMap<PathBuf, Vec<Thing>>,
    /// The state of the source when each snapshot was made, by its name; or the states of which it may be.
    pub(crate) made: BTreeMap<String, Vec<Rc<State>>>,
    /// The snapshots that were made on the way: all databases are in them.
    pub(crate) checkpoints: BTreeSet<String>,
    /// The snapshots of which a person was told that all is in them, with their numbers.
    pub(crate) told: BTreeMap<String, u64>,
    /// Earlier states of the store.
    pub(crate) images: Vec<MemoryStore>,
    /// Whether the store has ever lost something for good.
    pub(crate) has_lost: bool,
    /// What was met, and how often.
    pub(crate) met: BTreeMap<&'static str, u64>,
}

pub(crate) struct Device {
    pub(crate) home: PathBuf,
    pub(crate) source: Source,
    pub(crate) state: Rc<State>,
    /// The newest backup that it was told of, and would miss.
    pub(crate) knows: Option<String>,
    /// Copies of its home, and what it knew then.
    pub(crate) copies: Vec<(TempDir, Option<String>)>,
}

/// A store as one run meets it.
pub(crate) struct Meeting {
    pub(crate) store: Arc<dyn Store>,
    flaky: Option<Arc<Flaky>>,
    failing: Option<(Arc<FailAt>, u64)>,
}

impl Meeting {
    pub(crate) fn was_killed(&self) -> bool {
        self.failing
            .as_ref()
            .is_some_and(|(failing, at)| failing.calls() > *at)
    }

    pub(crate) fn struck(&self) -> u64 {
        self.flaky.as_ref().map_or(0, |flaky| flaky.struck())
    }
}

impl World {
    pub(crate) fn new(manner: Manner) -> Self {
        let folder = scratch();
        let disk = Disk::new(manner.far);
        let ledger = Ledger::default();
        let (home, chats) = (folder.path().join("home0"), folder.path().join("chats0"));
        let source = Source::furnish(&chats, manner);
        let place = place(manner, ledger.watch(disk.clone()));
        let setup = Setup::begin(&home, &chats, place).unwrap();
        let digits = setup.recovery_key().to_string();
        setup.prove_recovery_key(&digits).unwrap().finish().unwrap();
        let state = Rc::new(source.state());
        let mut world = Self {
            manner,
            folder,
            disk,
            ledger,
            digits,
            devices: Vec::new(),
            born: 1,
            ever: BTreeMap::new(),
            made: BTreeMap::new(),
            checkpoints: BTreeSet::new(),
            told: BTreeMap::new(),
            images: Vec::new(),
            has_lost: false,
            met: BTreeMap::new(),
        };
        // The snapshot that a setup makes holds nothing.
        let empty = Rc::new(State::new());
        let first = world
            .snapshots_there()
            .into_iter()
            .map(|name| (name, vec![empty.clone()]));
        world.made = first.collect();
        world.remember(&state);
        world.devices.push(Device {
            home,
            source,
            state,
            knows: None,
            copies: Vec::new(),
        });
        world
    }

    pub(crate) fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// The source has another state, perhaps.
    pub(crate) fn look_at_source(&mut self, on: usize) {
        let state = Rc::new(self.devices[on].source.state());
        self.remember(&state);
        self.devices[on].state = state;
    }

    pub(crate) fn remember(&mut self, state: &State) {
        for (path, thing) in state {
            let things = self.ever.entry(path.clone()).or_default();
            if !things.contains(thing) {
                things.push(thing.clone());
            }
        }
    }

    /// The store of this life as an honest one.
    pub(crate) fn honest(&self) -> Arc<dyn Store> {
        self.ledger.watch(self.disk.clone())
    }

    /// The store in some weather, and a process that is killed at some call.
    pub(crate) fn under(&self, weather: Weather, kill: Option<Kill>) -> Meeting {
        let mut store: Arc<dyn Store> = self.disk.clone();
        let mut flaky = None;
        if let Some((noise, rates)) = rates(weather) {
            let fickle = Arc::new(Flaky::new(store, noise, rates));
            store = fickle.clone();
            flaky = Some(fickle);
        }
        let failing = kill.map(|kill| {
            let error = StoreError::Unreachable {
                outage: Outage::TimedOut,
                attempts: 1,
                pause: None,
            };
            let moment = if kill.done {
                Moment::After
            } else {
                Moment::Before
            };
            let behind = store.clone();
            let failing = FailAt::new(behind, kill.at, moment, Span::ForEver, error);
            let failing = match kill.of {
                Calls::All => failing,
                Calls::Changes => failing.counting_changes(),
                Calls::Commits => failing.counting_puts_below("snapshots/"),
            };
            (Arc::new(failing), kill.at)
        });
        if let Some((failing, _)) = &failing {
            store = failing.clone();
        }
        Meeting {
            store: self.ledger.watch(store),
            flaky,
            failing,
        }
    }

    pub(crate) fn haven(&self, on: usize, store: Arc<dyn Store>) -> Keyhaven {
        haven(self.manner, &self.devices[on].home, store)
    }

    /// The snapshots as an honest store shows them, the oldest first.
    pub(crate) fn snapshots(&self, on: usize) -> Held<Vec<SnapshotInfo>> {
        let listed = self.haven(on, self.honest()).snapshots();
        let mut listed = listed.map_err(|error| Broken(format!("no list of backups: {error}")))?;
        listed.reverse();
        Ok(listed)
    }

    /// The names of snapshots that are in the store.
    pub(crate) fn snapshots_there(&self) -> BTreeSet<String> {
        names_in(self.disk.objects())
    }

    /// BACKUP-1: nothing stands in a restored folder that no source ever had there.
    pub(crate) fn had_all(&self, found: &State) -> Held {
        for (path, thing) in found {
            let all = self.ever.get(path).into_iter().flatten();
            if !all.into_iter().any(|had| self.is_same(had, thing)) {
                return broken(format!(
                    "BACKUP-1: no source ever had what was restored at {path:?}"
                ));
            }
        }
        Ok(())
    }

    /// BACKUP-1: a restored folder is this state of the source. A file that changes without a sign has one of its states.
    pub(crate) fn is_state(&self, found: &State, expected: &State) -> Held {
        let paths: BTreeSet<&PathBuf> = found.keys().chain(expected.keys()).collect();
        for path in paths {
            let same = match (found.get(path), expected.get(path)) {
                (Some(Thing::File(_)), Some(Thing::File(_))) if is_mapped(path) => true,
                (Some(found), Some(expected)) => self.is_same(expected, found),
                _ => false,
            };
            if !same {
                let kind = match (found.get(path), expected.get(path)) {
                    (None, _) => "is missing",
                    (_, None) => "is too much",
                    _ => "is another",
                };
                let (found, expected) = (found.get(path), expected.get(path));
                return broken(format!(
                    "BACKUP-1: {path:?} {kind}: {found:02x?} for {expected:02x?}"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn is_same(&self, one: &Thing, other: &Thing) -> bool {
        match (one, other) {
            // By rows, a database has the exact rows.
            (Thing::Database { rows: one, .. }, Thing::Database { rows: other, .. })
                if self.manner.tiers != Tiers::Pages =>
            {
                one == other
            }
            _ => one == other,
        }
    }

    /// What must hold after every step, of whatever kind.
    pub(crate) fn holds(&self) -> Held {
        if let Some(path) = self.ledger.twice() {
            return broken(format!(
                "BACKUP-5: {path} was written twice with different bytes"
            ));
        }
        let there = self.snapshots_there();
        match self.told.keys().find(|name| !there.contains(*name)) {
            Some(name) => broken(format!("BACKUP-2: {name} was told to be safe, and is gone")),
            None => Ok(()),
        }
    }
}

/// Whether a person hears that the credentials have expired, of the error or of what lies behind it, and that it is for them to
/// get others.
pub(crate) fn tells_of_expiry(error: &(dyn std::error::Error + 'static), remedy: Remedy) -> bool {
    let behind = std::iter::successors(Some(error), |error| error.source());
    let said: String = behind.map(ToString::to_string).collect();
    said.contains("have expired") && remedy == Remedy::AskUser
}

pub(crate) fn names_in(store: &MemoryStore) -> BTreeSet<String> {
    let objects = store.objects().into_iter();
    let names =
        objects.filter_map(|(path, _)| Some(path.as_str().strip_prefix("snapshots/")?.to_owned()));
    names.collect()
}

pub(crate) fn bytes_in(store: &MemoryStore) -> u64 {
    let objects = store.objects();
    objects.iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

pub(crate) fn place(manner: Manner, store: Arc<dyn Store>) -> Place {
    match manner.far {
        true => Reach::Far.place(store),
        false => Reach::Near.place(store),
    }
}

pub(crate) fn haven(manner: Manner, home: &Path, store: Arc<dyn Store>) -> Keyhaven {
    Keyhaven::open_at(home, place(manner, store)).unwrap()
}

fn rates(weather: Weather) -> Option<(u64, Rates)> {
    match weather {
        Weather::Calm => None,
        Weather::Passing { rate, noise } => Some((noise, Rates::passing(rate))),
        Weather::Dishonest { rate, noise } => Some((noise, Rates::all(rate))),
        Weather::Expiring { rate, noise } => {
            let rates = Rates {
                expired: rate,
                ..Rates::default()
            };
            Some((noise, rates))
        }
    }
}
