//! The results as a table, each beside the plain copy.

use std::fmt::Write;
use std::time::Duration;

use super::Results;
use super::measure::Cost;
use super::peers::Peer;

/// Writes the table, and how ours stands to each of the others.
pub(super) fn write(peers: &[Peer], results: &[Results], rounds: usize) -> String {
    let mut text = format!(
        "Medians of {rounds} rounds, warm; peak memory is anonymous memory (RssAnon, sampled every 5 ms).\n\
         \"next day\" grows the repository by the bytes shown; \"messages\" is a day without media.\n\n\
         | | first backup s | × cp | user s | peak MiB | stored MiB | objects | unchanged s | next day | messages | restore s | × cp | restore peak MiB |\n\
         |--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    let copy = peers
        .iter()
        .zip(results)
        .find(|(peer, _)| peer.name == "cp -a");
    for (peer, results) in peers.iter().zip(results) {
        let copied = copy.map(|(_, copied)| copied);
        let first_ratio = copied.and_then(|copied| ratio(&results.first, &copied.first));
        let restore_ratio = copied.and_then(|copied| ratio(&results.restore, &copied.restore));
        let cells = [
            seconds(median(&results.first, |cost| cost.wall)),
            times(first_ratio),
            seconds(median(&results.first, |cost| cost.user)),
            peak(&results.first),
            format!("{}", results.stored.bytes >> 20),
            results.stored.objects.to_string(),
            seconds(median(&results.unchanged, |cost| cost.wall)),
            results
                .day
                .map_or_else(dash, |(cost, bytes)| day(&cost, bytes)),
            results
                .messages_day
                .map_or_else(dash, |(cost, bytes)| day(&cost, bytes)),
            seconds(median(&results.restore, |cost| cost.wall)),
            times(restore_ratio),
            peak(&results.restore),
        ];
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {} |", peer.version, cells.join(" | "));
    }
    let ours = peers.iter().zip(results).find(|(peer, _)| peer.ours);
    if let Some((_, ours)) = ours {
        for (peer, theirs) in peers.iter().zip(results).filter(|(peer, _)| !peer.ours) {
            let _ = writeln!(
                text,
                "\nOurs takes {} of the time of {} for a first backup, and {} for a restore.",
                times(ratio(&ours.first, &theirs.first)),
                peer.name,
                times(ratio(&ours.restore, &theirs.restore)),
            );
        }
    }
    text
}

/// Bytes as MiB, one decimal.
pub(super) fn mib(bytes: u64) -> String {
    format!(
        "{:.1} MiB",
        Duration::from_micros(bytes).as_secs_f64() / 1.048_576
    )
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> Duration) -> Option<Duration> {
    let mut sorted: Vec<Duration> = costs.iter().map(of).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

fn ratio(ours: &[Cost], theirs: &[Cost]) -> Option<f64> {
    let ours = median(ours, |cost| cost.wall)?;
    let theirs = median(theirs, |cost| cost.wall)?;
    Some(ours.as_secs_f64() / theirs.as_secs_f64())
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"))
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(dash, |time| format!("{:.2}", time.as_secs_f64()))
}

fn peak(costs: &[Cost]) -> String {
    let highest = costs.iter().map(|cost| cost.anonymous).max();
    highest.map_or_else(dash, |bytes| (bytes >> 20).to_string())
}

fn day(cost: &Cost, bytes: u64) -> String {
    format!("{} in {:.2} s", mib(bytes), cost.wall.as_secs_f64())
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(millis: u64) -> Cost {
        Cost {
            wall: Duration::from_millis(millis),
            user: Duration::ZERO,
            anonymous: 3 << 20,
        }
    }

    #[test]
    fn medians_and_ratios_are_of_the_middle_run() {
        let ours = [cost(900), cost(100), cost(300)];
        let theirs = [cost(200), cost(200), cost(9_000)];
        assert_eq!(seconds(median(&ours, |cost| cost.wall)), "0.30");
        assert_eq!(times(ratio(&ours, &theirs)), "1.50");
        assert_eq!(times(ratio(&ours, &[])), "-");
        assert_eq!(peak(&ours), "3");
        assert_eq!(mib(1_572_864), "1.5 MiB");
    }
}
