//! Several nodes: streams that are pulled from other servers on demand, and pushed to them, over
//! RTMP and RTMPS.
//!
//! [`Pulls`] is a gate of a [`livetrail_engine::Engine`]: the first viewer of a stream that nobody
//! publishes opens a pull, and the last one, plus a grace period, closes it. [`Pushes`] is an
//! observer: it sends what is published here to targets. Both know the engine and RTMP's client.
//! They know neither a trail nor the gateways of viewers.
//!
//! What bounds them is in [`PullOptions`], [`PullRule`] and [`PushRule`].
//!
//! ```
//! use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};
//! use livetrail_relay::{Node, PullOptions, PullRule, Pulls, Streams};
//! use livetrail_rtmp::{RtmpConfig, RtmpServer};
//! use std::time::Duration;
//! use tokio::runtime::Handle;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The origin.
//! let origin = Engine::builder().node("origin").application(AppSpec::new("live")).build()?;
//! let server = RtmpServer::bind("127.0.0.1:0", origin.clone(), RtmpConfig::default()).await?;
//! let address = format!("rtmp://{}", server.local_addr());
//! tokio::spawn(server.run(std::future::pending()));
//! let key = StreamKey::parse("live", "cam")?;
//! let mut publication = origin.publish(Attempt::new(key.clone(), "internal")).await?;
//! let keyframe = FrameFlags::KEYFRAME;
//! publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "…".into()))?;
//!
//! // The edge.
//! let pulls = Pulls::new(PullOptions::default(), Handle::current());
//! let streams = Streams::new("live".parse()?, "*");
//! let rule = PullRule::new(streams, vec![Node::new("origin", &address)?]);
//! pulls.exchange(PullOptions::default(), [rule]);
//! let live = AppSpec::new("live").wait_for_publisher(Duration::from_secs(10));
//! let edge = Engine::builder().node("edge").application(live).gate(pulls.clone()).build()?;
//! pulls.start(edge.clone());
//! let mut viewer = edge.play(Attempt::new(key, "internal")).await?;
//! assert!(viewer.next().await.is_some_and(|frame| frame.is_keyframe()));
//! pulls.stop();
//! # Ok(()) }
//! ```

mod backoff;
mod counts;
mod link;
mod list;
mod order;
mod pull;
mod pulls;
mod push;
mod pushes;
mod rules;
mod strangers;

pub use counts::{PullCounts, PushCounts};
pub use link::{LinkInfo, LinkState};
pub use list::{Page, PullInfo, PushInfo};
pub use pull::PROTOCOL;
pub use pulls::{PullOptions, Pulls};
pub use pushes::Pushes;
/// The reasons of refusals that this crate and the engine give for relayed streams. They are not in
/// [`Reason::labels`](livetrail_engine::Reason::labels).
pub const REASONS: [&str; 2] = ["origin_unavailable", "relay_loop"];

pub use rules::{Node, NodeError, PullRule, PushRule, Streams};

#[cfg(test)]
mod tests;
