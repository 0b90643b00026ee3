//! What a person sees: progress on a terminal, plain lines in a log, one JSON object for programs.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use keyhaven::{DamagedBackup, Exposure, Notice, Observer, Phase, Progress};
use zeroize::Zeroizing;

use crate::browse::SHORT;

/// How this run speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Voice {
    /// A line for the person, on standard output; silent where a program listens.
    pub(crate) fn say(self, line: impl AsRef<str>) {
        if !self.json {
            write_line(&mut std::io::stdout(), &harmless(line.as_ref()));
        }
    }

    /// The answer for a program, as one line of JSON; silent where a person reads.
    pub(crate) fn answer(self, value: &serde_json::Value) {
        if self.json {
            write_line(&mut std::io::stdout(), &value.to_string());
        }
    }

    /// A remark that belongs to neither: standard error.
    pub(crate) fn remark(self, line: impl AsRef<str>) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// Something that belongs neither to the answer nor to progress and must not be missed.
    pub(crate) fn warn(self, line: impl AsRef<str>) {
        // Where nobody can be told, the work goes on, and the exit code tells.
        let _ = writeln!(std::io::stderr(), "{}", harmless(line.as_ref()));
    }

    /// What is told while long work runs.
    pub(crate) fn observer(self) -> Show {
        let bar = if self.quiet || self.json || !std::io::stderr().is_terminal() {
            None
        } else {
            Some(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::stderr(),
            ))
        };
        Show {
            voice: self,
            bar,
            phase: None,
            // Work that is done before a line is due is told by its result alone.
            said: Instant::now(),
        }
    }
}

/// Set when standard output did not take an answer.
static UNTOLD: AtomicBool = AtomicBool::new(false);

fn write_line(out: &mut impl std::io::Write, line: &str) {
    match writeln!(out, "{line}") {
        // Whoever reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(_) => UNTOLD.store(true, Ordering::Relaxed),
        Ok(()) => {}
    }
}

/// Whether something was to be told on standard output and could not be.
pub(crate) fn is_untold() -> bool {
    UNTOLD.load(Ordering::Relaxed)
}

/// A line that does nothing to a terminal but stand on it. Names come from whoever sends files (A12), and errors quote them.
fn harmless(line: &str) -> Cow<'_, str> {
    let does_more = |c: char| c.is_control() && c != '\n' && c != '\t';
    match line.contains(does_more) {
        true => line.replace(does_more, "\u{fffd}").into(),
        false => line.into(),
    }
}

/// A path or a name in a line: it ends no line.
pub(crate) fn shown(path: impl AsRef<Path>) -> String {
    let text = path.as_ref().to_string_lossy();
    text.replace(char::is_control, "\u{fffd}")
}

/// In a log, a line at most so often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows progress: a bar on a terminal, a line now and then in a log.
pub(crate) struct Show {
    voice: Voice,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    said: Instant,
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Survey => "looking for changes",
        Phase::Messages => "messages",
        Phase::Media => "media",
        Phase::Commit => "finishing",
        Phase::Verify => "checking",
    }
}

impl Show {
    fn draw(bar: &ProgressBar, progress: &Progress, fresh: bool) {
        if fresh {
            let template = if progress.bytes_total > 0 {
                "{msg:>20} [{bar:28}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left"
            } else {
                "{msg:>20} {pos} files"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.reset();
            bar.set_message(title(progress.phase));
        }
        if progress.bytes_total > 0 {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done.min(progress.bytes_total));
        } else {
            bar.set_position(progress.files_done);
        }
    }

    /// Says what must not be missed, also by who wants no progress.
    fn warn(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.voice.warn(line)),
            None => self.voice.warn(line),
        }
    }

    /// Takes the bar away, so that what follows starts on a clean line.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Observer for Show {
    fn progress(&mut self, progress: &Progress) {
        let fresh = self.phase.replace(progress.phase) != Some(progress.phase);
        if let Some(bar) = &self.bar {
            Self::draw(bar, progress, fresh);
            return;
        }
        if self.voice.json || self.voice.quiet || progress.bytes_total == 0 {
            return;
        }
        let due = self.said.elapsed() >= LOG_EVERY;
        if due && progress.bytes_done > 0 && progress.bytes_done < progress.bytes_total {
            self.said = Instant::now();
            self.voice.remark(format!(
                "{}: {} of {}",
                title(progress.phase),
                bytes(progress.bytes_done),
                bytes(progress.bytes_total)
            ));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let line = match notice {
            Notice::Pending { path, reason } => {
                self.warn(&format!(
                    "pending: {} ({reason}); the next backup tries again",
                    shown(path)
                ));
                return;
            }
            Notice::LeftOut { path, reason } => format!("left out: {} ({reason})", shown(path)),
            Notice::NewBase { path } => format!(
                "{} has a new layout and is stored afresh; this backup is larger than usual",
                shown(path)
            ),
            Notice::StateRebuilt => {
                "local state was rebuilt from the store; nothing is sent twice".to_owned()
            }
            Notice::OtherHeads { count } => format!(
                "another device has backed up to this store ({count} newest snapshots besides this \
                 device's); all are kept, `keyhaven browse` lists them"
            ),
            Notice::MarkerMended { reason } => {
                format!("the store's marker was written again: {reason}")
            }
            Notice::MarkerBlocked => {
                "a folder named `keyhaven` stands in the store in the place of its marker: move it \
                 away, and the next backup writes the marker again"
                    .to_owned()
            }
            Notice::NotComplete {
                sequence,
                pending_files,
                complete,
            } => format!(
                "backup number {sequence} is not complete: {} missing from it or older than it is. {}",
                match pending_files {
                    0 => "some files are".to_owned(),
                    1 => "1 file is".to_owned(),
                    more => format!("{more} files are"),
                },
                match complete {
                    Some((name, number)) => format!(
                        "The newest complete one is number {number}: --snapshot {} restores that one",
                        name.to_string().get(..SHORT).unwrap_or_default()
                    ),
                    None => "No backup in this store is complete yet".to_owned(),
                }
            ),
            Notice::DamagedSnapshots { names } => format!(
                "{} of the store's backups cannot be opened and may be newer than the one used: {}; \
                 `keyhaven verify` checks the rest",
                names.len(),
                names
                    .iter()
                    .map(|name| name.chars().take(12).collect())
                    .collect::<Vec<String>>()
                    .join(", ")
            ),
            Notice::NotNoted { reason } => format!(
                "the vault could not be told of this backup ({reason}); the next backup tells it"
            ),
            Notice::DamagedBackup(damaged) => {
                self.warn(&damaged_backup(damaged));
                return;
            }
            other => format!("{other:?}"),
        };
        // Who wants no progress still wants to know what is not there.
        let is_loss = matches!(
            notice,
            Notice::NotComplete { .. } | Notice::DamagedSnapshots { .. }
        );
        if is_loss || !self.voice.quiet {
            self.warn(&line);
        }
    }
}

