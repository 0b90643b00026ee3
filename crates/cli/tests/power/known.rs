//! The model itself, with known answers.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::disk::{Change, Disk};
use crate::image::{Entry, Image};
use crate::rule::Rule;

fn path(name: &str) -> PathBuf {
    PathBuf::from(name)
}

fn make(name: &str) -> Change {
    Change::Make {
        path: path(name),
        mode: 0o600,
    }
}

fn folder(name: &str) -> Change {
    Change::MakeFolder {
        path: path(name),
        mode: 0o700,
    }
}

fn write(name: &str, at: usize, bytes: &[u8]) -> Change {
    Change::Write {
        path: path(name),
        at,
        bytes: bytes.to_vec(),
    }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename {
        from: path(from),
        to: path(to),
    }
}

fn remove(name: &str) -> Change {
    Change::Remove { path: path(name) }
}

fn flush(name: &str) -> Change {
    Change::Flush { path: path(name) }
}

/// A disk that holds the file `old` for certain, and what is done to it then.
fn after(changes: &[Change]) -> Disk {
    let mut image = Image::default();
    let bytes = Rc::new(b"old bytes".to_vec());
    let mode = 0o600;
    image.insert(path("old"), Entry::File { mode, bytes });
    let mut disk = Disk::holding(&image);
    for change in changes {
        disk.apply(change);
    }
    disk
}

