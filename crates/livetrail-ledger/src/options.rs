//! A ledger's settings, and the bounds of its memory.

use std::time::Duration;

use crate::{error::LedgerError, write::wal::HEADER_BYTES};

/// Settings of a running ledger. The defaults come from measurements on two cores and a virtual
/// disk.
///
/// Memory: at most twice `queue_bytes` (filling, syncing), `backlog_bytes` and one more batch, one
/// bundle, 64 KiB of hashes for the tree's right edge, and one re-read file at a time. With a store
/// of companions 4 MiB and one companion more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Bytes of framed entries that may wait for a commit; also the limit of one commit. 128 KiB
    /// (if entries may have companions: 256 KiB) to 1 GiB.
    pub queue_bytes: usize,
    /// Bytes of durable entries that may wait for integration before commits wait. 1 to 1 GiB.
    pub backlog_bytes: usize,
    /// A commit that nobody waits for starts at this many bytes.
    pub commit_bytes: usize,
    /// A commit that nobody waits for starts at the latest this long after its first entry.
    pub commit_interval: Duration,
    /// A log that grew gets a checkpoint at the latest this long after the last one.
    pub checkpoint_interval: Duration,
    /// Length of a segment of the write-ahead log. At least `queue_bytes` and a header, at most 64
    /// GiB.
    pub segment_bytes: u64,
    /// Space on the disk that is reserved for emergencies; 0 for none. At most 1 TiB.
    pub ballast_bytes: u64,
    /// How often free space is checked while entries arrive, and while the disk is too full. At
    /// least 1 ms.
    pub space_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_bytes: 8 << 20,
            backlog_bytes: 32 << 20,
            commit_bytes: 256 << 10,
            commit_interval: Duration::from_millis(5),
            checkpoint_interval: Duration::from_secs(1),
            segment_bytes: 64 << 20,
            ballast_bytes: 64 << 20,
            space_interval: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// `companions`: entries may have them.
    pub(crate) fn check(&self, companions: bool) -> Result<(), LedgerError> {
        let refuse = |what: String| Err(LedgerError::Options { what });
        // The longest entry fits, with its companion.
        let least_kib = if companions { 256 } else { 128 };
        if !(least_kib << 10..=1 << 30).contains(&self.queue_bytes) {
            return refuse(format!(
                "queue_bytes is {} and must be {least_kib} KiB to 1 GiB",
                self.queue_bytes
            ));
        }
        let least = (self.queue_bytes as u64).saturating_add(HEADER_BYTES as u64);
        if self.segment_bytes < least {
            return refuse(format!(
                "segment_bytes is {} and must be at least {least}, so that a commit fits",
                self.segment_bytes
            ));
        }
        if self.segment_bytes > 64 << 30 {
            return refuse(format!(
                "segment_bytes is {} and must be at most 64 GiB",
                self.segment_bytes
            ));
        }
        if !(1..=1 << 30).contains(&self.backlog_bytes) {
            return refuse(format!(
                "backlog_bytes is {} and must be 1 to 1 GiB",
                self.backlog_bytes
            ));
        }
        if self.ballast_bytes > 1 << 40 {
            return refuse(format!(
                "ballast_bytes is {} and must be at most 1 TiB",
                self.ballast_bytes
            ));
        }
        if self.space_interval < Duration::from_millis(1) {
            return refuse(format!(
                "space_interval is {:?} and must be at least 1 ms",
                self.space_interval
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_are_refused_in_words() {
        assert!(Options::default().check(true).is_ok());
        let of = |set: fn(&mut Options)| {
            let mut options = Options::default();
            set(&mut options);
            options.check(false)
        };
        for (setting, set) in [
            ("queue_bytes", (|o| o.queue_bytes = 1) as fn(&mut Options)),
            ("queue_bytes", |o| o.queue_bytes = (1 << 30) + 1),
            ("segment_bytes", |o| o.segment_bytes = 1 << 20),
            ("segment_bytes", |o| o.segment_bytes = (64 << 30) + 1),
            ("backlog_bytes", |o| o.backlog_bytes = 0),
            ("backlog_bytes", |o| o.backlog_bytes = (1 << 30) + 1),
            ("ballast_bytes", |o| o.ballast_bytes = (1 << 40) + 1),
            ("space_interval", |o| {
                o.space_interval = Duration::from_micros(999);
            }),
        ] {
            let words = of(set).unwrap_err().to_string();
            assert!(words.contains(&format!("{setting} is ")), "{words}");
        }
        let least = Options {
            queue_bytes: 128 << 10,
            ..Options::default()
        };
        assert!(least.check(false).is_ok());
        let words = least.check(true).unwrap_err().to_string();
        assert!(words.contains("must be 256 KiB to"), "{words}");
        let at_their_bounds = of(|o| {
            o.segment_bytes = 64 << 30;
            o.backlog_bytes = 1 << 30;
            o.ballast_bytes = 1 << 40;
            o.space_interval = Duration::from_millis(1);
        });
        assert!(at_their_bounds.is_ok());
    }
}
