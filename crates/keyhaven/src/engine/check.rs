//! Holding the entries of a backup against what the store has of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use keyhaven_repo::entry::{ExtentList, FileEntry};
use keyhaven_repo::hash::{ContentHasher, ContentId};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::path::Key;
use keyhaven_secrets::Remedy;
use keyhaven_source::rows::RowsError;

use super::companions::{STRAY, Strays};
use super::crew::{self, Crew, Worker};
use super::error::RestoreError;
use super::fetch::{FetchError, Fetcher, pieces};
use super::history::Access;
use super::lost::{Gaps, Lost, LostPart, ends_the_run, told};
use super::nodes::{Nodes, is_damage, pack_of, store_error};
use super::packs::{Packs, visit_extents};
use super::pages::ReadBackError;
use super::replay::Replayer;
use super::restore::{Plan, visit};
use crate::progress::{Cancel, Meter};

/// How much of an entry's content is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// What lies in packs that were found damaged, to know whether the damage is there.
    Doubtful,
    /// Every byte.
    All,
}

/// What stands in the way of an entry, and the packs that are to blame.
struct Fault {
    reason: String,
    packs: Vec<PackName>,
}

/// How an entry stands.
enum Standing {
    /// What stands in its way is known, if anything does.
    Known(Option<Fault>),
    /// Its bytes are to be read.
    File {
        content: ContentId,
        extents: Vec<Extent>,
    },
    /// Its pages are to be read.
    Database,
}

