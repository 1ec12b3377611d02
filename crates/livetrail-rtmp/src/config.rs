//! The gateway's limits.

use std::time::Duration;

use livetrail_egress::EgressConfig;

use crate::protocol::ChunkLimits;

/// The limits on a peer's use of time, bytes and connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtmpConfig {
    /// Time from the connection to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// Time from the handshake, or from the end of a publish or play, to the next `publish` or
    /// `play`. Default 10 s.
    pub command_timeout: Duration,
    /// How long a peer may read nothing of its pending output. Default 30 s: longer than the
    /// engine's stall timeout for viewers, which comes first and reports `evicted`.
    pub write_stall_timeout: Duration,
    /// How long a player may pause. After that its session ends (`idle`). Default 10 minutes.
    pub pause_timeout: Duration,
    /// How long the connection stays open after a refusal, or after the server ended a session, so
    /// that the peer can read the reason. Default 1 s.
    pub linger: Duration,
    /// The maximum number of connections; one more is closed at once. Default 10,000.
    pub max_connections: usize,
    /// The maximum number of connections without an admitted session from one address; IPv6
    /// addresses count by /64; 0 is no limit. Eight times as many may wait, each for at most a
    /// second, so that an audience behind one address can arrive at once. Default 256.
    pub max_connections_per_ip: usize,
    /// How data is sent to viewers.
    pub egress: EgressConfig,
    /// Bounds on the bytes that a connection can make the server hold before they are a frame.
    pub chunks: ChunkLimits,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(30),
            pause_timeout: Duration::from_secs(600),
            linger: Duration::from_secs(1),
            max_connections: 10_000,
            max_connections_per_ip: 256,
            egress: EgressConfig::default(),
            chunks: ChunkLimits::default(),
        }
    }
}
