//! Databases by rows: a patch on a base, tried on a shadow before it is kept.
//!
//! BACKUP-1: the source is copied as one commit, sealed. A patch counts only if the shadow, which is
//! what a restore would give, has after it the digest of that copy; otherwise the copy's pages are
//! stored in the same run. BACKUP-2: the shadow is ahead of the store for a moment. Its mark says
//! which state it is; one that is not the newest manifest's is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven_repo::hash::ContentId;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::path::Key;
use keyhaven_repo::rows::{
    PATCH_FRAME_RAW_MAX, PATCH_FRAMES_MAX, PATCHES_MAX as READ_PATCHES_MAX, Patch, load_patches,
    store_patches,
};
use keyhaven_source::rows::{
    Beyond, CopyError, Diffed, Mounted, PATCH_BYTES_MAX, RowsError, SealedFile, Unfit, apply, diff,
    digest,
};
use keyhaven_source::{PageSource, Signature};
use serde::{Deserialize, Serialize};

use super::crew::beside;
use super::database::{FrameWriter, PagesError, StoredDatabase};
use super::join::Reading;
use super::nodes::Nodes;
use super::survey::{Changed, Stored};
use crate::files::{self, Mode};

/// How databases are backed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// By pages: a restore gives the exact bytes. Nothing of a database stays on the device.
    #[default]
    Pages,
    /// By rows wherever that is possible: a restore gives the exact rows, and a day's change weighs
    /// little. A sealed copy of each database stays on the device.
    Rows,
    /// By rows where that pays, by pages elsewhere.
    Auto,
}

/// How one database went, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The database, relative to the source. What is not UTF-8 in its name is not remembered.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Whether it went by rows.
    pub by_rows: bool,
    /// The patches that stand on its base.
    pub patches: u64,
    /// The rows that its last run's patches delete, change or insert.
    pub rows: u64,
    /// The same, table by table; the others are as they were.
    #[serde(default)]
    pub tables: Vec<TableWay>,
    /// What those patches, or the pages that were sent, weigh, sealed, before padding.
    pub bytes: u64,
    /// Why it went so.
    pub why: String,
}

fn as_text<S: serde::Serializer>(path: &Path, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&path.to_string_lossy())
}

/// What the last run's patches of a database do to one of its tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableWay {
    /// The table.
    pub name: String,
    /// The rows that are deleted, changed or inserted.
    pub rows: u64,
}

/// Patches on one base, before a new one is begun; with those of one large change there may be more.
const PATCHES_MAX: usize = 30;
/// The longest patch that is made; longer ones are read. A patch is held in memory, and what two threads find for it, so a
/// larger change is cut into several.
const PATCH_BYTES: usize = 2 << 20;
/// The most that a run changes by patches. A full-text index that merges its parts changes that much in a day.
const CHANGE_BYTES: usize = 2 * PATCH_BYTES_MAX;
/// Below this, a database's pages weigh no more than the padding.
const AUTO_BYTES_MIN: u64 = 4 << 20;
/// Above this, writing a whole copy for each backup wears the device.
const AUTO_BYTES_MAX: u64 = 2 << 30;

/// The bytes of a mark: a state, and the digest of a shadow's seals.
const MARK_BYTES: u64 = 64;

/// Why a database goes by pages.
#[derive(Debug)]
pub(crate) enum Why {
    Asked,
    Opaque,
    Small,
    Large,
    NoRoom,
    First,
    NoShadow,
    Chain,
    Weight,
    Rows(RowsError),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "pages were asked for",
            Self::Opaque => "it is encrypted: its rows cannot be seen",
            Self::Small => "it is small: its pages weigh no more",
            Self::Large => "it is large: each backup would write a copy of it on this device",
            Self::NoRoom => "this device has no room for copies of it",
            Self::First => "rows need pages to stand on: from the next backup on it goes by rows",
            Self::NoShadow => "no copy of its last state is on this device: one was made now",
            Self::Chain => "30 patches stood on its pages: it has new ones now",
            Self::Weight => "its patches weighed half of its pages: it has new ones now",
            Self::Rows(cause) => return cause.fmt(f),
        })
    }
}

