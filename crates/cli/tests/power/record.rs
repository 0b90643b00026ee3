//! Runs the command under `ptrace` and writes down, with its bytes, every change that it makes to files below a folder.
//!
//! Calls that change files are made one at a time: a thread that comes to one waits until that of another has
//! ended. So the record has one order, and a run with this order is one that could have been.
//!
//! There is no silent gap. A call that changes files in a way that the record does not know ends the test, wherever such a
//! call is made (io_uring) or where it is made below the folder (a shared mapping, a copy inside the kernel); a call
//! that is newer than this list ends it too. And a record that is played whole must give the folder as the run left it.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::check::STARTING;
use crate::disk::Change;
use crate::tracee::{self, beside, bytes_of, call_of, text_of};

/// What is done to a run on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meddling {
    Nothing,
    /// It is killed before it does that.
    Kill(When),
    /// This change fails, with this error, and is not made.
    Fail {
        at: usize,
        errno: i32,
    },
}

/// A point of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Its n-th change.
    Change(usize),
    /// The first one after something got that name, or one below it.
    Named(&'static str),
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    /// None if it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    /// The first that was made to fail.
    pub(crate) failed: Option<String>,
}

/// A change that a thread has set about.
#[derive(Debug)]
enum Intent {
    Open { path: PathBuf, is_new: bool },
    Mode(PathBuf),
    MakeFolder(PathBuf),
    Is(Change),
}

impl When {
    fn is_now(self, at: usize, made: &[Change]) -> bool {
        match self {
            Self::Change(number) => number == at,
            Self::Named(name) => made
                .iter()
                .any(|change| matches!(change, Change::Rename { to, .. } if to.starts_with(name))),
        }
    }
}

/// The folder that is backed up.
pub(crate) const SOURCE: &str = "chats";

impl Intent {
    /// What it is to a disk that it fails, if it is anything.
    fn fails(self) -> Option<Change> {
        match self {
            Self::Is(Change::Flush { path }) => Some(Change::FlushFails { path }),
            Self::Is(Change::FlushAll) => Some(Change::FlushAllFails),
            _ => None,
        }
    }

    fn change(self, root: &Path, result: i64) -> Change {
        let mode = |path: &Path| fs::symlink_metadata(root.join(path)).unwrap().mode() & 0o7777;
        match self {
            Self::Open { path, is_new: true } => Change::Make {
                mode: mode(&path),
                path,
            },
            Self::Open { path, .. } => Change::Length { path, len: 0 },
            Self::Mode(path) => Change::Mode {
                mode: mode(&path),
                path,
            },
            Self::MakeFolder(path) => Change::MakeFolder {
                mode: mode(&path),
                path,
            },
            Self::Is(Change::Write {
                path,
                at,
                mut bytes,
            }) => {
                bytes.truncate(usize::try_from(result).unwrap());
                Change::Write { path, at, bytes }
            }
            Self::Is(change) => change,
        }
    }
}

/// The last call of the kernel's table that was looked at for this list.
const NEWEST_CALL: i64 = 467;

/// Calls that change files and that no record of this form could hold, wherever they are made.
const NEVER: &[(i64, &str)] = &[
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_io_setup, "io_setup"),
    (libc::SYS_open_by_handle_at, "open_by_handle_at"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_chroot, "chroot"),
    (libc::SYS_truncate, "truncate"),
    (libc::SYS_mknodat, "mknodat"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, "mknod"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, "creat"),
];

/// Calls that would change the file behind this argument in a way that is not recorded.
const NOT_HERE: &[(i64, &str, usize)] = &[
    (libc::SYS_writev, "writev", 0),
    (libc::SYS_pwritev, "pwritev", 0),
    (libc::SYS_pwritev2, "pwritev2", 0),
    (libc::SYS_fallocate, "fallocate", 0),
    (libc::SYS_copy_file_range, "copy_file_range", 2),
    (libc::SYS_sendfile, "sendfile", 0),
    (libc::SYS_splice, "splice", 2),
    (libc::SYS_fsetxattr, "fsetxattr", 0),
];

