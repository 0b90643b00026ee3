//! The condition of a partial index.

/// Whether a partial index has a condition that only compares columns and constants: which rows are in the index is the same in each
/// version of SQLite then.
pub(super) fn is_plain(index: &str) -> bool {
    // What stands before a parenthesis and is no function.
    const BEFORE: [&str; 9] = [
        "WHERE", "AND", "OR", "NOT", "IN", "IS", "BETWEEN", "DISTINCT", "FROM",
    ];
    // Each is a function by another name, or chooses one.
    const FUNCTIONS: [&str; 6] = ["LIKE", "GLOB", "MATCH", "REGEXP", "COLLATE", "CAST"];
    let (mut depth, mut within, mut word) = (0_usize, false, String::new());
    let mut rest = index;
    while let Some(first) = rest.chars().next() {
        let mut len = first.len_utf8();
        if first.is_alphanumeric() || first == '_' || first == '$' {
            let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            len = rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len());
            word = rest.get(..len).unwrap_or_default().to_ascii_uppercase();
            within |= depth == 0 && word == "WHERE";
            if within && FUNCTIONS.contains(&word.as_str()) {
                return false;
            }
        } else if let Some(close) = closing(first) {
            // A name or a text, in which a quote stands doubled: that is another one right behind.
            let Some(end) = rest.get(1..).and_then(|rest| rest.find(close)) else {
                return false;
            };
            len = end.saturating_add(2);
            word = "a name".to_owned();
        } else if first == '(' {
            if within && !word.is_empty() && !BEFORE.contains(&word.as_str()) {
                return false;
            }
            depth = depth.saturating_add(1);
            word.clear();
        } else if !first.is_whitespace() {
            if within && !"=<>!+-*,).&|~%/".contains(first) {
                return false;
            }
            if ["||", "->", "--", "/*"]
                .iter()
                .any(|two| rest.starts_with(two))
            {
                return false;
            }
            depth = depth.saturating_sub(usize::from(first == ')'));
            word.clear();
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    within
}

fn closing(open: char) -> Option<char> {
    match open {
        '\'' | '"' | '`' => Some(open),
        '[' => Some(']'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_plain() {
        for condition in [
            "a IS NOT NULL",
            "a = 1 AND (b > 2 OR NOT (c <> 'it''s f(x)'))",
            "a IN (1, 2) and b not in (3)",
            "\"where (\" = 1",
            "[f(] = `x(` and a between (1) and (2)",
            "a&4 = 4",
        ] {
            let index = format!("CREATE UNIQUE INDEX \"i (\" ON t(a, b DESC)\n where {condition}");
            assert!(is_plain(&index), "{index}");
        }
    }

    #[test]
    fn functions_by_any_name_are_not() {
        for condition in [
            "length(a) > 3",
            "length (a) > 3",
            "(a = 1) AND lower\n(b) = 'x'",
            "\"lower\"(a) = 'x'",
            "a LIKE 'b%'",
            "a glob 'b*'",
            "a || b = 'xy'",
            "a -> 'b' = 1",
            "a = 'x' COLLATE NOCASE",
            "CAST(a AS TEXT) = '1'",
            "a = 1 -- and more",
            "lower/* */(a) = 'x'",
            "a = 'open",
        ] {
            let index = format!("CREATE INDEX i ON t(a) WHERE {condition}");
            assert!(!is_plain(&index), "{index}");
        }
        assert!(!is_plain("CREATE INDEX i ON t(a)"), "none that is seen");
    }
}
