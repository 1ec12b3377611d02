//! Copying a stream to another name, application or engine.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use crate::{
    event::Reason,
    session::{Playback, Publication},
};

/// Frames that are taken from the source at once.
const BATCH: usize = 64;

/// The session whose end was the end of a [`relay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelaySide {
    /// The playback: usually its stream has ended.
    Source,
    /// The publication.
    Target,
}

/// How a [`relay`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relayed {
    /// The frames that the target has accepted, configurations included.
    pub frames: u64,
    /// The session that ended first.
    pub side: RelaySide,
    /// Why it ended.
    pub reason: Reason,
}

/// Copies the frames of `source` into `target` until one of the two sessions ends. Payloads are
/// shared and not copied. A request for a keyframe at the target is one at the source.
///
/// Both sessions stay the caller's: it ends the other one, with a reason of its choice, or drops
/// it. If the returned future is dropped, no frame is copied twice, and up to 64 frames that were
/// taken from the source may not have reached the target. Needs no runtime.
///
/// ```
/// use livetrail_engine::{
///     AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, RelaySide, StreamKey, relay,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder()
///     .application(AppSpec::new("live"))
///     .application(AppSpec::new("mirror"))
///     .build()?;
/// let (from, to) = (StreamKey::parse("live", "cam")?, StreamKey::parse("mirror", "cam")?);
/// let mut publication = engine.publish(Attempt::new(from.clone(), "internal")).await?;
/// let keyframe = FrameFlags::KEYFRAME;
/// publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "…".into()))?;
///
/// let mut source = engine.play(Attempt::new(from, "relay")).await?;
/// let mut target = engine.publish(Attempt::new(to, "relay")).await?;
/// drop(publication);
/// let relayed = relay(&mut source, &mut target).await;
/// assert_eq!((relayed.frames, relayed.side), (1, RelaySide::Source));
/// # Ok(()) }
/// ```
pub async fn relay(source: &mut Playback, target: &mut Publication) -> Relayed {
    let signal = target.end_signal();
    let mut ended = pin!(signal.wait());
    let mut requests = target.keyframe_requests();
    let (mut batch, mut frames) = (Vec::new(), 0);
    let over = |frames, side, reason: Option<Reason>| Relayed {
        frames,
        side,
        reason: reason.unwrap_or(Reason::InternalError),
    };
    loop {
        enum Next {
            Frames(bool),
            Request,
            Ended(Reason),
        }
        let next = {
            let mut asked = pin!(requests.next());
            let mut live = true;
            poll_fn(|cx| {
                if let Poll::Ready(reason) = ended.as_mut().poll(cx) {
                    return Poll::Ready(Next::Ended(reason));
                }
                if live && let Poll::Ready(is_request) = asked.as_mut().poll(cx) {
                    if is_request {
                        return Poll::Ready(Next::Request);
                    }
                    live = false;
                }
                source.poll_batch(cx, &mut batch, BATCH).map(Next::Frames)
            })
            .await
        };
        match next {
            Next::Ended(reason) => return over(frames, RelaySide::Target, Some(reason)),
            Next::Request => source.request_keyframe(),
            Next::Frames(false) => {
                return over(frames, RelaySide::Source, source.end_reason());
            }
            Next::Frames(true) => {
                for frame in batch.drain(..) {
                    match target.push(frame.frame().clone()) {
                        Ok(crate::Pushed::Accepted) => frames += 1,
                        Ok(crate::Pushed::Dropped) => {}
                        Err(ended) => return over(frames, RelaySide::Target, Some(ended.reason)),
                    }
                }
            }
        }
    }
}
