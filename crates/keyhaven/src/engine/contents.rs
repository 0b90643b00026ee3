//! Local state: which contents the store has already, and which snapshot this device made last.
//!
//! It is a cache. Lost or damaged, it is rebuilt from the newest manifest without uploading
//! anything again. It holds keyed digests and places of sealed bytes, never a name or a content.
//!
//! BACKUP-4: the newest snapshot also stands in a file of its own beside it, which is no cache. One command
//! at a time opens the state; the file can be read meanwhile, and outlives it.
//!
//! redb compares no checksums of a file that was closed well, and what it reads from a spoilt one it may believe, or panic
//! over. So beside the state stands a digest of all its bytes while nobody has it open (BACKUP-1): one that does not have
//! it any more is damaged. After a kill there is none, and redb checks what it finds.
//!
//! Contents are added in two steps: [`Contents::add`] remembers one for this run;
//! [`Contents::keep_sent`] makes them durable, and is called only after the store has flushed the packs
//! that hold them. So a run that is killed leaves only entries that the store can answer for, and
//! the next run sends none of them again.
//!
//! BACKUP-1: the store may be put back meanwhile to before a run that was killed, or an older copy of this state to before
//! packs that the store has lost since. So what an earlier run left counts only where the store lists its packs
//! ([`Contents::find`]): one listing in a run that meets a known content, and none in others.
//!
//! A flush is not made often, and before a remote store it waits for every upload. What was added since the last one stands in
//! the [log of what was sent](super::sent_log): [`Contents::note`] writes it there, and the next run takes over
//! ([`Contents::take_over`]) only those whose packs it finds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyhaven_repo::hash::ContentId;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::{Epoch, PackName, SnapshotDigest, SnapshotName, StoreId};
use redb::{Database, ReadableDatabase as _, TableDefinition};
use rustix::io::Errno;

use super::packs::Packs;
use super::sent_log::{SentContent, SentLog};
use crate::files::{self, Mode};
use crate::store::{Store, StoreError};

const CONTENTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("contents 1");
const SIZES: TableDefinition<'_, u64, ()> = TableDefinition::new("sizes 1");
const HEAD: TableDefinition<'_, (), &[u8]> = TableDefinition::new("head 1");

/// Pages of the index that are kept in memory.
const CACHE_BYTES: usize = 2 << 20;

const SUM_BYTES: u64 = 32;

/// Bytes of an extent in a value: pack, offset, length.
const EXTENT_BYTES: usize = 32 + 4 + 4;
/// Bytes of the head: store, snapshot, digest, sequence, epoch.
const HEAD_BYTES: usize = 16 + 32 + 32 + 8 + 4;

/// The snapshot that the local state describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) store: StoreId,
    pub(crate) name: SnapshotName,
    pub(crate) digest: SnapshotDigest,
    pub(crate) sequence: u64,
    pub(crate) epoch: Epoch,
}

/// The local state cannot be used: it may be removed and is then rebuilt. Or the store cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentsError {
    #[error("the local state cannot be used: {0}")]
    State(#[from] redb::Error),
    /// The store could not be asked for its packs; nothing is wrong with the state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ContentsError {
    /// Whether it is the disk that is full, and nothing is wrong with the state.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::State(redb::Error::Io(cause)) if crate::files::is_full(cause))
    }

    /// Whether the file itself is what is wrong, so that only another one helps. One that somebody else has open, or for
    /// which the system has no descriptor left, is kept.
    pub(crate) fn is_damaged(&self) -> bool {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        let is_of_the_file = |cause: &std::io::Error| {
            let is_unreadable = cause.raw_os_error() == Some(Errno::IO.raw_os_error());
            is_unreadable || matches!(cause.kind(), InvalidData | UnexpectedEof)
        };
        let Self::State(error) = self else {
            return false;
        };
        let is_malformed = matches!(
            error,
            redb::Error::Corrupted(_)
                | redb::Error::UpgradeRequired(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_)
                | redb::Error::TypeDefinitionChanged { .. }
        );
        is_malformed || matches!(error, redb::Error::Io(cause) if is_of_the_file(cause))
    }
}

