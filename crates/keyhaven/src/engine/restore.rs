//! Bringing a snapshot back: messages first, then media, newest first.
//!
//! BACKUP-1: a file gets its name in the target only when its bytes are those that were backed up.
//! What cannot be read back is named in the report and leaves nothing behind, be it a file or a
//! stretch of paths whose part of the index is damaged, and so is what the target cannot have; all else
//! comes back. A restore that is cut off is run again: what is there already and has the right bytes is not fetched a second time.

mod database;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use keyhaven_repo::entry::{FileEntry, Stat};
use keyhaven_repo::hash::{ContentHasher, ContentId};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::{Cursor, Gap};

use self::database::Database;
use super::companions::{self, STRAY, Strays};
use super::crew::{self, Crew, Worker};
use super::error::RestoreError;
use super::fetch::{FetchError, Fetcher, pieces};
use super::history::Access;
use super::lost::{Gaps, Lost, LostPart, ends_a_restore, ends_the_run, told};
use super::naming::Naming;
use super::nodes::{Nodes, store_error};
use super::replay::Replayer;
use super::standing::Standing;
use super::target::{Target, refused};
use crate::files;
use crate::progress::{Cancel, Meter, Phase};
use crate::store::StoreError;

/// What a restore has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Files that were written, databases among them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already, byte for byte.
    pub already_there: u64,
    /// What could not be brought back, or cannot stand in the target. Empty after a good restore.
    pub lost: Vec<Lost>,
}

/// Media are brought back in rounds, newest first: a month, a year, the rest. So a person has what
/// matters early, and memory does not grow with the number of files.
const ROUNDS_DAYS: [i64; 2] = [30, 365];
const DAY_NS: i64 = 86_400_000_000_000;

/// What is restored, and how.
pub(crate) struct Plan<'a> {
    pub(crate) root: Option<NodeRef>,
    /// Only this path and what is below it.
    pub(crate) below: Option<&'a Key>,
    pub(crate) overwrite: bool,
    /// Whether an object that a server withholds costs only what it holds, and does not end the run. Who does more than
    /// restore would take for lost what is not.
    pub(crate) does_without: bool,
    pub(crate) cancel: &'a Cancel,
}

impl Plan<'_> {
    fn ends_at(&self, error: &StoreError) -> bool {
        match self.does_without {
            true => ends_a_restore(error),
            false => ends_the_run(error),
        }
    }
}

/// One file on its way to a worker.
struct Job {
    key: Key,
    stat: Stat,
    content: ContentId,
    /// Or why they cannot be read: the file may stand in the target already.
    extents: Result<Vec<Extent>, NodeError>,
}

/// What became of a file or a database.
enum Done {
    Written(u64),
    AlreadyThere(u64),
    Lost(Lost, u64),
    Failed(RestoreError),
}

impl Done {
    /// What is not restored because of this error, which may mean more than that.
    fn without(key: &Key, bytes: u64, error: RestoreError) -> Self {
        match Lost::misfit(key, LostPart::File { bytes }, error) {
            Ok(lost) => Self::Lost(lost, bytes),
            Err(error) => Self::Failed(error),
        }
    }
}

/// What a plan would restore.
pub(crate) struct Measure {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// What the largest database by rows takes beside that while it is brought back.
    scratch: u64,
    /// Whether anything at all stands there, or may stand there.
    pub(crate) covers_anything: bool,
}

/// Counts what a snapshot would restore. It fails if the root of the index cannot be read.
pub(crate) fn measure(plan: &Plan<'_>, nodes: &mut Nodes<'_>) -> Result<Measure, NodeError> {
    let (mut files, mut bytes, mut scratch, mut any) = (0_u64, 0_u64, 0, false);
    let gaps = visit(plan, nodes, &mut |_, entry, _| {
        any = true;
        if let Some(room) = room_of(&entry) {
            files = files.saturating_add(1);
            bytes = bytes.saturating_add(room.bytes);
            scratch = room.scratch.max(scratch);
        }
        Ok::<_, NodeError>(())
    })?;
    Ok(Measure {
        files,
        bytes,
        scratch,
        covers_anything: any || !gaps.is_empty(),
    })
}

