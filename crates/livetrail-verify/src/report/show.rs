//! Safe display of quoted text: one line stays one line, and nothing in it moves the cursor or
//! turns the writing direction.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

/// Writes a report line by line.
pub(crate) struct Lines<'a, W>(&'a mut W);

impl<'a, W: fmt::Write> Lines<'a, W> {
    pub(crate) const fn new(out: &'a mut W) -> Self {
        Self(out)
    }

    /// One line. Text from a trail is escaped as by [`Shown`].
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let text = text.to_string();
        writeln!(self.0, "{}", Shown(&text))
    }

    /// An empty line, and the title of the next part.
    pub(crate) fn title(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        self.0.write_char('\n')?;
        self.line(text)
    }
}

/// Outside text on a terminal: characters that are invisible, move the cursor or turn the writing
/// direction are written as `\u{202e}`.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_hidden(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Outside text as in a report: characters that are invisible, move the cursor or turn the writing
/// direction are escaped.
#[must_use]
pub fn shown(text: &str) -> String {
    Shown(text).to_string()
}

/// Control characters, direction marks, characters without width, and private-use characters.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}'
        )
}

/// Milliseconds since 1970 as a date in UTC; the plain number after the year 9999.
pub(crate) fn date(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || format!("{unix_ms} ms since 1970"),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// A span in the usual unit: seconds, minutes, hours or days.
pub(crate) fn span(ms: u64) -> String {
    let (count, unit) = match ms / 1000 {
        s if s < 120 => (s, "s"),
        s if s < 7_200 => (s / 60, "min"),
        s if s < 172_800 => (s / 3_600, "h"),
        s => (s / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_in_its_line_and_is_seen() {
        let mut out = String::new();
        let mut lines = Lines::new(&mut out);
        let quoted = "a\u{1b}[2J\nSOUND\u{202e}\u{200b}\u{e0041}é日\u{301}";
        lines.title(format_args!("open: {quoted}")).unwrap();
        assert_eq!(
            out,
            "\nopen: a\\u{1b}[2J\\u{a}SOUND\\u{202e}\\u{200b}\\u{e0041}é日\u{301}\n"
        );
    }

    #[test]
    fn times_are_dates() {
        assert_eq!(date(1_796_028_147_512), "2026-11-30 08:42:27 UTC");
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(u64::MAX), "18446744073709551615 ms since 1970");
        let spans = [119_999, 120_000, 7_200_000, 172_800_000].map(span);
        assert_eq!(spans, ["119 s", "2 min", "2 h", "2 days"]);
    }
}
