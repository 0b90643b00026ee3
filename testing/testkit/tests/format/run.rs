//! Running the vectors: every file's outcome is the one it names.

use std::collections::BTreeMap;

use keyhaven_repo::compress::Expander;
use keyhaven_repo::entry::ExtentList;
use keyhaven_repo::hash::ContentId;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::marker::Marker;
use keyhaven_repo::names::{Epoch, PackName, SnapshotName, StoreId};
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore};
use keyhaven_repo::pack::{OpenPack, PackError, PackKind, PackReader};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::OpenSnapshot;
use keyhaven_repo::tree::Cursor;
use keyhaven_secrets::BackupKey;

use crate::golden::{BACKUP_KEY, Golden};
use crate::vector::{Vector, folder, unhex};

/// Vectors that must be there: the issue asks for 40, three quarters of them refusals.
const LEAST: usize = 40;

/// BACKUP-4, A1, A12: each alteration is refused by its name.
#[test]
fn every_vector_has_the_outcome_that_it_names() {
    let golden = Golden::read();
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "txt") {
            continue;
        }
        files += 1;
        let vector = Vector::parse(&std::fs::read_to_string(&path).unwrap());
        let want = vector.one("outcome").unwrap();
        *counts.entry(want.to_owned()).or_insert(0) += 1;
        let found = outcome(&vector, &golden);
        if found != want {
            wrong.push(format!("{}: {found}, not {want}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files >= LEAST);
    assert!(counts["ok"] * 4 <= files, "three quarters are refusals");
}

/// What a reader says about a vector.
pub(crate) fn outcome(vector: &Vector, golden: &Golden) -> String {
    let (what, rest) = match vector.one("as").unwrap().split_once(' ') {
        Some((what, rest)) => (what, rest),
        None => (vector.one("as").unwrap(), ""),
    };
    let said = match what {
        "marker" => Marker::parse(&vector.bytes())
            .map(|_| ())
            .map_err(|e| e.outcome()),
        "snapshot" => snapshot(vector, golden),
        "pack" => pack(vector, golden, rest).map_err(|e| e.outcome()),
        "extent" => extent(vector, golden, rest).map_err(|e| e.outcome()),
        "tree" | "list" | "map" | "rows" => nodes(vector, golden, what).map_err(|e| e.outcome()),
        "stored" => stored(vector).map_err(|e| NodeError::from(e).outcome()),
        "key" => match Key::parse(&unhex(vector.one("raw").unwrap())) {
            Ok(_) => Ok(()),
            Err(_) => Err(NodeError::BadPath.outcome()),
        },
        _ => panic!("a vector of an unknown kind"),
    };
    match said {
        Ok(()) => "ok".to_owned(),
        Err(outcome) => outcome.to_owned(),
    }
}

fn store_of(vector: &Vector, golden: &Golden) -> StoreId {
    vector
        .one("store")
        .map_or(golden.store, |text| StoreId::parse(text).unwrap())
}

fn snapshot(vector: &Vector, golden: &Golden) -> Result<(), &'static str> {
    let name = match vector.one("under") {
        Some(text) => SnapshotName::parse(text).unwrap(),
        None => SnapshotName::parse_path(vector.one("file").unwrap()).unwrap(),
    };
    let key = vector
        .one("backup-key")
        .map_or(BACKUP_KEY, |text| unhex(text).try_into().unwrap());
    let floor = Epoch::from_number(vector.number("floor").unwrap_or(1) as u32);
    OpenSnapshot::open(
        name,
        store_of(vector, golden),
        &BackupKey::from_bytes(key),
        floor,
        &vector.bytes(),
    )
    .map(|_| ())
    .map_err(|error| error.outcome())
}

fn pack_name(vector: &Vector) -> PackName {
    match vector.one("under") {
        Some(text) => PackName::parse(text).unwrap(),
        None => PackName::parse_path(vector.one("file").unwrap()).unwrap(),
    }
}

fn kind(word: &str) -> PackKind {
    match word {
        "messages" => PackKind::Messages,
        "media" => PackKind::Media,
        "index" => PackKind::Index,
        _ => panic!("a pack of an unknown kind"),
    }
}

/// The golden keys; in a vector that looks from another store, that store's.
fn keyring(vector: &Vector, golden: &Golden) -> Keyring {
    match vector.one("store") {
        Some(_) => Keyring::generate(
            store_of(vector, golden),
            &mut keyhaven_testkit::entropy::SeededEntropy::new(1),
        ),
        None => golden.keyring.clone(),
    }
}

fn pack(vector: &Vector, golden: &Golden, word: &str) -> Result<(), PackError> {
    let name = pack_name(vector);
    let keyring = keyring(vector, golden);
    let opened = match word {
        "any" => OpenPack::open_any(name, &keyring, vector.bytes()),
        word => OpenPack::open(name, kind(word), &keyring, vector.bytes()),
    };
    opened.map(|_| ())
}

fn extent(vector: &Vector, golden: &Golden, words: &str) -> Result<(), PackError> {
    let mut words = words.split(' ');
    let kind = kind(words.next().unwrap());
    let mut number = || words.next().unwrap().parse::<u32>().unwrap();
    let extent = Extent {
        pack: PackName::parse_path(vector.one("file").unwrap()).unwrap(),
        offset: number(),
        len: number(),
    };
    let object = vector.bytes();
    let name = pack_name(vector);
    let reader = PackReader::new(name, kind, &golden.keyring, &object)?;
    let range = reader.range(&extent)?;
    let end = (range.end as usize).min(object.len());
    let mut fetched = object[(range.start as usize).min(end)..end].to_vec();
    reader.open(&extent, &mut fetched).map(|_| ())
}

fn stored(vector: &Vector) -> Result<(), keyhaven_repo::compress::CompressError> {
    let mut out = vec![0; vector.number("raw-length").unwrap() as usize];
    let stored = unhex(vector.one("raw").unwrap());
    Expander::new().unwrap().expand(&stored, &mut out)
}

/// The nodes of one vector, found by their digests; where they would lie plays no part.
struct Nodes {
    keyring: Keyring,
    raw: Vec<Vec<u8>>,
}

impl Nodes {
    fn reference(&self, raw: &[u8]) -> NodeRef {
        node_ref(&self.keyring, raw)
    }
}

/// The reference that a vector's nodes have: the place is the same for all.
pub(crate) fn node_ref(keyring: &Keyring, raw: &[u8]) -> NodeRef {
    NodeRef {
        extent: Extent {
            pack: PackName::from_bytes([0; 32]),
            offset: 0,
            len: 1,
        },
        raw_len: raw.len() as u32,
        digest: keyring.node_digest(raw),
    }
}

impl NodeStore for Nodes {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        let found = self
            .raw
            .iter()
            .find(|raw| self.keyring.node_digest(raw) == node.digest);
        found.cloned().ok_or(NodeError::Swapped)
    }

    fn save(&mut self, _: NodeKind, _: &[u8]) -> Result<NodeRef, NodeError> {
        Err(NodeError::Malformed)
    }
}

