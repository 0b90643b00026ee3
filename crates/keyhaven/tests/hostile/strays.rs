//! A backup that holds a database and, as a file of its own, what SQLite would play into it. No backup is made so; one that was
//! is written here by hand.

use std::path::Path;
use std::sync::Arc;

use keyhaven::{Cancel, Depth, Keyhaven, Lost, Outcome, RestoreOptions, Share};

use crate::by_hand::commit;
use crate::world::{World, backup, place, read_folder, restored, scratch};

/// BACKUP-1: a restore and a verification name it, at each depth alike; all else comes back, and the next backup is whole.
#[test]
fn a_stray_in_a_backup_is_not_restored_and_named() {
    let world = World::new();
    backup(&world.home(), Arc::new(world.store.clone())).unwrap();
    let good = restored(&world.home(), Arc::new(world.store.clone())).unwrap();
    // The second stands beside no database, and is a file like any other.
    commit(&world, |nodes, root| {
        let entry = nodes.entry(root, "media\x0001.jpg");
        let names = ["chats.db-journal", "chats.txt-journal"];
        names.map(|name| (name, entry.clone())).into()
    });

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
