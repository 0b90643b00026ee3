//! Reading a backup back and checking it.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::pack::PackKind;

use crate::engine::error::RestoreError;
use crate::engine::fetch::{FetchError, Fetcher};
use crate::engine::history::Access;
use crate::engine::nodes::store_error;
use crate::engine::packs::{Packs, extents_of};
use crate::engine::pages::{FrameReader, ReadBackError};
use crate::engine::replay::replay;
use crate::engine::restore::{Lost, Plan, ends_the_run, measure, told as in_full, visit};
use crate::haven::{Keyhaven, SnapshotInfo};
use crate::progress::{Cancel, Meter, Observer, Phase};
use crate::restore::reader;
use crate::store::patience::CalledOff;

/// How much is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The whole index, and that every object it names is there with a length that it may have.
    Structure,
    /// Every byte of the snapshot.
    All,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// Files and databases that were checked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What cannot be brought back whole.
    pub lost: Vec<Lost>,
    /// Snapshots that are in the store and do not open.
    pub damaged_snapshots: u64,
    /// Objects in the store that this snapshot does not need: those of others, and what interrupted
    /// runs left.
    pub other_objects: u64,
}

impl Keyhaven {
    /// Verifies a snapshot: the newest, or the one whose name begins so.
    ///
    /// # Errors
    /// [`RestoreError`] if the verification cannot come to its end; what it finds is in the report.
    pub fn verify(
        &self,
        depth: Depth,
        snapshot: Option<&str>,
        cancel: &Cancel,
        observer: &mut dyn Observer,
    ) -> Result<VerifyReport, RestoreError> {
        // What is kept on this device proves nothing about the store.
        let called_off = cancel.clone();
        let called_off = CalledOff::when(move || called_off.is_cancelled());
        let access = Access {
            cache: None,
            ..self.access(called_off)?
        };
        let chosen = self.choose(&access, snapshot, None)?;
        let damaged_snapshots = access.load()?.damaged.len();
        let (mut nodes, keyring) = reader(&access, &chosen)?;
        let mut meter = Meter::new(observer);
        let root = chosen.open.snapshot.root;
        let plan = Plan {
            root,
            below: None,
            overwrite: false,
            cancel,
        };
        let measure = measure(&plan, &mut nodes)
            .map_err(|cause| self.without_root(&access, &chosen.info, cause))?;
        let (files, bytes) = (measure.files, measure.bytes);
        meter.begin(Phase::Verify, files, bytes);

        let stored = Packs::of(access.store.as_ref())?;
        let mut needed = BTreeSet::new();
        let mut lost = Vec::new();
        let fetcher = || Fetcher::new(Arc::clone(&access.store), Arc::clone(&keyring));
        let mut media = fetcher();
        let mut frames = FrameReader::new(fetcher(), Arc::clone(&keyring))?;
        let gaps = visit(&plan, &mut nodes, &mut |key, entry, nodes| {
            if cancel.is_cancelled() {
                return Err(RestoreError::Cancelled);
            }
            let (extents, mut fault) = readable(extents_of(&entry, nodes))?;
            for extent in &extents {
                needed.insert(extent.pack);
                fault = fault.or_else(|| stored.fault(&extent.pack));
            }
            let bytes = match entry {
                FileEntry::File { stat, content, .. } => {
                    if depth == Depth::All && fault.is_none() {
                        let mut hasher = keyring.content_hasher();
                        for extent in &extents {
                            let read = media.extent(extent, PackKind::Media, |piece| {
                                hasher.update(piece);
                            });
                            fault = fault.or(told(read)?);
                        }
                        if fault.is_none() && hasher.finish() != content {
                            fault = Some("its bytes are not those that were backed up".into());
                        }
                    }
                    stat.size
                }
                FileEntry::Database { pages, rows, .. } => {
                    if depth == Depth::All && fault.is_none() {
                        let read = match &rows {
                            None => frames.scatter(&pages, nodes, &mut |_, _| Ok(())),
                            // Patches prove themselves only one upon the other.
                            Some(rows) => {
                                let place = self.home.state();
                                let keys = &keyring;
                                replay(&pages, rows, &place, &mut frames, &mut media, keys, nodes)
                                    .map(drop)
                            }
                        };
                        match read {
                            Ok(()) => {}
                            Err(ReadBackError::Fetch(error)) => fault = told(Err(error))?,
                            Err(ReadBackError::Node(error)) => {
                                fault = readable::<()>(Err(error))?.1
                            }
                            Err(other) => fault = Some(in_full(&other)),
                        }
                    }
                    pages.image_len()
                }
                FileEntry::Dir { .. } | FileEntry::Symlink { .. } => return Ok(()),
            };
            if let Some(reason) = fault {
                lost.push(Lost::file(&key, bytes, reason));
            }
            meter.add(1, bytes);
            Ok::<_, RestoreError>(())
        })?;
        meter.end();
        lost.extend(Lost::stretches(&gaps));
        lost.sort_by(|one, other| one.path.cmp(&other.path));
        let other_objects = stored
            .names()
            .filter(|pack| !needed.contains(*pack))
            .count();
        Ok(VerifyReport {
            snapshot: chosen.info,
            files,
            bytes,
            lost,
            damaged_snapshots: u64::try_from(damaged_snapshots).unwrap_or(u64::MAX),
            other_objects: u64::try_from(other_objects).unwrap_or(u64::MAX),
        })
    }
}

/// What was read of the index, or the fault of the file that needs it, or the end of the run.
fn readable<T: Default>(read: Result<T, NodeError>) -> Result<(T, Option<String>), RestoreError> {
    match read {
        Ok(read) => Ok((read, None)),
        Err(cause) if store_error(&cause).is_some_and(ends_the_run) => Err(cause.into()),
        Err(cause) => Ok((T::default(), Some(in_full(&cause)))),
    }
}

/// What an extent that cannot be read means: a fault of the file, or the end of the run.
fn told(read: Result<(), FetchError>) -> Result<Option<String>, RestoreError> {
    match read {
        Ok(()) => Ok(None),
        Err(FetchError::Store(cause)) if ends_the_run(&cause) => Err(cause.into()),
        Err(error) => Ok(Some(in_full(&error))),
    }
}