/// Such calls that name what they make, from the folder behind the one argument, by the path in the other.
const NOT_NAMED: &[(i64, &str, Option<usize>, usize)] = &[
    (libc::SYS_linkat, "linkat", Some(2), 3),
    (libc::SYS_symlinkat, "symlinkat", Some(1), 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", None, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, "symlink", None, 1),
];

/// `ioctl`s that make one file share another's bytes.
const CLONES: [u64; 2] = [0x4004_9409, 0x4020_940d];

/// A stopped thread of the command.
struct Thread<'a> {
    pid: Pid,
    root: &'a Path,
}

impl Thread<'_> {
    /// A path below the watched folder.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let path = path.strip_prefix(self.root).ok()?;
        // A file that has no name any more is nothing that could be found again.
        (!path.to_string_lossy().ends_with(" (deleted)")).then(|| path.to_path_buf())
    }

    /// The file or folder behind a descriptor, if it is below the watched folder.
    fn open(&self, fd: u64) -> Option<PathBuf> {
        let fd = fd & u64::from(u32::MAX);
        let path = fs::read_link(format!("/proc/{}/fd/{fd}", self.pid)).ok()?;
        self.below(&path)
    }

    /// The path in an argument, taken from the folder behind a descriptor.
    fn named(&self, folder: u64, path: u64) -> Option<PathBuf> {
        let folder = folder & u64::from(u32::MAX);
        self.below(&beside(self.pid, folder, text_of(self.pid, path)?))
    }

    /// Where the next `write` to a descriptor goes.
    fn position(&self, fd: u64, path: &Path) -> usize {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.pid)).unwrap();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let flags = i32::from_str_radix(&field("flags:"), 8).unwrap();
        if flags & libc::O_APPEND == 0 {
            field("pos:").parse().unwrap()
        } else {
            let len = fs::metadata(self.root.join(path)).unwrap().len();
            usize::try_from(len).unwrap()
        }
    }

    /// The change that it is about to make.
    fn intent(&self) -> Option<Intent> {
        let (nr, args) = call_of(self.pid)?;
        self.refuse(nr, &args);
        #[cfg(target_arch = "x86_64")]
        match nr {
            libc::SYS_open => return self.opens(self.named(CWD, args[0])?, args[1]),
            libc::SYS_rename => return self.renames([CWD, args[0]], [CWD, args[1]]),
            libc::SYS_unlink | libc::SYS_rmdir => {
                let path = self.named(CWD, args[0])?;
                return Some(Intent::Is(Change::Remove { path }));
            }
            libc::SYS_mkdir => return Some(Intent::MakeFolder(self.named(CWD, args[0])?)),
            libc::SYS_chmod => return Some(Intent::Mode(self.named(CWD, args[0])?)),
            _ => {}
        }
        let change = match nr {
            libc::SYS_openat => return self.opens(self.named(args[0], args[1])?, args[2]),
            libc::SYS_renameat => return self.renames([args[0], args[1]], [args[2], args[3]]),
            libc::SYS_renameat2 => {
                let exchanges = args[4] & !u64::from(libc::RENAME_NOREPLACE) != 0;
                assert!(!exchanges, "not recorded: renameat2 with {:#x}", args[4]);
                return self.renames([args[0], args[1]], [args[2], args[3]]);
            }
            libc::SYS_mkdirat => return Some(Intent::MakeFolder(self.named(args[0], args[1])?)),
            libc::SYS_fchmod => return Some(Intent::Mode(self.open(args[0])?)),
            libc::SYS_fchmodat => return Some(Intent::Mode(self.named(args[0], args[1])?)),
            libc::SYS_write => {
                let path = self.open(args[0])?;
                Change::Write {
                    at: self.position(args[0], &path),
                    bytes: bytes_of(self.pid, args[1], args[2])?,
                    path,
                }
            }
            libc::SYS_pwrite64 => Change::Write {
                path: self.open(args[0])?,
                at: usize::try_from(args[3]).unwrap(),
                bytes: bytes_of(self.pid, args[1], args[2])?,
            },
            libc::SYS_ftruncate => Change::Length {
                path: self.open(args[0])?,
                len: usize::try_from(args[1]).unwrap(),
            },
            libc::SYS_unlinkat => Change::Remove {
                path: self.named(args[0], args[1])?,
            },
            libc::SYS_fsync | libc::SYS_fdatasync => Change::Flush {
                path: self.open(args[0])?,
            },
            // What is backed up is only read: that its disk writes out what it holds is nothing to the home.
            libc::SYS_syncfs if self.open(args[0])?.starts_with(SOURCE) => return None,
            libc::SYS_syncfs | libc::SYS_sync => Change::FlushAll,
            _ => return None,
        };
        Some(Intent::Is(change))
    }

    fn opens(&self, path: PathBuf, flags: u64) -> Option<Intent> {
        let flags = i32::try_from(flags & u64::from(u32::MAX >> 1)).unwrap();
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            // It has no name, and the call that gives it one is none that is recorded.
            return None;
        }
        let is_new = fs::symlink_metadata(self.root.join(&path)).is_err();
        let makes = flags & libc::O_CREAT != 0 && is_new;
        let cuts = flags & libc::O_TRUNC != 0 && !is_new;
        (makes || cuts).then_some(Intent::Open { path, is_new })
    }

    fn renames(&self, from: [u64; 2], to: [u64; 2]) -> Option<Intent> {
        let named = |[folder, path]: [u64; 2]| self.named(folder, path);
        match (named(from), named(to)) {
            (Some(from), Some(to)) => Some(Intent::Is(Change::Rename { from, to })),
            (None, None) => None,
            between => panic!("not recorded: a rename in or out of the folder, {between:?}"),
        }
    }

    /// Ends the test at what the record cannot hold.
    fn refuse(&self, nr: i64, args: &[u64; 6]) {
        let is_known = nr <= NEWEST_CALL;
        assert!(is_known, "the call {nr} is newer than this recorder");
        if let Some((_, name)) = NEVER.iter().find(|(never, _)| *never == nr) {
            panic!("not recorded: {name}");
        }
        if let Some((_, name, at)) = NOT_HERE.iter().find(|(not, ..)| *not == nr) {
            let path = self.open(args[*at]);
            assert!(path.is_none(), "not recorded: {name} to {path:?}");
        }
        if let Some((_, name, folder, at)) = NOT_NAMED.iter().find(|(not, ..)| *not == nr) {
            let path = self.named(folder.map_or(CWD, |at| args[at]), args[*at]);
            assert!(path.is_none(), "not recorded: {name} of {path:?}");
        }
        if nr == libc::SYS_mmap {
            let writes = args[2] & u64::try_from(libc::PROT_WRITE).unwrap() != 0;
            let shared = args[3] & u64::try_from(libc::MAP_SHARED).unwrap() != 0;
            if writes && shared {
                let path = self.open(args[4]);
                assert!(path.is_none(), "not recorded: a shared mapping of {path:?}");
            }
        }
        if nr == libc::SYS_ioctl && CLONES.contains(&args[1]) {
            panic!("not recorded: a clone of a file");
        }
    }
}

