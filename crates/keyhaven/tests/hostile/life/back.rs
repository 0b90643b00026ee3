//! What comes back: restores and verifications, and what must be so of them.

use std::path::Path;

use keyhaven::{Cancel, Depth, Fresh, Keyhaven, RestoreError, RestoreOptions, Restored};
use keyhaven_secrets::Remedy;

use super::chance::Pick;
use super::plan::{Calls, Kill, Weather};
use super::source::{State, Thing, restored_state};
use super::world::{Broken, Held, World, broken, tells_of_expiry};
use crate::world::scratch;

impl World {
    /// BACKUP-1, BACKUP-2: a backup by its name gives the state of which it was made.
    pub(super) fn gives(&self, on: usize, name: &str) -> Held {
        let (found, result) = bring(&self.haven(on, self.honest()), Some(name), scratch().path());
        self.is_restored(&found, &result, Weather::Calm)
            .map_err(|Broken(what)| Broken(format!("the backup {name}: {what}")))
    }

    /// What a restore has left is what it must be.
    pub(super) fn is_restored(
        &self,
        found: &State,
        result: &Result<Restored, RestoreError>,
        weather: Weather,
    ) -> Held {
        self.had_all(found)?;
        let restored = match result {
            Ok(restored) => restored,
            Err(error) => {
                let is_due = match weather {
                    Weather::Calm => false,
                    Weather::Passing { .. } => error.remedy() == Remedy::RetryLater,
                    Weather::Expiring { .. } => tells_of_expiry(error, error.remedy()),
                    Weather::Dishonest { .. } => {
                        error.remedy() == Remedy::RetryLater
                            || matches!(
                                error,
                                RestoreError::NotFresh { .. }
                                    | RestoreError::History(_)
                                    | RestoreError::NoSuchSnapshot(_)
                            )
                    }
                };
                return match is_due {
                    true => Ok(()),
                    false => broken(format!("a restore ended with: {error} ({error:?})")),
                };
            }
        };
        let lost = &restored.report.lost;
        if !lost.is_empty() {
            let is_due =
                weather != Weather::Calm && lost.iter().all(|one| one.remedy == Remedy::RetryLater);
            return match is_due {
                true => Ok(()),
                false => broken(format!("a restore lost {lost:?}")),
            };
        }
        let name = restored.snapshot.name.to_string();
        match self.made.get(&name) {
            None => broken(format!("nobody made the backup {name}")),
            // Messages come first.
            Some(made) if self.checkpoints.contains(&name) => {
                let held = made.iter().map(|made| {
                    let made = databases(made);
                    // What is gone is found out with the files.
                    let mut found = databases(found);
                    found.retain(|path, _| made.contains_key(path));
                    self.is_state(&found, &made)
                });
                held.min_by_key(Held::is_err).unwrap_or(Ok(()))
            }
            // What it has is known to be of some state; that is all that is promised of a part.
            Some(_) if !restored.snapshot.complete => Ok(()),
            Some(made) => {
                let held = made.iter().map(|made| self.is_state(found, made));
                held.min_by_key(Held::is_err).unwrap_or(Ok(()))
            }
        }
    }

    pub(super) fn restore(
        &mut self,
        on: usize,
        older: Option<Pick>,
        weather: Weather,
        cut: Option<u64>,
    ) -> Held {
        let listed = self.snapshots(on)?;
        let name = older
            .and_then(|older| older.of(&listed))
            .map(|one| one.name.to_string());
        let to = scratch();
        if let Some(at) = cut {
            let meeting = self.under(
                weather,
                Some(Kill {
                    at,
                    of: Calls::All,
                    done: false,
                }),
            );
            let (found, result) = bring(
                &self.haven(on, meeting.store.clone()),
                name.as_deref(),
                to.path(),
            );
            if meeting.was_killed() {
                self.meet("a restore is cut off");
                self.had_all(&found)?;
                if let Err(error) = &result
                    && weather == Weather::Calm
                    && error.remedy() != Remedy::RetryLater
                {
                    return broken(format!("a restore that was cut off says {error}"));
                }
            }
        }
        let meeting = self.under(weather, None);
        let (found, result) = bring(
            &self.haven(on, meeting.store.clone()),
            name.as_deref(),
            to.path(),
        );
        if meeting.struck() > 0 {
            self.meet("faults strike a restore");
        }
        self.is_restored(&found, &result, weather)?;
        if let Ok(restored) = &result {
            match name {
                Some(_) => self.meet("an older backup is restored"),
                None => {
                    self.meet("the newest backup is restored");
                    self.is_fresh(on, restored)?;
                }
            }
        }
        Ok(())
    }

