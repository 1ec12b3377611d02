//! What a capped viewer may be sent now: a token bucket of bytes.

use std::{sync::Arc, time::Duration};

use livetrail_engine::{EgressCap, SharedFrame};
use tokio::time::Instant;

use crate::{clock, format::Format};

/// How many seconds' worth may be sent at once, so that a viewer's first GOP does not wait.
const BURST: Duration = Duration::from_secs(2);

/// The bucket of one viewer. The frame that empties it is sent whole, and the debt is paid first.
#[derive(Debug)]
pub(crate) struct Meter {
    cap: EgressCap,
    bytes_per_second: f64,
    /// Negative for a debt.
    level: f64,
    filled_at: Instant,
    /// Frames wait for the bucket.
    waits: bool,
    /// A turn is noted for when the bucket may have filled.
    has_turn: bool,
}

impl Meter {
    pub(crate) fn new(cap: EgressCap) -> Self {
        let bytes_per_second = cap.bits_per_second() as f64 / 8.0;
        Self {
            cap,
            bytes_per_second,
            level: bytes_per_second * BURST.as_secs_f64(),
            filled_at: clock::now(),
            waits: false,
            has_turn: false,
        }
    }

    /// The first of these frames that may be sent now.
    pub(crate) fn allowed<'a, F: Format>(
        &mut self,
        frames: &'a [Arc<SharedFrame>],
        variant: F::Variant,
    ) -> &'a [Arc<SharedFrame>] {
        self.fill(clock::now());
        let mut left = self.level;
        let mut count = 0_usize;
        for frame in frames {
            if left <= 0.0 {
                break;
            }
            left -= F::len(frame, variant) as f64;
            count = count.saturating_add(1);
        }
        self.waits = count == 0 && !frames.is_empty();
        if self.waits {
            self.cap.exceeded();
        }
        frames.get(..count).unwrap_or_default()
    }

    /// These frames were sent.
    pub(crate) fn charge<F: Format>(&mut self, frames: &[Arc<SharedFrame>], variant: F::Variant) {
        for frame in frames {
            self.level -= F::len(frame, variant) as f64;
        }
    }

    /// Whether frames wait and no turn is noted yet. The caller notes one.
    pub(crate) fn needs_turn(&mut self) -> bool {
        self.waits && !std::mem::replace(&mut self.has_turn, self.waits)
    }

    /// The noted turn has come.
    pub(crate) fn take_turn(&mut self) {
        self.has_turn = false;
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let most = self.bytes_per_second * BURST.as_secs_f64();
        self.level = (self.level + passed * self.bytes_per_second).min(most);
        self.filled_at = now;
    }
}
