//! The hostile stores do what they say, and the suite catches stores that are not honest.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test program, helpers included: a failure is a panic"
)]

mod common;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use common::path;
use keyhaven::store::{Body, Listed, ObjectFolder, ObjectPath, Outage, Store, StoreError};
use keyhaven_hostile_store::{
    FailAt, Flaky, MemoryStore, Moment, Mutation, Operation, Rates, Recording, Span, conformance,
    mutations,
};

fn repository() -> MemoryStore {
    let store = MemoryStore::new();
    for (name, len) in [
        ("keyhaven", 64),
        ("packs/00/aa", 5000),
        ("packs/11/bb", 5000),
        ("snapshots/cc", 4096),
    ] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| (n % 251).to_le_bytes()[0]).collect();
        let mut bytes = bytes;
        bytes[0] = name.as_bytes()[name.len() - 1];
        store.put(&path(name), Body::Bytes(&bytes)).unwrap();
    }
    store.flush().unwrap();
    store
}

/// What a client can see of a store.
type Seen = (Vec<Listed>, Vec<(ObjectPath, Vec<u8>)>);

fn seen(store: &dyn Store) -> Seen {
    let listed = store.list(&ObjectFolder::root()).unwrap();
    let mut objects = Vec::new();
    for name in [
        "keyhaven",
        "packs/00/aa",
        "packs/11/bb",
        "snapshots/cc",
        "packs/00/a0",
        "packs/11/b0",
        "snapshots/c0",
        "keyhave0",
    ] {
        let path = path(name);
        if let Ok(bytes) = store.get(&path, None) {
            objects.push((path, bytes));
        }
    }
    (listed, objects)
}

/// BACKUP-4, F15: every mutation changes what a client sees, each another thing, the same every
/// time, and none touches the repository that it is applied to.
#[test]
fn every_mutation_shows_and_each_is_another() {
    let older = repository();
    let store = repository();
    store
        .put(&path("snapshots/cc"), Body::Bytes(b"newer"))
        .unwrap();
    let honest = seen(&store);
    let mut names = BTreeSet::new();
    let mut states = BTreeSet::new();
    for mutation in mutations(&store, Some(&older)) {
        let tampered = mutation.apply_with(&store, Some(&older));
        let now = seen(&tampered);
        assert_ne!(now, honest, "{mutation} does not show");
        assert_eq!(
            now,
            seen(&mutation.apply_with(&store, Some(&older))),
            "{mutation} varies"
        );
        assert!(names.insert(mutation.to_string()), "{mutation} twice");
        states.insert(now);
    }
    assert_eq!(seen(&store), honest, "the repository itself is as it was");
    // Some ways lead to one state, such as replaying the only changed object and rolling back.
    assert!(
        names.len() > 80 && names.len() - states.len() <= 4,
        "{} {}",
        names.len(),
        states.len()
    );
    let has = |wanted: fn(&Mutation) -> bool| mutations(&store, Some(&older)).any(|m| wanted(&m));
    assert!(has(|m| matches!(m, Mutation::Swap { .. })));
    assert!(has(|m| matches!(m, Mutation::Replay { .. })));
    assert!(has(|m| matches!(m, Mutation::RollBack)));
    assert!(mutations(&store, None).all(|m| !matches!(m, Mutation::RollBack)));
}

#[test]
fn a_loss_of_power_takes_any_subset_of_what_was_not_flushed() {
    let store = repository();
    let (new, old) = (path("packs/22/new"), path("packs/00/aa"));
    store.put(&new, Body::Bytes(b"new")).unwrap();
    store.delete(&old).unwrap();
    assert_eq!(store.unflushed(), [old.clone(), new.clone()]);
    for survive in 0..4_u8 {
        let after = store.after_power_loss(|path| {
            if *path == new {
                survive & 1 != 0
            } else {
                survive & 2 != 0
            }
        });
        assert_eq!(after.bytes(&new).is_some(), survive & 1 != 0);
        assert_eq!(after.bytes(&old).is_none(), survive & 2 != 0);
        assert!(after.unflushed().is_empty());
    }
    store.flush().unwrap();
    let after = store.after_power_loss(|_| false);
    assert!(after.bytes(&new).is_some() && after.bytes(&old).is_none());
}

/// F1: the n-th call fails, before or after it took effect, once or for ever.
#[test]
fn the_nth_call_fails_as_told() {
    let error = StoreError::Unreachable {
        outage: Outage::TimedOut,
        attempts: 1,
        pause: None,
    };
    for (moment, span) in [
        (Moment::Before, Span::Once),
        (Moment::After, Span::Once),
        (Moment::Before, Span::ForEver),
        (Moment::After, Span::ForEver),
    ] {
        for at in 0..4_u64 {
            let memory = MemoryStore::new();
            let store = FailAt::new(Arc::new(memory.clone()), at, moment, span, error.clone());
            for n in 0..4_u64 {
                let outcome = store.put(&path(&format!("packs/00/{n}")), Body::Bytes(b"x"));
                let fails = n == at || (span == Span::ForEver && n > at);
                assert_eq!(outcome.is_err(), fails, "{moment:?} {span:?} {at} {n}");
            }
            assert_eq!(store.calls(), 4);
            let took_effect = (0..4_u64)
                .filter(|n| memory.bytes(&path(&format!("packs/00/{n}"))).is_some())
                .collect::<Vec<_>>();
            let due = (0..4_u64)
                .filter(|n| match span {
                    _ if *n == at => moment == Moment::After,
                    Span::Once => true,
                    Span::ForEver => *n < at,
                })
                .collect::<Vec<_>>();
            assert_eq!(took_effect, due);
        }
    }
}

