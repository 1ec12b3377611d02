//! The engine's information about itself: streams, sessions, totals.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    bus::Stream,
    engine::{Inner, RoleTotals},
    event::{Role, SessionContext, SessionTotals},
    frame::MediaFrame,
    lifecycle::SessionCore,
    qos::QosSnapshot,
};

/// A live stream at one moment.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StreamInfo {
    /// The publisher's context; its key is the stream's.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::context"))]
    pub publisher: Arc<SessionContext>,
    /// When it started, in milliseconds since 1970 (UTC).
    pub started_unix_ms: u64,
    /// How long it has been live.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "uptime_ms", serialize_with = "crate::serialize::millis")
    )]
    pub uptime: Duration,
    /// Current viewers.
    pub subscribers: u64,
    /// Current readers that are not sessions: see [`Tap`](crate::Tap).
    pub taps: u64,
    /// Rates and totals.
    pub qos: QosSnapshot,
    /// Decoder configurations and metadata, one for each track.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "codecs", serialize_with = "crate::serialize::codecs")
    )]
    pub configs: Vec<MediaFrame>,
}

impl StreamInfo {
    pub(crate) fn of(core: &SessionCore, now_ms: u64) -> Self {
        Self {
            publisher: core.context.clone(),
            started_unix_ms: core.started_unix_ms,
            uptime: core.totals().duration,
            subscribers: core.stream.subscribers.load(Relaxed),
            taps: core.stream.taps.load(Relaxed),
            qos: core.stream.qos.snapshot(now_ms),
            configs: core.stream.configs(),
        }
    }
}

/// A stream at one moment, as those see it who feed it or pass it on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Watched {
    /// The publisher; `None` while viewers wait for one.
    pub publisher: Option<Arc<SessionContext>>,
    /// Current viewers.
    pub viewers: u64,
    /// How many publications of this stream have begun. It changes when the next one begins, and
    /// its sender is gone when the stream has ended and nobody reads it any more.
    pub publications: watch::Receiver<u64>,
}

impl Watched {
    pub(crate) fn of(stream: &Stream, publisher: Option<Arc<SessionContext>>) -> Self {
        Self {
            publisher,
            viewers: stream.subscribers.load(Relaxed),
            publications: stream.publications.subscribe(),
        }
    }
}

/// A live session at one moment.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's identity.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::context"))]
    pub context: Arc<SessionContext>,
    /// When it started, in milliseconds since 1970 (UTC).
    pub started_unix_ms: u64,
    /// When it ends because its grant expires, in milliseconds since 1970 (UTC); `None` if it does
    /// not.
    pub expires_unix_ms: Option<u64>,
    /// Its totals so far.
    pub totals: SessionTotals,
    /// How many frames a viewer that takes frames is behind the newest.
    pub lag: u64,
}

impl SessionInfo {
    pub(crate) fn of(core: &SessionCore) -> Self {
        let lag = match core.context.role {
            Role::Publish => 0,
            Role::Play if core.lease.is_some() => 0,
            Role::Play => core
                .stream
                .head()
                .saturating_sub(core.progress.carried().position),
        };
        Self {
            context: core.context.clone(),
            started_unix_ms: core.started_unix_ms,
            expires_unix_ms: core.expires_unix_ms(),
            totals: core.totals(),
            lag,
        }
    }
}

/// A page of live sessions: see [`Engine::sessions_after`](crate::Engine::sessions_after).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions, in the order in which they started.
    pub sessions: Vec<SessionInfo>,
    /// Where the next page begins. `None` if this is the last one.
    pub next: Option<u64>,
}

/// A page of live streams: see [`Engine::streams_after`](crate::Engine::streams_after).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StreamPage {
    /// The streams, sorted by key, each with its publisher's session.
    pub streams: Vec<(StreamInfo, SessionInfo)>,
    /// Whether there are more after the last of these.
    pub has_more: bool,
}

/// Counts of one role's sessions since the engine was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RoleCounts {
    /// Current sessions.
    pub live: u64,
    /// Sessions admitted.
    pub started: u64,
    /// Attempts refused.
    pub denied: u64,
    /// Payload bytes carried.
    pub bytes: u64,
    /// Frames carried.
    pub frames: u64,
    /// Frames not carried: over a limit, or skipped for lag.
    pub dropped_frames: u64,
}

/// Counts since the engine was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EngineTotals {
    /// Publishers.
    pub publish: RoleCounts,
    /// Viewers.
    pub play: RoleCounts,
    /// Lag events of viewers.
    pub lag_skips: u64,
    /// Viewers evicted.
    pub evictions: u64,
    /// Streams reaped.
    pub reaped: u64,
    /// Rate-limit events of publishers.
    pub rate_limited: u64,
    /// Panics of observers that were caught.
    pub observer_panics: u64,
    /// Bytes that streams keep for their viewers now: payloads, and about 512 bytes per frame. Each
    /// stream is at most 64 KiB ahead of this count.
    pub buffered_bytes: u64,
}

impl EngineTotals {
    pub(crate) fn of(engine: &Inner) -> Self {
        // Live sessions are counted first. A session that ends meanwhile is then counted twice for
        // a moment rather than missed, and the sums of ended sessions never decrease.
        let cores: Vec<_> = engine.registry().sessions.values().cloned().collect();
        let mut totals = Self {
            publish: RoleCounts::of(&engine.totals.publish),
            play: RoleCounts::of(&engine.totals.play),
            lag_skips: engine.totals.lag_skips.load(Relaxed),
            evictions: engine.totals.evictions.load(Relaxed),
            reaped: engine.totals.reaped.load(Relaxed),
            rate_limited: engine.totals.rate_limited.load(Relaxed),
            observer_panics: engine.observers.panics(),
            buffered_bytes: engine.memory.used_bytes(),
        };
        for core in cores.iter().filter(|core| core.ending().is_none()) {
            let counts = match core.context.role {
                Role::Publish => &mut totals.publish,
                Role::Play => &mut totals.play,
            };
            counts.live += 1;
            let carried = core.progress.carried();
            counts.bytes += carried.bytes;
            counts.frames += carried.frames;
            counts.dropped_frames += core.dropped_frames.load(Relaxed);
        }
        totals
    }
}

impl RoleCounts {
    fn of(totals: &RoleTotals) -> Self {
        Self {
            live: 0,
            started: totals.started.load(Relaxed),
            denied: totals.denied.load(Relaxed),
            bytes: totals.bytes.load(Relaxed),
            frames: totals.frames.load(Relaxed),
            dropped_frames: totals.dropped_frames.load(Relaxed),
        }
    }
}
