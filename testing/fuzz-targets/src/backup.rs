//! What a hostile store serves in the place of a backup.

use std::cell::RefCell;

use keyhaven_repo::compress::{Expander, Squeezer};
use keyhaven_repo::entry::ExtentList;
use keyhaven_repo::hash::ContentId;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::marker::Marker;
use keyhaven_repo::names::{Epoch, PackName, StoreId, WriterId};
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore, pack_node, unpack_node};
use keyhaven_repo::object::Header;
use keyhaven_repo::pack::{ExtentKind, OpenPack, PackBuffer, PackBuilder, PackKind, PackReader};
use keyhaven_repo::page_map::PageMap;
use keyhaven_repo::snapshot::{Completeness, OpenSnapshot, SealedSnapshot, Snapshot, Totals};
use keyhaven_repo::tree::Cursor;
use keyhaven_secrets::BackupKey;
use keyhaven_testkit::entropy::SeededEntropy;

use crate::edits;

const STORE: StoreId = StoreId::from_bytes([0x5a; 16]);

fn keyring() -> Keyring {
    Keyring::generate(STORE, &mut SeededEntropy::new(31))
}

fn backup_key() -> BackupKey {
    BackupKey::from_bytes([3; 32])
}

/// A sealed pack with two extents.
struct Sealed {
    name: PackName,
    extents: Vec<Extent>,
    bytes: Vec<u8>,
    keyring: Keyring,
    buffer: Vec<u8>,
}

fn sealed() -> Sealed {
    let keyring = keyring();
    let mut entropy = SeededEntropy::new(32);
    let mut pack = PackBuilder::begin(PackBuffer::new(), PackKind::Media, &mut entropy);
    let mut extents = Vec::new();
    for (len, byte) in [(5_usize, 1_u8), (70_000, 2)] {
        let mut hasher = keyring.content_hasher();
        let mut left = len;
        while left > 0 {
            let spare = pack.spare_mut();
            let now = left.min(spare.len());
            spare[..now].fill(byte);
            hasher.update(pack.advance(now));
            left -= now;
        }
        let digest = hasher.finish().extent_digest();
        extents.push(
            pack.end_extent(ExtentKind::File, digest)
                .expect("an extent"),
        );
    }
    let sealed = pack.seal(&keyring).expect("it seals");
    Sealed {
        name: sealed.name(),
        extents,
        bytes: sealed.bytes().to_vec(),
        keyring,
        buffer: Vec::new(),
    }
}

/// A pack: the bytes say what a store did to it. It opens if nothing was done, whole and by ranges, and
/// never otherwise (BACKUP-4). Bare bytes are tried as an object too.
pub fn pack(bytes: &[u8]) {
    thread_local!(static PACK: RefCell<Sealed> = RefCell::new(sealed()));
    PACK.with(|pack| {
        let pack = &mut *pack.borrow_mut();
        let _ = Header::parse(bytes);
        let bare = OpenPack::open_any(pack.name, &pack.keyring, bytes.to_vec());
        assert!(bare.is_err(), "BACKUP-4: a forged pack opens");
        let object = edits::apply(&pack.bytes, bytes);
        let same = object == pack.bytes;
        let extent = pack.extents[0];
        // By range first: the header and tags, then the frames that the extent is in.
        if let Ok(reader) = PackReader::new(
            pack.name,
            PackKind::Media,
            &pack.keyring,
            &object[..object.len().min(4096)],
        ) {
            let range = reader.range(&extent).expect("an extent of this pack");
            let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
            let (from, to) = (from.expect("small"), to.expect("small"));
            if let Some(part) = object.get(from..to) {
                pack.buffer.clear();
                pack.buffer.extend_from_slice(part);
                if let Ok(read) = reader.open(&extent, &mut pack.buffer) {
                    let read = pack.buffer.get(read);
                    assert_eq!(read, Some(&[1; 5][..]), "BACKUP-1: other bytes come out");
                }
            }
        }
        let opened = OpenPack::open(pack.name, PackKind::Media, &pack.keyring, object);
        assert_eq!(opened.is_ok(), same, "BACKUP-4: a changed pack opens");
    });
}

