//! The output of commands: results on standard output, errors on standard error, and the exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::config::ConfigError;

/// Exit code: the command failed, or was refused.
const FAILED: u8 = 1;
/// Exit code: wrong usage or configuration, or a check that could not be made.
const UNUSABLE: u8 = 2;

/// The result of a command.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// The error of a command, and the exit code of the process.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    code: u8,
}

impl Failure {
    /// Exit code 2: the request cannot be fulfilled.
    pub(crate) fn unusable(error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            code: UNUSABLE,
        }
    }

    /// Exit code 2: the configuration cannot be used.
    pub(crate) fn configuration(error: ConfigError) -> Self {
        Self::unusable(error.in_full())
    }

    /// Prints the error on standard error.
    pub(crate) fn report(self) -> ExitCode {
        if self.is_broken_pipe() {
            // The reader of our output has stopped reading, which is success.
            return ExitCode::SUCCESS;
        }
        complain(&format!("error: {self}"));
        ExitCode::from(self.code)
    }

    fn is_broken_pipe(&self) -> bool {
        let io = self.error.downcast_ref::<Broken>();
        io.is_some_and(|Broken(error)| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// Any other error is exit code 1.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            code: FAILED,
        }
    }
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
struct Broken(#[source] io::Error);

/// Writes a line to standard output.
///
/// # Errors
/// Standard output is closed or full. If it is closed, the process ends with success.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|error| Broken(error).into())
}

/// Writes parts to standard output, or to a buffer in front of it. A call without parts flushes the
/// buffer.
///
/// # Errors
/// The same as for [`say`].
pub(crate) fn write_all(out: &mut impl Write, parts: &[&[u8]]) -> anyhow::Result<()> {
    let mut written = parts.iter().try_for_each(|part| out.write_all(part));
    if parts.is_empty() {
        written = out.flush();
    }
    written.map_err(|error| Broken(error).into())
}

/// Writes a line to standard error. An error of this write is ignored.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A number of bytes for people: `119.6 kB`.
pub(crate) fn bytes(n: u64) -> String {
    let steps = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match steps.iter().find(|(step, _)| n >= *step) {
        Some((step, unit)) => format!("{:.1} {unit}", n as f64 / *step as f64),
        None => format!("{n} B"),
    }
}

/// Makes text from elsewhere safe for a terminal and for readers. Each invisible character becomes
/// an escape such as `\u{202e}`, so that nothing moves the cursor, reverses the line, or hides.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(escaped(c));
        }
    }
    shown
}

/// Whether a character is visible. A character that moves the cursor or reverses the text is not.
pub(crate) fn is_visible(c: char) -> bool {
    is_plain(c) || escaped(c).eq([c])
}

const fn is_plain(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic()
}

/// A character, or its escape if it is not visible.
fn escaped(c: char) -> impl Iterator<Item = char> {
    // The character follows a letter, so that a combining mark has something to combine with and is
    // not escaped.
    let pair = String::from_iter(['a', c]);
    let escaped: Vec<_> = pair.escape_debug().skip(1).collect();
    escaped.into_iter()
}

/// The text, cut to this many characters. If something is missing, the last one is `…`.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_visible_is_escaped_and_every_script_is_readable() {
        for plain in ["live/cam", "Käse", "日本語", "नमस्ते", "e\u{301}", "a\\b\"c'"]
        {
            assert_eq!(printable(plain), plain);
        }
        for (text, shown) in [
            ("a\u{202e}gpj.exe", "a\\u{202e}gpj.exe"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\u{2028}\u{e000}\u{378}", "\\u{2028}\\u{e000}\\u{378}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn long_text_is_cut_and_shows_it() {
        assert_eq!(
            (cut("abc", 3), cut("abcd", 3)),
            ("abc".into(), "ab…".into())
        );
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
