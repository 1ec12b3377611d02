//! One rendition: the segments that its playlist lists, those that are kept for late requests, and
//! the parts of the open one.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use livetrail_segment::{Init, Part, Segment};

/// The maximum number of segments that are kept, however short they are.
const MAX_SEGMENTS: usize = 4_096;

/// A complete segment in the window.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) segment: Segment,
    /// The number of its init segment.
    pub(crate) init: u64,
    /// The wall time of its start, in milliseconds since 1970.
    pub(crate) start_unix_ms: i64,
    bytes: usize,
}

/// The window of a rendition.
#[derive(Debug, Default)]
pub(crate) struct Window {
    segments: VecDeque<Kept>,
    /// The segments before this one are no longer listed.
    listed_from: usize,
    listed: Duration,
    /// The longest that a playlist and a segment have been.
    longest_listed: Duration,
    longest_segment: Duration,
    bytes: usize,
    inits: VecDeque<(u64, Init)>,
    init_bytes: usize,
    next_init: u64,
    /// The parts of the open segment, and the wall time of its start.
    open: Vec<Part>,
    open_unix_ms: i64,
    /// The number of the open segment, or of the next one.
    next_sequence: Option<u64>,
    /// The playlist and its delta update, once they are rendered.
    pub(crate) rendered: [Option<Bytes>; 2],
}

impl Window {
    pub(crate) fn add_init(&mut self, init: Init) {
        self.init_bytes = self.init_bytes.saturating_add(init.bytes.len());
        self.inits.push_back((self.next_init, init));
        self.next_init = self.next_init.saturating_add(1);
        self.forget_inits();
    }

    pub(crate) fn add_part(&mut self, part: Part, start_unix_ms: i64) {
        if self.open.is_empty() {
            self.open_unix_ms = start_unix_ms;
        }
        self.next_sequence = Some(part.sequence);
        self.open.push(part);
        self.rendered = [None, None];
    }

    /// Closes the open segment. `window` is how much is listed, and `max_bytes` how much is kept.
    pub(crate) fn add_segment(&mut self, segment: Segment, window: Duration, max_bytes: usize) {
        let kept = Kept {
            init: self.last_init(),
            start_unix_ms: self.open_unix_ms,
            bytes: segment.len(),
            segment,
        };
        self.open.clear();
        self.next_sequence = Some(kept.segment.sequence.saturating_add(1));
        self.listed = self.listed.saturating_add(kept.segment.duration);
        self.longest_segment = self.longest_segment.max(kept.segment.duration);
        self.bytes = self.bytes.saturating_add(kept.bytes);
        self.segments.push_back(kept);
        self.unlist(window);
        self.forget(max_bytes);
        self.rendered = [None, None];
    }

    /// Lists no more than the window and one segment.
    fn unlist(&mut self, window: Duration) {
        while let Some(oldest) = self.segments.get(self.listed_from) {
            let rest = self.listed.saturating_sub(oldest.segment.duration);
            if rest < window {
                break;
            }
            self.listed = rest;
            self.listed_from = self.listed_from.saturating_add(1);
        }
        self.longest_listed = self.longest_listed.max(self.listed);
    }

    /// Keeps a segment that is no longer listed for the longest playlist and its own duration
    /// (section 6.2.2), and no more than the bounds. Time is counted by the segments that were
    /// removed after it. They may come together earlier than they last, so there is one segment
    /// more.
    fn forget(&mut self, max_bytes: usize) {
        let longest = self.longest_listed.saturating_add(self.longest_segment);
        let mut unlisted: Duration = self
            .segments
            .iter()
            .take(self.listed_from)
            .map(|kept| kept.segment.duration)
            .fold(Duration::ZERO, Duration::saturating_add);
        while let Some(oldest) = self.segments.front() {
            let duration = oldest.segment.duration;
            let later = unlisted.saturating_sub(duration);
            let is_old = self.listed_from > 0 && later > longest.saturating_add(duration);
            let bytes = self.bytes.saturating_add(self.init_bytes);
            let is_over = bytes > max_bytes || self.segments.len() > MAX_SEGMENTS;
            if self.segments.len() < 2 || !(is_old || is_over) {
                break;
            }
            if self.listed_from == 0 {
                self.listed = self.listed.saturating_sub(duration);
            }
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.listed_from = self.listed_from.saturating_sub(1);
            unlisted = later;
            self.segments.pop_front();
            self.forget_inits();
        }
    }