/// Edits of a pack, and its first bytes.
#[must_use]
pub fn pack_seeds() -> Vec<Vec<u8>> {
    let whole = sealed().bytes;
    let mut seeds = edits::seeds();
    for len in [96, 97, 128, 4096] {
        seeds.push(whole[..len].to_vec());
    }
    seeds
}

fn snapshot_of(keyring: &Keyring) -> SealedSnapshot {
    let snapshot = Snapshot {
        sequence: 1,
        writer: WriterId::from_bytes([4; 16]),
        predecessors: Vec::new(),
        device_time_s: 1_800_000_000,
        completeness: Completeness::Complete,
        root: None,
        totals: Totals::default(),
        profile: "whatsapp".to_owned(),
        pinned: false,
    };
    snapshot
        .seal(keyring, &backup_key(), &mut SeededEntropy::new(33))
        .expect("it fits")
}

/// A snapshot, with the wrapped keys in front: it opens if nothing was done to it, and never otherwise
/// (BACKUP-4).
pub fn snapshot(bytes: &[u8]) {
    thread_local!(static SNAPSHOT: SealedSnapshot = snapshot_of(&keyring()));
    SNAPSHOT.with(|sealed| {
        let key = backup_key();
        let edited = edits::apply(&sealed.bytes, bytes);
        for object in [bytes, &edited] {
            let opened = OpenSnapshot::open(sealed.name, STORE, &key, Epoch::FIRST, object);
            let same = object == sealed.bytes;
            assert_eq!(opened.is_ok(), same, "BACKUP-4: a changed snapshot opens");
        }
    });
}

/// Edits of a snapshot, and one cut short.
#[must_use]
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let whole = snapshot_of(&keyring()).bytes;
    let mut seeds = edits::seeds();
    seeds.extend([96, 200, 1000].map(|len| whole[..len].to_vec()));
    seeds.push(whole);
    seeds
}

/// Serves the fuzzer's bytes for every node, and says that they are what was asked for.
struct Liar<'a> {
    raw: &'a [u8],
    loads: usize,
}

impl NodeStore for Liar<'_> {
    fn load(&mut self, _: &NodeRef) -> Result<Vec<u8>, NodeError> {
        self.loads += 1;
        assert!(self.loads <= 100_000, "A12: a walk does not end");
        Ok(self.raw.to_vec())
    }

    fn save(&mut self, _: NodeKind, _: &[u8]) -> Result<NodeRef, NodeError> {
        Err(NodeError::Malformed)
    }
}

fn node_ref(raw: &[u8], keyring: &Keyring) -> NodeRef {
    NodeRef {
        extent: Extent {
            pack: PackName::from_bytes([1; 32]),
            offset: 0,
            len: 64,
        },
        raw_len: u32::try_from(raw.len()).unwrap_or(u32::MAX),
        digest: keyring.node_digest(raw),
    }
}

