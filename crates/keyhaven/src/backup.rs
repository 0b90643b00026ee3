//! Backing up, as a caller sees it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::Completeness;
use keyhaven_source::guard::{self, Census, Verdict};
use keyhaven_source::{PageSource, PathKey, Rules};

use crate::engine::backup::{Run, Start, Supplied};
use crate::engine::error::BackupError;
use crate::engine::footers;
use crate::engine::history::Access;
use crate::engine::nodes::{Nodes, is_damage};
use crate::engine::outbox::{Outbox, Sent};
use crate::engine::packs::Packs;
use crate::engine::rows::{Shadows, Tier, Way, recall_ways, remember_ways};
use crate::engine::sent_log::{Left, SentLog};
use crate::engine::survey::{Survey, survey};
use crate::engine::suspects;
use crate::engine::tails::{Emptied, RepackBudget, Repacked};
use crate::engine::take_up;
use crate::engine::usage::uses;
use crate::footing::{Footing, Trust};
use crate::haven::{Keyhaven, OpenError, note};
use crate::nesting::Kept;
use crate::noting::Line;
use crate::progress::{Budget, Cancel, DamagedBackup, Limits, Meter, Observer, Pace, Phase, Stop};
use crate::spool::{SpoolLimits, SpooledStore};
use crate::store::Store;
use crate::store::patience::CalledOff;

/// What a backup run may and shall do.
#[derive(Default)]
pub struct BackupOptions<'a> {
    /// Stops it from another thread.
    pub cancel: Cancel,
    /// How much it may take.
    pub budget: Budget,
    /// How often it makes safe what it has done, if there is much to do.
    pub pace: Pace,
    /// Backs up although the source has vanished, emptied or shrunk by half.
    pub accept_shrunk: bool,
    /// Goes on from what is there although the store has lost the newest backup that this device made, or was put back to an older
    /// state (BACKUP-4). The new backup follows the lost one, so that it counts as newer wherever that is known.
    pub accept_lost: bool,
    /// How databases are backed up.
    pub tier: Tier,
    /// Sends again, within this budget, what the newest backup needs of short packs, so that a restore needs fewer
    /// objects. What lay in them stays in the store for the older backups.
    pub repack: Option<RepackBudget>,
    /// Databases that the app itself has open, by their path below the source: it reads them
    /// through its own connection.
    pub databases: Vec<(PathBuf, &'a mut dyn PageSource)>,
}

/// What a backup run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// What became of it.
    pub outcome: Outcome,
    /// The number of the newest snapshot now.
    pub sequence: u64,
    /// Bytes sent, padding included.
    pub sent_bytes: u64,
    /// Objects sent.
    pub sent_objects: u64,
    /// What the source holds.
    pub source: Census,
    /// Databases and files that were read.
    pub changed: u64,
    /// How each database that was read went, and why.
    pub ways: Vec<Way>,
    /// What was moved out of short packs.
    pub repacked: Repacked,
    /// The backup that this run went on from, where it was found damaged. The new one refers to
    /// nothing of it but what the store has.
    pub damaged: Option<DamagedBackup>,
}

/// What became of a backup run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is in the newest snapshot.
    Complete,
    /// Nothing had changed: the newest snapshot already holds everything.
    Unchanged,
    /// The newest snapshot is good but does not hold everything.
    Partial {
        /// Files that are missing or outdated in it.
        pending_files: u64,
    },
}

impl Keyhaven {
    /// Backs up what has changed since the last run.
    ///
    /// # Errors
    /// [`BackupError`]. Whatever was committed before still stands; running it again goes on.
    pub fn backup(
        &self,
        options: BackupOptions<'_>,
        observer: &mut dyn Observer,
    ) -> Result<BackupReport, BackupError> {
        let _lock = self.home.lock()?;
        let kept = Kept::apart_from(&self.source()?, self.home.folder(), self.place.folder())?;
        let mut meter = Meter::new(observer);
        let cancel = options.cancel.clone();
        let access = self.access(CalledOff::when(move || cancel.is_cancelled()))?;
        let limits = Limits::new(&options.cancel, options.budget).paced(options.pace);
        let mut options = options;
        let suspects = suspects::recall(&self.home.suspects());
        let checked = Trust::Checked(&suspects);
        let trust = if suspects.is_empty() {
            Trust::Whole
        } else {
            checked
        };
        let report = match self.run(&access, &kept, &mut options, &limits, &mut meter, trust) {
            // The newest backup is damaged. What is sound of it is found out, and the rest is new.
            Err(BackupError::Index(cause)) if trust == Trust::Whole && is_damage(&cause) => {
                self.run(&access, &kept, &mut options, &limits, &mut meter, checked)
            }
            ended => ended,
        }?;
        suspects::forget(&self.home.suspects(), &suspects);
        Ok(report)
    }