    /// The size of all that is kept, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        let open = self.open.iter().map(|part| part.bytes.len());
        let open = open.fold(0, usize::saturating_add);
        let kept = self.bytes.saturating_add(self.init_bytes);
        kept.saturating_add(open)
    }

    /// Forgets the oldest segments beyond `max_bytes`, listed or not. The last is kept. Returns
    /// whether a listed one was forgotten.
    pub(crate) fn shrink(&mut self, max_bytes: usize) -> bool {
        let listed = self.listed;
        // The segments that are not listed go first, however long the window is.
        self.forget(max_bytes);
        let has_changed = self.listed != listed;
        if has_changed {
            self.rendered = [None, None];
        }
        has_changed
    }

    /// Forgets the init segments that no kept segment uses.
    fn forget_inits(&mut self) {
        let first = self
            .segments
            .front()
            .map_or(self.last_init(), |kept| kept.init);
        while let Some((number, init)) = self.inits.front() {
            if *number >= first {
                break;
            }
            self.init_bytes = self.init_bytes.saturating_sub(init.bytes.len());
            self.inits.pop_front();
        }
    }

    /// The init segment with a number.
    pub(crate) fn init(&self, number: u64) -> Option<&Init> {
        let mut inits = self.inits.iter();
        inits.find(|(of, _)| *of == number).map(|(_, init)| init)
    }

    /// The number of the init segment that applies now.
    pub(crate) fn last_init(&self) -> u64 {
        self.next_init.saturating_sub(1)
    }

    /// The listed segments, the oldest first.
    pub(crate) fn listed(&self) -> impl DoubleEndedIterator<Item = &Kept> + Clone {
        self.segments.iter().skip(self.listed_from)
    }

    /// The duration of the listed segments.
    pub(crate) fn duration(&self) -> Duration {
        self.listed
    }

    pub(crate) fn last(&self) -> Option<&Kept> {
        self.segments.back()
    }

    /// A segment that is kept, listed or not.
    pub(crate) fn segment(&self, sequence: u64) -> Option<&Segment> {
        let first = self.segments.front()?.segment.sequence;
        let at = usize::try_from(sequence.checked_sub(first)?).ok()?;
        self.segments.get(at).map(|kept| &kept.segment)
    }

    /// The number of frames of a segment, or of one of its parts.
    pub(crate) fn frames(&self, sequence: u64, index: Option<u32>) -> u64 {
        let parts = match self.segment(sequence) {
            Some(segment) => &segment.parts[..],
            None if self.next_sequence == Some(sequence) => &self.open[..],
            None => &[],
        };
        let parts = parts.iter();
        let meant = parts.filter(|part| index.is_none_or(|index| part.index == index));
        meant.map(|part| u64::from(part.frames)).sum()
    }

    pub(crate) fn open(&self) -> &[Part] {
        &self.open
    }

    pub(crate) fn open_unix_ms(&self) -> i64 {
        self.open_unix_ms
    }

    pub(crate) fn next_sequence(&self) -> Option<u64> {
        self.next_sequence
    }

    /// The last part: its segment's number and its position.
    pub(crate) fn last_part(&self) -> Option<(u64, u32)> {
        let part = self.open.last();
        let part = part.or_else(|| self.last()?.segment.parts.last());
        part.map(|part| (part.sequence, part.index))
    }
}
