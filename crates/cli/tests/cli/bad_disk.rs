//! Runs the command under `ptrace` on a disk that reports faults: it is told `EIO` where it has read, or listed.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace;
use nix::unistd::Pid;

use crate::traced::follow;
use crate::tracee::{self, call_of};
use crate::world::Ran;

/// Says of a file and of the bytes that are read of it whether they are bad.
pub(crate) type IsBad<'a> = dyn Fn(&Path, Range<u64>) -> bool + 'a;

/// Runs `command` to its end.
pub(crate) fn run(command: &Command, is_bad: &IsBad<'_>) -> Ran {
    traced(command, |pid| fail_reading(pid, is_bad))
}

/// As [`run`], where it is folders that are bad: what is in them cannot be listed.
pub(crate) fn run_listing(command: &Command, is_bad: &dyn Fn(&Path) -> bool) -> Ran {
    traced(command, |pid| fail_listing(pid, is_bad))
}

fn traced(command: &Command, each: impl FnMut(Pid)) -> Ran {
    let said = || tempfile::tempfile().unwrap();
    let (mut out, mut err) = (said(), said());
    let copy = |file: &File| Stdio::from(file.try_clone().unwrap());
    let leader = tracee::begin(command, copy(&out), copy(&err));
    let code = follow(leader, each);
    Ran {
        code: code.unwrap(),
        out: text(&mut out),
        err: text(&mut err),
    }
}

fn text(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Where a thread has just read bytes of a file that are bad, it is told that it has not.
fn fail_reading(pid: Pid, is_bad: &IsBad<'_>) {
    if let Some((libc::SYS_pread64, [file, _, len, at, ..])) = ended(pid)
        && behind(pid, file).is_some_and(|path| is_bad(&path, at..at.saturating_add(len)))
    {
        fail(pid);
    }
}

/// Where a thread has just listed a folder that is bad, it is told that it has not.
fn fail_listing(pid: Pid, is_bad: &dyn Fn(&Path) -> bool) {
    if let Some((libc::SYS_getdents64, [folder, ..])) = ended(pid)
        && behind(pid, folder).is_some_and(|path| is_bad(&path))
    {
        fail(pid);
    }
}

/// The call that has just ended.
fn ended(pid: Pid) -> Option<(i64, [u64; 6])> {
    let info = ptrace::syscall_info(pid).ok()?;
    (info.op == libc::PTRACE_SYSCALL_INFO_EXIT).then(|| call_of(pid))?
}

fn behind(pid: Pid, file: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/fd/{file}")).ok()
}

fn fail(pid: Pid) {
    let mut registers = ptrace::getregs(pid).unwrap();
    registers.rax = i64::from(-libc::EIO).cast_unsigned();
    ptrace::setregs(pid, registers).unwrap();
}
