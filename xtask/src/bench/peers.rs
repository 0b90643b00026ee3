//! The programs that are compared, each as a few command lines.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// A program, and how it is told to work.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) ours: bool,
    program: OsString,
    /// What it needs once for a new repository. Not measured.
    pub(super) prepare: Vec<Line>,
    pub(super) backup: Line,
    pub(super) restore: Line,
    /// Whether a second backup goes to the same repository and sends only what changed.
    pub(super) keeps_history: bool,
    environment: &'static [(&'static str, &'static str)],
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
            program: peer.program.clone(),
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

/// The programs that are here, ours first; says which are not.
pub(super) fn available(keyhaven: &Path) -> anyhow::Result<Vec<Peer>> {
    let all = [ours(keyhaven), our_rows(keyhaven), copy(), borg(), restic()];
    let mut here = Vec::new();
    for mut peer in all {
        let ask: &[&str] = if peer.name == "restic" {
            &["version"]
        } else {
            &["--version"]
        };
        let program = peer.program.to_string_lossy().into_owned();
        let mut version = workspace::output(Path::new("."), &program, ask);
        if version.is_err()
            && let Some(package) = package_of(peer.name)
        {
            install(package);
            version = workspace::output(Path::new("."), &program, ask);
        }
        match version {
            Ok(version) => {
                peer.version = version.lines().next().unwrap_or_default().to_owned();
                println!("{}: {}", peer.name, peer.version);
                here.push(peer);
            }
            Err(error) => println!("{} is left out: {error}", peer.name),
        }
    }
    Ok(here)
}

/// The Debian package of a program.
fn package_of(name: &str) -> Option<&'static str> {
    match name {
        "borg" => Some("borgbackup"),
        "restic" => Some("restic"),
        _ => None,
    }
}

/// Installs a Debian package, where that may be done.
fn install(package: &str) {
    println!("installing {package}");
    let installed = Command::new("apt-get")
        .args([
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            package,
        ])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    if !installed.is_ok_and(|status| status.success()) {
        println!("{package} cannot be installed here: run `apt-get install {package}` as root");
    }
}

fn ours(program: &Path) -> Peer {
    Peer {
        name: "keyhaven",
        version: String::new(),
        ours: true,
        program: program.as_os_str().to_owned(),
        prepare: vec![line(&[
            "--home",
            "{home}/keyhaven",
            "--quiet",
            "setup",
            "--source",
            "{source}",
            "--store",
            "{repository}",
            "--recovery-key",
            "--recovery-key-file",
            "{home}/digits",
        ])],
        backup: line(&["--home", "{home}/keyhaven", "--quiet", "backup"]),
        restore: line(&[
            "--home",
            "{home}/keyhaven",
            "--quiet",
            "restore",
            "--to",
            "{output}",
        ]),
        keeps_history: true,
        environment: &[],
    }
}

/// The same program, by rows: more work on the device, less to send.
fn our_rows(program: &Path) -> Peer {
    const BACKUP: &[&str] = &[
        "--home",
        "{home}/keyhaven",
        "--quiet",
        "backup",
        "--tier",
        "rows",
    ];
    Peer {
        name: "keyhaven-rows",
        backup: line(BACKUP),
        ..ours(program)
    }
}

fn copy() -> Peer {
    Peer {
        name: "cp -a",
        version: String::new(),
        ours: false,
        program: "cp".into(),
        prepare: Vec::new(),
        backup: Line {
            flush: Some("{repository}"),
            ..line(&["-a", "{source}/.", "{repository}"])
        },
        restore: Line {
            flush: Some("{output}"),
            ..line(&["-a", "{repository}/.", "{output}"])
        },
        keeps_history: false,
        environment: &[],
    }
}

fn borg() -> Peer {
    Peer {
        name: "borg",
        version: String::new(),
        ours: false,
        program: "borg".into(),
        prepare: vec![line(&[
            "init",
            "--encryption",
            "repokey-blake2",
            "{repository}",
        ])],
        backup: Line {
            folder: "{source}",
            ..line(&["create", "{repository}::{next}", "."])
        },
        restore: Line {
            folder: "{output}",
            flush: Some("{output}"),
            ..line(&["extract", "{repository}::{newest}"])
        },
        keeps_history: true,
        environment: &[
            ("BORG_PASSPHRASE", "correct horse battery staple"),
            ("BORG_BASE_DIR", "{home}"),
        ],
    }
}

fn restic() -> Peer {
    Peer {
        name: "restic",
        version: String::new(),
        ours: false,
        program: "restic".into(),
        prepare: vec![line(&["init", "--quiet", "--repo", "{repository}"])],
        backup: Line {
            folder: "{source}",
            ..line(&["backup", "--quiet", "--repo", "{repository}", "."])
        },
        restore: Line {
            flush: Some("{output}"),
            ..line(&[
                "restore",
                "latest",
                "--quiet",
                "--repo",
                "{repository}",
                "--target",
                "{output}",
            ])
        },
        keeps_history: true,
        environment: &[
            ("RESTIC_PASSWORD", "correct horse battery staple"),
            ("RESTIC_CACHE_DIR", "{home}"),
        ],
    }
}
