//! `Stream` of the crate `futures-core`, for code that is made of streams.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{bus::SharedFrame, session::Playback, tap::Tap};

/// The frames until the session ends.
///
/// ```
/// use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};
/// use futures_core::Stream;
///
/// async fn count(frames: impl Stream) -> usize {
///     let mut frames = std::pin::pin!(frames);
///     let mut count = 0;
///     while std::future::poll_fn(|cx| frames.as_mut().poll_next(cx)).await.is_some() {
///         count += 1;
///     }
///     count
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let mut publication = engine.publish(Attempt::new(key.clone(), "internal")).await?;
/// let playback = engine.play(Attempt::new(key, "internal")).await?;
/// publication.push(MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::KEYFRAME, "…".into()))?;
/// drop(publication);
/// assert_eq!(count(playback).await, 1);
/// # Ok(()) }
/// ```
impl Stream for Playback {
    type Item = Arc<SharedFrame>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(&mut self, cx)
    }
}

/// The frames until the stream ends.
impl Stream for Tap {
    type Item = Arc<SharedFrame>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(&mut self, cx)
    }
}