/// What a damaged backup means to a person who is making another one.
fn damaged_backup(damaged: &DamagedBackup) -> String {
    let name = damaged.snapshot.to_string();
    let short: String = name.chars().take(12).collect();
    let what_is_lost = if damaged.opens {
        format!("`keyhaven verify --snapshot {short}` names what it has lost")
    } else {
        "it cannot be restored from any more".to_owned()
    };
    format!(
        "backup number {} ({short}) is damaged in the store: {}. A whole new backup is made from what is on \
         this device. Nothing of the damaged one is deleted; {what_is_lost}",
        damaged.sequence, damaged.reason
    )
}

/// A size for people, in binary units.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if let (Some(whole), Some(rest)) = (count.checked_div(unit), count.checked_rem(unit))
            && whole > 0
        {
            let tenth = rest.saturating_mul(10).checked_div(unit).unwrap_or(0);
            return format!("{whole}.{tenth} {name}");
        }
    }
    format!("{count} bytes")
}

/// "1 file", "2 files".
pub(crate) fn counted(count: u64, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// A duration for people.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Seconds since 1970 as date and time of day, UTC.
pub(crate) fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        // Only a forged clock says so.
        |_| format!("{seconds} s after 1970"),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

/// The longest secret that is read from a file or typed: a password has at most 1,024 bytes, a
/// token 8 KiB.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

impl Voice {
    /// BACKUP-3: whoever can read one of these has the key. One is told in words: what helps is the same for all.
    pub(crate) fn exposed(self, files: &[Exposure]) {
        if let Some(first) = files.first() {
            self.warn(format!("ATTENTION: {first}"));
        }
    }
}

/// The files, for programs.
pub(crate) fn exposed_json(files: &[Exposure]) -> Vec<String> {
    let files = files.iter();
    files
        .map(|one| one.file().to_string_lossy().into_owned())
        .collect()
}

/// Flushes the folder of a file that was just made, so that its name outlives a loss of power.
pub(crate) fn keep_name(file: &Path) -> std::io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::File::open(folder)?.sync_all()
}

/// Reads a secret from `file` ("-" is standard input), without its line end.
pub(crate) fn secret_from(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let limit = SECRET_BYTES_MAX;
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

/// Asks for a secret on the terminal, without showing it.
pub(crate) fn ask_secret(question: &str) -> anyhow::Result<Zeroizing<String>> {
    rpassword::prompt_password(format!("{question}: "))
        .map(Zeroizing::new)
        .with_context(|| format!("there is no terminal to ask on: {question}"))
}

/// Asks a question on the terminal and returns the line that was typed.
pub(crate) fn ask(question: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask on: {question}"
    );
    let mut terminal = std::io::stderr();
    write!(terminal, "{question}: ")?;
    terminal.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Whether there is a person to ask.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_binary_units() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(8 << 20), "8.0 MiB");
        assert_eq!(bytes((1 << 30) + (1 << 29)), "1.5 GiB");
    }

    #[test]
    fn a_name_does_nothing_to_a_terminal() {
        assert_eq!(
            shown("a\nb\x1b[2Jc\u{9b}d"),
            "a\u{fffd}b\u{fffd}[2Jc\u{fffd}d"
        );
        assert_eq!(harmless("one\n\ttwo"), "one\n\ttwo");
        assert_eq!(harmless("one\x1b]0;two\x07"), "one\u{fffd}]0;two\u{fffd}");
    }

    #[test]
    fn a_time_is_told_as_a_date() {
        assert_eq!(time(0), "1970-01-01 00:00");
        assert_eq!(time(951_868_800), "2000-03-01 00:00");
        assert_eq!(time(1_795_000_000), "2026-11-18 11:06");
        assert_eq!(time(-1), "1969-12-31 23:59");
        assert_eq!(time(i64::MAX), "9223372036854775807 s after 1970");
    }

    #[test]
    fn a_secret_from_a_file_loses_only_its_line_end() {
        let folder = std::env::temp_dir().join(format!("keyhaven-ui-{}", std::process::id()));
        std::fs::write(&folder, " a b \r\n").unwrap();
        assert_eq!(*secret_from(&folder).unwrap(), " a b ");
        std::fs::remove_file(&folder).unwrap();
    }
}
