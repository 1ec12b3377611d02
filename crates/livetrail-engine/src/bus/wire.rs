//! A frame on the bus, with its bytes in each protocol: made once, shared by all viewers.

use std::{
    any::{Any, TypeId},
    fmt,
    ops::Deref,
    sync::{OnceLock, Weak},
};

use super::stream::{Carries, Stream};
use crate::frame::MediaFrame;

/// A protocol's serialisation of a frame. The result must be the same for all viewers of that
/// protocol.
///
/// ```
/// use bytes::Bytes;
/// use livetrail_engine::{
///     AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey, WireFormat,
/// };
///
/// /// The payload's length in four bytes, and the payload.
/// struct Framed;
///
/// impl WireFormat for Framed {
///     type Wire = [Bytes; 2];
///
///     fn make(frame: &MediaFrame) -> [Bytes; 2] {
///         let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
///         [length.to_be_bytes().to_vec().into(), frame.payload.clone()]
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let mut publication = engine.publish(Attempt::new(key.clone(), "example")).await?;
/// let mut playback = engine.play(Attempt::new(key, "example")).await?;
/// let keyframe = FrameFlags::KEYFRAME;
/// publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "media".into()))?;
/// let frame = playback.next().await.ok_or("the stream has ended")?;
/// let [header, payload] = frame.wire::<Framed>();
/// assert_eq!((&header[..], &payload[..]), (&[0, 0, 0, 5][..], &b"media"[..]));
/// # Ok(()) }
/// ```
pub trait WireFormat: 'static {
    /// The bytes, usually a short list of `Bytes`: the protocol's header and the frame's payload,
    /// not copied.
    type Wire: Send + Sync + 'static;

    /// Serialises the frame. Called at most once per frame, on the thread of the first viewer that
    /// needs it.
    fn make(frame: &MediaFrame) -> Self::Wire;
}

/// A frame on the bus: the frame, its sequence number within the stream, and its wire forms.
pub struct SharedFrame {
    seq: u64,
    frame: MediaFrame,
    wire: OnceLock<Box<WireNode>>,
    /// Set for a replayed configuration.
    stream: Weak<Stream>,
}

/// One wire form. A frame has as many as there are protocols in use, so a list is the fastest map.
struct WireNode {
    format: TypeId,
    wire: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Self>>,
}

impl SharedFrame {
    pub(crate) fn new(seq: u64, frame: MediaFrame) -> Self {
        Self {
            seq,
            frame,
            wire: OnceLock::new(),
            stream: Weak::new(),
        }
    }

    /// A configuration as late joiners get it.
    pub(super) fn replayed(seq: u64, config: MediaFrame, stream: Weak<Stream>) -> Self {
        Self {
            stream,
            ..Self::new(seq, config)
        }
    }

    /// For a configuration that a late joiner gets first: the media that its stream carries now.
    /// `None` if the stream is too young, and for any other frame.
    #[must_use]
    pub fn stream_carries(&self) -> Option<Carries> {
        self.stream.upgrade()?.carries()
    }

    /// The frame's number within its stream, from 0. A replayed configuration has the number of the
    /// frame after it.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The frame itself.
    #[must_use]
    pub fn frame(&self) -> &MediaFrame {
        &self.frame
    }

    /// The frame in the form of protocol `F`, made on the first call and shared from then on.
    pub fn wire<F: WireFormat>(&self) -> &F::Wire {
        let mut link = &self.wire;
        loop {
            let node = link.get_or_init(|| {
                Box::new(WireNode {
                    format: TypeId::of::<F>(),
                    wire: Box::new(F::make(&self.frame)),
                    next: OnceLock::new(),
                })
            });
            if node.format == TypeId::of::<F>()
                && let Some(wire) = node.wire.downcast_ref()
            {
                return wire;
            }
            link = &node.next;
        }
    }
}

impl Deref for SharedFrame {
    type Target = MediaFrame;
    fn deref(&self) -> &MediaFrame {
        &self.frame
    }
}

impl fmt::Debug for SharedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFrame")
            .field("seq", &self.seq)
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::frame::{CodecId, FrameFlags};

    static MADE: AtomicUsize = AtomicUsize::new(0);

    struct Length;
    impl WireFormat for Length {
        type Wire = usize;
        fn make(frame: &MediaFrame) -> usize {
            MADE.fetch_add(1, Ordering::SeqCst);
            frame.payload.len()
        }
    }

    struct Name;
    impl WireFormat for Name {
        type Wire = &'static str;
        fn make(frame: &MediaFrame) -> &'static str {
            frame.codec.label()
        }
    }

    #[test]
    fn each_wire_form_is_made_once_for_all_viewers() {
        let frame = MediaFrame::audio(
            CodecId::Aac,
            0,
            FrameFlags::NONE,
            Bytes::from_static(b"abc"),
        );
        let shared = SharedFrame::new(7, frame);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert_eq!(*shared.wire::<Name>(), "aac");
                    assert_eq!(*shared.wire::<Length>(), 3);
                });
            }
        });
        assert_eq!(MADE.load(Ordering::SeqCst), 1);
    }
}