    /// BACKUP-4: what a device restores is not older than what it was told of.
    pub(super) fn is_fresh(&self, on: usize, restored: &Restored) -> Held {
        let Some(knows) = &self.devices[on].knows else {
            return Ok(());
        };
        let sequence = self.told[knows];
        let is_newest =
            restored.snapshot.sequence > sequence || restored.snapshot.name.to_string() == *knows;
        match is_newest && matches!(restored.fresh, Fresh::AtLeast { .. }) {
            true => Ok(()),
            false => broken(format!(
                "BACKUP-4: the device knows of backup {sequence}, and restores {:?}, {:?}",
                restored.snapshot, restored.fresh
            )),
        }
    }

    pub(super) fn go_back(&mut self, on: usize, older: Pick) -> Held {
        let listed = self.snapshots(on)?;
        let complete: Vec<String> = listed
            .iter()
            .filter(|one| one.complete && !one.pinned)
            .map(|one| one.name.to_string())
            .collect();
        let Some(name) = older.of(&complete) else {
            return Ok(());
        };
        let store = self.honest();
        let haven = self.haven(on, store);
        self.devices[on].source.close();
        let options = RestoreOptions {
            snapshot: Some(name.clone()),
            overwrite: true,
            ..RestoreOptions::default()
        };
        let folder = self.devices[on].source.folder().to_path_buf();
        match haven.restore(&folder, &options, &mut ()) {
            Ok(restored) if restored.report.lost.is_empty() => {}
            other => return broken(format!("a restore over the source: {other:?}")),
        }
        self.devices[on].source.open();
        let before = self.devices[on].state.clone();
        self.look_at_source(on);
        let now = self.devices[on].state.clone();
        // What the backup does not have stays.
        let mut expected = State::clone(&before);
        expected.extend(self.made[name].iter().flat_map(|made| State::clone(made)));
        self.meet("a source is restored over");
        self.is_state(&now, &expected)
    }

    pub(super) fn verify(&mut self, on: usize, all: bool, weather: Weather) -> Held {
        let meeting = self.under(weather, None);
        let depth = if all { Depth::All } else { Depth::Structure };
        let haven = self.haven(on, meeting.store.clone());
        let result = haven.verify(depth, None, &Cancel::new(), &mut ());
        self.meet("a backup is verified");
        match (result, weather) {
            (_, Weather::Dishonest { .. }) => Ok(()),
            (Ok(report), _) if report.is_good() => Ok(()),
            (Ok(report), _) => broken(format!("a sound store is said to be damaged: {report:?}")),
            (Err(error), Weather::Passing { .. }) if error.remedy() == Remedy::RetryLater => Ok(()),
            (Err(error), Weather::Expiring { .. }) if tells_of_expiry(&error, error.remedy()) => {
                Ok(())
            }
            (Err(error), _) => broken(format!("a verification ended with: {error}")),
        }
    }
}

fn databases(state: &State) -> State {
    let all = state.iter();
    let databases = all.filter(|(_, thing)| matches!(thing, Thing::Database { .. }));
    databases
        .map(|(path, thing)| (path.clone(), thing.clone()))
        .collect()
}

pub(super) fn bring(
    haven: &Keyhaven,
    name: Option<&str>,
    to: &Path,
) -> (State, Result<Restored, RestoreError>) {
    let options = RestoreOptions {
        snapshot: name.map(str::to_owned),
        ..RestoreOptions::default()
    };
    let result = haven.restore(to, &options, &mut ());
    let found = if to.exists() {
        restored_state(to)
    } else {
        State::new()
    };
    (found, result)
}
