//! A gateway's protocol, as the egress needs it.

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use livetrail_engine::SharedFrame;

/// A protocol's bytes for a frame. They are made once ([`SharedFrame::wire`]) and shared by all
/// viewers.
///
/// ```
/// use std::sync::Arc;
/// use livetrail_egress::{Egress, EgressConfig, Format};
/// use livetrail_engine::{
///     AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, SharedFrame, StreamKey,
/// };
/// use tokio::{
///     io::AsyncReadExt as _,
///     net::{TcpListener, TcpStream},
/// };
///
/// /// Payloads, one after the other.
/// struct Payloads;
///
/// impl Format for Payloads {
///     type Variant = ();
///
///     fn parts(frame: &SharedFrame, (): ()) -> impl Iterator<Item = &[u8]> {
///         std::iter::once(&frame.payload[..]).filter(|part| !part.is_empty())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let mut publication = engine.publish(Attempt::new(key.clone(), "example")).await?;
/// let keyframe = FrameFlags::KEYFRAME;
/// publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "media".into()))?;
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let (socket, _) = listener.accept().await?;
/// let playback = engine.play(Attempt::new(key, "example")).await?;
/// let egress = Egress::<Payloads>::start("example", EgressConfig::default())?;
/// let viewer = egress.attach(playback, Arc::new(socket), "first ".into(), ()).await;
/// assert!(viewer.is_some());
/// let mut received = [0; 11];
/// client.read_exact(&mut received).await?;
/// assert_eq!(&received, b"first media");
/// # Ok(()) }
/// ```
pub trait Format: Send + Sync + 'static {
    /// The difference between viewers; viewers of the same variant get the same bytes.
    type Variant: Copy + Eq + Debug + Send + 'static;

    /// The frame's bytes in order, without empty slices; nothing for a frame that such viewers do
    /// not get.
    fn parts(frame: &SharedFrame, variant: Self::Variant) -> impl Iterator<Item = &[u8]>;

    /// The bytes before a viewer's first frames, which are known by then.
    fn preface(_first: &[Arc<SharedFrame>], _variant: Self::Variant) -> Bytes {
        Bytes::new()
    }

    /// The total number of a frame's bytes.
    fn len(frame: &SharedFrame, variant: Self::Variant) -> usize {
        Self::parts(frame, variant).fold(0, |sum, part| sum.saturating_add(part.len()))
    }
}