    fn run(
        &self,
        access: &Access,
        kept: &Kept,
        options: &mut BackupOptions<'_>,
        limits: &Limits,
        meter: &mut Meter<'_>,
        trust: Trust<'_>,
    ) -> Result<BackupReport, BackupError> {
        let Footing {
            loaded,
            mut contents,
            start,
            damaged,
            index_sent,
            is_doubted,
        } = self.footing(access, options, trust, meter)?;
        let (tier, keyring) = (options.tier, Arc::clone(&start.keyring));
        let source = self.source()?;
        let mut supplied = Supplied::new();
        let mut rules = Rules::default();
        for (path, pages) in &mut options.databases {
            if let Ok(key) = PathKey::from_relative(path) {
                rules.supplied.insert(key.clone());
                supplied.insert(key, &mut **pages);
            }
        }
        let mut nodes = Nodes::new(
            Arc::clone(&access.store),
            Arc::clone(&keyring),
            access.cache.as_deref(),
        )
        .map_err(NodeError::from)?;
        meter.begin(Phase::Survey, 0, 0);
        let mut found = survey((&source, kept), &rules, start.root, tier, &mut nodes, meter)?;
        let before = loaded.census(&start);
        let verdict = guard::judge(before.as_ref(), Some(&found.census));
        if verdict != Verdict::Fine && !options.accept_shrunk {
            let before = before.unwrap_or_default();
            return Err(BackupError::Shrunk {
                verdict,
                before,
                now: found.census,
            });
        }
        // Beside a damaged backup there is enough to do.
        let emptied = match options.repack.filter(|_| damaged.is_none()) {
            Some(budget) => tails(access, &start, &found, tier, budget, &mut nodes)?,
            None => Emptied::default(),
        };
        let is_kept =
            found.is_unchanged() && loaded.is_complete(&start) == (found.skipped.count == 0);
        let is_kept = is_kept && damaged.is_none();
        if is_kept && trust == Trust::Whole {
            self.catch_up(access.id, &start, &mut contents)?;
        }
        if tier == Tier::Pages {
            // Who asks for pages keeps no copies.
            Shadows::remove(&self.home.shadow());
        }
        let line = Line::of(&loaded.history, &start, options.accept_lost);
        if is_kept && emptied.is_empty() {
            let newest = note(start.sequence, start.follows.digest);
            self.note_if_late(access, &line, newest, meter)?;
            let nothing = Sent::default();
            return Ok(unchanged(
                found.census,
                found.skipped.count,
                start.sequence,
                nothing,
            ));
        }
        let needed = emptied.sum(|_, _| true).bytes.saturating_add(found.bytes());
        let (log, mut left) = SentLog::open(&self.home.sent(), access.id, self.place.is_remote());
        if is_doubted {
            // What is found in a store of which something is damaged may be so too.
            left = Left::default();
        }
        let (access, left) = self.spooled(access, &found, needed, left, &keyring)?;
        contents.take_over(&left.contents);
        let access = &access;
        let outbox = Outbox::open(Arc::clone(&keyring), Arc::clone(&access.store), WORKERS);
        let nodes = nodes.writing(&outbox);
        let changed = found
            .media_files
            .saturating_add(count(found.databases.len()));
        let census = found.census;
        let totals = loaded.totals(&start);
        let stands = loaded
            .snapshot(&start)
            .map(|snapshot| snapshot.completeness);
        let root = start.root;
        let shadows = Shadows::new(self.home.shadow(), Arc::clone(&keyring), tier);
        let mut run = Run::new(
            access,
            start,
            &source,
            &rules,
            &mut contents,
            &outbox,
            nodes,
            limits,
            &mut found,
            shadows,
            (&log, &left),
        );
        run.index_sent = index_sent;
        run.emptied = emptied;
        if verdict != Verdict::Fine {
            run.pin(totals, stands.filter(|_| damaged.is_none()))?;
        }
        let (repacked, stop) = run.work(found, root, &mut supplied, meter)?;
        let completeness = run.completeness();
        // Nothing could be moved, or what has changed cannot be read, as before.
        let says_nothing_new = is_kept
            || (stands, totals, damaged.is_none()) == (Some(completeness), run.totals, true);
        if says_nothing_new && run.start.root == root && run.last.is_none() {
            if stop == Some(Stop::Cancelled) {
                return Err(BackupError::Cancelled);
            }
            let newest = note(run.start.sequence, run.start.follows.digest);
            self.note_if_late(access, &line, newest, meter)?;
            return Ok(unchanged(
                census,
                run.pending(),
                newest.sequence,
                run.sent(),
            ));
        }
        meter.begin(Phase::Commit, 0, 0);
        let committed = run.commit(completeness, false)?;
        // What is not remembered is read from the packs.
        let _ = footers::append(&self.home.footers(), &outbox.take_footers());
        let (sent, sequence) = (run.sent(), run.start.sequence);
        let ways = std::mem::take(&mut run.shadows.ways);
        remember_ways(&self.home.ways(), &ways, &source);
        meter.end();
        let newest = note(sequence, committed.digest);
        self.note_newest(access, &line, newest, meter)?;
        if stop == Some(Stop::Cancelled) {
            return Err(BackupError::Cancelled);
        }
        Ok(BackupReport {
            outcome: match completeness {
                Completeness::Complete => Outcome::Complete,
                Completeness::Partial { pending_files, .. } => Outcome::Partial { pending_files },
            },
            sequence,
            sent_bytes: sent.bytes,
            sent_objects: sent.objects,
            source: census,
            changed,
            ways,
            repacked,
            damaged,
        })
    }

