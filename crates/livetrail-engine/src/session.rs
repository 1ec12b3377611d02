//! Sessions as values: a [`Publication`] or a [`Playback`] is the right to publish or to watch, and
//! ends exactly once.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    bus::{Cursor, Found, HeldBytes, Listener, News, SharedFrame, Stream, Writer},
    egress::EgressCap,
    error::Ended,
    event::{Reason, SessionContext, StreamEventKind},
    frame::{MediaFrame, MediaKind},
    identity::{SessionId, StreamKey},
    keyframes::KeyframeRequests,
    lifecycle::SessionCore,
    limit::{Limiter, Ruling},
    progress::Pace,
    viewing::{Handle, Viewing},
};

/// The minimum time between two events of one session that count repetitions.
const REPORT_INTERVAL_MS: u64 = 1_000;

/// The window of a viewer's lag budget.
const LAG_WINDOW_MS: u64 = 60_000;

/// Signals the end of a session to code that does not hold it.
#[derive(Clone)]
pub struct EndSignal {
    core: Arc<SessionCore>,
}

impl EndSignal {
    pub(crate) fn new(core: Arc<SessionCore>) -> Self {
        Self { core }
    }

    /// Waits for the session's end, for any reason; at once if it has ended. By then, the stream of
    /// a publisher can be published again. Cancel safe. Needs no runtime.
    pub async fn wait(&self) -> Reason {
        self.core.wait_for_end().await
    }

    /// The reason why it ended, or `None` while it runs.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.core.end_reason()
    }

    /// Whose session it is, and from where.
    #[must_use]
    pub fn context(&self) -> &Arc<SessionContext> {
        &self.core.context
    }
}

/// What happened to a pushed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// It will be sent to the viewers.
    Accepted,
    /// It exceeded the ingress limit, or depends on a frame that did; it is counted and dropped. Or
    /// the session is just ending: the next call returns the reason.
    Dropped,
}

/// The right to publish one stream. Dropping it ends the session (`client_closed`; `internal_error`
/// in a panic).
pub struct Publication {
    handle: Handle,
    /// `None` once the handle is being dropped.
    writer: Option<Writer>,
    limiter: Option<Limiter>,
    /// A video frame was dropped: frames that depend on it are dropped too.
    broken_gop: bool,
    limited: Repeated,
    truncated: Repeated,
}

/// Counts what may happen often, for a report at most once per second.
#[derive(Default)]
struct Repeated {
    count: u64,
    reported_ms: Option<u64>,
}

impl Repeated {
    /// Adds. Returns the sum since the last report if the next report is due.
    fn add(&mut self, n: u64, now_ms: u64) -> Option<u64> {
        self.count += n;
        let due = self
            .reported_ms
            .is_none_or(|last| now_ms.saturating_sub(last) >= REPORT_INTERVAL_MS);
        due.then(|| {
            self.reported_ms = Some(now_ms);
            std::mem::take(&mut self.count)
        })
    }
}

impl Publication {
    pub(crate) fn new(core: Arc<SessionCore>, mut writer: Writer) -> Self {
        let granted = core.grant.limits.ingress.as_ref();
        let limit = granted.unwrap_or(&core.stream.settings.ingress);
        let limiter = Limiter::new(limit, core.started);
        writer.begin(core.engine.clock.monotonic());
        Self {
            handle: Handle { core },
            writer: Some(writer),
            limiter,
            broken_gop: false,
            limited: Repeated::default(),
            truncated: Repeated::default(),
        }
    }

    /// Sends a frame to all viewers. Never waits, whatever they do.
    ///
    /// # Errors
    /// [`Ended`] if the session has ended: kicked, replaced, reaped, over its limit for too long,
    /// or the server stops.
    pub fn push(&mut self, frame: MediaFrame) -> Result<Pushed, Ended> {
        if self.handle.core.ending().is_some() {
            return self.ended();
        }
        let now = self.handle.core.engine.clock.monotonic();
        let now_ms = now.as_millis() as u64;
        if !self.within_limit(&frame, now, now_ms) {
            return self.ended();
        }
        let bytes = frame.payload.len() as u64;
        self.handle
            .core
            .engine
            .observers
            .frame(&self.handle.core.context.key, &frame);
        let truncated = self.writer.as_mut().and_then(|w| w.push(frame, now));
        self.handle.core.progress.count(1, bytes);
        if let Some(t) = truncated
            && let Some(count) = self.truncated.add(1, now_ms)
        {
            self.handle.core.report(StreamEventKind::GopTruncated {
                frames: t.frames,
                bytes: t.bytes,
                count,
            });
        }
        Ok(Pushed::Accepted)
    }