/// What a file or a database takes of the target's disk.
struct Room {
    bytes: u64,
    /// What it takes beside that meanwhile: a database by rows is put together in a sealed copy before it is written out. There
    /// is one at a time.
    scratch: u64,
}

fn room_of(entry: &FileEntry) -> Option<Room> {
    let (bytes, scratch) = match entry {
        FileEntry::File { stat, .. } => (stat.size, 0),
        FileEntry::Database {
            pages, rows, stat, ..
        } => {
            let base = pages.image_len();
            // It may have grown since its base.
            let whole = base.max(stat.size);
            let copy = rows.map(|_| whole.saturating_add(whole.saturating_sub(base)));
            (base, copy.unwrap_or(0))
        }
        FileEntry::Dir { .. } | FileEntry::Symlink { .. } => return None,
    };
    Some(Room { bytes, scratch })
}

/// Hands every entry that the plan covers to `each`, in order, and returns the parts of the index
/// that could not be read. A store that cannot be reached is an error, and so is a damaged root.
pub(crate) fn visit<'n, E: From<NodeError>>(
    plan: &Plan<'_>,
    nodes: &mut Nodes<'n>,
    each: &mut dyn FnMut(Key, FileEntry, &mut Nodes<'n>) -> Result<(), E>,
) -> Result<Gaps, E> {
    let mut cursor = Cursor::new(plan.root);
    let mut gaps = Gaps::new();
    if let Some(below) = plan.below {
        while let Err(cause) = cursor.seek(below, nodes) {
            let gap = pass_over(plan, &mut cursor, &cause);
            let Some(gap) = gap else {
                return Err(cause.into());
            };
            gaps.insert(gap.first.clone(), (gap, cause));
        }
    }
    loop {
        match cursor.next(nodes) {
            Ok(None) => return Ok(gaps),
            // All that is below stands together.
            Ok(Some((key, _))) if plan.below.is_some_and(|below| !key.is_within(below)) => {
                return Ok(gaps);
            }
            Ok(Some((key, entry))) => each(key, entry, nodes)?,
            Err(cause) => {
                let gap = pass_over(plan, &mut cursor, &cause);
                let Some(gap) = gap else {
                    return Err(cause.into());
                };
                if plan.below.is_some_and(|below| !gap.first.is_within(below)) {
                    return Ok(gaps);
                }
                gaps.insert(gap.first.clone(), (gap, cause));
            }
        }
    }
}

/// Whether there is an index, and its root can be read.
pub(crate) fn has_root(root: Option<NodeRef>, nodes: &mut Nodes<'_>) -> bool {
    let mut cursor = Cursor::new(root);
    match cursor.next(nodes) {
        Ok(first) => first.is_some(),
        Err(_) => cursor.pass_over().is_some(),
    }
}

/// The part of the index that is lost by this error; none if it ends the run.
fn pass_over(plan: &Plan<'_>, cursor: &mut Cursor, cause: &NodeError) -> Option<Gap> {
    if store_error(cause).is_some_and(|cause| plan.ends_at(cause)) {
        return None;
    }
    cursor.pass_over()
}

/// Restores what the plan covers into `target`.
pub(crate) fn restore(
    access: &Access,
    keyring: &Arc<Keyring>,
    nodes: &mut Nodes<'_>,
    plan: &Plan<'_>,
    measure: &Measure,
    target: &Target,
    meter: &mut Meter<'_>,
) -> Result<RestoreReport, RestoreError> {
    let mut report = RestoreReport::default();
    ensure_room(nodes, plan, target, measure)?;
    meter.begin(Phase::Messages, measure.files, measure.bytes);
    let fetcher = Fetcher::new(Arc::clone(&access.store), Arc::clone(keyring));
    let fetcher = fetcher.until(access.called_off.clone());
    let (mut gaps, unnamed) = Naming::around(target, |naming| {
        let mut gaps = databases(&fetcher, keyring, nodes, plan, naming, &mut report, meter)?;
        // Messages are there to be read while media still come.
        naming.hurry()?;
        meter.continue_as(Phase::Media);
        gaps.extend(media(
            &fetcher,
            keyring,
            nodes,
            plan,
            naming,
            &mut report,
            meter,
        )?);
        Ok(gaps)
    })?;
    for lost in unnamed {
        // It was counted when it was whole.
        if let LostPart::File { bytes } = lost.part {
            report.files = report.files.saturating_sub(1);
            report.bytes = report.bytes.saturating_sub(bytes);
        }
        report.lost.push(lost);
    }
    gaps.extend(folders(nodes, plan, target, &mut report.lost)?);
    report.lost.extend(Lost::stretches(&gaps));
    report.lost.sort_by(|one, other| one.path.cmp(&other.path));
    meter.end();
    target.flush()?;
    Ok(report)
}

