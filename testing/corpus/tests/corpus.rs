//! A corpus is what it says: the same for a seed, changed by days, and true in its journal.

use std::path::Path;

use keyhaven_corpus::{
    Corpus, CorpusError, Day, Difference, Fingerprint, ImageDigest, Journal, Pace, Size, Wal,
    Writer,
};

const SMALL: Size = Size {
    messages: 1_500,
    media_bytes: 3_000_000,
    seed: 11,
};

#[test]
fn equal_seeds_make_equal_stores() {
    let home = tempfile::tempdir().unwrap();
    let prints = ["a", "b"].map(|name| {
        let root = home.path().join(name);
        let made = Corpus::create(&root, SMALL).unwrap();
        assert_eq!(made.messages, 1_500);
        assert!(made.media_bytes.abs_diff(SMALL.media_bytes) < 1_000_000);
        let first = Fingerprint::of(&root).unwrap();
        Corpus::next_day(&root, Day::of_use(made.messages)).unwrap();
        (first, Fingerprint::of(&root).unwrap())
    });
    let [(first_a, second_a), (first_b, second_b)] = prints;
    assert_eq!(first_a.differences(&first_b), []);
    assert_eq!(second_a.differences(&second_b), []);
}

#[test]
fn a_day_of_use_leaves_its_commits_in_the_log_and_forwards_files() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    let made = Corpus::create(&root, SMALL).unwrap();
    let before = Fingerprint::of(&root).unwrap();
    let day = Day {
        messages: 50,
        media_files: 2,
        forwarded: 1,
        wal: Wal::Keep,
    };
    let later = Corpus::next_day(&root, day).unwrap();
    assert!(later.messages > made.messages);
    assert_eq!(later.media_files, made.media_files + 3);
    assert_eq!(later.days, 1);
    assert!(
        root.join("Databases/msgstore.db-wal")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
    let found = before.differences(&Fingerprint::of(&root).unwrap());
    let chats = Path::new("Databases/msgstore.db").to_owned();
    assert!(found.contains(&Difference::Bytes(chats.clone())));
    assert!(found.contains(&Difference::Rows(chats)));
    assert_eq!(found.len(), 5);
}

#[test]
fn a_store_is_made_only_in_an_empty_folder_and_found_only_where_it_is() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("mine"), b"precious").unwrap();
    assert!(matches!(
        Corpus::create(home.path(), SMALL),
        Err(CorpusError::NotEmpty(_))
    ));
    assert!(matches!(
        Corpus::report(home.path()),
        Err(CorpusError::NotACorpus(_))
    ));
}

#[test]
fn every_state_that_a_writer_leaves_is_in_its_journal() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    Corpus::create(
        &root,
        Size {
            media_bytes: 0,
            ..SMALL
        },
    )
    .unwrap();
    let database = root.join("Databases/msgstore.db");
    let found = ImageDigest::of_file(&database).unwrap();
    let journal = home.path().join("journal");
    let mut left = 120;
    let pace = Pace {
        commits_per_second: 0,
        checkpoint_every: 7,
        ..Pace::default()
    };
    let written = Writer::run(&root, pace, &journal, || {
        left -= 1;
        left >= 0
    })
    .unwrap();
    assert_eq!((written.commits, written.states), (120, 121));
    let journal = Journal::read(&journal).unwrap();
    assert_eq!(journal.position(&found), Some(0));
    let last = ImageDigest::of_file(&database).unwrap();
    assert_eq!(journal.position(&last), Some(120));

    // A torn state is told from a committed one.
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[5 * 4096..6 * 4096].rotate_left(1);
    std::fs::write(&database, bytes).unwrap();
    assert_eq!(
        journal.position(&ImageDigest::of_file(&database).unwrap()),
        None
    );
}

#[test]
fn a_journal_holds_the_commits_of_others_too() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    let size = Size {
        media_bytes: 0,
        ..SMALL
    };
    Corpus::create(&root, size).unwrap();
    let journal = home.path().join("journal");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let ordering = std::sync::atomic::Ordering::SeqCst;
    let pace = Pace {
        commits_per_second: 300,
        checkpoint_every: 3,
        ..Pace::default()
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| Writer::run(&root, pace, &journal, || !stop.load(ordering)));
        for _ in 0..5 {
            let day = Day {
                messages: 30,
                media_files: 0,
                forwarded: 0,
                wal: Wal::Keep,
            };
            Corpus::next_day(&root, day).unwrap();
        }
        stop.store(true, ordering);
        let written = writer.join().unwrap().unwrap();
        assert!(written.states > written.commits + 10, "{written:?}");
    });
    let left = Fingerprint::of(&root).unwrap();
    let (_, print) = left
        .databases()
        .find(|(path, _)| path.ends_with("msgstore.db"))
        .unwrap();
    let journal = Journal::read(&journal).unwrap();
    assert_eq!(journal.position(&print.image), Some(journal.len() - 1));
}

/// A writer that began with the seed of the store once wrote the store's own message keys again.
#[test]
fn one_seed_for_store_and_writers_is_no_collision() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    Corpus::create(
        &root,
        Size {
            messages: 4_000,
            media_bytes: 0,
            seed: Pace::default().seed,
        },
    )
    .unwrap();
    for _ in 0..2 {
        let mut left = 400;
        let pace = Pace {
            commits_per_second: 0,
            checkpoint_every: 0,
            ..Pace::default()
        };
        let more = || {
            left -= 1;
            left >= 0
        };
        Writer::run(&root, pace, &home.path().join("journal"), more).unwrap();
    }
}

#[test]
fn a_history_told_again_is_longer_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let size = Size {
        media_bytes: 0,
        ..SMALL
    };
    let prints = ["a", "b"].map(|name| {
        let root = home.path().join(name);
        let once = Corpus::create(&root, size).unwrap();
        let often = Corpus::repeat(&root, 4).unwrap();
        assert_eq!(often.messages, 4 * once.messages);
        assert!(often.database_bytes > 3 * once.database_bytes);
        let day = Corpus::next_day(&root, Day::of_use(often.messages)).unwrap();
        assert!(day.messages > often.messages);
        Fingerprint::of(&root).unwrap()
    });
    let [a, b] = prints;
    assert_eq!(a.differences(&b), []);
    let rows = |print: &Fingerprint| print.databases().map(|(_, one)| one.rows).max();
    assert!(rows(&a) > Some(4 * 1_500 * 3));
}
