//! A long run commits what it has so far: messages before media, and media as they go.

use std::sync::Arc;
use std::time::Duration;

use keyhaven::store::{Body, ObjectPath, Store, StoreError};
use keyhaven::{BackupOptions, Keyhaven, Outcome, Pace};
use keyhaven_hostile_store::{MemoryStore, Over, Through};

use crate::world::{Reach, World};

/// A store that takes its time with each pack.
struct Slow(MemoryStore);

impl Over for Slow {
    fn behind(&self) -> &dyn Store {
        &self.0
    }

    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        if path.as_str().starts_with("packs/") {
            std::thread::sleep(Duration::from_millis(150));
        }
        self.0.put(path, body)
    }
}

/// BACKUP-2: with much media to come, the messages of a day are a backup before the media are, also while their one pack is
/// still on its way.
#[test]
fn a_days_messages_are_committed_before_its_media_however_slow_the_store_is() {
    for reach in [Reach::Near, Reach::Far, Reach::ByRows] {
        let world = World::new();
        let store = Arc::new(Through(Slow(world.store.clone())));
        let haven = Keyhaven::open_at(&world.home(), reach.place(store.clone())).unwrap();
        let run = |messages_first_bytes| {
            let options = BackupOptions {
                tier: reach.tier(),
                pace: Pace {
                    messages_first_bytes,
                    ..Pace::default()
                },
                ..BackupOptions::default()
            };
            let report = haven.backup(options, &mut ()).unwrap();
            assert_eq!(report.outcome, Outcome::Complete, "{reach:?}");
            haven.snapshots().unwrap()
        };
        let before = run(u64::MAX).len();
        world.another_day_passes(1);
        let after = run(3_000);
        assert_eq!(after.len(), before + 2, "{reach:?}");
        // The newest first.
        let complete: Vec<bool> = after[..3].iter().map(|one| one.complete).collect();
        assert_eq!(complete, [true, false, true], "{reach:?}");
        world.state_by(reach);
        // One byte less of media than that, and there is one commit.
        world.another_day_passes(2);
        assert_eq!(run(3_001).len(), after.len() + 1, "{reach:?}");
    }
}
