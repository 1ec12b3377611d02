//! The gateway's limits.

use std::time::Duration;

use livetrail_egress::EgressConfig;

use crate::protocol::ChunkLimits;

/// What a peer may cost the server, in time, bytes and connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtmpConfig {
    /// From the connection to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// From the handshake, or from the end of a publish or play, to the next `publish` or `play`. Default 10 s.
    pub command_timeout: Duration,
    /// How long a peer may take nothing of what is queued for it. Default 30 s: longer than the
    /// engine's stall timeout for viewers, which comes first and says `evicted`.
    pub write_stall_timeout: Duration,
    /// For how long a player may pause. Then its session ends (`idle`). Default 10 minutes.
    pub pause_timeout: Duration,
    /// After a refusal or the server's end of a session, for the peer to read why. Default 1 s.
    pub linger: Duration,
    /// Connections in all; one more is closed at once. Default 10,000.
    pub max_connections: usize,
    /// Connections without an admitted session from one address, IPv6 by /64; 0 is no limit. Eight times as many may wait, each
    /// for at most a second, so that an audience behind one address can arrive at once. Default 256.
    pub max_connections_per_ip: usize,
    /// How viewers are sent to.
    pub egress: EgressConfig,
    /// What one connection can make the server hold before it is a frame.
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
