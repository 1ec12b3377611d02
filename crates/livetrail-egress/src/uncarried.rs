//! Frames that a wire format cannot carry: counted, and reported in the log.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use livetrail_engine::MediaFrame;

/// Counts the frames that a wire format cannot carry, such as one that is longer than its length
/// field allows. Viewers go without them.
///
/// A frame is counted once for each of its wire forms, however many viewers there are. The first is
/// reported in the log, and then each whose number is a power of two: a publisher that sends such
/// frames without end makes a few lines.
#[derive(Debug)]
pub struct Uncarried {
    format: &'static str,
    frames: AtomicU64,
}

impl Uncarried {
    /// None yet. `format` is the name in the log.
    #[must_use]
    pub const fn new(format: &'static str) -> Self {
        Self {
            format,
            frames: AtomicU64::new(0),
        }
    }

    /// Counts a frame, and why the format cannot carry it.
    pub fn count(&self, frame: &MediaFrame, why: &impl Display) {
        let frames = self.frames.fetch_add(1, Relaxed).saturating_add(1);
        if frames.is_power_of_two() {
            tracing::warn!(
                format = self.format,
                codec = ?frame.codec,
                bytes = frame.payload.len(),
                frames,
                "viewers go without a frame that the format cannot carry: {why}"
            );
        }
    }

    /// How many there were since the start of the process.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }
}
