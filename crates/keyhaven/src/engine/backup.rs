//! One backup run.
//!
//! The order is what makes a crash harmless (BACKUP-2): packs, flush, local state, index, flush,
//! snapshot, flush, read back, local state. Only the snapshot commits; a run that ends before it
//! leaves objects that nothing names, and local state that knows which contents they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use keyhaven_repo::entry::{ExtentList, FileEntry};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::names::WriterId;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::{Completeness, PartialReason, Predecessor, Snapshot, Totals};
use keyhaven_repo::tree::{TreeWriter, update};
use keyhaven_source::{
    DatabaseError, FileError, LiveDatabase, OpaqueDatabase, PageSize, PageSource, PathKey, Rules,
    Stat, walk,
};
use std::sync::Arc;

use super::contents::{Contents, Head};
use super::database::{FrameWriter, PagesError, StoredDatabase};
use super::error::BackupError;
use super::heeding::Heeding;
use super::history::{Access, Committed};
use super::join::{Join, Met, Reading, to_repo};
use super::media::{MediaError, MediaWriter, StoredFile};
use super::nodes::Nodes;
use super::outbox::{Outbox, Sent};
use super::rows::Shadows;
use super::sent_log::{Left, SentLog};
use super::survey::{Changed, Skipped, Survey};
use super::tails::{Emptied, Repacked};
use super::target::relative;
use crate::progress::{Limits, Meter, Notice, Phase, Stop};

/// How often a file that changes while it is read is read again, before it is left for next time.
const READ_AGAIN_MAX: u32 = 3;
/// After so many sealed bytes, which is after each full pack, what is on its way is written down. Whoever is killed then sends
/// again what was not yet in the spool, or in the store.
const NOTE_BYTES: u64 = 4 << 20;
/// What was sent is remembered after so many contents too, however small: until they are remembered
/// they are in memory.
const REMEMBER_CONTENTS: usize = 8192;

/// Databases that the caller reads from its own connections.
pub(crate) type Supplied<'a> = BTreeMap<PathKey, &'a mut dyn PageSource>;

/// What stands before a run: where it goes on from.
pub(crate) struct Start {
    pub(crate) root: Option<NodeRef>,
    pub(crate) sequence: u64,
    /// The snapshot whose index this run goes on from.
    pub(crate) follows: Predecessor,
    /// The newest of this device, where it is in the store and does not open. The next one follows it too.
    pub(crate) unreadable: Option<Predecessor>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) writer: WriterId,
    pub(crate) profile: String,
}

/// One run under way.
pub(crate) struct Run<'a> {
    pub(crate) access: &'a Access,
    pub(crate) start: Start,
    pub(crate) source: &'a Path,
    pub(crate) rules: &'a Rules,
    pub(crate) contents: &'a mut Contents,
    pub(crate) outbox: &'a Outbox,
    pub(crate) nodes: Nodes<'a>,
    pub(crate) limits: &'a Limits,
    pub(crate) totals: Totals,
    /// What was looked at and could not be taken.
    left_out: u64,
    skipped: Skipped,
    /// Databases among what could not be taken.
    waiting: BTreeSet<Key>,
    pub(crate) stopped: Option<Stop>,
    pub(crate) snapshot_bytes: Sent,
    /// What was sent for an index of what is sound in a damaged backup.
    pub(crate) index_sent: Sent,
    pub(crate) last: Option<Committed>,
    pub(crate) shadows: Shadows,
    log: &'a SentLog,
    left: &'a Left,
    /// Short packs that the new backup shall not need.
    pub(crate) emptied: Emptied,
    /// Files that the survey found changed and that were not looked at yet.
    media_left: u64,
    remembered: u64,
    noted: u64,
    checkpoint_sent: u64,
    checkpoint_at: Instant,
}

