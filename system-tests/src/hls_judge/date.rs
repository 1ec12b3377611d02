//! Dates of `EXT-X-PROGRAM-DATE-TIME`: ISO 8601 with a time zone.

/// Milliseconds since 1970, or `None` if it is not a date.
pub(super) fn unix_ms(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T')?;
    let mut day = day.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (day.next()??, day.next()??, day.next()??);
    let zone = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone);
    let mut clock = clock.splitn(3, ':');
    let (hour, minute) = (number(clock.next()?)?, number(clock.next()?)?);
    let seconds = super::playlist::micros(clock.next()?)?;
    let is_valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !is_valid {
        return None;
    }
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset(zone)?;
    Some(minutes * 60_000 + i64::try_from(seconds / 1_000).ok()?)
}

fn number(text: &str) -> Option<i64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_decimal)
}

/// Minutes east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = (number(digits.get(..2)?)?, number(digits.get(2..)?)?);
    Some(sign * (hours * 60 + minutes))
}

/// Days since 1970 in the Gregorian calendar. A year begins in March, so that the day of February
/// that not every year has is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let years = if month > 2 { year } else { year - 1 };
    let months = (month + 9) % 12;
    let leap = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    years * 365 + leap + (months * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_with_zones_are_read() {
        assert_eq!(unix_ms("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(unix_ms("2024-02-29T12:30:01.250Z"), Some(1_709_209_801_250));
        assert_eq!(
            unix_ms("2024-02-29T14:30:01.250+0200"),
            Some(1_709_209_801_250)
        );
        assert_eq!(
            unix_ms("2024-02-29T10:00:01.250-02:30"),
            Some(1_709_209_801_250)
        );
        for wrong in [
            "",
            "2024-02-29",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T0:0Z",
        ] {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
    }
}
