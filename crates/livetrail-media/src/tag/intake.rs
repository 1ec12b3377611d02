//! One sender's tags or messages to frames.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use livetrail_engine::MediaFrame;

use super::{Decoded, TagKind, Unwrapper, decode};
use crate::error::Error;

/// Different causes of which one sender's first is reported.
const MAX_REPORTS: usize = 16;

/// Takes the tags of one connection or file apart, on one clock.
///
/// What cannot be read costs that message and nothing else: the framing around it is intact. It is counted, and the first of each kind
/// of fault is reported.
#[derive(Debug, Default)]
pub struct Intake {
    clock: Unwrapper,
    /// Of a message with several tracks: at most 256.
    more: VecDeque<MediaFrame>,
    unusable: u64,
    faults: Vec<Unusable>,
    /// Of the faults, those that the host has taken.
    reported: usize,
}

/// A message that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What it was to carry.
    pub kind: TagKind,
    /// What is wrong with it.
    pub error: Error,
}

impl Intake {
    /// For a sender that has sent nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first frame of a message, if it has one; [`next_frame`](Self::next_frame) has the others.
    pub fn take(&mut self, kind: TagKind, timestamp_ms: u32, body: &Bytes) -> Option<MediaFrame> {
        let time_ms = match kind {
            TagKind::Audio | TagKind::Video => self.clock.unwrap_ms(timestamp_ms),
            TagKind::Script => self.clock.peek_ms(timestamp_ms),
        };
        match decode(kind, body, time_ms) {
            Ok(Decoded::Frame(frame)) => Some(frame),
            Ok(Decoded::Frames(frames)) => {
                self.more.extend(frames);
                self.more.pop_front()
            }
            Ok(Decoded::Skipped(_)) => None,
            Err(error) => {
                self.count(Unusable { kind, error });
                None
            }
        }
    }

    /// The next frame of the message that was taken last.
    pub fn next_frame(&mut self) -> Option<MediaFrame> {
        self.more.pop_front()
    }

    /// Messages that could not be used.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// A fault that this sender has not made before: to be logged. Up to 16 in all.
    pub fn take_report(&mut self) -> Option<Unusable> {
        let report = self.faults.get(self.reported)?.clone();
        self.reported = self.reported.saturating_add(1);
        Some(report)
    }

    fn count(&mut self, unusable: Unusable) {
        self.unusable = self.unusable.saturating_add(1);
        if self.faults.len() < MAX_REPORTS && !self.faults.contains(&unusable) {
            self.faults.push(unusable);
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TagKind::Audio => "audio",
            TagKind::Video => "video",
            TagKind::Script => "data",
        };
        write!(f, "{kind} message left out: {}", self.error)
    }
}
