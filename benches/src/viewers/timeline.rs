//! The frames of a stream and their times. The frames that viewers get are compared with these.

use std::collections::{HashMap, VecDeque};

use super::message::Message;

/// Frames that are remembered: some minutes.
const MAX_FRAMES: usize = 16_384;

/// The frames of one stream, in order.
///
/// Written by the publisher when it is ours, otherwise by whichever viewer gets a frame first.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    frames: VecDeque<(Message, u64)>,
    /// The number of the first one in `frames`.
    first: u64,
    /// The last position of each keyframe. A repeated clip has equal keyframes.
    keyframes: HashMap<Message, u64>,
}

impl Timeline {
    pub(super) fn push(&mut self, frame: Message, at_ns: u64) {
        if self.frames.len() == MAX_FRAMES {
            if let Some((old, _)) = self.frames.pop_front()
                && self.keyframes.get(&old) == Some(&self.first)
            {
                self.keyframes.remove(&old);
            }
            self.first += 1;
        }
        if frame.is_keyframe() {
            self.keyframes.insert(frame, self.end());
        }
        self.frames.push_back((frame, at_ns));
    }

    pub(super) fn get(&self, number: u64) -> Option<&(Message, u64)> {
        let at = number.checked_sub(self.first)?;
        self.frames.get(usize::try_from(at).ok()?)
    }

    pub(super) fn keyframe(&self, frame: &Message) -> Option<u64> {
        self.keyframes.get(frame).copied()
    }

    /// The number of the next frame.
    pub(super) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }
}
