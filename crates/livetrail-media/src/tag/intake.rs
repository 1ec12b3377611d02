//! One sender's tags or messages to frames.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use livetrail_engine::MediaFrame;

use super::{Decoded, TagKind, Unwrapper, decode};
use crate::error::Error;

/// The maximum number of different faults that are reported per sender.
const MAX_REPORTS: usize = 16;

/// Decodes the tags of one connection or file, on one clock.
///
/// An unreadable message is dropped, and only that message: the framing around it is intact. It is
/// counted, and the first fault of each kind is reported.
#[derive(Debug, Default)]
pub struct Intake {
    clock: Unwrapper,
    /// The remaining frames of a message with several tracks: at most 256.
    more: VecDeque<MediaFrame>,
    unusable: u64,
    faults: Vec<Unusable>,
    /// The number of faults that the host has taken.
    reported: usize,
}

/// An unusable message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unusable {
    /// The kind of its content.
    pub kind: TagKind,
    /// The fault.
    pub error: Error,
}

impl Intake {
    /// An intake for a new sender.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a message and returns its first frame, if any; [`next_frame`](Self::next_frame)
    /// returns the others.
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

    /// The next frame of the last message.
    pub fn next_frame(&mut self) -> Option<MediaFrame> {
        self.more.pop_front()
    }

    /// The number of unusable messages.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// A fault that is new for this sender, for the log. Up to 16 per sender.
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
        write!(f, "{kind} message dropped: {}", self.error)
    }
}
