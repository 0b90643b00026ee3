//! Bringing backups back, and looking into them, as a caller sees it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::names::SnapshotName;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::{Note, OpenSnapshot};
use keyhaven_repo::tree::find;

use crate::engine::contents::Contents;
use crate::engine::error::RestoreError;
use crate::engine::fetch::{Fetcher, pieces};
use crate::engine::history::{Access, HistoryError, Loaded};
use crate::engine::lost::{ends_the_run, told};
use crate::engine::nodes::{Nodes, store_error};
use crate::engine::pages::{FrameReader, ReadBackError};
use crate::engine::replay::{Replayer, write_out};
use crate::engine::restore::{Plan, RestoreReport, has_root, measure, restore, visit};
use crate::engine::rows::Way;
use crate::engine::target::{Target, relative};
use crate::haven::{Fresh, Keyhaven, OpenError, SnapshotInfo, fresh, note};
use crate::nesting::settled;
use crate::progress::{Cancel, Meter, Notice, Observer};
use crate::store::patience::CalledOff;

/// What is restored, and how.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Only this file or folder, relative to the source.
    pub path: Option<PathBuf>,
    /// The start of a snapshot's name; the newest acceptable one without it.
    pub snapshot: Option<String>,
    /// Replaces files that are there and differ.
    pub overwrite: bool,
    /// Stops it from another thread.
    pub cancel: Cancel,
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// What was written, what was there, what is lost.
    pub report: RestoreReport,
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// How fresh it is known to be.
    pub fresh: Fresh,
    /// Snapshots that do not open, of which one may be the newest: nobody outside the store says that this one is.
    pub unreadable: Vec<SnapshotName>,
}

/// What stands at a path of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where, relative to the source.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Its bytes.
    pub bytes: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// What stands at a path of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A database.
    Database,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// A snapshot that was chosen.
pub(crate) struct Chosen {
    pub(crate) open: OpenSnapshot,
    pub(crate) info: SnapshotInfo,
    pub(crate) fresh: Fresh,
    /// Snapshots that do not open, where one of them may be the one that was asked for.
    unreadable: Vec<SnapshotName>,
    /// What is to be told of snapshots that do not open, and of this one if it is not complete.
    pub(crate) notices: Vec<Notice>,
}

impl Keyhaven {
    /// Restores into the folder `to`. What is damaged in the store is `lost` in the report; all else
    /// comes back.
    ///
    /// # Errors
    /// [`RestoreError`]. What was restored before it is whole; running it again goes on.
    pub fn restore(
        &self,
        to: &Path,
        options: &RestoreOptions,
        observer: &mut dyn Observer,
    ) -> Result<Restored, RestoreError> {
        let cancel = options.cancel.clone();
        let access = self.access(CalledOff::when(move || cancel.is_cancelled()))?;
        let note = self.remembered(&access);
        let chosen = self.choose(&access, options.snapshot.as_deref(), note)?;
        let below = options.path.as_deref().map(key_of).transpose()?.flatten();
        let (mut nodes, keyring) = reader(&access, &chosen)?;
        let plan = Plan {
            root: chosen.open.snapshot.root,
            below: below.as_ref(),
            overwrite: options.overwrite,
            does_without: true,
            cancel: &options.cancel,
        };
        let measure = measure(&plan, &mut nodes)
            .map_err(|cause| self.without_root(&access, &chosen.info, cause))?;
        if let Some(below) = &below
            && !measure.covers_anything
        {
            return Err(RestoreError::NoSuchPath(relative(below)));
        }
        self.ensure_apart(to, &plan, &mut nodes)?;
        let target = Target::create(to, keyring.content_hasher())?;
        let mut meter = Meter::new(observer);
        for notice in &chosen.notices {
            meter.notice(notice);
        }
        let report = restore(
            &access, &keyring, &mut nodes, &plan, &measure, &target, &mut meter,
        )?;
        Ok(Restored {
            report,
            snapshot: chosen.info,
            fresh: chosen.fresh,
            unreadable: chosen.unreadable,
        })
    }

    /// BACKUP-1: nothing is written into what is restored from, or into the home.
    fn ensure_apart(
        &self,
        to: &Path,
        plan: &Plan<'_>,
        nodes: &mut Nodes<'_>,
    ) -> Result<(), RestoreError> {
        if let Some(store) = self.place.folder()
            && lands_in(store, to, plan, nodes)?
        {
            return Err(RestoreError::IntoStore {
                to: to.to_path_buf(),
                store: store.to_path_buf(),
            });
        }
        let home = self.home.folder();
        if lands_in(home, to, plan, nodes)? {
            return Err(RestoreError::IntoHome {
                to: to.to_path_buf(),
                home: home.to_path_buf(),
            });
        }
        Ok(())
    }

