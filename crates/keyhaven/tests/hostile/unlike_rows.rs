//! A database by rows whose patches do not lead to the rows that the backup says it has. No backup is made so; such ones are
//! written here by hand.

use std::path::Path;
use std::sync::Arc;

use keyhaven::{Cancel, Depth, Keyhaven, Outcome};
use keyhaven_repo::entry::FileEntry;
use keyhaven_repo::hash::ContentId;
use keyhaven_repo::rows::{Patch, load_patches, store_patches};

use crate::by_hand::commit;
use crate::world::{Reach, World, place, settle};

type Harm = fn(&mut Vec<Patch>);

fn altered(id: &ContentId) -> ContentId {
    let mut bytes = *id.as_bytes();
    bytes[5] ^= 1;
    ContentId::from_bytes(bytes)
}

/// BACKUP-1: a restore gives the rows of the digest that the backup has, or nothing of that database and says so; a verification of
/// all finds the same, and the backup after it mends it.
#[test]
fn rows_of_another_state_are_not_restored() {
    let harms: [(&str, Harm); 4] = [
        ("another digest of all rows", |patches| {
            let last = patches.last_mut().unwrap();
            last.state = altered(&last.state);
        }),
        ("another id of the patch's bytes", |patches| {
            let last = patches.last_mut().unwrap();
            last.content = altered(&last.content);
        }),
        ("without the last patch", |patches| {
            let state = patches.pop().unwrap().state;
            patches.last_mut().unwrap().state = state;
        }),
        ("the last patch twice", |patches| {
            let last = patches.last().unwrap().clone();
            patches.push(last);
        }),
    ];
    for (case, harm) in harms {
        let reach = Reach::ByRows;
        let world = World::new();
        let store = || Arc::new(world.store.clone());
        for day in 0..3 {
            let sql = format!("INSERT INTO message VALUES({}, 'of day {day}')", 8000 + day);
            world.app().execute_batch(&sql).unwrap();
            reach.backup(&world.home(), store()).unwrap();
        }
        let good = reach.restored(&world.home(), store()).unwrap();
        commit(&world, |nodes, root| {
            let FileEntry::Database {
                stat,
                signature,
                pages,
                rows: Some(rows),
            } = nodes.entry(root, "chats.db")
            else {
                panic!("it went by pages");
            };
            let mut patches = load_patches(&rows, nodes).unwrap();
            assert_eq!(patches.len(), 2);
            harm(&mut patches);
            let entry = FileEntry::Database {
                stat,
                signature,
                pages,
                rows: Some(store_patches(&patches, nodes).unwrap()),
            };
            vec![("chats.db", entry)]
        });

        let database = Path::new("chats.db");
        let (mut there, restored) = reach.restore(&world.home(), store());
        let lost = restored.unwrap().report.lost;
        assert_eq!(lost.len(), 1, "{case}: {lost:?}");
        assert_eq!(lost[0].path, database, "{case}");
        assert_eq!(there.remove(database), None, "{case}");
        let mut others = good.clone();
        others.remove(database);
        assert!(there == others, "{case}");

        let haven = Keyhaven::open_at(&world.home(), place(store())).unwrap();
        let found = haven
            .verify(Depth::All, None, &Cancel::new(), &mut ())
            .unwrap();
        let lost: Vec<_> = found.lost.iter().map(|lost| &lost.path).collect();
        assert_eq!(lost, [database], "{case}");

        settle();
        // What was found so is sent again, though each of its objects is whole.
        let mended = reach.backup(&world.home(), store()).unwrap();
        let reason = mended.damaged.map(|damaged| damaged.reason);
        assert!(
            reason.is_some_and(|reason| reason.contains("patches")),
            "{case}"
        );
        assert!(reach.restored(&world.home(), store()).unwrap() == good);
        let found = haven
            .verify(Depth::All, None, &Cancel::new(), &mut ())
            .unwrap();
        assert!(found.is_good(), "{case}: {found:?}");
        let after = reach.backup(&world.home(), store()).unwrap();
        assert_eq!(after.outcome, Outcome::Unchanged, "{case}");
    }
}
