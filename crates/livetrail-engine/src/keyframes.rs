//! Requests for a keyframe: from those who read a stream to its publisher.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::Poll,
};

use tokio::sync::Notify;

use crate::lifecycle::SessionCore;

/// The minimum time between two requests to a publisher.
const INTERVAL_US: u64 = 500_000;

/// The requests for a keyframe of one stream. The size does not depend on their number.
#[derive(Default)]
pub(crate) struct Keyframes {
    /// A reader wants one, none has come since, and the publisher was not asked for it yet.
    wanted: AtomicBool,
    /// The publisher was asked, and has not taken the request.
    asked: AtomicBool,
    /// When the publisher was asked last, by the engine's clock; 0 if never.
    asked_us: AtomicU64,
    notify: Notify,
}

impl Keyframes {
    /// A reader cannot continue without a keyframe.
    pub(crate) fn want(&self, now_us: u64) {
        self.wanted.store(true, Release);
        self.ask_if_due(now_us);
    }

    /// A video frame is about to be published. A keyframe is what all wanted who came before.
    pub(crate) fn frame(&self, is_start: bool, now_us: u64) {
        if !self.wanted.load(Relaxed) && !self.asked.load(Relaxed) {
            return;
        }
        if is_start {
            self.wanted.store(false, Relaxed);
            self.asked.store(false, Relaxed);
        } else {
            self.ask_if_due(now_us);
        }
    }

    fn ask_if_due(&self, now_us: u64) {
        let last = self.asked_us.load(Relaxed);
        let now_us = now_us.max(1);
        if last != 0 && now_us.saturating_sub(last) < INTERVAL_US {
            return;
        }
        // Of several threads one asks.
        let is_mine = self
            .asked_us
            .compare_exchange(last, now_us, AcqRel, Relaxed);
        if is_mine.is_ok() && self.wanted.swap(false, AcqRel) {
            self.asked.store(true, Release);
            self.notify.notify_one();
        }
    }

    fn take(&self) -> bool {
        self.asked.load(Acquire) && self.asked.swap(false, AcqRel)
    }
}

/// Requests for a keyframe, for the gateway of a publisher: see
/// [`Publication::keyframe_requests`](crate::Publication::keyframe_requests).
///
/// A gateway passes them on if its protocol can (RTCP PLI in WebRTC), and ignores them otherwise,
/// as RTMP must. All requests of viewers since the last keyframe become one request to the
/// publisher, and there are at most two requests per second for a stream. A wish that comes too
/// early for that is passed on with a later frame, unless a keyframe comes first.
///
/// ```
/// use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let mut publication = engine.publish(Attempt::new(key.clone(), "webrtc")).await?;
/// let mut requests = publication.keyframe_requests();
/// engine.request_keyframe(&key)?;
/// // A gateway waits for this next to its socket.
/// if requests.next().await {
///     let keyframe = FrameFlags::KEYFRAME;
///     publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "…".into()))?;
/// }
/// # Ok(()) }
/// ```
pub struct KeyframeRequests {
    core: Arc<SessionCore>,
}

impl KeyframeRequests {
    pub(crate) fn new(core: Arc<SessionCore>) -> Self {
        Self { core }
    }

    /// Waits for the next request. Returns `false` if the session has ended. Cancel safe. Needs no
    /// runtime.
    pub async fn next(&mut self) -> bool {
        let keyframes = &self.core.stream.keyframes;
        let mut ended = pin!(self.core.wait_for_end());
        loop {
            let mut asked = pin!(keyframes.notify.notified());
            let is_alive = std::future::poll_fn(|cx| {
                if ended.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                asked.as_mut().poll(cx).map(|()| true)
            })
            .await;
            if !is_alive {
                return false;
            }
            // The notification may be one of a request that a keyframe has met.
            if keyframes.take() {
                return true;
            }
        }
    }

    /// Takes the request that waits, if there is one. For a gateway that asks after each frame.
    pub fn try_next(&mut self) -> bool {
        self.core.ending().is_none() && self.core.stream.keyframes.take()
    }
}

impl std::fmt::Debug for KeyframeRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyframeRequests")
            .field("context", &self.core.context)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wishes_are_few_requests() {
        let keyframes = Keyframes::default();
        let mut requests = 0;
        for ms in 0..10_000 {
            keyframes.want(ms * 1_000);
            keyframes.frame(false, ms * 1_000);
            requests += u32::from(keyframes.take());
        }
        assert_eq!(requests, 20, "two a second");
    }

    #[test]
    fn a_wish_that_comes_too_early_is_passed_on_later_unless_a_keyframe_comes_first() {
        let keyframes = Keyframes::default();
        keyframes.want(1_000);
        assert!(keyframes.take() && !keyframes.take());
        keyframes.want(2_000);
        keyframes.frame(false, 3_000);
        assert!(!keyframes.take());
        keyframes.frame(false, 501_000);
        assert!(keyframes.take());
        keyframes.want(502_000);
        keyframes.frame(true, 503_000);
        keyframes.frame(false, 1_100_000);
        assert!(!keyframes.take(), "a keyframe has come");
    }
}
