//! The golden store: what it must hold, writing it, and reading it back (BACKUP-7).

use std::collections::BTreeMap;

use keyhaven_repo::compress::{Expander, Squeezer};
use keyhaven_repo::entry::{ExtentList, FileEntry, Stat};
use keyhaven_repo::hash::ExtentDigest;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::layout::Extent;
use keyhaven_repo::marker::Marker;
use keyhaven_repo::names::{Epoch, PackName, SnapshotName, StoreId, WriterId};
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore, pack_node, unpack_node};
use keyhaven_repo::pack::{ExtentKind, OpenPack, PackBuffer, PackBuilder, PackKind};
use keyhaven_repo::page_map::{PageDiffer, PageMap, PageStore};
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::{Completeness, OpenSnapshot, Snapshot, Totals};
use keyhaven_repo::tree::{Cursor, update};
use keyhaven_secrets::{BackupKey, Entropy};
use keyhaven_testkit::entropy::SeededEntropy;

use crate::second;
use crate::vector::folder;

/// The backup key of the golden store.
pub(crate) const BACKUP_KEY: [u8; 32] = *b"the golden store's own key, v1 !";

/// What lies at a path of the golden source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Dir,
    File(Vec<u8>),
    Link(&'static str),
    Database(Vec<Vec<u8>>),
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    SeededEntropy::new(seed).fill(&mut out);
    out
}

/// The golden source, in the order of its keys.
pub(crate) fn source() -> Vec<(&'static str, Item)> {
    let page = |n: u8| [&noise(u64::from(n), 100)[..], &[n; 3996]].concat();
    vec![
        ("chat.db", Item::Database((0..40).map(page).collect())),
        ("media", Item::Dir),
        ("media\0empty.txt", Item::File(Vec::new())),
        ("media\0photo.jpg", Item::File(noise(101, 150_000))),
        ("media\0voice.opus", Item::File(noise(102, 3_333))),
        (
            "media\0\u{1f5bc} \u{e4}\u{f6}.png",
            Item::File(noise(103, 65_536)),
        ),
        ("readme", Item::Link("media/empty.txt")),
    ]
}

/// The packs of the golden store while it is written, and its nodes while it is read.
struct Store {
    keyring: Keyring,
    squeezer: Squeezer,
    index: PackBuilder,
    messages: PackBuilder,
}

impl NodeStore for Store {
    fn load(&mut self, _: &NodeRef) -> Result<Vec<u8>, NodeError> {
        Err(NodeError::Malformed)
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        let packed = pack_node(kind, raw, &self.keyring, &mut self.squeezer)?;
        let kind = match kind {
            NodeKind::Tree => ExtentKind::TreeNode,
            NodeKind::Map => ExtentKind::MapNode,
            NodeKind::List => ExtentKind::ListNode,
            NodeKind::Rows => ExtentKind::RowsNode,
        };
        let digest = packed.digest.extent_digest();
        Ok(NodeRef {
            extent: self.index.append(packed.bytes, kind, digest).unwrap(),
            raw_len: packed.raw_len,
            digest: packed.digest,
        })
    }
}

impl PageStore for Store {
    fn save_frame(&mut self, raw: &[u8], digest: ExtentDigest) -> Result<Extent, NodeError> {
        let stored = self.squeezer.squeeze(raw)?;
        Ok(self
            .messages
            .append(stored, ExtentKind::PageFrame, digest)
            .unwrap())
    }
}

