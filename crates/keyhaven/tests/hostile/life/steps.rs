//! What each step does, and what must have come of it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use keyhaven::store::Store;
use keyhaven::{
    BackupError, BackupOptions, BackupReport, Budget, Keyhaven, Outcome, Recovery, RepackBudget,
    RestoreError, SnapshotInfo, Tier,
};
use keyhaven_secrets::Remedy;

use super::back::bring;
use super::chance::Pick;
use super::plan::{Backup, Change, Ending, Kill, Step, Tiers, Weather};
use super::source::{Source, State};
use super::world::{
    Broken, Device, Held, World, broken, bytes_in, haven, names_in, place, tells_of_expiry,
};
use crate::world::{copy_folder, scratch, settle};

/// A kill costs one full pack that has its name and is not noted, the part of a film that began in it, and the index.
const LOST_MAX: u64 = (8 << 20) + (3 << 20) + (1 << 20);
/// Copies of a home that are kept.
const COPIES_MAX: usize = 3;

impl World {
    pub(crate) fn step(&mut self, step: &Step) -> Held {
        match step {
            Step::Settle => {
                settle();
                Ok(())
            }
            Step::Change(on, change) => {
                self.change(self.device(on.0), change);
                Ok(())
            }
            Step::Backup(on, run) => self.backup(self.device(on.0), run),
            Step::Days { on, .. } => self.days(self.device(on.0), step),
            Step::PowerLoss(on, noise) => self.lose_power(self.device(on.0), *noise),
            Step::Restore {
                on,
                older,
                weather,
                cut,
            } => self.restore(self.device(on.0), *older, *weather, *cut),
            Step::GoBack { on, older } => self.go_back(self.device(on.0), *older),
            Step::Verify { on, all, weather } => self.verify(self.device(on.0), *all, *weather),
            Step::Spoil(on, spoil) => {
                self.spoil(self.device(on.0), *spoil);
                Ok(())
            }
            Step::CopyHome(on) => {
                let device = self.device(on.0);
                let device = &mut self.devices[device];
                let copy = scratch();
                copy_folder(&device.home, copy.path());
                device.copies.push((copy, device.knows.clone()));
                if device.copies.len() > COPIES_MAX {
                    device.copies.remove(0);
                }
                Ok(())
            }
            Step::PutHomeBack(on, which) => {
                let on = self.device(on.0);
                let device = &mut self.devices[on];
                if let Some((copy, knew)) = which.of(&device.copies) {
                    std::fs::remove_dir_all(&device.home).unwrap();
                    copy_folder(copy.path(), &device.home);
                    device.knows.clone_from(knew);
                    self.meet("an older copy of a home is put back");
                }
                match self.has_lost {
                    // It may be of before that.
                    true => self.gives_up_what_is_lost(on, &[]),
                    false => Ok(()),
                }
            }
            Step::StoreGoesBack(on, which) => self.store_goes_back(self.device(on.0), *which),
            Step::StoreLoses { on, earlier, kills } => {
                self.store_loses(self.device(on.0), *earlier, kills)
            }
            Step::NewDevice => self.new_device(),
        }?;
        self.holds()
    }

    fn device(&self, on: usize) -> usize {
        on % self.devices.len()
    }

    fn backup(&mut self, on: usize, run: &Backup) -> Held {
        let is_measured = self.manner.films
            && run.weather == Weather::Calm
            && !run.kills.is_empty()
            && (run.ends, run.budget, run.repack) == (Ending::Run, None, None);
        let undisturbed = match is_measured {
            true => self.undisturbed(on, run),
            false => None,
        };
        let before = bytes_in(self.disk.objects());
        for kill in &run.kills {
            self.run(on, run, Some(*kill))?;
        }
        if let Ending::PowerLoss(noise) | Ending::PowerLossAndRun(noise) = run.ends {
            self.lose_power(on, noise)?;
        }
        match run.ends {
            Ending::Killed | Ending::PowerLoss(_) => {}
            Ending::Run | Ending::PowerLossAndRun(_) => self.run(on, run, None)?,
            Ending::RunAndPowerLoss(noise) => {
                self.run(on, run, None)?;
                self.lose_power(on, noise)?;
            }
        }
        if let Some(bytes) = undisturbed {
            let sent = bytes_in(self.disk.objects()) - before;
            let most = bytes + LOST_MAX * run.kills.len() as u64;
            if sent > most {
                return broken(format!("{sent} bytes were sent, {most} are due at most"));
            }
            self.meet("what kills cost is measured");
        }
        self.images.push(self.disk.objects().copy());
        Ok(())
    }

