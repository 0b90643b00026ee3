//! Backing up, as a caller sees it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::names::{PackName, StoreId};
use keyhaven_repo::node::NodeError;
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::{Completeness, PartialReason, Predecessor, Totals};
use keyhaven_repo::tree::Cursor;
use keyhaven_source::guard::{self, Census, Verdict};
use keyhaven_source::{PageSource, PathKey, Rules};

use crate::engine::backup::{Run, Start, Supplied};
use crate::engine::contents::{Contents, Head};
use crate::engine::error::BackupError;
use crate::engine::footers;
use crate::engine::history::{Access, Loaded};
use crate::engine::nodes::{Nodes, is_damage};
use crate::engine::outbox::{Outbox, Sent};
use crate::engine::packs::Packs;
use crate::engine::rows::{Shadows, Tier, Way, recall_ways, remember_ways};
use crate::engine::salvage::salvage;
use crate::engine::sent_log::{Left, SentLog};
use crate::engine::survey::{Survey, survey};
use crate::engine::suspects;
use crate::engine::tails::{Emptied, RepackBudget, Repacked};
use crate::engine::take_up;
use crate::engine::usage::uses;
use crate::haven::{Keyhaven, OpenError, note};
use crate::nesting::Kept;
use crate::noting::Line;
use crate::progress::{
    Budget, Cancel, DamagedBackup, Limits, Meter, Notice, Observer, Pace, Phase, Stop,
};
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

/// Whether the local state describes the snapshot that a run follows.
enum State {
    Known,
    Stale,
    /// It describes a newer one, which is in the store and does not open, or is lost.
    Ahead(DamagedBackup),
}