/// Asks for the room of all that is to come before anything is written. What a restore that was cut
/// off has left is looked at only where there might be too little.
fn ensure_room(
    nodes: &mut Nodes<'_>,
    plan: &Plan<'_>,
    target: &Target,
    measure: &Measure,
) -> Result<(), RestoreError> {
    let free = target
        .free_bytes()
        .map_err(|cause| refused(PathBuf::new(), cause))?;
    if measure.bytes.saturating_add(measure.scratch) <= free {
        return Ok(());
    }
    let mut needed = measure.scratch;
    visit(plan, nodes, &mut |key, entry, _| {
        let Some(Room { bytes: len, .. }) = room_of(&entry) else {
            return Ok(());
        };
        match target.existing(&key) {
            Ok(Some(found)) if found.len() == len => {}
            Ok(_) => needed = needed.saturating_add(len),
            // It will not be written either.
            Err(RestoreError::Misfit { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok::<_, RestoreError>(())
    })?;
    if needed > free {
        return Err(RestoreError::TargetFull { needed, free });
    }
    Ok(())
}

fn databases(
    fetcher: &Fetcher,
    keyring: &Arc<Keyring>,
    nodes: &mut Nodes<'_>,
    plan: &Plan<'_>,
    naming: &Naming<'_>,
    report: &mut RestoreReport,
    meter: &mut Meter<'_>,
) -> Result<Gaps, RestoreError> {
    let target = naming.target;
    let databases = Replayer::new(fetcher, keyring, target.root());
    visit(plan, nodes, &mut |key, entry, nodes| {
        let FileEntry::Database {
            stat, pages, rows, ..
        } = entry
        else {
            return Ok(());
        };
        if plan.cancel.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        let bytes = pages.image_len();
        let database = Database {
            key: &key,
            stat: &stat,
            pages: &pages,
            rows: rows.as_ref(),
        };
        let done = database
            .restore(&databases, keyring, nodes, naming, plan.overwrite)
            .unwrap_or_else(|error| Done::without(&key, bytes, error));
        take(done, report, meter)
    })
}

fn media(
    fetcher: &Fetcher,
    keyring: &Arc<Keyring>,
    nodes: &mut Nodes<'_>,
    plan: &Plan<'_>,
    naming: &Naming<'_>,
    report: &mut RestoreReport,
    meter: &mut Meter<'_>,
) -> Result<Gaps, RestoreError> {
    std::thread::scope(|scope| {
        let workers = (0..crew::SIZE).map(|_| Writer {
            naming,
            fetcher: fetcher.clone(),
            hasher: keyring.content_hasher(),
            overwrite: plan.overwrite,
        });
        let mut crew = Crew::start(scope, workers);
        let fed = feed(nodes, plan, naming.target, &mut crew, report, meter);
        crew.finish().fold(fed, |result, answer| {
            let taken = take(answer, report, meter);
            result.and_then(|gaps| taken.map(|()| gaps))
        })
    })
}

fn feed(
    nodes: &mut Nodes<'_>,
    plan: &Plan<'_>,
    target: &Target,
    crew: &mut Crew<Writer<'_>>,
    report: &mut RestoreReport,
    meter: &mut Meter<'_>,
) -> Result<Gaps, RestoreError> {
    let now_ns = keyhaven_source::now_ns();
    let mut gaps = Gaps::new();
    let mut newest = i64::MAX;
    let ages = ROUNDS_DAYS.map(|days| now_ns.saturating_sub(days.saturating_mul(DAY_NS)));
    for oldest in ages.into_iter().chain([i64::MIN]) {
        let mut strays = Strays::default();
        let unread = visit(plan, nodes, &mut |key, entry, nodes| {
            let is_stray = strays.meets(&key, &entry);
            let FileEntry::File {
                stat,
                content,
                extents,
            } = entry
            else {
                return Ok(());
            };
            let is_due = stat.mtime_ns >= oldest && (stat.mtime_ns < newest || newest == i64::MAX);
            if !is_due {
                return Ok(());
            }
            if plan.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            if is_stray {
                let lost = Lost::file(&key, stat.size, STRAY.to_owned());
                return take(Done::Lost(lost, stat.size), report, meter);
            }
            if let Err(error) = target.make_way(&key) {
                return take(Done::without(&key, stat.size, error), report, meter);
            }
            let extents = extents.load(stat.size, nodes);
            if let Err(cause) = &extents
                && store_error(cause).is_some_and(ends_a_restore)
            {
                return extents.map(drop).map_err(RestoreError::from);
            }
            crew.send(Job {
                key,
                stat,
                content,
                extents,
            });
            crew.ready()
                .try_for_each(|answer| take(answer, report, meter))
        })?;
        gaps.extend(unread);
        newest = oldest;
    }
    Ok(gaps)
}

fn take(
    answer: Done,
    report: &mut RestoreReport,
    meter: &mut Meter<'_>,
) -> Result<(), RestoreError> {
    match answer {
        Done::Written(bytes) => {
            report.files = report.files.saturating_add(1);
            report.bytes = report.bytes.saturating_add(bytes);
            meter.add(1, bytes);
        }
        Done::AlreadyThere(bytes) => {
            report.already_there = report.already_there.saturating_add(1);
            meter.add(1, bytes);
        }
        Done::Lost(lost, bytes) => {
            report.lost.push(lost);
            meter.add(1, bytes);
        }
        Done::Failed(error) => return Err(error),
    }
    Ok(())
}

/// Fetches and writes files.
struct Writer<'a> {
    naming: &'a Naming<'a>,
    fetcher: Fetcher,
    hasher: ContentHasher,
    overwrite: bool,
}

impl Worker for Writer<'_> {
    type Job = Job;
    type Answer = Done;

    fn extents(job: &Job) -> &[Extent] {
        job.extents.as_deref().unwrap_or_default()
    }

    fn expect(&mut self, run: Option<Extent>) {
        self.fetcher.expect(run);
    }

    fn work(&mut self, job: Job) -> Done {
        self.file(&job)
            .unwrap_or_else(|error| Done::without(&job.key, job.stat.size, error))
    }
}

impl Writer<'_> {
    fn file(&mut self, job: &Job) -> Result<Done, RestoreError> {
        let Job {
            key,
            stat,
            content,
            extents,
        } = job;
        let bytes = stat.size;
        let hasher = self.hasher.clone();
        let target = self.naming.target;
        let broken = |cause| refused(target.path(key), cause);
        let standing = standing(target, key, bytes, content, hasher, self.overwrite)?;
        if standing == Standing::Same {
            target.clear(key).map_err(broken)?;
            return Ok(Done::AlreadyThere(bytes));
        }
        let lost = |reason, by: Option<&StoreError>| {
            Done::Lost(Lost::file(key, bytes, reason).by(by), bytes)
        };
        let extents = match extents {
            Ok(extents) => extents,
            Err(cause) => return Ok(lost(told(cause), store_error(cause))),
        };
        let part = target.begin(key).map_err(broken)?;
        let mut part = part.in_place_of(standing);
        let mut hasher = self.hasher.clone();
        for extent in pieces(extents) {
            match self.fetcher.extent(&extent, PackKind::Media) {
                Ok(bytes) => {
                    hasher.update(bytes);
                    part.file.write_all(bytes).map_err(broken)?;
                }
                Err(FetchError::Store(cause)) if ends_a_restore(&cause) => return Err(cause.into()),
                Err(FetchError::Store(cause)) => return Ok(lost(told(&cause), Some(&cause))),
                Err(error @ FetchError::Damaged { .. }) => return Ok(lost(told(&error), None)),
            }
        }
        if hasher.finish() != *content {
            let reason = "its bytes are not those that were backed up";
            return Ok(lost(reason.to_owned(), None));
        }
        let file = part.finish(stat).map_err(broken)?;
        self.naming.take(file)?;
        Ok(Done::Written(bytes))
    }
}

