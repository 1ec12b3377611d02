//! Livetrail's streaming kernel: identities, frames, sessions, the fan-out bus, admission,
//! observers.
//!
//! It knows no sockets, no protocols and no audit trail. Gateways bring frames and take them away.
//! A program that needs to know what happens installs an [`Observer`].
//!
//! ```
//! use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder().application(AppSpec::new("live")).build()?;
//! let key = StreamKey::parse("live", "cam")?;
//! let mut publication = engine.publish(Attempt::new(key.clone(), "internal")).await?;
//! let mut playback = engine.play(Attempt::new(key, "internal")).await?;
//! let keyframe = FrameFlags::KEYFRAME;
//! publication.push(MediaFrame::video(CodecId::H264, 0, 0, keyframe, "…".into()))?;
//! assert!(playback.next().await.is_some_and(|frame| frame.is_keyframe()));
//! # Ok(()) }
//! ```

mod address;
mod admission;
mod admit;
mod app;
#[cfg(feature = "stream")]
mod asynchronous;
mod attempts;
mod auth;
mod builder;
mod bus;
mod egress;
mod engine;
mod error;
mod event;
mod frame;
mod grant;
mod hops;
mod identity;
mod info;
mod janitor;
mod kept;
mod keyframes;
mod lease;
mod lifecycle;
mod limit;
pub mod log;
mod observe;
mod outbox;
mod pattern;
mod progress;
mod qos;
mod refuse;
mod registry;
mod relay;
mod requests;
mod scrub;
#[cfg(feature = "serde")]
mod serialize;
mod session;
mod shutdown;
mod sync;
mod tap;
#[cfg(feature = "telemetry")]
mod telemetry;
mod timers;
mod tokens;
mod viewing;
mod wakeup;

pub use address::{ClientAddress, PeerSource};
pub use admit::{Attempt, CertificateName, Credentials, Denied, Gate, Secret};
pub use app::{AppSettings, AppSpec, DuplicatePublisher};
pub use attempts::Rate;
pub use auth::{
    Admission, AdmissionLimits, AllowAll, Authenticator, CertificateNames, CertificatePattern,
    CertificateRule, Chain, ForApplications, Grant, IpRules, NoSuchName, StaticKey, StaticKeys,
    Verdict,
};
#[cfg(feature = "tokens")]
pub use auth::{NumericDate, SignedTokens, TokenClaims, UntrustedToken};
pub use builder::{EngineBuilder, Limits};
pub use bus::{
    AttachError, Carries, Deliver, HeldBytes, LiveBatch, LiveViewers, Placed, Shard, SharedFrame,
    Spread, ViewerId, WireFormat,
};
pub use egress::EgressCap;
pub use engine::Engine;
pub use error::{Ended, Error, Result};
pub use event::{
    Detail, OtherReason, Reason, ReasonError, Role, SessionContext, SessionTotals, StreamEvent,
    StreamEventKind,
};
pub use frame::{CodecId, FrameFlags, MediaFrame, MediaKind, TimeBase};
pub use hops::{Hops, MAX_HOPS};
pub use identity::{
    AppName, MAX_NAME_BYTES, NameError, SessionId, StreamId, StreamKey, is_visible,
};
pub use info::{
    EngineTotals, RoleCounts, SessionInfo, SessionPage, StreamInfo, StreamPage, Watched,
};
pub use keyframes::KeyframeRequests;
pub use limit::IngressLimit;
pub use livetrail_clock::{Clock, ManualClock, SystemClock};
pub use observe::Observer;
pub use pattern::AppPattern;
pub use qos::QosSnapshot;
pub use relay::{RelaySide, Relayed, relay};
pub use requests::{RequestTotals, ViewerToken};
pub use session::{EndSignal, Playback, Publication, Pushed};
pub use tap::Tap;
#[cfg(feature = "telemetry")]
pub use telemetry::Telemetry;
pub use viewing::{Hold, Viewing};