/// Writes the store: paths and bytes.
pub(crate) fn write() -> BTreeMap<String, Vec<u8>> {
    let mut entropy = SeededEntropy::new(2026);
    let store_id = StoreId::generate(&mut entropy);
    let keyring = Keyring::generate(store_id, &mut entropy);
    let mut begin = |kind| PackBuilder::begin(PackBuffer::new(), kind, &mut entropy);
    let mut media = begin(PackKind::Media);
    let mut store = Store {
        keyring: keyring.clone(),
        squeezer: Squeezer::new(3).unwrap(),
        index: begin(PackKind::Index),
        messages: begin(PackKind::Messages),
    };
    let mut changes = Vec::new();
    for (number, (path, item)) in source().into_iter().enumerate() {
        let stat = Stat {
            size: match &item {
                Item::File(bytes) => bytes.len() as u64,
                Item::Database(pages) => pages.len() as u64 * 4096,
                Item::Dir | Item::Link(_) => 0,
            },
            mtime_ns: 1_790_000_000_123_456_789 + i64::try_from(number).unwrap(),
            ctime_ns: -1,
            inode: 1000 + number as u64,
            device: 2049,
            mode: 0o644,
        };
        let entry = match item {
            Item::Dir => FileEntry::Dir { stat },
            Item::Link(target) => FileEntry::Symlink {
                stat,
                target: target.into(),
            },
            Item::File(bytes) => {
                let mut hasher = keyring.content_hasher();
                hasher.update(&bytes);
                let content = hasher.finish();
                let extent = media.append(&bytes, ExtentKind::File, content.extent_digest());
                let extents = ExtentList::Inline(extent.into_iter().collect());
                FileEntry::File {
                    stat,
                    content,
                    extents,
                }
            }
            Item::Database(pages) => {
                let mut differ = PageDiffer::new(&keyring, None, 4096, pages.len() as u32).unwrap();
                for page in &pages {
                    differ.feed(page, &mut store).unwrap();
                }
                let pages = differ.finish(&mut store).unwrap();
                FileEntry::Database {
                    stat,
                    signature: b"signature".to_vec(),
                    pages,
                    rows: None,
                }
            }
        };
        changes.push((Key::parse(path.as_bytes()).unwrap(), Some(entry)));
    }
    let root = update(None, changes, &mut store).unwrap();
    let snapshot = Snapshot {
        sequence: 1,
        writer: WriterId::generate(&mut entropy),
        predecessors: Vec::new(),
        device_time_s: 1_790_000_000,
        completeness: Completeness::Complete,
        root,
        totals: Totals {
            files: 4,
            bytes: 382_709,
            databases: 1,
        },
        profile: "golden".to_owned(),
        pinned: false,
    };
    let snapshot = snapshot
        .seal(&keyring, &BackupKey::from_bytes(BACKUP_KEY), &mut entropy)
        .unwrap();
    let mut files = BTreeMap::new();
    files.insert("keyhaven".to_owned(), Marker::new(store_id).encode());
    files.insert(snapshot.name.path(), snapshot.bytes);
    for pack in [media, store.index, store.messages] {
        let sealed = pack.seal(&keyring).unwrap();
        files.insert(sealed.name().path(), sealed.bytes().to_vec());
    }
    files
}

/// The golden store as it lies in the repository.
pub(crate) struct Golden {
    pub(crate) store: StoreId,
    pub(crate) keyring: Keyring,
    pub(crate) snapshot: OpenSnapshot,
    pub(crate) snapshot_path: String,
    packs: BTreeMap<PackName, OpenPack>,
    expander: Expander,
}

impl Golden {
    pub(crate) fn read() -> Self {
        let store_folder = folder().join("store");
        let marker = std::fs::read(store_folder.join("keyhaven")).unwrap();
        let store = Marker::parse(&marker).unwrap().store();
        let listed = |under: &str| -> Vec<String> {
            let entries = std::fs::read_dir(store_folder.join(under)).unwrap();
            let name = |entry: std::io::Result<std::fs::DirEntry>| {
                format!("{under}/{}", entry.unwrap().file_name().to_str().unwrap())
            };
            entries.map(name).collect()
        };
        let snapshot_path = listed("snapshots").pop().unwrap();
        let name = SnapshotName::parse_path(&snapshot_path).unwrap();
        let key = BackupKey::from_bytes(BACKUP_KEY);
        let object = std::fs::read(store_folder.join(&snapshot_path)).unwrap();
        let snapshot = OpenSnapshot::open(name, store, &key, Epoch::FIRST, &object).unwrap();
        let mut packs = BTreeMap::new();
        for path in listed("packs").iter().flat_map(|folder| listed(folder)) {
            let name = PackName::parse_path(&path).unwrap();
            let object = std::fs::read(store_folder.join(&path)).unwrap();
            let pack = OpenPack::open_any(name, &snapshot.keyring, object).unwrap();
            packs.insert(name, pack);
        }
        Self {
            store,
            keyring: snapshot.keyring.clone(),
            snapshot,
            snapshot_path,
            packs,
            expander: Expander::new().unwrap(),
        }
    }

