//! Every promise that is kept is named where it is kept and where it is guarded.
//!
//! The list is the table in PROMISES.md: a row `| VAULT-2 | kept | … |` asks for at least one
//! place in a crate's own code and one test that name `VAULT-2`; a row `| VAULT-9 | later | … |`
//! asks for nothing yet.

use super::source::{is_test_file, tests_begin};
use super::{Fault, Page};

/// A promise of the table, and where it is named.
#[derive(Debug)]
pub(super) struct Promise<'a> {
    pub(super) number: &'a str,
    status: &'a str,
    /// Places in code, as `path:line`.
    pub(super) code: Vec<String>,
    /// Places in tests.
    pub(super) tests: Vec<String>,
}

/// Every promise of the table.
pub(super) fn find<'a>(table: &'a str, pages: &[Page]) -> Vec<Promise<'a>> {
    let rows = table.lines().filter_map(row);
    rows.map(|(number, status)| {
        let (code, tests) = places(number, pages);
        Promise {
            number,
            status,
            code,
            tests,
        }
    })
    .collect()
}

/// Returns what is wrong.
pub(super) fn check(promises: &[Promise<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    if promises.is_empty() {
        faults.push(Fault::new("PROMISES.md", "no table of promises"));
    }
    for Promise {
        number,
        status,
        code,
        tests,
    } in promises
    {
        match *status {
            "later" => {}
            "kept" => {
                if code.is_empty() {
                    faults.push(Fault::new("PROMISES.md", format!("no code names {number}")));
                }
                if tests.is_empty() {
                    faults.push(Fault::new("PROMISES.md", format!("no test names {number}")));
                }
            }
            _ => faults.push(Fault::new(
                "PROMISES.md",
                format!("{number} is neither kept nor later, but {status:?}"),
            )),
        }
    }
    faults
}

/// How many promises are kept.
pub(super) fn kept(promises: &[Promise<'_>]) -> usize {
    promises
        .iter()
        .filter(|promise| promise.status == "kept")
        .count()
}

/// The number and status of a row of the table.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let number = cells.next()?.trim_matches('*');
    let is_number = |family: &str| {
        number
            .strip_prefix(family)
            .is_some_and(|n| n.parse::<u8>().is_ok())
    };
    (is_number("VAULT-") || is_number("BACKUP-")).then_some((number, cells.next()?))
}

/// Where code names the promise, and where tests do.
fn places(number: &str, pages: &[Page]) -> (Vec<String>, Vec<String>) {
    let (mut code, mut tests) = (Vec::new(), Vec::new());
    // This tool's own tests name promises without guarding any.
    let of_the_house = |page: &&Page| page.is("rs") && !page.path.starts_with("xtask");
    for page in pages.iter().filter(of_the_house) {
        let split = if is_test_file(&page.path) {
            0
        } else {
            tests_begin(&page.content)
        };
        for (line, content) in (1..).zip(page.content.lines()) {
            if names(content, number) {
                let place = format!("{}:{line}", page.path.display());
                if line > split {
                    tests.push(place);
                } else if page.path.starts_with("crates") {
                    code.push(place);
                }
            }
        }
    }
    (code, tests)
}

/// Whether the line holds the number itself, not one that begins with it.
fn names(line: &str, number: &str) -> bool {
    line.match_indices(number).any(|(at, _)| {
        let rest = line
            .get(at.saturating_add(number.len())..)
            .unwrap_or_default();
        !rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_promise_needs_code_and_a_test() {
        let table =
            "| number | status |\n|--|--|\n| VAULT-1 | kept | a |\n| BACKUP-6 | later | b |\n";
        let page = |path: &str, content: &str| Page {
            path: path.into(),
            content: content.into(),
        };
        let code = || {
            page(
                "crates/a/src/lib.rs",
                "// VAULT-1: spend first.\nfn a() {}\n",
            )
        };
        let wrong = || page("crates/a/tests/a.rs", "// VAULT-12\n");
        let test = || page("crates/a/tests/b.rs", "/// Guards VAULT-1.\n#[test]\n");
        let faults = |pages: &[Page]| check(&find(table, pages));
        assert_eq!(
            faults(&[code(), wrong()]),
            [Fault::new("PROMISES.md", "no test names VAULT-1")]
        );
        assert_eq!(
            faults(&[test()]),
            [Fault::new("PROMISES.md", "no code names VAULT-1")]
        );
        let pages = [code(), test()];
        assert_eq!(faults(&pages), []);
        let [first, later] = &find(table, &pages)[..] else {
            panic!()
        };
        assert_eq!(
            (
                first.code.len(),
                first.tests.len(),
                kept(&find(table, &pages))
            ),
            (1, 1, 1)
        );
        assert_eq!((later.number, later.code.len()), ("BACKUP-6", 0));
    }
}