/// Whether the newest backup is taken as what it says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust<'a> {
    /// As every run begins: what has not changed in the source is not looked at in the store.
    Whole,
    /// Damage was met, now or by a verification, which suspects these packs: each of its entries is
    /// held against the store.
    Checked(&'a BTreeSet<PackName>),
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
        let tier = options.tier;
        let mut loaded = access.load()?;
        let mut contents = self.open_contents(access, meter)?;
        let started = match self.start(access, &mut loaded, &contents, false, meter) {
            Err(BackupError::RolledBack { .. }) => {
                loaded = self.look_again(access)?.unwrap_or(loaded);
                self.start(access, &mut loaded, &contents, options.accept_lost, meter)?
            }
            started => started?,
        };
        let (mut start, state) = started;
        let keyring = Arc::clone(&start.keyring);

        if let Some(damage) = loaded.damage() {
            meter.notice(&damage);
        }
        if let Some(mended) = access.mend_marker()? {
            meter.notice(&mended);
        }
        if !matches!(state, State::Known) {
            // BACKUP-2: the newest backup may be one that a run left which was killed before its flush. Nothing is said of
            // it, and nothing learnt from it, before it is certain.
            access.store.flush()?;
        }
        let nothing = BTreeSet::new();
        let doubts = match (trust, &state) {
            (Trust::Checked(suspects), _) => Some(suspects),
            (Trust::Whole, State::Ahead(_)) => Some(&nothing),
            (Trust::Whole, State::Known) => None,
            (Trust::Whole, State::Stale) => {
                self.relearn(access, &start, &mut contents)?;
                meter.notice(&Notice::StateRebuilt);
                None
            }
        };
        let salvaged = match doubts {
            Some(suspects) => {
                let cancel = &options.cancel;
                salvage(access, &mut start, &mut contents, suspects, cancel)?
            }
            None => None,
        };
        let damaged = match state {
            State::Ahead(damaged) => Some(damaged),
            State::Known | State::Stale => salvaged.as_ref().map(|found| DamagedBackup {
                snapshot: start.follows.name,
                sequence: start.sequence,
                opens: true,
                reason: found.reason.clone(),
            }),
        };
        if let Some(damaged) = &damaged {
            meter.notice(&Notice::DamagedBackup(damaged.clone()));
        }
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
        let line = Line::of(&start, options.accept_lost);
        if is_kept && emptied.is_empty() {
            let newest = note(start.sequence, start.follows.digest);
            self.note_if_late(access, &loaded.history, &line, newest, meter)?;
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
        if doubts.is_some() {
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
        if let Some(found) = &salvaged {
            run.index_sent = found.sent;
        }
        run.emptied = emptied;
        if verdict != Verdict::Fine {
            run.pin(totals, stands.filter(|_| damaged.is_none()))?;
        }
        let databases = std::mem::take(&mut found.databases);
        let Survey {
            media_bytes,
            media_files,
            small,
            ..
        } = found;
        let mut files = run.files();
        let bytes = databases
            .iter()
            .fold(0_u64, |sum, one| sum.saturating_add(one.stat.size));
        meter.begin(Phase::Messages, count(databases.len()), bytes);
        run.databases(databases, &mut supplied, meter)?;
        if media_files > 0 || small > 0 {
            if run.commits_messages_first(root, media_bytes) {
                run.checkpoint()?;
            }
            meter.begin(Phase::Media, media_files, media_bytes);
            run.media(&mut files, meter)?;
        }
        let (repacked, stop) = run.repack(&mut files)?;
        files.finish();
        let pending_files = run.pending();
        let completeness = match (run.stopped, pending_files) {
            (None, 0) => Completeness::Complete,
            (None, _) => Completeness::Partial {
                reason: PartialReason::Unreadable,
                pending_files,
            },
            (Some(_), _) => Completeness::Partial {
                reason: PartialReason::Budget,
                pending_files,
            },
        };
        // Nothing could be moved, or what has changed cannot be read, as before.
        let says_nothing_new = is_kept
            || (stands, totals, damaged.is_none()) == (Some(completeness), run.totals, true);
        if says_nothing_new && run.start.root == root && run.last.is_none() {
            if stop == Some(Stop::Cancelled) {
                return Err(BackupError::Cancelled);
            }
            let newest = note(run.start.sequence, run.start.follows.digest);
            self.note_if_late(access, &loaded.history, &line, newest, meter)?;
            return Ok(unchanged(
                census,
                pending_files,
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
        self.note_newest(access, &loaded.history, &line, newest, meter)?;
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

    /// Local state; one that is damaged is begun anew.
    fn open_contents(
        &self,
        access: &Access,
        meter: &mut Meter<'_>,
    ) -> Result<Contents, BackupError> {
        let path = self.home.contents();
        let store = || Arc::clone(&access.store);
        match Contents::open(&path, store()) {
            Ok(contents) => Ok(contents),
            Err(error) if error.is_damaged() => {
                std::fs::remove_file(&path).map_err(|cause| crate::home::HomeError::Io {
                    path: path.clone(),
                    cause,
                })?;
                meter.notice(&Notice::StateRebuilt);
                Ok(Contents::open(&path, store())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where this run goes on from.
    ///
    /// BACKUP-4: a store that no longer has what this device wrote is not written to, unless a person says so. One that has it,
    /// damaged, is. The next backup follows what was lost, and refers to nothing that was not looked for.
    fn start(
        &self,
        access: &Access,
        loaded: &mut Loaded,
        contents: &Contents,
        accept_lost: bool,
        meter: &mut Meter<'_>,
    ) -> Result<(Start, State), BackupError> {
        let writer = self.writer()?;
        let described = contents.head()?.filter(|head| head.store == access.id);
        let noted = Contents::newest(&self.home.contents(), access.id);
        let newest = described.into_iter().chain(noted);
        let newest = newest.max_by_key(|head| head.sequence);
        let remembered = newest.map(|head| note(head.sequence, head.digest));
        let judged = loaded.history.judge(remembered.as_ref());
        let ahead = match (crate::haven::fresh(judged.freshness), newest) {
            (Ok(_), _) => None,
            (Err((noted, served)), newest) => {
                let why = |head: &Head| {
                    let lost = accept_lost.then(|| "the store does not have it".to_owned());
                    loaded.fault(&head.name).or(lost)
                };
                let given_up = newest.and_then(|head| Some((head, why(&head)?)));
                let gone_back = BackupError::RolledBack {
                    noted,
                    newest: served,
                };
                Some(given_up.ok_or(gone_back)?)
            }
        };
        let heads = loaded.history.heads();
        // A device goes on from its own newest snapshot; one that has none here, from the newest.
        let head = match (remembered, &ahead) {
            (Some(_), None) => judged.head,
            (None, _) | (_, Some(_)) => heads
                .iter()
                .find(|link| link.writer == writer)
                .or(heads.first())
                .copied(),
        };
        let digest = head
            .map(|link| link.digest)
            .ok_or(crate::engine::history::HistoryError::Empty)?;
        let others = heads.iter().filter(|link| link.digest != digest).count();
        if others > 0 {
            meter.notice(&Notice::OtherHeads { count: others });
        }
        let open = loaded
            .open
            .get(&digest)
            .ok_or(crate::engine::history::HistoryError::Empty)?;
        if newest.is_some_and(|head| open.keyring.current() < head.epoch) {
            return Err(BackupError::OldEpoch);
        }
        let start = Start {
            root: open.snapshot.root,
            sequence: match &ahead {
                None => open.snapshot.sequence,
                Some((head, _)) => head.sequence.max(open.snapshot.sequence),
            },
            follows: Predecessor {
                name: open.name,
                digest,
            },
            unreadable: ahead.as_ref().map(|(head, _)| Predecessor {
                name: head.name,
                digest: head.digest,
            }),
            keyring: Arc::new(open.keyring.clone()),
            writer,
            profile: open.snapshot.profile.clone(),
        };
        if let Some((head, reason)) = ahead {
            let damaged = DamagedBackup {
                snapshot: head.name,
                sequence: head.sequence,
                opens: false,
                reason,
            };
            return Ok((start, State::Ahead(damaged)));
        }
        // Local state is used as it is only if it describes the snapshot that this run follows.
        if described.is_none_or(|head| head.digest != digest) && start.root.is_some() {
            return Ok((start, State::Stale));
        }
        Ok((start, State::Known))
    }

    /// Learns again from the manifest which contents the store has.
    fn relearn(
        &self,
        access: &Access,
        start: &Start,
        contents: &mut Contents,
    ) -> Result<(), BackupError> {
        let (store, keyring) = (Arc::clone(&access.store), Arc::clone(&start.keyring));
        let mut nodes =
            Nodes::new(store, keyring, access.cache.as_deref()).map_err(NodeError::from)?;
        let mut cursor = Cursor::new(start.root);
        let mut learnt = 0_u64;
        while let Some((_, entry)) = cursor.next(&mut nodes)? {
            if let FileEntry::File {
                stat,
                content,
                extents,
            } = entry
            {
                let extents = extents.load(stat.size, &mut nodes)?;
                contents.add(content, stat.size, extents);
                learnt = learnt.saturating_add(1);
                if learnt.is_multiple_of(RELEARN_BATCH) {
                    contents.keep_sent(None)?;
                }
            }
        }
        Ok(contents.keep_sent(None)?)
    }

    /// Where nothing has changed, and the run that made the newest snapshot did not come as far as to remember it: it is in the
    /// store for good, and this device would not miss it there (BACKUP-4). The first snapshot of a store holds nothing, and
    /// is nobody's to miss.
    fn catch_up(
        &self,
        store: StoreId,
        start: &Start,
        contents: &mut Contents,
    ) -> Result<(), BackupError> {
        let head = Head {
            store,
            name: start.follows.name,
            digest: start.follows.digest,
            sequence: start.sequence,
            epoch: start.keyring.current(),
        };
        let noted = Contents::newest(&self.home.contents(), store);
        let is_known = contents.head()? == Some(head) && noted == Some(head);
        match is_known || start.root.is_none() {
            true => Ok(()),
            false => Ok(contents.set_head(&head)?),
        }
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
/// Contents that are learnt again between two writes of the local state.
const RELEARN_BATCH: u64 = 4096;

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Loaded {
    fn snapshot(&self, start: &Start) -> Option<&keyhaven_repo::snapshot::Snapshot> {
        Some(&self.open.get(&start.follows.digest)?.snapshot)
    }

    fn totals(&self, start: &Start) -> Totals {
        self.snapshot(start)
            .map(|snapshot| snapshot.totals)
            .unwrap_or_default()
    }

    /// What the guard compares with: nothing, before the first backup. These are the snapshot's own
    /// totals, so that a damaged index does not blind it.
    fn census(&self, start: &Start) -> Option<Census> {
        let Totals {
            files,
            bytes,
            databases,
        } = self.totals(start);
        let had_files = self.snapshot(start)?.root.is_some();
        had_files.then_some(Census {
            files,
            bytes,
            databases,
        })
    }

    fn is_complete(&self, start: &Start) -> bool {
        self.snapshot(start)
            .is_some_and(|snapshot| matches!(snapshot.completeness, Completeness::Complete))
    }
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
