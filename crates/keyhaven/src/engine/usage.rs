//! What a backup needs of each pack of its store.
//!
//! One pass over its index finds every extent that it refers to. An extent that several files share counts once. Memory
//! grows by 8 to 16 bytes with each extent and some 100 with each pack: two million files are 32 MB at most.

use std::collections::BTreeMap;

use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::{NodeError, NodeRef};
use keyhaven_repo::pack::PackKind;
use keyhaven_repo::path::Key;
use keyhaven_repo::rows::load_patches;
use keyhaven_repo::tree::Cursor;

use super::nodes::{Nodes, Watched};

/// What a backup needs of one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) kind: PackKind,
    /// Bytes of its extents that the backup refers to.
    pub(crate) live: u64,
    /// Whether something of it stays where it is, whatever this run does.
    pub(crate) is_bound: bool,
}

/// What a backup needs, pack by pack. Of a database that is not `read` in this run, everything stays where it is; so does a
/// patch, which ends with its base.
pub(crate) fn uses(
    root: Option<NodeRef>,
    nodes: &mut Nodes<'_>,
    is_read: &dyn Fn(&Key) -> bool,
) -> Result<BTreeMap<PackName, Use>, NodeError> {
    let mut watched = Watched::new(nodes);
    let mut found = Found::default();
    let mut cursor = Cursor::new(root);
    while let Some((key, entry)) = cursor.next(&mut watched)? {
        found.add_all(watched.met(), PackKind::Index, false);
        match entry {
            FileEntry::File { stat, extents, .. } => {
                let extents = extents.load(stat.size, &mut watched)?;
                found.add_all(watched.met(), PackKind::Index, false);
                found.add_all(extents, PackKind::Media, false);
            }
            FileEntry::Database { pages, rows, .. } => {
                let is_bound = !is_read(&key);
                let rows = rows.map(|rows| load_patches(&rows, &mut watched));
                let patches = rows.transpose()?.unwrap_or_default();
                found.add_all(watched.met(), PackKind::Index, is_bound);
                for patch in patches {
                    let frames = patch.frames.iter().map(|frame| frame.extent);
                    found.add_all(frames, PackKind::Messages, true);
                }
                for index in 0..pages.leaves() {
                    let leaf = pages.leaf(index, &mut watched)?;
                    found.add_all(watched.met(), PackKind::Index, is_bound);
                    let frames = leaf.frames().into_iter().map(|used| used.frame.extent);
                    found.add_all(frames, PackKind::Messages, is_bound);
                }
            }
            FileEntry::Dir { .. } | FileEntry::Symlink { .. } => {}
        }
    }
    Ok(found.total())
}

#[derive(Default)]
struct Found(BTreeMap<PackName, Places>);

impl Found {
    fn add_all(
        &mut self,
        extents: impl IntoIterator<Item = Extent>,
        kind: PackKind,
        is_bound: bool,
    ) {
        for extent in extents {
            self.add(&extent, kind, is_bound);
        }
    }

    fn add(&mut self, extent: &Extent, kind: PackKind, is_bound: bool) {
        let places = self.0.entry(extent.pack).or_insert_with(|| Places {
            kind,
            is_bound: false,
            at: Vec::new(),
            settled: 0,
        });
        places.is_bound |= is_bound;
        places.add(extent);
    }

    fn total(self) -> BTreeMap<PackName, Use> {
        let each = self.0.into_iter();
        each.map(|(pack, places)| (pack, places.total())).collect()
    }
}

/// The extents of one pack that were met.
struct Places {
    kind: PackKind,
    is_bound: bool,
    /// Offset and length; the first `settled` are sorted and each stands there once.
    at: Vec<(u32, u32)>,
    settled: usize,
}

/// Extents that are kept twice before it is worth looking.
const UNSETTLED_MIN: usize = 64;

impl Places {
    fn add(&mut self, extent: &Extent) {
        let is_last = self.at.last() == Some(&(extent.offset, extent.len));
        if is_last {
            return;
        }
        if self.at.len() >= self.settled.saturating_mul(2).max(UNSETTLED_MIN) {
            self.settle();
        }
        self.at.push((extent.offset, extent.len));
    }

    fn settle(&mut self) {
        self.at.sort_unstable();
        self.at.dedup();
        self.settled = self.at.len();
    }

    fn total(mut self) -> Use {
        self.settle();
        let lens = self.at.iter().map(|(_, len)| u64::from(*len));
        Use {
            kind: self.kind,
            live: lens.fold(0, u64::saturating_add),
            is_bound: self.is_bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_that_is_met_often_counts_once() {
        let mut found = Found::default();
        let pack = |byte| PackName::from_bytes([byte; 32]);
        for round in 0..3_u32 {
            for offset in (0..5_000).rev() {
                let extent = Extent {
                    pack: pack(1),
                    offset: offset * 10,
                    len: 7,
                };
                found.add(&extent, PackKind::Media, false);
                assert!(
                    found.0[&pack(1)].at.len() <= 10_000 + UNSETTLED_MIN,
                    "{round}"
                );
            }
        }
        let other = Extent {
            pack: pack(2),
            offset: 0,
            len: 9,
        };
        found.add(&other, PackKind::Index, true);
        found.add(&other, PackKind::Index, false);
        let total = found.total();
        assert_eq!(total[&pack(1)].live, 35_000);
        let use_of = |kind, live, is_bound| Use {
            kind,
            live,
            is_bound,
        };
        assert_eq!(total[&pack(1)], use_of(PackKind::Media, 35_000, false));
        assert_eq!(total[&pack(2)], use_of(PackKind::Index, 9, true));
    }
}
