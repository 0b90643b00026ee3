//! The figures as tables.

use std::fmt::Write as _;

use super::figures::Figures;

/// A column: its heading, how many decimals, and what stands in it.
type Column = (&'static str, usize, fn(&Figures) -> Option<f64>);

const FIRST: &[Column] = &[
    ("first backup s", 2, |of| of.first_s),
    ("× cp", 2, |of| of.first_ratio),
    ("user CPU s", 2, |of| of.first_user_s),
    ("peak MiB", 0, |of| of.first_peak_mib),
    ("stored MB", 1, |of| of.stored_mb),
    ("objects", 0, |of| of.objects),
];

const LATER: &[Column] = &[
    ("unchanged s", 2, |of| of.unchanged_s),
    ("peak MiB", 0, |of| of.unchanged_peak_mib),
    ("next day MB", 2, |of| of.day_mb),
    ("s", 2, |of| of.day_s),
    ("its messages alone MB", 2, |of| of.messages_mb),
    ("s", 2, |of| of.messages_s),
    ("before padding MB", 2, |of| of.unpadded_mb),
];

const BACK: &[Column] = &[
    ("restore s", 2, |of| of.restore_s),
    ("× cp", 2, |of| of.restore_ratio),
    ("peak MiB", 0, |of| of.restore_peak_mib),
    ("verify all s", 2, |of| of.verify_s),
    ("CPU s", 2, |of| of.verify_cpu_s),
    ("peak MiB", 0, |of| of.verify_peak_mib),
];

/// Three tables: the first backup, later ones, and what comes back.
pub(super) fn write(all: &[Figures]) -> String {
    let mut text = String::new();
    for columns in [FIRST, LATER, BACK] {
        let headings: Vec<&str> = columns.iter().map(|(heading, _, _)| *heading).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| | {} |", headings.join(" | "));
        let _ = writeln!(text, "|--|{}", "--:|".repeat(columns.len()));
        for one in all {
            let cells: Vec<String> = columns
                .iter()
                .map(|(_, decimals, of)| cell(of(one), *decimals))
                .collect();
            let _ = writeln!(
                text,
                "| {} {} | {} |",
                one.name,
                one.version,
                cells.join(" | ")
            );
        }
        text.push('\n');
    }
    text
}

fn cell(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_its_row_and_what_was_not_measured_is_a_dash() {
        let one = Figures {
            name: "cp -a".to_owned(),
            version: "9.1".to_owned(),
            first_s: Some(1.805),
            first_ratio: Some(1.0),
            stored_mb: Some(1_677.04),
            ..Figures::default()
        };
        let text = write(&[one]);
        let rows: Vec<&str> = text.lines().filter(|row| row.contains("cp -a")).collect();
        assert_eq!(
            rows,
            [
                "| cp -a 9.1 | 1.80 | 1.00 | - | - | 1677.0 | - |",
                "| cp -a 9.1 | - | - | - | - | - | - | - |",
                "| cp -a 9.1 | - | - | - | - | - | - |",
            ]
        );
        for table in text.split("\n\n").filter(|table| !table.is_empty()) {
            let widths: Vec<usize> = table.lines().map(|row| row.matches('|').count()).collect();
            assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
        }
    }
}
