//! What a person does, each with the power lost at every point of it.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;

use crate::check::{Manner, scratch};
use crate::effort::Effort;
use crate::record::When;
use crate::story::{Story, run};
use crate::world::{World, files};

pub(crate) const SETUP: &str =
    "setup --home home --source chats --store store --recovery-key --recovery-key-file keys/key";
pub(crate) const BACKUP: &str = "backup --home home --quiet";
const RESTORE: &str = "restore --home home --quiet --to back";
const ROWS: &str = "backup --home home --quiet --tier rows";

/// A folder with a database, some pictures and a film; nothing is set up.
pub(crate) fn source() -> World {
    let world = World { folder: scratch() };
    fs::create_dir_all(world.at("chats/media")).unwrap();
    fs::create_dir_all(world.at("tmp")).unwrap();
    // In a folder of its own: nothing else that is flushed is beside it.
    fs::create_dir(world.at("keys")).unwrap();
    let chats = app(&world);
    chats
        .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE message(text TEXT)")
        .unwrap();
    drop(chats);
    messages(&world, 1_500);
    for number in 0..6 {
        media(&world, &format!("{number}.jpg"), 3_000 + 1_700 * number);
    }
    media(&world, "film.mp4", 70_000);
    settle();
    world
}

fn app(world: &World) -> Connection {
    Connection::open(world.at("chats/chats.db")).unwrap()
}

fn messages(world: &World, count: u32) {
    let mut chats = app(world);
    let all = chats.transaction().unwrap();
    for number in 0..count {
        let text = format!("message {number} of {count}, and some words more");
        all.execute("INSERT INTO message VALUES (?1)", [text])
            .unwrap();
    }
    all.commit().unwrap();
}

fn media(world: &World, name: &str, len: usize) {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    fs::write(world.at("chats/media").join(name), bytes).unwrap();
}

/// What changed a moment ago is read once more by the next backup.
fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

/// Some messages, a picture more, one less, and one that has another name.
pub(crate) fn a_day_passes(world: &World) {
    messages(world, 20);
    media(world, "new.jpg", 9_000);
    fs::remove_file(world.at("chats/media/2.jpg")).unwrap();
    fs::rename(
        world.at("chats/media/film.mp4"),
        world.at("chats/media/moved.mp4"),
    )
    .unwrap();
    settle();
}

/// A world that is set up and backed up once.
pub(crate) fn backed_up(name: &'static str, manner: Manner) -> Story {
    let mut story = Story::new(name, manner, source());
    story.before(SETUP);
    story.before(match manner {
        Manner::Rows => ROWS,
        Manner::Pages | Manner::Far => BACKUP,
    });
    story
}

/// The older state and the newer one are both met, each where it must be.
#[track_caller]
fn from_one_state_to_the_next(story: Story) {
    let looked = story.look(Effort::chosen());
    let met = [0, 1].map(|state| looked.comes_to(state));
    assert!(met.iter().all(|images| *images > 0), "{looked:?}");
}

/// Where nothing is to be backed up, or nothing else.
#[track_caller]
fn stays_in_one_state(story: Story) {
    let looked = story.look(Effort::chosen());
    assert!(
        looked.comes_to(0) > 0 && looked.comes_to(1) == 0,
        "{looked:?}"
    );
}

/// BACKUP-2: a setup that ends well is there for good; one that does not can be done again.
#[test]
fn a_setup() {
    let mut story = Story::new("a setup", Manner::Pages, source());
    story.runs(SETUP, 0);
    let looked = story.look(Effort::chosen());
    assert!(
        looked.not_set_up() > 0 && looked.comes_to(0) > 0,
        "{looked:?}"
    );
}

/// BACKUP-2: the same where an earlier setup was killed: it left names that nothing has flushed.
#[test]
fn a_setup_after_one_that_was_killed() {
    let killed = [
        When::Change(3),
        When::Change(8),
        When::Change(15),
        When::Named("store/keyhaven"),
        When::Named("store/snapshots"),
    ];
    for when in killed {
        let mut story = Story::new("a setup after one that was killed", Manner::Pages, source());
        story.is_killed(SETUP, when);
        let _ = fs::remove_file(story.world.at("keys/key"));
        story.forgets("keys/key");
        story.runs(SETUP, 0);
        let looked = story.look(Effort::chosen().among(5));
        assert!(
            looked.not_set_up() > 0 && looked.comes_to(0) > 0,
            "{looked:?}"
        );
    }
}