impl<'a> Run<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "each part is named where it is made"
    )]
    pub(crate) fn new(
        access: &'a Access,
        start: Start,
        source: &'a Path,
        rules: &'a Rules,
        contents: &'a mut Contents,
        outbox: &'a Outbox,
        nodes: Nodes<'a>,
        limits: &'a Limits,
        survey: &mut Survey,
        shadows: Shadows,
        (log, left): (&'a SentLog, &'a Left),
    ) -> Self {
        let totals = Totals {
            files: survey.census.files,
            bytes: survey.census.bytes,
            databases: survey.census.databases,
        };
        Self {
            access,
            start,
            source,
            rules,
            contents,
            outbox,
            nodes,
            limits,
            totals,
            left_out: 0,
            skipped: std::mem::take(&mut survey.skipped),
            waiting: BTreeSet::new(),
            stopped: None,
            snapshot_bytes: Sent::default(),
            index_sent: Sent::default(),
            last: None,
            shadows,
            log,
            left,
            emptied: Emptied::default(),
            media_left: survey.media_files,
            remembered: 0,
            noted: 0,
            checkpoint_sent: 0,
            checkpoint_at: Instant::now(),
        }
    }

    /// Everything that was sent so far.
    pub(crate) fn sent(&self) -> Sent {
        let parts = [
            self.outbox.sent(),
            self.nodes.sent(),
            self.snapshot_bytes,
            self.index_sent,
        ];
        parts.iter().fold(Sent::default(), |sum, part| Sent {
            bytes: sum.bytes.saturating_add(part.bytes),
            objects: sum.objects.saturating_add(part.objects),
        })
    }

    /// All that was found, messages first; then what is moved out of short packs, and what has kept that from its end. `since` is the
    /// index that this run goes on from.
    pub(crate) fn work(
        &mut self,
        found: Survey,
        since: Option<NodeRef>,
        supplied: &mut Supplied<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(Repacked, Option<Stop>), BackupError> {
        let databases = u64::try_from(found.databases.len()).unwrap_or(u64::MAX);
        meter.begin(Phase::Messages, databases, found.database_bytes());
        self.databases(found.databases, supplied, meter)?;
        let mut files = MediaWriter::new(self.outbox, &self.start.keyring);
        if found.media_files > 0 || found.small > 0 {
            if self.commits_messages_first(since, found.media_bytes) {
                self.checkpoint()?;
            }
            meter.begin(Phase::Media, found.media_files, found.media_bytes);
            self.media(&mut files, meter)?;
        }
        let repacked = self.repack(&mut files)?;
        files.finish();
        Ok(repacked)
    }

    /// Databases first: messages are what people cannot do without.
    fn databases(
        &mut self,
        changed: Vec<Changed>,
        supplied: &mut Supplied<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), BackupError> {
        let mut frames =
            FrameWriter::new(self.outbox, self.log, self.left)?.emptying(&self.emptied);
        let mut changes = Vec::new();
        for database in changed {
            if let Err(stop) = self.limits.check(self.outbox.handed()) {
                self.stopped = Some(stop);
                self.leave_out(database.key);
                continue;
            }
            let bytes = database.stat.size;
            match self.database(&mut frames, &database, supplied) {
                Ok(stored) => {
                    if stored.new_base {
                        meter.notice(&Notice::NewBase {
                            path: relative(&database.key),
                        });
                    }
                    let stat = to_repo(&database.stat);
                    let StoredDatabase {
                        pages,
                        rows,
                        signature,
                        ..
                    } = stored;
                    let entry = FileEntry::Database {
                        stat,
                        signature,
                        pages,
                        rows,
                    };
                    changes.push((database.key, Some(entry)));
                }
                Err(PagesError::Node(error)) => return Err(error.into()),
                Err(PagesError::Source(DatabaseError::Stopped)) if self.limits.is_cancelled() => {
                    self.stopped = Some(Stop::Cancelled);
                    self.leave_out(database.key);
                }
                Err(PagesError::Source(cause)) => {
                    self.pend(meter, &database.key, cause.to_string());
                    self.waiting.insert(database.key);
                }
            }
            meter.add(1, bytes);
        }
        frames.finish();
        if !changes.is_empty() {
            changes.sort_by(|(a, _), (b, _)| a.cmp(b));
            self.start.root = update(self.start.root, changes, &mut self.nodes)?;
        }
        Ok(())
    }

    /// A database waits for the next run.
    fn leave_out(&mut self, key: Key) {
        self.left_out = self.left_out.saturating_add(1);
        self.waiting.insert(key);
    }

    /// What the source has and this backup does not.
    pub(crate) fn pending(&self) -> u64 {
        self.left_out.saturating_add(self.skipped.count)
    }

    /// What the backup is that this run makes.
    pub(crate) fn completeness(&self) -> Completeness {
        let pending_files = self.pending();
        let reason = match (self.stopped, pending_files) {
            (None, 0) => return Completeness::Complete,
            (None, _) => PartialReason::Unreadable,
            (Some(_), _) => PartialReason::Budget,
        };
        Completeness::Partial {
            reason,
            pending_files,
        }
    }

    fn database(
        &mut self,
        frames: &mut FrameWriter<'_>,
        database: &Changed,
        supplied: &mut Supplied<'_>,
    ) -> Result<StoredDatabase, PagesError> {
        let (shadows, nodes) = (&mut self.shadows, &mut self.nodes);
        let limits = self.limits;
        if database.how == Reading::None {
            return Err(DatabaseError::NoLonger.into());
        }
        if database.how == Reading::Supplied {
            let place = PathKey::parse(database.key.as_bytes().to_vec()).ok();
            if let Some(source) = place.and_then(|place| supplied.get_mut(&place)) {
                let source = &mut **source;
                let mut source = Heeding { source, limits };
                return shadows.store(&mut source, database, frames, nodes);
            }
        }
        if database.how == Reading::Opaque {
            let before = database.old.map(|old| old.pages.page_size());
            let mut opaque =
                OpaqueDatabase::at(&database.path).cut_as(before.and_then(PageSize::new));
            let source = &mut opaque;
            let mut source = Heeding { source, limits };
            return shadows.store(&mut source, database, frames, nodes);
        }
        let source = &mut LiveDatabase::at(&database.path);
        let mut source = Heeding { source, limits };
        shadows.store(&mut source, database, frames, nodes)
    }

    /// Whether the messages should be committed before the media: whether there are new ones since this index. They may be on
    /// their way still, or have been sent by a run that was killed.
    fn commits_messages_first(&self, since: Option<NodeRef>, media_bytes: u64) -> bool {
        media_bytes >= self.limits.pace.messages_first_bytes && self.start.root != since
    }

    /// All else, in the order of paths. The last pack stays open.
    fn media(
        &mut self,
        writer: &mut MediaWriter<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<(), BackupError> {
        let walk = walk(self.source, self.rules)?;
        let watch = walk.watch();
        let mut join = Join::new(walk, self.start.root);
        self.skipped.begin_again();
        let mut tree = TreeWriter::new(self.start.root);
        while let Some(met) = join.next(&mut self.nodes)? {
            let (key, change) = match met {
                Met::Small { key, entry } => (key, Some(entry)),
                Met::Gone { key } => (key, None),
                Met::File { key, path, stat } => {
                    if self.stopped.is_none() {
                        self.stopped = self.limits.check(self.outbox.handed()).err();
                    }
                    if self.stopped.is_some() {
                        self.left_out = self.left_out.saturating_add(1);
                        continue;
                    }
                    let stored = self.file(writer, &path, &stat);
                    self.media_left = self.media_left.saturating_sub(1);
                    meter.add(1, stat.size);
                    match stored {
                        Ok(stored) => (key, Some(self.entry(stored)?)),
                        Err(MediaError::Send(error)) => return Err(error.into()),
                        Err(MediaError::Contents(error)) => return Err(error.into()),
                        Err(MediaError::File(cause)) => {
                            self.pend(meter, &key, cause.to_string());
                            continue;
                        }
                    }
                }
                // BACKUP-1: the survey saw a file there, or nothing.
                Met::Database { key, old: None, .. } if !self.waiting.contains(&key) => {
                    let reason = "became a database while the backup ran".to_owned();
                    self.pend(meter, &key, reason);
                    continue;
                }
                // Databases were stored before; what was committed to them since is next time's.
                Met::Unchanged { .. } | Met::Database { .. } => continue,
                // It may have been there for the survey to count.
                Met::Skipped { key, reason } => {
                    self.skipped.note(key, reason, meter);
                    continue;
                }
            };
            tree.push(key, change, &mut self.nodes)?;
            if self.checkpoint_is_due() {
                writer.finish();
                self.start.root = tree.finish(&mut self.nodes)?;
                self.checkpoint()?;
                tree = TreeWriter::new(self.start.root);
            } else {
                self.remember(writer)?;
            }
        }
        self.start.root = tree.finish(&mut self.nodes)?;
        // BACKUP-1: files that make sense only together, and that a program opened meanwhile.
        for folder in watch.disturbed() {
            self.left_out = self.left_out.saturating_add(1);
            let path = folder
                .map(|folder| folder.to_relative())
                .unwrap_or_default();
            let reason = "a program opened it while it was read".to_owned();
            meter.notice(&Notice::Pending { path, reason });
        }
        Ok(())
    }

    fn file(
        &mut self,
        writer: &mut MediaWriter<'_>,
        path: &Path,
        listed: &Stat,
    ) -> Result<StoredFile, MediaError> {
        let mut listed = *listed;
        let mut tries = 1_u32;
        loop {
            match writer.store(path, &listed, self.contents) {
                Err(MediaError::File(FileError::Changed)) if tries < READ_AGAIN_MAX => {
                    tries = tries.saturating_add(1);
                    let found = rustix::fs::lstat(path).map_err(|_| FileError::Vanished)?;
                    listed = Stat::from(&found);
                }
                other => return other,
            }
        }
    }

    fn entry(&mut self, stored: StoredFile) -> Result<FileEntry, NodeError> {
        let extents = ExtentList::store(stored.extents, &mut self.nodes)?;
        Ok(FileEntry::File {
            stat: to_repo(&stored.stat),
            content: stored.id,
            extents,
        })
    }

    fn pend(&mut self, meter: &mut Meter<'_>, key: &Key, reason: String) {
        self.left_out = self.left_out.saturating_add(1);
        meter.notice(&Notice::Pending {
            path: relative(key),
            reason,
        });
    }

    fn checkpoint_is_due(&self) -> bool {
        // Those that are on their way are as good as sent: a commit waits for them.
        let sent = self.outbox.handed().saturating_sub(self.checkpoint_sent);
        let pace = &self.limits.pace;
        let is_late = self.checkpoint_at.elapsed() >= pace.checkpoint_every;
        sent >= pace.checkpoint_bytes || (sent > 0 && is_late)
    }

    /// Commits the last state once more, pinned: the source has shrunk since, and a person may want
    /// back what it held, however the keep rules are set.
    ///
    /// It is as complete as that state is; without `completeness` it is what is sound of a damaged one, and how many files are
    /// not, its index may not tell.
    pub(crate) fn pin(
        &mut self,
        totals: Totals,
        completeness: Option<Completeness>,
    ) -> Result<(), BackupError> {
        let now = std::mem::replace(&mut self.totals, totals);
        let completeness = completeness.unwrap_or(Completeness::Partial {
            reason: PartialReason::Unreadable,
            pending_files: 1,
        });
        self.commit(completeness, true)?;
        self.totals = now;
        Ok(())
    }

    /// Commits what there is, marked as partial.
    pub(crate) fn checkpoint(&mut self) -> Result<(), BackupError> {
        let reason = PartialReason::Checkpoint;
        let pending_files = self.media_left.saturating_add(self.pending());
        self.commit(
            Completeness::Partial {
                reason,
                pending_files,
            },
            false,
        )?;
        Ok(())
    }

    /// Now and then, makes what was sent durable and remembers it.
    pub(crate) fn remember(&mut self, writer: &mut MediaWriter<'_>) -> Result<(), BackupError> {
        let sent = self.outbox.sent().bytes;
        if self.contents.not_kept() >= REMEMBER_CONTENTS {
            // They may all be in the open pack, where nothing can be remembered of them.
            writer.finish();
        } else if self.access.is_remote()
            || sent.saturating_sub(self.remembered) < self.limits.pace.remember_bytes
        {
            // A flush would wait for every upload, or the disk, and reading with it.
            let handed = self.outbox.handed();
            if handed.saturating_sub(self.noted) >= NOTE_BYTES {
                self.noted = handed;
                self.contents.note(self.log, writer.open_pack());
            }
            return Ok(());
        }
        self.remembered = sent;
        self.outbox.drain()?;
        self.access.store.flush()?;
        // A content whose last bytes are in the pack that is still open is not in the store.
        self.contents.keep_sent(writer.open_pack())?;
        self.log.clear_contents();
        Ok(())
    }

    /// Commits what the tree holds now.
    pub(crate) fn commit(
        &mut self,
        completeness: Completeness,
        pinned: bool,
    ) -> Result<Committed, BackupError> {
        self.outbox.drain()?;
        self.nodes.finish()?;
        // BACKUP-2: what the snapshot names is durable before the snapshot is there.
        self.access.store.flush()?;
        self.contents.keep_sent(None)?;
        let sequence = self.start.sequence.saturating_add(1);
        let snapshot = Snapshot {
            sequence,
            writer: self.start.writer,
            predecessors: self
                .start
                .unreadable
                .take()
                .into_iter()
                .chain([self.start.follows])
                .collect(),
            device_time_s: now_s(),
            completeness,
            root: self.start.root,
            totals: self.totals,
            profile: self.start.profile.clone(),
            pinned,
        };
        let committed = self.access.commit(&snapshot, &self.start.keyring)?;
        self.snapshot_bytes.add(committed.bytes);
        self.start.sequence = sequence;
        self.start.follows = Predecessor {
            name: committed.name,
            digest: committed.digest,
        };
        self.contents.set_head(&Head {
            store: self.access.id,
            name: committed.name,
            digest: committed.digest,
            sequence,
            epoch: self.start.keyring.current(),
        })?;
        self.log.clear();
        self.last = Some(committed);
        self.checkpoint_sent = self.outbox.handed();
        self.remembered = self.outbox.sent().bytes;
        self.checkpoint_at = Instant::now();
        Ok(committed)
    }
}

/// The device's clock, for people only.
pub(crate) fn now_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
