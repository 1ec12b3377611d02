//! Streams and sessions as the API shows them.

use livetrail_engine::{PeerSource, SessionInfo, StreamInfo};
use livetrail_media::config::TrackInfo;
use serde::Serialize;
use utoipa::ToSchema;

/// A live stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamView {
    app: String,
    stream: String,
    /// Who publishes it.
    publisher: SessionView,
    /// Viewers at present.
    viewers: u64,
    /// What its tracks carry, as their configurations say, such as `h264 1280x720`.
    #[schema(example = json!(["h264 1280x720", "aac 48000 Hz stereo"]))]
    tracks: Vec<String>,
    /// Bits a second over the last second.
    video_bitrate_bps: u64,
    /// Bits a second over the last second.
    audio_bitrate_bps: u64,
    /// Video frames a second over the last second.
    fps: f64,
    /// Frames taken in, of all kinds.
    frames: u64,
    video_frames: u64,
    audio_frames: u64,
    keyframes: u64,
    /// Since the last frame.
    idle_ms: u64,
}

/// A text about a person: absent if it is not known, and `null` if the caller may not see it.
type Personal = Option<Option<String>>;

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// A UUIDv7; `DELETE /api/v1/sessions/{id}` ends it.
    session: String,
    /// `publish` or `play`.
    role: &'static str,
    app: String,
    stream: String,
    /// `rtmp` or `http-flv`.
    protocol: &'static str,
    /// Who, as authenticated: a configured name, or what the token says. `null` for a viewer of the
    /// API, as are `peer` and `user_agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    principal: Personal,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    peer: Personal,
    /// The proxy through which it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10.0.0.1")]
    via: Option<String>,
    /// How `peer` is known, if a proxy said so: `proxy_v1`, `proxy_v2` or `forwarded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "proxy_v2")]
    peer_source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user_agent: Personal,
    /// RFC 3339, UTC.
    started: String,
    /// When it ends because its grant expires: RFC 3339, UTC. Absent if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    duration_ms: u64,
    /// Payload bytes. Absent, as are `frames` and `dropped_frames`, of a viewer whose media may
    /// come from caches.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<u64>,
    /// Over the rate limit (publisher), or skipped because the viewer was behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_frames: Option<u64>,
    /// Of a viewer: frames between it and the newest.
    lag_frames: u64,
}

impl SessionView {
    pub(super) fn of(info: &SessionInfo, with_persons: bool) -> Self {
        let context = &info.context;
        let personal = |text: Option<String>| match with_persons {
            true => text.map(Some),
            false => Some(None),
        };
        let token = context.token.as_ref();
        let known = token.is_none_or(|token| !token.from_caches);
        Self {
            session: context.session.to_string(),
            role: context.role.label(),
            app: context.key.app.to_string(),
            stream: context.key.stream_id.to_string(),
            protocol: context.protocol,
            principal: personal(context.principal.as_deref().map(str::to_owned)),
            peer: personal(context.peer.map(|peer| peer.to_string())),
            via: context.via.map(|via| via.to_string()),
            peer_source: Some(context.peer_source)
                .filter(|source| *source != PeerSource::Socket)
                .map(PeerSource::label),
            user_agent: personal(context.user_agent.as_deref().map(str::to_owned)),
            started: crate::time::rfc3339(info.started_unix_ms),
            expires: info.expires_unix_ms.map(crate::time::rfc3339),
            duration_ms: millis(info.totals.duration),
            bytes: known.then_some(info.totals.bytes),
            frames: known.then_some(info.totals.frames),
            dropped_frames: known.then_some(info.totals.dropped_frames),
            lag_frames: info.lag,
        }
    }
}

impl StreamView {
    pub(super) fn of(info: &StreamInfo, publisher: &SessionInfo, with_persons: bool) -> Self {
        let tracks = info
            .configs
            .iter()
            .filter(|c| c.kind != livetrail_engine::MediaKind::Data && !c.is_metadata());
        let tracks = tracks.map(|config| {
            TrackInfo::of(config)
                .map_or_else(|_| config.codec.label().to_owned(), |t| t.to_string())
        });
        Self {
            app: info.publisher.key.app.to_string(),
            stream: info.publisher.key.stream_id.to_string(),
            frames: publisher.totals.frames,
            publisher: SessionView::of(publisher, with_persons),
            viewers: info.subscribers,
            tracks: tracks.collect(),
            video_bitrate_bps: info.qos.video_bitrate_bps,
            audio_bitrate_bps: info.qos.audio_bitrate_bps,
            fps: info.qos.fps,
            video_frames: info.qos.video_frames,
            audio_frames: info.qos.audio_frames,
            keyframes: info.qos.keyframes,
            idle_ms: millis(info.qos.since_last_frame),
        }
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