/// Sealed copies of databases on this device.
pub(crate) struct Shadows {
    folder: PathBuf,
    keyring: Arc<Keyring>,
    tier: Tier,
    /// How each database of this run went.
    pub(crate) ways: Vec<Way>,
}

impl Shadows {
    pub(crate) fn new(folder: PathBuf, keyring: Arc<Keyring>, tier: Tier) -> Self {
        Self {
            folder,
            keyring,
            tier,
            ways: Vec::new(),
        }
    }

    /// Deletes all copies. One that stays is sealed, and is not used once a newer state is backed up.
    pub(crate) fn remove(folder: &Path) {
        let _ = std::fs::remove_dir_all(folder);
    }

    fn place(&self, key: &Key, kind: &str) -> PathBuf {
        let mut hasher = self.keyring.content_hasher();
        hasher.update(key.as_bytes());
        let name = hasher.finish();
        let head = name.as_bytes().iter().take(16);
        let name: String = head.map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}.{kind}"))
    }

    /// The file of a new copy, in place of one that a killed run left.
    fn new_place(&self, key: &Key) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.place(key, "new"))
    }

    /// Whether a database is not even tried.
    fn refuses(&self, database: &Changed) -> Option<Why> {
        let bytes = database.stat.size;
        match self.tier {
            Tier::Pages => return Some(Why::Asked),
            Tier::Rows | Tier::Auto if database.how == Reading::Opaque => {
                return Some(Why::Opaque);
            }
            Tier::Auto if bytes < AUTO_BYTES_MIN => return Some(Why::Small),
            Tier::Auto if bytes > AUTO_BYTES_MAX => return Some(Why::Large),
            Tier::Rows | Tier::Auto => {}
        }
        let has_room = files::create_private_folder(&self.folder)
            .and_then(|()| Ok(rustix::fs::statvfs(&self.folder)?))
            .is_ok_and(|stat| {
                // The shadow, the new copy, and something to breathe.
                let free = stat.f_bavail.saturating_mul(stat.f_frsize);
                free / 3 > bytes
            });
        (!has_room).then_some(Why::NoRoom)
    }

    fn derive(&self) -> impl Fn(&[u8; 32]) -> zeroize::Zeroizing<[u8; 32]> {
        let keyring = Arc::clone(&self.keyring);
        move |salt| keyring.shadow_key(salt)
    }

    /// The shadow of a database, if it is of that state. From here on it is marked as of none.
    ///
    /// BACKUP-1: an older shadow that came back beside a newer mark, whole or in parts, is known by its seals. A patch from there on
    /// would lead from a state that is not in the store.
    fn take(&self, key: &Key, state: &ContentId) -> Option<SealedFile> {
        let mark = self.place(key, "state");
        let marked = files::read_small(&mark, MARK_BYTES).ok()?;
        self.unmark(key).ok()?;
        let shadow = SealedFile::open(&self.place(key, "shadow"), &self.derive()).ok()?;
        (marked == self.mark_of(&shadow, state).ok()?).then_some(shadow)
    }

    /// What says of a shadow that it is of that state: the state, and a keyed digest of what the shadow's pages are sealed with.
    fn mark_of(&self, shadow: &SealedFile, state: &ContentId) -> io::Result<Vec<u8>> {
        let mut hasher = self.keyring.content_hasher();
        shadow.seals(&mut |seal| hasher.update(seal))?;
        Ok([*state.as_bytes(), *hasher.finish().as_bytes()].concat())
    }

    /// Marks the shadow as of no state, before it changes.
    ///
    /// BACKUP-1, BACKUP-2: for good. A mark that came back after a loss of power would say of the changed shadow that it is the old
    /// state; a patch from there on leads from a state that is not in the store.
    fn unmark(&self, key: &Key) -> io::Result<()> {
        match std::fs::remove_file(self.place(key, "state")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| files::sync_folder(&self.folder)),
        }
    }

    /// Marks the shadow as of that state.
    fn mark(&self, key: &Key, shadow: &Mounted, state: &ContentId) {
        let mark = shadow.with_file(|file| self.mark_of(file, state));
        // Without its mark a shadow is not used, and pages are sent.
        let _ =
            mark.and_then(|mark| files::replace(&self.place(key, "state"), &mark, Mode::Private));
    }

    /// Makes the new copy the shadow.
    fn promote(&self, key: &Key, copy: &Mounted, state: &ContentId) {
        let renamed = self
            .unmark(key)
            .and_then(|()| copy.with_file(|file| file.sync()))
            .and_then(|()| std::fs::rename(self.place(key, "new"), self.place(key, "shadow")));
        if renamed.is_ok() {
            self.mark(key, copy, state);
        }
    }

    /// Forgets a database's copies.
    pub(crate) fn forget(&self, key: &Key) {
        for kind in ["state", "shadow", "new"] {
            let _ = std::fs::remove_file(self.place(key, kind));
        }
    }

    fn digest(&self, copy: &Mounted) -> Result<ContentId, RowsError> {
        let mut hasher = self.keyring.content_hasher();
        digest(copy, &mut |bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    }

    /// Stores a database: its rows if they can be told, otherwise its pages.
    pub(crate) fn store(
        &mut self,
        source: &mut dyn PageSource,
        database: &Changed,
        frames: &mut FrameWriter<'_>,
        nodes: &mut Nodes<'_>,
    ) -> Result<StoredDatabase, PagesError> {
        let key = &database.key;
        let old = database.old;
        if let Some(why) = self.refuses(database) {
            self.forget(key);
            return self.by_pages(source, database, frames, nodes, &why);
        }
        let copied = self.new_place(key).map_err(CopyError::Device);
        let copied = copied.and_then(|place| SealedFile::copy(source, &place, &self.derive()));
        let (file, image) = match copied {
            Ok(copied) => copied,
            Err(CopyError::Source(cause)) => return Err(cause.into()),
            Err(_) => {
                self.forget(key);
                return self.by_pages(source, database, frames, nodes, &Why::NoRoom);
            }
        };
        let signature = image.signature;
        let copy = match Mounted::new(file) {
            Ok(copy) => copy,
            Err(cause) => return Err(sealed(cause)),
        };
        match self.try_rows(key, old, &copy, frames, nodes)? {
            Ok((pages, rows)) => {
                let _ = std::fs::remove_file(self.place(key, "new"));
                let signature = signature.as_ref().map(Signature::encode);
                Ok(StoredDatabase {
                    pages,
                    rows,
                    signature: signature.unwrap_or_default(),
                    new_base: false,
                })
            }
            Err(why) => {
                let stored = copy.with_file(|file| {
                    let source = &mut file.pages(signature);
                    self.by_pages(source, database, frames, nodes, &why)
                })?;
                self.promote(key, &copy, stored.pages.image());
                Ok(stored)
            }
        }
    }

    /// Stores the pages of a database that have changed.
    fn by_pages(
        &mut self,
        source: &mut dyn PageSource,
        database: &Changed,
        frames: &mut FrameWriter<'_>,
        nodes: &mut Nodes<'_>,
        why: &Why,
    ) -> Result<StoredDatabase, PagesError> {
        let before = frames.sealed_bytes();
        let old = database.old.map(|old| old.pages);
        let stored = frames.store(source, old, &self.keyring, nodes)?;
        self.ways.push(Way {
            path: super::target::relative(&database.key),
            by_rows: false,
            patches: 0,
            rows: 0,
            tables: Vec::new(),
            bytes: frames.sealed_bytes().saturating_sub(before),
            why: why.to_string(),
        });
        Ok(stored)
    }

    /// A patch that leads to the copy, tried and stored; or why there is none.
    fn try_rows(
        &mut self,
        key: &Key,
        old: Option<Stored>,
        copy: &Mounted,
        frames: &mut FrameWriter<'_>,
        nodes: &mut Nodes<'_>,
    ) -> Result<Result<(PageMap, Option<NodeRef>), Why>, NodeError> {
        let Some(Stored { pages, rows }) = old else {
            return Ok(Err(Why::First));
        };
        let mut patches = match &rows {
            Some(rows) => load_patches(rows, nodes)?,
            None => Vec::new(),
        };
        if patches.len() >= PATCHES_MAX {
            return Ok(Err(Why::Chain));
        }
        let half = pages.image_len() / 2;
        let weight = patches.iter().map(Patch::stored_len).sum::<u64>();
        if weight > half {
            return Ok(Err(Why::Weight));
        }
        let mut state = patches.last().map_or(*pages.image(), |patch| patch.state);
        let Some(shadow) = self.take(key, &state) else {
            return Ok(Err(Why::NoShadow));
        };
        let mut shadow = match Mounted::new(shadow) {
            Ok(shadow) => shadow,
            Err(cause) => return Ok(Err(Why::Rows(cause.into()))),
        };
        let mut room = usize::try_from(half)
            .unwrap_or(usize::MAX)
            .min(CHANGE_BYTES);
        let mut left = None;
        let mut told = Told::default();
        loop {
            let part = match self.part(copy, shadow, room, left.as_ref()) {
                Ok(part) => part,
                Err(cause) => return Ok(Err(Why::Rows(cause))),
            };
            if !part.diffed.patch.is_empty() {
                if patches.len() >= READ_PATCHES_MAX {
                    return Ok(Err(Why::Chain));
                }
                let patch = frames.store_patch(&part.diffed.patch, part.state, &self.keyring)?;
                told.add(&part.diffed, &patch);
                state = part.state;
                patches.push(patch);
            }
            shadow = part.shadow;
            if part.diffed.beyond.bytes == 0 {
                break;
            }
            room = room.saturating_sub(part.diffed.patch.len());
            left = Some(part.diffed.beyond);
        }
        let count = u64::try_from(patches.len()).unwrap_or(u64::MAX);
        if told.tables.is_empty() {
            // Rows as they were: only where they lie, or a log, has changed.
            self.mark(key, &shadow, &state);
            self.told(key, count, told, "no row has changed");
            return Ok(Ok((pages, rows)));
        }
        let rows = store_patches(&patches, nodes)?;
        self.mark(key, &shadow, &state);
        self.told(
            key,
            count,
            told,
            "its rows were tried on a copy of its last state",
        );
        Ok(Ok((pages, Some(rows))))
    }

    /// A patch that leads from the shadow to the copy, or a part of the way, tried on the shadow. All that is to come has
    /// `room` bytes.
    fn part(
        &self,
        copy: &Mounted,
        shadow: Mounted,
        room: usize,
        left: Option<&Beyond>,
    ) -> Result<Part, RowsError> {
        let diffed = diff(copy, &shadow, room.min(PATCH_BYTES), left)?;
        let beyond = diffed.beyond.bytes;
        if diffed.patch.len().saturating_add(beyond) > room {
            return Err(Unfit::TooLarge.into());
        }
        let shadow = apply(shadow, &diffed.patch)?;
        let state = if beyond > 0 {
            self.digest(&shadow)?
        } else {
            let (state, due) = beside(|| self.digest(&shadow), || self.digest(copy));
            let state = state?;
            // BACKUP-1: what a restore would give is what the source committed, or it is not kept.
            if state != due? {
                return Err(Unfit::Mismatch.into());
            }
            shadow.with_file(|file| file.sync())?;
            state
        };
        Ok(Part {
            diffed,
            shadow,
            state,
        })
    }

    fn told(&mut self, key: &Key, patches: u64, told: Told, why: &str) {
        let Told { tables, bytes } = told;
        let rows = tables
            .values()
            .fold(0, |sum, rows| rows.saturating_add(sum));
        let tables = tables.into_iter();
        self.ways.push(Way {
            path: super::target::relative(key),
            by_rows: true,
            patches,
            rows,
            tables: tables.map(|(name, rows)| TableWay { name, rows }).collect(),
            bytes,
            why: why.to_owned(),
        });
    }
}

