//! The packs of a store, as it lists them and as far as they were looked into: what may be referred to without sending it again.

use std::collections::{BTreeMap, BTreeSet};

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::{Extent, SizeClass};
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::NodeError;
use keyhaven_repo::pack::{OpenPack, PackError, PackKind, PackReader};
use keyhaven_repo::rows::load_patches;

use super::fetch::FetchError;
use super::lost::{ends_the_run, told};
use super::nodes::Nodes;
use super::outbox::{packs_folder, path_of};
use crate::progress::Cancel;
use crate::store::{Store, StoreError};

/// The packs of a store, with their lengths.
pub(crate) struct Packs {
    listed: BTreeMap<PackName, u64>,
    /// What is wrong with those that were looked into and are not what was written.
    damaged: BTreeMap<PackName, String>,
}

impl Packs {
    /// Lists them.
    pub(crate) fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let mut listed = BTreeMap::new();
        for object in store.list(&packs_folder())? {
            if let Ok(name) = PackName::parse_path(object.path.as_str()) {
                listed.insert(name, object.len);
            }
        }
        Ok(Self {
            listed,
            damaged: BTreeMap::new(),
        })
    }

    /// Reads the start of every pack, some 2 KiB: whether it is this pack, whole, and of this store and key. One that was
    /// exchanged for another is found so; what lies further in is not looked at. Cancelled, it ends early.
    pub(crate) fn read_starts(
        &mut self,
        store: &dyn Store,
        keyring: &Keyring,
        cancel: &Cancel,
    ) -> Result<(), StoreError> {
        for &pack in self.listed.keys() {
            if cancel.is_cancelled() {
                break;
            }
            let range = Some(0..PackReader::HEADER_BYTES);
            let fault = match store.get(&path_of(&pack.path()), range) {
                Ok(start) => wrong_start(pack, keyring, &start).map(|cause| cause.to_string()),
                Err(error) if ends_the_run(&error) => return Err(error),
                Err(error) => Some(error.to_string()),
            };
            if let Some(cause) = fault {
                let fault = format!("pack {pack} is damaged or was exchanged: {cause}");
                self.damaged.insert(pack, fault);
            }
        }
        Ok(())
    }

    /// Reads a pack in whole, whatever it holds, and says what is wrong with it.
    pub(crate) fn read(
        store: &dyn Store,
        pack: PackName,
        keyring: &Keyring,
    ) -> Result<Option<String>, StoreError> {
        let found = match store.get(&path_of(&pack.path()), None) {
            Ok(object) => OpenPack::open_any(pack, keyring, object)
                .map(drop)
                .map_err(|cause| FetchError::Damaged { pack, cause }),
            Err(cause) if ends_the_run(&cause) => return Err(cause),
            Err(cause) => Err(cause.into()),
        };
        Ok(found.err().map(|error| told(&error)))
    }

    /// Reads these in whole: from now on those that are damaged have a fault. Cancelled, it ends early.
    pub(crate) fn read_suspects(
        &mut self,
        store: &dyn Store,
        suspects: &BTreeSet<PackName>,
        keyring: &Keyring,
        cancel: &Cancel,
    ) -> Result<(), StoreError> {
        for pack in suspects {
            if cancel.is_cancelled() {
                break;
            }
            if let Some(reason) = Self::read(store, *pack, keyring)? {
                self.damaged.insert(*pack, reason);
            }
        }
        Ok(())
    }

    /// Every pack with its length, in the order of names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PackName, u64)> {
        self.listed.iter().map(|(name, len)| (*name, *len))
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &PackName> {
        self.listed.keys()
    }

    /// The length of a pack, if it is there.
    pub(crate) fn len(&self, pack: &PackName) -> Option<u64> {
        self.listed.get(pack).copied()
    }

    /// Why nothing of a pack can be read, as far as a listing tells.
    pub(crate) fn absence(&self, pack: &PackName) -> Option<String> {
        let is_there = self.listed.contains_key(pack);
        (!is_there).then(|| format!("pack {pack} is missing from the store"))
    }

    /// Why a pack that is there is not whole, as far as a listing tells. What is needed of it may be there.
    pub(crate) fn misfit(&self, pack: &PackName) -> Option<String> {
        let len = self.len(pack)?;
        let fits = SizeClass::of_object(len).is_some();
        (!fits).then(|| format!("pack {pack} has {len} bytes, which no pack has"))
    }

    /// Why a pack is not to be referred to: what a listing tells, and what was read of it.
    pub(crate) fn fault(&self, pack: &PackName) -> Option<String> {
        self.absence(pack)
            .or_else(|| self.misfit(pack))
            .or_else(|| self.damaged.get(pack).cloned())
    }
}

/// Why this is not the start of that pack, of whichever kind.
fn wrong_start(pack: PackName, keyring: &Keyring, start: &[u8]) -> Option<PackError> {
    let mut fault = None;
    for kind in PackKind::ALL {
        fault = Some(PackReader::new(pack, kind, keyring, start).err()?);
    }
    fault
}

/// Says where the content of an entry lies, extent by extent: a large database has more of them than need be held.
pub(crate) fn visit_extents(
    entry: &FileEntry,
    nodes: &mut Nodes<'_>,
    each: &mut dyn FnMut(&Extent),
) -> Result<(), NodeError> {
    match entry {
        FileEntry::File { stat, extents, .. } => {
            extents.load(stat.size, nodes)?.iter().for_each(each);
        }
        FileEntry::Database { pages, rows, .. } => {
            if let Some(rows) = rows {
                let patches = load_patches(rows, nodes)?;
                let frames = patches.iter().flat_map(|patch| &patch.frames);
                frames.for_each(|frame| each(&frame.extent));
            }
            for index in 0..pages.leaves() {
                let leaf = pages.leaf(index, nodes)?;
                leaf.frames()
                    .iter()
                    .for_each(|used| each(&used.frame.extent));
            }
        }
        FileEntry::Dir { .. } | FileEntry::Symlink { .. } => {}
    }
    Ok(())
}