    /// The one pack of that kind.
    pub(crate) fn pack(&self, kind: PackKind) -> &OpenPack {
        self.packs
            .values()
            .find(|pack| pack.kind() == kind)
            .unwrap()
    }

    fn bytes(&self, extent: &Extent) -> Vec<u8> {
        let mut out = Vec::new();
        self.packs[&extent.pack]
            .copy_extent(extent, &mut out)
            .unwrap();
        out
    }

    fn database(&mut self, map: &PageMap) -> Vec<Vec<u8>> {
        let key = self.keyring.page_key();
        let mut out = vec![Vec::new(); map.page_count() as usize];
        for index in 0..map.leaves() {
            for used in map.leaf(index, self).unwrap().frames() {
                let mut raw = vec![0; used.raw_len() as usize];
                let stored = self.bytes(&used.frame.extent);
                self.expander.expand(&stored, &mut raw).unwrap();
                for page in &used.pages {
                    let bytes = used.page(page, &raw, &key).unwrap();
                    out[page.page_no as usize - 1] = bytes.to_vec();
                }
            }
        }
        out
    }
}

impl NodeStore for Golden {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        let stored = self.bytes(&node.extent);
        unpack_node(node, &stored, &self.keyring, &mut self.expander)
    }

    fn save(&mut self, _: NodeKind, _: &[u8]) -> Result<NodeRef, NodeError> {
        Err(NodeError::Malformed)
    }
}

/// BACKUP-7: what version 1 wrote restores, to the byte.
#[test]
fn the_golden_store_restores() {
    let mut golden = Golden::read();
    let mut cursor = Cursor::new(golden.snapshot.snapshot.root);
    let mut found = Vec::new();
    while let Some((key, entry)) = cursor.next(&mut golden).unwrap() {
        let size = entry.stat().size;
        let item = match entry {
            FileEntry::Dir { .. } => Item::Dir,
            FileEntry::Symlink { target, .. } => {
                assert_eq!(target, b"media/empty.txt");
                Item::Link("media/empty.txt")
            }
            FileEntry::File {
                content, extents, ..
            } => {
                let extents = extents.load(size, &mut golden).unwrap();
                let bytes: Vec<u8> = extents.iter().flat_map(|at| golden.bytes(at)).collect();
                let mut hasher = golden.keyring.content_hasher();
                hasher.update(&bytes);
                assert_eq!(hasher.finish(), content);
                Item::File(bytes)
            }
            FileEntry::Database { pages, .. } => Item::Database(golden.database(&pages)),
        };
        found.push((String::from_utf8(key.as_bytes().to_vec()).unwrap(), item));
    }
    let want: Vec<_> = source()
        .into_iter()
        .map(|(path, item)| (path.to_owned(), item))
        .collect();
    assert!(found == want, "the golden source comes back");
}

/// The document alone is enough to read a store: the second implementation opens every object, and
/// finds the same bytes.
#[test]
fn a_second_implementation_reads_the_golden_store() {
    let golden = Golden::read();
    let store = folder().join("store");
    let snapshot = std::fs::read(store.join(&golden.snapshot_path)).unwrap();
    let [data, _, page_key] = second::keys(&BACKUP_KEY, &snapshot);
    let body = second::open(
        &data,
        second::SNAPSHOT,
        &snapshot[second::keyring_len(&snapshot)..],
    );
    assert_eq!(body[..16], *golden.store.as_bytes());
    assert_eq!(body[16..48], *golden.snapshot.name.as_bytes());
    let page = [7; 512];
    let hash = blake3::keyed_hash(&page_key, &page);
    assert_eq!(
        golden.keyring.page_key().hash(&page).as_bytes()[..],
        hash.as_bytes()[..16]
    );
    for (kind, code) in [
        (PackKind::Messages, second::MESSAGES),
        (PackKind::Media, second::MEDIA),
        (PackKind::Index, second::INDEX),
    ] {
        let pack = golden.pack(kind);
        let object = std::fs::read(store.join(pack.name().path())).unwrap();
        let plain = second::open(&data, code, &object);
        for entry in pack.toc() {
            let extent = Extent {
                pack: pack.name(),
                offset: entry.offset,
                len: entry.len,
            };
            let range = entry.offset as usize..(entry.offset + entry.len) as usize;
            assert!(golden.bytes(&extent) == plain[range]);
        }
    }
}
