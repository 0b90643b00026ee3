//! The file tree: BACKUP-1, BACKUP-4 and A12.

use std::collections::BTreeMap;

use keyhaven_repo::entry::{ExtentList, FileEntry, Stat};
use keyhaven_repo::layout::Extent;
use keyhaven_repo::names::PackName;
use keyhaven_repo::node::{NodeRef, NodeStore};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::path::Key;
use keyhaven_repo::tree::{Cursor, TreeWriter, find, update};
use proptest::prelude::*;

use crate::world::{Memory, content};

fn key(text: &str) -> Key {
    Key::parse(text.replace('/', "\0").as_bytes()).unwrap()
}

fn file(size: u32, tag: u8) -> FileEntry {
    let extents = (size > 0).then_some(Extent {
        pack: PackName::from_bytes([tag; 32]),
        offset: 5,
        len: size,
    });
    FileEntry::File {
        stat: Stat {
            size: u64::from(size),
            mtime_ns: -5,
            ctime_ns: i64::MAX,
            inode: u64::MAX,
            device: 3,
            mode: 0o100_644,
        },
        content: content(tag),
        extents: ExtentList::Inline(extents.into_iter().collect()),
    }
}

fn all(root: Option<NodeRef>, nodes: &mut Memory) -> Vec<(Key, FileEntry)> {
    let mut cursor = Cursor::new(root);
    let mut out = Vec::new();
    while let Some(item) = cursor.next(nodes).unwrap() {
        out.push(item);
    }
    out
}

fn photos(count: u32) -> impl Iterator<Item = (Key, Option<FileEntry>)> {
    (0..count).map(|n| {
        (
            key(&format!("media/img-{n:06}.jpg")),
            Some(file(n + 1, n as u8)),
        )
    })
}

#[test]
fn every_kind_of_entry_comes_back() {
    let mut nodes = Memory::new();
    let leaf = nodes.forge(b"stands for a page map");
    let stat = Stat::default();
    let pages = PageMap::new(4096, 9, Some(leaf), content(7)).unwrap();
    let empty = PageMap::new(512, 0, None, content(8)).unwrap();
    let entries = [
        ("a", FileEntry::Dir { stat }),
        (
            "a/db",
            FileEntry::Database {
                stat,
                signature: vec![1, 2, 3],
                pages,
                rows: None,
            },
        ),
        (
            "a/db-by-rows",
            FileEntry::Database {
                stat,
                signature: vec![1],
                pages,
                rows: pages.root().copied(),
            },
        ),
        (
            "a/db0",
            FileEntry::Database {
                stat,
                signature: vec![],
                pages: empty,
                rows: None,
            },
        ),
        ("a/empty", file(0, 1)),
        ("a/file", file(77, 2)),
        (
            "a/link",
            FileEntry::Symlink {
                stat,
                target: b"../../etc/passwd".to_vec(),
            },
        ),
    ];
    let changes = entries
        .iter()
        .map(|(path, entry)| (key(path), Some(entry.clone())));
    let root = update(None, changes, &mut nodes).unwrap();
    let want: Vec<_> = entries
        .iter()
        .map(|(path, entry)| (key(path), entry.clone()))
        .collect();
    assert_eq!(all(root, &mut nodes), want);
    for (path, entry) in &entries {
        assert_eq!(
            find(root, &key(path), &mut nodes).unwrap().as_ref(),
            Some(entry)
        );
    }
    assert_eq!(find(root, &key("a/f"), &mut nodes).unwrap(), None);
    assert_eq!(find(None, &key("a"), &mut nodes).unwrap(), None);
}