/// What the target has of this file. Something else in its place is an error, unless it may be
/// overwritten.
fn standing(
    target: &Target,
    key: &Key,
    bytes: u64,
    content: &ContentId,
    hasher: ContentHasher,
    overwrite: bool,
) -> Result<Standing, RestoreError> {
    let broken = |cause| refused(target.path(key), cause);
    let Some(found) = target.existing(key)? else {
        return Ok(Standing::Nothing);
    };
    if found.is_file() && found.len() == bytes {
        let file = File::open(target.path(key)).map_err(broken)?;
        if hash_file(&file, hasher).map_err(broken)? == *content {
            return target.is_the_same(key);
        }
    }
    let standing = target.differs(key, &found, overwrite)?;
    companions::ensure_no_open_database(&target.path(key))?;
    Ok(standing)
}

fn hash_file(file: &File, mut hasher: ContentHasher) -> std::io::Result<ContentId> {
    files::read_pieces(file, |piece| hasher.update(piece))?;
    Ok(hasher.finish())
}

/// Whether the target has exactly this link. Something else in its place is an error, unless it may be overwritten: then it
/// is removed.
fn link_is_there(
    target: &Target,
    key: &Key,
    to: &[u8],
    overwrite: bool,
) -> Result<bool, RestoreError> {
    let path = target.path(key);
    let broken = |cause| refused(path.clone(), cause);
    let Some(found) = target.existing(key)? else {
        return Ok(false);
    };
    if found.is_symlink() {
        let leads_to = std::fs::read_link(&path).map_err(broken)?;
        if leads_to.as_os_str().as_bytes() == to {
            return target.is_the_same(key).map(|_| true);
        }
    }
    target.differs(key, &found, overwrite)?;
    companions::ensure_no_open_database(&path)?;
    std::fs::remove_file(&path).map_err(broken)?;
    Ok(false)
}

