//! Feeds a stream's playlists: reads its frames from the engine, segments them, and waits.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

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

/// What the feed goes on with.
enum Next {
    /// Frames have come.
    Frames,
    /// The publisher has left, and may come back.
    Paused,
    /// The stream has ended.
    End,
}

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
        // There is something to close when the publisher leaves.
        let mut is_open = false;
        let mut idle = interval(IDLE_INTERVAL);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                next = self.next(&mut frames, is_open) => next,
                _ = idle.tick() => {
                    if self.retire(clock) {
                        return false;
                    }
                    continue;
                }
            };
            if !matches!(next, Next::Frames) {
                self.segmenter.finish(&mut events);
                self.apply(&mut events, clock);
                is_open = false;
                if matches!(next, Next::End) {
                    return true;
                }
                continue;
            }
            is_open = true;
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

    /// Waits for frames. A publisher that leaves is noticed if something is open.
    async fn next(&mut self, frames: &mut Vec<Arc<SharedFrame>>, is_open: bool) -> Next {
        poll_fn(|cx| match self.tap.poll_batch(cx, frames, BATCH_FRAMES) {
            Poll::Ready(true) => Poll::Ready(Next::Frames),
            Poll::Ready(false) => Poll::Ready(Next::End),
            Poll::Pending if is_open && self.tap.is_paused() => Poll::Ready(Next::Paused),
            Poll::Pending => Poll::Pending,
        })
        .await
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