    pub(super) fn change(&mut self, on: usize, change: &Change) {
        let source = &mut self.devices[on].source;
        let before = source.mapped();
        source.change(change);
        let is_unseen = match (before, source.mapped()) {
            (Some((times, bytes)), Some((later, now))) => times == later && bytes != now,
            _ => false,
        };
        if is_unseen {
            self.meet("a file changes without a sign");
        }
        self.look_at_source(on);
    }

    /// The bytes that a run would send that nothing disturbs.
    fn undisturbed(&self, on: usize, run: &Backup) -> Option<u64> {
        let (store, home) = (self.disk.objects().copy(), scratch());
        copy_folder(&self.devices[on].home, home.path());
        let before = bytes_in(&store);
        let clone = haven(
            self.manner,
            home.path(),
            self.ledger.watch(Arc::new(store.clone())),
        );
        clone.backup(self.options(run, true), &mut ()).ok()?;
        Some(bytes_in(&store) - before)
    }

    /// One run of a backup, to its end or until it is killed.
    pub(super) fn run(&mut self, on: usize, run: &Backup, kill: Option<Kill>) -> Held {
        let before = self.snapshots_there();
        let needed = match run.repack {
            Some(_) => self.needed(on)?,
            None => None,
        };
        let meeting = self.under(run.weather, kill);
        let haven = self.haven(on, meeting.store.clone());
        self.disk.begin_run();
        let mut result = haven.backup(self.options(run, false), &mut ());
        if let Err(BackupError::Shrunk { before, now, .. }) = &result {
            let is_less = now.files <= before.files / 2
                || now.bytes <= before.bytes / 2
                || now.databases <= before.databases / 2;
            if !is_less {
                return broken(format!(
                    "the source is said to have shrunk: {before:?}, {now:?}"
                ));
            }
            self.meet("a source that has shrunk is asked about");
            self.disk.begin_run();
            result = haven.backup(self.options(run, true), &mut ());
        }
        let parts = self.note_made(on, run, &before)?;
        if meeting.struck() > 0 {
            self.meet("faults strike a backup");
        }
        if meeting.was_killed() {
            self.meet("a backup is killed");
            if parts > 0 {
                self.meet("a backup is killed that had come to a checkpoint");
            }
        }
        match result {
            Ok(report) => {
                self.ended(on, run, &report)?;
                match needed {
                    Some(before) => self.is_emptied(on, run, &before, &report),
                    None => Ok(()),
                }
            }
            Err(error) => {
                let is_disturbed = meeting.was_killed() || meeting.struck() > 0;
                let is_dishonest = matches!(run.weather, Weather::Dishonest { .. });
                let is_expiry = tells_of_expiry(&error, error.remedy());
                if is_expiry && matches!(run.weather, Weather::Expiring { .. }) {
                    self.meet("credentials expire in a backup");
                    return Ok(());
                }
                let is_due = error.remedy() == Remedy::RetryLater
                    || is_dishonest
                        && matches!(
                            error,
                            BackupError::RolledBack { .. } | BackupError::History(_)
                        );
                match is_disturbed && is_due {
                    true => Ok(()),
                    false => broken(format!("a backup ended with: {error} ({error:?})")),
                }
            }
        }
    }

    /// A snapshot is of what the source holds. One that is pinned is of the state from which a source has shrunk: of an earlier one.
    /// How many checkpoints were committed?
    fn note_made(&mut self, on: usize, run: &Backup, before: &BTreeSet<String>) -> Held<u64> {
        let there = self.snapshots_there();
        let mut parts = 0;
        if there.is_subset(before) {
            return Ok(parts);
        }
        let earlier: Vec<Rc<State>> = self.made.values().flatten().cloned().collect();
        let now = vec![self.devices[on].state.clone()];
        for one in self.snapshots(on)? {
            let name = one.name.to_string();
            if !before.contains(&name) && one.pinned {
                self.meet("what a source has shrunk from is pinned");
                self.made.insert(name, earlier.clone());
            } else if !before.contains(&name) {
                self.made.insert(name.clone(), now.clone());
                // Without a budget nothing else is left for another time.
                if !one.complete && run.budget.is_none() {
                    parts += 1;
                    self.meet("a checkpoint is committed");
                    self.checkpoints.insert(name.clone());
                    self.gives(on, &name)?;
                }
            }
        }
        if parts > 1 {
            self.meet("a run commits several checkpoints");
        }
        Ok(parts)
    }

