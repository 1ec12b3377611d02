//! The gateway's limits, and the options of playback.

use std::time::Duration;

use axum::http::HeaderValue;
use livetrail_egress::EgressConfig;

/// The limits on a client's use of time, bytes and connections, and the options of playback.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The maximum number of connections at once. Default 10,000.
    pub max_connections: usize,
    /// The maximum number of connections without an admitted session from one address; IPv6
    /// addresses count by /64; 0 is no limit. Eight times as many may wait, each for at most a
    /// second, so that an audience behind one address can arrive at once. Default 256.
    pub max_connections_per_ip: usize,
    /// Connections beyond both limits, for everything but streams: health, metrics, and the API.
    /// Each answers one request. If all are in use, a new connection replaces one that has not sent
    /// a request yet; if there is none, the new one is closed at once. Default 64.
    pub reserve: usize,
    /// Time from the start of a connection, or the end of an answer, to the end of the next
    /// request's header. Default 10 s.
    pub header_timeout: Duration,
    /// The maximum length of a request header, at least 8 KiB. Default 16 KiB.
    pub max_header_bytes: usize,
    /// How long a client may read nothing of its pending output. Default 30 s.
    pub write_stall_timeout: Duration,
    /// How long a client may take to read the last bytes after its viewer's session ended, or when
    /// the server stops. Default 5 s.
    pub linger: Duration,
    /// How data is sent to viewers.
    pub egress: EgressConfig,
    /// The options of playback.
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

/// The options of playback.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaybackOptions {
    /// `Access-Control-Allow-Origin`: the web pages that may play (`*` for all); `None` allows only
    /// pages of this server.
    pub allow_origin: Option<HeaderValue>,
}

impl Default for PlaybackOptions {
    fn default() -> Self {
        Self {
            allow_origin: Some(HeaderValue::from_static("*")),
        }
    }
}
