//! Runs the command under `ptrace` and kills it before its n-th change of a file.
//!
//! A process that is killed leaves exactly the calls that it made before: so killing it before each
//! changing call, and once after the last, leaves every state that any kill can leave. Nothing in the
//! command knows of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::tracee::{self, beside, call_of, text_of};

/// What became of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was killed before this change.
    Killed(Change),
    /// It had ended before, after so many changes.
    Ended(usize),
}

/// A call that changes a file or makes a change durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) call: &'static str,
    pub(crate) path: PathBuf,
}

/// Where a call names what it changes.
#[derive(Clone, Copy)]
enum Names {
    /// The file descriptor in argument 0.
    File,
    /// The path in this argument.
    Path(usize),
    /// The path in argument 1, if the flags in argument 2 would make or cut a file.
    Opens,
}

const CALLS: &[(i64, &str, Names)] = &[
    (libc::SYS_openat, "openat", Names::Opens),
    (libc::SYS_write, "write", Names::File),
    (libc::SYS_pwrite64, "pwrite64", Names::File),
    (libc::SYS_writev, "writev", Names::File),
    (libc::SYS_pwritev, "pwritev", Names::File),
    (libc::SYS_ftruncate, "ftruncate", Names::File),
    (libc::SYS_fallocate, "fallocate", Names::File),
    (libc::SYS_fsync, "fsync", Names::File),
    (libc::SYS_fdatasync, "fdatasync", Names::File),
    (libc::SYS_fchmod, "fchmod", Names::File),
    (libc::SYS_renameat, "renameat", Names::Path(3)),
    (libc::SYS_renameat2, "renameat2", Names::Path(3)),
    (libc::SYS_unlinkat, "unlinkat", Names::Path(1)),
    (libc::SYS_mkdirat, "mkdirat", Names::Path(1)),
    (libc::SYS_fchmodat, "fchmodat", Names::Path(1)),
    (libc::SYS_linkat, "linkat", Names::Path(3)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Names::Path(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir", Names::Path(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod", Names::Path(0)),
];

/// Runs `command` and kills it before the `at`-th change (from 0) of a file in `folder`.
pub(crate) fn run(command: &Command, folder: &Path, at: usize) -> Fate {
    let leader = tracee::begin(command, Stdio::null(), Stdio::null());
    let (mut changes, mut killed) = (0, None);
    let code = follow(leader, |pid| {
        if killed.is_none()
            && let Some(change) = change_in(pid, folder)
        {
            if changes == at {
                nix::sys::signal::kill(leader, Signal::SIGKILL).unwrap();
                killed = Some(change);
            }
            changes += 1;
        }
    });
    match (code, killed) {
        (None, killed) => Fate::Killed(killed.unwrap()),
        (Some(code), killed) => {
            assert!(killed.is_none());
            assert_eq!(code, 0, "the command failed by itself");
            Fate::Ended(changes)
        }
    }
}

/// Lets a command and its threads run to their end, and shows each stop at a system call to `look`. Its exit code; none if
/// it was killed.
pub(crate) fn follow(leader: Pid, mut look: impl FnMut(Pid)) -> Option<i32> {
    loop {
        let stopped = match tracee::next() {
            WaitStatus::Exited(pid, code) if pid == leader => return Some(code),
            WaitStatus::Signaled(pid, ..) if pid == leader => return None,
            WaitStatus::PtraceSyscall(pid) => {
                look(pid);
                Some((pid, None))
            }
            // A new thread, or the stop in which the first one was found.
            WaitStatus::PtraceEvent(pid, ..) => Some((pid, None)),
            WaitStatus::Stopped(pid, signal) => Some((pid, Some(signal))),
            WaitStatus::Exited(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => None,
        };
        if let Some((pid, signal)) = stopped {
            // Fails for one that has been killed meanwhile: its end is waited for.
            let _ = ptrace::syscall(pid, signal);
        }
    }
}

/// The change that a thread is about to make in `folder`.
fn change_in(pid: Pid, folder: &Path) -> Option<Change> {
    if ptrace::syscall_info(pid).ok()?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    let (nr, args) = call_of(pid)?;
    let (_, call, names) = CALLS.iter().find(|(number, ..)| *number == nr)?;
    let named = |argument: usize| text_of(pid, args[argument]);
    let path = match names {
        Names::File => std::fs::read_link(format!("/proc/{pid}/fd/{}", args[0])).ok()?,
        Names::Path(argument) => beside(pid, args[argument.saturating_sub(1)], named(*argument)?),
        Names::Opens => {
            let made = u64::try_from(libc::O_CREAT | libc::O_TRUNC).unwrap();
            if args[2] & made == 0 {
                return None;
            }
            beside(pid, args[0], named(1)?)
        }
    };
    path.starts_with(folder).then_some(Change { call, path })
}
