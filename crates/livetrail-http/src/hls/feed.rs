//! Feeds a stream's playlists: reads its frames from the engine, segments them, and waits.

use std::{sync::Arc, time::Duration};

use livetrail_engine::{Clock, SharedFrame, Tap, log};
use livetrail_segment::Segmenter;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    live::Live,
    options::HlsStart,
    streams::{Streams, now_ms},
};

/// Frames that are taken from the engine at once.
const BATCH_FRAMES: usize = 64;
/// How often it is checked whether anybody asks.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// The task of one stream. It ends with the stream, or when nobody has asked for long if the stream
/// is segmented on demand.
pub(super) struct Feed {
    pub(super) tap: Tap,
    pub(super) segmenter: Segmenter,
    pub(super) live: Arc<Live>,
    pub(super) streams: Streams,
}

impl Feed {
    pub(super) async fn run(mut self, clock: Arc<dyn Clock>) {
        let has_ended = self.feed(&*clock).await;
        let stream = log::stream(self.live.key());
        tracing::debug!(%stream, has_ended, "no longer segmented");
        drop(self.tap);
        if has_ended {
            self.live.end();
            // The last segments can still be fetched.
            sleep(self.streams.lease(&self.live)).await;
        }
        self.streams.remove(&self.live);
    }

    /// True if the stream has ended, false if nobody asks for it.
    async fn feed(&mut self, clock: &dyn Clock) -> bool {
        let mut frames = Vec::new();
        let mut events = Vec::new();
        let (mut skipped, mut publishers) = (0, 0);
        let mut idle = interval(IDLE_INTERVAL);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let more = tokio::select! {
                more = self.tap.next_batch(&mut frames, BATCH_FRAMES) => more,
                _ = idle.tick() => {
                    if self.retire(clock) {
                        return false;
                    }
                    continue;
                }
            };
            if !more {
                self.segmenter.finish(&mut events);
                self.apply(&mut events, clock);
                return true;
            }
            let now = (self.tap.skipped_frames(), self.tap.publishers());
            if now != (skipped, publishers) {
                (skipped, publishers) = now;
                self.segmenter.discontinuity(&mut events);
            }
            for frame in frames.drain(..) {
                self.segmenter.push(SharedFrame::frame(&frame), &mut events);
            }
            self.apply(&mut events, clock);
        }
    }

    fn apply(&self, events: &mut Vec<livetrail_segment::Event>, clock: &dyn Clock) {
        if events.is_empty() {
            return;
        }
        let now_unix_ms = i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX);
        self.live.apply(events, now_unix_ms, self.streams.len());
    }

    /// Forgets the stream if nobody has asked for it for twice the time of a lease.
    fn retire(&self, clock: &dyn Clock) -> bool {
        if self.streams.options().start == HlsStart::Publish {
            return false;
        }
        let patience = self.streams.lease(&self.live).saturating_mul(2);
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let since_ms = now_ms(clock).saturating_sub(patience_ms);
        self.streams.remove_unless_asked(&self.live, since_ms)
    }
}
