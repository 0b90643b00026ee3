//! What is kept of a measurement, in `bench/`.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::figures::Figures;
use super::{Options, goals, table};
use crate::workspace;

/// The plot's file.
pub(super) const PLOT: &str = "engine.svg";
/// The page that holds the tables, between the marks.
const PAGE: &str = "README.md";
/// What `cargo xtask bench engine --record` writes stands between these lines of the page.
const MARKS: (&str, &str) = ("<!-- engine: begin -->", "<!-- engine: end -->");

/// When, where and on what was measured.
#[derive(Debug)]
pub(super) struct Setting {
    date: String,
    cores: usize,
    /// The machine's load in the minute before.
    load: String,
    rounds: usize,
    messages: u32,
    media_mib: u64,
}

impl Setting {
    pub(super) fn now(options: &Options) -> anyhow::Result<Self> {
        let date = workspace::output(Path::new("."), "date", &["--utc", "+%F"])?;
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            date: date.trim().to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            rounds: options.rounds,
            messages: options.messages,
            media_mib: options.media_mib,
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = match self.rounds {
            1 => "one round".to_owned(),
            more => format!("medians of {more} rounds"),
        };
        write!(
            f,
            "{}, {} messages and {} MiB of media, {rounds}, {} cores, load before the start {}",
            self.date, self.messages, self.media_mib, self.cores, self.load
        )
    }
}

/// The goals and the tables.
pub(super) fn text(setting: &Setting, all: &[Figures]) -> String {
    format!(
        "Of {setting}:\n\n{}{}",
        table::write(all),
        goals::write(&goals::judge(all))
    )
}

/// Puts text and plot in the place of those of an earlier measurement.
pub(super) fn keep(folder: &Path, text: &str, plot: &str) -> anyhow::Result<()> {
    let page = folder.join(PAGE);
    let old = fs::read_to_string(&page)?;
    let shown = format!("![Keyhaven beside its peers]({PLOT})\n\n{text}");
    let new = between_marks(&old, &shown)
        .with_context(|| format!("{} lacks the line {}", page.display(), MARKS.0))?;
    fs::write(&page, new)?;
    fs::write(folder.join(PLOT), plot)?;
    println!("{} and {PLOT} are written.", page.display());
    Ok(())
}

/// The page with `text` between the marks, instead of what stood there.
fn between_marks(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS.0)?;
    let (_, after) = rest.split_once(MARKS.1)?;
    let (begin, end) = MARKS;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{end}{after}",
        text.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_measurement_takes_the_old_ones_place_and_the_rest_of_the_page_stays() {
        let (begin, end) = MARKS;
        let page = format!("# Benchmarks\n\n{begin}\nold\n{end}\n\n## More\n");
        let once = between_marks(&page, "new\n").unwrap();
        assert_eq!(
            once,
            format!("# Benchmarks\n\n{begin}\n\nnew\n\n{end}\n\n## More\n")
        );
        assert_eq!(between_marks(&once, "new\n").unwrap(), once);
        assert_eq!(between_marks("# Benchmarks\n", "new"), None);
        assert_eq!(between_marks(&format!("{end}{begin}"), "new"), None);
    }
}
