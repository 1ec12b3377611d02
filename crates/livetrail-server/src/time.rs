//! Formats and parses times for people.

use jiff::{Timestamp, Zoned};

/// Milliseconds since 1970 as RFC 3339, UTC, with milliseconds.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| unix_ms.to_string(), |time| format!("{time:.3}"))
}

/// Parses a time that a user typed, as milliseconds since 1970. Allowed is RFC 3339, a date or a
/// time without zone (UTC), or a time span before `now`.
pub(crate) fn parse(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Ok(span) = text.parse::<crate::config::Span>() {
        let span_ms = u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        return Ok(now_ms.saturating_sub(span_ms));
    }
    let time = text
        .parse::<Timestamp>()
        .or_else(|_| text.parse::<Zoned>().map(|zoned| zoned.timestamp()))
        .or_else(|_| {
            let civil: jiff::civil::DateTime = text.parse()?;
            civil
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map(|z| z.timestamp())
        });
    time.ok()
        .and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .ok_or_else(|| {
            format!(
                "{text:?} is not a time; allowed is RFC 3339 (2026-11-22T14:00:00Z), a date (2026-11-22, UTC), or a time \
                 span before now (1h)"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = 1_795_356_000_000;
        assert_eq!(rfc3339(now), "2026-11-22T14:00:00.000Z");
        for (text, ms) in [
            ("2026-11-22T14:00:00Z", now),
            ("2026-11-22T14:00:00.000Z", now),
            ("2026-11-22T15:00:00+01:00", now),
            ("2026-11-22T14:00:00", now),
            ("2026-11-22", now - 14 * 3_600_000),
            ("1h", now - 3_600_000),
            ("1h30m", now - 5_400_000),
        ] {
            assert_eq!(parse(text, now), Ok(ms), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "-1h"] {
            assert!(parse(wrong, now).is_err(), "{wrong}");
        }
    }
}
