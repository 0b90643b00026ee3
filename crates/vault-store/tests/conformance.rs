//! Both engines pass the one suite; the one that outlives its process also survives its death.

use std::env;
use std::process::{Command, Stdio};

use keyhaven_vault_store::conformance::{
    self, LOG_KEPT, Victim, append_until_killed, survives_kills,
};
use keyhaven_vault_store::{MemoryStore, RedbStore, StoreError};

#[test]
fn the_memory_engine_conforms() {
    conformance::run(&mut || {
        let disk = MemoryStore::new().keeping_log(LOG_KEPT);
        Box::new(move || Ok(disk.clone()))
    })
    .unwrap();
}

#[test]
fn the_embedded_engine_conforms() {
    conformance::run(&mut || {
        let folder = tempfile::tempdir().unwrap();
        Box::new(move || {
            let store = RedbStore::open(&folder.path().join("store.redb"))?;
            Ok(store.keeping_log(LOG_KEPT))
        })
    })
    .unwrap();
}

const VICTIM_STORE: &str = "KEYHAVEN_TEST_VICTIM_STORE";

/// Not a test: the process that `a_killed_process_leaves_a_whole_store` kills. It does nothing when
/// it is run without a store to append to.
#[test]
fn victim() {
    let Ok(path) = env::var(VICTIM_STORE) else {
        return;
    };
    let store = RedbStore::open(path.as_ref()).unwrap();
    // The harness captures what a test prints; the pipe's own handle is not captured.
    let ended = append_until_killed(&store, &mut std::io::stderr());
    panic!("{ended:?}");
}

/// VAULT-5: kill -9 between any two steps loses nothing acknowledged and leaves nothing half done.
#[test]
fn a_killed_process_leaves_a_whole_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    // Made before anything is killed, as a vault's is: in a folder that is delivered whole or not at
    // all. The engine's first bytes are no store yet if a kill falls between them.
    drop(RedbStore::open(&path).unwrap());
    let mut start = || {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "victim", "--nocapture"])
            .env(VICTIM_STORE, &path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let acknowledged = child.stderr.take().unwrap();
        Ok(Victim {
            acknowledged: Box::new(acknowledged),
            kill: Box::new(move || {
                child.kill().unwrap();
                child.wait().unwrap();
            }),
        })
    };
    let mut open = || RedbStore::open(&path);
    survives_kills(
        &[0, 1, 2, 3, 5, 8, 13, 21, 0, 34, 1, 1],
        &mut start,
        &mut open,
    )
    .unwrap();
}

#[test]
fn a_store_in_use_is_said_to_be_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let _held = RedbStore::open(&path).unwrap();
    assert!(matches!(
        RedbStore::open(&path),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn a_file_of_another_program_is_not_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    std::fs::write(
        &path,
        b"SQLite format 3\0 and so on, for a while".repeat(100),
    )
    .unwrap();
    assert!(matches!(
        RedbStore::open(&path),
        Err(StoreError::NotAStore { .. })
    ));

    let other = folder.path().join("other.redb");
    let database = redb::Database::create(&other).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<u64, u64>::new("theirs"))
        .unwrap();
    txn.commit().unwrap();
    drop(database);
    let opened = RedbStore::open(&other);
    assert!(
        matches!(opened, Err(StoreError::NotAStore { .. })),
        "{opened:?}"
    );
}
