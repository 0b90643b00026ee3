//! How each database goes, and why: as `backup` tells it, and `status` after it.

use std::thread::sleep;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::world::World;

/// The chats' database, and a larger one: 6 MiB in two tables that change every day, and one that does not.
fn two_databases() -> (World, Connection) {
    let world = World::with_key();
    let large = Connection::open(world.at("chats/large.db")).unwrap();
    large
        .execute_batch(
            "CREATE TABLE message(id INTEGER PRIMARY KEY, body BLOB);
             CREATE TABLE receipt(id INTEGER PRIMARY KEY, at INTEGER);
             CREATE TABLE contact(name TEXT);
             INSERT INTO contact VALUES ('Theodora');
             WITH RECURSIVE n(v) AS (VALUES(1) UNION ALL SELECT v + 1 FROM n LIMIT 6000)
               INSERT INTO message(body) SELECT randomblob(1000) FROM n;",
        )
        .unwrap();
    (world, large)
}

fn day(large: &Connection) {
    large
        .execute_batch(
            "INSERT INTO message(body) VALUES (randomblob(100)), (randomblob(100));
             UPDATE message SET body = randomblob(50) WHERE id = 77;
             INSERT INTO receipt(at) VALUES (1);",
        )
        .unwrap();
    sleep(Duration::from_millis(100));
}

fn databases(world: &World, command: &str) -> Vec<Value> {
    let told = world
        .run(&format!("{command} --home home --json"))
        .is(0)
        .json();
    told["databases"].as_array().unwrap().clone()
}

#[test]
fn by_itself_a_large_database_goes_by_rows_and_a_small_one_by_pages() {
    let (world, large) = two_databases();
    sleep(Duration::from_millis(100));
    let first = databases(&world, "backup --tier auto");
    let told = |way: &Value| [&way["path"], &way["tier"], &way["why"]].map(Value::clone);
    assert_eq!(
        first.iter().map(told).collect::<Vec<_>>(),
        [
            ["chats.db", "pages", "it is small: its pages weigh no more"],
            [
                "large.db",
                "pages",
                "rows need pages to stand on: from the next backup on it goes by rows"
            ]
        ]
        .map(|way| way.map(Value::from))
    );
    assert!(first[1]["bytes"].as_u64().unwrap() > 6_000_000, "{first:?}");
    assert_eq!(databases(&world, "status"), first);

    day(&large);
    let second = databases(&world, "backup --tier auto");
    let [way] = second.as_slice() else {
        panic!("only one has changed: {second:?}");
    };
    let bytes = way["bytes"].as_u64().unwrap();
    assert!((250..5_000).contains(&bytes), "{way}");
    assert_eq!(
        *way,
        json!({
            "path": "large.db", "tier": "rows", "patches": 1, "rows": 4,
            "tables": [{ "name": "message", "rows": 3 }, { "name": "receipt", "rows": 1 }],
            "bytes": bytes, "why": "its rows were tried on a copy of its last state",
        })
    );
    assert_eq!(databases(&world, "status"), [first[0].clone(), way.clone()]);
    let status = world.run("status --home home").is(0);
    let status = status.says("database    chats.db: by pages (");
    status.says("database    large.db: by rows (4 rows changed: 3 in message, 1 in receipt, ");

    // Asked for, pages are the exact bytes, and no copy of the database stays on the device.
    assert!(world.at("home/state/shadow").exists());
    let third = databases(&world, "backup --tier pages");
    assert_eq!(third.len(), 1, "{third:?}");
    assert_eq!(
        told(&third[0]),
        ["large.db", "pages", "pages were asked for"].map(Value::from)
    );
    assert!(!world.at("home/state/shadow").exists());
    assert_eq!(
        databases(&world, "status"),
        [first[0].clone(), third[0].clone()]
    );
    world.run("restore --home home --to back").is(0);
    drop(large);
    let bytes = |at| std::fs::read(world.at(at)).unwrap();
    assert!(bytes("back/large.db") == bytes("chats/large.db"));
    world.same("back");
}

#[test]
fn patches_that_weigh_half_of_the_pages_make_place_for_new_ones() {
    let (world, large) = two_databases();
    databases(&world, "backup --tier rows");
    let mut went = Vec::new();
    for _ in 0..4 {
        large
            .execute_batch("UPDATE message SET body = randomblob(1000) WHERE id <= 2000")
            .unwrap();
        sleep(Duration::from_millis(100));
        let way = databases(&world, "backup --tier rows").pop().unwrap();
        let why = way["why"].as_str().unwrap().to_owned();
        went.push((way["tier"].clone(), why));
    }
    let tiers: Vec<_> = went.iter().map(|(tier, _)| tier.clone()).collect();
    assert_eq!(tiers, ["rows", "rows", "pages", "rows"], "{went:?}");
    assert!(went[2].1.contains("weighed half"), "{went:?}");
    world.run("restore --home home --to back").is(0);
    let back = Connection::open(world.at("back/large.db")).unwrap();
    let digest = |database: &Connection| -> Vec<Vec<u8>> {
        let mut rows = database.prepare("SELECT body FROM message").unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    assert!(digest(&back) == digest(&large));
}
