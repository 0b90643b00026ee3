//! What a program costs: time, processor time, memory, bytes stored.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};

use super::peers::{Places, Run};

/// How often memory is sampled. A peak shorter than this can be missed.
const SAMPLE_MS: u64 = 5;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// From start to end, and to the end of the flush where one was asked for.
    pub(super) wall: Duration,
    /// Processor time in user mode.
    pub(super) user: Duration,
    /// The largest anonymous memory seen (`RssAnon` of `/proc/PID/status`), in bytes: what the
    /// program holds itself, without mapped files.
    pub(super) anonymous: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, user) = (self.wall.as_secs_f64(), self.user.as_secs_f64());
        write!(
            f,
            "{wall:.2} s, {user:.2} s user, {} MiB anonymous",
            self.anonymous >> 20
        )
    }
}

/// Runs a program and measures it. A program that fails is an error, with what it said.
pub(super) fn run(run: &Run, places: &Places) -> anyhow::Result<Cost> {
    // What earlier runs left to be written is not this one's cost.
    flush(&places.folder)?;
    let said = places.folder.join("said.log");
    let user_before = user_time()?;
    let start = Instant::now();
    let mut child = Command::new(&run.program)
        .args(&run.arguments)
        .envs(run.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(&run.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said)?)
        .spawn()
        .with_context(|| format!("{:?} cannot be run", run.program))?;
    let status_file = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);
    let (status, anonymous) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_bytes(Path::new(&status_file)).unwrap_or_default());
                std::thread::sleep(Duration::from_millis(SAMPLE_MS));
            }
            peak
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
    let user = user_time()?.saturating_sub(user_before);
    Ok(Cost {
        wall,
        user,
        anonymous,
    })
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

/// User time of all children that have ended.
fn user_time() -> anyhow::Result<Duration> {
    let time = getrusage(UsageWho::RUSAGE_CHILDREN)?.user_time();
    let micros = u64::try_from(time.tv_usec())?;
    Ok(Duration::from_secs(u64::try_from(time.tv_sec())?)
        .saturating_add(Duration::from_micros(micros)))
}

fn anonymous_bytes(status: &Path) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// What stands in a repository.
#[derive(Debug, Clone, Copy, Default)]
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
        };
        let cost = run(
            &shell("head -c 1000 /dev/zero > repository/a; sleep 0.1"),
            &places,
        )
        .unwrap();
        assert!(cost.wall >= Duration::from_millis(100));
        assert!(cost.anonymous > 0);
        let stored = Stored::of(&places.repository).unwrap();
        assert_eq!((stored.bytes, stored.objects), (1_000, 1));
        let told = run(&shell("echo the disk is full >&2; exit 3"), &places).unwrap_err();
        assert!(told.to_string().contains("the disk is full"), "{told}");
    }
}