    fn ended(&mut self, on: usize, run: &Backup, report: &BackupReport) -> Held {
        if report.ways.iter().any(|way| way.by_rows) {
            self.meet("a database goes by rows");
        }
        if report.repacked.objects > 0 {
            self.meet("packs are emptied");
        }
        if report.damaged.is_some() {
            self.meet("a backup seems damaged");
            if run.weather == Weather::Calm && !run.accept_lost {
                return broken(format!("a sound backup is said to be damaged: {report:?}"));
            }
        }
        match report.outcome {
            Outcome::Complete => self.meet("a backup is complete"),
            Outcome::Unchanged => self.meet("a backup is unchanged"),
            Outcome::Partial { .. } if run.budget.is_some() => {
                self.meet("a backup is partial");
                return Ok(());
            }
            Outcome::Partial { .. } => return broken(format!("it is partial: {report:?}")),
        }
        self.is_told(on, report.sequence)
            .map_err(|Broken(what)| Broken(format!("{what}: {report:?}")))
    }

    /// BACKUP-1, BACKUP-2: what a person is told to be complete holds what the source holds.
    fn is_told(&mut self, on: usize, sequence: u64) -> Held {
        let state = self.devices[on].state.clone();
        let listed = self.snapshots(on)?;
        let holds = |one: &&SnapshotInfo| {
            let made = self.made.get(&one.name.to_string()).into_iter().flatten();
            let is_it = made
                .into_iter()
                .any(|made| self.is_state(made, &state).is_ok());
            one.sequence == sequence && one.complete && is_it
        };
        let Some(told) = listed.iter().find(holds) else {
            return broken(format!(
                "BACKUP-1: backup {sequence} is told to hold everything, and none of that number does"
            ));
        };
        let name = told.name.to_string();
        self.told.insert(name.clone(), sequence);
        // From now on it is of this state, also one that another device has pinned.
        self.made.insert(name.clone(), vec![state.clone()]);
        // A snapshot that holds nothing is nobody's to miss.
        if !state.is_empty() {
            self.devices[on].knows = Some(name.clone());
        }
        self.gives(on, &name)
    }

    /// BACKUP-4: a store that went back behind what a device knows is not written to, and not restored from unasked.
    fn store_goes_back(&mut self, on: usize, which: Pick) -> Held {
        let Some(image) = which.of(&self.images).map(|image| image.copy()) else {
            return Ok(());
        };
        let served: Arc<dyn Store> = self.ledger.watch(Arc::new(image.clone()));
        let there = names_in(&image);
        let device = &self.devices[on];
        let accept = BackupOptions {
            accept_shrunk: true,
            ..BackupOptions::default()
        };
        if device
            .knows
            .as_ref()
            .is_none_or(|name| there.contains(name))
        {
            // It may go on from there. It is a clone that does.
            let home = scratch();
            copy_folder(&device.home, home.path());
            let clone = haven(self.manner, home.path(), served);
            return match clone.backup(accept, &mut ()) {
                Ok(_) | Err(BackupError::RolledBack { .. }) => Ok(()),
                Err(error) => broken(format!("an earlier state of the store: {error}")),
            };
        }
        let before = image.objects();
        let haven = self.haven(on, served);
        let backup = haven.backup(accept, &mut ());
        if !matches!(backup, Err(BackupError::RolledBack { .. })) {
            return broken(format!(
                "BACKUP-4: a store went back, and a backup says {backup:?}"
            ));
        }
        if image.objects() != before {
            return broken("BACKUP-4: a store that went back was written to");
        }
        let (found, result) = bring(&haven, None, scratch().path());
        if !found.is_empty() || !matches!(result, Err(RestoreError::NotFresh { .. })) {
            return broken(format!(
                "BACKUP-4: a store went back, and a restore says {result:?}"
            ));
        }
        if !matches!(haven.gone_back(), Ok(Some(_))) {
            return broken("BACKUP-4: a store went back, and nobody says so");
        }
        self.meet("a store that went back is refused");
        Ok(())
    }

    fn store_loses(&mut self, on: usize, earlier: Option<Pick>, kills: &[Kill]) -> Held {
        match (earlier, self.devices[on].knows.clone()) {
            (Some(earlier), _) => {
                let Some(at) = earlier.index(self.images.len()) else {
                    return Ok(());
                };
                self.disk.put_back(&self.images[at]);
                self.images.truncate(at + 1);
            }
            (None, Some(name)) => {
                // One that was not told may follow it, and would be enough.
                let known = self.told[&name];
                let listed = self.snapshots(on)?.into_iter();
                for one in listed.filter(|one| one.sequence >= known) {
                    self.disk.lose(&format!("snapshots/{}", one.name));
                }
            }
            (None, None) => return Ok(()),
        }
        self.has_lost = true;
        let there = self.snapshots_there();
        self.told.retain(|name, _| there.contains(name));
        for on in 0..self.devices.len() {
            self.misses(on)?;
        }
        let others = (0..self.devices.len()).filter(|other| *other != on);
        for on in [on].into_iter().chain(others) {
            self.gives_up_what_is_lost(on, kills)?;
        }
        Ok(())
    }

