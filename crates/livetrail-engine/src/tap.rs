//! Reading a stream without being a viewer.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    task::{Context, Poll, ready},
};

use crate::{
    bus::{Cursor, Found, News, SharedFrame, Stream},
    error::Ended,
    identity::StreamKey,
};

/// Reads the frames of a stream for the host itself: for a segmenter, a recorder, a sealer, or a
/// transcoder. It is not a session: nothing is authenticated or reported, and no limit counts it.
/// [`StreamInfo::taps`](crate::StreamInfo::taps) is the number of taps of a stream.
///
/// It returns decoder configurations first, then the current GOP from its keyframe, then live
/// frames, none missing and none twice. It holds no frames: it is a position in the stream's ring,
/// like a viewer. A tap that falls behind further than `subscriber_max_lag` continues at the newest
/// keyframe, with configurations, and [`skipped_frames`](Self::skipped_frames) grows. It is never
/// evicted.
///
/// It ends with the stream. A tap keeps no stream alive, but it keeps the stream's memory until it
/// is dropped. If an application lets viewers wait for a publisher, a tap waits like a viewer. The
/// frames of two publishers are never in one batch, and [`publishers`](Self::publishers) grows with
/// the first batch of another.
///
/// ```
/// use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let mut publication = engine.publish(Attempt::new(key.clone(), "internal")).await?;
/// publication.push(MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, "…".into()))?;
///
/// let mut tap = engine.tap(&key)?;
/// drop(publication);
/// let (mut frames, mut bytes, mut skipped) = (Vec::new(), 0, 0);
/// while tap.next_batch(&mut frames, 64).await {
///     if tap.skipped_frames() > skipped {
///         // Frames are missing before this batch: a segmenter marks a discontinuity.
///         skipped = tap.skipped_frames();
///     }
///     bytes += frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
/// }
/// assert_eq!(bytes, 3);
/// # Ok(()) }
/// ```
pub struct Tap {
    key: StreamKey,
    stream: Arc<Stream>,
    cursor: Cursor,
    news: News,
    one: Vec<Arc<SharedFrame>>,
    skipped_frames: u64,
    /// The publication that the last frames were of, by the number of its first frame.
    publication_seq: u64,
    publishers: u64,
}

impl Tap {
    pub(crate) fn new(key: StreamKey, stream: Arc<Stream>) -> Self {
        stream.taps.fetch_add(1, Relaxed);
        Self {
            key,
            publication_seq: stream.publication_seq.load(Acquire),
            cursor: Cursor::join(&stream),
            stream,
            news: News::default(),
            one: Vec::new(),
            skipped_frames: 0,
            publishers: 0,
        }
    }

    /// The next frame; `None` if the stream has ended. Cancel safe. Needs no runtime.
    pub async fn next(&mut self) -> Option<Arc<SharedFrame>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for code that waits for other things too.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<SharedFrame>>> {
        let mut one = std::mem::take(&mut self.one);
        let polled = self.poll_batch(cx, &mut one, 1);
        let frame = one.pop();
        self.one = one;
        Poll::Ready(if ready!(polled) { frame } else { None })
    }

    /// Waits until there are frames, then puts up to `limit` frames into `out` (cleared first).
    /// `false` if the stream has ended and everything before its end was returned. Cancel safe.
    /// Needs no runtime.
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
            self.news.listen(&self.stream);
            if !self.news.has_some_or_wakes(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Puts the frames that are available now, up to `limit`, into `out` (cleared first).
    ///
    /// # Errors
    /// [`Ended`] if the stream has ended and everything before its end was returned.
    pub fn try_batch(
        &mut self,
        out: &mut Vec<Arc<SharedFrame>>,
        limit: usize,
    ) -> Result<(), Ended> {
        loop {
            match self.cursor.collect(&self.stream, out, limit, u64::MAX) {
                Found::Frames => {
                    self.cut_at_publisher(out);
                    self.cursor.commit(&self.stream, out, out.len());
                    return Ok(());
                }
                Found::Skipped(frames) => {
                    self.skipped_frames = self.skipped_frames.saturating_add(frames);
                }
                Found::End => {
                    let reason = self.stream.close_reason();
                    return Err(Ended { reason });
                }
            }
        }
    }

    /// Shortens a batch that goes on with another publisher's frames.
    fn cut_at_publisher(&mut self, out: &mut Vec<Arc<SharedFrame>>) {
        let first_seq = self.stream.publication_seq.load(Acquire);
        if first_seq == self.publication_seq {
            return;
        }
        match out.iter().position(|frame| frame.seq() >= first_seq) {
            Some(0) => {
                self.publication_seq = first_seq;
                self.publishers = self.publishers.saturating_add(1);
            }
            Some(at) => out.truncate(at),
            None => {}
        }
    }

    /// Asks the publisher for a keyframe: see [`KeyframeRequests`](crate::KeyframeRequests).
    pub fn request_keyframe(&self) {
        self.stream.keyframes.want(self.stream.pushed_us());
    }

    /// The stream.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Frames that were skipped because this tap was too far behind, since it began. When it has
    /// grown after a batch, they are missing before that batch.
    #[must_use]
    pub fn skipped_frames(&self) -> u64 {
        self.skipped_frames
    }

    /// How many times another publisher has continued the stream, since this tap began. When it has
    /// grown after a batch, that batch is the first of the new publisher's: a segmenter marks a
    /// discontinuity. A publisher that sent nothing does not count.
    #[must_use]
    pub fn publishers(&self) -> u64 {
        self.publishers
    }

    /// Whether the stream had a publisher, has none now, and is kept for its viewers. A tap that
    /// waits is woken when that begins: it is polled again without frames.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.stream.is_paused() && !self.stream.is_closed()
    }

    /// How many frames this tap is behind the newest.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.cursor.lag(&self.stream)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.news.unlisten(&self.stream);
        self.stream.taps.fetch_sub(1, Relaxed);
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap")
            .field("key", &self.key)
            .field("lag", &self.lag())
            .field("skipped_frames", &self.skipped_frames)
            .finish_non_exhaustive()
    }
}