#[test]
fn a_days_change_costs_in_proportion_to_the_change() {
    let mut nodes = Memory::new();
    let root = update(None, photos(50_000), &mut nodes).unwrap();
    let whole = nodes.saved;
    assert!(whole > 100);
    (nodes.saved, nodes.loaded) = (0, 0);
    let one = [(key("media/img-025000.jpg"), Some(file(9, 9)))];
    let changed = update(root, one, &mut nodes).unwrap();
    assert!(
        nodes.saved <= 6 && nodes.loaded <= 8,
        "{} {}",
        nodes.saved,
        nodes.loaded
    );
    assert_eq!(
        find(changed, &key("media/img-025000.jpg"), &mut nodes).unwrap(),
        Some(file(9, 9))
    );
    (nodes.saved, nodes.loaded) = (0, 0);
    let more = (0..100).map(|n| {
        (
            key(&format!("media/img-025000.jpg.{n:03}")),
            Some(file(1, 1)),
        )
    });
    let grown = update(changed, more, &mut nodes).unwrap();
    assert!(
        nodes.saved <= 8 && nodes.loaded <= 8,
        "{} {}",
        nodes.saved,
        nodes.loaded
    );
    assert_eq!(all(grown, &mut nodes).len(), 50_100);
}

#[test]
fn nothing_to_do_gives_the_same_tree() {
    let mut nodes = Memory::new();
    let root = update(None, photos(1000), &mut nodes).unwrap();
    nodes.saved = 0;
    assert_eq!(update(root, [], &mut nodes).unwrap(), root);
    assert_eq!(nodes.saved, 0);
    assert_eq!(update(None, [], &mut nodes).unwrap(), None);
}

#[test]
fn a_tree_that_loses_everything_is_empty_again() {
    let mut nodes = Memory::new();
    let root = update(None, photos(5000), &mut nodes).unwrap();
    let gone = photos(5000).map(|(key, _)| (key, None));
    assert_eq!(update(root, gone, &mut nodes).unwrap(), None);
    let most = photos(5000).skip(1).map(|(key, _)| (key, None));
    let one = update(root, most, &mut nodes).unwrap();
    nodes.loaded = 0;
    assert_eq!(all(one, &mut nodes).len(), 1);
    assert_eq!(nodes.loaded, 1, "no tower of nodes is left above one entry");
}

#[test]
fn changes_out_of_order_are_refused() {
    let mut nodes = Memory::new();
    let mut writer = TreeWriter::new(None);
    writer.push(key("b"), Some(file(1, 1)), &mut nodes).unwrap();
    for again in ["b", "a"] {
        let error = writer.push(key(again), None, &mut nodes).unwrap_err();
        assert_eq!(error.outcome(), "changes-unsorted");
    }
}

/// BACKUP-1: nothing is stored that could not be read again.
#[test]
fn entries_that_no_reader_accepts_are_not_stored() {
    let stat = Stat::default();
    let mut nodes = Memory::new();
    let piece = Extent {
        pack: PackName::from_bytes([1; 32]),
        offset: 0,
        len: 1,
    };
    let of = |size, extents| FileEntry::File {
        stat: Stat { size, ..stat },
        content: content(1),
        extents: ExtentList::Inline(extents),
    };
    let empty = PageMap::new(512, 0, None, content(8)).unwrap();
    for (entry, fits) in [
        (of(32, vec![piece; 32]), true),
        (of(33, vec![piece; 33]), false),
        (of(2, vec![piece]), false),
        (of(0, vec![Extent { len: 0, ..piece }]), false),
        (
            FileEntry::Symlink {
                stat,
                target: vec![b'x'; 4096],
            },
            true,
        ),
        (
            FileEntry::Symlink {
                stat,
                target: vec![b'x'; 4097],
            },
            false,
        ),
        (
            FileEntry::Database {
                stat,
                signature: vec![0; 256],
                pages: empty,
                rows: None,
            },
            true,
        ),
        (
            FileEntry::Database {
                stat,
                signature: vec![0; 257],
                pages: empty,
                rows: None,
            },
            false,
        ),
    ] {
        match update(None, [(key("a"), Some(entry.clone()))], &mut nodes) {
            Ok(root) => {
                assert!(fits);
                assert_eq!(find(root, &key("a"), &mut nodes).unwrap(), Some(entry));
            }
            Err(error) => assert_eq!((error.outcome(), fits), ("entry-unfit", false)),
        }
    }
}