/// A path from the current folder.
const CWD: u64 = u64::MAX;

/// Lets a call fail: it is not made, and this is its answer.
#[cfg(target_arch = "x86_64")]
mod answer {
    use super::{Pid, ptrace};

    pub(super) fn skip(pid: Pid) {
        let mut registers = ptrace::getregs(pid).unwrap();
        registers.orig_rax = u64::MAX;
        ptrace::setregs(pid, registers).unwrap();
    }

    pub(super) fn set(pid: Pid, errno: i32) {
        let mut registers = ptrace::getregs(pid).unwrap();
        registers.rax = i64::from(-errno).cast_unsigned();
        ptrace::setregs(pid, registers).unwrap();
    }

    pub(super) fn of(pid: Pid) -> i64 {
        ptrace::getregs(pid).unwrap().rax.cast_signed()
    }
}

/// As above: the call's number stands in a register set of its own.
#[cfg(target_arch = "aarch64")]
mod answer {
    use super::{Pid, ptrace};

    /// A descriptor that is none: the call fails by itself, and what it says is replaced.
    pub(super) fn skip(pid: Pid) {
        let mut registers = ptrace::getregs(pid).unwrap();
        registers.regs[0] = u64::MAX;
        registers.regs[1] = 0;
        ptrace::setregs(pid, registers).unwrap();
    }

    pub(super) fn set(pid: Pid, errno: i32) {
        let mut registers = ptrace::getregs(pid).unwrap();
        registers.regs[0] = i64::from(-errno).cast_unsigned();
        ptrace::setregs(pid, registers).unwrap();
    }