/// Checks entries, and remembers which packs were found damaged.
pub(crate) struct Checker<'a> {
    access: &'a Access,
    keyring: Arc<Keyring>,
    packs: Packs,
    fetcher: Fetcher,
    /// For copies of databases, sealed.
    folder: PathBuf,
    cancel: &'a Cancel,
    /// Packs that are missing or damaged, and what is wrong with each.
    pub(crate) damaged: BTreeMap<PackName, String>,
    /// Packs that the backups so far need.
    pub(crate) needed: BTreeSet<PackName>,
    tried: HashMap<Extent, Option<String>>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        access: &'a Access,
        keyring: Arc<Keyring>,
        folder: PathBuf,
        cancel: &'a Cancel,
    ) -> Result<Self, RestoreError> {
        let fetcher = Fetcher::new(Arc::clone(&access.store), Arc::clone(&keyring));
        Ok(Self {
            packs: Packs::of(access.store.as_ref())?,
            fetcher: fetcher.until(access.called_off.clone()),
            access,
            keyring,
            folder,
            cancel,
            damaged: BTreeMap::new(),
            needed: BTreeSet::new(),
            tried: HashMap::new(),
        })
    }

    /// The packs of the store, and their lengths.
    pub(crate) fn packs(&self) -> &Packs {
        &self.packs
    }

    /// Reads a pack in whole, whatever it holds and whoever needs it.
    pub(crate) fn pack(&mut self, pack: PackName) -> Result<(), RestoreError> {
        if self.cancel.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        if let Some(reason) = Packs::read(self.access.store.as_ref(), pack, &self.keyring)? {
            self.damaged.insert(pack, reason);
        }
        Ok(())
    }

    /// Compares the length of every pack that the backups so far need with what its start says, and returns whether more
    /// of them were found damaged. What is needed of these may be there.
    pub(crate) fn lengths(&mut self) -> Result<bool, RestoreError> {
        let known = self.damaged.len();
        let mut faults = Vec::new();
        let mut take = |checked: Result<(), FetchError>| {
            if let Err(error) = checked {
                faults.push(content_fault(error)?);
            }
            Ok::<_, RestoreError>(())
        };
        std::thread::scope(|scope| {
            let readers = [(); crew::SIZE].map(|()| LengthReader(self.fetcher.clone()));
            let mut readers = Crew::start(scope, readers);
            for pack in &self.needed {
                if self.cancel.is_cancelled() {
                    return Err(RestoreError::Cancelled);
                }
                // One that is not there has been missed by who needs it.
                if let Some(len) = self.packs.len(pack)
                    && !self.damaged.contains_key(pack)
                {
                    readers.send((*pack, len));
                }
                readers.ready().try_for_each(&mut take)?;
            }
            readers.finish().try_for_each(&mut take)
        })?;
        for Fault { reason, packs } in faults {
            let packs = packs.into_iter().map(|pack| (pack, reason.clone()));
            self.damaged.extend(packs);
        }
        Ok(self.damaged.len() > known)
    }

    /// Checks every entry of a backup, and names what cannot be brought back.
    pub(crate) fn backup(
        &mut self,
        root: Option<NodeRef>,
        reading: Reading,
        nodes: &mut Nodes<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<Vec<Lost>, RestoreError> {
        let plan = Plan {
            root,
            below: None,
            overwrite: false,
            does_without: false,
            cancel: self.cancel,
        };
        let mut lost = Vec::new();
        let readers = [(); crew::SIZE].map(|()| FileReader {
            fetcher: self.fetcher.clone(),
            hasher: self.keyring.content_hasher(),
        });
        // Files are mostly waited for, and pages mostly opened: one is done beside the other.
        let opener = DatabaseReader {
            access: self.access,
            databases: Replayer::new(&self.fetcher, &self.keyring, &self.folder),
            keyring: Arc::clone(&self.keyring),
            folder: self.folder.clone(),
        };
        let visited = std::thread::scope(|scope| {
            let mut files = Crew::start(scope, readers);
            let mut databases = Crew::start(scope, [opener]);
            let mut strays = Strays::default();
            let visited = visit(&plan, nodes, &mut |key, entry, nodes| {
                if self.cancel.is_cancelled() {
                    return Err(RestoreError::Cancelled);
                }
                let bytes = match &entry {
                    FileEntry::File { stat, .. } => stat.size,
                    FileEntry::Database { pages, .. } => pages.image_len(),
                    FileEntry::Dir { .. } | FileEntry::Symlink { .. } => return Ok(()),
                };
                // A restore leaves it out.
                let standing = if strays.meets(&key, &entry) {
                    let (reason, packs) = (STRAY.to_owned(), Vec::new());
                    Standing::Known(Some(Fault { reason, packs }))
                } else {
                    self.entry(&entry, reading, nodes)?
                };
                match standing {
                    Standing::Known(fault) => {
                        if reading == Reading::All {
                            meter.add(1, bytes);
                        }
                        let fault = Ok(fault);
                        self.take(Checked { key, bytes, fault }, &mut lost)?;
                    }
                    Standing::File { content, extents } => files.send(FileJob {
                        key,
                        bytes,
                        content,
                        extents,
                    }),
                    Standing::Database => databases.send(DatabaseJob { key, bytes, entry }),
                }
                files
                    .ready()
                    .chain(databases.ready())
                    .try_for_each(|checked| {
                        meter.add(1, checked.bytes);
                        self.take(checked, &mut lost)
                    })
            });
            let left = files.finish().chain(databases.finish());
            left.fold(visited, |visited, checked| {
                meter.add(1, checked.bytes);
                let taken = self.take(checked, &mut lost);
                visited.and_then(|gaps| taken.map(|()| gaps))
            })
        });
        self.needed.extend(nodes.take_asked());
        match visited {
            Ok(gaps) => {
                self.blame(&gaps);
                lost.extend(Lost::stretches(&gaps));
                lost.sort_by(|one, other| one.path.cmp(&other.path));
                Ok(lost)
            }
            Err(RestoreError::Index(cause)) if is_damage(&cause) => {
                let reason = told(&cause);
                if let Some(pack) = pack_of(&cause) {
                    self.damaged.insert(pack, reason.clone());
                }
                Ok(vec![Lost {
                    path: PathBuf::new(),
                    part: LostPart::All,
                    reason,
                    remedy: Remedy::Stop,
                }])
            }
            Err(error) => Err(error),
        }
    }

    fn blame(&mut self, gaps: &Gaps) {
        for (_, cause) in gaps.values() {
            if let Some(pack) = pack_of(cause) {
                self.damaged.entry(pack).or_insert_with(|| told(cause));
            }
        }
    }

    /// Takes what was found of an entry.
    fn take(&mut self, checked: Checked, lost: &mut Vec<Lost>) -> Result<(), RestoreError> {
        let Checked { key, bytes, fault } = checked;
        if let Some(Fault { reason, packs }) = fault? {
            for pack in packs {
                self.damaged.entry(pack).or_insert_with(|| reason.clone());
            }
            lost.push(Lost::file(&key, bytes, reason));
        }
        Ok(())
    }

    /// What stands in the way of an entry, or what of it a reader is to read.
    fn entry(
        &mut self,
        entry: &FileEntry,
        reading: Reading,
        nodes: &mut Nodes<'_>,
    ) -> Result<Standing, RestoreError> {
        let (mut gone, mut doubted) = (None, Vec::new());
        let visited = visit_extents(entry, nodes, &mut |extent| {
            self.needed.insert(extent.pack);
            if let Some(reason) = self.packs.absence(&extent.pack) {
                let packs = vec![extent.pack];
                gone.get_or_insert(Fault { reason, packs });
                return;
            }
            if let Some(reason) = self.packs.misfit(&extent.pack) {
                self.damaged.entry(extent.pack).or_insert(reason);
            }
            if self.damaged.contains_key(&extent.pack) {
                doubted.push(*extent);
            }
        });
        let fault = match (visited, gone, reading, entry) {
            (Err(cause), ..) => Some(index_fault(entry, cause)?),
            (Ok(()), Some(gone), ..) => Some(gone),
            (Ok(()), None, Reading::Doubtful, _) => self.doubtful(entry, &doubted)?,
            (
                Ok(()),
                None,
                Reading::All,
                FileEntry::File {
                    content,
                    stat,
                    extents,
                },
            ) => match extents.load(stat.size, nodes) {
                Ok(extents) => {
                    let content = *content;
                    return Ok(Standing::File { content, extents });
                }
                Err(cause) => Some(index_fault(entry, cause)?),
            },
            (Ok(()), None, Reading::All, FileEntry::Database { .. }) => {
                return Ok(Standing::Database);
            }
            (Ok(()), None, Reading::All, FileEntry::Dir { .. } | FileEntry::Symlink { .. }) => None,
        };
        Ok(Standing::Known(fault))
    }

    /// Opens what lies in packs that were found damaged: the damage may be elsewhere in them.
    fn doubtful(
        &mut self,
        entry: &FileEntry,
        doubted: &[Extent],
    ) -> Result<Option<Fault>, RestoreError> {
        let kind = match entry {
            FileEntry::Database { .. } => PackKind::Messages,
            FileEntry::File { .. } | FileEntry::Dir { .. } | FileEntry::Symlink { .. } => {
                PackKind::Media
            }
        };
        for extent in doubted {
            let reason = match self.tried.get(extent) {
                Some(reason) => reason.clone(),
                None => {
                    let read = pieces(&[*extent])
                        .try_for_each(|piece| self.fetcher.extent(&piece, kind).map(drop));
                    let fault = read.err().map(content_fault).transpose()?;
                    let reason = fault.map(|fault| fault.reason);
                    self.tried.insert(*extent, reason.clone());
                    reason
                }
            };
            if let Some(reason) = reason {
                let packs = vec![extent.pack];
                return Ok(Some(Fault { reason, packs }));
            }
        }
        Ok(None)
    }
}