/// A part of the way from a shadow to a copy.
struct Part {
    diffed: Diffed,
    /// The shadow after it.
    shadow: Mounted,
    /// The digest of that.
    state: ContentId,
}

/// What the patches of a run do.
#[derive(Default)]
struct Told {
    tables: BTreeMap<String, u64>,
    bytes: u64,
}

impl Told {
    fn add(&mut self, diffed: &Diffed, patch: &Patch) {
        for table in &diffed.tables {
            let rows = self.tables.entry(table.name.clone()).or_default();
            *rows = rows.saturating_add(table.rows);
        }
        self.bytes = self.bytes.saturating_add(patch.stored_len());
    }
}

/// A copy that SQLite does not take is a fault of this program's build.
fn sealed(cause: io::Error) -> PagesError {
    NodeError::Unavailable {
        cause: Box::new(cause),
        remedy: keyhaven_secrets::Remedy::Stop,
    }
    .into()
}

/// Cuts a patch into frames.
pub(crate) fn frames_of(patch: &[u8]) -> impl Iterator<Item = &[u8]> {
    const {
        assert!(
            PATCH_BYTES_MAX <= PATCH_FRAME_RAW_MAX as usize * PATCH_FRAMES_MAX,
            "the longest patch has frames for all its bytes"
        );
    }
    patch.chunks(usize::try_from(PATCH_FRAME_RAW_MAX).unwrap_or(usize::MAX))
}

