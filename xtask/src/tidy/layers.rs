//! Which crate may stand on which.

use std::path::Path;

use super::Fault;
use crate::workspace::{self, Member};

/// The core crates, and everything that each may name in its manifest. They compute: no runtime, no
/// socket, no file, no clock, no random source of the system's.
pub(crate) const CORE: &[(&str, &[&str])] = &[
    (
        "keyhaven-secrets",
        &[
            "base16ct",
            "blake3",
            "hkdf",
            "hmac",
            "precis-profiles",
            "sha2",
            "subtle",
            "thiserror",
            "unicode-normalization",
            "zeroize",
            "zxcvbn",
        ],
    ),
    (
        "keyhaven-wire",
        &[
            "argon2",
            "base64",
            "blake3",
            "chacha20poly1305",
            "ed25519-dalek",
            "hkdf",
            "hpke",
            "keyhaven-secrets",
            "minicbor",
            "opaque-ke",
            "sha2",
            "subtle",
            "thiserror",
            "zeroize",
        ],
    ),
    (
        "keyhaven-vault-core",
        &[
            "blake3",
            "chacha20poly1305",
            "ed25519-dalek",
            "hkdf",
            "hmac",
            "keyhaven-secrets",
            "keyhaven-wire",
            "minicbor",
            "sha2",
            "subtle",
            "thiserror",
            "zeroize",
        ],
    ),
    (
        "keyhaven-vault-host",
        &[
            "blake3",
            "keyhaven-secrets",
            "keyhaven-vault-core",
            "keyhaven-wire",
            "thiserror",
        ],
    ),
    (
        "keyhaven-repo",
        &[
            "aws-lc-rs",
            "blake3",
            "hkdf",
            "keyhaven-secrets",
            "minicbor",
            "sha2",
            "subtle",
            "thiserror",
            "zeroize",
            "zstd",
        ],
    ),
];

/// What may stand nowhere below a core crate, however deep.
const NEVER_BELOW_CORE: &[&str] = &[
    "async-std",
    "axum",
    "getrandom",
    "hyper",
    "mio",
    "opendal",
    "polling",
    "redb",
    "reqwest",
    "rusqlite",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "ureq",
];

/// The crates of the house that are no core crate, and what of the house each may stand on.
const SHELLS: &[(&str, &[&str])] = &[
    ("keyhaven-vault-store", &["keyhaven-secrets"]),
    (
        "keyhaven-vault-node",
        &[
            "keyhaven-secrets",
            "keyhaven-wire",
            "keyhaven-vault-core",
            "keyhaven-vault-host",
            "keyhaven-vault-store",
        ],
    ),
    (
        "keyhaven-vault-client",
        &["keyhaven-secrets", "keyhaven-wire"],
    ),
    ("keyhaven-source", &["keyhaven-secrets"]),
    (
        "keyhaven",
        &[
            "keyhaven-secrets",
            "keyhaven-wire",
            "keyhaven-repo",
            "keyhaven-source",
            "keyhaven-vault-client",
        ],
    ),
    (
        "keyhaven-cli",
        &[
            "keyhaven",
            "keyhaven-secrets",
            "keyhaven-vault-client",
            "keyhaven-vault-node",
            "keyhaven-wire",
            "keyhaven-repo",
            "keyhaven-source",
            "keyhaven-corpus",
        ],
    ),
    ("keyhaven-corpus", &[]),
    ("xtask", &["keyhaven-corpus"]),
];

/// Crates that only tests use may stand on anything, and nothing may stand on them.
const FOR_TESTS: &[&str] = &[
    "keyhaven-testkit",
    "keyhaven-hostile-store",
    "keyhaven-simulator",
    "keyhaven-exhaustive",
    "keyhaven-enclave",
    "keyhaven-fuzz-targets",
    "keyhaven-bench",
];

pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Fault>> {
    let members = workspace::members(root)?;
    let mut faults = arrows(&members);
    for (core, _) in CORE {
        if !members.iter().any(|member| member.name == *core) {
            continue;
        }
        for below in workspace::closure(root, core)? {
            if NEVER_BELOW_CORE.contains(&below.as_str()) {
                faults.push(Fault::new(core, format!("a core crate stands on {below}")));
            }
        }
    }
    Ok(faults)
}

/// Checks what each manifest names.
fn arrows(members: &[Member]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let house: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    for member in members {
        let name = member.name.as_str();
        let core = CORE
            .iter()
            .find(|(core, _)| *core == name)
            .map(|(_, allowed)| *allowed);
        let shell = SHELLS
            .iter()
            .find(|(shell, _)| *shell == name)
            .map(|(_, allowed)| *allowed);
        if core.is_none() && shell.is_none() && !FOR_TESTS.contains(&name) {
            faults.push(Fault::new(
                name,
                "the crate has no place in the house: name it in tidy",
            ));
        }
        for dependency in &member.dependencies {
            let of_the_house = house.contains(&dependency.as_str());
            let allowed = match (core, shell) {
                (Some(allowed), _) => allowed.contains(&dependency.as_str()),
                (None, Some(allowed)) => !of_the_house || allowed.contains(&dependency.as_str()),
                (None, None) => true,
            };
            if !allowed {
                faults.push(Fault::new(name, format!("may not depend on {dependency}")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(|d| (*d).to_owned()).collect(),
        }
    }

    #[test]
    fn an_arrow_from_core_to_shell_is_a_fault() {
        let house = [
            member("keyhaven-repo", &["blake3", "keyhaven-source"]),
            member("keyhaven-source", &["rusqlite"]),
        ];
        assert_eq!(
            arrows(&house),
            [Fault::new(
                "keyhaven-repo",
                "may not depend on keyhaven-source"
            )]
        );
    }

    #[test]
    fn a_core_crate_names_only_what_is_allowed() {
        assert_eq!(arrows(&[member("keyhaven-wire", &["minicbor"])]), []);
        assert_eq!(
            arrows(&[member("keyhaven-wire", &["tokio"])]),
            [Fault::new("keyhaven-wire", "may not depend on tokio")]
        );
    }

    #[test]
    fn a_shell_stands_only_on_the_rooms_that_it_may_enter() {
        let house = [
            member("keyhaven-source", &["keyhaven"]),
            member("keyhaven", &["tokio", "keyhaven-source"]),
            member("keyhaven-attic", &[]),
        ];
        assert_eq!(
            arrows(&house),
            [
                Fault::new("keyhaven-source", "may not depend on keyhaven"),
                Fault::new(
                    "keyhaven-attic",
                    "the crate has no place in the house: name it in tidy"
                ),
            ]
        );
    }
}
