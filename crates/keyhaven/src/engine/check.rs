//! Holding the entries of a backup against what the store has of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use keyhaven_repo::entry::{ExtentList, FileEntry};
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::pack::PackKind;
use keyhaven_source::rows::RowsError;

use super::error::RestoreError;
use super::fetch::{FetchError, Fetcher};
use super::nodes::{Nodes, is_damage, pack_of, store_error};
use super::packs::{Packs, visit_extents};
use super::pages::{FrameReader, ReadBackError};
use super::replay::replay;
use super::restore::{Gaps, Lost, LostPart, Plan, ends_the_run, told, visit};
use crate::progress::{Cancel, Meter};
use crate::store::Store;

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

/// Checks entries, and remembers which packs were found damaged.
pub(crate) struct Checker<'a> {
    store: &'a Arc<dyn Store>,
    keyring: Arc<Keyring>,
    packs: Packs,
    media: Fetcher,
    frames: FrameReader,
    /// For copies of databases, sealed.
    folder: PathBuf,
    cancel: &'a Cancel,
    /// Packs that are missing or damaged, and what is wrong with each.
    pub(crate) damaged: BTreeMap<PackName, String>,
    /// Packs that the entries so far need.
    pub(crate) needed: BTreeSet<PackName>,
    tried: HashMap<Extent, Option<String>>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        store: &'a Arc<dyn Store>,
        keyring: Arc<Keyring>,
        folder: PathBuf,
        cancel: &'a Cancel,
    ) -> Result<Self, RestoreError> {
        let fetcher = || Fetcher::new(Arc::clone(store), Arc::clone(&keyring));
        Ok(Self {
            packs: Packs::of(store.as_ref())?,
            media: fetcher(),
            frames: FrameReader::new(fetcher(), Arc::clone(&keyring))?,
            store,
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
        if let Some(reason) = Packs::read(self.store.as_ref(), pack, &self.keyring)? {
            self.damaged.insert(pack, reason);
        }
        Ok(())
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
            cancel: self.cancel,
        };
        let mut lost = Vec::new();
        let visited = visit(&plan, nodes, &mut |key, entry, nodes| {
            if self.cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            let bytes = match &entry {
                FileEntry::File { stat, .. } => stat.size,
                FileEntry::Database { pages, .. } => pages.image_len(),
                FileEntry::Dir { .. } | FileEntry::Symlink { .. } => return Ok(()),
            };
            if let Some(reason) = self.entry(&entry, reading, nodes)? {
                lost.push(Lost::file(&key, bytes, reason));
            }
            if reading == Reading::All {
                meter.add(1, bytes);
            }
            Ok(())
        });
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

    /// What stands in the way of an entry.
    fn entry(
        &mut self,
        entry: &FileEntry,
        reading: Reading,
        nodes: &mut Nodes<'_>,
    ) -> Result<Option<String>, RestoreError> {
        let (mut gone, mut doubted) = (None, Vec::new());
        let visited = visit_extents(entry, nodes, &mut |extent| {
            self.needed.insert(extent.pack);
            if let Some(reason) = self.packs.fault(&extent.pack) {
                let packs = vec![extent.pack];
                gone.get_or_insert(Fault { reason, packs });
            } else if self.damaged.contains_key(&extent.pack) {
                doubted.push(*extent);
            }
        });
        let found = match (visited, gone, reading) {
            (Err(cause), _, _) => Some(index_fault(entry, cause)?),
            (Ok(()), Some(gone), _) => Some(gone),
            (Ok(()), None, Reading::Doubtful) => self.doubtful(entry, &doubted)?,
            (Ok(()), None, Reading::All) => self.content(entry, nodes)?,
        };
        Ok(found.map(|fault| {
            for pack in fault.packs {
                let reason = || fault.reason.clone();
                self.damaged.entry(pack).or_insert_with(reason);
            }
            fault.reason
        }))
    }

    /// Reads every byte of an entry.
    fn content(
        &mut self,
        entry: &FileEntry,
        nodes: &mut Nodes<'_>,
    ) -> Result<Option<Fault>, RestoreError> {
        match entry {
            FileEntry::File {
                stat,
                content,
                extents,
            } => {
                let extents = match extents.load(stat.size, nodes) {
                    Ok(extents) => extents,
                    Err(cause) => return index_fault(entry, cause).map(Some),
                };
                let mut hasher = self.keyring.content_hasher();
                for extent in &extents {
                    let read = self.media.extent(extent, PackKind::Media, |piece| {
                        hasher.update(piece);
                    });
                    if let Err(error) = read {
                        return content_fault(error).map(Some);
                    }
                }
                let is_it = hasher.finish() == *content;
                let reason = "its bytes are not those that were backed up".to_owned();
                let packs = extents.iter().map(|extent| extent.pack).collect();
                Ok((!is_it).then_some(Fault { reason, packs }))
            }
            FileEntry::Database { pages, rows, .. } => {
                let read = match rows {
                    None => self.frames.scatter(pages, nodes, &mut |_, _| Ok(())),
                    // Patches prove themselves only one upon the other.
                    Some(rows) => {
                        let (frames, media) = (&mut self.frames, &mut self.media);
                        let (place, keys) = (&self.folder, &self.keyring);
                        replay(pages, rows, place, frames, media, keys, nodes).map(drop)
                    }
                };
                match read {
                    Ok(()) => Ok(None),
                    Err(ReadBackError::Fetch(error)) => content_fault(error).map(Some),
                    Err(ReadBackError::Node(cause)) => index_fault(entry, cause).map(Some),
                    // The disk of this device, not the store.
                    Err(
                        ReadBackError::Write(cause) | ReadBackError::Rows(RowsError::Sealed(cause)),
                    ) => Err(RestoreError::Target {
                        path: self.folder.clone(),
                        cause,
                    }),
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
            FileEntry::Dir { .. } | FileEntry::Symlink { .. } => Ok(None),
        }
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
                    let read = self.media.extent(extent, kind, |_| {});
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
