//! A backup that holds a database and, as a file of its own, what SQLite would play into it. No backup is made so; one that was
//! is written here by hand.

use std::path::Path;
use std::sync::Arc;

use keyhaven::store::ObjectPath;
use keyhaven::{Cancel, Depth, Keyhaven, Lost, Outcome, RestoreOptions, Share};
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

use crate::world::{World, backup, place, read_folder, restored, scratch};

/// The nodes of a store, and a pack for new ones.
struct Nodes<'a> {
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

/// Commits the newest backup once more, with the bytes of `from` under these names too, which are in order.
fn add(world: &World, from: &str, names: [&str; 2]) {
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
    let mut cursor = Cursor::new(newest.snapshot.root);
    cursor
        .seek(&Key::parse(from.as_bytes()).unwrap(), &mut nodes)
        .unwrap();
    let (_, entry) = cursor.next(&mut nodes).unwrap().unwrap();
    assert!(matches!(entry, FileEntry::File { .. }));
    let changes = names.map(|name| {
        let key = Key::parse(name.as_bytes()).unwrap();
        (key, Some(entry.clone()))
    });
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

/// BACKUP-1: a restore and a verification name it, at each depth alike; all else comes back, and the next backup is whole.
#[test]
fn a_stray_in_a_backup_is_not_restored_and_named() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let good = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    // The second stands beside no database, and is a file like any other.
    add(
        &world,
        "media\x0001.jpg",
        ["chats.db-journal", "chats.txt-journal"],
    );

    let haven = || Keyhaven::open_at(&world.home(), place(Arc::new(world.store.clone()))).unwrap();
    let named = |lost: &[Lost]| {
        let [lost] = lost else {
            panic!("{lost:?}");
        };
        assert_eq!(lost.path, Path::new("chats.db-journal"));
        assert!(lost.reason.contains("another state"), "{lost:?}");
    };
    let to = scratch();
    let report = haven()
        .restore(to.path(), &RestoreOptions::default(), &mut ())
        .unwrap()
        .report;
    named(&report.lost);
    let mut there = read_folder(to.path());
    let plain = there.remove(Path::new("chats.txt-journal"));
    assert_eq!(plain.as_ref(), good.get(Path::new("media/01.jpg")));
    assert_eq!(there, good);
    for depth in [Depth::Structure, Depth::Sample(Share::ALL), Depth::All] {
        let report = haven()
            .verify(depth, None, &Cancel::new(), &mut ())
            .unwrap();
        named(&report.lost);
        assert!(report.damaged.is_empty(), "{depth:?}");
    }

    let next = backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    assert_eq!(next.outcome, Outcome::Complete);
    assert_eq!(
        restored(&world.home(), Arc::new(world.store.clone())).unwrap(),
        good
    );
}
