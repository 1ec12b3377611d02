//! Limits on what a source can make the verifier read, because the source may be hostile.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sources::{Alteration, SizeClaim, Source, SourceError};

/// The limits for a source beyond this machine. A directory has its size, but a server can continue
/// without end, and so can a program that writes lines into a pipe: for lines the time limit
/// applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The total time, from the first request on.
    pub time: Duration,
    /// The total number of bytes read.
    pub bytes: u64,
}

impl Limits {
    /// This time limit, with the default limit of bytes.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    /// A day, and a tebibyte.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(86_400),
            bytes: 1 << 40,
        }
    }
}

/// The end of a check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// `None` on a system without a clock, where nothing is remote and no limit is needed.
    begun: Option<Instant>,
    time: Duration,
}

impl Deadline {
    /// The time from now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "a deadline for what others answer"
    )]
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            begun: (!cfg!(target_family = "wasm")).then(Instant::now),
            time,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.begun.is_some_and(|begun| begun.elapsed() >= self.time)
    }

    /// The text for the report.
    pub(crate) fn words(&self) -> String {
        let seconds = self.time.as_secs();
        format!("the check was stopped after {seconds} s, its time limit")
    }
}

/// Passes on a source's data until a limit is reached, and nothing afterwards.
pub(crate) struct Limited<'a> {
    source: &'a dyn Source,
    most_bytes: u64,
    deadline: Deadline,
    bytes: Mutex<u64>,
}

impl<'a> Limited<'a> {
    pub(crate) fn new(source: &'a dyn Source, limits: Limits) -> Self {
        Self {
            source,
            most_bytes: limits.bytes,
            deadline: Deadline::after(limits.time),
            bytes: Mutex::new(0),
        }
    }

    fn check(&self) -> Result<(), SourceError> {
        if !self.source.is_remote() {
            return Ok(());
        }
        let read = *lock(&self.bytes);
        let words = if self.deadline.is_over() {
            self.deadline.words()
        } else if read >= self.most_bytes {
            format!("the check was stopped after {read} bytes, its limit")
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, words).into())
    }

    fn count(&self, length: usize) {
        let mut bytes = lock(&self.bytes);
        *bytes = bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
}

fn lock(bytes: &Mutex<u64>) -> std::sync::MutexGuard<'_, u64> {
    bytes
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Source for Limited<'_> {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        self.check()?;
        let read = self.source.read(path, most)?;
        self.count(read.as_ref().map_or(0, Vec::len));
        Ok(read)
    }

    fn read_into(&self, path: &str, most: usize, into: &mut Vec<u8>) -> Result<bool, SourceError> {
        self.check()?;
        let exists = self.source.read_into(path, most, into)?;
        self.count(if exists { into.len() } else { 0 });
        Ok(exists)
    }

    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        self.check()?;
        self.source.list(dir, each)
    }

    fn lists(&self) -> bool {
        self.source.lists()
    }

    fn place(&self) -> String {
        self.source.place()
    }

    fn alterations(&self) -> Vec<Alteration> {
        self.source.alterations()
    }

    fn is_remote(&self) -> bool {
        self.source.is_remote()
    }

    fn newest(&self) -> Vec<String> {
        self.source.newest()
    }

    fn size_claims(&self) -> Vec<SizeClaim> {
        self.source.size_claims()
    }
}
