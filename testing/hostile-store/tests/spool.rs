//! The spool before a remote store: order, bounds, crashes and lost uploads.
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

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::path;
use keyhaven::spool::{SpoolLimits, SpooledStore};
use keyhaven::store::{
    Body, CalledOff, ObjectFolder, ObjectPath, Outage, Patience, Patient, Store, StoreError,
};
use keyhaven_hostile_store::{
    FailAt, Flaky, MemoryStore, Moment, Operation, Over, Rates, Recording, Span, Through,
    conformance,
};

fn limits(bytes_max: u64) -> SpoolLimits {
    SpoolLimits {
        bytes_max,
        spare_bytes: 0,
        uploads_max: 2,
        fast_from: 0,
    }
}

fn spooled(remote: Arc<dyn Store>, home: &tempfile::TempDir, bytes_max: u64) -> SpooledStore {
    SpooledStore::open(
        remote,
        &home.path().join("spool"),
        limits(bytes_max),
        CalledOff::never(),
    )
    .unwrap()
}

fn outage() -> StoreError {
    StoreError::Unreachable {
        outage: Outage::Connection,
        attempts: 6,
        pause: None,
    }
}

/// A remote store whose puts wait until it is let go.
struct Slow {
    store: MemoryStore,
    go: Arc<AtomicBool>,
}

impl Over for Slow {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        while !self.go.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.store.put(path, body)
    }
}

#[test]
fn a_spooled_store_is_an_honest_store() {
    let home = tempfile::tempdir().unwrap();
    let store = spooled(Arc::new(MemoryStore::new()), &home, 64 << 20);
    conformance::check(&store, &mut tempfile::tempfile().unwrap()).unwrap();
    assert!(store.leftovers().is_empty());
}

#[test]
fn puts_do_not_wait_for_uploads_and_flush_does() {
    let home = tempfile::tempdir().unwrap();
    let remote = MemoryStore::new();
    let go = Arc::new(AtomicBool::new(false));
    let slow = Slow {
        store: remote.clone(),
        go: Arc::clone(&go),
    };
    let store = spooled(Arc::new(Through(slow)), &home, 64 << 20);
    for n in 0..8_u8 {
        let path = path(&format!("packs/00/{n}"));
        store.put(&path, Body::Bytes(&vec![n; 1 << 20])).unwrap();
        // What is put can be read while nothing has been sent.
        assert_eq!(store.get(&path, Some(0..1)).unwrap(), [n]);
    }
    assert!(remote.objects().is_empty());
    go.store(true, Ordering::SeqCst);
    store.flush().unwrap();
    assert_eq!(remote.objects().len(), 8);
    assert_eq!(
        store.spool_room().unwrap(),
        64 << 20,
        "the spool is empty again"
    );
}

