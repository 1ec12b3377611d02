//! How a replica is followed, and the bounds on its memory.

use std::time::Duration;

use thiserror::Error;

/// Settings of one replica.
///
/// Memory: at most two batches, one being sent and one read ahead. That is at most twice
/// `batch_bytes` plus one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaOptions {
    /// Whether the trail must keep each entry until this sink has it. Retention then never passes
    /// the sink's cursor, however long the sink is away. Retention waits for a sink that is not
    /// required for at most `patience`.
    pub required: bool,
    /// The maximum number of entries in a batch. 1 to 1,000,000.
    pub batch_records: usize,
    /// A batch ends with the entry that reaches this many bytes. 1 to 256 MiB.
    pub batch_bytes: usize,
    /// How long to collect entries into a batch that is not full, from the first entry on. For
    /// sinks where each batch has a cost, such as a bucket. Zero, the default, turns this off.
    /// Readers of the sink see a record later by this time.
    pub batch_interval: Duration,
    /// The deadline of one attempt. A sink that has not answered by then is asked again. At least 1
    /// ms.
    pub attempt_timeout: Duration,
    /// The bound of the pause after a first error. It doubles with each further error. At least 1
    /// ms.
    pub backoff_first: Duration,
    /// The bound of the pause after any error that may pass. At least 1 ms.
    pub backoff_max: Duration,
    /// How often to try a sink again that a person must fix. At least 1 ms.
    pub reprobe_interval: Duration,
    /// How often to ask a sink that follows for its cursor again. This notices a sink that lost
    /// entries. At least 1 ms.
    pub recheck_interval: Duration,
    /// How long retention waits for a sink that is not required and accepts nothing.
    pub patience: Duration,
    /// How often to write the local copy of the cursor while it moves. At least 1 ms.
    pub cursor_interval: Duration,
    /// How old an erasure may be that the sink has not applied. Then it is overdue: an alert. At
    /// least 1 ms.
    pub erasure_overdue_after: Duration,
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            required: true,
            batch_records: 8_192,
            batch_bytes: 4 << 20,
            batch_interval: Duration::ZERO,
            attempt_timeout: Duration::from_secs(30),
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            reprobe_interval: Duration::from_mins(5),
            recheck_interval: Duration::from_mins(15),
            patience: Duration::from_hours(24),
            cursor_interval: Duration::from_secs(10),
            erasure_overdue_after: Duration::from_hours(24),
        }
    }
}

/// A setting outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplicaOptionsError {
    /// The name is not valid for a cursor.
    #[error("{name:?} is not a sink name: expected 1 to 64 letters, digits, `-` and `_`")]
    Name {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// The number of entries.
    #[error("batch_records is {0}; expected 1 to 1,000,000")]
    BatchRecords(usize),
    /// The number of bytes.
    #[error("batch_bytes is {0}; expected 1 to 268,435,456")]
    BatchBytes(usize),
    /// The deadline.
    #[error("attempt_timeout is {0:?}; expected at least 1 ms")]
    AttemptTimeout(Duration),
    /// The pause after a first error.
    #[error("backoff_first is {0:?}; expected at least 1 ms")]
    BackoffFirst(Duration),
    /// The longest pause.
    #[error("backoff_max is {0:?}; expected at least 1 ms")]
    BackoffMax(Duration),
    /// The interval between attempts at a sink that a person must fix.
    #[error("reprobe_interval is {0:?}; expected at least 1 ms")]
    ReprobeInterval(Duration),
    /// The interval between writes of the cursor.
    #[error("cursor_interval is {0:?}; expected at least 1 ms")]
    CursorInterval(Duration),
    /// The interval between questions for the cursor.
    #[error("recheck_interval is {0:?}; expected at least 1 ms")]
    RecheckInterval(Duration),
    /// The age at which an erasure is overdue.
    #[error("erasure_overdue_after is {0:?}; expected at least 1 ms")]
    ErasureOverdueAfter(Duration),
}

impl ReplicaOptions {
    /// Checks the bounds, and the sink's name.
    ///
    /// # Errors
    /// [`ReplicaOptionsError`].
    pub fn check(&self, name: &str) -> Result<(), ReplicaOptionsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            let name = name.chars().take(80).collect();
            return Err(ReplicaOptionsError::Name { name });
        }
        if !(1..=1_000_000).contains(&self.batch_records) {
            return Err(ReplicaOptionsError::BatchRecords(self.batch_records));
        }
        if !(1..=256 << 20).contains(&self.batch_bytes) {
            return Err(ReplicaOptionsError::BatchBytes(self.batch_bytes));
        }
        type ErrorOf = fn(Duration) -> ReplicaOptionsError;
        let spans: [(Duration, ErrorOf); 7] = [
            (
                self.attempt_timeout,
                ReplicaOptionsError::AttemptTimeout as ErrorOf,
            ),
            (self.backoff_first, ReplicaOptionsError::BackoffFirst),
            (self.backoff_max, ReplicaOptionsError::BackoffMax),
            (self.reprobe_interval, ReplicaOptionsError::ReprobeInterval),
            (self.recheck_interval, ReplicaOptionsError::RecheckInterval),
            (self.cursor_interval, ReplicaOptionsError::CursorInterval),
            (
                self.erasure_overdue_after,
                ReplicaOptionsError::ErasureOverdueAfter,
            ),
        ];
        let short = |(span, _): &&(Duration, ErrorOf)| *span < Duration::from_millis(1);
        match spans.iter().find(short) {
            Some((span, error_of)) => Err(error_of(*span)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_bounds_are_refused_each_in_its_own_words() {
        let sound = ReplicaOptions::default();
        assert_eq!(sound.check("pg-1"), Ok(()));
        for name in ["", "a/b", "ä", &"x".repeat(65)] {
            assert!(matches!(
                sound.check(name),
                Err(ReplicaOptionsError::Name { .. })
            ));
        }
        let mut options = sound.clone();
        options.batch_records = 0;
        assert_eq!(
            options.check("a"),
            Err(ReplicaOptionsError::BatchRecords(0))
        );
        let mut options = sound.clone();
        options.batch_bytes = 1 << 30;
        assert_eq!(
            options.check("a"),
            Err(ReplicaOptionsError::BatchBytes(1 << 30))
        );
        type Set = fn(&mut ReplicaOptions, Duration);
        let spans: [(Set, &str); 7] = [
            (|o, span| o.attempt_timeout = span, "attempt_timeout"),
            (|o, span| o.backoff_first = span, "backoff_first"),
            (|o, span| o.backoff_max = span, "backoff_max"),
            (|o, span| o.reprobe_interval = span, "reprobe_interval"),
            (|o, span| o.recheck_interval = span, "recheck_interval"),
            (|o, span| o.cursor_interval = span, "cursor_interval"),
            (
                |o, span| o.erasure_overdue_after = span,
                "erasure_overdue_after",
            ),
        ];
        for (set, setting) in spans {
            let mut options = sound.clone();
            set(&mut options, Duration::from_micros(999));
            let words = options.check("a").unwrap_err().to_string();
            assert_eq!(words, format!("{setting} is 999µs; expected at least 1 ms"));
            set(&mut options, Duration::MAX);
            assert_eq!(options.check("a"), Ok(()));
        }
    }
}