#[test]
fn a_cursor_skips_what_lies_before() {
    let mut nodes = Memory::new();
    let root = update(None, photos(50_000), &mut nodes).unwrap();
    nodes.loaded = 0;
    let mut cursor = Cursor::new(root);
    cursor.seek(&key("media/img-040000"), &mut nodes).unwrap();
    let (found, _) = cursor.next(&mut nodes).unwrap().unwrap();
    assert_eq!(found, key("media/img-040000.jpg"));
    assert!(nodes.loaded <= 4);
    cursor.seek(&key("z"), &mut nodes).unwrap();
    assert!(cursor.next(&mut nodes).unwrap().is_none());
}

/// BACKUP-1: whichever node is damaged, the keys below it are named, and all others come.
#[test]
fn a_damaged_node_is_passed_over_and_all_else_comes() {
    let mut nodes = Memory::new();
    let root = update(None, photos(20_000), &mut nodes).unwrap().unwrap();
    let whole = all(Some(root), &mut nodes);
    let (mut at_root, mut inside) = (0, 0);
    for extent in nodes.stored.keys().copied().collect::<Vec<_>>() {
        let good = nodes.stored[&extent].clone();
        nodes.stored.get_mut(&extent).unwrap()[good.len() / 2] ^= 1;
        let mut cursor = Cursor::new(Some(root));
        let (mut read, mut gaps) = (Vec::new(), Vec::new());
        loop {
            match cursor.next(&mut nodes) {
                Ok(Some(item)) => read.push(item),
                Ok(None) => break,
                Err(_) => match cursor.pass_over() {
                    Some(gap) => gaps.push(gap),
                    None => break,
                },
            }
        }
        nodes.stored.insert(extent, good);
        if extent == root.extent {
            assert!(read.is_empty() && gaps.is_empty());
            at_root += 1;
            continue;
        }
        let [gap] = gaps.as_slice() else {
            panic!("{gaps:?}");
        };
        let is_gone =
            |key: &Key| *key >= gap.first && gap.before.as_ref().is_none_or(|end| key < end);
        let rest: Vec<_> = whole
            .iter()
            .filter(|(key, _)| !is_gone(key))
            .cloned()
            .collect();
        assert!(read == rest);
        assert!(rest.len() < whole.len());
        inside += 1;
    }
    assert!(at_root == 1 && inside > 20, "{inside}");
}

#[test]
fn long_lists_of_extents_come_back() {
    let mut nodes = Memory::new();
    for count in [0_u32, 1, 32, 33, 513, 140_000] {
        let extents: Vec<_> = (0..count)
            .map(|n| Extent {
                pack: PackName::from_bytes([(n % 251) as u8; 32]),
                offset: n,
                len: 1 + n % 3,
            })
            .collect();
        let total = extents.iter().map(|extent| u64::from(extent.len)).sum();
        let list = ExtentList::store(extents.clone(), &mut nodes).unwrap();
        assert_eq!(matches!(list, ExtentList::Inline(_)), count <= 32);
        assert_eq!(list.load(total, &mut nodes).unwrap(), extents);
        assert!(
            list.load(total + 1, &mut nodes).is_err(),
            "bytes must add up"
        );
    }
}

