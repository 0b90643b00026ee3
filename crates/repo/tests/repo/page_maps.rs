//! Page maps: BACKUP-1, BACKUP-4.

use std::collections::BTreeSet;

use keyhaven_repo::layout::Extent;
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore};
use keyhaven_repo::page_map::{Leaf, PageDiffer, PageMap};
use keyhaven_repo::vacated::Vacated;
use proptest::prelude::*;

use crate::world::{Memory, noise};

struct Image {
    page_size: u32,
    pages: Vec<Vec<u8>>,
}

impl Image {
    fn new(page_size: u32, pages: u32) -> Self {
        let pages = (0..pages)
            .map(|n| {
                let mut page = vec![(n % 251) as u8; page_size as usize];
                page[..8].copy_from_slice(&u64::from(n).to_le_bytes());
                page
            })
            .collect();
        Self { page_size, pages }
    }

    fn touch(&mut self, page: usize, seed: u64) {
        let len = self.pages[page].len();
        self.pages[page] = noise(seed, len);
    }

    /// Makes the map, and says how many pages were stored.
    fn map(&self, old: Option<PageMap>, store: &mut Memory) -> (PageMap, u32) {
        self.map_out_of(Vacated::default(), old, store)
    }

    fn map_out_of(
        &self,
        vacated: Vacated,
        old: Option<PageMap>,
        store: &mut Memory,
    ) -> (PageMap, u32) {
        let count = self.pages.len() as u32;
        let differ = PageDiffer::new(&store.keyring, old, self.page_size, count).unwrap();
        let mut differ = differ.vacating(vacated);
        for page in &self.pages {
            differ.feed(page, store).unwrap();
        }
        let changed = differ.changed();
        (differ.finish(store).unwrap(), changed)
    }
}

/// Reads all pages back as a restore does: leaf by leaf, frame by frame.
fn restore(map: &PageMap, store: &mut Memory) -> Vec<Vec<u8>> {
    let key = store.keyring.page_key();
    let mut out = vec![Vec::new(); map.page_count() as usize];
    for index in 0..map.leaves() {
        let leaf = map.leaf(index, store).unwrap();
        for used in leaf.frames() {
            let raw = store.frame(&used.frame.extent, used.raw_len());
            let mut runs = 0;
            for run in used.runs(&raw, &key) {
                let (offset, bytes) = run.unwrap();
                let page_bytes = map.page_size() as usize;
                let first = offset as usize / page_bytes;
                assert_eq!(offset as usize % page_bytes, 0);
                for (page, out) in bytes.chunks(page_bytes).zip(&mut out[first..]) {
                    assert!(out.is_empty(), "each page is handed out once");
                    *out = page.to_vec();
                }
                runs += 1;
            }
            assert!(runs <= used.pages.len());
        }
    }
    let mut hasher = store.keyring.content_hasher();
    out.iter().for_each(|page| hasher.update(page));
    assert_eq!(hasher.finish(), *map.image());
    out
}

/// BACKUP-1, for every page size of SQLite.
#[test]
fn an_image_comes_back_page_by_page() {
    for shift in 9..=16 {
        let mut store = Memory::new();
        let image = Image::new(1 << shift, 2100);
        let (map, changed) = image.map(None, &mut store);
        assert_eq!(changed, 2100);
        assert!(restore(&map, &mut store) == image.pages);
        let (again, changed) = image.map(Some(map), &mut store);
        assert_eq!(
            (again, changed),
            (map, 0),
            "an unchanged image has the same map"
        );
    }
}

#[test]
fn only_what_changed_is_stored() {
    let mut store = Memory::new();
    let mut image = Image::new(512, 2048 * 5 + 17);
    let (map, _) = image.map(None, &mut store);
    (store.saved, store.frames) = (0, 0);
    image.touch(0, 1);
    image.touch(2047, 2);
    image.touch(2048 * 3 + 5, 3);
    let (changed, count) = image.map(Some(map), &mut store);
    assert_eq!(count, 3);
    assert_eq!(store.frames, 2, "one frame for each leaf that changed");
    assert_eq!(store.saved, 3, "two leaves and the root");
    assert!(restore(&changed, &mut store) == image.pages);
}