/// Everything that 2,000 seeds, and every subset of few effects, find of a file.
fn found(disk: &Disk, name: &str) -> Vec<Option<Vec<u8>>> {
    let masks = 0..1_u64 << disk.pending().min(10);
    let rules = masks.map(Rule::Only).chain((0..2_000).map(Rule::Drawn));
    let mut all: Vec<_> = rules
        .map(|rule| disk.image(rule).file(name).map(<[u8]>::to_vec))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

#[test]
fn what_was_there_stays() {
    let disk = after(&[make("new"), write("new", 0, b"x")]);
    assert_eq!(found(&disk, "old"), [some(b"old bytes")]);
}

/// The mistake that the model is for.
#[test]
fn a_file_that_is_renamed_before_its_flush_can_come_up_empty() {
    let disk = after(&[make("tmp"), write("tmp", 0, b"new"), rename("tmp", "old")]);
    let all = found(&disk, "old");
    for possible in [&b""[..], b"new", b"old bytes", b"\0\0\0"] {
        assert!(all.contains(&some(possible)), "{possible:?}");
    }
    assert!(!all.contains(&None), "what a rename replaces is never gone");
}

#[test]
fn a_file_that_is_flushed_renamed_and_whose_folder_is_flushed_is_there() {
    let mut changes = vec![
        make("tmp"),
        write("tmp", 0, b"new"),
        flush("tmp"),
        rename("tmp", "old"),
    ];
    let both = [some(b"new"), some(b"old bytes")];
    assert_eq!(found(&after(&changes), "old"), both);
    changes.push(flush(""));
    let disk = after(&changes);
    assert_eq!(found(&disk, "old"), [some(b"new")]);
    assert_eq!(found(&disk, "tmp"), [None]);
    assert_eq!(disk.pending(), 0);
}

#[test]
fn a_flushed_file_without_its_folder_may_have_no_name() {
    let disk = after(&[make("new"), write("new", 0, b"x"), flush("new")]);
    assert_eq!(found(&disk, "new"), [None, some(b"x")]);
}

#[test]
fn the_flush_of_a_folder_is_not_the_flush_of_its_own_name() {
    let mut changes = vec![folder("f"), make("f/new"), flush("f/new"), flush("f")];
    assert_eq!(found(&after(&changes), "f/new"), [None, some(b"")]);
    changes.push(flush(""));
    assert_eq!(found(&after(&changes), "f/new"), [some(b"")]);
}

#[test]
fn a_file_that_is_renamed_between_folders_is_in_one_of_them_or_both() {
    let made = [
        folder("a"),
        folder("b"),
        make("a/x"),
        write("a/x", 0, b"x"),
        flush("a/x"),
        flush("a"),
        flush("b"),
        flush(""),
        rename("a/x", "b/y"),
    ];
    let mut disk = after(&made);
    let at = |image: &Image| [image.file("a/x").is_some(), image.file("b/y").is_some()];
    let places = |disk: &Disk| {
        let mut all: Vec<_> = (0..500)
            .map(|seed| at(&disk.image(Rule::Drawn(seed))))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let [only_new, only_old, both] = [[false, true], [true, false], [true, true]];
    assert_eq!(places(&disk), [only_new, only_old, both]);
    let mut there = disk.clone();
    there.apply(&flush("b"));
    assert_eq!(places(&there), [only_new, both]);
    disk.apply(&flush("a"));
    assert_eq!(places(&disk), [only_new]);
}

#[test]
fn a_removed_file_may_be_there_again_until_its_folder_is_flushed() {
    let mut changes = vec![remove("old")];
    assert_eq!(found(&after(&changes), "old"), [None, some(b"old bytes")]);
    changes.push(flush(""));
    assert_eq!(found(&after(&changes), "old"), [None]);
}

#[test]
fn a_write_is_torn_at_sectors_and_nowhere_else() {
    let mut image = Image::default();
    let bytes = Rc::new(vec![b'a'; 2_048]);
    let mode = 0o600;
    image.insert(path("file"), Entry::File { mode, bytes });
    let mut disk = Disk::holding(&image);
    disk.apply(&write("file", 256, &[b'b'; 1_024]));
    let all = found(&disk, "file");
    for found in &all {
        let found = found.as_ref().unwrap();
        for part in [0..256, 256..512, 512..1_024, 1_024..1_280, 1_280..2_048] {
            let one = found[part.start];
            assert!(found[part].iter().all(|byte| *byte == one));
        }
        assert!(found[..256].iter().all(|byte| *byte == b'a'));
    }
    // Three sectors are touched.
    assert_eq!(all.len(), 8);
}

#[test]
fn lengths_and_bytes_survive_apart() {
    let disk = after(&[write("old", 9, &[b'n'; 600])]);
    let all = found(&disk, "old");
    let lens: Vec<usize> = all.iter().flatten().map(Vec::len).collect();
    assert!(
        lens.contains(&9) && lens.contains(&609) && lens.iter().all(|len| [9, 609].contains(len))
    );
    assert!(
        all.iter()
            .flatten()
            .all(|bytes| bytes.starts_with(b"old bytes"))
    );
    let zeros = [&b"old bytes"[..], &[0; 600]].concat();
    assert!(all.contains(&Some(zeros)));
    let cut = after(&[Change::Length {
        path: path("old"),
        len: 3,
    }]);
    assert_eq!(found(&cut, "old"), [some(b"old"), some(b"old bytes")]);
}

#[test]
fn what_a_failed_flush_dropped_no_later_flush_makes_certain() {
    let mut changes = vec![
        write("old", 0, b"OLD"),
        Change::FlushFails { path: path("old") },
        flush("old"),
    ];
    let both = [some(b"OLD bytes"), some(b"old bytes")];
    assert_eq!(found(&after(&changes), "old"), both);
    changes.extend([write("old", 4, b"B"), flush("old")]);
    let both = [some(b"OLD Bytes"), some(b"old Bytes")];
    assert_eq!(found(&after(&changes), "old"), both);
    changes.extend([write("old", 0, b"new"), Change::FlushAll]);
    let disk = after(&changes);
    assert_eq!(
        disk.image(Rule::Nothing).file("old"),
        Some(&b"new Bytes"[..])
    );
}

#[test]
fn a_flush_of_everything_is_one_of_every_file_and_folder() {
    let disk = after(&[
        folder("f"),
        make("f/new"),
        write("f/new", 0, b"x"),
        rename("f/new", "new"),
        Change::FlushAll,
    ]);
    assert_eq!(disk.pending(), 0);
    assert_eq!(found(&disk, "new"), [some(b"x")]);
}

#[test]
fn nothing_and_everything_are_what_they_say() {
    let disk = after(&[make("new"), write("new", 0, b"x"), remove("old")]);
    let nothing = disk.image(Rule::Nothing);
    assert_eq!(nothing.file("old"), Some(&b"old bytes"[..]));
    assert_eq!(nothing.file("new"), None);
    let everything = disk.image(Rule::Everything);
    assert_eq!(everything.file("old"), None);
    assert_eq!(everything.file("new"), Some(&b"x"[..]));
    assert!(
        everything
            .entries()
            .any(|(name, _)| name == Path::new("new"))
    );
}
