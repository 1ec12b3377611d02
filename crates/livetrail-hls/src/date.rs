//! Dates of playlists: ISO 8601 with milliseconds, in UTC.

use std::fmt;

const DAY_MS: i64 = 86_400_000;

/// A time in milliseconds since 1970. Displayed as `2026-12-01T08:30:00.125Z`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Date(pub(crate) i64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years 0 to 9999: others have no form in a playlist.
        let ms = self.0.clamp(-62_167_219_200_000, 253_402_300_799_999);
        let (days, in_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
        let (year, month, day) = civil(days);
        let (seconds, ms) = (in_day / 1_000, in_day % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

/// The date of a day since 1970 in the Gregorian calendar. Years begin in March here, so that the
/// leap day is the last one.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the caller bounds the days to those of the years 0 to 9999"
)]
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_125, "2000-02-29T00:00:00.125Z"),
            (1_796_113_800_000, "2026-12-01T08:30:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Date(ms).to_string(), date);
        }
    }
}
