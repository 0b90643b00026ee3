//! Which lines of the vault's core its own tests reach.
//!
//! The lines are counted by cargo-tarpaulin, with debugger stops (`--engine ptrace`): nothing is compiled
//! into the code that is counted. A line that is reached is not yet a line that is tested; one that is
//! not reached is certainly none.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::workspace;

const PACKAGE: &str = "keyhaven-vault-core";
const SOURCES: &str = "crates/vault-core/src/";
/// Of a hundred lines, at least so many.
const FLOOR: usize = 95;
/// Tests that take minutes under a debugger, and reach no line that others do not.
const SLOW: [&str; 3] = [
    "every_account_is_held",
    "no_schedule_gets_an_eleventh",
    "cut_or_put",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Reads a report that is there already, instead of running the tests.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// `cargo xtask coverage`.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = crate::root();
    let report = match &options.report {
        Some(report) => report.clone(),
        None => measure(&root)?,
    };
    let text = std::fs::read_to_string(&report).with_context(|| report.display().to_string())?;
    let files = files(&serde_json::from_str(&text)?, &root)?;
    let (mut reached, mut all) = (0_usize, 0_usize);
    for file in &files {
        reached = reached.saturating_add(file.reached);
        all = all.saturating_add(file.all());
        if !file.missing.is_empty() {
            println!("{file}");
        }
    }
    let Some(tenths) = tenths(reached, all) else {
        bail!("{} names no line of {SOURCES}", report.display());
    };
    let (whole, tenth) = (tenths / 10, tenths % 10);
    println!("{SOURCES}: {reached} of {all} lines, {whole}.{tenth} %");
    if tenths < FLOOR.saturating_mul(10) {
        bail!("the tests of {PACKAGE} reach fewer than {FLOOR} % of its lines");
    }
    Ok(())
}

/// Of a thousand lines, so many are reached, rounded down.
fn tenths(reached: usize, all: usize) -> Option<usize> {
    reached.checked_mul(1000)?.checked_div(all)
}

/// Runs the core's tests under tarpaulin, and says where the report is.
fn measure(root: &Path) -> anyhow::Result<PathBuf> {
    if workspace::output(root, "cargo", &["tarpaulin", "--version"]).is_err() {
        bail!("cargo-tarpaulin is missing: `cargo install cargo-tarpaulin`");
    }
    let folder = workspace::target(root)?.join("coverage");
    std::fs::create_dir_all(&folder)?;
    let skipped = SLOW.iter().flat_map(|name| ["--skip", name]);
    let status = Command::new("cargo")
        .args(["tarpaulin", "--engine", "ptrace", "--package", PACKAGE])
        .args(["--skip-clean", "--out", "Json", "--target-dir"])
        .arg(&folder)
        .arg("--output-dir")
        .arg(&folder)
        .arg("--")
        .args(skipped)
        .current_dir(root)
        .status()
        .context("cannot run cargo-tarpaulin")?;
    if !status.success() {
        bail!("the tests did not run to their end: {status}");
    }
    Ok(folder.join("tarpaulin-report.json"))
}

/// A source file of the core.
#[derive(Debug, PartialEq, Eq)]
struct File {
    name: String,
    reached: usize,
    /// The lines that no test reaches, in order.
    missing: Vec<u64>,
}

impl File {
    fn all(&self) -> usize {
        self.reached.saturating_add(self.missing.len())
    }
}

/// The core's files in a report, without those that are tests.
fn files(report: &Value, root: &Path) -> anyhow::Result<Vec<File>> {
    let listed = report.get("files").and_then(Value::as_array);
    let listed = listed.context("the report lists no files")?;
    let mut files = Vec::new();
    for file in listed {
        let parts = file.get("path").and_then(Value::as_array);
        let parts = parts.context("the report has a file without a path")?;
        let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
        let path: PathBuf = parts.iter().collect();
        // Copies of the source, as others leave them below the build folder, are not the core's.
        let Ok(name) = path.strip_prefix(root.join(SOURCES)) else {
            continue;
        };
        if name.to_string_lossy().ends_with("tests.rs") {
            continue;
        }
        let traces = file.get("traces").and_then(Value::as_array);
        let traces = traces.context("the report has a file without lines")?;
        let mut read = File {
            name: name.display().to_string(),
            reached: 0,
            missing: Vec::new(),
        };
        for trace in traces {
            let line = trace.get("line").and_then(Value::as_u64);
            let hits = trace.pointer("/stats/Line").and_then(Value::as_u64);
            match (line, hits) {
                (Some(line), Some(0)) => read.missing.push(line),
                (Some(_), Some(_)) => read.reached = read.reached.saturating_add(1),
                (_, None) | (None, _) => bail!("the report has a line that is not counted"),
            }
        }
        read.missing.sort_unstable();
        files.push(read);
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {},", self.name, self.reached, self.all())?;
        f.write_str(" not reached:")?;
        self.missing
            .iter()
            .try_for_each(|line| write!(f, " {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(counts: &[(u64, u64)]) -> Value {
        let line = |(line, hits): &(u64, u64)| serde_json::json!({ "line": line, "address": [], "length": 1, "stats": { "Line": hits } });
        counts.iter().map(line).collect()
    }

    fn file(path: &[&str], counts: &[(u64, u64)]) -> Value {
        serde_json::json!({ "path": path, "content": "", "traces": lines(counts) })
    }

    #[test]
    fn only_the_cores_own_lines_are_counted() {
        let core = ["/", "somewhere", "crates", "vault-core", "src"];
        let own = [&core[..], &["log", "entry.rs"]].concat();
        let tests = [&core[..], &["log", "tests.rs"]].concat();
        let other = ["/", "somewhere", "crates", "wire", "src", "lib.rs"];
        let copy = [&["/", "somewhere", "target"], &core[2..], &["lib.rs"]].concat();
        let report = serde_json::json!({ "files": [
            file(&own, &[(9, 0), (3, 1), (4, 7), (7, 0)]),
            file(&tests, &[(1, 0)]),
            file(&other, &[(1, 0)]),
            file(&copy, &[(1, 0)]),
        ]});
        let read = files(&report, Path::new("/somewhere")).unwrap();
        let entry = File {
            name: "log/entry.rs".to_owned(),
            reached: 2,
            missing: vec![7, 9],
        };
        assert_eq!(read, [entry]);
        assert_eq!(
            read[0].to_string(),
            "log/entry.rs: 2 of 4, not reached: 7 9"
        );
    }

    #[test]
    fn a_share_is_rounded_down_and_nothing_has_none() {
        assert_eq!(tenths(1899, 2000), Some(949));
        assert_eq!(tenths(19, 20), Some(950));
        assert_eq!(tenths(0, 0), None);
    }

    #[test]
    fn a_report_without_counts_is_none() {
        let uncounted = serde_json::json!({ "files": [
            { "path": ["/", "somewhere", "crates", "vault-core", "src", "log.rs"], "traces": [{ "line": 3 }] },
        ]});
        let root = Path::new("/somewhere");
        files(&uncounted, root).unwrap_err();
        files(&serde_json::json!({}), root).unwrap_err();
    }
}