    /// BACKUP-4: a device that misses the newest backup that it knows of writes nothing.
    fn misses(&mut self, on: usize) -> Held {
        let there = self.snapshots_there();
        let knows = &self.devices[on].knows;
        if knows.as_ref().is_none_or(|name| there.contains(name)) {
            return Ok(());
        }
        let before = self.disk.objects().objects();
        let haven = self.haven(on, self.honest());
        let asked = haven.backup(BackupOptions::default(), &mut ());
        if !matches!(asked, Err(BackupError::RolledBack { .. })) {
            return broken(format!(
                "BACKUP-4: a store lost a backup, and the next one says {asked:?}"
            ));
        }
        if self.disk.objects().objects() != before {
            return broken("BACKUP-4: a store that lost a backup was written to");
        }
        self.meet("a backup that is lost for good is given up");
        Ok(())
    }

    /// Once a person says that what is missing is lost, all that the source holds is backed up again.
    fn gives_up_what_is_lost(&mut self, on: usize, kills: &[Kill]) -> Held {
        let run = Backup {
            accept_lost: true,
            ..Backup::calm(self.manner.tiers != Tiers::Pages)
        };
        for kill in kills {
            self.run(on, &run, Some(*kill))?;
        }
        self.run(on, &run, None)
    }

    fn new_device(&mut self) -> Held {
        self.devices.truncate(1);
        let number = self.born;
        self.born += 1;
        let at = |what: &str| self.folder.path().join(format!("{what}{number}"));
        let (home, chats) = (at("home"), at("chats"));
        let by = Recovery::RecoveryKey(&self.digits);
        let back = Keyhaven::recover(&home, &chats, place(self.manner, self.honest()), by)
            .map_err(|error| Broken(format!("a recovery ended with: {error}")))?;
        let (found, result) = bring(&back.haven, None, &chats);
        self.is_restored(&found, &result, Weather::Calm)?;
        let sequence = result.map_or(0, |restored| restored.snapshot.sequence);
        if self.told.values().any(|told| *told > sequence) {
            return broken(format!(
                "BACKUP-2: a new device gets backup {sequence}, and there are newer"
            ));
        }
        let source = Source::adopt(&chats, self.manner);
        self.devices.push(Device {
            home,
            source,
            state: Rc::new(State::new()),
            knows: None,
            copies: Vec::new(),
        });
        let on = self.devices.len() - 1;
        self.look_at_source(on);
        self.meet("a new device");
        let state = self.devices[on].state.clone();
        self.is_state(&state, &found)
    }

    /// When all is calm, everything is as it should be.
    pub(crate) fn ends_well(&mut self) -> Held {
        settle();
        for on in 0..self.devices.len() {
            let run = Backup::calm(self.manner.tiers != Tiers::Pages);
            self.run(on, &run, None)?;
            let haven = self.haven(on, self.honest());
            let again = haven.backup(self.options(&run, false), &mut ());
            match &again {
                Ok(report) if (report.outcome, report.sent_objects) == (Outcome::Unchanged, 0) => {}
                other => return broken(format!("a second backup, of the same: {other:?}")),
            }
            let (found, result) = bring(&haven, None, scratch().path());
            self.is_restored(&found, &result, Weather::Calm)?;
            self.is_state(&found, &self.devices[on].state)?;
            self.verify(on, true, Weather::Calm)?;
            self.holds()?;
        }
        let listed = self.snapshots(0)?;
        for one in listed.iter().rev().take(40) {
            self.gives(0, &one.name.to_string())?;
        }
        Ok(())
    }

    fn options(&self, run: &Backup, accept_shrunk: bool) -> BackupOptions<'static> {
        BackupOptions {
            accept_shrunk,
            accept_lost: run.accept_lost,
            pace: self.manner.pace(),
            tier: if run.rows { Tier::Rows } else { Tier::Pages },
            repack: run.repack.map(RepackBudget::of_bytes),
            budget: Budget {
                time: None,
                bytes: run.budget,
            },
            ..BackupOptions::default()
        }
    }
}
