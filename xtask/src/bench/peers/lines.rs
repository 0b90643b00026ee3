//! The command lines of each program.
//!
//! Each works under a key in hand where it can, so that no key stretching is in its figures; `bench/README.md` says
//! which cannot. Each keeps its own choice of what to compress and when to flush, and what it leaves to the system
//! is flushed for it, on its time.

use std::path::Path;

use super::super::install::Origin;
use super::{ComesBack, Line, Peer, line};

/// All of them, ours first.
pub(super) fn all(keyhaven: &Path) -> [Peer; 8] {
    [
        ours(keyhaven),
        our_rows(keyhaven),
        copy(),
        borg_1(),
        borg_2(),
        restic(),
        rustic(),
        bupstash(),
    ]
}

fn ours(program: &Path) -> Peer {
    Peer {
        name: "keyhaven",
        version: String::new(),
        comes_back: ComesBack::Bytes,
        program: program.to_owned(),
        origin: Origin::Here,
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
        backup: line(&["--home", "{home}/keyhaven", "--quiet", "--json", "backup"]),
        restore: line(&[
            "--home",
            "{home}/keyhaven",
            "--quiet",
            "restore",
            "--to",
            "{output}",
        ]),
        verify: Some(line(&[
            "--home",
            "{home}/keyhaven",
            "--quiet",
            "verify",
            "--depth",
            "all",
        ])),
        keeps_history: true,
        environment: &[],
    }
}

/// The same program, by rows: more work on the device, less to send.
fn our_rows(program: &Path) -> Peer {
    Peer {
        name: "keyhaven-rows",
        comes_back: ComesBack::Rows,
        backup: line(&[
            "--home",
            "{home}/keyhaven",
            "--quiet",
            "--json",
            "backup",
            "--tier",
            "rows",
        ]),
        ..ours(program)
    }
}

fn copy() -> Peer {
    Peer {
        name: "cp -a",
        version: String::new(),
        comes_back: ComesBack::Totals,
        program: "cp".into(),
        origin: Origin::Here,
        prepare: Vec::new(),
        backup: Line {
            flush: Some("{repository}"),
            ..line(&["-a", "{source}/.", "{repository}"])
        },
        restore: Line {
            flush: Some("{output}"),
            ..line(&["-a", "{repository}/.", "{output}"])
        },
        verify: None,
        keeps_history: false,
        environment: &[],
    }
}

/// Debian packages that building borg from its source needs.
const BORG_HEADERS: &[&str] = &[
    "build-essential",
    "libacl1-dev",
    "liblz4-dev",
    "libssl-dev",
    "libxxhash-dev",
    "libzstd-dev",
    "pkg-config",
    "python3-dev",
    "python3-venv",
];

fn borg_1() -> Peer {
    Peer {
        name: "borg-1.4",
        version: String::new(),
        comes_back: ComesBack::Totals,
        program: "borg".into(),
        origin: Origin::Python {
            environment: "borg-1.4",
            wanted: &["borgbackup>=1.4,<1.5"],
            headers: BORG_HEADERS,
        },
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
        verify: Some(line(&["check", "--verify-data", "{repository}"])),
        keeps_history: true,
        environment: &[
            ("BORG_PASSPHRASE", "correct horse battery staple"),
            ("BORG_BASE_DIR", "{home}"),
        ],
    }
}

fn borg_2() -> Peer {
    Peer {
        name: "borg-2",
        origin: Origin::Python {
            environment: "borg-2",
            // Later betas want OpenSSL 3.2, which Debian 12 has not.
            wanted: &["borgbackup>=2.0.0b1", "borgbackup==2.0.0b23"],
            headers: BORG_HEADERS,
        },
        prepare: vec![line(&[
            "repo-create",
            "--encryption",
            "chacha20-poly1305",
            "--id-hash",
            "blake3",
        ])],
        backup: Line {
            folder: "{source}",
            // Its storage flushes nothing by itself.
            flush: Some("{repository}"),
            ..line(&["create", "{next}", "."])
        },
        restore: Line {
            folder: "{output}",
            flush: Some("{output}"),
            ..line(&["extract", "{newest}"])
        },
        verify: Some(line(&["check", "--verify-data"])),
        environment: &[
            ("BORG_PASSPHRASE", "correct horse battery staple"),
            ("BORG_BASE_DIR", "{home}"),
            ("BORG_REPO", "{repository}"),
            // Its own switch for tests: one round of Argon2 over little memory.
            ("BORG_TESTONLY_WEAKEN_KDF", "1"),
        ],
        ..borg_1()
    }
}

fn restic() -> Peer {
    Peer {
        name: "restic",
        version: String::new(),
        comes_back: ComesBack::Totals,
        program: "restic".into(),
        origin: Origin::Debian { package: "restic" },
        prepare: vec![line(&["init", "--quiet"])],
        backup: Line {
            folder: "{source}",
            ..line(&["backup", "--quiet", "."])
        },
        restore: Line {
            flush: Some("{output}"),
            ..line(&["restore", "latest", "--quiet", "--target", "{output}"])
        },
        verify: Some(line(&["check", "--quiet", "--read-data"])),
        keeps_history: true,
        environment: &[
            ("RESTIC_REPOSITORY", "{repository}"),
            ("RESTIC_PASSWORD", "correct horse battery staple"),
            ("RESTIC_CACHE_DIR", "{home}"),
        ],
    }
}

fn rustic() -> Peer {
    Peer {
        name: "rustic",
        version: String::new(),
        comes_back: ComesBack::Totals,
        program: "rustic".into(),
        origin: Origin::Crate {
            name: "rustic-rs",
            // Without what serves, plots and edits: nothing of it is in a backup's way.
            arguments: &["--no-default-features"],
            headers: &["build-essential"],
        },
        prepare: vec![line(&["key", "create", "{home}/key"]), line(&["init"])],
        backup: Line {
            folder: "{source}",
            ..line(&["backup", "."])
        },
        restore: Line {
            flush: Some("{output}"),
            ..line(&["restore", "latest", "{output}"])
        },
        verify: Some(line(&["check", "--read-data"])),
        keeps_history: true,
        environment: &[
            ("HOME", "{home}"),
            ("RUSTIC_REPOSITORY", "{repository}"),
            ("RUSTIC_KEY_FILE", "{home}/key"),
            ("RUSTIC_CACHE_DIR", "{home}/cache"),
            ("RUSTIC_NO_PROGRESS", "true"),
        ],
    }
}

fn bupstash() -> Peer {
    Peer {
        name: "bupstash",
        version: String::new(),
        comes_back: ComesBack::Totals,
        program: "bupstash".into(),
        origin: Origin::Crate {
            name: "bupstash",
            arguments: &[],
            headers: &["build-essential", "libsodium-dev", "pkg-config"],
        },
        prepare: vec![
            line(&["new-key", "--output", "{home}/key"]),
            line(&["init", "--repository", "{repository}/it"]),
        ],
        backup: line(&[
            "put",
            "--quiet",
            "--send-log",
            "{home}/send-log",
            "name={next}",
            "{source}",
        ]),
        restore: Line {
            flush: Some("{output}"),
            ..line(&["restore", "--quiet", "--into", "{output}", "name={newest}"])
        },
        verify: None,
        keeps_history: true,
        environment: &[
            ("HOME", "{home}"),
            ("XDG_CACHE_HOME", "{home}/cache"),
            ("BUPSTASH_REPOSITORY", "{repository}/it"),
            ("BUPSTASH_KEY", "{home}/key"),
        ],
    }
}