#[test]
fn a_recording_tells_every_call_and_its_bytes() {
    let store = Recording::new(Arc::new(MemoryStore::with_room(10)));
    store
        .put(&path("packs/00/one"), Body::Bytes(b"seven b"))
        .unwrap();
    assert!(matches!(
        store.put(&path("packs/00/two"), Body::Bytes(b"seven b")),
        Err(StoreError::Full {
            needed: 7,
            free: Some(3)
        })
    ));
    store.get(&path("packs/00/one"), Some(0..3)).unwrap();
    store.flush().unwrap();
    assert_eq!(store.count(Operation::Put), 2);
    assert_eq!(store.bytes(Operation::Put), 7, "what failed sent nothing");
    assert_eq!(store.bytes(Operation::Get), 3);
    let writes = store
        .calls()
        .iter()
        .filter(|call| call.operation.is_write())
        .count();
    assert_eq!(writes, 3);
}

#[test]
fn a_seed_gives_one_history() {
    let history = |seed| {
        let store = Flaky::new(Arc::new(repository()), seed, Rates::all(200));
        let outcomes: Vec<_> = (0..200)
            .map(|_| store.get(&path("packs/00/aa"), None).is_ok())
            .collect();
        assert!(store.struck() > 0);
        outcomes
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}

/// A store that breaks one rule at a time.
struct Dishonest {
    store: MemoryStore,
    sin: Sin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sin {
    None,
    ForgetsDeletes,
    CutsRanges,
    KeepsTheFirstPut,
    HidesSnapshots,
    ListsTwice,
    IgnoresBreak,
    FindsEverything,
    LosesTheLastByte,
}

impl Store for Dishonest {
    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        if self.sin == Sin::KeepsTheFirstPut && self.store.bytes(path).is_some() {
            return Ok(());
        }
        self.store.put(path, body)?;
        if self.sin == Sin::LosesTheLastByte {
            let bytes = self.store.take(path).unwrap();
            self.store
                .plant(path.clone(), bytes[..bytes.len().saturating_sub(1)].into());
        }
        Ok(())
    }

    fn get(
        &self,
        path: &ObjectPath,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Vec<u8>, StoreError> {
        match (self.sin, range) {
            (Sin::FindsEverything, _) => Ok(self.store.get(path, None).unwrap_or_default()),
            (Sin::CutsRanges, Some(range)) => {
                let len = self.store.length(path)?;
                self.store
                    .get(path, Some(range.start.min(len)..range.end.min(len)))
            }
            (_, range) => self.store.get(path, range),
        }
    }

    fn get_into(&self, path: &ObjectPath, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.store.get_into(path, offset, out)
    }

    fn length(&self, path: &ObjectPath) -> Result<u64, StoreError> {
        self.store.length(path)
    }

    fn visit(
        &self,
        folder: &ObjectFolder,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for listed in self.list(folder)? {
            if each(listed).is_break() && self.sin != Sin::IgnoresBreak {
                break;
            }
        }
        Ok(())
    }

    fn list(&self, folder: &ObjectFolder) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.store.list(folder)?;
        match self.sin {
            Sin::HidesSnapshots => {
                listed.retain(|listed| !listed.path.as_str().starts_with("snapshots"));
            }
            Sin::ListsTwice => listed.extend(listed.clone()),
            _ => {}
        }
        Ok(listed)
    }

    fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        if self.sin == Sin::ForgetsDeletes {
            return Ok(());
        }
        self.store.delete(path)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn adopt(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.store.adopt(path)
    }

    fn free_space(&self) -> Result<Option<u64>, StoreError> {
        self.store.free_space()
    }

    fn describe(&self) -> String {
        "dishonest".to_owned()
    }
}

/// A check that was never seen to fire is not yet a check.
#[test]
fn the_suite_catches_each_dishonest_store() {
    let outcome = |sin| {
        let store = Dishonest {
            store: MemoryStore::new(),
            sin,
        };
        conformance::check(&store, &mut tempfile::tempfile().unwrap())
    };
    outcome(Sin::None).unwrap();
    for sin in [
        Sin::ForgetsDeletes,
        Sin::CutsRanges,
        Sin::KeepsTheFirstPut,
        Sin::HidesSnapshots,
        Sin::ListsTwice,
        Sin::IgnoresBreak,
        Sin::FindsEverything,
        Sin::LosesTheLastByte,
    ] {
        assert!(outcome(sin).is_err(), "{sin:?} was not caught");
    }
}