/// BACKUP-1: what is sent is what was put. What the spool's disk has lost or spoilt meanwhile is never sent: the run that has
/// sealed it hears of it, and the next one seals it anew.
#[test]
fn what_a_spool_has_spoilt_is_not_sent() {
    type Harm = fn(&std::path::Path);
    let harms: [Harm; 5] = [
        |file| std::fs::write(file, [7; 999]).unwrap(),
        |file| std::fs::write(file, []).unwrap(),
        |file| std::fs::write(file, [[7; 999].as_slice(), &[8]].concat()).unwrap(),
        |file| std::fs::remove_file(file).unwrap(),
        |file| std::fs::remove_dir_all(file.ancestors().nth(3).unwrap()).unwrap(),
    ];
    for (case, harm) in harms.into_iter().enumerate() {
        let home = tempfile::tempdir().unwrap();
        let remote = MemoryStore::new();
        let go = Arc::new(AtomicBool::new(false));
        let slow = Slow {
            store: remote.clone(),
            go: Arc::clone(&go),
        };
        let store = spooled(Arc::new(Through(slow)), &home, 64 << 20);
        // As many as are uploaded at a time, and one that waits.
        for n in ["0", "1", "2"] {
            let path = path(&format!("packs/00/{n}"));
            store.put(&path, Body::Bytes(&[7; 1000])).unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        harm(&home.path().join("spool/packs/00/2"));
        go.store(true, Ordering::SeqCst);
        let error = store.flush().unwrap_err();
        let is_told = matches!(error, StoreError::FlushFailed { .. });
        assert!(is_told, "{case}: {error:?}");
        drop(store);
        assert_eq!(remote.bytes(&path("packs/00/2")), None, "{case}");
        let store = spooled(Arc::new(remote), &home, 64 << 20);
        let left = store.leftovers();
        assert!(
            left.iter().all(|left| left.path != path("packs/00/2")),
            "{case}: {left:?}"
        );
    }
}

/// Notes the most bytes and the most objects that were ever on their way to it.
#[derive(Default)]
struct Line {
    store: MemoryStore,
    go: AtomicBool,
    now: Mutex<BTreeMap<ObjectPath, u64>>,
    most: Mutex<(u64, usize)>,
}

impl Over for Line {
    fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn put(&self, path: &ObjectPath, body: Body<'_>) -> Result<(), StoreError> {
        let mut now = self.now.lock().unwrap();
        now.insert(path.clone(), body.len());
        let mut most = self.most.lock().unwrap();
        most.0 = most.0.max(now.values().sum());
        most.1 = most.1.max(now.len());
        drop((now, most));
        while !self.go.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        // Long enough for others to begin, if they may.
        std::thread::sleep(Duration::from_millis(30));
        let done = self.store.put(path, body);
        self.now.lock().unwrap().remove(path);
        done
    }
}

/// What a kill costs: on a slow line never more than one full pack, whatever else waits; small ones go side by side.
#[test]
fn on_a_slow_line_no_more_is_under_way_than_one_full_pack() {
    let most = |fast_from, len: usize, count: u8| {
        let home = tempfile::tempdir().unwrap();
        let line = Arc::new(Through(Line::default()));
        let limits = SpoolLimits {
            uploads_max: 3,
            fast_from,
            ..limits(1 << 30)
        };
        let remote = Arc::<Through<Line>>::clone(&line);
        let folder = home.path().join("spool");
        let store = SpooledStore::open(remote, &folder, limits, CalledOff::never()).unwrap();
        for n in 0..count {
            let path = path(&format!("packs/00/{n}"));
            store.put(&path, Body::Bytes(&vec![n; len])).unwrap();
        }
        line.go.store(true, Ordering::SeqCst);
        store.flush().unwrap();
        assert_eq!(line.store.objects().len(), usize::from(count));
        *line.most.lock().unwrap()
    };
    let (full, slow, fast) = (8 << 20, u64::MAX, 0);
    assert_eq!(most(slow, full, 6), (8 << 20, 1));
    assert_eq!(most(slow, 5 << 20, 6), (5 << 20, 1));
    assert_eq!(most(slow, 256 << 10, 12), (768 << 10, 3));
    assert_eq!(most(fast, full, 12), (24 << 20, 3));
}

#[test]
fn a_spool_takes_no_more_disk_than_it_may() {
    let home = tempfile::tempdir().unwrap();
    let go = Arc::new(AtomicBool::new(false));
    let slow = Slow {
        store: MemoryStore::new(),
        go: Arc::clone(&go),
    };
    let store = Arc::new(spooled(Arc::new(Through(slow)), &home, 3 << 20));
    let error = store.ensure_spool_room((3 << 20) + 1).unwrap_err();
    let due = StoreError::SpoolFull {
        needed: (3 << 20) + 1,
        free: 3 << 20,
    };
    assert_eq!(error, due, "said before anything is read");
    let error = store
        .put(&path("packs/00/huge"), Body::Bytes(&vec![0; 4 << 20]))
        .unwrap_err();
    assert!(matches!(error, StoreError::SpoolFull { .. }), "{error:?}");

    let filled = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (store, filled) = (Arc::clone(&store), Arc::clone(&filled));
        move || {
            for n in 0..6_u8 {
                if n == 3 {
                    filled.store(true, Ordering::SeqCst);
                }
                let path = path(&format!("packs/00/{n}"));
                store.put(&path, Body::Bytes(&vec![n; 1 << 20])).unwrap();
            }
            store.flush().unwrap();
        }
    });
    while !filled.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(!writer.is_finished(), "the fourth put waits for room");
    assert!(store.spool_room().unwrap() == 0);
    go.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    assert_eq!(store.list(&ObjectFolder::root()).unwrap().len(), 6);
}

/// BACKUP-2, BACKUP-5: after a crash, what was sealed is sent under the same name with the same
/// bytes, or dropped, as local state knows it or not.
#[test]
fn what_a_crash_leaves_is_sent_again_under_the_same_name_or_dropped() {
    let home = tempfile::tempdir().unwrap();
    let remote = MemoryStore::new();
    let failing = FailAt::new(
        Arc::new(remote.clone()),
        0,
        Moment::Before,
        Span::ForEver,
        outage(),
    );
    let store = spooled(Arc::new(failing), &home, 64 << 20);
    let one = path("packs/00/known");
    let two = path("packs/00/unknown");
    for path in [&one, &two] {
        // The failed upload may be reported by the next put already.
        let _ = store.put(path, Body::Bytes(path.as_str().as_bytes()));
    }
    assert_eq!(store.flush().unwrap_err(), outage());
    drop(store);

    let recording = Arc::new(Recording::new(Arc::new(remote.clone())));
    let store = spooled(recording.clone(), &home, 64 << 20);
    let left: Vec<_> = store
        .leftovers()
        .into_iter()
        .map(|listed| listed.path)
        .collect();
    assert!(left.contains(&one), "{left:?}");
    let sent = store.resend_leftovers(|path| *path == one).unwrap();
    assert_eq!(sent, 1);
    store.flush().unwrap();
    assert_eq!(&*remote.bytes(&one).unwrap(), one.as_str().as_bytes());
    assert_eq!(remote.bytes(&two), None);
    assert_eq!(recording.count(Operation::Put), 1);
    assert!(store.leftovers().is_empty());
    drop(store);
    // Nothing is left to send twice.
    let store = spooled(recording, &home, 64 << 20);
    assert!(store.leftovers().is_empty());
}

