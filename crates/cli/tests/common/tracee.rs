//! A command under `ptrace`: it stops at each of its system calls, and is looked into. Nothing in the command
//! knows of it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Starts the command behind a shell that stops itself, so that it can be seized before it begins. What it says goes
/// to `out` and `err`.
#[expect(
    clippy::zombie_processes,
    reason = "its end is waited for where its system calls are"
)]
pub(crate) fn begin(command: &Command, out: Stdio, err: Stdio) -> Pid {
    let mut stopped = Command::new("sh");
    stopped
        .args(["-c", r#"kill -STOP $$; exec "$0" "$@""#])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
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

/// What a thread of the command is waited for to do next. Only what this thread of the test started: other tests wait for
/// children of their own.
pub(crate) fn next() -> WaitStatus {
    waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap()
}

/// Which call a stopped thread is in, and its arguments.
pub(crate) fn call_of(pid: Pid) -> Option<(i64, [u64; 6])> {
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
pub(crate) fn beside(pid: Pid, folder: u64, path: PathBuf) -> PathBuf {
    if path.is_absolute() {
        return path;
    }
    let open = std::fs::read_link(format!("/proc/{pid}/fd/{folder}"));
    let from = open.or_else(|_| std::fs::read_link(format!("/proc/{pid}/cwd")));
    from.unwrap().join(path)
}

/// The text at an address of the command's memory.
pub(crate) fn text_of(pid: Pid, address: u64) -> Option<PathBuf> {
    let mut text = Vec::new();
    BufReader::with_capacity(256, memory_at(pid, address)?)
        .read_until(0, &mut text)
        .ok()?;
    text.pop();
    Some(std::ffi::OsString::from_vec(text).into())
}

pub(crate) fn memory_at(pid: Pid, address: u64) -> Option<File> {
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.seek(SeekFrom::Start(address)).ok()?;
    Some(memory)
}

/// So many bytes at an address of the command's memory.
pub(crate) fn bytes_of(pid: Pid, address: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    memory_at(pid, address)?.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
