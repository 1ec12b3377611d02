//! What is counted, and the bounds that are counted against.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use livetrail_segment::Irregularity;

/// The counts of [`Hls`](super::Hls), at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HlsCounts {
    /// Streams that are segmented, and those that have ended and can still be fetched.
    pub streams: u64,
    /// Bytes of segments, parts and init segments that are kept.
    pub kept_bytes: u64,
    /// Sessions that are open, and those that have ended within the last second.
    pub viewers: u64,
    /// Requests that are held until something comes.
    pub held: u64,
    /// Streams that were started.
    pub streams_started: u64,
    /// Streams that were not started because there were too many.
    pub streams_over_limit: u64,
    /// Streams that were not started because all memory was used.
    pub streams_over_memory: u64,
    /// Times that a window became shorter because all memory was used.
    pub shortened: u64,
    /// Requests that were not held because too many are.
    pub held_over_limit: u64,
    /// Requests that were held for as long as possible, and for which nothing came.
    pub held_in_vain: u64,
    /// Sessions that were not opened because there were too many.
    pub viewers_over_limit: u64,
    /// Playlists that were rendered.
    pub renderings: u64,
    /// Playlists that were compressed.
    pub compressions: u64,
    /// Playlists that were sent.
    pub playlists: u64,
    /// Segments, parts and init segments that were sent.
    pub media: u64,
    /// The same under addresses without a token ([`HlsCdn::Segments`](super::HlsCdn::Segments)).
    pub shared: u64,
    /// Segments that were made.
    pub segments: u64,
    /// Unusual input, by [`Irregularity::label`]; each label is there.
    pub irregularities: BTreeMap<&'static str, u64>,
}

/// The same, while they change.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) kept_bytes: AtomicUsize,
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) streams_started: AtomicU64,
    pub(crate) streams_over_limit: AtomicU64,
    pub(crate) streams_over_memory: AtomicU64,
    pub(crate) shortened: AtomicU64,
    pub(crate) held_over_limit: AtomicU64,
    pub(crate) held_in_vain: AtomicU64,
    pub(crate) viewers_over_limit: AtomicU64,
    pub(crate) renderings: AtomicU64,
    pub(crate) compressions: AtomicU64,
    pub(crate) playlists: AtomicU64,
    pub(crate) media: AtomicU64,
    pub(crate) shared: AtomicU64,
    pub(crate) segments: AtomicU64,
    /// At most one entry for each label.
    irregularities: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    pub(crate) fn irregular(&self, irregularity: &Irregularity) {
        let mut all = self
            .irregularities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(irregularity.label()).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn read(&self, streams: usize, viewers: usize) -> HlsCounts {
        let of = |count: &AtomicU64| count.load(Relaxed);
        let counted = self
            .irregularities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of_label = |label| (label, counted.get(label).copied().unwrap_or(0));
        HlsCounts {
            streams: streams as u64,
            viewers: viewers as u64,
            kept_bytes: self.kept_bytes.load(Relaxed) as u64,
            held: self.held.load(Relaxed) as u64,
            streams_started: of(&self.streams_started),
            streams_over_limit: of(&self.streams_over_limit),
            streams_over_memory: of(&self.streams_over_memory),
            shortened: of(&self.shortened),
            held_over_limit: of(&self.held_over_limit),
            held_in_vain: of(&self.held_in_vain),
            viewers_over_limit: of(&self.viewers_over_limit),
            renderings: of(&self.renderings),
            compressions: of(&self.compressions),
            playlists: of(&self.playlists),
            media: of(&self.media),
            shared: of(&self.shared),
            segments: of(&self.segments),
            irregularities: Irregularity::labels().map(of_label).collect(),
        }
    }
}

/// Counts something while it is there.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// One more, unless there are `most` already.
    pub(crate) fn new(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |present: usize| (present < most).then(|| present.saturating_add(1));
        count.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self(count.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_and_what_is_given_back_can_be_taken_again() {
        let count = Arc::new(AtomicUsize::new(0));
        let one = Counted::new(&count, 2).unwrap();
        let _two = Counted::new(&count, 2).unwrap();
        assert!(Counted::new(&count, 2).is_none());
        drop(one);
        assert!(Counted::new(&count, 2).is_some());
        assert_eq!(count.load(Relaxed), 1);
    }
}