/// A12: what nobody but a writer with the keys could store, and what even such a one cannot make us
/// accept.
#[test]
fn nodes_that_make_no_sense_are_refused() {
    let mut nodes = Memory::new();
    let root = update(None, photos(3), &mut nodes).unwrap().unwrap();
    let leaf = nodes.raw(&root);
    let inner = |level: u8, children: &[(&[u8], NodeRef)]| {
        let mut raw = vec![level, children.len() as u8];
        for (_, child) in children {
            raw.extend_from_slice(child.extent.pack.as_bytes());
        }
        raw.push(children.len() as u8);
        for (place, (key, child)) in children.iter().enumerate() {
            raw.push(key.len() as u8);
            raw.extend_from_slice(key);
            raw.push(place as u8);
            for number in [child.extent.offset, child.extent.len, child.raw_len] {
                let mut n = number;
                while n >= 128 {
                    raw.push(n as u8 | 0x80);
                    n >>= 7;
                }
                raw.push(n as u8);
            }
            raw.extend_from_slice(child.digest.as_bytes());
        }
        raw
    };
    let first = b"media\0img-000000.jpg";
    let outcome = |raw: &[u8], nodes: &mut Memory| {
        let forged = nodes.forge(raw);
        let mut cursor = Cursor::new(Some(forged));
        loop {
            match cursor.next(nodes) {
                Ok(Some(_)) => {}
                Ok(None) => return "ok",
                Err(error) => return error.outcome(),
            }
        }
    };
    assert_eq!(outcome(&leaf, &mut nodes), "ok");
    let sound = inner(1, &[(first, root)]);
    assert_eq!(outcome(&sound, &mut nodes), "ok");
    assert_eq!(
        outcome(&inner(2, &[(first, root)]), &mut nodes),
        "node-too-deep"
    );
    assert_eq!(
        outcome(&inner(10, &[(first, root)]), &mut nodes),
        "node-too-deep"
    );
    assert_eq!(
        outcome(&inner(1, &[(b"media\0a", root)]), &mut nodes),
        "node-unsorted"
    );
    assert_eq!(
        outcome(&inner(1, &[(first, root), (first, root)]), &mut nodes),
        "node-unsorted"
    );
    // A sound second child, but the first one has its key too.
    let second = update(None, photos(3).skip(1), &mut nodes)
        .unwrap()
        .unwrap();
    let overlap = inner(1, &[(first, root), (b"media\0img-000001.jpg", second)]);
    assert_eq!(outcome(&overlap, &mut nodes), "node-unsorted");
    assert_eq!(outcome(&inner(1, &[]), &mut nodes), "node-malformed");
    assert_eq!(
        outcome(&inner(1, &[(b"media\0..", root)]), &mut nodes),
        "bad-path"
    );
    for len in 0..leaf.len() {
        assert_ne!(outcome(&leaf[..len], &mut nodes), "ok", "A1: {len}");
    }
    let mut long = leaf.clone();
    long.push(0);
    assert_eq!(outcome(&long, &mut nodes), "node-malformed");
}

/// BACKUP-4: a node in another's place.
#[test]
fn a_swapped_node_is_noticed() {
    let mut nodes = Memory::new();
    let one = update(None, photos(3), &mut nodes).unwrap().unwrap();
    let two = update(None, photos(4), &mut nodes).unwrap().unwrap();
    let swapped = NodeRef {
        extent: two.extent,
        ..one
    };
    assert_eq!(
        nodes.load(&swapped).unwrap_err().outcome(),
        "bad-compression"
    );
    let swapped = NodeRef {
        extent: two.extent,
        raw_len: two.raw_len,
        ..one
    };
    assert_eq!(nodes.load(&swapped).unwrap_err().outcome(), "node-swapped");
    let bomb = NodeRef {
        raw_len: u32::MAX,
        ..one
    };
    assert_eq!(nodes.load(&bomb).unwrap_err().outcome(), "node-too-long");
}