/// The index, as somebody with the keys could have written it: file trees, page maps, lists of extents,
/// and compressed nodes. Every walk ends, and nothing expands beyond its bound (A12).
pub fn node(bytes: &[u8]) {
    thread_local!(static KEYRING: Keyring = keyring());
    KEYRING.with(|keyring| {
        let root = node_ref(bytes, keyring);
        let mut liar = Liar {
            raw: bytes,
            loads: 0,
        };
        let mut cursor = Cursor::new(Some(root));
        let mut last = None;
        for _ in 0..4096 {
            match cursor.next(&mut liar) {
                Ok(Some((key, entry))) => {
                    assert!(last.is_none_or(|last| last < key), "keys rise");
                    let _ = entry.fits();
                    last = Some(key);
                }
                Ok(None) | Err(_) => break,
            }
        }
        let mut liar = Liar {
            raw: bytes,
            loads: 0,
        };
        let pages = u32::from(bytes.first().copied().unwrap_or(1)).max(1);
        if let Ok(map) = PageMap::new(4096, pages, Some(root), ContentId::from_bytes([2; 32])) {
            for leaf in 0..map.leaves().min(4) {
                if let Ok(leaf) = map.leaf(leaf, &mut liar) {
                    assert!(leaf.pages() <= pages);
                    let _ = leaf.frames();
                }
            }
        }
        let list = ExtentList::Far { count: pages, root };
        if let Ok(extents) = list.load(u64::from(pages) * 64, &mut liar) {
            assert_eq!(extents.len(), usize::try_from(pages).expect("small"));
        }
        let Ok(mut expander) = Expander::new() else {
            return;
        };
        // Stored bytes that are the fuzzer's: they expand to what they must be, or are refused.
        let refused = unpack_node(
            &node_ref(b"something", keyring),
            bytes,
            keyring,
            &mut expander,
        );
        assert!(refused.is_err() || refused.is_ok_and(|raw| raw == b"something"));
        let Ok(mut squeezer) = Squeezer::new(1) else {
            return;
        };
        if let Ok(packed) = pack_node(NodeKind::Tree, bytes, keyring, &mut squeezer) {
            let back = unpack_node(&root, packed.bytes, keyring, &mut expander);
            assert!(back.is_ok_and(|back| back == bytes), "BACKUP-1");
        }
    });
}

/// Collects the raw nodes of lists of extents; trees and maps are grown from them.
struct Kept(Vec<Vec<u8>>, Keyring);

impl NodeStore for Kept {
    fn load(&mut self, _: &NodeRef) -> Result<Vec<u8>, NodeError> {
        Err(NodeError::Malformed)
    }

    fn save(&mut self, _: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        self.0.push(raw.to_vec());
        Ok(node_ref(raw, &self.1))
    }
}

/// Nodes of a long list, and short ones of every kind byte.
#[must_use]
pub fn node_seeds() -> Vec<Vec<u8>> {
    let mut kept = Kept(Vec::new(), keyring());
    let extent = Extent {
        pack: PackName::from_bytes([1; 32]),
        offset: 64,
        len: 64,
    };
    for len in [100, 300] {
        let _ = ExtentList::store(vec![extent; len], &mut kept);
    }
    let mut seeds: Vec<Vec<u8>> = kept
        .0
        .into_iter()
        .map(|raw| raw[..raw.len().min(2048)].to_vec())
        .collect();
    for kind in 0..16_u8 {
        for level in 0..4_u8 {
            seeds.push(vec![kind, level, 1, 0, 3, b'a', b'/', b'b', 0, 1, 0, 1, 0]);
        }
    }
    seeds
}

/// A store's configuration: its marker, which nobody sealed. One encoding.
pub fn marker(bytes: &[u8]) {
    let edited = edits::apply(&Marker::new(STORE).encode(), bytes);
    // Its check is no MAC: the fuzzer gets one that matches, over the 32 bytes in front.
    let mut checked = bytes.to_vec();
    if let Some((front, _)) = bytes.split_at_checked(32) {
        checked.truncate(32);
        checked.extend_from_slice(blake3::hash(front).as_bytes());
        checked.extend_from_slice(&bytes[32..]);
        checked.resize(keyhaven_repo::marker::MARKER_BYTES, 0);
    }
    for file in [bytes, &edited, &checked] {
        if let Ok(marker) = Marker::parse(file) {
            assert_eq!(marker.encode().as_slice(), file, "one encoding");
        }
    }
}

/// Edits of a marker, and its first bytes.
#[must_use]
pub fn marker_seeds() -> Vec<Vec<u8>> {
    let whole = Marker::new(STORE).encode();
    let mut seeds = edits::seeds();
    seeds.extend([8, 10, 16, 32, 64, 65].map(|len| whole[..len].to_vec()));
    for at in 0..12 {
        let mut front = whole[..32].to_vec();
        front[at] ^= 1;
        seeds.push(front);
    }
    seeds
}
