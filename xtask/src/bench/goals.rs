//! What Keyhaven shall reach, and whether it does.

use std::fmt::Write as _;

use super::figures::{COPY, Figures};

/// A limit that Keyhaven shall not exceed, and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    what: &'static str,
    unit: &'static str,
    at_most: Option<f64>,
    measured: Option<f64>,
}

/// First backup, in times of `cp -a` and `sync -f`.
pub(super) const FIRST_RATIO: f64 = 2.0;
/// User time of the first backup, seconds.
pub(super) const FIRST_USER_S: f64 = 2.1;
/// Anonymous memory of first backup and restore, MiB.
pub(super) const PEAK_MIB: f64 = 48.0;
/// Stored bytes, in those of restic.
const STORED_RATIO: f64 = 1.005;
/// An unchanged backup, seconds and MiB.
pub(super) const UNCHANGED_S: f64 = 0.05;
/// See [`UNCHANGED_S`].
pub(super) const UNCHANGED_MIB: f64 = 16.0;
/// A day of messages by pages, all that the store gets, MB.
pub(super) const MESSAGES_MB: f64 = 15.0;
/// A day of messages by rows, before padding, MB.
const UNPADDED_MB: f64 = 0.6;
/// Restore, in times of `cp -a` and `sync -f`.
pub(super) const RESTORE_RATIO: f64 = 1.3;
/// Until a restore has brought all messages, seconds.
pub(super) const MESSAGES_THERE_S: f64 = 1.0;
/// Processor time of verifying all data, seconds.
pub(super) const VERIFY_CPU_S: f64 = 1.5;

/// What may be stored of the same store, MB.
pub(super) fn stored_mb(all: &[Figures]) -> Option<f64> {
    Some(named(all, "restic")?.stored_mb? * STORED_RATIO)
}

/// All goals, judged.
pub(super) fn judge(all: &[Figures]) -> Vec<Goal> {
    let pages = named(all, "keyhaven").cloned().unwrap_or_default();
    let rows = named(all, "keyhaven-rows").cloned().unwrap_or_default();
    let fastest_peer = all
        .iter()
        .filter(|one| !one.ours && one.name != COPY)
        .filter_map(|one| one.first_s)
        .min_by(f64::total_cmp);
    let goal = |what, unit, at_most, measured| Goal {
        what,
        unit,
        at_most,
        measured,
    };
    let fixed = |what, unit, at_most, measured| goal(what, unit, Some(at_most), measured);
    vec![
        fixed("first backup", "× cp", FIRST_RATIO, pages.first_ratio),
        goal(
            "first backup, against the fastest peer",
            "s",
            fastest_peer,
            pages.first_s,
        ),
        fixed(
            "user CPU of the first backup",
            "s",
            FIRST_USER_S,
            pages.first_user_s,
        ),
        fixed(
            "peak of the first backup",
            "MiB",
            PEAK_MIB,
            pages.first_peak_mib,
        ),
        goal(
            "stored, within 0.5 % of restic's",
            "MB",
            stored_mb(all),
            pages.stored_mb,
        ),
        fixed("unchanged", "s", UNCHANGED_S, pages.unchanged_s),
        fixed(
            "peak of an unchanged one",
            "MiB",
            UNCHANGED_MIB,
            pages.unchanged_peak_mib,
        ),
        fixed(
            "a day's messages by pages",
            "MB",
            MESSAGES_MB,
            pages.messages_mb,
        ),
        fixed(
            "a day's messages by rows, before padding",
            "MB",
            UNPADDED_MB,
            rows.unpadded_mb,
        ),
        fixed("restore", "× cp", RESTORE_RATIO, pages.restore_ratio),
        fixed(
            "peak of the restore",
            "MiB",
            PEAK_MIB,
            pages.restore_peak_mib,
        ),
        fixed(
            "until all messages are restored",
            "s",
            MESSAGES_THERE_S,
            pages.messages_there_s,
        ),
        fixed(
            "CPU of verifying all",
            "s",
            VERIFY_CPU_S,
            pages.verify_cpu_s,
        ),
    ]
}

/// The goals as a table; what is missed stands out.
pub(super) fn write(goals: &[Goal]) -> String {
    let mut text = "| goal | at most | measured | |\n|--|--:|--:|--|\n".to_owned();
    for goal in goals {
        let figure = |figure: Option<f64>| match figure {
            None => "-".to_owned(),
            Some(small) if small < 1.0 => format!("{small:.3} {}", goal.unit),
            Some(large) => format!("{large:.2} {}", goal.unit),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            goal.what,
            figure(goal.at_most),
            figure(goal.measured),
            goal.verdict()
        );
    }
    text
}

impl Goal {
    fn verdict(&self) -> &'static str {
        match (self.at_most, self.measured) {
            (Some(at_most), Some(measured)) if measured <= at_most => "met",
            (Some(_), Some(_)) => "**missed**",
            _ => "not measured",
        }
    }
}

fn named<'a>(all: &'a [Figures], name: &str) -> Option<&'a Figures> {
    all.iter().find(|one| one.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, first_s: f64, stored_mb: f64) -> Figures {
        Figures {
            name: name.to_owned(),
            ours: name.starts_with("keyhaven"),
            first_s: Some(first_s),
            first_ratio: Some(first_s / 2.0),
            stored_mb: Some(stored_mb),
            ..Figures::default()
        }
    }

    #[test]
    fn a_missed_goal_is_told_as_missed_and_one_without_figures_as_not_measured() {
        let all = [
            of("keyhaven", 4.1, 1_004.0),
            of("cp -a", 2.0, 1_500.0),
            of("restic", 9.0, 1_000.0),
            of("rustic", 4.2, 900.0),
        ];
        let text = write(&judge(&all));
        let row = |what: &str| text.lines().find(|line| line.contains(what)).unwrap();
        assert_eq!(
            row("| first backup |"),
            "| first backup | 2.00 × cp | 2.05 × cp | **missed** |"
        );
        // The copy is no peer; the fastest of the others is.
        assert!(row("fastest peer").ends_with("| 4.20 s | 4.10 s | met |"));
        assert!(row("restic's").ends_with("| 1005.00 MB | 1004.00 MB | met |"));
        assert!(row("restore |").ends_with("| 1.30 × cp | - | not measured |"));
        assert_eq!(text.lines().count(), 2 + 13);
    }
}