/// Trees of three levels, through rounds of scattered changes, growth at one place and the loss of
/// whole folders; and their nodes stay filled.
#[test]
fn a_deep_tree_says_what_a_map_says_and_stays_compact() {
    let mut nodes = Memory::new();
    let name = |n: u32| key(&format!("{}/{n:08}", "a long folder name ".repeat(14)));
    let mut model: BTreeMap<_, _> = (0..20_000).map(|n| (name(n * 10), file(1, 1))).collect();
    let first = model
        .clone()
        .into_iter()
        .map(|(key, entry)| (key, Some(entry)));
    let mut root = update(None, first, &mut nodes).unwrap();
    for round in 0..8_u32 {
        let mut changes = BTreeMap::new();
        for n in 0..200 {
            let place = n * 997 % 20_000 * 10;
            changes.insert(name(place + round), (n % 3 > 0).then(|| file(n + 1, 2)));
        }
        let start = round * 25_000;
        changes.extend((0..500).map(|n| (name(start + n), Some(file(9, 3)))));
        changes.extend((0..9000).map(|n| (name(start + 10_000 + n), None)));
        for (key, change) in &changes {
            match change {
                Some(entry) => model.insert(key.clone(), entry.clone()),
                None => model.remove(key),
            };
        }
        root = update(root, changes, &mut nodes).unwrap();
        nodes.small = 0;
        let want: Vec<_> = model.clone().into_iter().collect();
        assert!(all(root, &mut nodes) == want, "round {round}");
        assert!(
            nodes.small <= 3,
            "round {round}: {} small nodes",
            nodes.small
        );
    }
}

/// A leaf that loses nearly everything between neighbours that lose nothing is filled up from one.
#[test]
fn a_leaf_that_is_nearly_emptied_joins_its_neighbour() {
    let mut nodes = Memory::new();
    let name = |n: u32| key(&format!("{}/{n:08}", "a long folder name ".repeat(14)));
    let all_of_it = (0..20_000).map(|n| (name(n), Some(file(1, 1))));
    let root = update(None, all_of_it, &mut nodes).unwrap();
    let gone = (0..20_000)
        .filter(|n| n % 151 < 62)
        .map(|n| (name(n), None));
    let root = update(root, gone, &mut nodes).unwrap();
    nodes.small = 0;
    assert_eq!(
        all(root, &mut nodes).len(),
        (0..20_000).filter(|n| n % 151 >= 62).count()
    );
    assert!(nodes.small <= 3, "{} small nodes", nodes.small);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The tree against a sorted map, through rounds of changes.
    #[test]
    fn a_tree_says_what_a_map_says(
        rounds in proptest::collection::vec(
            proptest::collection::btree_map(0_u32..4000, proptest::option::weighted(0.7, 0_u8..9), 0..700),
            1..6,
        )
    ) {
        let mut nodes = Memory::new();
        let mut model = BTreeMap::new();
        let mut root = None;
        for round in rounds {
            let mut changes = Vec::new();
            for (n, change) in round {
                let key = key(&format!("folder-{:03}/a rather long file name {n:06}.jpg", n / 40));
                let entry = change.map(|tag| file(u32::from(tag) + 1, tag));
                match &entry {
                    Some(entry) => model.insert(key.clone(), entry.clone()),
                    None => model.remove(&key),
                };
                changes.push((key, entry));
            }
            root = update(root, changes, &mut nodes).unwrap();
            let want: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(all(root, &mut nodes), want);
        }
    }

    /// A1: bytes that are no node never panic and never allocate by what they claim.
    #[test]
    fn random_nodes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..400), level in 0_u8..3) {
        let mut nodes = Memory::new();
        let mut raw = raw;
        if let Some(first) = raw.first_mut() {
            *first = level;
        }
        let forged = nodes.forge(&raw);
        let _ = Cursor::new(Some(forged)).next(&mut nodes);
        let list = ExtentList::Far { count: u32::MAX, root: forged };
        prop_assert!(list.load(1, &mut nodes).is_err());
        let map = PageMap::new(4096, 3, Some(forged), content(0)).unwrap();
        let _ = map.leaf(0, &mut nodes);
    }

    /// A1: a single flipped bit in a node of a writer with the keys never panics.
    #[test]
    fn flipped_nodes_never_panic(at in 0_usize..2000, bit in 0_u8..8) {
        let mut nodes = Memory::new();
        let root = update(None, photos(20), &mut nodes).unwrap().unwrap();
        let mut raw = nodes.raw(&root);
        let at = at % raw.len();
        raw[at] ^= 1 << bit;
        let forged = nodes.forge(&raw);
        let mut cursor = Cursor::new(Some(forged));
        while let Ok(Some(_)) = cursor.next(&mut nodes) {}
    }
}
