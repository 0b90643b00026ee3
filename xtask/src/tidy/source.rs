//! What the code of a crate may not name, its tests apart.

use std::path::Path;

use super::{Fault, Page};

/// Folders of the core crates.
const CORE: &[&str] = &[
    "crates/secrets",
    "crates/wire",
    "crates/vault-core",
    "crates/repo",
];

/// Words that a core crate's code does not hold, and why.
const NEVER: &[(&str, &str)] = &[
    ("std::fs", "a core crate has no files"),
    ("std::net", "a core crate has no sockets"),
    ("std::thread", "a core crate has no threads"),
    ("std::process", "a core crate has no processes"),
    ("std::env", "a core crate has no environment"),
    ("SystemTime", "time is an argument"),
    ("Instant::now", "time is an argument"),
    ("OsRng", "randomness is an argument"),
    ("SysRng", "randomness is an argument"),
    ("SystemRandom", "randomness is an argument"),
    ("thread_rng", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    (
        "HashMap",
        "the order of iteration is an input too: use BTreeMap",
    ),
    (
        "HashSet",
        "the order of iteration is an input too: use BTreeSet",
    ),
];

/// What no crate that ships may name, in any place but where it is made.
const DANGEROUS: &[(&str, &str)] = &[
    (
        "vault_core::dangerous",
        "a core without security is for simulations only",
    ),
    ("seal_first_with", "another suite is for simulations only"),
];

pub(super) fn check(pages: &[Page]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for page in pages.iter().filter(|page| page.is("rs")) {
        let ships = page.path.starts_with("crates") && !page.path.starts_with("crates/wire");
        for (number, line) in code(page).filter(|_| ships) {
            for (word, why) in DANGEROUS {
                if line.contains(word) {
                    faults.push(Fault::at_line(&page.path, number, format!("{word}: {why}")));
                }
            }
        }
        if !CORE.iter().any(|folder| page.path.starts_with(folder)) {
            continue;
        }
        for (number, line) in code(page) {
            for (word, why) in NEVER {
                if line.contains(word) {
                    faults.push(Fault::at_line(&page.path, number, format!("{word}: {why}")));
                }
            }
        }
    }
    faults
}

/// The lines of a page that are code of the crate itself: no comments, no tests, no examples.
fn code(page: &Page) -> impl Iterator<Item = (usize, &str)> {
    let lines = if is_test_file(&page.path) {
        0
    } else {
        tests_begin(&page.content)
    };
    let numbered = (1..).zip(page.content.lines());
    numbered
        .take(lines)
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a whole file is for tests, examples or benchmarks.
pub(super) fn is_test_file(path: &Path) -> bool {
    let folder = |name: &std::ffi::OsStr| {
        ["tests", "benches", "examples"]
            .iter()
            .any(|of_tests| name == *of_tests)
    };
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    path.iter().any(folder)
        || name == "tests.rs"
        || name == "build.rs"
        || name.ends_with("_tests.rs")
}

/// The number of lines before the unit tests of a file, which stand at its end.
pub(crate) fn tests_begin(content: &str) -> usize {
    let marks = content.lines().zip(content.lines().skip(1));
    marks
        .take_while(|(line, next)| {
            let next = next.trim_start();
            let opens_tests = next.starts_with("mod ")
                || next.starts_with("#[expect(")
                || next.starts_with("#[allow(");
            !(line.starts_with("#[cfg(test)]") && opens_tests && !next.ends_with(';'))
        })
        .count()
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, content: &str) -> Page {
        Page {
            path: path.into(),
            content: content.to_owned(),
        }
    }

    #[test]
    fn a_shipping_crate_that_names_what_is_for_simulations_is_a_fault() {
        let line = "use keyhaven_vault_core::dangerous;\n";
        let place = "crates/vault-node/src/machine.rs";
        let what = "vault_core::dangerous: a core without security is for simulations only";
        assert_eq!(
            check(&[page(place, line)]),
            [Fault::at_line(Path::new(place), 1, what)]
        );
        let simulator = page("testing/simulator/src/world.rs", line);
        assert_eq!(check(&[simulator]), []);
    }

    #[test]
    fn a_clock_in_a_core_crate_is_a_fault_and_in_its_tests_it_is_not() {
        let bad = page(
            "crates/repo/src/pack.rs",
            "//! Docs: SystemTime\nlet t = SystemTime::now();\n",
        );
        let what = "SystemTime: time is an argument";
        assert_eq!(
            check(&[bad]),
            [Fault::at_line(
                Path::new("crates/repo/src/pack.rs"),
                2,
                what
            )]
        );
        let fine = page(
            "crates/repo/src/pack.rs",
            "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n",
        );
        let shell = page("crates/source/src/walk.rs", "use std::fs;\n");
        let tests = page("crates/repo/tests/pack.rs", "use std::fs;\n");
        assert_eq!(check(&[fine, shell, tests]), []);
    }
}