/// A file whose bytes are to be read.
struct FileJob {
    key: Key,
    bytes: u64,
    content: ContentId,
    extents: Vec<Extent>,
}

/// A database whose pages are to be read.
struct DatabaseJob {
    key: Key,
    bytes: u64,
    entry: FileEntry,
}

/// What was found of a file or a database.
struct Checked {
    key: Key,
    bytes: u64,
    fault: Result<Option<Fault>, RestoreError>,
}

/// Reads the starts of packs.
struct LengthReader(Fetcher);

impl Worker for LengthReader {
    type Job = (PackName, u64);
    type Answer = Result<(), FetchError>;

    fn extents(_: &Self::Job) -> &[Extent] {
        &[]
    }

    fn expect(&mut self, _: Option<Extent>) {}

    fn work(&mut self, (pack, len): Self::Job) -> Self::Answer {
        self.0.expect_len(pack, len)
    }
}

/// Reads files.
struct FileReader {
    fetcher: Fetcher,
    hasher: ContentHasher,
}

impl Worker for FileReader {
    type Job = FileJob;
    type Answer = Checked;

    fn extents(job: &FileJob) -> &[Extent] {
        &job.extents
    }

    fn expect(&mut self, run: Option<Extent>) {
        self.fetcher.expect(run);
    }

    fn work(&mut self, job: FileJob) -> Checked {
        let fault = self.read(&job);
        let FileJob { key, bytes, .. } = job;
        Checked { key, bytes, fault }
    }
}

