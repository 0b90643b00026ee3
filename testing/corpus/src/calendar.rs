//! Days of the corpus as dates. No clock is read: the history of a corpus is always the same.

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// How many days the first state covers.
pub(crate) const HISTORY_DAYS: u32 = 730;
/// Midnight of 20 November 2023, UTC, in days since 1 January 1970: the day of the first message.
const FIRST_DAY: u32 = 19_681;

/// The start of a day of the corpus, in milliseconds since 1970.
pub(crate) fn start_ms(day: u32) -> i64 {
    i64::from(FIRST_DAY + day) * DAY_MS
}

/// A day of the corpus as `YYYYMMDD`.
pub(crate) fn stamp(day: u32) -> String {
    let (mut year, mut left) = (1970, FIRST_DAY + day);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year:04}{month:02}{:02}", left + 1)
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_the_calendars_days() {
        assert_eq!(stamp(0), "20231120");
        assert_eq!(stamp(101), "20240229");
        assert_eq!(stamp(102), "20240301");
        assert_eq!(stamp(HISTORY_DAYS), "20251119");
        assert_eq!(start_ms(0), 1_700_438_400_000);
    }
}