#[test]
fn a_failed_upload_is_reported_and_nothing_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let remote = MemoryStore::new();
    for at in 0..6 {
        let failing = FailAt::new(
            Arc::new(remote.clone()),
            at,
            Moment::After,
            Span::ForEver,
            outage(),
        );
        let store = spooled(Arc::new(failing), &home, 64 << 20);
        store.resend_leftovers(|_| true).unwrap();
        let mut put = Vec::new();
        let mut failed = None;
        for n in 0..6_u8 {
            let path = path(&format!("packs/{at:02x}/{n}"));
            match store.put(&path, Body::Bytes(&[n; 100])) {
                Ok(()) => put.push((path, n)),
                Err(error) => failed = Some(error),
            }
        }
        let error = store.flush().unwrap_err();
        assert_eq!(error, outage());
        assert!(failed.is_none_or(|failed| failed == error));
        drop(store);
        // What was acknowledged is in the remote store, in the spool, or both.
        let store = spooled(Arc::new(remote.clone()), &home, 64 << 20);
        for (path, n) in put {
            assert_eq!(store.get(&path, None).unwrap(), [n; 100], "{path}");
        }
        store.resend_leftovers(|_| true).unwrap();
        store.flush().unwrap();
    }
}

#[test]
fn a_spool_that_is_called_off_ends_soon_and_keeps_what_it_has() {
    let home = tempfile::tempdir().unwrap();
    let go = Arc::new(AtomicBool::new(false));
    let slow = Slow {
        store: MemoryStore::new(),
        go: Arc::clone(&go),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let called_off = CalledOff::when(move || asked.load(Ordering::SeqCst));
    let folder = home.path().join("spool");
    let store = SpooledStore::open(
        Arc::new(Through(slow)),
        &folder,
        limits(64 << 20),
        called_off,
    )
    .unwrap();
    for n in 0..5_u8 {
        store
            .put(&path(&format!("packs/00/{n}")), Body::Bytes(&[n; 10]))
            .unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    assert_eq!(store.flush().unwrap_err(), StoreError::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(2));
    go.store(true, Ordering::SeqCst);
    drop(store);
    let store = spooled(Arc::new(MemoryStore::new()), &home, 64 << 20);
    assert!(
        store.leftovers().len() >= 3,
        "two uploads were under way, the rest is kept"
    );
}

/// BACKUP-2 under F16: passing faults pass, and what does not is an error, not a loss.
#[test]
fn a_flaky_store_behind_patience_and_a_spool_loses_nothing() {
    let mut struck = 0;
    let mut gave_up = 0;
    for seed in 0..40 {
        let home = tempfile::tempdir().unwrap();
        let remote = MemoryStore::new();
        // Half of the seeds are bad weather, half are storms in which tries run out.
        let rate = if seed % 2 == 0 { 30 } else { 180 };
        let rates = Rates {
            torn_put: rate,
            ..Rates::passing(rate)
        };
        let flaky = Arc::new(Flaky::new(Arc::new(remote.clone()), seed, rates));
        let patience = Patience {
            attempts_max: 5,
            pause_first: Duration::from_micros(10),
            pause_max: Duration::from_micros(50),
            ..Patience::default()
        };
        let patient = Patient::new(Arc::clone(&flaky), patience, CalledOff::never());
        let store = spooled(Arc::new(patient), &home, 64 << 20);
        let mut put = Vec::new();
        for n in 0..12_u8 {
            let path = path(&format!("packs/00/{n}"));
            if store.put(&path, Body::Bytes(&[n; 1000])).is_ok() {
                put.push((path, n));
            }
        }
        let flushed = store.flush();
        struck += flaky.struck();
        drop(store);
        match flushed {
            Ok(()) => {
                for (path, n) in &put {
                    assert_eq!(
                        &*remote.bytes(path).unwrap(),
                        [*n; 1000],
                        "seed {seed}: {path}"
                    );
                }
            }
            Err(error) => {
                gave_up += 1;
                assert!(
                    matches!(error, StoreError::Unreachable { attempts: 5, .. }),
                    "{error:?}"
                );
                let again = spooled(Arc::new(remote.clone()), &home, 64 << 20);
                again.resend_leftovers(|_| true).unwrap();
                again.flush().unwrap();
                for (path, n) in &put {
                    assert_eq!(
                        &*remote.bytes(path).unwrap(),
                        [*n; 1000],
                        "seed {seed}: {path}"
                    );
                }
            }
        }
    }
    assert!(struck > 100, "only {struck} faults struck");
    assert!(gave_up > 0, "no storm was bad enough to give up in");
}