    /// The result for a frame that is not sent.
    fn ended(&self) -> Result<Pushed, Ended> {
        match self.handle.core.end_reason() {
            Some(reason) => Err(Ended { reason }),
            None => Ok(Pushed::Dropped),
        }
    }

    /// Requests for a keyframe, which a gateway passes on to the publisher. The engine makes one if
    /// a viewer can start only with the next keyframe; [`Playback::request_keyframe`] and
    /// [`Engine::request_keyframe`](crate::Engine::request_keyframe) do so too.
    #[must_use]
    pub fn keyframe_requests(&self) -> KeyframeRequests {
        KeyframeRequests::new(self.handle.core.clone())
    }

    fn within_limit(&mut self, frame: &MediaFrame, now: Duration, now_ms: u64) -> bool {
        let Some(limiter) = &mut self.limiter else {
            return true;
        };
        match limiter.frame(frame.payload.len(), now) {
            Ruling::Pass => {
                let video = frame.kind == MediaKind::Video && !frame.is_config();
                self.broken_gop &= !(video && frame.is_keyframe());
                if !(video && self.broken_gop) {
                    return true;
                }
                self.handle.core.dropped_frames.fetch_add(1, Relaxed);
                return false;
            }
            Ruling::Drop => {}
            Ruling::End => {
                self.handle.core.end(Reason::RateLimited);
                return false;
            }
        }
        self.broken_gop |= frame.kind == MediaKind::Video;
        self.handle.core.dropped_frames.fetch_add(1, Relaxed);
        if let Some(count) = self.limited.add(1, now_ms) {
            self.handle
                .core
                .report(StreamEventKind::RateLimited { count });
        }
        false
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.handle.session()
    }

    /// The stream.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        self.handle.key()
    }

    /// Ends the session with a reason. Nothing happens if it has ended. A reason that only the
    /// engine can know (`idle`, `evicted`, `replaced`, `stream_ended`, `server_crash`) is recorded
    /// as `internal_error`.
    pub fn end(self, reason: Reason) {
        self.handle.end_with(reason, "");
    }

    /// As [`end`](Self::end), with a text that explains the reason. As much of the text as
    /// [`Detail`](crate::Detail) keeps is recorded.
    pub fn end_with(self, reason: Reason, detail: &str) {
        self.handle.end_with(reason, detail);
    }

    /// The reason why it ended, or `None` while it runs.
    #[must_use]
    pub fn end_reason(&self) -> Option<Reason> {
        self.handle.end_reason()
    }

    /// A signal of its end, for other code.
    #[must_use]
    pub fn end_signal(&self) -> EndSignal {
        self.handle.end_signal()
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        // The next publisher takes the writer, so this session must have ended before.
        self.handle.finish();
        if let Some(writer) = self.writer.take() {
            self.handle.core.engine.park(&self.handle.core, writer);
        }
    }
}

/// The right to watch one stream. Dropping it ends the session (`client_closed`; `internal_error`
/// in a panic).
///
/// Returns decoder configurations first, then the current GOP from its keyframe, then live frames,
/// none missing and none twice. A viewer that falls behind is moved to the newest keyframe, with
/// configurations. A viewer that falls behind too often, or takes nothing for too long, is evicted.
///
/// Each frame wakes each waiting `Playback`. Code that serves many viewers uses a
/// [`Shard`](crate::Shard).
pub struct Playback {
    viewing: Viewing,
    cursor: Cursor,
    news: News,
    one: Vec<Arc<SharedFrame>>,
    lagged: Repeated,
    strikes: u32,
    strikes_since_ms: u64,
}

impl Playback {
    pub(crate) fn new(core: Arc<SessionCore>) -> Self {
        let cursor = Cursor::join(&core.stream);
        core.progress.move_to(cursor.position());
        Self {
            viewing: Viewing::new(core),
            cursor,
            news: News::default(),
            one: Vec::new(),
            lagged: Repeated::default(),
            strikes: 0,
            strikes_since_ms: 0,
        }
    }

    /// Starts again at the current GOP: time has passed since the admission.
    pub(crate) fn rejoin(&mut self) {
        self.cursor = Cursor::join(&self.core().stream);
        self.core().progress.move_to(self.cursor.position());
    }

