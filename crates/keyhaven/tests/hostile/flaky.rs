//! F16: a store that fails in passing, as clouds do, and not always honestly.

use std::sync::Arc;
use std::time::Duration;

use keyhaven::store::{CalledOff, Patience, Patient, Store};
use keyhaven::{BackupError, Lost, Outcome, RestoreError};
use keyhaven_hostile_store::{Flaky, Rates};
use keyhaven_secrets::Remedy;

use crate::world::{Reach, World, copy_folder, scratch};

const SEEDS: u64 = 40;
/// Seeds of the long form: `cargo xtask long flaky`.
const SEEDS_LONG: u64 = 500;

fn seeds() -> u64 {
    match std::env::var_os("KEYHAVEN_LONG") {
        Some(_) => SEEDS_LONG,
        None => SEEDS,
    }
}

/// BACKUP-1, BACKUP-2: a run over a flaky store ends well or in a typed error that says to try
/// again; what is restored is exact or refused; and when the store is calm, all completes.
#[test]
fn a_flaky_store_delays_a_backup_and_never_spoils_one() {
    flaky(Reach::Near, |flaky| flaky);
}

/// BACKUP-1, BACKUP-2: the same where the store is far: behind a spool, several uploads, and the
/// patience that every cloud is met with.
#[test]
fn a_flaky_cloud_delays_a_backup_and_never_spoils_one() {
    let patience = Patience {
        attempts_max: 4,
        pause_first: Duration::ZERO,
        pause_max: Duration::ZERO,
        ..Patience::default()
    };
    flaky(Reach::Far, |flaky| {
        Arc::new(Patient::new(flaky, patience, CalledOff::never()))
    });
}

/// BACKUP-1, BACKUP-2: the same where databases go by rows.
#[test]
fn a_flaky_store_never_spoils_a_backup_by_rows() {
    flaky(Reach::ByRows, |flaky| flaky);
}

fn flaky(reach: Reach, over: impl Fn(Arc<dyn Store>) -> Arc<dyn Store>) {
    let world = World::new();
    reach
        .backup(&world.home(), Arc::new(world.store.clone()))
        .unwrap();
    let one = world.state_by(reach);
    world.a_day_passes();
    let two = {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&world.home(), copy.path());
        reach.backup(copy.path(), Arc::new(store.clone())).unwrap();
        reach.restored(copy.path(), Arc::new(store)).unwrap()
    };
    let (mut good, mut refused, mut struck) = (0, 0, 0);
    for seed in 0..seeds() {
        let (store, copy) = (world.store.copy(), scratch());
        copy_folder(&world.home(), copy.path());
        // From one fault in a hundred calls of each kind to one in ten.
        let rates = match seed % 4 {
            0 => Rates::passing(10),
            1 => Rates::passing(100),
            2 => Rates::all(10),
            _ => Rates::all(100),
        };
        let honest = rates.wrong_length == 0;
        let flaky = Arc::new(Flaky::new(Arc::new(store.clone()), seed, rates));
        let met = over(flaky.clone());
        for _ in 0..6 {
            match reach.backup(copy.path(), met.clone()) {
                Ok(report) => {
                    good += 1;
                    assert!(
                        matches!(report.outcome, Outcome::Complete | Outcome::Unchanged),
                        "seed {seed}: {report:?}"
                    );
                }
                Err(error) => {
                    refused += 1;
                    // A list that leaves the newest out looks like a store that went back, and a
                    // body that is a byte short like a damaged one: those are told as such.
                    let is_due = error.remedy() == Remedy::RetryLater
                        || !honest
                            && matches!(
                                error,
                                BackupError::RolledBack { .. } | BackupError::History(_)
                            );
                    assert!(is_due, "seed {seed}: {error}");
                }
            }
            let (state, result) = reach.restore(copy.path(), met.clone());
            for (path, bytes) in &state {
                let is_one = one.get(path) == Some(bytes) || two.get(path) == Some(bytes);
                assert!(is_one, "seed {seed}: {path:?} has other bytes");
            }
            match result {
                Ok(restored) => {
                    good += 1;
                    let lost = &restored.report.lost;
                    // Between many failures a server may well give something else.
                    let is_due = |one: &Lost| one.remedy == Remedy::RetryLater;
                    assert!(lost.iter().all(is_due), "seed {seed}: {lost:?}");
                    let is_whole = state == one || state == two;
                    assert_eq!(is_whole, lost.is_empty(), "seed {seed}: {lost:?}");
                }
                Err(error) => {
                    refused += 1;
                    let is_due = error.remedy() == Remedy::RetryLater
                        || !honest
                            && matches!(
                                error,
                                RestoreError::NotFresh { .. } | RestoreError::History(_)
                            );
                    assert!(is_due, "seed {seed}: {error}");
                }
            }
        }
        struck += flaky.struck();
        // After the storm.
        reach
            .backup(copy.path(), Arc::new(store.clone()))
            .unwrap_or_else(|error| panic!("seed {seed}, calm: {error}"));
        let there = reach.restored(copy.path(), Arc::new(store)).unwrap();
        assert!(there == two, "seed {seed}, calm: other bytes");
    }
    println!("{reach:?}: runs that ended well: {good}, in an error: {refused}; faults: {struck}");
    assert!(good > 0 && refused > 0, "both were met");
}
