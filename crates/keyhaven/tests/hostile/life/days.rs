//! Calm days that leave short packs, and what a backup that empties some of them must have done.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven::BackupReport;
use keyhaven_hostile_store::{Operation, Recording};

use super::back::bring;
use super::chance::Pick;
use super::plan::{Backup, Change, Step, Weather};
use super::world::{Broken, Held, World, broken, haven};
use crate::world::{copy_folder, scratch, settle};

/// Days are spread evenly over the rows of a database: the golden ratio of all places.
const SPREAD: u16 = 40_503;

/// So many packs of about the same length are worth moving.
const GATHERED_MIN: usize = 8;

/// The names of packs.
pub(super) type Needed = BTreeSet<String>;

impl World {
    pub(super) fn days(&mut self, on: usize, step: &Step) -> Held {
        let Step::Days {
            days,
            noise,
            rows,
            files,
            repack,
            ..
        } = *step
        else {
            return Ok(());
        };
        let mut left = Needed::new();
        for day in 0..days {
            let (is_first, is_last) = (day == 0, day + 1 == days);
            let before = self.packs();
            self.change(on, &edit(noise, day));
            if is_first || is_last {
                self.change(on, &Change::Unseen);
            } else if files {
                self.change(on, &file(noise, day));
            }
            let mut run = Backup::calm(rows);
            if !is_last {
                self.run(on, &run, None)?;
                // The first day's may hold more than a day's change.
                if !is_first {
                    left.extend(self.packs().difference(&before).cloned());
                }
                continue;
            }
            run.repack = repack;
            settle();
            let needed = self.needed(on)?.unwrap_or_default();
            self.run(on, &run, None)?;
            // Without files, all that is needed still of those packs are pages.
            if !rows && !files && repack.is_some() {
                left.retain(|pack| needed.contains(pack));
                self.are_gathered(on, &left)?;
            }
        }
        Ok(())
    }

    /// What calm days have left in packs of their own lies together now: there was room for all of it.
    fn are_gathered(&mut self, on: usize, left: &Needed) -> Held {
        let Some(after) = self.needed(on)?.filter(|_| left.len() >= GATHERED_MIN) else {
            return Ok(());
        };
        let still: Vec<_> = left.intersection(&after).collect();
        if !still.is_empty() {
            return broken(format!(
                "of {} short packs are needed still: {still:?}",
                left.len()
            ));
        }
        self.meet("what days have left is gathered");
        Ok(())
    }

    fn packs(&self) -> Needed {
        let objects = self.disk.objects().objects().into_iter();
        let names = objects.map(|(path, _)| path.as_str().to_owned());
        names.filter(|path| path.starts_with("packs/")).collect()
    }

    /// The packs that the newest backup needs, as a restore of all of it asks for them; none if several are the newest.
    pub(super) fn needed(&self, on: usize) -> Held<Option<Needed>> {
        let listed = self.snapshots(on)?;
        let mut heads = listed.iter().filter(|one| one.head);
        let (Some(head), None) = (heads.next(), heads.next()) else {
            return Ok(None);
        };
        let home = scratch();
        copy_folder(&self.devices[on].home, home.path());
        // Of what it keeps, it would ask nobody.
        let _ = std::fs::remove_dir_all(home.path().join("state"));
        let recording = Arc::new(Recording::new(Arc::new(self.disk.objects().copy())));
        let clone = haven(self.manner, home.path(), recording.clone());
        let (found, result) = bring(&clone, Some(&head.name.to_string()), scratch().path());
        self.is_restored(&found, &result, Weather::Calm)?;
        let calls = recording.calls().into_iter();
        let got = calls.filter(|call| call.operation == Operation::Get && call.done);
        let packs = got.filter(|call| call.on.starts_with("packs/"));
        Ok(Some(packs.map(|call| call.on).collect()))
    }

    /// What is said to be emptied is, and no more was moved than was allowed.
    pub(super) fn is_emptied(
        &mut self,
        on: usize,
        run: &Backup,
        before: &Needed,
        report: &BackupReport,
    ) -> Held {
        if report.repacked.bytes > run.repack.unwrap_or(0) {
            return broken(format!("more was moved than was allowed: {report:?}"));
        }
        let after = self.needed(on);
        let after = after.map_err(|Broken(what)| Broken(format!("{what}: {report:?}")))?;
        let Some(after) = after else {
            return Ok(());
        };
        let emptied = before.difference(&after).count() as u64;
        match emptied >= report.repacked.objects {
            true => Ok(()),
            false => broken(format!(
                "{emptied} packs are needed no more, and more are said to be emptied: {report:?}"
            )),
        }
    }
}

/// A row in a page of its own, where there are so many.
fn edit(noise: u64, day: u64) -> Change {
    let row = (noise as u16).wrapping_add(SPREAD.wrapping_mul(day as u16));
    Change::EditRow {
        database: Pick(0),
        row: Pick(row),
        noise: noise ^ day,
    }
}

/// A file, each day's of about the same length.
fn file(noise: u64, day: u64) -> Change {
    Change::Write {
        name: 100 + (noise.wrapping_add(day)) % 100,
        bytes: 24_000 + (noise >> day) % 16_000,
        noise: noise ^ day,
    }
}