    /// What it means that an index cannot be read from its root on: nothing of this snapshot comes
    /// back, and perhaps another one can be named that does.
    pub(crate) fn without_root(
        &self,
        access: &Access,
        damaged: &SnapshotInfo,
        cause: NodeError,
    ) -> RestoreError {
        if store_error(&cause).is_some_and(ends_the_run) {
            return cause.into();
        }
        RestoreError::NoRoot {
            snapshot: damaged.name.to_string(),
            other: self.newest_with_root(access, damaged),
            reason: told(&cause),
        }
    }

    fn newest_with_root(&self, access: &Access, damaged: &SnapshotInfo) -> Option<String> {
        let loaded = access.load().ok()?;
        let newest_first = loaded.history.newest_first();
        let mut others = newest_first
            .iter()
            .filter(|link| link.digest != damaged.digest)
            .filter_map(|link| loaded.open.get(&link.digest));
        let other = others.find(|open| {
            let store = Arc::clone(&access.store);
            let keyring = Arc::new(open.keyring.clone());
            Nodes::new(store, keyring, None)
                .is_ok_and(|mut nodes| has_root(open.snapshot.root, &mut nodes))
        })?;
        Some(other.name.to_string())
    }

    /// The snapshots of the store, newest first.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>, RestoreError> {
        let access = self.access(CalledOff::never())?;
        let loaded = access.load()?;
        let newest_first = loaded.history.newest_first();
        Ok(newest_first
            .iter()
            .filter_map(|link| self.info(&loaded, &link.digest))
            .collect())
    }

    /// Hands what a snapshot holds to `each`, in the order of paths: all of it, or what is at and
    /// below a path.
    ///
    /// # Errors
    /// [`RestoreError::NoSuchPath`] if nothing is there, [`RestoreError::Index`] after all that can be
    /// listed if a part of the index cannot be read, and others.
    pub fn list(
        &self,
        snapshot: Option<&str>,
        path: Option<&Path>,
        each: &mut dyn FnMut(Entry),
    ) -> Result<SnapshotInfo, RestoreError> {
        let access = self.access(CalledOff::never())?;
        let chosen = self.choose(&access, snapshot, None)?;
        let below = path.map(key_of).transpose()?.flatten();
        let (mut nodes, _) = reader(&access, &chosen)?;
        let cancel = Cancel::new();
        let root = chosen.open.snapshot.root;
        let plan = Plan {
            root,
            below: below.as_ref(),
            overwrite: false,
            does_without: false,
            cancel: &cancel,
        };
        let mut any = false;
        let mut gaps = visit(&plan, &mut nodes, &mut |key, entry, _| {
            any = true;
            let (kind, bytes) = match &entry {
                FileEntry::File { stat, .. } => (EntryKind::File, stat.size),
                FileEntry::Database { pages, .. } => (EntryKind::Database, pages.image_len()),
                FileEntry::Dir { .. } => (EntryKind::Folder, 0),
                FileEntry::Symlink { .. } => (EntryKind::Link, 0),
            };
            let modified_ns = entry.stat().mtime_ns;
            each(Entry {
                path: relative(&key),
                kind,
                bytes,
                modified_ns,
            });
            Ok::<_, RestoreError>(())
        })?;
        if let Some((_, (_, cause))) = gaps.pop_first() {
            return Err(cause.into());
        }
        match below {
            Some(below) if !any => Err(RestoreError::NoSuchPath(relative(&below))),
            Some(_) | None => Ok(chosen.info),
        }
    }

    /// Which of these the newest backup has, as databases.
    pub(crate) fn databases_among(&self, ways: &[Way]) -> Result<Vec<bool>, RestoreError> {
        let access = self.access(CalledOff::never())?;
        let chosen = self.choose(&access, None, None)?;
        let (mut nodes, _) = reader(&access, &chosen)?;
        let is_there = |way: &Way| {
            // What is not UTF-8 in a name is not remembered, so such a one is not found.
            let is_whole = !way
                .path
                .to_string_lossy()
                .contains(char::REPLACEMENT_CHARACTER);
            let Some(key) = key_of(&way.path)?.filter(|_| is_whole) else {
                return Ok(true);
            };
            let found = find(chosen.open.snapshot.root, &key, &mut nodes)?;
            Ok(matches!(found, Some(FileEntry::Database { .. })))
        };
        ways.iter().map(is_there).collect()
    }

    /// Writes one file of a snapshot to `out`. What was written counts only when this returns
    /// without an error: the bytes are checked as a whole at the end.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn cat(
        &self,
        snapshot: Option<&str>,
        path: &Path,
        out: &mut dyn Write,
    ) -> Result<(), RestoreError> {
        let access = self.access(CalledOff::never())?;
        let chosen = self.choose(&access, snapshot, None)?;
        let (mut nodes, keyring) = reader(&access, &chosen)?;
        let missing = || RestoreError::NoSuchPath(path.to_path_buf());
        let key = key_of(path)?.ok_or_else(missing)?;
        let entry = find(chosen.open.snapshot.root, &key, &mut nodes)?.ok_or_else(missing)?;
        let mut fetcher = Fetcher::new(Arc::clone(&access.store), Arc::clone(&keyring));
        let broken = |cause| RestoreError::Target {
            path: "the output".into(),
            cause,
        };
        match entry {
            FileEntry::File {
                stat,
                content,
                extents,
            } => {
                let mut hasher = keyring.content_hasher();
                for extent in pieces(&extents.load(stat.size, &mut nodes)?) {
                    let bytes = fetcher
                        .extent(&extent, PackKind::Media)
                        .map_err(|cause| damaged(path, cause.into()))?;
                    hasher.update(bytes);
                    out.write_all(bytes).map_err(broken)?;
                }
                if hasher.finish() != content {
                    return Err(damaged(path, NodeError::PageAltered.into()));
                }
            }
            FileEntry::Database {
                pages,
                rows: Some(rows),
                ..
            } => {
                let databases = Replayer::new(&fetcher, &keyring, &self.home.state_made());
                let copy = databases.replay(&pages, &rows, &mut nodes, |_| Ok(()));
                copy.and_then(|(copy, ())| write_out(&copy, out))
                    .map_err(|cause| damaged(path, cause))?;
            }
            FileEntry::Database {
                pages, rows: None, ..
            } => {
                let frames = FrameReader::new(&fetcher, &keyring);
                frames
                    .in_order(&pages, &mut nodes, &mut |page| Ok(out.write_all(page)?))
                    .map_err(|cause| damaged(path, cause))?;
            }
            FileEntry::Dir { .. } | FileEntry::Symlink { .. } => {
                return Err(RestoreError::NotAFile(path.to_path_buf()));
            }
        }
        out.flush().map_err(broken)
    }

    /// What this device or the vault remembers of the newest snapshot: the later of the two. The
    /// vault may be away; then what the device knows must do.
    fn remembered(&self, access: &Access) -> Option<Note> {
        let local = Contents::newest(&self.home.contents(), access.id)
            .map(|head| note(head.sequence, head.digest));
        let noted = self.noted_at_vault();
        match (local, noted) {
            (Some(local), Some(noted)) if noted.sequence > local.sequence => Some(noted),
            (Some(local), _) => Some(local),
            (None, noted) => noted,
        }
    }

    fn noted_at_vault(&self) -> Option<Note> {
        let device = self.device().ok()?;
        let (standing, _) = self.link().ok()??.standing(&device).ok()?;
        let noted = standing.owner?.freshness?;
        let digest = keyhaven_repo::names::SnapshotDigest::from_bytes(*noted.digest.as_bytes());
        Some(note(noted.sequence, digest))
    }

    /// Chooses a snapshot: the newest acceptable one, or the one whose name begins so.
    ///
    /// BACKUP-4: with a note, only a head that descends from the noted snapshot is accepted.
    pub(crate) fn choose(
        &self,
        access: &Access,
        start: Option<&str>,
        note: Option<Note>,
    ) -> Result<Chosen, RestoreError> {
        let mut loaded = access.load()?;
        let mut judged = loaded.history.judge(note.as_ref());
        if start.is_none()
            && fresh(judged.freshness).is_err()
            && let Some(again) = self.look_again(access)?
        {
            loaded = again;
            judged = loaded.history.judge(note.as_ref());
        }
        let (digest, fresh) = match start {
            None => {
                let fresh = fresh(judged.freshness)
                    .map_err(|(noted, newest)| RestoreError::NotFresh { noted, newest })?;
                (judged.head.map(|link| link.digest), fresh)
            }
            Some(start) => {
                let named: Vec<_> = loaded
                    .open
                    .values()
                    .filter(|open| open.name.to_string().starts_with(start))
                    .map(|open| open.digest)
                    .collect();
                match named.as_slice() {
                    [] => return Err(RestoreError::NoSuchSnapshot(start.to_owned())),
                    [one] => (Some(*one), Fresh::NotVerified),
                    more => {
                        let (start, count) = (start.to_owned(), more.len());
                        return Err(RestoreError::AmbiguousSnapshot { start, count });
                    }
                }
            }
        };
        let digest = digest.ok_or(HistoryError::Empty)?;
        let info = self.info(&loaded, &digest).ok_or(HistoryError::Empty)?;
        let unreadable = if start.is_none() && fresh == Fresh::NotVerified {
            loaded.damaged.iter().map(|(name, _)| *name).collect()
        } else {
            Vec::new()
        };
        let notices = loaded.damage().into_iter();
        let notices = notices.chain(loaded.incompleteness(&digest)).collect();
        let open = loaded.open.remove(&digest).ok_or(HistoryError::Empty)?;
        Ok(Chosen {
            open,
            info,
            fresh,
            unreadable,
            notices,
        })
    }

    /// Looks at a store once more that seems to have gone back: the list of a cloud may lag. None for
    /// one whose list never does. BACKUP-4: what has truly gone back has gone back at the second look.
    pub(crate) fn look_again(&self, access: &Access) -> Result<Option<Loaded>, HistoryError> {
        let Some(pause) = self.place.second_look() else {
            return Ok(None);
        };
        access.called_off.sleep(pause)?;
        access.load().map(Some)
    }

    pub(crate) fn info(
        &self,
        loaded: &Loaded,
        digest: &keyhaven_repo::names::SnapshotDigest,
    ) -> Option<SnapshotInfo> {
        let open = loaded.open.get(digest)?;
        let link = loaded.history.link(digest)?;
        let writer = self.writer().ok();
        let totals = open.snapshot.totals;
        Some(SnapshotInfo {
            name: open.name,
            digest: *digest,
            sequence: link.sequence,
            device_time_s: link.device_time_s,
            complete: link.complete,
            ours: writer == Some(link.writer),
            head: loaded
                .history
                .heads()
                .iter()
                .any(|head| head.digest == *digest),
            pinned: link.pinned,
            files: totals.files,
            databases: totals.databases,
            bytes: totals.bytes,
        })
    }
}