/// Notes where everything lies that a map refers to.
struct Noting<'a>(&'a mut Memory, BTreeSet<Extent>);

impl NodeStore for Noting<'_> {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        self.1.insert(node.extent);
        self.0.load(node)
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        self.0.save(kind, raw)
    }
}

fn extents(map: &PageMap, store: &mut Memory) -> BTreeSet<Extent> {
    let mut noting = Noting(store, BTreeSet::new());
    for index in 0..map.leaves() {
        let frames = map.leaf(index, &mut noting).unwrap().frames();
        noting.1.extend(frames.iter().map(|used| used.frame.extent));
    }
    noting.1
}

/// BACKUP-1: what lies in a pack that is emptied is stored again, a page as well as a node of either level; the rest is taken
/// over, and the pages are the same.
#[test]
fn a_pack_is_emptied_of_pages_and_nodes_and_of_nothing_else() {
    let mut store = Memory::new();
    let mut image = Image::new(512, 2048 * 3);
    let (mut map, _) = image.map(None, &mut store);
    for day in 0..20 {
        image.touch(day * 300, day as u64);
        map = image.map(Some(map), &mut store).0;
    }
    let before = extents(&map, &mut store);
    let packs: BTreeSet<_> = before.iter().map(|extent| extent.pack).collect();
    assert_eq!(packs.len(), 7);
    for pack in packs {
        let vacated = Vacated::new(BTreeSet::from([pack]));
        let last = store
            .stored
            .keys()
            .map(|extent| extent.offset)
            .max()
            .unwrap();
        let (moved, stored) = image.map_out_of(vacated.clone(), Some(map), &mut store);
        assert!(stored > 0 && stored < 2048 * 3, "{stored}");
        assert!(restore(&moved, &mut store) == image.pages);
        for extent in extents(&moved, &mut store) {
            let is_new = extent.offset > last;
            assert!(
                is_new || before.contains(&extent) && !vacated.holds(&extent),
                "{extent:?}"
            );
        }
    }
    let nodes: BTreeSet<_> = extents(&map, &mut store);
    assert_eq!(nodes, before);
    let (same, stored) = image.map_out_of(Vacated::default(), Some(map), &mut store);
    assert_eq!((same, stored), (map, 0));
}

#[test]
fn an_image_that_grows_and_shrinks_is_followed() {
    let mut store = Memory::new();
    let mut map = None;
    for pages in [1, 2047, 2048, 2049, 0, 5000, 4096, 1] {
        let image = Image::new(512, pages);
        let (now, _) = image.map(map, &mut store);
        assert!(restore(&now, &mut store) == image.pages, "{pages}");
        assert_eq!(now.root().is_some(), pages > 0);
        map = Some(now);
    }
}

#[test]
fn a_tree_of_three_levels_is_read_and_rewritten_along_one_path() {
    let mut store = Memory::new();
    let mut image = Image::new(512, 2048 * 257 + 1);
    let (map, _) = image.map(None, &mut store);
    assert_eq!(map.leaves(), 258);
    store.saved = 0;
    image.touch(2048 * 200, 1);
    let (changed, _) = image.map(Some(map), &mut store);
    assert_eq!(store.saved, 3, "leaf, its parent, the root");
    let leaf = changed
        .leaf(Leaf::index_of(2048 * 200 + 1), &mut store)
        .unwrap();
    let used = leaf.locate(2048 * 200 + 1).unwrap();
    let raw = store.frame(&used.frame.extent, used.raw_len());
    let page = used
        .page(&used.pages[0], &raw, &store.keyring.page_key())
        .unwrap();
    assert!(page == image.pages[2048 * 200]);
    assert!(changed.leaf(258, &mut store).is_err());
}

#[test]
fn another_page_size_is_a_new_base() {
    let mut store = Memory::new();
    let (map, _) = Image::new(4096, 10).map(None, &mut store);
    let differ = PageDiffer::new(&store.keyring, Some(map), 8192, 5).unwrap();
    assert!(differ.is_new_base());
    assert!(PageDiffer::new(&store.keyring, None, 4095, 1).is_err());
}

