//! The gateway's limits, and what of playback can be chosen.

use std::time::Duration;

use axum::http::HeaderValue;
use livetrail_egress::EgressConfig;

/// What a client may cost the server, in time, bytes and connections, and what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Connections at once. Default 10,000.
    pub max_connections: usize,
    /// Connections without an admitted session from one address, IPv6 by /64; 0 is no limit.
    /// Eight times as many may wait, each for at most a second, so that an audience behind one
    /// address can arrive at once. Default 256.
    pub max_connections_per_ip: usize,
    /// Connections beyond both limits, for everything but streams: health, metrics, and the API.
    /// Each answers one request. When all are taken, one that has not asked yet is closed for the
    /// next; further ones are closed as they come. Default 64.
    pub reserve: usize,
    /// From the start of a connection, or the end of an answer, to the end of the next request's
    /// header. Default 10 s.
    pub header_timeout: Duration,
    /// Longest request header, at least 8 KiB. Default 16 KiB.
    pub max_header_bytes: usize,
    /// How long a client may take nothing of what is queued for it. Default 30 s.
    pub write_stall_timeout: Duration,
    /// After the end of a viewer's session, or when the server stops: how long a client may take
    /// to read the last bytes. Default 5 s.
    pub linger: Duration,
    /// How viewers are sent to.
    pub egress: EgressConfig,
    /// What of playback can be chosen.
    pub playback: PlaybackOptions,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_ip: 256,
            reserve: 64,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 16 << 10,
            write_stall_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            egress: EgressConfig::default(),
            playback: PlaybackOptions::default(),
        }
    }
}

/// What of playback can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaybackOptions {
    /// `Access-Control-Allow-Origin`: which web pages may play (`*`); `None` is those of this server alone.
    pub allow_origin: Option<HeaderValue>,
}

impl Default for PlaybackOptions {
    fn default() -> Self {
        Self {
            allow_origin: Some(HeaderValue::from_static("*")),
        }
    }
}
