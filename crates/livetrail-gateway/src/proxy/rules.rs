//! Which proxies are trusted, and the rules for the addresses that they name.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use livetrail_engine::{ClientAddress, PeerSource};

pub use crate::connections::AddressTurn;
use crate::{clock, connections::Connections, deny::DenyRules};

/// The proxies that may name the address of a client. Cloning gives another handle to the same
/// list, which can be replaced while it is in use. The default trusts nobody.
///
/// A trusted proxy is exempt from the rules that hold as a connection is accepted: [`DenyRules`]
/// and the limit on connections per address. They hold for the client that it names.
#[derive(Clone, Default)]
pub struct TrustedProxies(Arc<ArcSwap<Trust>>);

#[derive(Debug, Default)]
struct Trust {
    networks: Vec<IpNet>,
    require_proxy: bool,
}

impl TrustedProxies {
    /// Trusts these networks. If `require_proxy` is set, each connection from them must begin with
    /// a header of the PROXY protocol; without one it is closed.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>, require_proxy: bool) -> Self {
        let proxies = Self::default();
        proxies.exchange(networks, require_proxy);
        proxies
    }

    /// Replaces the rules, for connections that come from now on.
    pub fn exchange(&self, networks: impl IntoIterator<Item = IpNet>, require_proxy: bool) {
        self.0.store(Arc::new(Trust {
            networks: networks.into_iter().collect(),
            require_proxy,
        }));
    }

    /// Whether this address is that of a trusted proxy.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.load().networks.iter().any(|net| net.contains(&ip))
    }

    pub(crate) fn requires_proxy(&self) -> bool {
        self.0.load().require_proxy
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustedProxies")
            .field(&self.0.load())
            .finish()
    }
}

/// What proxies did at one gateway, since its start.
#[derive(Debug, Default)]
pub(crate) struct ProxyCounters {
    pub(crate) named: AtomicU64,
    pub(crate) own: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) headers_ignored: AtomicU64,
}

/// The rules for addresses at one gateway. A gateway whose requests name their clients applies them
/// to each request.
#[derive(Debug, Clone)]
pub struct AddressRules {
    pub(crate) gateway: &'static str,
    pub(crate) proxies: TrustedProxies,
    pub(crate) deny: DenyRules,
    pub(crate) connections: Connections,
    pub(crate) counters: Arc<ProxyCounters>,
}

/// An address has too many connections and requests without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many connections and requests from this address")]
pub struct OverLimit;

impl AddressRules {
    /// Whether this address is that of a trusted proxy, whose requests may name a client.
    #[must_use]
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.proxies.contains(ip)
    }

    /// Counts a request whose headers name a client and have no effect: its peer is not trusted.
    pub fn count_ignored(&self) {
        self.counters.headers_ignored.fetch_add(1, Relaxed);
    }

    /// Counts a request of a trusted proxy that is refused because its headers do not say who the
    /// client is.
    pub fn count_refused(&self) {
        self.counters.refused.fetch_add(1, Relaxed);
    }

    /// Whether connections from this client's address are denied. If they are, this counts and
    /// reports one.
    #[must_use]
    pub fn denies(&self, client: &ClientAddress) -> bool {
        self.deny.refuses(self.gateway, client, clock::now())
    }

    /// Counts a request for the address of the client that a proxy named, until the turn is
    /// dropped. Waits for at most a second. A client that has its own connection needs none.
    ///
    /// # Errors
    /// [`OverLimit`]: the address has too many connections and requests without a session.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn turn(&self, client: &ClientAddress) -> Result<Option<AddressTurn>, OverLimit> {
        if client.source != PeerSource::Forwarded {
            return Ok(None);
        }
        self.turn_of_request(client).await.map(Some)
    }

    /// Counts a request for the address of its client, until the turn is dropped: one of several
    /// that a connection carries at once. Waits for at most a second.
    ///
    /// # Errors
    /// [`OverLimit`]: the address has too many connections and requests without a session.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn turn_of_request(&self, client: &ClientAddress) -> Result<AddressTurn, OverLimit> {
        let turn = self.connections.turn_of(client.peer).await;
        turn.ok_or(OverLimit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted_until_the_list_says_so() {
        let proxies = TrustedProxies::default();
        let ip = |text: &str| text.parse().unwrap();
        assert!(!proxies.contains(ip("127.0.0.1")));
        proxies
            .clone()
            .exchange(["10.0.0.0/8".parse().unwrap()], true);
        assert!(proxies.contains(ip("::ffff:10.1.2.3")) && proxies.requires_proxy());
        assert!(!proxies.contains(ip("11.0.0.1")));
    }
}
