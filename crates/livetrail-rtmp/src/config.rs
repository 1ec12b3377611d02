//! The gateway's limits.

use std::time::Duration;

use crate::protocol::ChunkLimits;

/// Half of 1,024 samples at 44.1 kHz are 11.6 ms; publishers and timers are late by a millisecond or three.
const DEFAULT_SEND_INTERVAL: Duration = Duration::from_millis(10);

/// What a peer may cost the server, in time, bytes and connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtmpConfig {
    /// From the connection to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// From the handshake, or from the end of a publish or play, to the next `publish` or `play`. Default 10 s.
    pub command_timeout: Duration,
    /// Without the peer taking a byte that is queued for it. Default 30 s: longer than the engine's stall timeout for viewers, which
    /// comes first and says `evicted`.
    pub write_timeout: Duration,
    /// For how long a player may pause. Then its session ends (`idle`). Default 10 minutes.
    pub pause_timeout: Duration,
    /// After a refusal or the server's end of a session, for the peer to read why. Default 1 s.
    pub linger: Duration,
    /// Connections in all; one more is closed at once. Default 10,000.
    pub max_connections: usize,
    /// Connections without an admitted session from one address, IPv6 by /64; 0 is no limit. Eight times as many may wait, each
    /// for at most a second, so that an audience behind one address can arrive at once. Default 256.
    pub max_connections_per_ip: usize,
    /// Threads that send to players; 0 is one a processor. Default 0.
    pub egress_threads: usize,
    /// A frame waits for so long for those that come after it, and is sent with them: fewer and larger writes for a later
    /// picture. Zero sends each as it comes. A player's first frames are never held back. Default 10 ms, somewhat less than half
    /// the time of an AAC frame: most sound then travels with the picture next to it, and the last of a thousand players has both within 20 ms.
    pub send_interval: Duration,
    /// Whether the writes of a frame to many players are one system call (io_uring) where the system allows it. Default true.
    pub io_uring: bool,
    /// What one connection can make the server hold before it is a frame.
    pub chunks: ChunkLimits,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            pause_timeout: Duration::from_secs(600),
            linger: Duration::from_secs(1),
            max_connections: 10_000,
            max_connections_per_ip: 256,
            egress_threads: 0,
            send_interval: DEFAULT_SEND_INTERVAL,
            io_uring: true,
            chunks: ChunkLimits::default(),
        }
    }
}
