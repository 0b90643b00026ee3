//! What no file may hold, and how long a file may be.

use std::path::Path;

use super::{Fault, Page};

/// No file that people write is longer.
const LINES_MAX: usize = 1_000;

/// Beginnings of paths that exist on somebody's machine only. In two parts, so that this file
/// does not hold them.
const OF_ONE_MACHINE: &[(&str, &str)] = &[
    ("/ho", "me/"),
    ("/ro", "ot/"),
    ("/Us", "ers/"),
    ("/wo", "rk/"),
    ("/tmp/", "kh"),
    ("../sh", "ared"),
    ("C:\\", "Users"),
];

pub(super) fn check(pages: &[Page]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for page in pages
        .iter()
        .filter(|page| page.path != Path::new("Cargo.lock"))
    {
        let lines = page.content.lines().count();
        let is_written = ["rs", "md", "sh", "py", "toml"]
            .iter()
            .any(|kind| page.is(kind));
        if is_written && lines > LINES_MAX {
            faults.push(Fault::new(
                &page.path,
                format!("{lines} lines: cut it into rooms"),
            ));
        }
        for (number, line) in (1..).zip(page.content.lines()) {
            for (begin, end) in OF_ONE_MACHINE {
                if line.contains(&format!("{begin}{end}")) {
                    let what = format!("a path of one machine: {begin}{end}");
                    faults.push(Fault::at_line(&page.path, number, what));
                }
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_and_paths_of_one_machine_are_faults() {
        let long = Page {
            path: "a.rs".into(),
            content: "x\n".repeat(1_001),
        };
        let home = Page {
            path: "b.md".into(),
            content: format!("\nsee {}{}", "/ho", "me/me/x"),
        };
        assert_eq!(
            check(&[long, home]),
            [
                Fault::new("a.rs", "1001 lines: cut it into rooms"),
                Fault::at_line(
                    Path::new("b.md"),
                    2,
                    format!("a path of one machine: {}{}", "/ho", "me/")
                ),
            ]
        );
    }
}