/// BACKUP-1, BACKUP-2, BACKUP-5.
#[test]
fn a_first_backup() {
    let mut story = Story::new("a first backup", Manner::Pages, source());
    story.before(SETUP);
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2, BACKUP-5.
#[test]
fn the_next_day_by_pages() {
    let mut story = backed_up("the next day by pages", Manner::Pages);
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2: two days, of which the first one is certain when the second one begins.
#[test]
fn two_days_by_pages() {
    let mut story = backed_up("two days by pages", Manner::Pages);
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    messages(&story.world, 5);
    settle();
    story.runs(BACKUP, 0);
    let looked = story.look(Effort::chosen().among(2));
    let met = [0, 1, 2].map(|state| looked.comes_to(state));
    assert!(met.iter().all(|images| *images > 0), "{looked:?}");
}

/// BACKUP-1, BACKUP-2: the base that rows stand on.
#[test]
fn a_first_backup_by_rows() {
    let mut story = Story::new("a first backup by rows", Manner::Rows, source());
    story.before(SETUP);
    story.runs(ROWS, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2: the shadow is ahead of the store for a moment.
#[test]
fn the_next_day_by_rows() {
    let mut story = backed_up("the next day by rows", Manner::Rows);
    a_day_passes(&story.world);
    story.runs(ROWS, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2: a patch on a patch, after a run that was killed with the shadow ahead of the store.
#[test]
fn the_next_days_by_rows_with_a_kill_between() {
    let mut story = backed_up("the next days by rows with a kill between", Manner::Rows);
    a_day_passes(&story.world);
    story.before(ROWS);
    messages(&story.world, 7);
    settle();
    story.is_killed(ROWS, When::Named("store/snapshots"));
    messages(&story.world, 9);
    settle();
    story.runs(ROWS, 0);
    let looked = story.look(Effort::chosen().among(2));
    assert!(
        looked.comes_to(0) > 0 && looked.comes_to(2) > 0,
        "{looked:?}"
    );
}

/// BACKUP-1: rows as they were; only where they lie has changed.
#[test]
fn a_day_without_another_row() {
    let mut story = backed_up("a day without another row", Manner::Rows);
    app(&story.world).execute_batch("VACUUM").unwrap();
    settle();
    story.runs(ROWS, 0);
    stays_in_one_state(story);
}

/// BACKUP-1, BACKUP-2: who asks for pages keeps no shadow.
#[test]
fn from_rows_to_pages() {
    let mut story = backed_up("from rows to pages", Manner::Rows);
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2: no database is read.
#[test]
fn media_only() {
    let mut story = backed_up("media only", Manner::Pages);
    for number in 10..14 {
        media(&story.world, &format!("{number}.jpg"), 8_000 + number);
    }
    settle();
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2: nothing is sent but an index.
#[test]
fn a_removed_file() {
    let mut story = backed_up("a removed file", Manner::Pages);
    fs::remove_file(story.world.at("chats/media/3.jpg")).unwrap();
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2: two snapshots are committed in one run, and the first of them is pinned.
#[test]
fn a_source_that_has_shrunk() {
    let mut story = backed_up("a source that has shrunk", Manner::Pages);
    fs::remove_dir_all(story.world.at("chats/media")).unwrap();
    story.runs("backup --home home --quiet --accept-shrunk", 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-2: who is told that nothing has changed has everything in a backup that is certain.
#[test]
fn nothing_has_changed() {
    let mut story = backed_up("nothing has changed", Manner::Pages);
    story.runs(BACKUP, 0);
    stays_in_one_state(story);
}

/// BACKUP-2: a run that is killed when its snapshot has its name, and before that is certain, is followed by one that finds
/// it there.
#[test]
fn a_snapshot_that_a_killed_run_left() {
    let mut story = backed_up("a snapshot that a killed run left", Manner::Pages);
    a_day_passes(&story.world);
    story.is_killed(BACKUP, When::Named("store/snapshots"));
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-2: what a killed run left of names is made certain by the run that stands on them.
#[test]
fn packs_and_folders_that_a_killed_run_left() {
    for before in [12, 17, 24, 30, 36, 44] {
        let mut story = backed_up("what a killed run left", Manner::Pages);
        a_day_passes(&story.world);
        story.is_killed(BACKUP, When::Change(before));
        story.runs(BACKUP, 0);
        let looked = story.look(Effort::chosen().among(6));
        assert!(looked.comes_to(1) > 0, "{looked:?}");
    }
}

/// BACKUP-2: the folder of all packs is one that a killed run made.
#[test]
fn a_first_backup_after_one_that_was_killed() {
    let mut story = Story::new("a first backup after a kill", Manner::Pages, source());
    story.before(SETUP);
    story.is_killed(BACKUP, When::Named("store/packs"));
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1: a restore is cut off wherever the power goes, and run again.
#[test]
fn a_restore() {
    let mut story = backed_up("a restore", Manner::Pages);
    story.runs(RESTORE, 0);
    stays_in_one_state(story);
}

/// BACKUP-1: the same of a database that is flushed by itself, before the pictures come.
#[test]
fn a_restore_of_a_large_database() {
    for (manner, backup) in [(Manner::Pages, BACKUP), (Manner::Rows, ROWS)] {
        let world = source();
        let text = "one long message ".repeat(65_000);
        app(&world)
            .execute("INSERT INTO message VALUES (?1)", [text])
            .unwrap();
        let mut story = Story::new("a restore of a large database", manner, world);
        story.before(SETUP);
        story.before(backup);
        if manner == Manner::Rows {
            a_day_passes(&story.world);
            story.before(backup);
        }
        story.runs(RESTORE, 0);
        stays_in_one_state(story);
    }
}

/// BACKUP-1: the same of a database by rows: its base, a patch, and the copy in which they are put together.
#[test]
fn a_restore_of_rows() {
    let mut story = backed_up("a restore of rows", Manner::Rows);
    a_day_passes(&story.world);
    story.before(ROWS);
    story.runs(RESTORE, 0);
    stays_in_one_state(story);
}

/// BACKUP-2: local state that is lost is learnt again.
#[test]
fn local_state_that_was_lost() {
    let mut story = backed_up("local state that was lost", Manner::Pages);
    fs::remove_file(story.world.at("home/state/contents")).unwrap();
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-2: local state that is damaged is begun anew.
#[test]
fn local_state_that_was_damaged() {
    let mut story = backed_up("local state that was damaged", Manner::Pages);
    fs::write(story.world.at("home/state/contents"), vec![7; 8_192]).unwrap();
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// Changes a byte of one of the store's packs: of one without which the backup cannot be listed, or of another.
fn damage(world: &World, an_index: bool) {
    for pack in files(&world.at("store/packs")) {
        let sound = fs::read(&pack).unwrap();
        let mut altered = sound.clone();
        // All of its frames: some hold nothing but padding.
        for at in (4_096..altered.len()).step_by(4_096) {
            altered[at] ^= 1;
        }
        fs::write(&pack, altered).unwrap();
        let listed = run(world, "browse files --home home").code == 0;
        if listed != an_index {
            return;
        }
        fs::write(&pack, sound).unwrap();
    }
    panic!("no such pack");
}

/// BACKUP-1, BACKUP-2: beside a damaged index stands a whole backup.
#[test]
fn a_damaged_index() {
    let mut story = backed_up("a damaged index", Manner::Pages);
    damage(&story.world, true);
    story.is_damaged();
    a_day_passes(&story.world);
    story.runs(BACKUP, 6);
    let looked = story.look(Effort::chosen());
    assert!(looked.damaged() > 0 && looked.comes_to(1) > 0, "{looked:?}");
}

/// BACKUP-2: a verification writes down what it found.
#[test]
fn a_verification_that_finds_damage() {
    let mut story = backed_up("a verification that finds damage", Manner::Pages);
    damage(&story.world, false);
    story.is_damaged();
    story.is_unnoticed();
    story.runs("verify --home home --quiet --depth all", 6);
    let looked = story.look(Effort::chosen());
    assert!(looked.damaged() > 0, "{looked:?}");
}

/// BACKUP-1, BACKUP-2: what a verification found damaged is sent again.
#[test]
fn a_backup_after_a_verification_that_found_damage() {
    let mut story = backed_up("a backup after damage was found", Manner::Pages);
    damage(&story.world, false);
    story.is_damaged();
    let verified = run(&story.world, "verify --home home --quiet --depth all");
    assert_eq!(verified.code, 6, "{verified:?}");
    a_day_passes(&story.world);
    story.runs(BACKUP, 6);
    let looked = story.look(Effort::chosen());
    assert!(looked.damaged() > 0 && looked.comes_to(1) > 0, "{looked:?}");
}

/// A world whose store is far away, set up.
fn set_up_far(name: &'static str) -> Story {
    let mut story = Story::far(name, source());
    let setup = "setup --home home --source chats --recovery-key --recovery-key-file keys/key";
    story.before(&format!("{setup} --store {}", story.address()));
    story
}

/// BACKUP-1, BACKUP-2: the spool stands before the store.
#[test]
fn a_first_backup_far_away() {
    let mut story = set_up_far("a first backup far away");
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-1, BACKUP-2, BACKUP-5.
#[test]
fn the_next_day_far_away() {
    let mut story = set_up_far("the next day far away");
    story.before(BACKUP);
    a_day_passes(&story.world);
    story.runs(BACKUP, 0);
    from_one_state_to_the_next(story);
}

/// BACKUP-2: what a killed run left in the spool.
#[test]
fn a_day_far_away_after_a_run_that_was_killed() {
    for before in [14, 22, 30] {
        let mut story = set_up_far("a day far away after a kill");
        story.before(BACKUP);
        a_day_passes(&story.world);
        story.is_killed(BACKUP, When::Change(before));
        story.runs(BACKUP, 0);
        let looked = story.look(Effort::chosen().among(3));
        assert!(looked.comes_to(1) > 0, "{looked:?}");
    }
}

/// BACKUP-2: a sample of the store remembers where it ended.
#[test]
fn a_sample_of_the_store() {
    let mut story = backed_up("a sample of the store", Manner::Pages);
    story.runs("verify --home home --quiet --sample 40%", 0);
    stays_in_one_state(story);
}