/// Reads all of a tree, list, page map or list of patches whose root is the vector's last node.
fn nodes(vector: &Vector, golden: &Golden, what: &str) -> Result<(), NodeError> {
    let raw: Vec<_> = vector.all("node").map(unhex).collect();
    let mut nodes = Nodes {
        keyring: golden.keyring.clone(),
        raw,
    };
    let root = nodes.reference(nodes.raw.last().unwrap());
    let number = |word| vector.number(word).unwrap();
    match what {
        "tree" => {
            let mut cursor = Cursor::new(Some(root));
            while cursor.next(&mut nodes)?.is_some() {}
        }
        "list" => {
            let count = number("count") as u32;
            ExtentList::Far { count, root }.load(number("total"), &mut nodes)?;
        }
        "rows" => {
            let patches = keyhaven_repo::rows::load_patches(&root, &mut nodes)?;
            assert_eq!(patches.len() as u64, number("count"));
            let raw: u64 = patches.iter().map(|patch| patch.raw_len()).sum();
            assert_eq!(raw, number("total"));
        }
        _ => {
            let image = ContentId::from_bytes([0; 32]);
            let (size, count) = (number("page-size") as u32, number("page-count") as u32);
            let map = PageMap::new(size, count, Some(root), image)?;
            for index in 0..map.leaves() {
                map.leaf(index, &mut nodes)?;
            }
        }
    }
    Ok(())
}