/// How databases went, as the last runs told it; older ones stay as they were told, as long as the source has them.
pub(crate) fn remember_ways(file: &Path, ways: &[Way], source: &Path) {
    let before = recall_ways(file);
    let name = |way: &Way| way.path.to_string_lossy().into_owned();
    let told: BTreeSet<String> = ways.iter().map(name).collect();
    let stays = |old: &&Way| !told.contains(&name(old)) && source.join(&old.path).exists();
    let mut all: Vec<Way> = before.iter().filter(stays).chain(ways).cloned().collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    if all == before {
        return;
    }
    if let Ok(bytes) = serde_json::to_vec(&all) {
        // It is told to people and nothing else.
        let _ = files::replace(file, &bytes, Mode::Private);
    }
}

/// How databases went, as far as it is remembered.
pub(crate) fn recall_ways(file: &Path) -> Vec<Way> {
    files::read_small(file, 1 << 20)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use keyhaven_repo::names::StoreId;
    use keyhaven_source::Stat;

    use super::*;
    use crate::engine::entropy::OsEntropy;

    #[test]
    fn what_is_not_even_tried_by_rows() {
        let home = tempfile::tempdir().unwrap();
        let store = StoreId::from_bytes([7; 16]);
        let keyring = Arc::new(Keyring::generate(store, &mut OsEntropy));
        let stat = Stat::from(&rustix::fs::stat("/").unwrap());
        let why = |tier, size, how| {
            let shadows = Shadows::new(home.path().join("shadow"), Arc::clone(&keyring), tier);
            let database = Changed {
                key: Key::parse(b"chat.db").unwrap(),
                path: PathBuf::from("chat.db"),
                stat: Stat { size, ..stat },
                old: None,
                how,
            };
            shadows.refuses(&database).map(|why| format!("{why:?}"))
        };
        let is = |why: &str| Some(why.to_owned());
        for (tier, bytes, how, due) in [
            (Tier::Pages, 5 << 20, Reading::Live, is("Asked")),
            (Tier::Rows, 5 << 20, Reading::Opaque, is("Opaque")),
            (Tier::Auto, 5 << 20, Reading::Opaque, is("Opaque")),
            (Tier::Rows, 4096, Reading::Live, None),
            (Tier::Auto, (4 << 20) - 1, Reading::Live, is("Small")),
            (Tier::Auto, 4 << 20, Reading::Live, None),
            (Tier::Auto, 4 << 20, Reading::Supplied, None),
            (Tier::Auto, (2 << 30) + 1, Reading::Live, is("Large")),
            (Tier::Rows, 1 << 60, Reading::Live, is("NoRoom")),
        ] {
            assert_eq!(why(tier, bytes, how), due, "{tier:?}, {bytes}, {how:?}");
        }
    }
}
