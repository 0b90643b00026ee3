//! F4: the n-th change of a file fails, for every n, because the disk is full or broken.
//!
//! The command says what happened and what to do; it tells nobody that a backup is safe which is not on the disk; and with the
//! disk in order again the next run is as any other. In short every seventh call; `cargo xtask long power` takes
//! each.

use std::collections::BTreeMap;

use nix::libc;

use crate::check::Manner;
use crate::effort::is_long;
use crate::guarded::Step;
use crate::passwords::with_password;
use crate::scenarios::{SETUP, a_day_passes, backed_up, source};
use crate::story::Story;

/// BACKUP-2: by pages, and by rows.
#[test]
fn a_backup_on_a_disk_that_fails() {
    for (manner, line) in [
        (Manner::Pages, "backup --home home --json"),
        (Manner::Rows, "backup --home home --json --tier rows"),
    ] {
        let story = backed_up("a backup on a disk that fails", manner);
        a_day_passes(&story.world);
        every_change_fails(story, line);
    }
}

/// BACKUP-2: a setup that was told to be done is done; any other can be done again.
#[test]
fn a_setup_on_a_disk_that_fails() {
    let story = Story::new("a setup on a disk that fails", Manner::Pages, source());
    every_change_fails(story, &format!("{SETUP} --json"));
}

/// BACKUP-1: a restore that was told to be done is done; any other can be done again.
#[test]
fn a_restore_on_a_disk_that_fails() {
    let story = backed_up("a restore on a disk that fails", Manner::Pages);
    every_change_fails(story, "restore --home home --json --to back");
}

/// BACKUP-2, VAULT-7: the same with a password, whatever the vault had heard by then.
#[test]
fn a_setup_with_a_password_on_a_disk_that_fails() {
    let name = "a setup with a password on a disk that fails";
    let story = Story::with_vault(name, source(), Step::Setup);
    let line = format!("{} --json", story.line());
    every_change_fails(story, &line);
}

/// VAULT-7: the old password, or the new one.
#[test]
fn a_password_change_on_a_disk_that_fails() {
    let story = with_password("a password change on a disk that fails", Step::Change);
    let line = format!("{} --json", story.line());
    every_change_fails(story, &line);
}

/// With a password, in short, each error takes its turn: to stretch one takes long.
fn every_change_fails(mut story: Story, line: &str) {
    let (step, turns) = match (is_long(), story.has_vault()) {
        (true, _) => (1, 1),
        (false, false) => (7, 1),
        (false, true) => (7, 2),
    };
    let mut codes = BTreeMap::new();
    for (turn, errno) in [libc::ENOSPC, libc::EIO].into_iter().enumerate() {
        let first = match turns {
            1 => usize::try_from(errno).unwrap() % step,
            _ => turn * step,
        };
        for at in (first..).step_by(step * turns) {
            let Some(code) = story.runs_with_a_fault(line, at, errno) else {
                break;
            };
            *codes.entry((errno, code)).or_insert(0) += 1;
        }
    }
    println!("{line}: how often which error ended in which code: {codes:?}");
    let failed = codes.iter().filter(|((_, code), _)| *code != 0);
    assert!(failed.map(|(_, count)| count).sum::<i32>() > 3, "{codes:?}");
}