    /// How the databases of the newest backup went when they were last read, and why. Where the store does not say which those are,
    /// all that are remembered are told.
    #[must_use]
    pub fn ways(&self) -> Vec<Way> {
        let mut ways = recall_ways(&self.home.ways());
        if !ways.is_empty()
            && let Ok(is_there) = self.databases_among(&ways)
        {
            let mut is_there = is_there.into_iter();
            ways.retain(|_| is_there.next().unwrap_or(true));
        }
        ways
    }

    /// Checks the room, and puts a spool before a remote store.
    fn spooled(
        &self,
        access: &Access,
        found: &Survey,
        needed: u64,
        left: Left,
        keyring: &Keyring,
    ) -> Result<(Access, Left), BackupError> {
        access.store.ensure_room(needed)?;
        if !self.place.is_remote() {
            let left = take_up::from_store(access.store.as_ref(), left)?;
            return Ok((access.clone(), left));
        }
        let folder = self.home.spool();
        let limits = SpoolLimits::default();
        let called_off = access.called_off.clone();
        let spool = SpooledStore::open(Arc::clone(&access.store), &folder, limits, called_off)?;
        let left = take_up::from_spool(&spool, access.store.as_ref(), left, keyring)?;
        spool.ensure_spool_room(found.database_bytes())?;
        let access = Access {
            store: Arc::new(spool),
            ..access.clone()
        };
        Ok((access, left))
    }
}

/// What a run reports that commits nothing.
fn unchanged(census: Census, pending_files: u64, sequence: u64, sent: Sent) -> BackupReport {
    BackupReport {
        outcome: match pending_files {
            0 => Outcome::Unchanged,
            pending_files => Outcome::Partial { pending_files },
        },
        sequence,
        sent_bytes: sent.bytes,
        sent_objects: sent.objects,
        source: census,
        changed: 0,
        ways: Vec::new(),
        repacked: Repacked::default(),
        damaged: None,
    }
}

/// The short packs that this run empties.
fn tails(
    access: &Access,
    start: &Start,
    found: &Survey,
    tier: Tier,
    budget: RepackBudget,
    nodes: &mut Nodes<'_>,
) -> Result<Emptied, BackupError> {
    // By rows, a database's pages are its base and stay.
    let by_pages = found.databases.iter().filter(|_| tier == Tier::Pages);
    let read: BTreeSet<&Key> = by_pages.map(|changed| &changed.key).collect();
    let uses = uses(start.root, nodes, &|key| read.contains(key))?;
    Ok(Emptied::choose(
        &uses,
        &Packs::of(access.store.as_ref())?,
        budget,
    ))
}
/// Threads that put objects: one keeps a disk busy, and a spool before a remote store has its own.
const WORKERS: usize = 1;
fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Home(cause) => Self::Home(cause),
            OpenError::Keystore(cause) => Self::Keystore(cause),
            OpenError::Store(cause) => cause.into(),
            OpenError::History(cause) => cause.into(),
            other @ (OpenError::Place(_)
            | OpenError::Lost(_)
            | OpenError::Login(_)
            | OpenError::Damaged(_)
            | OpenError::NoPassword
            | OpenError::Vault(_)) => Self::NotOpen(Box::new(other)),
        }
    }
}
