//! How many lines are trusted: what of ours is compiled into the core.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::tidy::tests_begin;
use crate::workspace;

/// The crates of ours that the core is built from. What of them stands behind a feature is a
/// client's or a host's, and the core asks for no feature.
const CRATES: &[&str] = &["vault-core", "wire", "secrets"];

/// What one crate adds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    files: usize,
    lines: usize,
}

/// Prints the lines of code, without tests, comments and blank lines.
pub(super) fn report(root: &Path) -> anyhow::Result<()> {
    no_features(root)?;
    let mut total = Count::default();
    println!("trusted lines of code (no tests, comments, blank lines):");
    for name in CRATES {
        let mut count = Count::default();
        let src = root.join("crates").join(name).join("src");
        add(&src.join("lib.rs"), &src, &mut count)?;
        print(name, &count);
        total.files = total.files.saturating_add(count.files);
        total.lines = total.lines.saturating_add(count.lines);
    }
    print("together", &total);
    Ok(())
}

/// What stands behind a feature is left out of the count because the core asks for none.
fn no_features(root: &Path) -> anyhow::Result<()> {
    let tree = workspace::output(
        root,
        "cargo",
        &[
            "tree",
            "--package=keyhaven-vault-core",
            "--edges=normal",
            "--prefix=none",
            "--format={lib} {f}",
        ],
    )?;
    for line in tree.lines().filter(|line| line.starts_with("keyhaven_")) {
        let (name, features) = line.split_once(' ').unwrap_or((line, ""));
        let features = features.trim_end_matches("(*)").trim();
        ensure!(features.is_empty(), "the core asks {name} for {features}");
    }
    Ok(())
}

fn print(name: &str, count: &Count) {
    println!(
        "  {name:<11}{:>5} lines in {:>2} files",
        count.lines, count.files
    );
}

/// Adds a file, and the files of its modules, which stand in `folder`.
fn add(file: &Path, folder: &Path, count: &mut Count) -> anyhow::Result<()> {
    let content = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    count.files = count.files.saturating_add(1);
    count.lines = count.lines.saturating_add(code(&content));
    for module in modules(&content) {
        let below: PathBuf = folder.join(module);
        add(&below.with_extension("rs"), &below, count)?;
    }
    Ok(())
}

fn code(content: &str) -> usize {
    content
        .lines()
        .take(tests_begin(content))
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//") && *line != "#[cfg(test)]")
        .count()
}

/// The modules that a file declares and that are always compiled: none behind a `cfg`.
fn modules(content: &str) -> impl Iterator<Item = &str> {
    let before = std::iter::once("").chain(content.lines());
    before.zip(content.lines()).filter_map(|(before, line)| {
        let line = line
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        let name = line.strip_prefix("mod ")?.strip_suffix(';')?;
        (!before.starts_with("#[cfg(")).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
//! Documentation.

pub mod channel;
#[cfg(feature = \"client\")]
mod client;
#[cfg(test)]
mod tests;

/// More of it.
fn one() {
    // Why.
    two();
}

#[cfg(test)]
mod more {
    fn three() {}
}
";

    #[test]
    fn code_is_counted_and_comments_blanks_and_tests_are_not() {
        assert_eq!(code("//! A\n\nfn a() {}\n    // Why.\n    b();\n"), 2);
        // Four lines name modules or say when, three are a function.
        assert_eq!(code(FILE), 7);
    }

    #[test]
    fn a_module_behind_a_feature_is_not_of_the_core() {
        assert_eq!(modules(FILE).collect::<Vec<_>>(), ["channel"]);
    }
}