pub(crate) fn reader(
    access: &Access,
    chosen: &Chosen,
) -> Result<(Nodes<'static>, Arc<keyhaven_repo::keyring::Keyring>), NodeError> {
    let keyring = Arc::new(chosen.open.keyring.clone());
    let store = Arc::clone(&access.store);
    let nodes = Nodes::new(store, Arc::clone(&keyring), access.cache.as_deref())?;
    Ok((nodes, keyring))
}

/// Whether anything of a restore to `to` would stand at `kept` or inside it. That `kept` lies inside the target is no matter as long
/// as the backup has nothing there.
fn lands_in(
    kept: &Path,
    to: &Path,
    plan: &Plan<'_>,
    nodes: &mut Nodes<'_>,
) -> Result<bool, RestoreError> {
    let (kept, to) = (settled(kept), settled(to));
    if to.starts_with(&kept) {
        return Ok(true);
    }
    let Ok(place) = kept.strip_prefix(&to) else {
        return Ok(false);
    };
    // A path that is longer than one may be in a backup is in none.
    let Ok(Some(place)) = key_of(place) else {
        return Ok(false);
    };
    let below = match plan.below {
        Some(below) if below.is_within(&place) => below,
        Some(below) if !place.is_within(below) => return Ok(false),
        Some(_) | None => &place,
    };
    let there = Plan {
        below: Some(below),
        ..*plan
    };
    Ok(measure(&there, nodes)?.covers_anything)
}

