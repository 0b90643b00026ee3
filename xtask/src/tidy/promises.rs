//! Every promise that is kept is named where it is kept and where it is guarded.
//!
//! The list is the table in PROMISES.md: a row `| VAULT-2 | kept | … |` asks for at least one
//! place in a crate's own code and one test that name `VAULT-2`; a row `| VAULT-9 | later | … |`
//! asks for nothing yet.

use super::source::{is_test_file, tests_begin};
use super::{Fault, Page};

/// Returns how many promises are kept, and what is wrong.
pub(super) fn check(table: &str, pages: &[Page]) -> (usize, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut kept = 0_usize;
    let rows: Vec<(&str, &str)> = table.lines().filter_map(row).collect();
    if rows.is_empty() {
        faults.push(Fault::new("PROMISES.md", "no table of promises"));
    }
    for (number, status) in rows {
        match status {
            "later" => {}
            "kept" => {
                kept = kept.saturating_add(1);
                let (code, test) = places(number, pages);
                if !code {
                    faults.push(Fault::new("PROMISES.md", format!("no code names {number}")));
                }
                if !test {
                    faults.push(Fault::new("PROMISES.md", format!("no test names {number}")));
                }
            }
            _ => faults.push(Fault::new(
                "PROMISES.md",
                format!("{number} is neither kept nor later, but {status:?}"),
            )),
        }
    }
    (kept, faults)
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

/// Whether some code names the promise, and whether some test does.
fn places(number: &str, pages: &[Page]) -> (bool, bool) {
    let (mut code, mut test) = (false, false);
    for page in pages.iter().filter(|page| page.is("rs")) {
        let split = if is_test_file(&page.path) {
            0
        } else {
            tests_begin(&page.content)
        };
        for (line, content) in page.content.lines().enumerate() {
            if names(content, number) {
                if line >= split {
                    test = true;
                } else if page.path.starts_with("crates") {
                    code = true;
                }
            }
        }
    }
    (code, test)
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
        assert_eq!(
            check(table, &[code(), wrong()]),
            (1, vec![Fault::new("PROMISES.md", "no test names VAULT-1")])
        );
        assert_eq!(
            check(table, &[test()]),
            (1, vec![Fault::new("PROMISES.md", "no code names VAULT-1")])
        );
        assert_eq!(check(table, &[code(), test()]), (1, vec![]));
    }
}
