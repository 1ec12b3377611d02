//! The counts of a gateway.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use livetrail_egress::IoUringUse;

use crate::{connections::Connections, proxy::ProxyCounters};

/// Reads a gateway's counts while it serves and afterwards. Cloning gives another handle to the
/// same counts.
#[derive(Debug, Clone)]
pub struct GatewayStats {
    pub(crate) connections: Connections,
    /// Set when the threads that send to viewers start.
    pub(crate) io_uring: Arc<OnceLock<IoUringUse>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<crate::tls::TlsCounts>>,
    pub(crate) proxies: Arc<ProxyCounters>,
}

/// Counts of one gateway since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GatewayCounts {
    /// Connections that are open, including those in reserve.
    pub open: u64,
    /// Connections that are open in reserve; `None` for a gateway without a reserve.
    pub reserved: Option<u64>,
    /// Connections that were served or are being served.
    pub accepted: u64,
    /// Connections that were closed because too many were open, in all or from their address.
    pub refused: u64,
    /// Connections that were closed before their client had read the reason: the viewer was
    /// evicted, or it did not read the last bytes in time.
    pub cut: u64,
    /// Connections whose client a trusted proxy named with a PROXY header.
    pub proxied: u64,
    /// Connections of a trusted proxy itself, such as its health checks.
    pub proxy_own: u64,
    /// Connections that were closed for their PROXY header: it came from a peer that is not
    /// trusted, was invalid or late, or was missing and is required. Together with requests of
    /// trusted proxies that do not say who the client is.
    pub proxy_refused: u64,
    /// Requests whose `Forwarded` or `X-Forwarded-For` had no effect: the peer is not trusted.
    pub forwarded_ignored: u64,
    /// Threads that write to viewers with io_uring; 0 before the first viewer.
    pub io_uring_threads: usize,
    /// TLS handshakes that were completed; `None` for a listener without TLS.
    pub handshakes: Option<u64>,
    /// TLS handshakes that failed, were given up by the client, or took too long.
    pub failed_handshakes: Option<u64>,
}

impl std::ops::AddAssign for GatewayCounts {
    fn add_assign(&mut self, other: Self) {
        self.open = self.open.saturating_add(other.open);
        let sum = |one: Option<u64>, more: Option<u64>| match (one, more) {
            (Some(one), Some(more)) => Some(one.saturating_add(more)),
            (one, more) => one.or(more),
        };
        self.reserved = sum(self.reserved, other.reserved);
        self.handshakes = sum(self.handshakes, other.handshakes);
        self.failed_handshakes = sum(self.failed_handshakes, other.failed_handshakes);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.refused = self.refused.saturating_add(other.refused);
        self.cut = self.cut.saturating_add(other.cut);
        self.proxied = self.proxied.saturating_add(other.proxied);
        self.proxy_own = self.proxy_own.saturating_add(other.proxy_own);
        self.proxy_refused = self.proxy_refused.saturating_add(other.proxy_refused);
        self.forwarded_ignored = self
            .forwarded_ignored
            .saturating_add(other.forwarded_ignored);
        self.io_uring_threads = self.io_uring_threads.saturating_add(other.io_uring_threads);
    }
}

impl GatewayStats {
    pub(crate) fn new(connections: Connections) -> Self {
        Self {
            connections,
            io_uring: Arc::default(),
            #[cfg(feature = "tls")]
            tls: None,
            proxies: Arc::default(),
        }
    }

    /// The gateway's name, such as `rtmp`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.connections.gateway()
    }

    /// The current counts.
    #[must_use]
    pub fn counts(&self) -> GatewayCounts {
        let of = self.connections.stats();
        let (handshakes, failed_handshakes) = self.handshakes();
        let proxies = &self.proxies;
        let count = |count: &AtomicU64| count.load(Relaxed);
        GatewayCounts {
            open: of.open,
            reserved: self.connections.has_reserve().then_some(of.reserved),
            accepted: of.accepted,
            refused: of.refused(),
            cut: of.cut,
            proxied: count(&proxies.named),
            proxy_own: count(&proxies.own),
            proxy_refused: count(&proxies.refused),
            forwarded_ignored: count(&proxies.headers_ignored),
            io_uring_threads: self.io_uring.get().map_or(0, IoUringUse::threads),
            handshakes,
            failed_handshakes,
        }
    }

    /// Completed and failed handshakes.
    #[cfg(feature = "tls")]
    fn handshakes(&self) -> (Option<u64>, Option<u64>) {
        use std::sync::atomic::Ordering::Relaxed;
        let counts = self.tls.as_ref();
        (
            counts.map(|counts| counts.completed.load(Relaxed)),
            counts.map(|counts| counts.failed.load(Relaxed)),
        )
    }

    #[cfg(not(feature = "tls"))]
    fn handshakes(&self) -> (Option<u64>, Option<u64>) {
        (None, None)
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn counts_are_serialized_with_the_names_of_their_fields() {
        let counts = GatewayCounts {
            open: 3,
            ..GatewayCounts::default()
        };
        assert_eq!(
            serde_json::to_value(counts).unwrap(),
            serde_json::json!({
                "open": 3,
                "reserved": null,
                "accepted": 0,
                "refused": 0,
                "cut": 0,
                "proxied": 0,
                "proxy_own": 0,
                "proxy_refused": 0,
                "forwarded_ignored": 0,
                "io_uring_threads": 0,
                "handshakes": null,
                "failed_handshakes": null,
            })
        );
    }
}