macro_rules! from_redb {
    ($($cause:ty),*) => {$(
        impl From<$cause> for ContentsError {
            fn from(cause: $cause) -> Self {
                Self::State(cause.into())
            }
        }
    )*};
}
from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// Compares a state with the digest beside it, if there is one, and removes that, as the state is about to change.
fn take_sum(state: &Path) -> Result<(), ContentsError> {
    let beside = sum_beside(state);
    let noted = files::read_small(&beside, SUM_BYTES);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(redb::Error::Io)?,
    }
    // It is not flushed. A torn one says as much as none.
    let Some(noted) = noted.ok().filter(|noted| noted.len() as u64 == SUM_BYTES) else {
        return Ok(());
    };
    match sum_of(state) {
        Ok(sum) if sum.as_slice() != noted => {
            let spoilt = "its bytes are not those that were written";
            Err(redb::Error::Corrupted(spoilt.to_owned()).into())
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(redb::Error::Io(error).into()),
    }
}

fn sum_beside(state: &Path) -> PathBuf {
    state.with_extension("sum")
}

fn sum_of(state: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    files::read_pieces(&File::open(state)?, |piece| {
        hasher.update(piece);
    })?;
    Ok(*hasher.finalize().as_bytes())
}

/// Writes the digest of a state when that has been closed, or removes what cannot be relied on.
struct SumAtEnd {
    state: PathBuf,
    is_broken: bool,
}

impl SumAtEnd {
    fn write(&self) -> io::Result<()> {
        let sum = sum_of(&self.state)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(sum_beside(&self.state))?.write_all(&sum)
    }
}

impl Drop for SumAtEnd {
    fn drop(&mut self) {
        if self.is_broken {
            let _ = std::fs::remove_file(&self.state);
        } else if !std::thread::panicking() {
            // Without it the state counts as one that was not closed.
            let _ = self.write();
        }
    }
}

impl Drop for Contents {
    /// After a flush that failed, a file can be read as if it were whole until the power goes, and be in pieces then. Who
    /// goes on from it builds on what no disk has; so it is begun anew.
    fn drop(&mut self) {
        self.sum.is_broken = matches!(
            self.database.begin_write(),
            Err(redb::TransactionError::Storage(_))
        );
    }
}

/// A content that was added in this run.
struct Fresh {
    bytes: u64,
    extents: Vec<Extent>,
    /// Whether it stands in the log of what was sent.
    noted: bool,
}

impl Fresh {
    /// Whether no byte of it is in this pack.
    fn is_outside(&self, open: Option<PackName>) -> bool {
        open.is_none_or(|open| self.extents.iter().all(|extent| extent.pack != open))
    }
}

/// The contents of a store, as far as this device knows them.
pub(crate) struct Contents {
    // In this order: it is closed before its bytes are summed up.
    database: Database,
    sum: SumAtEnd,
    newest: PathBuf,
    store: Arc<dyn Store>,
    /// The packs of the store, once they were asked for.
    listed: Option<BTreeSet<PackName>>,
    /// The packs of what was added.
    added: BTreeSet<PackName>,
    fresh: HashMap<ContentId, Fresh>,
    fresh_sizes: HashSet<u64>,
}

