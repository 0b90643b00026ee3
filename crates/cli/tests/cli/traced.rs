//! Runs the command under `ptrace` and kills it before its n-th change of a file.
//!
//! A process that is killed leaves exactly the calls that it made before: so killing it before each
//! changing call, and once after the last, leaves every state that any kill can leave. Nothing in the
//! command knows of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

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
    let leader = begin(command);
    let (mut changes, mut killed) = (0, None);
    loop {
        // Only what this thread started: other tests wait for children of their own.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let stopped = match waitpid(None, Some(flags)).unwrap() {
            WaitStatus::Exited(pid, code) if pid == leader => {
                assert!(killed.is_none());
                assert_eq!(code, 0, "the command failed by itself");
                return Fate::Ended(changes);
            }
            WaitStatus::Signaled(pid, ..) if pid == leader => {
                return Fate::Killed(killed.unwrap());
            }
            WaitStatus::PtraceSyscall(pid) => {
                if killed.is_none()
                    && let Some(change) = change_in(pid, folder)
                {
                    if changes == at {
                        nix::sys::signal::kill(leader, Signal::SIGKILL).unwrap();
                        killed = Some(change);
                    }
                    changes += 1;
                }
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

/// Starts the command behind a shell that stops itself, so that it can be seized before it begins.
#[expect(
    clippy::zombie_processes,
    reason = "its end is waited for where its system calls are"
)]
fn begin(command: &Command) -> Pid {
    let mut stopped = Command::new("sh");
    stopped
        .args(["-c", r#"kill -STOP $$; exec "$0" "$@""#])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => stopped.env(name, value),
            None => stopped.env_remove(name),
        };
    }
    let child = stopped.spawn().unwrap();
    let leader = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let found = waitpid(leader, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(found, WaitStatus::Stopped(leader, Signal::SIGSTOP));
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    let seized = ptrace::seize(leader, options);
    seized.expect("this test traces a child of its own, which this system must permit (ptrace)");
    nix::sys::signal::kill(leader, Signal::SIGCONT).unwrap();
    leader
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

/// Which call a stopped thread is in, and its arguments.
fn call_of(pid: Pid) -> Option<(i64, [u64; 6])> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let nr = words.next()?.parse().ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((nr, args))
}

/// A path as the command means it: from the folder that it has open, or from its own.
fn beside(pid: Pid, folder: u64, path: PathBuf) -> PathBuf {
    if path.is_absolute() {
        return path;
    }
    let open = std::fs::read_link(format!("/proc/{pid}/fd/{folder}"));
    let from = open.or_else(|_| std::fs::read_link(format!("/proc/{pid}/cwd")));
    from.unwrap().join(path)
}

/// The text at an address of the command's memory.
fn text_of(pid: Pid, address: u64) -> Option<PathBuf> {
    use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
    use std::os::unix::ffi::OsStringExt as _;
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.seek(SeekFrom::Start(address)).ok()?;
    let mut text = Vec::new();
    BufReader::with_capacity(256, memory)
        .read_until(0, &mut text)
        .ok()?;
    text.pop();
    Some(std::ffi::OsString::from_vec(text).into())
}
