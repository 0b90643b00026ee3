//! What a messenger does that embeds the library: its own SQLite supplies pages, a run is cancelled
//! or has a budget, progress is told.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test program, helpers included: a failure is a panic"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use keyhaven::{
    BackupError, BackupOptions, Budget, Cancel, ConnectionPages, DatabaseError, Image, ImageShape,
    Keyhaven, Observer, Outcome, PageSink, PageSource, Phase, Place, Progress, RestoreOptions,
    Setup, Tier,
};
use rusqlite::Connection;

fn set_up(world: &Path) -> Keyhaven {
    let place = Place::parse(world.join("store").to_str().unwrap()).unwrap();
    let setup = Setup::begin(&world.join("home"), &world.join("chats"), place).unwrap();
    let digits = setup.recovery_key().to_string();
    setup.prove_recovery_key(&digits).unwrap().finish().unwrap()
}

fn files(root: &Path, count: u8) {
    std::fs::create_dir_all(root).unwrap();
    for number in 0..count {
        std::fs::write(root.join(format!("{number:03}.jpg")), vec![number; 300_000]).unwrap();
    }
    // What was written a moment ago is read once more by the next run: let it settle.
    std::thread::sleep(Duration::from_millis(100));
}

/// BACKUP-1: the app has the database open and has not committed its last change; its own
/// connection supplies the pages of the committed state.
#[test]
fn an_app_supplies_the_pages_of_its_own_database() {
    let world = tempfile::tempdir().unwrap();
    let chats = world.path().join("chats");
    std::fs::create_dir(&chats).unwrap();
    let app = Connection::open(chats.join("app.db")).unwrap();
    app.execute_batch(
        "PRAGMA journal_mode=WAL; CREATE TABLE message(text TEXT);
         INSERT INTO message VALUES('committed');",
    )
    .unwrap();
    let haven = set_up(world.path());
    let mut pages = ConnectionPages::new(&app);
    let report = haven
        .backup(
            BackupOptions {
                databases: vec![("app.db".into(), &mut pages)],
                ..BackupOptions::default()
            },
            &mut (),
        )
        .unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
    let to = world.path().join("restored");
    haven
        .restore(&to, &RestoreOptions::default(), &mut ())
        .unwrap();
    let back = Connection::open(to.join("app.db")).unwrap();
    let text: String = back
        .query_row("SELECT text FROM message", [], |row| row.get(0))
        .unwrap();
    assert_eq!(text, "committed");
    // The app's connection still holds its locks and can go on.
    app.execute("INSERT INTO message VALUES('later')", [])
        .unwrap();
}

/// Pages of a database, during which somebody calls the run off.
struct CalledOff<'a> {
    pages: ConnectionPages<'a>,
    cancel: Cancel,
    taken: u32,
}

impl PageSource for CalledOff<'_> {
    fn read_pages(&mut self, sink: &mut dyn PageSink) -> Result<Image, DatabaseError> {
        struct Sink<'a>(&'a mut dyn PageSink, &'a Cancel, &'a mut u32);
        impl PageSink for Sink<'_> {
            fn begin(&mut self, shape: ImageShape) -> ControlFlow<()> {
                self.0.begin(shape)
            }

            fn page(&mut self, number: u32, bytes: &[u8]) -> ControlFlow<()> {
                if number == 5 {
                    self.1.cancel();
                }
                *self.2 += 1;
                self.0.page(number, bytes)
            }
        }
        let mut sink = Sink(sink, &self.cancel, &mut self.taken);
        self.pages.read_pages(&mut sink)
    }
}

/// A database may take minutes: whoever calls a run off does not wait for its end. The next run takes it.
#[test]
fn a_run_that_is_called_off_reads_no_further_in_a_database() {
    let world = tempfile::tempdir().unwrap();
    let chats = world.path().join("chats");
    std::fs::create_dir(&chats).unwrap();
    let app = Connection::open(chats.join("app.db")).unwrap();
    app.execute_batch(
        "PRAGMA journal_mode=WAL; CREATE TABLE message(text TEXT);
         INSERT INTO message VALUES(zeroblob(1000000));",
    )
    .unwrap();
    let haven = set_up(world.path());
    for tier in [Tier::Pages, Tier::Rows] {
        let cancel = Cancel::new();
        let mut pages = CalledOff {
            pages: ConnectionPages::new(&app),
            cancel: cancel.clone(),
            taken: 0,
        };
        let options = BackupOptions {
            databases: vec![("app.db".into(), &mut pages)],
            cancel,
            tier,
            ..BackupOptions::default()
        };
        let ended = haven.backup(options, &mut ());
        assert!(matches!(ended, Err(BackupError::Cancelled)), "{ended:?}");
        assert_eq!(pages.taken, 5);
    }
    let mut pages = ConnectionPages::new(&app);
    let options = BackupOptions {
        databases: vec![("app.db".into(), &mut pages)],
        ..BackupOptions::default()
    };
    let report = haven.backup(options, &mut ()).unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
}

/// BACKUP-2: a budget ends a run with a good snapshot, and the next run takes the rest.
#[test]
fn a_budget_leaves_files_pending_and_the_next_run_takes_them() {
    let world = tempfile::tempdir().unwrap();
    files(&world.path().join("chats"), 60);
    let haven = set_up(world.path());
    let mut runs = 0_u64;
    let mut pending = u64::MAX;
    loop {
        let budget = Budget {
            time: None,
            bytes: Some(1 << 20),
        };
        let report = haven
            .backup(
                BackupOptions {
                    budget,
                    ..BackupOptions::default()
                },
                &mut (),
            )
            .unwrap();
        runs += 1;
        match report.outcome {
            Outcome::Partial { pending_files } => {
                assert!(pending_files < pending, "each run takes some");
                pending = pending_files;
            }
            Outcome::Complete | Outcome::Unchanged => break,
        }
    }
    assert!(runs > 1, "the budget was felt");
    let to = world.path().join("restored");
    let restored = haven
        .restore(&to, &RestoreOptions::default(), &mut ())
        .unwrap();
    assert_eq!(restored.report.files, 60);
}

#[test]
fn no_time_at_all_still_leaves_a_snapshot() {
    let world = tempfile::tempdir().unwrap();
    files(&world.path().join("chats"), 3);
    let haven = set_up(world.path());
    let budget = Budget {
        time: Some(Duration::ZERO),
        bytes: None,
    };
    let report = haven
        .backup(
            BackupOptions {
                budget,
                ..BackupOptions::default()
            },
            &mut (),
        )
        .unwrap();
    assert_eq!(report.outcome, Outcome::Partial { pending_files: 3 });
}

/// Cancels a run as soon as media are under way.
struct Impatient(Cancel, bool);

impl Observer for Impatient {
    fn progress(&mut self, progress: &Progress) {
        self.1 |= progress.phase == Phase::Survey;
        if progress.phase == Phase::Media {
            self.0.cancel();
        }
    }
}

#[test]
fn a_cancelled_run_says_so_and_the_next_one_completes() {
    let world = tempfile::tempdir().unwrap();
    files(&world.path().join("chats"), 30);
    let haven = set_up(world.path());
    let cancel = Cancel::new();
    let mut observer = Impatient(cancel.clone(), false);
    let cancelled = haven.backup(
        BackupOptions {
            cancel,
            ..BackupOptions::default()
        },
        &mut observer,
    );
    assert!(matches!(cancelled, Err(BackupError::Cancelled)));
    assert!(observer.1, "progress was told");
    let report = haven.backup(BackupOptions::default(), &mut ()).unwrap();
    assert_eq!(report.outcome, Outcome::Complete);
}
