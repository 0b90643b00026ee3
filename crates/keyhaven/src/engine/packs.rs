//! The packs of a store, as it lists them: what may be referred to without sending it again.

use std::collections::BTreeMap;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::layout::{Extent, SizeClass};
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::rows::load_patches;

use super::nodes::Nodes;
use super::outbox::packs_folder;
use crate::store::{Store, StoreError};

/// The packs of a store, with their lengths.
pub(crate) struct Packs {
    listed: BTreeMap<PackName, u64>,
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
        Ok(Self { listed })
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &PackName> {
        self.listed.keys()
    }

    /// What is wrong with a pack, as far as a listing tells.
    pub(crate) fn fault(&self, pack: &PackName) -> Option<String> {
        match self.listed.get(pack) {
            None => Some(format!("pack {pack} is missing from the store")),
            Some(len) if SizeClass::of_object(*len).is_none() => {
                Some(format!("pack {pack} has {len} bytes, which no pack has"))
            }
            Some(_) => None,
        }
    }
}

/// Where the content of an entry lies.
pub(crate) fn extents_of(
    entry: &FileEntry,
    nodes: &mut Nodes<'_>,
) -> Result<Vec<Extent>, NodeError> {
    match entry {
        FileEntry::File { stat, extents, .. } => extents.load(stat.size, nodes),
        FileEntry::Database { pages, rows, .. } => of_database(pages, rows.as_ref(), nodes),
        FileEntry::Dir { .. } | FileEntry::Symlink { .. } => Ok(Vec::new()),
    }
}

fn of_database(
    pages: &PageMap,
    rows: Option<&NodeRef>,
    nodes: &mut Nodes<'_>,
) -> Result<Vec<Extent>, NodeError> {
    let mut used = Vec::new();
    for patch in rows.map_or(Ok(Vec::new()), |rows| load_patches(rows, nodes))? {
        used.extend(patch.frames.iter().map(|frame| frame.extent));
    }
    for index in 0..pages.leaves() {
        let leaf = pages.leaf(index, nodes)?;
        used.extend(leaf.frames().iter().map(|used| used.frame.extent));
    }
    Ok(used)
}