    pub(super) fn of(pid: Pid) -> i64 {
        ptrace::getregs(pid).unwrap().regs[0].cast_signed()
    }
}

/// A call that changes something, between its beginning and its end.
struct UnderWay {
    pid: Pid,
    intent: Intent,
    fails: Option<i32>,
}

/// Runs `command` and adds what it does below `root` to `changes`. `each` is called after every change.
pub(crate) fn record(
    command: &Command,
    root: &Path,
    meddling: Meddling,
    changes: &mut Vec<Change>,
    each: &mut dyn FnMut(),
) -> Run {
    let mut out = tempfile::tempfile().unwrap();
    let leader = {
        let _nothing_is_looked_at = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        tracee::begin(command, out.try_clone().unwrap().into(), Stdio::null())
    };
    let mut recorder = Recorder {
        root,
        leader,
        meddling,
        changes,
        each,
        under_way: None,
        waiting: VecDeque::new(),
        tried: 0,
        failed: None,
    };
    let code = recorder.follow();
    let failed = recorder.failed;
    out.seek(SeekFrom::Start(0)).unwrap();
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    Run {
        code,
        out: said,
        failed,
    }
}

struct Recorder<'a> {
    root: &'a Path,
    leader: Pid,
    meddling: Meddling,
    changes: &'a mut Vec<Change>,
    each: &'a mut dyn FnMut(),
    under_way: Option<UnderWay>,
    /// Threads that are about to change something too.
    waiting: VecDeque<Pid>,
    tried: usize,
    failed: Option<String>,
}

impl Recorder<'_> {
    fn follow(&mut self) -> Option<i32> {
        loop {
            match tracee::next() {
                WaitStatus::Exited(pid, code) if pid == self.leader => return Some(code),
                WaitStatus::Signaled(pid, ..) if pid == self.leader => return None,
                WaitStatus::PtraceEvent(pid, ..) => go_on(pid, None),
                WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
                WaitStatus::PtraceSyscall(pid) => self.stopped(pid),
                WaitStatus::Exited(..)
                | WaitStatus::Signaled(..)
                | WaitStatus::Continued(_)
                | WaitStatus::StillAlive => {}
            }
        }
    }

    /// A thread is at the beginning or the end of a call.
    fn stopped(&mut self, pid: Pid) {
        if let Some(ended) = self.under_way.take_if(|call| call.pid == pid) {
            self.ended(ended);
            go_on(pid, None);
            if let Some(next) = self.waiting.pop_front() {
                self.begins(next);
            }
        } else if is_entry(pid) {
            self.begins(pid);
        } else {
            go_on(pid, None);
        }
    }

    fn begins(&mut self, pid: Pid) {
        let root = self.root;
        let Some(intent) = (Thread { pid, root }).intent() else {
            return go_on(pid, None);
        };
        if self.under_way.is_some() {
            // It looks again at what it is about to do when it is its turn.
            return self.waiting.push_back(pid);
        }
        let at = self.tried;
        self.tried += 1;
        let fails = match self.meddling {
            Meddling::Fail { at: this, errno } if this == at => Some(errno),
            Meddling::Kill(when) if when.is_now(at, self.changes) => {
                nix::sys::signal::kill(self.leader, Signal::SIGKILL).unwrap();
                None
            }
            _ => None,
        };
        if fails.is_some() {
            answer::skip(pid);
            self.failed.get_or_insert_with(|| format!("{intent:.120?}"));
        }
        self.under_way = Some(UnderWay { pid, intent, fails });
        go_on(pid, None);
    }

    fn ended(&mut self, call: UnderWay) {
        if let Some(errno) = call.fails {
            if let Some(change) = call.intent.fails() {
                self.changes.push(change);
                (self.each)();
            }
            return answer::set(call.pid, errno);
        }
        let result = answer::of(call.pid);
        if result >= 0 {
            self.changes.push(call.intent.change(self.root, result));
            (self.each)();
        }
    }
}

fn is_entry(pid: Pid) -> bool {
    ptrace::syscall_info(pid).is_ok_and(|info| info.op == libc::PTRACE_SYSCALL_INFO_ENTRY)
}

fn go_on(pid: Pid, signal: Option<Signal>) {
    // Fails for one that has been killed meanwhile: its end is waited for.
    let _ = ptrace::syscall(pid, signal);
}
