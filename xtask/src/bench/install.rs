//! Getting the programs that are compared: from Debian, and from the registries of Python and Rust packages.
//!
//! What is built stands below `target/bench/peers` and is kept. Delete that folder to get newer versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a program comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// It is here: ours, and what every system has.
    Here,
    /// A Debian package.
    Debian { package: &'static str },
    /// A Python package, in a virtual environment of its own.
    Python {
        environment: &'static str,
        /// What to ask for, the best first: a newest version may need libraries that the system has not.
        wanted: &'static [&'static str],
        /// Debian packages that its build needs.
        headers: &'static [&'static str],
    },
    /// A crate, with the lock file of its authors.
    Crate {
        name: &'static str,
        arguments: &'static [&'static str],
        headers: &'static [&'static str],
    },
}

impl Origin {
    /// How the program is called.
    pub(super) fn program(self, program: &Path, peers: &Path) -> PathBuf {
        match self {
            Self::Here | Self::Debian { .. } => program.to_owned(),
            Self::Python { environment, .. } => peers.join(environment).join("bin").join(program),
            Self::Crate { .. } => peers.join("bin").join(program),
        }
    }

    /// Tries to install it. Whether that went well shows when the program is asked for its version; what a tool
    /// had to say stands on the terminal.
    pub(super) fn install(self, peers: &Path) {
        match self {
            Self::Here => {}
            Self::Debian { package } => debian(&[package]),
            Self::Python {
                environment,
                wanted,
                headers,
            } => {
                println!("installing {}", wanted.first().unwrap_or(&environment));
                debian(headers);
                let folder = peers.join(environment);
                if !succeeds(
                    patient("python3")
                        .args(["-m", "venv", "--clear"])
                        .arg(&folder),
                ) {
                    return;
                }
                for version in wanted {
                    let pip = folder.join("bin/pip");
                    let mut install = patient(&pip);
                    install.args(["install", "--quiet", "--disable-pip-version-check", version]);
                    if succeeds(&mut install) {
                        return;
                    }
                    println!("{version} cannot be installed here");
                }
            }
            Self::Crate {
                name,
                arguments,
                headers,
            } => {
                println!("installing {name}");
                debian(headers);
                let build = peers.join("build");
                let mut install = patient(env!("CARGO"));
                install
                    .args(["install", "--locked", "--quiet", "--root"])
                    .arg(peers)
                    .arg("--target-dir")
                    .arg(&build)
                    .arg(name)
                    .args(arguments);
                if !succeeds(&mut install) {
                    println!("{name} cannot be installed here");
                }
                // Some gigabytes that nothing needs again. What cannot be removed does no harm.
                let _ = fs::remove_dir_all(&build);
            }
        }
    }
}

/// Installs Debian packages that are missing, where that may be done.
fn debian(packages: &[&str]) {
    let there = |package: &&str| {
        let mut query = Command::new("dpkg-query");
        query.args(["--show", package]);
        query.stdout(Stdio::null()).stderr(Stdio::null());
        succeeds(&mut query)
    };
    let missing: Vec<&str> = packages.iter().copied().filter(|p| !there(p)).collect();
    if missing.is_empty() {
        return;
    }
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    if !succeeds(&mut install) {
        let missing = missing.join(" ");
        println!("{missing} cannot be installed here: run `apt-get install {missing}` as root");
    }
}

/// A command that leaves the processor to others.
fn patient(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "15"]).arg(program);
    command
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_installed_is_called_by_its_place_and_what_is_here_by_its_name() {
        let peers = Path::new("peers");
        let python = Origin::Python {
            environment: "borg-2",
            wanted: &[],
            headers: &[],
        };
        let rust = Origin::Crate {
            name: "rustic-rs",
            arguments: &[],
            headers: &[],
        };
        let debian = Origin::Debian { package: "restic" };
        let called = |origin: Origin, name: &str| origin.program(Path::new(name), peers);
        assert_eq!(called(python, "borg"), Path::new("peers/borg-2/bin/borg"));
        assert_eq!(called(rust, "rustic"), Path::new("peers/bin/rustic"));
        assert_eq!(called(debian, "restic"), Path::new("restic"));
        assert_eq!(called(Origin::Here, "cp"), Path::new("cp"));
    }
}
