//! One figure of each kind for each program, from all that was measured.

use std::time::Duration;

use super::measure::Cost;
use super::steps::{Entrant, Results, Sent};

/// The program that is the measure of what the machine can do.
pub(super) const COPY: &str = "cp -a";

/// What is told of one program. What was not measured, or does not exist, is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) ours: bool,
    pub(super) first_s: Option<f64>,
    /// In times of `cp -a` and `sync -f`.
    pub(super) first_ratio: Option<f64>,
    pub(super) first_user_s: Option<f64>,
    pub(super) first_peak_mib: Option<f64>,
    pub(super) stored_mb: Option<f64>,
    pub(super) objects: Option<f64>,
    pub(super) unchanged_s: Option<f64>,
    pub(super) unchanged_peak_mib: Option<f64>,
    pub(super) day_mb: Option<f64>,
    pub(super) day_s: Option<f64>,
    pub(super) messages_mb: Option<f64>,
    pub(super) messages_s: Option<f64>,
    /// What a day of messages weighs before padding.
    pub(super) unpadded_mb: Option<f64>,
    pub(super) restore_s: Option<f64>,
    pub(super) restore_ratio: Option<f64>,
    pub(super) restore_peak_mib: Option<f64>,
    /// Until all messages are there.
    pub(super) messages_there_s: Option<f64>,
    pub(super) verify_s: Option<f64>,
    /// User and system time.
    pub(super) verify_cpu_s: Option<f64>,
    pub(super) verify_peak_mib: Option<f64>,
}

impl Figures {
    /// Of all programs, in their order.
    pub(super) fn of(entrants: &[Entrant]) -> Vec<Self> {
        let all: Vec<Self> = entrants.iter().map(Self::of_one).collect();
        let copy = all.iter().find(|one| one.name == COPY).cloned();
        let copy = copy.unwrap_or_default();
        all.into_iter()
            .map(|one| Self {
                first_ratio: ratio(one.first_s, copy.first_s),
                restore_ratio: ratio(one.restore_s, copy.restore_s),
                ..one
            })
            .collect()
    }

    fn of_one(entrant: &Entrant) -> Self {
        let Results {
            first,
            stored,
            unchanged,
            day,
            messages_day,
            restore,
            verify,
        } = &entrant.results;
        let wall = |cost: &Cost| cost.wall.as_secs_f64();
        let sent_wall = |sent: &Sent| sent.cost.wall.as_secs_f64();
        let grown = |sent: &Sent| mb(sent.grown);
        let unpadded = messages_day.iter().filter_map(|sent| sent.unpadded);
        Self {
            name: entrant.peer.name.to_owned(),
            version: entrant.peer.version.clone(),
            ours: entrant.peer.is_ours(),
            first_s: median(first, wall),
            first_ratio: None,
            first_user_s: median(first, |cost| cost.user.as_secs_f64()),
            first_peak_mib: peak(first),
            stored_mb: first.first().map(|_| mb(stored.bytes)),
            objects: first.first().map(|_| number(stored.objects)),
            unchanged_s: median(unchanged, wall),
            unchanged_peak_mib: peak(unchanged),
            day_mb: median(day, grown),
            day_s: median(day, sent_wall),
            messages_mb: median(messages_day, grown),
            messages_s: median(messages_day, sent_wall),
            unpadded_mb: median(&unpadded.collect::<Vec<_>>(), |bytes| mb(*bytes)),
            restore_s: median(restore, wall),
            restore_ratio: None,
            restore_peak_mib: peak(restore),
            messages_there_s: median(
                &restore
                    .iter()
                    .filter_map(|cost| cost.there)
                    .collect::<Vec<_>>(),
                Duration::as_secs_f64,
            ),
            verify_s: median(verify, wall),
            verify_cpu_s: median(verify, |cost| {
                Duration::saturating_add(cost.user, cost.system).as_secs_f64()
            }),
            verify_peak_mib: peak(verify),
        }
    }
}

/// The middle one of all rounds; of an even number, the larger of the two.
fn median<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> Option<f64> {
    let mut sorted: Vec<f64> = rounds.iter().map(of).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The highest of all rounds.
fn peak(rounds: &[Cost]) -> Option<f64> {
    let highest = rounds.iter().map(|cost| cost.anonymous).max()?;
    Some(number(highest) / f64::from(1 << 20))
}

fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other.filter(|other| *other > 0.0)?)
}

fn mb(bytes: u64) -> f64 {
    number(bytes) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure with some decimals for people"
)]
fn number(exact: u64) -> f64 {
    exact as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(millis: u64) -> Cost {
        Cost {
            wall: Duration::from_millis(millis),
            user: Duration::ZERO,
            system: Duration::ZERO,
            anonymous: millis << 20,
            there: None,
        }
    }

    #[test]
    fn medians_and_ratios_are_of_the_middle_round_and_peaks_of_the_highest() {
        let wall = |cost: &Cost| cost.wall.as_secs_f64();
        let ours = [cost(900), cost(100), cost(500)];
        let theirs = [cost(250), cost(250), cost(9_000)];
        assert_eq!(median(&ours, wall), Some(0.5));
        assert_eq!(ratio(median(&ours, wall), median(&theirs, wall)), Some(2.0));
        assert_eq!(ratio(median(&ours, wall), median(&[], wall)), None);
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!(peak(&ours), Some(900.0));
        assert_eq!(peak(&[]), None);
    }
}