/// A path below the source as the manifest has it; none for the source itself.
fn key_of(path: &Path) -> Result<Option<Key>, RestoreError> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => parts.push(name.as_bytes()),
            std::path::Component::CurDir => {}
            std::path::Component::RootDir
            | std::path::Component::ParentDir
            | std::path::Component::Prefix(_) => {
                return Err(RestoreError::NoSuchPath(path.to_path_buf()));
            }
        }
    }
    if parts.is_empty() {
        return Ok(None);
    }
    Key::from_components(parts)
        .map(Some)
        .map_err(|_| RestoreError::NoSuchPath(path.to_path_buf()))
}

fn damaged(path: &Path, cause: ReadBackError) -> RestoreError {
    match cause {
        ReadBackError::Write(cause) => RestoreError::Target {
            path: "the output".into(),
            cause,
        },
        cause @ (ReadBackError::Fetch(_) | ReadBackError::Node(_) | ReadBackError::Rows(_)) => {
            RestoreError::Lost {
                path: path.to_path_buf(),
                reason: told(&cause),
            }
        }
    }
}

impl From<OpenError> for RestoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(cause) => cause.into(),
            OpenError::History(cause) => cause.into(),
            other @ (OpenError::Home(_)
            | OpenError::Keystore(_)
            | OpenError::Place(_)
            | OpenError::Lost(_)
            | OpenError::Login(_)
            | OpenError::Damaged(_)
            | OpenError::NoPassword
            | OpenError::Vault(_)) => Self::NotOpen(Box::new(other)),
        }
    }
}
