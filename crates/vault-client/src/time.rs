//! A host's time as a person reads it.

use keyhaven_wire::message::HostTime;

const DAY_SECONDS: u64 = 86_400;

/// `2026-11-23 19:20 UTC`, by the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year; 719,468 days lie
/// between 0000-03-01 and 1970-01-01, and the calendar repeats every 400 years or 146,097 days.
#[must_use]
pub fn utc(time: HostTime) -> String {
    let seconds = time.number();
    let days = (seconds / DAY_SECONDS).saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let leap_days = (day / 1_460)
        .saturating_add(day / 146_096)
        .saturating_sub(day / 36_524);
    let year = day.saturating_sub(leap_days) / 365;
    let before = year
        .saturating_mul(365)
        .saturating_add(year / 4)
        .saturating_sub(year / 100);
    let day = day.saturating_sub(before);
    let month = day.saturating_mul(5).saturating_add(2) / 153;
    let day = day.saturating_sub(month.saturating_mul(153).saturating_add(2) / 5);
    let (month, next) = if month < 10 {
        (month.saturating_add(3), 0)
    } else {
        (month.saturating_sub(9), 1)
    };
    let year = era
        .saturating_mul(400)
        .saturating_add(year)
        .saturating_add(next);
    let minutes = seconds % DAY_SECONDS / 60;
    format!(
        "{year:04}-{month:02}-{:02} {:02}:{:02} UTC",
        day.saturating_add(1),
        minutes / 60,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_by_the_calendar() {
        // Checked against `date -u -d @seconds`.
        for (seconds, written) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00 UTC"),
            (1_795_461_600, "2026-11-23 19:20 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(utc(HostTime::new(seconds)), written);
        }
        // A hostile host may say anything: no time makes it panic.
        assert!(utc(HostTime::new(u64::MAX)).ends_with("UTC"));
    }
}
