//! The sections of the gateways. Their defaults are those of the gateways' own configurations.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use livetrail_egress::EgressConfig;
use livetrail_http::HttpConfig;
use livetrail_rtmp::RtmpConfig;
use livetrail_settings::Bounds;
use serde::Deserialize;

use super::{
    Span, address, proxies,
    section::{DAY_S, Section, Wrong},
    tls::ClientCertificates,
    types,
};

/// The cost of the most connections.
const CONNECTIONS: &str = ", which take 12 GB and as many open files";

/// Whether many writes become one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IoUring {
    /// If the system lets us use io_uring.
    Auto,
    /// Never.
    Off,
}

impl IoUring {
    fn of(egress: &EgressConfig) -> Self {
        if egress.io_uring {
            Self::Auto
        } else {
            Self::Off
        }
    }
}

/// The RTMP gateway.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rtmp {
    #[serde(with = "address")]
    pub(crate) listen: SocketAddr,
    #[serde(with = "address::optional")]
    pub(crate) tls_listen: Option<SocketAddr>,
    pub(crate) client_certificates: ClientCertificates,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_ip: usize,
    #[serde(with = "types::networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) require_proxy: bool,
    pub(crate) handshake_timeout: Span,
    pub(crate) command_timeout: Span,
    pub(crate) write_stall_timeout: Span,
    pub(crate) pause_timeout: Span,
    pub(crate) egress_threads: usize,
    pub(crate) send_interval: Span,
    pub(crate) io_uring: IoUring,
}

impl Default for Rtmp {
    fn default() -> Self {
        let of = RtmpConfig::default();
        Self {
            listen: ([0, 0, 0, 0], 1935).into(),
            tls_listen: None,
            client_certificates: ClientCertificates::Off,
            max_connections: of.max_connections,
            max_connections_per_ip: of.max_connections_per_ip,
            trusted_proxies: Vec::new(),
            require_proxy: false,
            handshake_timeout: Span(of.handshake_timeout),
            command_timeout: Span(of.command_timeout),
            write_stall_timeout: Span(of.write_stall_timeout),
            pause_timeout: Span(of.pause_timeout),
            egress_threads: of.egress.threads,
            send_interval: Span(of.egress.send_interval),
            io_uring: IoUring::of(&of.egress),
        }
    }
}

impl Rtmp {
    /// Everything but the proxies, which a reload can change.
    pub(crate) fn without_proxies(&self) -> Self {
        Self {
            trusted_proxies: Vec::new(),
            require_proxy: false,
            ..self.clone()
        }
    }

    /// The settings in the form that the gateway takes.
    pub(crate) fn gateway(&self) -> RtmpConfig {
        let mut config = RtmpConfig::default();
        config.max_connections = self.max_connections;
        config.max_connections_per_ip = self.max_connections_per_ip;
        config.handshake_timeout = self.handshake_timeout.0;
        config.command_timeout = self.command_timeout.0;
        config.write_stall_timeout = self.write_stall_timeout.0;
        config.pause_timeout = self.pause_timeout.0;
        config.egress = egress(self.egress_threads, self.send_interval.0, self.io_uring);
        config
    }
}

/// The bounds of a gateway's connections.
fn connections(list: &mut Bounds, all: usize, per_ip: usize) {
    let most = 1_000_000;
    list.number("max_connections", all, 1, most, CONNECTIONS);
    list.number("max_connections_per_ip", per_ip, 0, most, "");
}

impl Section for Rtmp {
    fn bounds(&self, list: &mut Bounds) {
        proxies::bounds(list, &self.trusted_proxies);
        connections(list, self.max_connections, self.max_connections_per_ip);
        list.span("handshake_timeout", self.handshake_timeout, 1, 3_600);
        list.span("command_timeout", self.command_timeout, 1, 3_600);
        list.span("pause_timeout", self.pause_timeout, 1, DAY_S);
        list.span("write_stall_timeout", self.write_stall_timeout, 1, 3_600);
        list.number("egress_threads", self.egress_threads, 0, 256, "");
        list.span("send_interval", self.send_interval, 0, 1);
    }

    fn check(&self) -> Result<(), Wrong> {
        proxies::check(&self.trusted_proxies, self.require_proxy)
    }
}

/// The HTTP gateway.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    #[serde(with = "address")]
    pub(crate) listen: SocketAddr,
    #[serde(with = "address::optional")]
    pub(crate) tls_listen: Option<SocketAddr>,
    pub(crate) client_certificates: ClientCertificates,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_ip: usize,
    #[serde(with = "types::networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) require_proxy: bool,
    pub(crate) header_timeout: Span,
    pub(crate) write_stall_timeout: Span,
    pub(crate) egress_threads: usize,
    pub(crate) send_interval: Span,
    pub(crate) io_uring: IoUring,
    pub(crate) allow_origin: types::Origin,
}

impl Default for Http {
    fn default() -> Self {
        let of = HttpConfig::default();
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            tls_listen: None,
            client_certificates: ClientCertificates::Off,
            max_connections: of.max_connections,
            max_connections_per_ip: of.max_connections_per_ip,
            trusted_proxies: Vec::new(),
            require_proxy: false,
            header_timeout: Span(of.header_timeout),
            write_stall_timeout: Span(of.write_stall_timeout),
            egress_threads: of.egress.threads,
            send_interval: Span(of.egress.send_interval),
            io_uring: IoUring::of(&of.egress),
            // This is stricter than the library, which does not know the other users of its
            // address.
            allow_origin: types::Origin(String::new()),
        }
    }
}

impl Http {
    /// Everything but the proxies, which a reload can change.
    pub(crate) fn without_proxies(&self) -> Self {
        Self {
            trusted_proxies: Vec::new(),
            require_proxy: false,
            ..self.clone()
        }
    }

    /// The settings in the form that the gateway takes.
    pub(crate) fn gateway(&self) -> HttpConfig {
        let mut config = HttpConfig::default();
        config.max_connections = self.max_connections;
        config.max_connections_per_ip = self.max_connections_per_ip;
        config.header_timeout = self.header_timeout.0;
        config.write_stall_timeout = self.write_stall_timeout.0;
        config.egress = egress(self.egress_threads, self.send_interval.0, self.io_uring);
        config.playback.allow_origin = self.allow_origin.header();
        config
    }
}

impl Section for Http {
    fn bounds(&self, list: &mut Bounds) {
        proxies::bounds(list, &self.trusted_proxies);
        connections(list, self.max_connections, self.max_connections_per_ip);
        list.span("header_timeout", self.header_timeout, 1, 3_600);
        list.span("write_stall_timeout", self.write_stall_timeout, 1, 3_600);
        list.number("egress_threads", self.egress_threads, 0, 256, "");
        list.span("send_interval", self.send_interval, 0, 1);
    }

    fn check(&self) -> Result<(), Wrong> {
        proxies::check(&self.trusted_proxies, self.require_proxy)
    }
}

fn egress(threads: usize, send_interval: Duration, io_uring: IoUring) -> EgressConfig {
    let mut config = EgressConfig::default();
    config.threads = threads;
    config.send_interval = send_interval;
    config.io_uring = io_uring == IoUring::Auto;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_reach_the_gateways_unchanged() {
        assert_eq!(Rtmp::default().gateway(), RtmpConfig::default());
        let mut http = HttpConfig::default();
        http.playback.allow_origin = None;
        assert_eq!(Http::default().gateway(), http);
    }
}