/// Folders and links, when everything else stands: a file written into a folder changes its time,
/// and no file may be written through a link.
fn folders(
    nodes: &mut Nodes<'_>,
    plan: &Plan<'_>,
    target: &Target,
    lost: &mut Vec<Lost>,
) -> Result<Gaps, RestoreError> {
    // The folders around the present key. One is finished when the walk has left it, so that memory
    // grows with the depth and not with the number of folders.
    let mut open: Vec<(Key, Stat)> = Vec::new();
    let finish = |(key, stat): (Key, Stat)| {
        let finished = target.finish_dir(&key, &stat);
        finished.map_err(|cause| refused(target.path(&key), cause))
    };
    let gaps = visit(plan, nodes, &mut |key, entry, _| {
        while let Some(left) = open.pop_if(|(folder, _)| !key.is_within(folder)) {
            finish(left)?;
        }
        match entry {
            FileEntry::Dir { stat } => match target.make_dir(&key) {
                Ok(()) => open.push((key, stat)),
                Err(error) => lost.push(Lost::misfit(&key, LostPart::Folder, error)?),
            },
            FileEntry::Symlink { target: to, .. } => {
                if let Err(error) = link(target, &key, &to, plan.overwrite) {
                    let bytes = u64::try_from(to.len()).unwrap_or(u64::MAX);
                    lost.push(Lost::misfit(&key, LostPart::File { bytes }, error)?);
                }
            }
            FileEntry::File { .. } | FileEntry::Database { .. } => {}
        }
        Ok::<_, RestoreError>(())
    })?;
    while let Some(left) = open.pop() {
        finish(left)?;
    }
    Ok(gaps)
}

fn link(target: &Target, key: &Key, to: &[u8], overwrite: bool) -> Result<(), RestoreError> {
    target.make_way(key)?;
    if link_is_there(target, key, to, overwrite)? {
        return Ok(());
    }
    target.link(key, to)
}