#[test]
fn a_leaf_spread_over_too_many_frames_is_stored_anew() {
    let mut store = Memory::new();
    let mut image = Image::new(512, 2048);
    let (mut map, _) = image.map(None, &mut store);
    let mut anew = 0;
    for day in 0..600 {
        image.touch(day * 3, day as u64);
        let (next, changed) = image.map(Some(map), &mut store);
        let frames = next.leaf(0, &mut store).unwrap().frames().len();
        assert!(frames <= 262, "{frames}");
        anew += usize::from(changed == 2048);
        map = next;
    }
    assert_eq!(anew, 2, "once in some hundred days");
    assert!(restore(&map, &mut store) == image.pages);
}

/// BACKUP-4: a page that is not the one backed up is an error, never a page.
#[test]
fn an_altered_page_is_noticed() {
    let mut store = Memory::new();
    let (map, _) = Image::new(512, 3).map(None, &mut store);
    let leaf = map.leaf(0, &mut store).unwrap();
    let used = &leaf.frames()[0];
    let mut raw = store.frame(&used.frame.extent, used.raw_len());
    raw[512] ^= 1;
    let key = store.keyring.page_key();
    assert!(used.page(&used.pages[0], &raw, &key).is_ok());
    assert_eq!(
        used.page(&used.pages[1], &raw, &key).unwrap_err().outcome(),
        "page-altered"
    );
    assert!(used.page(&used.pages[2], &raw[..1100], &key).is_err());
    // All three lie side by side: none of a run is handed out before all of it has been checked.
    let runs: Vec<_> = used.runs(&raw, &key).collect();
    assert!(matches!(runs.as_slice(), [Err(NodeError::PageAltered)]));
    raw[512] ^= 1;
    let runs: Vec<_> = used.runs(&raw, &key).collect();
    assert!(matches!(runs.as_slice(), [Ok((0, bytes))] if *bytes == raw));
}

#[test]
fn pages_out_of_turn_are_refused() {
    let mut store = Memory::new();
    let mut differ = PageDiffer::new(&store.keyring, None, 512, 2).unwrap();
    assert_eq!(
        differ.feed(&[0; 511], &mut store).unwrap_err().outcome(),
        "page-out-of-turn"
    );
    differ.feed(&[0; 512], &mut store).unwrap();
    differ.feed(&[0; 512], &mut store).unwrap();
    assert!(differ.feed(&[0; 512], &mut store).is_err());
    assert!(differ.finish(&mut store).is_ok());
    let early = PageDiffer::new(&store.keyring, None, 512, 2).unwrap();
    assert_eq!(
        early.finish(&mut store).unwrap_err().outcome(),
        "page-out-of-turn"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A1: a flipped bit or a cut in a leaf of a writer with the keys never panics, and what is then
    /// read is refused or stays within its frames.
    #[test]
    fn altered_leaves_never_panic(at: prop::sample::Index, bit in 0_u8..8, cut: bool) {
        let mut store = Memory::new();
        let (map, _) = Image::new(512, 700).map(None, &mut store);
        let mut raw = store.raw(map.root().unwrap());
        let at = at.index(raw.len());
        if cut {
            raw.truncate(at);
        } else {
            raw[at] ^= 1 << bit;
        }
        let forged = store.forge(&raw);
        let map = PageMap::new(512, 700, Some(forged), *map.image()).unwrap();
        if let Ok(leaf) = map.leaf(0, &mut store) {
            prop_assert!(!cut);
            let key = store.keyring.page_key();
            for used in leaf.frames() {
                prop_assert!(used.raw_len() <= 256 * 1024);
                let raw = vec![0xee; used.raw_len() as usize];
                for page in &used.pages {
                    prop_assert!(used.page(page, &raw, &key).is_err());
                }
            }
        }
    }

    #[test]
    fn any_run_of_days_comes_back(
        days in proptest::collection::vec((1_u32..5000, proptest::collection::vec(0_usize..5000, 0..40)), 1..5)
    ) {
        let mut store = Memory::new();
        let mut map = None;
        for (day, (pages, touched)) in days.into_iter().enumerate() {
            let mut image = Image::new(512, pages);
            for page in touched {
                image.touch(page % pages as usize, day as u64);
            }
            let (next, _) = image.map(map, &mut store);
            prop_assert!(restore(&next, &mut store) == image.pages);
            map = Some(next);
        }
    }
}
