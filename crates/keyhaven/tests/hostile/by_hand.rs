//! Backups that no run makes, written by hand.

use keyhaven::store::ObjectPath;
use keyhaven_hostile_store::MemoryStore;
use keyhaven_repo::compress::{Expander, Squeezer};
use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::keyring::Keyring;
use keyhaven_repo::marker::Marker;
use keyhaven_repo::names::{Epoch, SnapshotName};
use keyhaven_repo::node::{NodeError, NodeKind, NodeRef, NodeStore, pack_node, unpack_node};
use keyhaven_repo::pack::{ExtentKind, OpenPack, PackBuffer, PackBuilder, PackKind};
use keyhaven_repo::path::Key;
use keyhaven_repo::snapshot::{OpenSnapshot, Predecessor, Snapshot};
use keyhaven_repo::tree::{Cursor, update};
use keyhaven_secrets::BackupKey;
use keyhaven_testkit::entropy::SeededEntropy;

use crate::world::World;

/// The nodes of a store, and a pack for new ones.
pub(crate) struct Nodes<'a> {
    store: &'a MemoryStore,
    keyring: &'a Keyring,
    new: PackBuilder,
}

impl NodeStore for Nodes<'_> {
    fn load(&mut self, node: &NodeRef) -> Result<Vec<u8>, NodeError> {
        let name = node.extent.pack;
        let object = self
            .store
            .bytes(&ObjectPath::parse(&name.path()).unwrap())
            .unwrap();
        let pack = OpenPack::open_any(name, self.keyring, object.to_vec()).unwrap();
        let stored = pack.extent(&node.extent).unwrap();
        unpack_node(node, stored, self.keyring, &mut Expander::new().unwrap())
    }

    fn save(&mut self, kind: NodeKind, raw: &[u8]) -> Result<NodeRef, NodeError> {
        let mut squeezer = Squeezer::new(3).unwrap();
        let packed = pack_node(kind, raw, self.keyring, &mut squeezer)?;
        let digest = packed.digest.extent_digest();
        let extent = self.new.append(packed.bytes, ExtentKind::TreeNode, digest);
        Ok(NodeRef {
            extent: extent.unwrap(),
            raw_len: packed.raw_len,
            digest: packed.digest,
        })
    }
}

impl Nodes<'_> {
    /// What an index has at a path.
    pub(crate) fn entry(&mut self, root: Option<NodeRef>, path: &str) -> FileEntry {
        let mut cursor = Cursor::new(root);
        cursor
            .seek(&Key::parse(path.as_bytes()).unwrap(), self)
            .unwrap();
        cursor.next(self).unwrap().unwrap().1
    }
}

/// Commits the newest backup once more, with what `change` makes of its index: entries in the order of their paths.
pub(crate) fn commit(
    world: &World,
    change: impl FnOnce(&mut Nodes<'_>, Option<NodeRef>) -> Vec<(&'static str, FileEntry)>,
) {
    let objects = world.store.objects();
    let of = |path: &str| {
        let found = objects.iter().find(|(at, _)| at.to_string() == path);
        found.unwrap().1.clone()
    };
    let store = Marker::parse(&of("keyhaven")).unwrap().store();
    let key = BackupKey::parse_digits(&world.digits).unwrap();
    let snapshots = objects.iter().filter_map(|(path, bytes)| {
        let name = SnapshotName::parse_path(&path.to_string()).ok()?;
        OpenSnapshot::open(name, store, &key, Epoch::FIRST, bytes).ok()
    });
    let newest = snapshots
        .max_by_key(|found| found.snapshot.sequence)
        .unwrap();
    let mut entropy = SeededEntropy::new(7);
    let new = PackBuilder::begin(PackBuffer::new(), PackKind::Index, &mut entropy);
    let mut nodes = Nodes {
        store: &world.store,
        keyring: &newest.keyring,
        new,
    };
    let changes = change(&mut nodes, newest.snapshot.root);
    let changes = changes
        .into_iter()
        .map(|(path, entry)| (Key::parse(path.as_bytes()).unwrap(), Some(entry)));
    let root = update(newest.snapshot.root, changes, &mut nodes).unwrap();
    let pack = nodes.new.seal(&newest.keyring).unwrap();
    let plant = |path: String, bytes: &[u8]| {
        world
            .store
            .plant(ObjectPath::parse(&path).unwrap(), bytes.into())
    };
    plant(pack.name().path(), pack.bytes());
    let snapshot = Snapshot {
        sequence: newest.snapshot.sequence + 1,
        predecessors: vec![Predecessor {
            name: newest.name,
            digest: newest.digest,
        }],
        root,
        ..newest.snapshot
    };
    let sealed = snapshot.seal(&newest.keyring, &key, &mut entropy).unwrap();
    plant(sealed.name.path(), &sealed.bytes);
}