    /// The next frame, or `None` if the session has ended ([`end_reason`](Self::end_reason) returns
    /// the reason). Cancel safe. Needs no runtime.
    pub async fn next(&mut self) -> Option<Arc<SharedFrame>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for code that waits for other things too.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<SharedFrame>>> {
        let mut one = std::mem::take(&mut self.one);
        let some = ready!(self.poll_batch(cx, &mut one, 1));
        let frame = if some { one.pop() } else { None };
        self.one = one;
        Poll::Ready(frame)
    }

    /// Waits until there are frames, then puts up to `limit` of them into `out` (cleared first).
    /// `false` if the session has ended. Cancel safe. Needs no runtime.
    pub async fn next_batch(&mut self, out: &mut Vec<Arc<SharedFrame>>, limit: usize) -> bool {
        poll_fn(|cx| self.poll_batch(cx, out, limit)).await
    }

    /// [`next_batch`](Self::next_batch) for code that waits for other things too.
    pub fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Arc<SharedFrame>>,
        limit: usize,
    ) -> Poll<bool> {
        loop {
            match self.try_batch(out, limit) {
                Err(_) => return Poll::Ready(false),
                Ok(()) if !out.is_empty() => return Poll::Ready(true),
                Ok(()) => {}
            }
            self.listen();
            if !self.news.has_some_or_wakes(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// An account of the memory budget for bytes that its owner holds for this viewer, such as
    /// encrypted ones that its socket has not taken.
    #[must_use]
    pub fn held_bytes(&self) -> HeldBytes {
        self.core().stream.held_bytes()
    }

    /// Notes that its owner takes nothing for a while: it is not evicted for that. The owner bounds
    /// the time.
    pub fn pause(&self) {
        self.core().paused.store(true, Relaxed);
    }

    /// Continues after [`pause`](Self::pause) with configurations and the current GOP, like a
    /// viewer that joins. The frames of the pause are skipped, and do not count as lag.
    pub fn resume(&mut self) {
        self.rejoin();
        self.core().paused.store(false, Relaxed);
    }

    /// Asks the publisher for a keyframe, for a viewer that cannot decode. It may ask any number of
    /// times: the publisher gets few of the requests, see [`KeyframeRequests`].
    pub fn request_keyframe(&self) {
        let now = self.core().engine.clock.monotonic();
        self.core().stream.keyframes.want(now.as_micros() as u64);
    }

    /// Puts the frames that are available now, up to `limit`, into `out` (cleared first).
    ///
    /// # Errors
    /// [`Ended`] if the session has ended and everything before its end was returned.
    pub fn try_batch(
        &mut self,
        out: &mut Vec<Arc<SharedFrame>>,
        limit: usize,
    ) -> Result<(), Ended> {
        self.collect(out, limit, u64::MAX)
            .map_err(|reason| Ended { reason })?;
        self.commit(out, out.len());
        Ok(())
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.viewing.session()
    }

    /// The stream.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        self.viewing.key()
    }

    /// How many frames this viewer is behind the newest.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.cursor.lag(&self.core().stream)
    }

    /// Ends the session with a reason. Nothing happens if it has ended. A reason that only the
    /// engine can know (`evicted`, `replaced`, `stream_ended`, `server_crash`) is recorded as
    /// `internal_error`.
    pub fn end(self, reason: Reason) {
        self.viewing.handle.end_with(reason, "");
    }

    /// As [`end`](Self::end), with a text that explains the reason. As much of the text as
    /// [`Detail`](crate::Detail) keeps is recorded.
    pub fn end_with(self, reason: Reason, detail: &str) {
        self.viewing.handle.end_with(reason, detail);
    }

    /// The reason why it ended, or `None` while it runs.
    #[must_use]
    pub fn end_reason(&self) -> Option<Reason> {
        self.viewing.end_reason()
    }

    /// A signal of its end, for other code.
    #[must_use]
    pub fn end_signal(&self) -> EndSignal {
        self.viewing.end_signal()
    }

    fn core(&self) -> &Arc<SessionCore> {
        &self.viewing.handle.core
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.core().stream
    }

    /// Puts up to `limit` frames, all below number `until`, into `out` without moving past them.
    pub(crate) fn collect(
        &mut self,
        out: &mut Vec<Arc<SharedFrame>>,
        limit: usize,
        until: u64,
    ) -> Result<(), Reason> {
        loop {
            if let Some(reason) = self.core().ending() {
                out.clear();
                return Err(reason);
            }
            let stream = &self.viewing.handle.core.stream;
            match self.cursor.collect(stream, out, limit, until) {
                Found::Frames => {
                    self.core().progress.move_to(self.cursor.position());
                    return Ok(());
                }
                Found::Skipped(frames) => self.note_lag(frames),
                Found::End => self.core().end(self.core().stream.close_reason()),
            }
        }
    }

    /// Moves past the first `taken` frames of [`collect`](Self::collect).
    pub(crate) fn commit(&mut self, frames: &[Arc<SharedFrame>], taken: usize) {
        let stream = &self.viewing.handle.core.stream;
        self.cursor.commit(stream, frames, taken);
        self.count(frames.iter().take(taken));
    }

    /// How much this viewer may be sent, if that is limited. The sender keeps the cap.
    #[must_use]
    pub fn egress_cap(&self) -> Option<&EgressCap> {
        self.core().grant.cap.as_ref()
    }

    pub(crate) fn is_live_at(&self, seq: u64, has_video: bool) -> bool {
        self.cursor.is_live_at(seq, has_video)
    }

    /// Joins the viewers that are up to date: from now on it takes what they take.
    pub(crate) fn join(&self, pace: &Arc<Pace>) {
        self.core().progress.join(pace);
    }

    /// Leaves the viewers that are up to date; it has taken all frames below `seq`.
    pub(crate) fn leave(&mut self, seq: u64) {
        self.core().progress.leave();
        self.cursor.move_live(seq);
    }

    /// Moves past the frames that it has taken of a batch for all viewers that are up to date.
    pub(crate) fn commit_live(&mut self, taken: &[Arc<SharedFrame>]) {
        self.cursor
            .move_live(self.cursor.position() + taken.len() as u64);
        self.count(taken.iter());
    }

    /// Ends the session, because its stream has ended and all frames were delivered.
    pub(crate) fn end_with_stream(&self) -> Reason {
        self.stand();
        let reason = self.core().stream.close_reason();
        self.core().end(reason.clone());
        self.core().ending().unwrap_or(reason)
    }

    /// From now on a shard serves this viewer, and is notified when its session ends.
    pub(crate) fn sit(&mut self, seat: Listener) {
        self.news.unlisten(&self.viewing.handle.core.stream);
        *self.core().listener() = Some(seat);
    }

    /// No shard serves it any longer.
    pub(crate) fn stand(&self) {
        *self.core().listener() = None;
    }

    fn listen(&mut self) {
        let core = &self.viewing.handle.core;
        if let Some(listener) = self.news.listen(&core.stream) {
            *core.listener() = Some(listener.clone());
            // Its session may have ended between the last check and now.
            listener.notify();
        }
    }

    fn count<'a>(&self, frames: impl Iterator<Item = &'a Arc<SharedFrame>>) {
        let (mut n, mut bytes) = (0, 0);
        for frame in frames {
            n += 1;
            bytes += frame.payload.len() as u64;
        }
        self.core().progress.count(n, bytes);
        self.core().progress.move_to(self.cursor.position());
    }

    /// The stream's own time is exact enough here, and reads no clock.
    fn note_lag(&mut self, frames: u64) {
        let now_ms = self.core().stream.qos.last_frame_ms();
        self.core().dropped_frames.fetch_add(frames, Relaxed);
        if let Some(skipped) = self.lagged.add(frames, now_ms) {
            self.core()
                .report(StreamEventKind::SubscriberLagged { skipped });
        }
        let cap = self.egress_cap();
        if cap.is_some_and(EgressCap::was_exceeded) {
            // It is not slow: it may not have more.
            return;
        }
        if now_ms.saturating_sub(self.strikes_since_ms) > LAG_WINDOW_MS {
            (self.strikes, self.strikes_since_ms) = (0, now_ms);
        }
        self.strikes += 1;
        if self.strikes > self.core().stream.settings.subscriber_lag_budget {
            self.core().end_with(
                Some(StreamEventKind::SubscriberEvicted { lag: frames }),
                Reason::Evicted,
                None,
            );
        }
    }
}

impl Drop for Playback {
    fn drop(&mut self) {
        self.news.unlisten(&self.viewing.handle.core.stream);
    }
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication")
            .field("context", &self.handle)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Playback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playback")
            .field("context", &self.core().context)
            .finish_non_exhaustive()
    }
}