impl FileReader {
    fn read(&mut self, job: &FileJob) -> Result<Option<Fault>, RestoreError> {
        let mut hasher = self.hasher.clone();
        for extent in pieces(&job.extents) {
            match self.fetcher.extent(&extent, PackKind::Media) {
                Ok(bytes) => hasher.update(bytes),
                Err(error) => return content_fault(error).map(Some),
            }
        }
        if hasher.finish() == job.content {
            return Ok(None);
        }
        Ok(Some(Fault {
            reason: "its bytes are not those that were backed up".to_owned(),
            packs: job.extents.iter().map(|extent| extent.pack).collect(),
        }))
    }
}

/// Reads databases, each with as many threads as there are.
struct DatabaseReader<'a> {
    access: &'a Access,
    keyring: Arc<Keyring>,
    databases: Replayer,
    /// For copies of databases, sealed.
    folder: PathBuf,
}

impl Worker for DatabaseReader<'_> {
    type Job = DatabaseJob;
    type Answer = Checked;

    fn extents(_: &DatabaseJob) -> &[Extent] {
        &[]
    }

    fn expect(&mut self, _: Option<Extent>) {}

    fn work(&mut self, job: DatabaseJob) -> Checked {
        let fault = self.read(&job.entry);
        let DatabaseJob { key, bytes, .. } = job;
        Checked { key, bytes, fault }
    }
}

impl DatabaseReader<'_> {
    /// Reads every page of a database.
    fn read(&self, entry: &FileEntry) -> Result<Option<Fault>, RestoreError> {
        let FileEntry::Database { pages, rows, .. } = entry else {
            return Ok(None);
        };
        let (store, keyring) = (Arc::clone(&self.access.store), Arc::clone(&self.keyring));
        let nodes = Nodes::new(store, keyring, self.access.cache.as_deref());
        let nodes = &mut nodes.map_err(NodeError::from)?;
        let read = match rows {
            None => self.databases.frames.scatter(pages, nodes, &|_, _| Ok(())),
            // Patches prove themselves only one upon the other.
            Some(rows) => {
                let replayed = self.databases.replay(pages, rows, nodes, |_| Ok(()));
                replayed.map(drop)
            }
        };
        match read {
            Ok(()) => Ok(None),
            Err(ReadBackError::Fetch(error)) => content_fault(error).map(Some),
            Err(ReadBackError::Node(cause)) => index_fault(entry, cause).map(Some),
            // The disk of this device, not the store.
            Err(ReadBackError::Write(cause) | ReadBackError::Rows(RowsError::Sealed(cause))) => {
                Err(RestoreError::Target {
                    path: self.folder.clone(),
                    cause,
                })
            }
            Err(error @ ReadBackError::Rows(_)) => {
                let mut packs = BTreeSet::new();
                let visited = visit_extents(entry, nodes, &mut |extent| {
                    packs.insert(extent.pack);
                });
                Ok(Some(match visited {
                    Ok(()) => Fault {
                        reason: told(&error),
                        packs: packs.into_iter().collect(),
                    },
                    Err(cause) => index_fault(entry, cause)?,
                }))
            }
        }
    }
}

/// What an extent that cannot be read means: a fault of the entry, or the end of the run.
fn content_fault(error: FetchError) -> Result<Fault, RestoreError> {
    match error {
        FetchError::Store(cause) if ends_the_run(&cause) => Err(cause.into()),
        error @ (FetchError::Store(_) | FetchError::Damaged { .. }) => Ok(Fault {
            reason: told(&error),
            packs: error.pack().into_iter().collect(),
        }),
    }
}

/// The same for the parts of the index that belong to the entry alone.
fn index_fault(entry: &FileEntry, cause: NodeError) -> Result<Fault, RestoreError> {
    if store_error(&cause).is_some_and(ends_the_run) {
        return Err(cause.into());
    }
    let packs = match (pack_of(&cause), entry) {
        (Some(pack), _) => vec![pack],
        (None, FileEntry::File { extents, .. }) => match extents {
            ExtentList::Far { root, .. } => vec![root.extent.pack],
            ExtentList::Inline(_) => Vec::new(),
        },
        (None, FileEntry::Database { pages, rows, .. }) => {
            let roots = pages.root().into_iter().chain(rows);
            roots.map(|root| root.extent.pack).collect()
        }
        (None, FileEntry::Dir { .. } | FileEntry::Symlink { .. }) => Vec::new(),
    };
    let reason = told(&cause);
    Ok(Fault { reason, packs })
}
