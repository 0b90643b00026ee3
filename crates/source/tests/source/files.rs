//! Plain files are read as one state, or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime};

use keyhaven_source::{
    FileError, Item, Regular, Rules, Stat, UNSETTLED, WrittenOut, read_stable, walk,
};

use crate::peer::Peer;
use crate::world::soon_enough;

/// What a walk says about the one file of a folder.
fn listed(folder: &Path) -> Regular {
    let mut items = walk(folder, &Rules::default()).unwrap();
    let Some(Item::Regular(regular)) = items.next() else {
        panic!("no file")
    };
    regular
}

fn read(folder: &Path, during: &mut dyn FnMut(usize)) -> Result<(Stat, Vec<u8>), FileError> {
    read_of(folder, &WrittenOut::default(), during)
}

/// The same, as one file of a run.
fn read_of(
    folder: &Path,
    written: &WrittenOut,
    during: &mut dyn FnMut(usize),
) -> Result<(Stat, Vec<u8>), FileError> {
    let regular = listed(folder);
    let mut bytes = Vec::new();
    let stat = read_stable(regular.path(), regular.stat(), written, &mut |part| {
        during(bytes.len());
        bytes.extend_from_slice(part);
        ControlFlow::Continue(())
    })?;
    Ok((stat, bytes))
}

fn settle() {
    std::thread::sleep(Duration::from_millis(70));
}

#[test]
fn a_file_that_rests_is_read_to_its_last_byte() {
    for size in [0, 1, 262_143, 262_144, 262_145, 600_000] {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..size).map(|n: u32| (n * 7 % 253) as u8).collect();
        fs::write(folder.path().join("photo.jpg"), &content).unwrap();
        settle();
        let (stat, bytes) = read(folder.path(), &mut |_| {}).unwrap();
        assert_eq!(bytes, content);
        assert!(listed(folder.path()).is_unchanged_plain_file(&stat));
    }
}

/// BACKUP-1: whatever happens to a file while it is read, its bytes are those of one state.
#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("grows", |path| {
            File::options()
                .append(true)
                .open(path)
                .unwrap()
                .write_all(b"x")
                .unwrap()
        }),
        ("shrinks", |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(7)
                .unwrap()
        }),
        ("is rewritten", |path| {
            fs::write(path, vec![2; 600_000]).unwrap()
        }),
        ("is rewritten and dated back", |path| {
            let before = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, vec![2; 600_000]).unwrap();
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(before)
                .unwrap();
        }),
        ("changes its mode", |path| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("is replaced, and so changes its link count", |path| {
            let other = path.with_extension("new");
            fs::write(&other, vec![3; 600_000]).unwrap();
            fs::rename(other, path).unwrap();
        }),
    ];
    for (name, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("video.mp4");
        fs::write(&path, vec![1; 600_000]).unwrap();
        settle();
        let mut once = true;
        let result = read(folder.path(), &mut |at| {
            if at > 0 && std::mem::take(&mut once) {
                change(&path);
            }
        });
        assert_eq!(result.unwrap_err(), FileError::Changed, "{name}");
    }
}

#[test]
fn a_file_that_changed_after_it_was_listed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.mp4");
    fs::write(&path, b"one").unwrap();
    let regular = listed(folder.path());
    let mut sink = |_: &[u8]| ControlFlow::Continue(());
    let written = WrittenOut::default();
    settle();
    fs::write(&path, b"two").unwrap();
    let changed = read_stable(regular.path(), regular.stat(), &written, &mut sink);
    assert_eq!(changed.unwrap_err(), FileError::Changed);
    fs::remove_file(&path).unwrap();
    let gone = read_stable(regular.path(), regular.stat(), &written, &mut sink);
    assert_eq!(gone.unwrap_err(), FileError::Vanished);
    // A pipe in the file's place does not hang us, and a link is not followed.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let replaced = read_stable(regular.path(), regular.stat(), &written, &mut sink);
    assert_eq!(replaced.unwrap_err(), FileError::Vanished);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    let replaced = read_stable(regular.path(), regular.stat(), &written, &mut sink);
    assert_eq!(replaced.unwrap_err(), FileError::Vanished);
}

/// Git's racy rule: a file that changed a moment before it was read may change again and keep its
/// size and its times. What is remembered of it matches nothing.
#[test]
fn a_file_that_was_just_written_is_read_again_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note.txt");
    soon_enough(|| {
        fs::write(&path, b"one").unwrap();
        let (stat, _) = read(folder.path(), &mut |_| {}).unwrap();
        stat.ctime_ns == UNSETTLED && !listed(folder.path()).is_unchanged_plain_file(&stat)
    });
    // An mtime far in the past does not help: programs set it at will.
    soon_enough(|| {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        drop(file);
        let (stat, _) = read(folder.path(), &mut |_| {}).unwrap();
        stat.ctime_ns == UNSETTLED
    });
    settle();
    let (stat, _) = read(folder.path(), &mut |_| {}).unwrap();
    assert!(listed(folder.path()).is_unchanged_plain_file(&stat));
}

/// BACKUP-1: MMKV, RocksDB and browsers keep files that they change through a mapping. Such a change stamps the file only the first
/// time until the page is written out. SQLite keeps the index of a log so: it stands here under another name.
#[test]
fn a_file_that_changes_through_a_mapping_is_read_again() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kind = rustix::fs::statfs(folder.path()).unwrap().f_type;
    if kind == TMPFS_MAGIC {
        println!("a file system in memory never stamps such a change");
        return;
    }
    let database = folder.path().join("chat.db");
    let mut peer = Peer::open(&database);
    peer.must("PRAGMA journal_mode=wal");
    peer.must("CREATE TABLE t(x)");
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::hard_link(folder.path().join("chat.db-shm"), source.join("kv.mmkv")).unwrap();
    for round in 0..3 {
        peer.must("INSERT INTO t VALUES(1)");
        settle();
        let (stat, bytes) = read(&source, &mut |_| {}).unwrap();
        assert!(listed(&source).is_unchanged_plain_file(&stat), "{round}");
        peer.must("INSERT INTO t VALUES(2)");
        assert_ne!(fs::read(source.join("kv.mmkv")).unwrap(), bytes);
        assert!(!listed(&source).is_unchanged_plain_file(&stat), "{round}");
    }
}

/// A run has what is in memory written out once: what was stamped after that may change again without a stamp.
#[test]
fn a_file_that_was_stamped_after_all_was_written_out_is_read_again_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let written = WrittenOut::default();
    let one_more = |bytes: &[u8]| {
        fs::write(folder.path().join("note.txt"), bytes).unwrap();
        settle();
        read_of(folder.path(), &written, &mut |_| {}).unwrap().0
    };
    assert_ne!(one_more(b"one").ctime_ns, UNSETTLED);
    assert_eq!(one_more(b"two").ctime_ns, UNSETTLED);
}

/// linux/magic.h.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