impl Contents {
    /// Opens the state of that store at `path`, or begins an empty one.
    pub(crate) fn open(path: &Path, store: Arc<dyn Store>) -> Result<Self, ContentsError> {
        take_sum(path)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)?;
        Ok(Self {
            database,
            sum: SumAtEnd {
                state: path.to_path_buf(),
                is_broken: false,
            },
            newest: newest_beside(path),
            store,
            listed: None,
            added: BTreeSet::new(),
            fresh: HashMap::new(),
            fresh_sizes: HashSet::new(),
        })
    }

    /// The snapshot that the state describes, if it describes one.
    pub(crate) fn head(&self) -> Result<Option<Head>, ContentsError> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(HEAD) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(table.get(())?.and_then(|value| decode_head(value.value())))
    }

    /// The newest snapshot that this device made in that store. Another command may have the state at `path` open.
    pub(crate) fn newest(path: &Path, store: StoreId) -> Option<Head> {
        let bytes = files::read_small(&newest_beside(path), HEAD_BYTES as u64).ok()?;
        decode_head(&bytes).filter(|head| head.store == store)
    }

    /// Whether any known content has this size: where none has, a file need not be read to know
    /// that it is new.
    pub(crate) fn has_size(&self, bytes: u64) -> Result<bool, ContentsError> {
        if self.fresh_sizes.contains(&bytes) {
            return Ok(true);
        }
        let read = self.database.begin_read()?;
        match read.open_table(SIZES) {
            Ok(table) => Ok(table.get(bytes)?.is_some()),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the store has a content, as far as it lists the packs of it.
    pub(crate) fn find(&mut self, id: &ContentId) -> Result<Option<Vec<Extent>>, ContentsError> {
        if let Some(content) = self.fresh.get(id) {
            return Ok(Some(content.extents.clone()));
        }
        let Some(extents) = self.remembered(id)? else {
            return Ok(None);
        };
        for extent in &extents {
            if !self.added.contains(&extent.pack) && !self.listed()?.contains(&extent.pack) {
                return Ok(None);
            }
        }
        Ok(Some(extents))
    }

    fn remembered(&self, id: &ContentId) -> Result<Option<Vec<Extent>>, ContentsError> {
        let read = self.database.begin_read()?;
        match read.open_table(CONTENTS) {
            Ok(table) => Ok(table
                .get(id.as_bytes())?
                .and_then(|value| decode_extents(value.value()))),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn listed(&mut self) -> Result<&BTreeSet<PackName>, StoreError> {
        let listed = match self.listed.take() {
            Some(listed) => listed,
            None => Packs::of(self.store.as_ref())?.names().copied().collect(),
        };
        Ok(self.listed.insert(listed))
    }

    /// Remembers a content for this run.
    pub(crate) fn add(&mut self, id: ContentId, bytes: u64, extents: Vec<Extent>) {
        self.fresh_sizes.insert(bytes);
        self.added.extend(extents.iter().map(|extent| extent.pack));
        let content = Fresh {
            bytes,
            extents,
            noted: false,
        };
        self.fresh.insert(id, content);
    }

    /// Notes the added contents as sent, all but those with bytes in the pack `open`.
    pub(crate) fn note(&mut self, log: &SentLog, open: Option<PackName>) {
        let new = self.fresh.iter_mut();
        let new = new.filter(|(_, content)| !content.noted && content.is_outside(open));
        log.contents(new.map(|(id, content)| {
            content.noted = true;
            (id, content.bytes, content.extents.as_slice())
        }));
    }

    /// Takes over what an earlier run had sent, and what is there.
    pub(crate) fn take_over(&mut self, contents: &[SentContent]) {
        for SentContent { id, bytes, extents } in contents {
            self.fresh_sizes.insert(*bytes);
            self.added.extend(extents.iter().map(|extent| extent.pack));
            let content = Fresh {
                bytes: *bytes,
                extents: extents.clone(),
                noted: true,
            };
            self.fresh.insert(*id, content);
        }
    }

    /// How many contents were added and are not durable yet.
    pub(crate) fn not_kept(&self) -> usize {
        self.fresh.len()
    }

    /// Makes the added contents durable, all but those with bytes in the pack `open`. Call it only
    /// after the store has flushed every other pack.
    pub(crate) fn keep_sent(&mut self, open: Option<PackName>) -> Result<(), ContentsError> {
        let write = self.database.begin_write()?;
        {
            let mut contents = write.open_table(CONTENTS)?;
            let mut sizes = write.open_table(SIZES)?;
            for (id, content) in self.fresh.iter().filter(|(_, new)| new.is_outside(open)) {
                contents.insert(id.as_bytes(), encode_extents(&content.extents).as_slice())?;
                sizes.insert(content.bytes, ())?;
            }
        }
        write.commit()?;
        self.fresh.retain(|_, content| !content.is_outside(open));
        self.fresh_sizes = self.fresh.values().map(|content| content.bytes).collect();
        Ok(())
    }

    /// Forgets every content that has bytes in a pack which is not `good`: it will be sent again.
    pub(crate) fn forget_all_but(
        &mut self,
        good: &dyn Fn(&PackName) -> bool,
    ) -> Result<(), ContentsError> {
        let write = self.database.begin_write()?;
        write.open_table(CONTENTS)?.retain(|_, value| {
            decode_extents(value)
                .is_some_and(|extents| extents.iter().all(|extent| good(&extent.pack)))
        })?;
        Ok(write.commit()?)
    }

    /// Says which snapshot the state describes from now on: the newest that this device made.
    pub(crate) fn set_head(&mut self, head: &Head) -> Result<(), ContentsError> {
        files::replace(&self.newest, &encode_head(head), Mode::Private).map_err(redb::Error::Io)?;
        let write = self.database.begin_write()?;
        write
            .open_table(HEAD)?
            .insert((), encode_head(head).as_slice())?;
        Ok(write.commit()?)
    }
}

/// Where the newest snapshot is noted, beside the state.
fn newest_beside(contents: &Path) -> PathBuf {
    contents.with_file_name("newest")
}

pub(crate) fn encode_extents(extents: &[Extent]) -> Vec<u8> {
    let mut out = Vec::with_capacity(extents.len().saturating_mul(EXTENT_BYTES));
    for extent in extents {
        out.extend_from_slice(extent.pack.as_bytes());
        out.extend_from_slice(&extent.offset.to_le_bytes());
        out.extend_from_slice(&extent.len.to_le_bytes());
    }
    out
}

pub(crate) fn decode_extents(value: &[u8]) -> Option<Vec<Extent>> {
    let (whole, rest) = value.as_chunks::<EXTENT_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    whole
        .iter()
        .map(|bytes| {
            let (pack, bytes) = bytes.split_first_chunk::<32>()?;
            let (offset, bytes) = bytes.split_first_chunk::<4>()?;
            let len = bytes.first_chunk::<4>()?;
            Some(Extent {
                pack: PackName::from_bytes(*pack),
                offset: u32::from_le_bytes(*offset),
                len: u32::from_le_bytes(*len),
            })
        })
        .collect()
}

fn encode_head(head: &Head) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.extend_from_slice(head.store.as_bytes());
    out.extend_from_slice(head.name.as_bytes());
    out.extend_from_slice(head.digest.as_bytes());
    out.extend_from_slice(&head.sequence.to_le_bytes());
    out.extend_from_slice(&head.epoch.number().to_le_bytes());
    out
}

fn decode_head(value: &[u8]) -> Option<Head> {
    let (store, value) = value.split_first_chunk::<16>()?;
    let (name, value) = value.split_first_chunk::<32>()?;
    let (digest, value) = value.split_first_chunk::<32>()?;
    let (sequence, value) = value.split_first_chunk::<8>()?;
    let epoch: &[u8; 4] = value.try_into().ok()?;
    Some(Head {
        store: StoreId::from_bytes(*store),
        name: SnapshotName::from_bytes(*name),
        digest: SnapshotDigest::from_bytes(*digest),
        sequence: u64::from_le_bytes(*sequence),
        epoch: Epoch::from_number(u32::from_le_bytes(*epoch)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::outbox::path_of;
    use super::super::sent_log::Left;
    use super::*;
    use crate::store::{Body, FolderStore};

    fn extent(byte: u8) -> Extent {
        Extent {
            pack: PackName::from_bytes([byte; 32]),
            offset: 5,
            len: u32::from(byte),
        }
    }

    /// A store with these packs, for its list.
    fn store_of(folder: &Path, packs: &[PackName]) -> Arc<dyn Store> {
        let store = FolderStore::private(&folder.join("store")).unwrap();
        for pack in packs {
            store
                .put(&path_of(&pack.path()), Body::Bytes(b"some"))
                .unwrap();
        }
        Arc::new(store)
    }

    fn open(path: &Path) -> Result<Contents, ContentsError> {
        Contents::open(path, store_of(path.parent().unwrap(), &[]))
    }

    fn head() -> Head {
        Head {
            store: StoreId::from_bytes([1; 16]),
            name: SnapshotName::from_bytes([2; 32]),
            digest: SnapshotDigest::from_bytes([3; 32]),
            sequence: 4,
            epoch: Epoch::FIRST,
        }
    }

    #[test]
    fn what_has_bytes_in_a_pack_that_is_gone_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut contents = open(&folder.path().join("contents")).unwrap();
        let ids: Vec<ContentId> = (1..4).map(|id| ContentId::from_bytes([id; 32])).collect();
        contents.add(ids[0], 10, vec![extent(1)]);
        contents.add(ids[1], 20, vec![extent(1), extent(2)]);
        contents.add(ids[2], 0, Vec::new());
        contents.keep_sent(None).unwrap();
        contents
            .forget_all_but(&|pack| *pack == extent(1).pack)
            .unwrap();
        assert_eq!(contents.find(&ids[0]).unwrap(), Some(vec![extent(1)]));
        assert_eq!(contents.find(&ids[1]).unwrap(), None);
        assert_eq!(contents.find(&ids[2]).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn what_somebody_else_has_open_is_not_damaged_and_what_is_no_database_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contents");
        let held = open(&path).unwrap();
        let error = open(&path).err().unwrap();
        assert!(!error.is_damaged(), "{error}");
        drop(held);
        for bytes in [&[7; 8_192][..], b"redb", &[0; 100]] {
            std::fs::write(&path, bytes).unwrap();
            let error = open(&path).err().unwrap();
            assert!(error.is_damaged(), "{error}");
        }
    }

    #[test]
    fn only_what_was_kept_is_known_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contents");
        let (kept, lost) = (
            ContentId::from_bytes([1; 32]),
            ContentId::from_bytes([2; 32]),
        );
        let mut contents = open(&path).unwrap();
        assert_eq!(contents.head().unwrap(), None);
        contents.add(kept, 10, vec![extent(1), extent(2)]);
        contents.add(lost, 20, vec![extent(3)]);
        contents.keep_sent(Some(extent(3).pack)).unwrap();
        contents.set_head(&head()).unwrap();
        assert_eq!(contents.find(&lost).unwrap(), Some(vec![extent(3)]));
        drop(contents);

        let there = store_of(folder.path(), &[extent(1).pack, extent(2).pack]);
        let mut contents = Contents::open(&path, there).unwrap();
        assert_eq!(
            contents.find(&kept).unwrap(),
            Some(vec![extent(1), extent(2)])
        );
        assert_eq!(contents.find(&lost).unwrap(), None);
        assert!(contents.has_size(10).unwrap());
        assert!(!contents.has_size(20).unwrap());
        assert_eq!(contents.head().unwrap(), Some(head()));
    }

    /// BACKUP-1: a store that was put back does not have what was sent after that.
    #[test]
    fn what_was_kept_counts_only_where_the_store_has_its_packs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contents");
        let ids: Vec<ContentId> = (1..4).map(|id| ContentId::from_bytes([id; 32])).collect();
        let mut contents = open(&path).unwrap();
        contents.add(ids[0], 10, vec![extent(1)]);
        contents.add(ids[1], 20, vec![extent(1), extent(2)]);
        contents.add(ids[2], 0, Vec::new());
        contents.keep_sent(None).unwrap();
        drop(contents);

        let there = store_of(folder.path(), &[extent(1).pack]);
        let mut contents = Contents::open(&path, there).unwrap();
        assert_eq!(contents.find(&ids[0]).unwrap(), Some(vec![extent(1)]));
        assert_eq!(contents.find(&ids[1]).unwrap(), None);
        assert_eq!(contents.find(&ids[2]).unwrap(), Some(Vec::new()));
        // What this run sends itself it need not look for.
        contents.add(ids[1], 20, vec![extent(3)]);
        contents.keep_sent(None).unwrap();
        assert_eq!(contents.find(&ids[1]).unwrap(), Some(vec![extent(3)]));
    }

    /// BACKUP-2: what was sent counts only where its packs are found.
    #[test]
    fn what_was_sent_is_taken_over_only_with_its_packs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contents");
        let store = head().store;
        let log = || SentLog::open(&folder.path().join("sent"), store, false);
        let ids: Vec<ContentId> = (1..4).map(|id| ContentId::from_bytes([id; 32])).collect();
        let mut contents = open(&path).unwrap();
        contents.add(ids[0], 10, vec![extent(1)]);
        contents.add(ids[1], 20, vec![extent(1), extent(2)]);
        contents.add(ids[2], 30, vec![extent(3)]);
        contents.note(&log().0, Some(extent(3).pack));
        drop(contents);

        // Killed twice before anything more was sent.
        for _ in 0..2 {
            let mut contents = open(&path).unwrap();
            let (log, left) = log();
            assert_eq!(
                left.packs(),
                BTreeSet::from([extent(1).pack, extent(2).pack])
            );
            let left = left.within(&BTreeSet::from([extent(1).pack]));
            contents.take_over(&left.contents);
            assert_eq!(contents.find(&ids[0]).unwrap(), Some(vec![extent(1)]));
            assert!(contents.has_size(10).unwrap());
            assert_eq!(contents.find(&ids[1]).unwrap(), None);
            assert_eq!(contents.find(&ids[2]).unwrap(), None);
            contents.note(&log, None);
        }
        let mut contents = open(&path).unwrap();
        let (log, left) = log();
        contents.take_over(&left.contents);
        contents.keep_sent(None).unwrap();
        log.clear_contents();
        drop((contents, log));
        let there = store_of(folder.path(), &[extent(1).pack]);
        let mut contents = Contents::open(&path, there).unwrap();
        assert!(contents.find(&ids[0]).unwrap().is_some());
        let (_, left) = SentLog::open(&folder.path().join("sent"), store, false);
        assert_eq!(left, Left::default());
    }

    #[test]
    fn a_damaged_state_is_an_error_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contents");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert!(open(&path).is_err());
    }
}
