//! Links between the project's own documents lead somewhere.

use std::path::Path;

use super::{Fault, Page};

pub(super) fn check(root: &Path, pages: &[Page]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for page in pages.iter().filter(|page| page.is("md")) {
        let folder = page.path.parent().unwrap_or(Path::new(""));
        for (number, line) in (1..).zip(page.content.lines()) {
            for target in targets(line) {
                let file = target.split('#').next().unwrap_or_default();
                if !file.is_empty() && !root.join(folder).join(file).exists() {
                    let what = format!("the link to {target} leads nowhere");
                    faults.push(Fault::at_line(&page.path, number, what));
                }
            }
        }
    }
    faults
}

/// What the Markdown links and images of a line point to, addresses on the web apart.
fn targets(line: &str) -> Vec<&str> {
    let after = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    after
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.md"), "").unwrap();
        let page = Page {
            path: "b.md".into(),
            content: "[a](a.md#x) [c](c.md) [web](https://example.org)".into(),
        };
        let fault = Fault::at_line(Path::new("b.md"), 1, "the link to c.md leads nowhere");
        assert_eq!(check(root.path(), &[page]), [fault]);
    }
}
