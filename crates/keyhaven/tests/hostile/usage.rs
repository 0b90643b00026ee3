//! What a store's bytes are said to be.

use std::sync::Arc;

use keyhaven::store::StoreError;
use keyhaven::{Keyhaven, RestoreError, Usage};
use keyhaven_hostile_store::{FailAt, Moment, Operation, Recording, Span};

use crate::world::{Reach, World, scratch};

fn usage(world: &World, reach: Reach) -> Usage {
    let place = reach.place(Arc::new(world.store.clone()));
    let haven = Keyhaven::open_at(&world.home(), place).unwrap();
    haven.usage().unwrap()
}

/// All bytes are told, each once; an older backup's are `other`, and a file that is there twice is live once.
#[test]
fn every_byte_of_a_store_is_live_or_padding_or_other() {
    for reach in [Reach::Near, Reach::Far, Reach::ByRows] {
        let world = World::new();
        let backup = || reach.backup(&world.home(), Arc::new(world.store.clone()));
        backup().unwrap();
        let first = usage(&world, reach);
        let objects = world.store.objects();
        let all = objects
            .iter()
            .filter(|(path, _)| path.as_str() != "keyhaven");
        let (count, bytes) = all.fold((0, 0), |(count, bytes), (_, object)| {
            (count + 1, bytes + object.len() as u64)
        });
        assert_eq!((first.stored_objects, first.stored_bytes), (count, bytes));
        let sum = first.live_bytes + first.padding_bytes + first.other_bytes;
        assert_eq!(sum, first.stored_bytes);
        // Media are not compressed: 24 photos and a film, and one photo once more.
        let media = (0..24).sum::<u64>() * 1700 + 300_000;
        assert!(
            first.live_bytes > media && first.live_bytes < media + 150_000,
            "{first:?}"
        );
        assert_eq!((first.live_objects, first.unmeasured_objects), (3, 0));
        assert!(first.other_bytes < 64 * 1024, "{first:?}");

        world.a_day_passes();
        backup().unwrap();
        let second = usage(&world, reach);
        assert!(
            second.stored_bytes > first.stored_bytes && second.live_objects > 3,
            "{second:?}"
        );
        // What the photo that was deleted left.
        assert!(
            second.other_bytes > first.other_bytes + 3 * 1700,
            "{second:?}"
        );
        world.state_by(reach);
    }
}

/// How much of each pack is padding is remembered when it is sealed, so that a far store is only listed; where it is not
/// remembered, or not of this store, it is read once.
#[test]
fn the_ends_of_packs_are_read_only_where_they_are_not_known() {
    let world = World::new();
    let reach = Reach::Far;
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    let gets = || {
        let recording = Arc::new(Recording::new(Arc::new(world.store.clone())));
        let haven = Keyhaven::open_at(&world.home(), reach.place(recording.clone())).unwrap();
        (haven.usage().unwrap(), recording.count(Operation::Get))
    };
    let (known, few) = gets();
    assert_eq!(few, 1, "the marker");
    let footers = world.home().join("state/footers");
    std::fs::remove_file(&footers).unwrap();
    let (read, more) = gets();
    assert_eq!((read, more), (known, few + 2 * 3));
    assert_eq!(gets(), (known, few));
    for damage in [vec![0xff; 400], vec![0; 30], Vec::new()] {
        std::fs::write(&footers, damage).unwrap();
        assert_eq!(gets(), (known, few + 2 * 3));
    }
}

/// What cannot be counted is an error, and a pack whose end is damaged is counted as not measured.
#[test]
fn a_damaged_pack_is_not_measured_and_a_store_that_is_away_is_an_error() {
    let world = World::new();
    let reach = Reach::Near;
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    world.a_day_passes();
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    let known = usage(&world, reach);
    let mut unmeasured = 0;
    for (path, object) in world.store.objects() {
        if !path.as_str().starts_with("packs/") {
            continue;
        }
        let mut damaged = object.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        world.store.plant(path.clone(), damaged.into());
        std::fs::remove_file(world.home().join("state/footers")).unwrap();
        let haven = Keyhaven::open_at(&world.home(), reach.place(Arc::new(world.store.clone())));
        match haven.unwrap().usage() {
            Ok(found) => {
                assert_eq!(found.unmeasured_objects, 1, "{path}");
                assert_eq!(found.live_bytes, known.live_bytes);
                assert_eq!(
                    found.other_bytes - known.other_bytes,
                    known.padding_bytes - found.padding_bytes
                );
                unmeasured += 1;
            }
            // The end of an index pack may hold what is needed.
            Err(error) => assert!(matches!(error, RestoreError::Index(_)), "{error:?}"),
        }
        world.store.plant(path, object);
    }
    assert!(unmeasured >= 4, "{unmeasured}");
    let away = StoreError::Unreachable {
        outage: keyhaven::store::Outage::TimedOut,
        attempts: 1,
        pause: None,
    };
    let home = scratch();
    crate::world::copy_folder(&world.home(), home.path());
    let store: Arc<dyn keyhaven::store::Store> = Arc::new(world.store.clone());
    let failing = FailAt::new(store, 3, Moment::Before, Span::ForEver, away);
    let haven = Keyhaven::open_at(home.path(), reach.place(Arc::new(failing))).unwrap();
    assert!(matches!(
        haven.usage(),
        Err(RestoreError::Store(_) | RestoreError::History(_))
    ));
}
