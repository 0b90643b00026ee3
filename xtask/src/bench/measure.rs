//! What a program costs: time, processor time, memory, bytes stored.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::peers::{Places, Run};

/// How often memory is sampled. A peak shorter than this can be missed.
const SAMPLE: Duration = Duration::from_millis(5);
/// At the start it is sampled more often, for what runs shortly.
const SAMPLE_SHORT: Duration = Duration::from_millis(1);
/// How long the start is.
const STARTING: Duration = Duration::from_millis(200);

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// From start to end, and to the end of the flush where one was asked for.
    pub(super) wall: Duration,
    /// Processor time in user mode.
    pub(super) user: Duration,
    /// Processor time in the kernel.
    pub(super) system: Duration,
    /// The largest anonymous memory seen (`RssAnon` of `/proc/PID/status`), in bytes: what the
    /// program and the programs that it starts hold themselves, without mapped files.
    pub(super) anonymous: u64,
    /// How long it took until the file that was awaited was there.
    pub(super) there: Option<Duration>,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f64();
        write!(
            f,
            "{:.2} s, {:.2} s user, {:.2} s system, {} MiB anonymous",
            seconds(self.wall),
            seconds(self.user),
            seconds(self.system),
            self.anonymous >> 20
        )
    }
}

/// Runs a program and measures it. A program that fails is an error, with what it said. What it prints can be
/// read in [`printed`] afterwards.
pub(super) fn run(run: &Run, places: &Places) -> anyhow::Result<Cost> {
    // What earlier runs left to be written is not this one's cost.
    flush(&places.folder)?;
    let said = places.folder.join("said.log");
    let (user_before, system_before) = processor_time()?;
    let start = Instant::now();
    let mut child = Command::new(&run.program)
        .args(&run.arguments)
        .envs(run.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(&run.folder)
        .stdin(Stdio::null())
        .stdout(File::create(printed_file(places))?)
        .stderr(File::create(&said)?)
        .spawn()
        .with_context(|| format!("{:?} cannot be run", run.program))?;
    let process = child.id();
    let ended = AtomicBool::new(false);
    let (status, (anonymous, there)) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let (mut peak, mut there) = (0, None);
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(family_bytes(process));
                if there.is_none() && run.awaited.as_ref().is_some_and(|file| file.exists()) {
                    there = Some(start.elapsed());
                }
                std::thread::sleep(if start.elapsed() < STARTING {
                    SAMPLE_SHORT
                } else {
                    SAMPLE
                });
            }
            (peak, there)
        });
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        (status, sampler.join().unwrap_or_default())
    });
    if let Some(flushed) = &run.flush {
        flush(flushed)?;
    }
    let wall = start.elapsed();
    if !status?.success() {
        bail!(
            "{:?} {:?} failed: {}",
            run.program,
            run.arguments,
            fs::read_to_string(&said)?
        );
    }
    let (user, system) = processor_time()?;
    Ok(Cost {
        wall,
        user: user.saturating_sub(user_before),
        system: system.saturating_sub(system_before),
        anonymous,
        there,
    })
}

/// Takes as much memory for files as a step will write, and gives it back. A virtual machine's host takes back what its guest has
/// not used for long, and who writes first pays for getting it again: some seconds for a GiB.
pub(super) fn take_memory(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let place = folder.join("memory");
    let mut file = File::create(&place)?;
    io::copy(&mut io::repeat(1).take(bytes), &mut file)?;
    Ok(fs::remove_file(&place)?)
}

/// Reads every file once, so that they are in memory.
pub(super) fn warm(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            warm(&path)?;
        } else {
            io::copy(&mut File::open(&path)?, &mut io::sink())?;
        }
    }
    Ok(())
}

/// `sync -f`: flushes the file system that holds `path`.
fn flush(path: &Path) -> anyhow::Result<()> {
    let flushed = Command::new("sync").arg("-f").arg(path).status()?;
    if !flushed.success() {
        bail!("{} cannot be flushed", path.display());
    }
    Ok(())
}

/// User and system time of all children that have ended, and of theirs.
fn processor_time() -> anyhow::Result<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let duration = |time: TimeVal| -> anyhow::Result<Duration> {
        let micros = Duration::from_micros(u64::try_from(time.tv_usec())?);
        Ok(Duration::from_secs(u64::try_from(time.tv_sec())?).saturating_add(micros))
    };
    Ok((duration(usage.user_time())?, duration(usage.system_time())?))
}

/// Anonymous memory of a process and of all that its first thread, and theirs, started. Nothing of one that has ended.
fn family_bytes(process: u32) -> u64 {
    let folder = format!("/proc/{process}");
    let own = anonymous_bytes(Path::new(&format!("{folder}/status"))).unwrap_or_default();
    let children = fs::read_to_string(format!("{folder}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    children.map(family_bytes).fold(own, u64::saturating_add)
}

fn anonymous_bytes(status: &Path) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// What the last run printed.
pub(super) fn printed(places: &Places) -> anyhow::Result<String> {
    Ok(fs::read_to_string(printed_file(places))?)
}

fn printed_file(places: &Places) -> PathBuf {
    places.folder.join("printed.log")
}

/// What stands in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: u64,
    pub(super) objects: u64,
}

impl Stored {
    pub(super) fn of(folder: &Path) -> anyhow::Result<Self> {
        let mut stored = Self::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let more = if entry.file_type()?.is_dir() {
                Self::of(&entry.path())?
            } else {
                Self {
                    bytes: entry.metadata()?.len(),
                    objects: 1,
                }
            };
            stored.bytes = stored.bytes.saturating_add(more.bytes);
            stored.objects = stored.objects.saturating_add(more.objects);
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_measured_and_a_failing_one_is_told() {
        let bench = tempfile::tempdir().unwrap();
        let places = Places::new(bench.path(), bench.path(), "sh");
        places.clear().unwrap();
        let shell = |script: &str| Run {
            program: "sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: Vec::new(),
            folder: places.folder.clone(),
            flush: Some(places.folder.clone()),
            awaited: None,
        };
        let cost = run(
            &shell("head -c 1000 /dev/zero > repository/a; echo done; sleep 0.1"),
            &places,
        )
        .unwrap();
        assert!(cost.wall >= Duration::from_millis(100));
        assert!(cost.anonymous > 0);
        assert_eq!(printed(&places).unwrap(), "done\n");
        let stored = Stored::of(&places.repository).unwrap();
        assert_eq!((stored.bytes, stored.objects), (1_000, 1));
        let told = run(&shell("echo the disk is full >&2; exit 3"), &places).unwrap_err();
        assert!(told.to_string().contains("the disk is full"), "{told}");
    }
    #[test]
    fn what_a_program_starts_counts_as_its_own() {
        let bench = tempfile::tempdir().unwrap();
        let places = Places::new(bench.path(), bench.path(), "sh");
        places.clear().unwrap();
        // `dd` holds the block that it copies, the shell that waits for it hardly anything.
        let script = "dd if=/dev/zero of=/dev/null bs=32M count=40; true";
        let run = Run {
            program: "sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: Vec::new(),
            folder: places.folder.clone(),
            flush: None,
            awaited: None,
        };
        let cost = super::run(&run, &places).unwrap();
        assert!(cost.anonymous > 30 << 20, "{cost}");
    }
}
