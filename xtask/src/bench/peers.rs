//! The programs that are compared, each as a few command lines.

mod lines;

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::install::Origin;
use crate::workspace;

/// A program, and how it is told to work.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) comes_back: ComesBack,
    program: PathBuf,
    origin: Origin,
    /// What it needs once for a new repository. Not measured.
    pub(super) prepare: Vec<Line>,
    pub(super) backup: Line,
    pub(super) restore: Line,
    /// Reads all data back and checks it, if it has a command for that.
    pub(super) verify: Option<Line>,
    /// Whether a second backup goes to the same repository and sends only what changed.
    pub(super) keeps_history: bool,
    environment: &'static [(&'static str, &'static str)],
}

/// What is compared with the source after a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ComesBack {
    /// Every byte of every file, and of every database the pages.
    Bytes,
    /// Every byte of every file, and of every database the rows.
    Rows,
    /// The number of files, and their bytes in all: we do not answer for it.
    Totals,
}

impl Peer {
    pub(super) fn is_ours(&self) -> bool {
        match self.comes_back {
            ComesBack::Bytes | ComesBack::Rows => true,
            ComesBack::Totals => false,
        }
    }
}

/// The arguments of one call. `{source}`, `{repository}`, `{output}` and `{home}` stand for places,
/// `{next}` for a name that was not used before, and `{newest}` for the one that was used last.
#[derive(Debug)]
pub(super) struct Line {
    arguments: &'static [&'static str],
    /// The program works in this place.
    folder: &'static str,
    /// Flush this place, and count the time: for programs that leave it to the system.
    flush: Option<&'static str>,
}

const fn line(arguments: &'static [&'static str]) -> Line {
    Line {
        arguments,
        folder: "{home}",
        flush: None,
    }
}

/// One call, ready to run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) program: OsString,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) folder: PathBuf,
    pub(super) flush: Option<PathBuf>,
    /// A file that it makes: when it is there under its name, is measured.
    pub(super) awaited: Option<PathBuf>,
}

impl Line {
    pub(super) fn command(&self, peer: &Peer, places: &Places) -> Run {
        if self
            .arguments
            .iter()
            .any(|argument| argument.contains("{next}"))
        {
            places.used.set(places.used.get().saturating_add(1));
        }
        let name = format!("archive-{}", places.used.get());
        let fill = |text: &str| {
            places
                .fill(text)
                .replace("{next}", &name)
                .replace("{newest}", &name)
        };
        Run {
            program: peer.program.clone().into(),
            arguments: self
                .arguments
                .iter()
                .map(|argument| fill(argument))
                .collect(),
            environment: peer
                .environment
                .iter()
                .map(|(key, text)| (*key, fill(text)))
                .collect(),
            folder: PathBuf::from(fill(self.folder)),
            flush: self.flush.map(|text| PathBuf::from(fill(text))),
            awaited: None,
        }
    }
}

/// Where one program finds and leaves everything.
#[derive(Debug)]
pub(super) struct Places {
    source: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) repository: PathBuf,
    pub(super) output: PathBuf,
    home: PathBuf,
    /// How many archives were named.
    used: Cell<u32>,
}

impl Places {
    pub(super) fn new(bench: &Path, source: &Path, peer: &str) -> Self {
        let folder = bench.join("work").join(peer);
        Self {
            source: source.to_owned(),
            repository: folder.join("repository"),
            output: folder.join("output"),
            home: folder.join("home"),
            used: Cell::new(0),
            folder,
        }
    }

    /// Nothing is left, and the empty folders are there.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        for folder in [&self.repository, &self.output, &self.home] {
            fs::create_dir_all(folder)?;
        }
        Ok(())
    }

    pub(super) fn clear_output(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.output)?;
        fs::create_dir(&self.output)?;
        Ok(())
    }

    fn fill(&self, text: &str) -> String {
        let places = [
            ("{source}", &self.source),
            ("{repository}", &self.repository),
            ("{output}", &self.output),
            ("{home}", &self.home),
        ];
        places.iter().fold(text.to_owned(), |text, (name, path)| {
            text.replace(name, &path.display().to_string())
        })
    }
}

/// The programs that are here or can be got, ours first; says which are not.
pub(super) fn available(
    keyhaven: &Path,
    bench: &Path,
    only: &[String],
) -> anyhow::Result<Vec<Peer>> {
    let folder = bench.join("peers");
    fs::create_dir_all(&folder)?;
    let mut here = Vec::new();
    for mut peer in lines::all(keyhaven) {
        if !only.is_empty() && !only.iter().any(|name| peer.name.starts_with(name.as_str())) {
            continue;
        }
        peer.program = peer.origin.program(&peer.program, &folder);
        let mut version = ask(&peer);
        if version.is_err() {
            peer.origin.install(&folder);
            version = ask(&peer);
        }
        match version {
            Ok(version) => {
                println!("{}: {version}", peer.name);
                peer.version = version;
                here.push(peer);
            }
            Err(error) => println!("{} is left out: {error}", peer.name),
        }
    }
    Ok(here)
}

/// The version that a program says it has.
fn ask(peer: &Peer) -> anyhow::Result<String> {
    let argument = match peer.name {
        "restic" => "version",
        _ => "--version",
    };
    let program = peer.program.to_string_lossy();
    let said = workspace::output(Path::new("."), &program, &[argument])?;
    version(&said).context("it does not tell its version")
}

/// The version in what a program says of itself: the first word that is a number with a point in it.
fn version(said: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    let words = said.split([' ', '-', '\n']);
    let mut words = words.map(|word| word.trim_start_matches('v'));
    Some(words.find(is_version)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_programs_say() {
        let found = |said| version(said).unwrap_or_default();
        assert_eq!(found("keyhaven 0.1.0\n"), "0.1.0");
        assert_eq!(found("cp (GNU coreutils) 9.1\nCopyright (C) 2022"), "9.1");
        assert_eq!(found("borg 2.0.0b23"), "2.0.0b23");
        assert_eq!(
            found("restic 0.14.0 compiled with go1.19.8 on linux/amd64"),
            "0.14.0"
        );
        assert_eq!(found("bupstash-0.12.0\n"), "0.12.0");
        assert_eq!(found("rustic v0.11.4\n"), "0.11.4");
        assert_eq!(version("no such option"), None);
    }
}
