//! What Cargo and Git know of the repository.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// Runs a program in `folder` and returns what it printed.
pub(crate) fn output<S: AsRef<OsStr>>(
    folder: &Path,
    program: &str,
    arguments: &[S],
) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .with_context(|| format!("{program} cannot be run"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The files that Git tracks, and those that it would: everything but what is ignored.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listed = output(
        root,
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    )?;
    let mut files: Vec<PathBuf> = listed
        .lines()
        .map(PathBuf::from)
        .filter(|path| root.join(path).is_file())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// A crate of the workspace and what it depends on, dependencies of tests and build scripts apart.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<String>,
}

/// The crates of the workspace.
pub(crate) fn members(root: &Path) -> anyhow::Result<Vec<Member>> {
    let metadata = metadata(root)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.context("cargo metadata names no packages")?;
    packages
        .iter()
        .map(|package| {
            let name = text(package, "name")?;
            let dependencies = package.get("dependencies").and_then(Value::as_array);
            let dependencies = dependencies
                .into_iter()
                .flatten()
                .filter(|dependency| dependency.get("kind").is_none_or(Value::is_null))
                .map(|dependency| text(dependency, "name"))
                .collect::<anyhow::Result<_>>()?;
            Ok(Member { name, dependencies })
        })
        .collect()
}

/// Where Cargo builds.
pub(crate) fn target(root: &Path) -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(text(&metadata(root)?, "target_directory")?))
}

/// Every package that `member` builds with when it is built alone, itself included.
pub(crate) fn closure(root: &Path, member: &str) -> anyhow::Result<Vec<String>> {
    let tree = output(
        root,
        "cargo",
        &[
            "tree",
            "--package",
            member,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ],
    )?;
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn metadata(root: &Path) -> anyhow::Result<Value> {
    let metadata = output(
        root,
        "cargo",
        &["metadata", "--format-version", "1", "--no-deps"],
    )?;
    Ok(serde_json::from_str(&metadata)?)
}

fn text(value: &Value, key: &str) -> anyhow::Result<String> {
    let text = value.get(key).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("cargo metadata lacks {key}"))?
        .to_owned())
}
