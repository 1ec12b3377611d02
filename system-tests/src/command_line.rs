//! The command lines of the programs in `examples/`: `--help`, and exit code 2 with the usage for
//! unknown arguments.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these are command lines"
)]

use std::time::Duration;

/// The arguments of this process that have not been taken yet.
pub struct CommandLine {
    usage: &'static str,
    given: std::vec::IntoIter<String>,
}

impl CommandLine {
    /// All arguments. If `-h` or `--help` is among them, prints the usage and ends the process.
    #[must_use]
    pub fn of_process(usage: &'static str) -> Self {
        let given: Vec<_> = std::env::args_os()
            .skip(1)
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        if given.iter().any(|one| one == "-h" || one == "--help") {
            println!("{usage}");
            std::process::exit(0);
        }
        Self {
            usage,
            given: given.into_iter(),
        }
    }

    /// The next one.
    pub fn take(&mut self) -> Option<String> {
        self.given.next()
    }

    /// The next argument, which must be a number of at least `least`; `of` is its purpose.
    /// Otherwise [`refuse`](Self::refuse)s.
    pub fn take_number(&mut self, of: &str, least: u64) -> u64 {
        let Some(text) = self.take() else {
            self.refuse(&format!("{of} needs a number behind it"));
        };
        self.number(of, &text, least)
    }

    /// This text as a number of at least `least`; `of` is its purpose. Otherwise
    /// [`refuse`](Self::refuse)s.
    #[must_use]
    pub fn number(&self, of: &str, text: &str, least: u64) -> u64 {
        match text.parse() {
            Ok(number) if number >= least => number,
            _ => self.refuse(&format!(
                "{of} is a number of at least {least}, not `{text}`"
            )),
        }
    }

    /// The next argument, which must be a span of time such as `90s`; `of` is its purpose.
    /// Otherwise [`refuse`](Self::refuse)s.
    pub fn take_span(&mut self, of: &str) -> Duration {
        let text = self.take().unwrap_or_default();
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => self.refuse(&format!(
                "{of} is a time such as 90s, 5m or 300ms, not `{text}`"
            )),
        };
        Duration::from_millis(self.number(of, number, 0).saturating_mul(unit_ms))
    }

    /// Prints what is wrong and the usage, and ends the process with exit code 2.
    pub fn refuse(&self, problem: &str) -> ! {
        eprintln!("error: {problem}\n\n{}", self.usage);
        std::process::exit(2);
    }

    /// Refuses arguments that were not taken.
    pub fn end(mut self) {
        if let Some(one) = self.take() {
            self.refuse(&format!("there is no `{one}`"));
        }
    }
}
